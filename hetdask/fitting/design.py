"""Errors of an experiment before it is made: what its frames, angles and speckles would determine.

The maps are those of the model, without noise, as block means; derivatives, speckle statistics and weights follow from
them as they do from data. Nothing here grows with the number of pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hetdask.data.reduction import Blocks, Reduced, blocks_of, level_within
from hetdask.fitting.cold_start import MOST_BLOCKS
from hetdask.fitting.identifiability import Determined, cautions, identify, inverse_without_null, natural_units
from hetdask.fitting.likely import weighted_sums
from hetdask.fitting.noise_evidence import gather
from hetdask.fitting.noise_model import NoiseStrength, counting_noise
from hetdask.fitting.uncertainty import expected_covariance
from hetdask.passes.normal import project
from hetdask.passes.reduced import ReducedPasses
from hetdask.passes.tiles import Series

if TYPE_CHECKING:
    from hetdask_cluster.runner import Runner

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Design:
    """Errors of a planned experiment.

    Attributes
    ----------
    plain, weighted : (p,) float64
        Standard errors of the free parameters with plain weights and with those of `fit.weights: speckle`; NaN where a
        parameter is not determined.
    identifiability : Determined
    cautions : tuple of str
    """

    plain: Array
    weighted: Array
    identifiability: Determined
    cautions: tuple[str, ...]


def design(
    series: Series,
    vector: Array,
    free: tuple[int, ...],
    runner: Runner,
    *,
    speckles: int,
    modes: int,
    photons: float | None = None,
    seed: int = 0,
) -> Design:
    """Errors that a fit of such an experiment would have.

    Parameters
    ----------
    series : Series
        Its angles, wavevectors and frames; baselines of 1.
    vector : (14,) float64
        True parameters.
    free : tuple of int
        Those that would be fitted.
    runner : Runner
        Where speckles are simulated.
    speckles, modes, photons
        As in `hetdask.model.simulate_speckle`.
    seed : int
    """
    passes = _passes(series, vector, 1.0 / modes)
    gathered = gather(passes, vector, free)
    number = np.full(series.n_phi, float(speckles))
    count = np.full(series.n_phi, np.inf if photons is None else photons)
    noise = NoiseStrength(counting_noise(series, vector, number, count), number, count)
    pixel = np.array([angle.prediction.of(k).pixel for angle, k in zip(gathered.angles, count.tolist(), strict=True)])
    pixel /= speckles
    sigma = np.sqrt(pixel + noise.sigma_white**2)
    result, unit = project(passes(vector, free)), natural_units(vector, series)[list(free)]
    gauss_newton = result.weighted(sigma)[2]
    inverse = inverse_without_null(gauss_newton, unit)
    covariance = expected_covariance(vector, free, series, result, inverse, sigma, noise, runner, seed=seed)
    determined = identify(gauss_newton, covariance, vector, free, series)
    information = weighted_sums(gathered, noise, np.eye(len(free))).information
    weighted = _errors(inverse_without_null(information, unit), determined)
    return Design(_errors(covariance, determined), weighted, determined, cautions(vector, free, series))


def _errors(covariance: Array, determined: Determined) -> Array:
    return np.where(determined.identified, np.sqrt(np.maximum(np.diagonal(covariance), 0.0)), np.nan)


def _passes(series: Series, vector: Array, contrast: float) -> ReducedPasses:
    """Passes over the block means of maps that follow the model exactly."""
    n_phi, n = series.n_phi, series.time.size
    blocks = blocks_of(n, level_within(n_phi, n, MOST_BLOCKS * n_phi))
    count = np.tile(_pixels(blocks), (n_phi, 1))
    nothing = np.zeros_like(count)
    empty = Reduced(blocks, nothing, count, nothing, np.zeros(n_phi), np.empty((0, 3), dtype=np.int64))
    means = ReducedPasses(series, empty).model_means(vector)
    return ReducedPasses(series, replace(empty, mean=series.baseline[:, None] + contrast * means))


def _pixels(blocks: Blocks) -> Array:
    """Pixels of each block (n,) of a map without gaps."""
    rows, columns = (
        np.minimum(first + blocks.size, blocks.n_frames) - first for first in (blocks.first_row, blocks.first_column)
    )
    triangle = blocks.first_row == blocks.first_column
    return np.asarray(np.where(triangle, 0.5 * rows * (rows - 1), rows * columns), dtype=np.float64)
