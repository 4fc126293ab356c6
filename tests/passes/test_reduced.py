"""Reduced data are compared with exact means of the model, so fits of them are unbiased."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hetdask.data.reduction import Blocks, reduce_maps, reduce_store
from hetdask.data.writers import write_store
from hetdask.fitting.problem import Problem
from hetdask.fitting.refine import refine
from hetdask.model import NAMES, as_vector, correlation, correlation_gradient, dynamics, simulate_gaussian
from hetdask.passes import Passes, Projection, project
from hetdask.passes.reduced import ReducedPasses, retained_information
from hetdask.passes.run import series_of
from hetdask.passes.tiles import Series
from hetdask_cluster.runner import InlineRunner

ALL = tuple(range(14))
PHI = np.array([0.0, 35.0, 100.0])
Q = np.array([0.0054, 0.0054, 0.006])
FLOW = {
    "D0_ref": 400.0, "alpha_ref": -0.2, "D0_sample": 1500.0, "alpha_sample": -0.1, "v0": 40.0, "beta": 0.15,
    "f0": 0.35, "f1": -0.015, "f3": 0.15, "phi0": -3.0,
}  # fmt: skip

parameter_sets = st.fixed_dictionaries(
    {
        "D0_ref": st.floats(1.0, 1e6),
        "alpha_ref": st.floats(-0.9, 1.0),
        "D_offset_ref": st.floats(-500.0, 500.0),
        "D0_sample": st.floats(1.0, 3e4),
        "alpha_sample": st.floats(-0.9, 1.0),
        "D_offset_sample": st.floats(-500.0, 500.0),
        "v0": st.floats(-300.0, 300.0),
        "beta": st.floats(-0.9, 1.0),
        "v_offset": st.floats(-50.0, 50.0),
        "f0": st.floats(0.0, 1.0),
        "f1": st.floats(-0.2, 0.2),
        "f2": st.floats(-2.0, 2.0),
        "f3": st.floats(0.0, 0.5),
        "phi0": st.floats(-90.0, 90.0),
    }
)


def series(n: int, excluded: NDArray[np.bool_], dt: float = 0.5) -> Series:
    return Series(
        phi=PHI, q=Q, time=dt * np.arange(n, dtype=np.float64), excluded=excluded, baseline=np.ones(3), tile=16
    )


def block_means(blocks: Blocks, pixels: NDArray[np.float64], data: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Means over the data of each block, 0 where there are none, pixel by pixel; `data` only above the diagonal."""
    means = []
    for row, column, size in zip(blocks.first_row, blocks.first_column, blocks.size, strict=True):
        place = slice(row, row + size), slice(column, column + size)
        inside = data[place]
        means.append(pixels[(..., *place)][..., inside].mean(axis=-1) if inside.any() else np.zeros(pixels.shape[:-2]))
    return np.stack(means, axis=-1)


@given(parameters=parameter_sets, n=st.integers(5, 90), level=st.integers(0, 4), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_means_of_the_model_and_its_derivatives_are_exact(
    parameters: dict[str, float], n: int, level: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    excluded = rng.random((3, n)) < rng.choice([0.0, 0.3])
    excluded[:, :2] = False
    data = ~excluded[:, :, None] & ~excluded[:, None, :] & np.triu(np.ones((n, n), dtype=bool), 1)
    lost = rng.random((3, n, n)) < rng.choice([0.0, 0.05])
    lost[:, 0, 1] = False
    data &= ~lost
    maps = np.where(data, rng.standard_normal((3, n, n)), np.nan)
    passes = ReducedPasses(series(n, excluded), reduce_maps(maps, level, np.ones(3), excluded))
    vector = as_vector(parameters)
    means, slopes = passes.model_means(vector), passes.model_slopes(vector, ALL)
    time = passes.series.time
    g, gradient = correlation(vector, time, PHI, Q), correlation_gradient(vector, time, PHI, Q)
    d = dynamics(vector, time)
    exponents = np.vstack([d.reference.gradient, d.sample.gradient])
    phases = np.vstack([d.motion.gradient, np.deg2rad(1.0) * d.displacement])
    fractions = d.composition.gradient
    sizes = [
        np.abs(np.insert(np.vstack([q * q * exponents, q * phases]), [9] * 4, fractions, axis=0)).max(axis=1) for q in Q
    ]
    for m in range(3):
        np.testing.assert_allclose(means[m], block_means(passes.reduced.blocks, g[m], data[m]), rtol=0, atol=1e-12)
        expected = block_means(passes.reduced.blocks, gradient[m], data[m])
        assert np.all(np.abs(slopes[m].T - expected) <= 1e-11 * sizes[m][:, None] + 1e-300)


def test_sums_count_every_pixel_with_the_means_of_its_block() -> None:
    n, free = 60, (0, 6, 9, 13)
    excluded = np.zeros((3, n), dtype=bool)
    excluded[1, 7] = True
    rng = np.random.default_rng(2)
    reduced = reduce_maps(rng.standard_normal((3, n, n)), 2, np.ones(3), excluded)
    passes = ReducedPasses(series(n, excluded), reduced)
    vector = as_vector(FLOW)
    sums = pickle.loads(pickle.dumps(passes))(vector, free)
    means, slopes = passes.model_means(vector), passes.model_slopes(vector, free)
    for m in range(3):
        rows = np.vstack([np.ones_like(means[m]), means[m], slopes[m].T, reduced.mean[m] - 1.0])
        np.testing.assert_allclose(sums.gram[m], (rows * reduced.count[m]) @ rows.T, rtol=1e-12, atol=1e-12)
    assert sums.gram[:, 0, 0].sum() == passes.n_points == 3 * n * (n - 1) // 2 - (n - 1)


def test_some_angles_have_the_sums_they_have_among_all() -> None:
    n, free = 40, (0, 6, 9, 13)
    excluded = np.zeros((3, n), dtype=bool)
    excluded[2, 5] = True
    maps = np.random.default_rng(3).standard_normal((3, n, n))
    maps[2, 1, 30] = maps[0, 2, 9] = np.nan
    passes = ReducedPasses(series(n, excluded), reduce_maps(maps, 1, np.array([1.0, 2.0, 3.0]), excluded))
    some, vector = passes.at_angles(np.array([0, 2])), as_vector(FLOW)
    np.testing.assert_array_equal(some(vector, free).gram, passes(vector, free).gram[[0, 2]])
    assert some.reduced.white.tolist() == [1.0, 3.0]
    assert some.reduced.missing.tolist() == [[0, 2, 9], [1, 1, 30]]


def test_from_all_to_the_coarsest_means(tmp_path: Path) -> None:
    """Where no pixels are merged a pass is one of full resolution; merging costs information, little at first."""
    n = 200
    time = 0.5 * np.arange(n)
    maps = simulate_gaussian(FLOW, time, PHI, Q, sigma=0.02, rng=np.random.default_rng(3))
    maps[1, 20, :] = maps[1, :, 20] = np.nan
    maps[2, 5, 9] = maps[2, 9, 5] = np.nan
    vector = 1.02 * as_vector(FLOW)

    def projections(frames: int, level: int) -> tuple[Projection, Projection]:
        store = write_store(
            tmp_path / f"{frames}-{level}.zarr", maps[:, :frames, :frames], phi=PHI, q=Q, dt=0.5, tile=48
        )
        reduced = ReducedPasses(series_of(store), reduce_store(store, level=level))
        return project(reduced(vector, ALL)), project(Passes(store, InlineRunner())(vector, ALL))

    found, full = projections(32, 0)
    for name in ("n_points", "contrast", "offset", "sum_squares", "gradient", "gauss_newton"):
        expected = getattr(full, name)
        np.testing.assert_allclose(
            getattr(found, name), expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max(), err_msg=name
        )
    assert retained_information(found, full) == pytest.approx(1.0, rel=1e-9)
    assert retained_information(replace(full, gauss_newton=(1.0 + 1e-14) * full.gauss_newton), full) == 1.0
    kept = [retained_information(*projections(n, level)) for level in range(4)]
    assert kept[0] > 0.95
    assert np.all(np.diff(kept) < 0.0)
    assert kept[-1] > 0.7


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_fits_of_every_level_are_unbiased(level: int) -> None:
    """The mean over 50 seeds is the truth; block means compared with the model at their centres would be far off."""
    n, seeds, moving = 64, 50, ("D0_ref", "D0_sample", "v0", "f0")
    truth = as_vector(FLOW)
    axis = series(n, np.zeros((3, n), dtype=bool))
    free = tuple(NAMES.index(name) for name in moving)
    g = 1.0 + 0.3 * correlation(truth, axis.time, PHI, Q)
    estimates = []
    for seed in range(seeds):
        noisy = g + 0.005 * np.random.default_rng(seed).standard_normal(g.shape)
        passes = ReducedPasses(axis, reduce_maps(noisy, level, np.full(3, 0.005), axis.excluded))
        problem = Problem(truth, np.full(14, -1e6), np.full(14, 1e6), free, np.full(3, 0.005))
        estimates.append(refine(passes, problem, rounds=1).values[list(free)])
    mean, error = np.mean(estimates, axis=0), np.std(estimates, axis=0, ddof=1) / np.sqrt(seeds)
    assert np.all(np.abs(mean - truth[list(free)]) < 3.0 * error)
