"""Whether the residuals of a fit are what white and speckle noise leave, as probabilities.

Two kinds of checks, since noise can hide what a model lacks in two ways.

Level: the mean square of the residuals of the fit, over that predicted (`hetdask.fitting.noise_model`).

Structure: at the most likely parameters near the fit, block means of the residuals are turned into independent numbers
of unit variance, w = C^(-1/2) r with the covariance C = σ² + Σ/P that white and speckle noise have, without what
contrast, offset and parameters absorb. Speckle noise alone is correlated over whole maps; w is not. So

- w of blocks that are neighbours along the lag, or along time, have no correlation: wᵀN w with the neighbours N has the
  mean tr N and the variance 2 tr N² on the space of w;
- smooth functions of lag and time do not stand out: the part of wᵀw along them, per degree of freedom, over the rest is
  a ratio of variances (F), for functions of each angle and for those that all angles have in common. This is the score
  test of a model with such functions added, and does not depend on the strength of the noise.

Everything here costs as much as the few hundred blocks of each angle; no pixel is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import chdtrc, fdtrc, ndtr

from hetdask.data.reduction import Blocks
from hetdask.fitting.noise_evidence import AngleBlocks, Evidence, Gathered
from hetdask.fitting.noise_model import NoiseModel
from hetdask.fitting.refine import Refinement

Array = NDArray[np.float64]
CheckName = Literal["level", "lag", "time", "angles", "common"]

LAG_ORDERS: Final = 6
"""Cosines of the logarithm of the lag, from none on."""

TIME_ORDERS: Final = 3
"""Cosines of the time, from none on."""

TOGETHER: Final = 1.2
"""Scatter of the mean level of all angles in simulations, over that of independent ones: they share the parameters."""

NEIGHBOUR_DOUBT: Final = 0.02
"""Correlation between neighbours that remains, since predicted covariances are not exact."""

SMOOTH_DOUBT: Final = 0.1
"""Relative error of predicted variances that smooth functions meet: they lie where speckle noise is strongest."""

NEGLIGIBLE: Final = 1e-6
"""Singular values below this share of the largest are rounding."""


@dataclass(frozen=True, slots=True)
class Check:
    """One way to look at the residuals.

    Attributes
    ----------
    name : {"level", "lag", "time", "angles", "common"}
        Mean square of all angles; neighbours along the lag; along time; smooth functions of each angle; of all angles.
    p_value : float
        Probability that noise alone looks at least as bad.
    """

    name: CheckName
    p_value: float


@dataclass(frozen=True, slots=True, eq=False)
class Goodness:
    """Residuals of a fit against white and speckle noise.

    Attributes
    ----------
    level : (n_phi,) float64
        Mean square residual of each angle over the expected one.
    level_p_value : (n_phi,) float64
        Probability of such a level, or a higher one, by chance.
    checks : tuple of Check
    """

    level: Array
    level_p_value: Array
    checks: tuple[Check, ...]

    @property
    def p_value(self) -> float:
        """Probability that any check is as bad as the worst by chance (Bonferroni: at most this)."""
        return min(1.0, len(self.checks) * min(check.p_value for check in self.checks))


def goodness_of(fit: Refinement, noise: NoiseModel, structure: tuple[Check, ...]) -> Goodness:
    """Compare the residuals of a fit with the noise.

    Parameters
    ----------
    fit : Refinement
    noise : NoiseModel
        From the most likely parameters near the fit.
    structure : tuple of Check
        Of the residuals there, see `structure_of`.
    """
    measured = np.array([angle.residual_rms for angle in fit.angles])
    level = (measured / noise.expected_rms) ** 2
    spread = 2.0 * noise.expected_spread / noise.expected_rms
    together = TOGETHER if level.size > 1 else 1.0
    overall = Check("level", float(_chance(np.mean(level), together * np.sqrt(np.sum(spread**2)) / level.size)))
    return Goodness(level, _chance(level, spread), (overall, *structure))


def _chance(ratio: Array | np.floating, spread: Array | np.floating) -> Array:
    """Probability of a ratio of sums of squares, or a higher one, from its standard deviation (Satterthwaite)."""
    degrees = 2.0 / np.square(spread)
    return np.asarray(chdtrc(degrees, degrees * ratio))


def _strengths(noise: NoiseModel) -> tuple[Array, Array]:
    """White variance and inverse speckle number (n_phi,) each."""
    return noise.sigma_white**2, 1.0 / noise.speckles


@dataclass(frozen=True, slots=True, eq=False)
class _Whitened:
    """Residuals of one angle as independent numbers `values` (k,), from n blocks along `axes` (n, k).

    `root` (n,) is the root of the pixels of each block, `sensitivity` (k,) what turns deviations of g, weighted by it
    and taken along the axes, into units of the noise.
    """

    values: Array
    axes: Array
    root: Array
    sensitivity: Array

    @classmethod
    def of(cls, blocks: AngleBlocks, evidence: Evidence, white: float, share: float) -> _Whitened:
        scale = 1.0 / np.sqrt(evidence.predicted * share + white)
        root = np.zeros(blocks.held.size)
        root[blocks.held] = blocks.scaling[:, 0]
        return cls(evidence.components * scale, evidence.axes, root, evidence.contrast * scale)

    def along(self, functions: Array) -> Array:
        """Functions of the blocks (n, j) in the units and axes of `values`, (k, j)."""
        return np.asarray(self.sensitivity[:, None] * (self.axes.T @ (self.root[:, None] * functions)))


def structure_of(gathered: Gathered, noise: NoiseModel) -> tuple[Check, ...]:
    """Checks of the structure of residuals whose noise is known; those are left out for which there are too few."""
    angles = [
        _Whitened.of(*angle)
        for angle in zip(gathered.angles, gathered.evidence(noise.photons), *_strengths(noise), strict=True)
    ]
    blocks = gathered.blocks
    along = [angle.along(_smooth(blocks)) for angle in angles]
    values = [angle.values for angle in angles]
    lag, time = (csr_array(pairs) for pairs in _neighbours(blocks))
    chances: dict[CheckName, float | None] = {
        "lag": _neighbour_chance(angles, lag),
        "time": _neighbour_chance(angles, time),
        "angles": _smooth_chance(values, along),
        "common": _smooth_chance([np.concatenate(values)], [np.concatenate(along)]) if len(angles) > 1 else None,
    }
    return tuple(Check(name, chance) for name, chance in chances.items() if chance is not None)


def _neighbour_chance(angles: Sequence[_Whitened], pairs: csr_array) -> float | None:
    """Probability of the correlation that neighbours have, or a higher one; None without neighbours."""
    excess = variance = 0.0
    for angle in angles:
        inner = angle.axes.T @ (pairs @ angle.axes)
        excess += float(angle.values @ inner @ angle.values - np.trace(inner))
        variance += 2.0 * float(np.sum(inner**2))
    doubt = NEIGHBOUR_DOUBT * len(angles) * float(pairs.sum())
    return float(ndtr(-excess / np.hypot(np.sqrt(variance), doubt))) if doubt > 0.0 else None


def _smooth_chance(values: Sequence[Array], along: Sequence[Array]) -> float | None:
    """Probability that so much, or more, of the values lies along given functions; None if these are most of it."""
    part, taken, number = 0.0, 0, sum(x.size for x in values)
    total = float(sum(x @ x for x in values))
    for x, functions in zip(values, along, strict=True):
        vectors, size, _ = np.linalg.svd(functions, full_matrices=False)
        kept = vectors[:, size > NEGLIGIBLE * size[0]]
        part += float(np.sum((kept.T @ x) ** 2))
        taken += kept.shape[1]
    if taken == 0 or 2 * taken > number:
        return None
    ratio = (part / taken) / ((total - part) / (number - taken))
    return float(fdtrc(taken, number - taken, ratio / (1.0 + SMOOTH_DOUBT)))


def _neighbours(blocks: Blocks) -> tuple[Array, Array]:
    """Symmetric weights (n, n) of pairs of blocks that touch: one at a larger lag, one at a later time.

    Blocks of different sizes touch along a part of their sides; later in time are the next ones of the same size at the
    same lag.
    """
    size, row, column = blocks.size, blocks.first_row, blocks.first_column
    shared = np.sqrt(np.outer(size, size))

    def overlap(first: NDArray[np.int64]) -> Array:
        last = first + size
        return np.asarray(np.maximum(np.minimum.outer(last, last) - np.maximum.outer(first, first), 0) / shared)

    right = np.equal.outer(column + size, column) * overlap(row)
    above = np.equal.outer(row, row + size) * overlap(column)
    later = np.equal.outer(row + size, row) & np.equal.outer(column + size, column) & np.equal.outer(size, size)
    lag = np.asarray(right + above, dtype=np.float64)
    return np.asarray(lag + lag.T), np.asarray(later | later.T, dtype=np.float64)


def _smooth(blocks: Blocks) -> Array:
    """Products of cosines of log lag and of time (n, j), from 0 to half a period per order over the map."""
    size, n = blocks.size, blocks.n_frames
    lag = np.where(blocks.first_column > blocks.first_row, blocks.first_column - blocks.first_row, size / 3.0)
    time = np.minimum(0.5 * (blocks.first_row + blocks.first_column + size) / n, 1.0)
    depth = np.log(lag / lag.min()) / max(np.log(lag.max() / lag.min()), np.finfo(np.float64).tiny)
    lags, times = (
        np.cos(np.pi * np.outer(x, np.arange(orders))) for x, orders in ((depth, LAG_ORDERS), (time, TIME_ORDERS))
    )
    return np.asarray((lags[:, :, None] * times[:, None, :]).reshape(size.size, -1))
