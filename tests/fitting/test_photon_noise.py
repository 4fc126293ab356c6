"""Noise that frames share because photons are counted: as simulated, and found in the residuals of a fit."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from hetdask.fitting.speckle_covariance import Fields
from hetdask.model import PARAMETERS, as_vector, dynamics, simulate_speckle
from hetdask.model.correlation import flow_wavevector
from hetdask.passes.speckle_fields import SpeckleFields
from hetdask.passes.tiles import Series
from hetdask_kernels.speckles import photon_covariance, photon_variance

from .test_noise_model import PHI, TIME, Q, estimated, truth

FRAMES = 6
MODES = 2
PHOTONS = 0.7


def few_frames() -> Series:
    """Frames so far apart that their fields differ."""
    excluded = np.zeros((1, FRAMES), dtype=np.bool_)
    return Series(
        phi=PHI[1:2], q=np.array([Q]), time=2.0 * np.arange(FRAMES), excluded=excluded, baseline=np.ones(1), tile=8
    )


def fields_of(series: Series, vector: NDArray[np.float64]) -> Fields:
    d = dynamics(vector, series.time)
    kappa, _ = flow_wavevector(d.phi0, series.phi, series.q)
    return Fields.of(d, Q, float(kappa[0]))


def test_counted_photons_add_the_covariance_that_is_predicted() -> None:
    vector, series = truth(1.0), few_frames()
    fields = fields_of(series, vector)
    coherence = fields.between_frames(np.arange(FRAMES))
    row, column = (x.astype(np.int64) for x in np.triu_indices(FRAMES, 1))
    g = coherence.intensity[row, column] / MODES

    def influence(intensity: NDArray[np.float64]) -> NDArray[np.float64]:
        first, second = intensity[row] - 1.0, intensity[column] - 1.0
        return np.asarray(first * second - g[:, None] * (1.0 + first + second))

    rng, expected = np.random.default_rng(1), PHOTONS / fields.excess[:, None]
    speckles = SpeckleFields(series, 0, vector)
    measured, batches = np.zeros((row.size, row.size)), 12
    for _ in range(batches):
        intensity = speckles.intensity(40_000, MODES, rng)
        counted = rng.poisson(expected * intensity) / expected
        measured += (np.cov(influence(counted)) - np.cov(influence(intensity))) / batches
    nodes = np.stack([np.arange(FRAMES), np.arange(1, FRAMES + 1), np.ones(FRAMES, dtype=np.int64)], axis=1)
    shared = (nodes, fields.excess, coherence.intensity, coherence.chain, 1.0 / MODES)
    found = photon_covariance(row, column, *shared) / PHOTONS
    np.testing.assert_array_equal(photon_variance(row, column, *shared) / PHOTONS, np.diag(found))
    white = (1.0 + g) * fields.excess[row] * fields.excess[column] / PHOTONS**2
    np.testing.assert_allclose(np.diag(measured), np.diag(found) + white, rtol=0.06)
    scale = np.sqrt(np.outer(np.diag(measured), np.diag(measured)))
    np.testing.assert_allclose((measured / scale)[row[:, None] != row], (found / scale)[row[:, None] != row], atol=0.03)
    assert (found / scale)[0, 1] > 0.1  # two pixels of the first frame


def test_covariance_of_nodes_is_the_mean_over_their_frames() -> None:
    vector, keep = truth(1.0), np.ones(8)
    keep[5] = 0.0
    series = Series(
        phi=PHI[1:2], q=np.array([Q]), time=0.05 * np.arange(8), excluded=keep[None] == 0.0, baseline=np.ones(1), tile=8
    )
    fields = fields_of(series, vector)
    single, joined = fields.nodes(keep, 1, 1), fields.nodes(keep, 2, 2)
    frames, nodes = fields.between_nodes(keep, 1, 1), fields.between_nodes(keep, 2, 2)
    last = joined.frames.shape[0] - 1
    rows, columns = np.array([0, 0, 4]), np.array([1, 2, last])  # pairs with pairs, the first four with the last four
    found = photon_covariance(rows, columns, joined.frames, joined.excess, nodes.intensity, nodes.chain, 0.5)
    pixels = [
        [(i, j) for i in range(*joined.frames[r, :2]) for j in range(*joined.frames[c, :2]) if keep[i] * keep[j]]
        for r, c in zip(rows, columns, strict=True)
    ]
    first, second = np.array([place for block in pixels for place in block]).T
    each = photon_covariance(first, second, single.frames, single.excess, frames.intensity, frames.chain, 0.5)
    edges = np.cumsum([0, *map(len, pixels)])
    mean = [
        [each[edges[a] : edges[a + 1], edges[b] : edges[b + 1]].mean() for b in range(len(pixels))]
        for a in range(len(pixels))
    ]
    np.testing.assert_allclose(found, mean, rtol=0.02)


@pytest.mark.parametrize("seed", range(2))
def test_photons_are_found_in_the_residuals_and_explain_them(seed: int) -> None:
    vector, rng = truth(3.0), np.random.default_rng(seed)
    maps = simulate_speckle(vector, TIME, PHI, Q, speckles=1500, modes=2, photons=0.4, rng=rng)
    noise = estimated(vector, maps)
    assert 0.2 < noise.photons[0] < 0.8
    assert np.all(noise.photons == noise.photons[0])
    assert noise.at_noise_level
    assert noise.speckles[0] == pytest.approx(1500, rel=0.3)


def test_speckles_without_counting_show_no_photons() -> None:
    vector = as_vector(dict(zip((spec.name for spec in PARAMETERS), truth(3.0), strict=True)))
    maps = simulate_speckle(vector, TIME, PHI, Q, speckles=1500, modes=2, rng=np.random.default_rng(3))
    assert np.all(estimated(vector, maps).photons > 20.0)
