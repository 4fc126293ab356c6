"""White noise, speckle and photon number of a data set, and whether residuals are no more than that.

White noise σ is independent from pixel to pixel. Speckle noise of P speckles is correlated over the map in a way that
the model predicts. Independent components of the residuals (`hetdask.fitting.noise_evidence`) have the variances
σ² + λ_k/P with known λ_k, so both follow by restricted maximum likelihood: from hundreds of components of every angle,
which says far more than a structure function of the residuals at a few distances. Neighbouring pixels bound σ² + λ/P
from above whatever the model. Counted photons add to λ_k what their frames share; their number is sought where the
residuals are most likely (`hetdask.fitting.noise_estimate`).

Residuals of the right model then have the predicted variance at all scales, inside the blocks and between them, and
those of different angles have nothing in common, since each angle sees speckles of its own. Residuals of a wrong
model have. A wrong optimum that leaves what a smaller number of speckles would leave too is not found out: compare the
likelihood of optima.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hetdask.fitting.noise_estimate import SPECKLE_DOUBT, WHITE_DOUBT, Estimate, find_photons
from hetdask.fitting.noise_evidence import Evidence, Gathered, gather
from hetdask.model.dynamics import dynamics
from hetdask.passes.reduced import ReducedPasses
from hetdask.passes.tiles import Series

Array = NDArray[np.float64]

SAME_Q: Final = 0.1
"""Angles whose wavevectors differ by less than this share have the same number of speckles."""

INSIDE_DOUBT: Final = 0.4
"""Relative error of the speckle noise that is predicted inside the blocks."""

RANKS: Final = (0, 2, 4, 8, 16, 32, 64, 128, 256)
"""Components are compared with predictions from each of these on up to the next, over all angles."""

LEADING: Final = (16, 64, None)
"""So many components are looked at for what the angles have in common; the fewest are the largest scales."""

SIGNIFICANT: Final = 3.5
"""Standard deviations that are no accident, of a few numbers looked at."""

REMARKABLE: Final = 2.5
"""Those that one right optimum in six has, and many a wrong one."""


@dataclass(frozen=True, slots=True)
class Excess:
    """Deviations from noise in standard deviations.

    Attributes
    ----------
    between : float
        Block residuals that are larger or smaller than predicted, at the scale where they are most so.
    inside : float
        The same inside the blocks.
    neighbours : float
        Noise between neighbouring pixels that differs from what residuals of blocks would mean for it.
    common : float
        What the angles have in common.
    """

    between: float
    inside: float
    neighbours: float
    common: float

    @property
    def largest(self) -> float:
        """The largest of them."""
        return max(float(getattr(self, field.name)) for field in fields(self))


@dataclass(frozen=True, slots=True, eq=False)
class NoiseStrength:
    """How strong white and speckle noise are.

    Attributes
    ----------
    sigma_white : (n_phi,) float64
        Standard deviation of the white noise, in units of c2.
    speckles : (n_phi,) float64
        Effective number of speckles.
    photons : (n_phi,) float64
        Photons of a speckle in a frame where one component is alone; infinite where their noise is not seen.
    """

    sigma_white: Array
    speckles: Array
    photons: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NoiseModel(NoiseStrength):
    """Noise of a data set, if the model that it was estimated with is right; angles of one q have as many speckles.

    Attributes
    ----------
    vector : (14,) float64
        Parameters of that model.
    sigma_white_error : (n_phi,) float64
        Standard error of `sigma_white`.
    speckles_range : (n_phi, 2) float64
        Within two standard errors; up to infinity where no speckle noise is seen.
    expected_rms : (n_phi,) float64
        Root mean square of the residuals at full resolution after the fit, in units of c2.
    expected_spread : (n_phi,) float64
        Its standard deviation from one data set to another.
    log_likelihood : float
        Restricted likelihood of the residuals, for comparison with that of another optimum of the same parameters.
    excess : Excess
    leading : float
        Mean square of the residuals at the largest scales over the predicted one.
    """

    vector: Array
    sigma_white_error: Array
    speckles_range: Array
    expected_rms: Array
    expected_spread: Array
    log_likelihood: float
    excess: Excess
    leading: float

    @property
    def sees_speckles(self) -> bool:
        """Whether there is speckle noise at any angle."""
        return bool(np.any(np.isfinite(self.speckles_range[:, 1])))

    @property
    def at_noise_level(self) -> bool:
        """Whether the residuals are no more than noise."""
        return self.excess.largest < SIGNIFICANT

    @property
    def is_unremarkable(self) -> bool:
        """Whether nothing about the residuals makes one think of anything but noise."""
        return self.excess.largest < REMARKABLE


def counting_noise(series: Series, vector: Array, speckles: Array, photons: Array) -> Array:
    """White noise (n_phi,) that counting photons leaves in c2/offset, for the model at `vector` (14,).

    Nearly so: that of a product of two counts is one over their means, and larger by c2 itself.
    """
    inverse = float(np.mean(1.0 / dynamics(vector, series.time).intensity))
    return np.asarray(inverse / photons / np.sqrt(speckles))


def white_beside_counting(series: Series, vector: Array, offset: Array, noise: NoiseStrength) -> Array:
    """White variance (n_phi,) that is left for speckles whose photons are counted: these bring noise of their own."""
    counting = offset * counting_noise(series, vector, noise.speckles, noise.photons)
    return np.maximum(noise.sigma_white**2 - counting**2, 0.0)


def estimate_noise(passes: ReducedPasses, vector: Array, free: tuple[int, ...]) -> NoiseModel:
    """Estimate the noise from the residuals of an optimum.

    Parameters
    ----------
    passes : ReducedPasses
        Any level of the ladder will do, if it has no fewer than some hundred groups of frames.
    vector : (14,) float64
        Parameters.
    free : tuple of int
        Those that were fitted.

    Raises
    ------
    FitError
        If there are fewer blocks of data than parameters.
    """
    return noise_in(gather(passes, vector, free), passes.series.q, len(free))


def noise_in(gathered: Gathered, q: Array, n_free: int, photons: Array | None = None) -> NoiseModel:
    """Estimate the noise from blocks of residuals of maps with wavevectors `q` (n_phi,), after a fit of `n_free`.

    `photons` (n_phi,) of a speckle in a frame are found too if they are not given.
    """
    group = np.unique(np.round(np.log(q / np.median(q)) / SAME_Q), return_inverse=True)[1].ravel()
    if photons is None:
        photons = find_photons(gathered, group)
    angles = gathered.evidence(photons)
    estimate = Estimate(angles, gathered.deviates, group)
    white, share = estimate.white, estimate.share
    white_error, share_error = estimate.errors()
    low, high = share + 2.0 * share_error, np.maximum(share - 2.0 * share_error, 0.0)
    expected, spread = _expected(estimate, white_error, share_error, n_free)
    variances = estimate.variances()
    ratios = [x.components**2 / variance for x, variance in zip(angles, variances, strict=True)]
    with np.errstate(divide="ignore"):
        return NoiseModel(
            vector=gathered.vector,
            sigma_white=np.sqrt(white),
            sigma_white_error=0.5 * white_error / np.sqrt(white),
            speckles=1.0 / share[group],
            photons=photons,
            speckles_range=np.stack([1.0 / low, 1.0 / high], axis=1)[group],
            expected_rms=expected,
            expected_spread=spread,
            log_likelihood=estimate.log_likelihood,
            excess=_excess(estimate, variances, ratios),
            leading=float(np.mean([np.mean(x[: LEADING[0]]) for x in ratios])),
        )


def _expected(estimate: Estimate, white_error: Array, share_error: Array, n_free: int) -> tuple[Array, Array]:
    """Expected residual rms of the full maps after a fit, and its standard deviation."""
    expected, spread = np.empty_like(white_error), np.empty_like(white_error)
    for m, angle in enumerate(estimate.angles):
        n, group = angle.n_points, estimate.group[m]
        dof = max(n - 2.0 - n_free / expected.size, 1.0)
        speckle = max(n * angle.pixel - angle.absorbed, 0.0)
        white, share = estimate.white[m], estimate.share[group]
        chance = 2.0 * (share**2 * angle.fluctuation + 2.0 * share * white * angle.remaining + n * white**2)
        squares = white * dof + share * speckle
        error = np.sqrt(chance + (white_error[m] * dof) ** 2 + (share_error[group] * speckle) ** 2)
        expected[m] = np.sqrt(squares / dof)
        spread[m] = 0.5 * error / (dof * expected[m])
    return expected, spread


def _deviation(ratio: float, variance: float) -> float:
    """Measured over predicted variance as a normal deviate, if chance lets it vary by `variance` (Wilson-Hilferty)."""
    part = variance / 9.0
    return float((np.cbrt(ratio) - 1.0 + part) / np.sqrt(part))


def _excess(estimate: Estimate, variances: list[Array], ratios: list[Array]) -> Excess:
    """From the predicted variances of the components of each angle, and their squares over these."""
    angles, white, share = estimate.angles, estimate.white, estimate.share[estimate.group]
    parts = [1.0 - white[m] / variance for m, variance in enumerate(variances)]
    between = []
    for first, last in zip(RANKS, (*RANKS[1:], None), strict=True):
        ratio = np.concatenate([x[first:last] for x in ratios])
        if ratio.size:
            part = float(np.mean(np.concatenate([x[first:last] for x in parts])))
            doubt = (0.5 * SPECKLE_DOUBT) ** 2 + (SPECKLE_DOUBT * part) ** 2
            between.append(_deviation(float(np.mean(ratio)), 2.0 / ratio.size + doubt))
    inside = []
    for m, angle in enumerate(angles):
        if angle.inside_count > 0.0:
            speckle = max(angle.inside_predicted, 0.0) * share[m]
            predicted = speckle + white[m] * angle.inside_count
            doubt = (2.0 * WHITE_DOUBT) ** 2 + (INSIDE_DOUBT * speckle / predicted) ** 2
            inside.append(_deviation(angle.inside / predicted, 2.0 / angle.inside_count + doubt))
    near = estimate.measured / (estimate.neighbours * share + white)
    doubts = estimate.doubt**2 + WHITE_DOUBT**2 + (SPECKLE_DOUBT * estimate.speckle_part) ** 2
    local = [
        _deviation(float(x), float(v))
        for x, v, angle in zip(near, doubts, angles, strict=True)
        if np.isfinite(angle.scatter)
    ]
    common = [_common(angles, variances, last) for last in LEADING] if len(angles) > 1 else []
    return Excess(
        between=max((abs(x) for x in between), default=0.0),
        inside=max((abs(x) for x in inside), default=0.0),
        neighbours=max((abs(x) for x in local), default=0.0),
        common=max(common, default=0.0),
    )


def _common(angles: list[Evidence], variances: list[Array], last: int | None) -> float:
    """Correlation between the leading components of all pairs of angles as a normal deviate."""
    axes = [angle.axes[:, :last] for angle in angles]
    whitened = [
        axis @ (angle.components[:last] / np.sqrt(variance[:last]))
        for axis, angle, variance in zip(axes, angles, variances, strict=True)
    ]
    squares = [
        float(whitened[a] @ whitened[b]) ** 2 / float(np.sum((axes[a].T @ axes[b]) ** 2))
        for a, b in combinations(range(len(angles)), 2)
    ]
    return _deviation(float(np.mean(squares)), 2.0 / len(squares))
