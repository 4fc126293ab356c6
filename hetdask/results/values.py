"""What a fit has found: parameters, scaling of the maps, and how well they are determined."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hetdask.results.part import Part


class ParameterResult(Part):
    """One parameter of the model after the fit."""

    value: float
    stderr: float | None = Field(
        description="Standard error, in the same unit; null for a fixed or an unidentified parameter."
    )
    stderr_iid: float | None = Field(
        description="Standard error if all pixels were independent: a lower limit. Null as for stderr."
    )
    unit: str = Field(description="Empty for a pure number.")
    start: float = Field(description="Value at which the fit began.")
    min: float | None = Field(description="Lower bound; null for none.")
    max: float | None = Field(description="Upper bound; null for none.")
    fixed: bool
    at_bound: Literal["min", "max"] | None = Field(description="The bound at which the fit ended; null for none.")
    identified: bool | None = Field(description="Whether the data determine it; null for a fixed parameter.")


class AngleResult(Part):
    """Scaling and quality of one map."""

    phi: float = Field(description="Azimuth, degrees.")
    q: float = Field(description="Wavevector, 1/Å.")
    contrast: float | None = Field(description="Null where it could not be determined.")
    offset: float | None = Field(description="Null where it could not be determined.")
    sigma: float | None = Field(description="Standard deviation of one pixel that chi_squared uses; null if unknown.")
    reduced_chi_squared: float | None = Field(description="Of this map; its share of the parameters is subtracted.")
    residual_rms: float | None = Field(description="Root of the mean squared residual, in units of c2.")
    expected_rms: float | None = Field(description="Predicted by white and speckle noise; null where not predicted.")
    sigma_white: float | None = Field(
        description="White noise from the residuals of the fit, else from neighbouring pixels; null where unknown."
    )
    speckles: float | None = Field(
        description="Effective number of speckles; null where the residuals show no speckle noise."
    )
    photons: float | None = Field(
        default=None,
        description="Photons of a speckle in a frame where one component is alone; null where the residuals show no "
        "noise that frames share because photons are counted.",
    )
    level: float | None = Field(
        default=None,
        description="Mean square residual over the expected one, about 1 for noise; null if not predicted.",
    )
    level_p_value: float | None = Field(
        default=None, description="Probability that noise alone leaves such a level or a higher one; null as for level."
    )
    n_points: int = Field(description="Pixels above the diagonal that were fitted.")
    quality: str = Field(
        description="excellent, acceptable, warning or poor by the level; 'not judged' where that is null; 'failed: …' "
        "where there is no contrast."
    )


class Correlations(Part):
    """Correlation coefficients and covariance of the free parameters, from the same noise as stderr."""

    names: list[str]
    matrix: list[list[float | None]] = Field(description="Null in rows and columns of unidentified parameters.")
    covariance: list[list[float | None]] = Field(
        description="In the units of the parameters. Directions in identifiability.weak that are open are left out."
    )


class WeakDirection(Part):
    """A combination of parameters that the data leave open."""

    text: str
    direction: dict[str, float] = Field(
        description="Change of each parameter along it, in its unit; the one that changes most comes first."
    )
    open: bool = Field(
        description="Whether the data say nothing at all about it; else it is only known worse than to its own size."
    )


class Identifiability(Part):
    """How many combinations of the free parameters the data determine."""

    rank: int = Field(description="Of the free parameters, or of combinations of them.")
    weak: list[WeakDirection]
    cautions: list[str] = Field(
        default_factory=list, description="Aliased flow, clipped fractions and the like, in words."
    )
    retained_information: float | None = Field(
        default=None, description="Share of the Fisher information that reduced data keep; null at full resolution."
    )
