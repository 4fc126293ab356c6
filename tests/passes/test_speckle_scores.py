"""Scores of single speckles against brute force, and their covariance against the closed form."""

from __future__ import annotations

import numpy as np
import pytest

from hetdask.fitting.speckle_covariance import Fields
from hetdask.model import NAMES, as_vector, correlation, correlation_gradient, dynamics, simulate_speckle
from hetdask.model.correlation import flow_wavevector
from hetdask.model.simulation import speckle_intensity
from hetdask.passes.speckle_fields import SpeckleFields
from hetdask.passes.speckle_scores import Scores, score_covariance
from hetdask.passes.tiles import Series
from hetdask_cluster.runner import InlineRunner
from hetdask_kernels.speckles import block_covariance

FLOW = as_vector({
    "D0_ref": 400.0, "alpha_ref": -0.2, "D0_sample": 1500.0, "alpha_sample": -0.1, "v0": 40.0, "beta": 0.15,
    "f0": 0.35, "f1": -0.015, "f3": 0.15, "phi0": -3.0, "D_offset_ref": 20.0, "v_offset": 2.0,
})  # fmt: skip
FRAMES = 32
TIME = 1.5 * np.arange(FRAMES)
PHI, Q = np.array([20.0, 70.0]), np.full(2, 0.0054)
FREE = tuple(range(14))


def series() -> Series:
    excluded = np.zeros((2, FRAMES), dtype=np.bool_)
    excluded[0, 7] = True
    return Series(PHI, Q, TIME, excluded, np.ones(2), 64)


def pixels(angle: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows and columns of the data of an angle, the model there, and its derivatives orthogonal to 1 and g."""
    row, column = np.triu_indices(FRAMES, 1)
    used = ~(series().excluded[angle][row] | series().excluded[angle][column])
    row, column = row[used], column[used]
    g = correlation(FLOW, TIME, PHI, Q)[angle, row, column]
    slopes = correlation_gradient(FLOW, TIME, PHI, Q)[angle][:, row, column].T
    scaling = np.stack([np.ones_like(g), g], axis=1)
    return row, column, g, slopes - scaling @ np.linalg.lstsq(scaling, slopes)[0]


@pytest.mark.parametrize(("count", "modes"), [(5, 3), (700, 60)])
def test_speckles_are_those_of_the_model(count: int, modes: int) -> None:
    d = dynamics(FLOW, TIME)
    kappa, _ = flow_wavevector(d.phi0, PHI, Q)
    mean = (1.0 - d.fraction) ** 2 + d.fraction**2
    found = SpeckleFields(series(), 1, FLOW).intensity(count, modes, np.random.default_rng(6))
    wanted = speckle_intensity(d, kappa[1], Q[1], count, modes, np.random.default_rng(6))
    np.testing.assert_allclose(found, wanted / mean[:, None], rtol=1e-11)


def test_scores_of_counted_photons_scatter_as_those_of_simulated_maps() -> None:
    few, photons, speckles = tuple(NAMES.index(name) for name in ("D0_ref", "v0", "f0")), 0.7, 400
    kept = np.ones((FRAMES, FRAMES))
    kept[7] = kept[:, 7] = 0.0
    pairs = np.nonzero(np.triu(kept, 1))
    row, column, g, slopes = pixels(0)
    assert np.array_equal(pairs, (row, column))
    rng = np.random.default_rng(9)
    wanted = []
    for _ in range(300):
        c2 = simulate_speckle(FLOW, TIME, PHI[:1], Q[:1], speckles=speckles, modes=2, photons=photons, rng=rng)[0]
        wanted.append((c2[row, column] - 1.0 - 0.5 * g) @ slopes[:, few])
    covariance = np.cov(np.array(wanted), rowvar=False) * speckles
    counted = {"speckles": np.array([4096, 0]), "photons": np.array([photons, np.inf])}
    found = score_covariance(series(), FLOW, few, np.full(2, 0.5), InlineRunner(), seed=(3,), **counted)
    without = score_covariance(
        series(), FLOW, few, np.full(2, 0.5), InlineRunner(), seed=(3,), speckles=np.array([4096, 0])
    )
    ratio = np.diagonal(found[0]) / np.diagonal(covariance)
    assert np.all((ratio > 0.8) & (ratio < 1.25)), ratio
    assert np.all(np.diagonal(found[0]) > 1.4 * np.diagonal(without[0]))
    assert not found[1].any()


@pytest.mark.parametrize("angle", [0, 1])
def test_scores_are_those_of_all_pixels(angle: int) -> None:
    row, column, g, slopes = pixels(angle)
    modes = 2
    d = dynamics(FLOW, TIME)
    kappa, _ = flow_wavevector(d.phi0, PHI, Q)
    mean = (1.0 - d.fraction) ** 2 + d.fraction**2
    rng = np.random.default_rng(1)
    intensity = speckle_intensity(d, kappa[angle], Q[angle], 20, modes, rng).T / mean
    deviation = intensity - 1.0
    first, second = deviation[:, row], deviation[:, column]
    influence = first * second - g / modes * (1.0 + first + second)
    found = Scores(series(), angle, FLOW, FREE).of(intensity, modes)
    wanted = influence @ slopes
    assert np.all(np.abs(found - wanted) < 1e-11 * np.abs(wanted).max(axis=0))


@pytest.mark.parametrize("contrast", [0.07, 0.4, 1.0])
def test_simulated_scores_scatter_as_the_closed_form_says(contrast: float) -> None:
    found = score_covariance(
        series(), FLOW, FREE, np.full(2, contrast), InlineRunner(), seed=(3,), speckles=np.full(2, 65_536)
    )
    for angle in range(2):
        row, column, _, slopes = pixels(angle)
        d = dynamics(FLOW, TIME)
        kappa, _ = flow_wavevector(d.phi0, PHI, Q)
        fields = Fields.of(d, Q[angle], kappa[angle]).between_frames(np.arange(FRAMES))
        exact = slopes.T @ block_covariance(row, column, fields.intensity, fields.chain, contrast) @ slopes
        # In the frame of the exact covariance the simulated one is close to the identity, in all directions that count.
        scale = np.sqrt(np.diagonal(exact))
        values, vectors = np.linalg.eigh(exact / np.outer(scale, scale))
        kept = values > 1e-3 * values[-1]
        axes = vectors[:, kept] / np.sqrt(values[kept])
        ratio = np.linalg.eigvalsh(axes.T @ (found[angle] / np.outer(scale, scale)) @ axes)
        assert ratio.min() > 0.85
        assert ratio.max() < 1.2


def test_errors_are_repeatable() -> None:
    arguments = (series(), FLOW, FREE, np.full(2, 0.4), InlineRunner())
    few = np.array([64, 32])
    one = score_covariance(*arguments, seed=(3,), speckles=few)
    np.testing.assert_array_equal(one, score_covariance(*arguments, seed=(3,), speckles=few))
    assert not np.array_equal(one, score_covariance(*arguments, seed=(4,), speckles=few))
