"""Methods by name, and the settings of each. Every key acts; a key that is not here is an error."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveFloat, PositiveInt

type Positive = Annotated[PositiveFloat, Field(allow_inf_nan=False)]
type NotNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
type Tolerance = Annotated[float, Field(ge=1e-14, le=0.1)]


def named(every: tuple[str, ...]) -> BeforeValidator:
    """Accept a single name for a list of one, and "all" for every method."""

    def read(value: Any) -> Any:
        if value == "all":
            return list(every)
        return [value] if isinstance(value, str) else value

    return BeforeValidator(read)


type ClassicalMethod = Literal["trust-region", "nelder-mead"]
CLASSICAL: Final[tuple[str, ...]] = get_args(ClassicalMethod.__value__)
"""Classical methods, the default first."""

type RobustMethod = Literal["huber", "student-t", "ellipsoidal", "wasserstein", "scenario"]
ROBUST: Final[tuple[str, ...]] = get_args(RobustMethod.__value__)
"""Robust methods, in the order in which they count."""


class Section(BaseModel):
    """Part of the settings."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class ReductionSettings(Section):
    """Means over blocks of pixels that are fitted instead of single pixels, where there are many of these."""

    max_points: PositiveInt = Field(
        100_000,
        description="more pixels than this, each pair of frames counted once, are reduced to no more means than this",
        examples=[100_000],
    )
    time_factor: PositiveInt = Field(
        1, description="there are fewer means than pixels by at least the square of this", examples=[4]
    )
    angle_factor: PositiveInt = Field(
        1, description="and by this; only of 4 or more angles, of which every one is kept", examples=[2]
    )


class NelderMeadSettings(Section):
    """Options of the method nelder-mead."""

    max_evaluations: PositiveInt = Field(10_000, description="passes over the data in each round", examples=[10_000])
    tolerance: Tolerance = Field(1e-8, description="relative spread of χ² at which to stop", examples=[1e-8])
    adaptive: bool = Field(True, description="steps according to the number of parameters", examples=[True])


class _PenaltySettings(Section):
    alpha: NotNegative = Field(0.0, description="weight of the squared way from the start values", examples=[0.02])
    beta: NotNegative = Field(0.0, description="weight of the absolute way from the start values", examples=[0.001])


class BallSettings(_PenaltySettings):
    """Options of the methods ellipsoidal and wasserstein."""

    radius: NotNegative = Field(0.01, description="reach of the worst case, in units of the noise", examples=[0.05])


class ScenarioSettings(_PenaltySettings):
    """Options of the method scenario."""

    scenarios: Annotated[int, Field(ge=2, le=1000)] = Field(
        15, description="resamplings of the time segments, drawn with fit.seed", examples=[15]
    )
    segments: Annotated[int, Field(ge=2, le=64)] = Field(
        8, description="time segments of the series that are resampled", examples=[8]
    )


class HuberSettings(Section):
    """Options of the method huber."""

    threshold: Positive = Field(
        1.345, description="residual beyond which the loss is linear, in units of the scale", examples=[1.345]
    )


class StudentTSettings(Section):
    """Options of the method student-t."""

    degrees_of_freedom: Annotated[float, Field(ge=1.0, allow_inf_nan=False)] = Field(
        4.0, description="the fewer, the less weight have pixels far off", examples=[4.0]
    )
