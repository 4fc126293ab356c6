"""Kernels and passes against brute force over the NumPy reference."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hetdask.model import as_vector, correlation, correlation_gradient, simulate_gaussian
from hetdask.passes.factors import LANE, angle_factors, compressed_factors, series_factors
from hetdask.passes.normal import NormalSums, project
from hetdask.passes.run import merge
from hetdask.passes.shard import Shard, evaluate_pieces, evaluate_shard
from hetdask.passes.tiles import Series, collect_tiles, stream_tiles
from hetdask_kernels.scores import model_rows

Q = 0.0054
ALL = tuple(range(14))

parameter_sets = st.fixed_dictionaries(
    {
        "D0_ref": st.floats(1.0, 3e4),
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


def tiled(maps: NDArray[np.float32], series: Series) -> list[list[tuple[int, int, NDArray[np.float32]]]]:
    """Upper tiles of each map, padded with NaN."""
    size, n = series.tile, series.time.size
    blocks = -(-n // size)
    padded = np.full((maps.shape[0], blocks * size, blocks * size), np.nan, dtype=np.float32)
    padded[:, :n, :n] = maps
    return [
        [
            (r, c, padded[m, r * size : (r + 1) * size, c * size : (c + 1) * size].copy())
            for r in range(blocks)
            for c in range(r, blocks)
        ]
        for m in range(maps.shape[0])
    ]


def data_only(maps: NDArray[np.float64], excluded: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Maps with NaN wherever a pixel is no data."""
    keep = np.triu(np.ones(maps.shape[1:], dtype=bool), 1)
    keep = keep & ~excluded[:, :, None] & ~excluded[:, None, :]
    return np.where(keep, maps, np.nan).astype(np.float32)


def brute_force(maps: NDArray[np.float32], series: Series, vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gram matrices of (1, g, D_1..D_14, e), pixel by pixel."""
    g = correlation(vector, series.time, series.phi, series.q)
    slopes = correlation_gradient(vector, series.time, series.phi, series.q)
    grams = []
    for m in range(series.n_phi):
        data = np.isfinite(maps[m])
        e = maps[m][data].astype(np.float64) - series.baseline[m]
        x = np.vstack([np.ones(e.size), g[m][data], slopes[m][:, data], e])
        grams.append(x @ x.T)
    return np.array(grams)


def magnitude(series: Series, vector: NDArray[np.float64], gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale of each entry of a Gram matrix: the norms of its columns, or of what they are differences of.

    Where a derivative cancels (equal fractions, no flow) or missing pixels are taken off again, the rounding goes
    with what cancels.
    """
    shared = series_factors(vector, series.padded_time, series.block)
    columns = np.sqrt(np.abs(np.einsum("mkk->mk", gram)))
    for m in range(series.n_phi):
        excluded = np.zeros_like(series.excluded[m])
        factors = angle_factors(shared, series.phi[m : m + 1], series.q[m : m + 1], excluded[None])
        slopes = np.abs(factors.scale * shared.gain[: series.time.size]).max(axis=0)
        largest = slopes[LANE]
        columns[m, :2] += 1e-2 * series.time.size
        columns[m, 2:16] += 1e-2 * largest * series.time.size
    return columns[:, :, None] * columns[:, None, :]


def experiment(
    parameters: dict[str, float], n: int, n_phi: int, tile: int, dt: float, seed: int, gaps: bool
) -> tuple[NDArray[np.float32], Series, NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    time = dt * np.arange(n)
    phi = np.linspace(0.0, 90.0, n_phi)
    maps = simulate_gaussian(parameters, time, phi, Q, sigma=0.02, rng=rng)
    excluded = np.zeros((n_phi, n), dtype=bool)
    if gaps:
        excluded[0, rng.integers(n)] = True
        excluded[-1, rng.integers(n) :] |= rng.random() < 0.2
        for _ in range(3):
            maps[rng.integers(n_phi), rng.integers(n), rng.integers(n)] = np.nan
        maps[0, : n // 4, n // 2 :] = np.nan
    maps = data_only(maps, excluded)
    baseline = np.array([np.nanmean(m) if np.isfinite(m).any() else 1.0 for m in maps], dtype=np.float32)
    q = Q * (1.0 + 0.2 * (seed % 2) * np.arange(n_phi))
    series = Series(phi, q, time, excluded, baseline.astype(np.float64), tile)
    return maps, series, as_vector(parameters)


@given(
    parameters=parameter_sets,
    n=st.one_of(st.integers(3, 60), st.sampled_from([150, 300])),
    n_phi=st.integers(1, 2),
    tile=st.sampled_from([16, 32, 48, 304]),
    dt=st.sampled_from([0.01, 0.1, 1.0]),
    seed=st.integers(0, 2**16),
    gaps=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_sums_agree_with_brute_force(
    parameters: dict[str, float], n: int, n_phi: int, tile: int, dt: float, seed: int, gaps: bool
) -> None:
    maps, series, vector = experiment(parameters, n, n_phi, tile, dt, seed, gaps)
    expected = brute_force(maps, series, vector)
    pieces = {m: stream_tiles(series, m, tiles) for m, tiles in enumerate(tiled(maps, series))}
    for sums in (
        evaluate_shard(whole(maps, series, False), vector, ALL),
        evaluate_pieces(series, pieces, range(n_phi), vector, ALL),
    ):
        found = merge(n_phi, 14, [sums]).gram
        assert np.all(np.abs(found - expected) <= 1e-9 * magnitude(series, vector, expected) + 1e-30)
        np.testing.assert_array_equal(found[:, 0, 0], expected[:, 0, 0])


def whole(maps: NDArray[np.float32], series: Series, compress: bool) -> Shard:
    """All of a data set as one shard."""
    tiles = [collect_tiles(series, m, t, len(t), compress=compress) for m, t in enumerate(tiled(maps, series))]
    return Shard(series, tuple(tiles), tuple(range(series.n_phi)))


@given(
    parameters=parameter_sets,
    n=st.integers(130, 520),
    dt=st.sampled_from([0.003, 0.03, 0.3]),
    seed=st.integers(0, 2**16),
    gaps=st.booleans(),
    free=st.sampled_from([ALL, (3, 6, 13), ()]),
)
@settings(max_examples=30, deadline=None)
def test_compressed_tiles_give_the_same_sums(
    parameters: dict[str, float], n: int, dt: float, seed: int, gaps: bool, free: tuple[int, ...]
) -> None:
    maps, series, vector = experiment(parameters, n, 2, 128, dt, seed, gaps)
    expected = merge(2, len(free), [evaluate_shard(whole(maps, series, False), vector, free)]).gram
    found = merge(2, len(free), [evaluate_shard(whole(maps, series, True), vector, free)]).gram
    chosen = [0, 1, *(2 + k for k in free), 16]
    full = merge(2, 14, [evaluate_shard(whole(maps, series, False), vector, ALL)]).gram
    allowed = 1e-10 * magnitude(series, vector, full)[:, chosen][:, :, chosen]
    assert np.all(np.abs(found - expected) <= allowed + 1e-30)


def test_rough_gains_that_mirror_each_other_are_noticed() -> None:
    """The gains of alpha_sample and beta are -t log t and t log t here: no polynomials at t = 0, whatever their sum."""
    parameters = {"D0_ref": 1.0, "D_offset_ref": -1.0, "D0_sample": 1.0, "v0": -1.0, "f3": 0.5}
    maps, series, vector = experiment(parameters, 130, 1, 128, 0.003, 0, False)
    full = merge(1, 14, [evaluate_shard(whole(maps, series, False), vector, ALL)]).gram
    found = merge(1, 14, [evaluate_shard(whole(maps, series, True), vector, ALL)]).gram
    assert np.all(np.abs(found - full) <= 1e-10 * magnitude(series, vector, full) + 1e-30)


def test_slow_factors_are_polynomials_and_rough_ones_are_not() -> None:
    """Past the first block everything is compressed; a fraction that is clipped spoils its block, fast flow all."""
    slow = {"D0_ref": 200.0, "alpha_ref": -0.3, "D0_sample": 20.0, "v0": 30.0, "beta": 0.2, "f0": 0.3, "f3": 0.1}
    for change, expected in (
        ({}, [False, True, True, True]),
        ({"f0": 0.2, "f1": 0.05, "f3": 0.3}, [False, False, True, True]),
        ({"v0": 5000.0}, [False, False, False, False]),
    ):
        _, series, vector = experiment({**slow, **change}, 512, 1, 128, 0.1, 1, False)
        shared = series_factors(vector, series.padded_time, series.block)
        factors = angle_factors(shared, series.phi, series.q, series.excluded)
        assert compressed_factors(factors, 48).smooth[0].tolist() == expected, change


@given(parameters=parameter_sets, seed=st.integers(0, 2**16), gaps=st.booleans(), order=st.permutations(range(9)))
@settings(max_examples=30, deadline=None)
def test_any_chunking_and_order_give_the_same_sums(
    parameters: dict[str, float], seed: int, gaps: bool, order: list[int]
) -> None:
    maps, series, vector = experiment(parameters, 57, 2, 64, 0.1, seed, gaps)
    whole = Shard(series, tuple(collect_tiles(series, m, t, len(t)) for m, t in enumerate(tiled(maps, series))), (0, 1))
    expected = merge(2, 14, [evaluate_shard(whole, vector, ALL)]).gram
    small = Series(series.phi, series.q, series.time, series.excluded, series.baseline, 16)
    pieces = [[] for _ in range(9)]
    for m, tiles in enumerate(tiled(maps, small)):
        for k, tile in enumerate(tiles):
            pieces[(3 * m + k) % 9].append((m, tile))
    parts = []
    for k in order:
        by_angle = [[tile for m, tile in pieces[k] if m == angle] for angle in (0, 1)]
        angles = tuple(
            collect_tiles(small, angle, by_angle[angle], len(by_angle[angle])) for angle in (0, 1) if by_angle[angle]
        )
        shard = pickle.loads(pickle.dumps(Shard(small, angles, (k,) if k < 2 else ())))
        parts.append(evaluate_shard(shard, vector, ALL))
    found = merge(2, 14, parts).gram
    assert np.all(np.abs(found - expected) <= 1e-10 * magnitude(series, vector, expected) + 1e-30)


@pytest.mark.parametrize("rate", [1e5, 1e6])
def test_decays_beyond_the_range_of_a_float_are_handled(rate: float) -> None:
    """One component is gone within a frame, the other hardly moves."""
    parameters = {"D0_ref": rate, "alpha_ref": 1.5, "D0_sample": 20.0, "v0": 5.0, "f0": 0.4, "f3": 0.1}
    maps, series, vector = experiment(parameters, 90, 2, 96, 1.0, 3, True)
    shard = Shard(series, tuple(collect_tiles(series, m, t, len(t)) for m, t in enumerate(tiled(maps, series))), (0, 1))
    found = merge(2, 14, [evaluate_shard(shard, vector, ALL)]).gram
    expected = brute_force(maps, series, vector)
    assert np.all(np.abs(found - expected) <= 1e-9 * magnitude(series, vector, expected) + 1e-30)


@pytest.mark.parametrize("pure", [0.0, 1.0])
def test_a_pure_component_has_finite_sums(pure: float) -> None:
    maps, series, vector = experiment({"f0": 0.0, "f3": pure, "v0": 5.0}, 40, 1, 48, 0.1, 3, False)
    shard = Shard(series, (collect_tiles(series, 0, tiled(maps, series)[0], 1),), (0,))
    found = merge(1, 14, [evaluate_shard(shard, vector, ALL)]).gram
    np.testing.assert_allclose(found, brute_force(maps, series, vector), rtol=1e-9, atol=1e-9)


@given(parameters=parameter_sets, seed=st.integers(0, 2**16))
@settings(max_examples=25, deadline=None)
def test_projection_is_ordinary_least_squares(parameters: dict[str, float], seed: int) -> None:
    maps, series, vector = experiment(parameters, 30, 1, 32, 0.1, seed, True)
    data = np.isfinite(maps[0])
    e = maps[0][data].astype(np.float64) - series.baseline[0]
    g = correlation(vector, series.time, series.phi, series.q)[0][data]
    slopes = correlation_gradient(vector, series.time, series.phi, series.q)[0][:, data]
    design = np.stack([np.ones_like(g), g], axis=1)
    # What centring loses where g hardly varies over the map.
    assume(g.size > 20)
    loss = 1e-13 / max(np.var(g), 1e-300)
    assume(loss < 1e-6)
    (offset, contrast), *_ = np.linalg.lstsq(design, e, rcond=None)
    residual = e - design @ [offset, contrast]
    basis, _ = np.linalg.qr(design)
    projected = slopes - (slopes @ basis) @ basis.T
    result = project(NormalSums(brute_force(maps, series, vector)))
    assert result.contrast[0] == pytest.approx(contrast, rel=1e-8, abs=1e-9 + 10 * loss)
    assert result.offset[0] == pytest.approx(offset, rel=1e-8, abs=1e-9 + 10 * loss)
    assert result.sum_squares[0] == pytest.approx(residual @ residual, rel=1e-9)
    # Kaufman's gradient is exact: the derivative of the contrast drops out at its optimum.
    size = abs(contrast) * np.linalg.norm(slopes, axis=1)
    tolerance = (1e-9 + loss) * size * np.linalg.norm(residual) + 1e-15
    assert np.all(np.abs(result.gradient[0] + contrast * slopes @ residual) <= tolerance)
    hessian = contrast**2 * projected @ projected.T
    assert np.all(np.abs(result.gauss_newton[0] - hessian) <= (1e-9 + loss) * np.outer(size, size) + 1e-15)


@given(
    parameters=parameter_sets,
    n=st.integers(2, 40),
    dt=st.floats(0.02, 1.0),
    phi=st.floats(-90.0, 90.0),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_sums_of_the_model_over_the_pairs_of_each_frame_are_those_over_its_pixels(
    parameters: dict[str, float], n: int, dt: float, phi: float, seed: int
) -> None:
    vector, time, one = as_vector(parameters), dt * np.arange(n), np.array([phi])
    keep = np.random.default_rng(seed).random(n) < 0.8
    g = correlation(vector, time, one, Q)[0]
    slopes = np.triu(correlation_gradient(vector, time, one, Q)[0], 1)
    slopes += slopes.transpose(0, 2, 1)
    pairs = np.outer(keep, keep) & ~np.eye(n, dtype=np.bool_)
    columns = np.concatenate([np.ones((1, n, n)), g[None], slopes])
    expected = np.einsum("ij,ij,kij->ik", pairs, g, columns)
    shared = series_factors(vector, time, n)
    factors = angle_factors(shared, one, np.array([Q]), ~keep[None])
    rows = model_rows(factors.step[0], shared.amplitude, factors.keep[0], shared.gain)
    found = np.concatenate([rows[:, :2], (rows[:, 2:] * factors.scale[0])[:, LANE]], axis=1)
    # Derivatives are differences of gains times a part of g: that is what rounding goes with.
    size = np.concatenate([np.ones(2), np.abs(factors.scale[0] * shared.gain).max(axis=0)[LANE]])
    assert np.all(np.abs(found - expected) <= 1e-12 * n * (size + np.abs(expected)) + 1e-15)
