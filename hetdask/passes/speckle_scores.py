"""Scatter of least-squares estimates under speckle noise, from speckles simulated at the optimum.

With the intensity I = ⟨I⟩(1 + δ) of one speckle, its influence on the map c2/offset = 1 + β g is
ψ(i, j) = δ_i δ_j - β g(i, j)(1 + δ_i + δ_j), divided by the number of speckles. Its score is
u_k = Σ_{i<j} D̃_k(i, j) ψ(i, j), where D̃_k are the derivatives of g orthogonal to 1 and g: what contrast and offset
absorb. The covariance of the scores is that of the gradient of χ², and thereby of the estimates.

The covariance of ψ is β² A + β³ B (see `hetdask_kernels.speckles`), so that over β² it is linear in β: speckles of
⌊1/β⌋ modes and of one more, in the right shares, stand for any contrast β exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from hetdask.passes.factors import LANE, angle_factors, series_factors
from hetdask.passes.speckle_fields import SpeckleFields
from hetdask.passes.tiles import Series
from hetdask_kernels import model_grams
from hetdask_kernels.scores import model_rows, pair_sums

if TYPE_CHECKING:
    from hetdask_cluster.runner import Runner

Array = NDArray[np.float64]

MODES: Final = 4
"""Speckles of many modes are nearly Gaussian, so fewer do: no more than so many modes a speckle are simulated."""

BATCH: Final = 1024
"""Speckles of one angle that a task simulates; each prepares the sums of the model once."""

VALUES: Final = 2**19
"""Intensities that a task holds at the same time: 4 MiB, twice over."""

LEAST_CONTRAST: Final = 0.01
"""Speckle statistics of a lower contrast are those of Gaussian noise."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """Some speckles of one angle: contrast β, the seed of their random numbers, and their photons in a frame."""

    angle: int
    contrast: float
    seed: tuple[int, ...]
    speckles: int
    photons: float


def score_covariance(
    series: Series,
    vector: Array,
    free: tuple[int, ...],
    contrast: Array,
    runner: Runner,
    *,
    seed: tuple[int, ...],
    speckles: NDArray[np.int64],
    photons: Array | None = None,
) -> Array:
    """Covariance (n_phi, p, p) of the score of one speckle of each angle; 0 where none is simulated.

    Parameters
    ----------
    series : Series
    vector : (14,) float64
    free : tuple of int
        The p parameters.
    contrast : (n_phi,) float64
        Contrast over offset.
    runner : Runner
    seed : tuple of int
    speckles : (n_phi,) int64
        To be simulated for each angle; fewer where the contrast is low.
    photons : (n_phi,) float64, optional
        Mean count per speckle and frame, see `hetdask.model.simulate_speckle`; infinite where there is no photon noise,
        as everywhere by default.
    """
    counted = np.full(series.n_phi, np.inf) if photons is None else photons
    batches = [
        _Batch(
            angle=m,
            contrast=contrast_of_speckles(float(contrast[m])),
            seed=(*seed, m, first),
            speckles=min(BATCH, int(speckles[m]) - first),
            photons=float(counted[m]),
        )
        for m in range(series.n_phi)
        for first in range(0, int(speckles[m]), BATCH)
    ]
    moments = runner.map(_moments, batches, series, np.asarray(vector, dtype=np.float64), free)
    total = np.zeros((series.n_phi, len(free), len(free)))
    for batch, moment in zip(batches, moments, strict=True):
        total[batch.angle] += moment * batch.speckles / speckles[batch.angle]
    return total


def contrast_of_speckles(contrast: float) -> float:
    """The contrast of speckles that stand for those of a map with this contrast over offset."""
    return float(np.clip(contrast, LEAST_CONTRAST, 1.0))


def mode_shares(contrast: float) -> dict[int, float]:
    """Two numbers of modes, and the shares in which their speckles stand for a contrast in [LEAST_CONTRAST, 1].

    Examples
    --------
    >>> mode_shares(0.5)[2]
    1.0
    """
    few = math.floor((1.0 + 1e-12) / contrast)
    share = few * (contrast * (few + 1) - 1.0)
    return {few: share, few + 1: 1.0 - share}


def _moments(batch: _Batch, series: Series, vector: Array, free: tuple[int, ...]) -> Array:
    """Task: mean product (p, p) of the scores of simulated speckles."""
    rng = np.random.default_rng(batch.seed)
    moment = np.zeros((len(free), len(free)))
    score = Scores(series, batch.angle, vector, free)
    for modes, share in mode_shares(batch.contrast).items():
        count = round(share * batch.speckles * min(1.0, MODES / modes))
        if count > 1:
            scores = score.simulate(count, modes, rng, batch.photons) * (batch.contrast * modes)
            moment += share * np.cov(scores, rowvar=False).reshape(moment.shape)
    return moment


class Scores:
    """Scores of single speckles of one angle, see the head of this module.

    Parameters
    ----------
    series : Series
    angle : int
    vector : (14,) float64
    free : tuple of int
    """

    def __init__(self, series: Series, angle: int, vector: Array, free: tuple[int, ...]) -> None:
        one = slice(angle, angle + 1)
        self._fields = SpeckleFields(series, angle, vector)
        shared = series_factors(vector, series.padded_time, series.block)
        factors = angle_factors(shared, series.phi[one], series.q[one], series.excluded[one])
        self._keep = factors.keep[0]
        self._model = (factors.step[0], shared.amplitude, shared.gain)
        grams = np.zeros((1, *(2 + factors.scale.shape[1],) * 2))
        model_grams(factors.step, shared.amplitude, factors.keep, shared.gain, np.zeros(1, dtype=np.int64), grams)
        gram = grams[0]
        columns = 2 + LANE[list(free)]
        self._project = np.zeros((gram.shape[0], len(free)))
        self._project[columns, np.arange(len(free))] = factors.scale[0, LANE[list(free)]]
        # What contrast and offset absorb: the part along 1 and g.
        self._project[:2] = -np.linalg.lstsq(gram[:2, :2], gram[:2] @ self._project)[0]
        self._rows = model_rows(*self._model[:2], self._keep, shared.gain) @ self._project

    def of(self, intensity: Array, modes: int) -> Array:
        """Scores (S, p) of speckles with intensities (S, N) of mean 1 and contrast 1/`modes`."""
        deviation = np.zeros((intensity.shape[0], self._keep.size))
        data = deviation[:, : intensity.shape[1]]
        np.subtract(intensity, 1.0, out=data)
        deviation *= self._keep
        pairs = pair_sums(*self._model, deviation) @ self._project
        return np.asarray(pairs - deviation @ (self._rows / modes))

    def simulate(self, count: int, modes: int, rng: np.random.Generator, photons: float = math.inf) -> Array:
        """Scores (count, p) of simulated speckles of `modes` modes, with so many photons in a frame."""
        most = max(1, VALUES // self._keep.size)
        scores = np.empty((count, self._rows.shape[1]))
        for first in range(0, count, most):
            part = scores[first : first + most]
            part[:] = self.of(self._fields.intensity(part.shape[0], modes, rng, photons).T, modes)
        return scores
