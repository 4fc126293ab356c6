"""Errors of fitted parameters: what the scatter of repeated experiments would be.

Least squares with independent pixels would scatter by the inverse of the Gauss-Newton matrix H. Speckle noise is
correlated all over the maps, so the covariance is H⁻¹ [Σ_m Cov(score_m)] H⁻¹ instead: scores of white noise, and of
speckles that the fitted model predicts (`hetdask.passes.speckle_scores`), of the strengths that the residuals show
(`hetdask.fitting.noise_model`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray

from hetdask.fitting.identifiability import (
    Determined,
    Weak,
    cautions,
    identify,
    inverse_without_null,
    natural_units,
)
from hetdask.fitting.noise_model import SIGNIFICANT, NoiseModel, NoiseStrength, white_beside_counting
from hetdask.fitting.objective import DataPasses
from hetdask.fitting.refine import Refinement
from hetdask.model.parameters import NAMES
from hetdask.passes.normal import Projection, project
from hetdask.passes.speckle_scores import score_covariance
from hetdask.passes.tiles import Series

if TYPE_CHECKING:
    from hetdask_cluster.runner import Runner

Array = NDArray[np.float64]
Kind = Literal["speckle", "iid"]

FAR: Final = 6.0
"""Standard errors from the estimates to parameters that belong to the same optimum."""

PILOT: Final = 256
"""Speckles of each angle that tell how many more are needed."""

PRECISION: Final = 0.025
"""Of standard errors, relative, from the number of simulated speckles."""

SPREAD: Final = 10.0
"""Variance of the square of a score over its mean squared: 2 for Gaussian scores, more where few modes interfere."""

UNKNOWN_NOISE: Final = (
    "errors take pixels as independent, since the noise could not be told from the residuals: the scatter between "
    "repeated experiments is several times larger where speckle noise counts"
)
AS_PREDICTED: Final = (
    "errors hold for white and speckle noise of the strengths that the residuals show; they correlate as predicted"
)


@dataclass(frozen=True, slots=True, eq=False)
class Uncertainty:
    """Errors of a fit.

    Attributes
    ----------
    kind : {"speckle", "iid"}
    reason : str
        Why these, and whether the residuals support them.
    covariance, covariance_iid : (p, p) float64
        Of the free parameters; directions without curvature are left out.
    identifiability : Determined
    cautions : tuple of str
    """

    kind: Kind
    reason: str
    covariance: Array
    covariance_iid: Array
    identifiability: Determined
    cautions: tuple[str, ...]

    @property
    def stderr(self) -> Array:
        """Standard errors (p,); NaN where the data do not determine a parameter."""
        return self._errors(self.covariance)

    @property
    def stderr_iid(self) -> Array:
        """The same if pixels were independent."""
        return self._errors(self.covariance_iid)

    def _errors(self, covariance: Array) -> Array:
        errors = np.sqrt(np.maximum(np.diagonal(covariance), 0.0))
        return np.where(self.identifiability.identified, errors, np.nan)


def uncertainty_of(
    passes: DataPasses, fit: Refinement, noise: NoiseModel | None, runner: Runner, *, seed: int
) -> Uncertainty:
    """Errors of a fit; costs one pass over the data and up to some thousand simulated speckles.

    They are evaluated at the most likely parameters near the fit, whose scatter is less than its own: errors that grow
    where an estimate is off by chance hold too often, and those that shrink too seldom. Where some directions are not
    determined they are those at the fit itself.

    Parameters
    ----------
    passes : DataPasses
        The data that were fitted.
    fit : Refinement
    noise : NoiseModel or None
        What the residuals at the most likely parameters say about the noise; without it pixels count as independent.
    runner : Runner
        Where speckles are simulated.
    seed : int
    """
    if noise is None:
        return _uncertainty_at(fit.values, passes, fit, noise, runner, seed)
    found = _uncertainty_at(noise.vector, passes, fit, noise, runner, seed)
    if found.identifiability.weak or strayed(fit, noise.vector, found.stderr):
        return _uncertainty_at(fit.values, passes, fit, noise, runner, seed)
    return found


def strayed(fit: Refinement, values: Array, errors: Array) -> bool:
    """Whether parameters (14,) are further from those of a fit than errors (p,) explain: they lie near another one."""
    rows = [NAMES.index(name) for name in fit.free]
    return bool(np.any(np.abs(values - fit.values)[rows] > FAR * errors))


def _uncertainty_at(
    values: Array, passes: DataPasses, fit: Refinement, noise: NoiseModel | None, runner: Runner, seed: int
) -> Uncertainty:
    """Errors of a fit with the derivatives and the speckles of the model at `values` (14,)."""
    series, free = passes.series, tuple(NAMES.index(name) for name in fit.free)
    result = project(passes(values, free))
    sigma = np.array([angle.residual_rms for angle in fit.angles])
    _, _, gauss_newton = result.weighted(sigma)
    unit = natural_units(values, series)[list(free)]
    inverse = inverse_without_null(gauss_newton, unit)
    if noise is None:
        kind: Kind = "iid"
        covariance, reason = inverse, UNKNOWN_NOISE
    else:
        kind = "speckle"
        covariance = expected_covariance(values, free, series, result, inverse, sigma, noise, runner, seed=seed)
        if not noise.at_noise_level:
            # The largest scales decide about the estimates, the smaller ones, of which there are more, about the noise.
            covariance *= max(1.0, noise.leading)
        reason = _verdict(noise)
    return Uncertainty(
        kind=kind,
        reason=reason,
        covariance=covariance,
        covariance_iid=inverse,
        identifiability=identify(gauss_newton, covariance, values, free, series),
        cautions=cautions(fit.values, free, series),
    )


def expected_covariance(
    values: Array,
    free: tuple[int, ...],
    series: Series,
    result: Projection,
    inverse: Array,
    sigma: Array,
    noise: NoiseStrength,
    runner: Runner,
    *,
    seed: int,
) -> Array:
    """Covariance (p, p) of least-squares estimates under white, speckle and photon noise; 0 along what is undetermined.

    Parameters
    ----------
    values : (14,) float64
    free : tuple of int
    series : Series
    result : Projection
        Of maps, with the derivatives at these values.
    inverse : (p, p) float64
        Of its Gauss-Newton matrix, see `inverse_without_null`.
    sigma : (n_phi,) float64
        Weights of the angles.
    noise : NoiseStrength
    runner : Runner
    seed : int
    """
    offset = result.offset + series.baseline
    weight = sigma**-2.0
    strength = (weight * result.contrast * offset) ** 2 / noise.speckles

    def covariances(seed: tuple[int, ...], speckles: NDArray[np.int64]) -> Array:
        """What the speckles of each angle contribute (n_phi, p, p)."""
        contrast = result.contrast / offset
        scores = score_covariance(
            series, values, free, contrast, runner, seed=seed, speckles=speckles, photons=noise.photons
        )
        return inverse @ (strength[:, None, None] * scores) @ inverse

    white = white_beside_counting(series, values, offset, noise)
    covariance = inverse @ np.einsum("m,mkl->kl", weight**2 * white, result.gauss_newton) @ inverse
    return np.asarray(covariance + simulated_covariance(covariances, series.n_phi, covariance, seed))


def iid_uncertainty(fit: Refinement) -> Uncertainty:
    """Errors of a fit for independent pixels, where nothing else is known."""
    weak = tuple(
        Weak(f"{name} is not determined by these data", {name: 1.0}, open=True)
        for name, identified in zip(fit.free, fit.identified, strict=True)
        if not identified
    )
    determined = Determined(fit.identified, len(fit.free) - len(weak), weak)
    return Uncertainty("iid", UNKNOWN_NOISE, fit.covariance, fit.covariance, determined, ())


def simulated_covariance(
    covariances: Callable[[tuple[int, ...], NDArray[np.int64]], Array], n_phi: int, white: Array, seed: int
) -> Array:
    """Sum over the angles of `covariances(seed, speckles)` (n_phi, p, p), each with as many speckles as it needs.

    A few show how much of the variance of each parameter comes from which angle, beside that of `white` noise (p, p).
    """
    few = np.full(n_phi, PILOT)
    pilot = covariances((seed, 0), few)
    total = np.diagonal(white) + np.diagonal(pilot.sum(axis=0))
    # Where something is not determined, rounding errors may leave any number: a share is one all the same.
    ratio = np.diagonal(pilot, axis1=1, axis2=2) / np.where(total > 0.0, total, np.inf)
    share = np.max(np.clip(np.nan_to_num(ratio), 0.0, 1.0), axis=1)
    needed = np.ceil(SPREAD * share * share.sum() / (2.0 * PRECISION) ** 2).astype(np.int64)
    more = np.maximum(needed - PILOT, 0)
    rest = covariances((seed, 1), more)
    known = (few / (few + more))[:, None, None]
    return np.asarray(np.sum(known * pilot + (1.0 - known) * rest, axis=0))


def _verdict(noise: NoiseModel) -> str:
    if noise.at_noise_level:
        return AS_PREDICTED
    excess = noise.excess
    found = [
        text
        for value, text in (
            (excess.between, "at large scales"),
            (excess.inside, "at small scales"),
            (excess.neighbours, "between neighbouring pixels"),
            (excess.common, "by what the angles have in common"),
        )
        if value >= SIGNIFICANT
    ]
    return (
        "errors are those of white and speckle noise as strong as the residuals, but the residuals differ from such "
        f"noise {', '.join(found)} ({excess.largest:.0f} standard deviations): the data were smoothed or averaged, or "
        "the model does not describe them; take the errors as a guess"
    )
