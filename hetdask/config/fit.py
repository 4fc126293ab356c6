"""The settings of a fit: methods, start, errors by refits."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from hetdask.config.methods import (
    CLASSICAL,
    ROBUST,
    BallSettings,
    ClassicalMethod,
    HuberSettings,
    NelderMeadSettings,
    Positive,
    ReductionSettings,
    RobustMethod,
    ScenarioSettings,
    Section,
    StudentTSettings,
    Tolerance,
    named,
)
from hetdask.errors import ConfigError

type Start = Literal["given", "checked", "search", "learned"]

LEAST_BOOTSTRAP: Final = 40
"""Experiments of a bootstrap, at least: one in forty lies beyond each end of a 95 % interval."""


def _names(value: Any) -> Any:
    """Accept "v0,D0_ref" for ["v0", "D0_ref"]."""
    return [name.strip() for name in value.split(",")] if isinstance(value, str) else value


class FitSettings(Section):
    """How to fit."""

    method: Literal["classical", "robust", "all"] = Field(
        "classical",
        description="classical or robust: those named below; all: every classical one and those under robust, compared",
        examples=["all"],
    )
    classical: Annotated[list[ClassicalMethod], named(CLASSICAL), Field(min_length=1)] = Field(
        ["trust-region"],
        description=f"{', '.join(CLASSICAL)} or all; of several, the lowest χ² of those that converged counts",
        examples=[list(CLASSICAL)],
    )
    robust: Annotated[list[RobustMethod], named(ROBUST)] = Field(
        ["huber", "student-t", "ellipsoidal", "wasserstein", "scenario"],
        description=f"{', '.join(ROBUST)} or all; of several, the first that converged counts",
        examples=[["student-t"]],
    )
    start: Start | None = Field(
        None,
        description="given: from the values under parameters; checked: from these, and from a search where these lead "
        "to no optimum at the noise level; search: from the bounds alone, by a global search; "
        "learned: from what was learned on simulated experiments and earlier fits, then a search if need be; "
        "null: given if any free parameter has a value, else search",
        examples=["search"],
    )
    active_parameters: list[str] | None = Field(
        None,
        min_length=1,
        description="only these move; null: all that are not fixed",
        examples=[["D0_ref", "D0_sample", "v0", "f0"]],
    )
    max_evaluations: PositiveInt = Field(
        200, description="passes over the data in each round of trust-region and robust methods", examples=[200]
    )
    tolerance: Tolerance = Field(
        1e-8, description="relative change at which trust-region and robust methods stop", examples=[1e-8]
    )
    nelder_mead: NelderMeadSettings = Field(
        default_factory=NelderMeadSettings, description="the same for nelder-mead", examples=[{"adaptive": False}]
    )
    huber: HuberSettings = Field(
        default_factory=HuberSettings, description="options of huber", examples=[{"threshold": 2.0}]
    )
    student_t: StudentTSettings = Field(
        default_factory=StudentTSettings, description="options of student-t", examples=[{"degrees_of_freedom": 3.0}]
    )
    ellipsoidal: BallSettings = Field(
        default_factory=BallSettings, description="options of ellipsoidal", examples=[{"radius": 0.05}]
    )
    wasserstein: BallSettings = Field(
        default_factory=BallSettings, description="options of wasserstein", examples=[{"radius": 0.05}]
    )
    scenario: ScenarioSettings = Field(
        default_factory=ScenarioSettings, description="options of scenario", examples=[{"scenarios": 30}]
    )
    rounds: Annotated[int, Field(ge=1, le=10)] = Field(
        2, description="the first weights angles by their white noise, the next by their residuals", examples=[2]
    )
    reduction: ReductionSettings | None = Field(
        None,
        description="fit means over blocks of pixels; huber, student-t and scenario look at all pixels in any case; "
        "null: full resolution",
        examples=[{"max_points": 100_000}],
    )
    sigma: Positive | list[Positive] | None = Field(
        None,
        description="white noise of the maps, one or one per angle; null estimates it from neighbouring pixels",
        examples=[0.01],
    )
    weights: Literal["plain", "speckle"] = Field(
        "plain",
        description="plain: pixels count as independent. speckle: least squares weighted with the covariance of white "
        "and speckle noise, where the residuals follow it; else plain weights stand, and the result says why",
        examples=["speckle"],
    )
    seed: Annotated[int, Field(ge=0)] = Field(
        0, description="seed of all random numbers of the fit; recorded with the result", examples=[0]
    )
    bootstrap: Annotated[int, Field(ge=0, le=100_000)] = Field(
        0,
        description="experiments to simulate from the fit and fit again, for errors to all orders; 0: none, else 40 or "
        "more",
        examples=[200],
    )
    profile: Annotated[list[str], BeforeValidator(_names)] = Field(
        [],
        description="parameters along which chi-squared is to be followed, for intervals that need no linear problem",
        examples=[["v0", "D0_ref"]],
    )
    remember: bool = Field(
        True, description="add a converged fit to the history that the learned start is trained on", examples=[False]
    )

    @model_validator(mode="after")
    def _methods_once(self) -> Self:
        methods: dict[str, list[str]] = {"classical": [*self.classical], "robust": [*self.robust]}
        for key, names in methods.items():
            twice = [name for name in names if names.count(name) > 1]
            if twice:
                raise ConfigError(f"fit.{key} names {twice[0]} twice: for example {key}: [{twice[0]}]")
        if self.method == "robust" and not self.robust:
            raise ConfigError(
                "fit.method is robust, but fit.robust names no method: for example robust: [student-t], or method: "
                "classical"
            )
        return self

    @model_validator(mode="after")
    def _refits(self) -> Self:
        if 0 < self.bootstrap < LEAST_BOOTSTRAP:
            raise ConfigError(
                f"fit.bootstrap is {self.bootstrap}, expected 0 or at least {LEAST_BOOTSTRAP}: fewer refits have no "
                "95 % interval; for example bootstrap: 200"
            )
        if self.weights == "speckle" and self.method == "robust":
            raise ConfigError(
                "fit.weights is speckle, which weights least squares, but fit.method is robust: use method: classical "
                "or all, or weights: plain"
            )
        if self.weights == "speckle" and self.refits:
            key, none = ("bootstrap", 0) if self.bootstrap else ("profile", [])
            raise ConfigError(
                f"fit.{key} refits with plain weights, which says nothing about fit.weights: speckle: use weights: "
                f"plain, or {key}: {none}"
            )
        if self.refits and self.method == "robust":
            key, none = ("bootstrap", 0) if self.bootstrap else ("profile", [])
            raise ConfigError(
                f"fit.{key} refits by least squares, which says nothing about robust fits: use method: classical or "
                f"all, or {key}: {none}"
            )
        return self

    @property
    def refits(self) -> bool:
        """Whether errors by refits are asked for."""
        return self.bootstrap > 0 or bool(self.profile)

    def methods(self) -> list[str]:
        """Names of the methods to run, in their order."""
        if self.method == "robust":
            return list(self.robust)
        return [*CLASSICAL, *self.robust] if self.method == "all" else list(self.classical)
