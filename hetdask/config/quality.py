"""Settings of the verdict on a fit. Every key acts; a key that is not here is an error."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, ClassVar, Self

from pydantic import Field, PositiveInt, model_validator

from hetdask.config.methods import NotNegative, Positive, Section
from hetdask.errors import ConfigError


class _LevelSettings(Section):
    where: ClassVar[str]
    excellent: Positive = Field(2.0, description="excellent up to here", examples=[2.0])
    acceptable: Positive = Field(5.0, description="acceptable up to here", examples=[5.0])
    warning: Positive = Field(10.0, description="warning up to here, poor beyond", examples=[10.0])

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        limits = self.limits()
        if any(low > high for low, high in pairwise(limits)):
            names = ("excellent", "acceptable", "warning", "critical")[: len(limits)]
            found = ", ".join(f"{name} {value:g}" for name, value in zip(names, limits, strict=True))
            raise ConfigError(
                f"{self.where}: found {found}, expected levels that grow: for example excellent: 2, acceptable: 5, "
                "warning: 10"
            )
        return self

    def limits(self) -> tuple[float, ...]:
        """Highest reduced χ² of each level, the best first."""
        return self.excellent, self.acceptable, self.warning


class OverallLevels(_LevelSettings):
    """Levels of the mean of all angles."""

    where: ClassVar[str] = "quality.overall"

    critical: Positive = Field(20.0, description="poor up to here, critical beyond", examples=[20.0])

    def limits(self) -> tuple[float, ...]:
        """Highest reduced χ² of each level, the best first."""
        return self.excellent, self.acceptable, self.warning, self.critical


class AngleLevels(_LevelSettings):
    """Levels of single angles, and what becomes of the whole."""

    where: ClassVar[str] = "quality.per_angle"

    outlier_multiplier: NotNegative = Field(
        2.5, description="an angle so many standard deviations above the mean of all is an outlier", examples=[2.5]
    )
    max_outlier_fraction: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        0.25,
        description="more outliers than this share: at best warning; more poor angles: at best poor",
        examples=[0.25],
    )
    min_good_angles: PositiveInt = Field(
        2, description="fewer acceptable angles than this, or than there are: at best poor", examples=[2]
    )


class QualitySettings(Section):
    """When a fit is good; reduced χ² here is the mean square residual over what white and speckle noise predict."""

    significance: Annotated[float, Field(gt=0.0, lt=0.5)] = Field(
        0.01, description="residuals that noise leaves with a smaller probability speak against the model"
    )
    overall: OverallLevels = Field(default_factory=OverallLevels, description="levels of the mean of all angles")
    per_angle: AngleLevels = Field(default_factory=AngleLevels, description="levels of single angles")
