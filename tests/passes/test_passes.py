"""A pass gives the same answer however the data are cut, kept and spread out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetdask.data.store import Store
from hetdask.data.tiling import Tiling
from hetdask.data.writers import write_store
from hetdask.errors import ConfigError, DataError
from hetdask.model import NAMES, as_vector, correlation, simulate_gaussian
from hetdask.passes import Passes, chi_squared, chi_squared_scan, project
from hetdask.passes.plan import RESIDENT_UNIT, FitPlan, divide, held_bytes, units
from hetdask_cluster.runner import InlineRunner, Runner

FLOW = {
    "D0_ref": 400.0, "alpha_ref": -0.2, "D0_sample": 1500.0, "alpha_sample": -0.1, "v0": 40.0, "beta": 0.15,
    "f0": 0.35, "f1": -0.015, "f3": 0.15, "phi0": -3.0,
}  # fmt: skip
PHI = [0.0, 40.0, 90.0]
Q = 0.0054
DT = 0.5
FREE = tuple(range(14))


@pytest.fixture(scope="module")
def maps() -> np.ndarray:
    rng = np.random.default_rng(11)
    maps = simulate_gaussian(FLOW, DT * np.arange(150), PHI, Q, sigma=0.02, rng=rng)
    maps[1, 20, :] = maps[1, :, 20] = np.nan
    maps[2, 30, 90] = maps[2, 90, 30] = np.nan
    return maps


@pytest.fixture(scope="module")
def store(maps: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_store(tmp_path_factory.mktemp("passes") / "whole.zarr", maps, phi=PHI, q=Q, dt=DT)


@pytest.mark.parametrize("free", [FREE, ()])
def test_sums_in_plain_numpy_are_those_of_the_kernels(
    store: Store, inline_runner: Runner, free: tuple[int, ...]
) -> None:
    vector = as_vector(FLOW)
    kernels, plain = (Passes(store, inline_runner, numba=numba)(vector, free).gram for numba in (True, False))
    scale = np.sqrt(np.einsum("mkk->mk", plain))
    np.testing.assert_allclose(kernels, plain, rtol=1e-9, atol=1e-9 * float(scale.max()) ** 2)
    relative = (kernels - plain) / (scale[:, :, None] * scale[:, None, :] + 1e-300)
    assert np.abs(relative).max() < 1e-7


def test_chi_squared_is_that_of_ordinary_least_squares(maps: np.ndarray, store: Store) -> None:
    found = chi_squared(store, FLOW)
    g = correlation(FLOW, DT * np.arange(150), PHI, Q)
    upper = np.triu(np.ones((150, 150), dtype=bool), 1)
    total, points = 0.0, 0
    for m in range(3):
        data = upper & np.isfinite(maps[m])
        e = maps[m][data].astype(np.float32).astype(np.float64)
        design = np.stack([np.ones(e.size), g[m][data]], axis=1)
        (offset, contrast), squares, *_ = np.linalg.lstsq(design, e, rcond=None)
        assert found.contrast[m] == pytest.approx(contrast, rel=1e-9)
        assert found.offset[m] == pytest.approx(offset, rel=1e-9)
        assert found.sum_squares[m] == pytest.approx(squares[0], rel=1e-9)
        total += squares[0] / store.noise[m] ** 2
        points += e.size
    assert float(found) == pytest.approx(total, rel=1e-9)
    assert found.n_points == points


@pytest.mark.parametrize("resident_bytes", [None, 0])
@pytest.mark.parametrize("free", [FREE, ()])
def test_a_batch_of_vectors_gives_the_sums_of_each(
    store: Store, dask_runner: Runner, inline_runner: Runner, resident_bytes: int | None, free: tuple[int, ...]
) -> None:
    vectors = as_vector(FLOW) * (1.0 + 0.1 * np.arange(3)[:, None])
    expected = [Passes(store, inline_runner, resident_bytes=0)(vector, free).gram for vector in vectors]
    for runner in (inline_runner, dask_runner):
        passes = Passes(store, runner, resident_bytes=resident_bytes)
        found = passes.batch(vectors, free)
        assert passes.count == 1
        for sums, single in zip(found, expected, strict=True):
            scale = np.sqrt(np.einsum("mkk->mk", single))
            relative = (sums.gram - single) / (scale[:, :, None] * scale[:, None, :] + 1e-300)
            assert np.abs(relative).max() < 1e-11


def test_a_scan_is_chi_squared_at_each_point(store: Store) -> None:
    points = [{**FLOW, "v0": v0} for v0 in (10.0, 20.0, 30.0)]
    for found, point in zip(chi_squared_scan(store, iter(points)), points, strict=True):
        alone = chi_squared(store, point)
        assert found.value == pytest.approx(alone.value, rel=1e-11)
        np.testing.assert_allclose(found.gradient, alone.gradient, rtol=1e-9, atol=1e-9 * np.abs(alone.gradient).max())
    assert chi_squared_scan(store, []) == []


def test_the_gradient_is_that_of_chi_squared(store: Store) -> None:
    vector = as_vector(FLOW) * 1.05
    found = chi_squared(store, vector)
    for k, name in enumerate(NAMES):
        step = np.eye(14)[k] * 1e-2 / np.sqrt(found.gauss_newton[k, k])
        plus, minus = (chi_squared(store, vector + sign * step).value for sign in (1, -1))
        numeric = (plus - minus) / (2.0 * step[k])
        scale = np.sqrt(found.value * found.gauss_newton[k, k])
        assert found.gradient[k] == pytest.approx(numeric, rel=1e-4, abs=1e-6 * scale), name


@given(tile=st.sampled_from([16, 48, 80, 160]), shard_bytes=st.sampled_from([1, 50_000, 10**9]), resident=st.booleans())
@settings(max_examples=12, deadline=None)
def test_any_chunking_resident_or_streamed_gives_the_same_sums(
    maps: np.ndarray,
    store: Store,
    tmp_path_factory: pytest.TempPathFactory,
    tile: int,
    shard_bytes: int,
    resident: bool,
) -> None:
    path = tmp_path_factory.mktemp("cut") / "cut.zarr"
    cut = write_store(path, maps, phi=PHI, q=Q, dt=DT, tile=tile, shard_bytes=shard_bytes)
    vector = as_vector(FLOW)
    expected = Passes(store, InlineRunner())(vector, FREE).gram
    found = Passes(cut, InlineRunner(), resident_bytes=None if resident else 0)(vector, FREE).gram
    norm = np.sqrt(np.einsum("mkk->mk", expected))
    assert np.all(np.abs(found - expected) <= 1e-10 * norm[:, :, None] * norm[:, None, :])


def test_what_streamed_passes_remember_of_a_map_goes_with_the_map(maps: np.ndarray, tmp_path: Path) -> None:
    path, vector = tmp_path / "same.zarr", as_vector(FLOW)
    first = write_store(path, maps, phi=PHI, q=Q, dt=DT, tile=64)
    passes = Passes(first, InlineRunner(), resident_bytes=0)
    once = passes(vector, FREE)
    np.testing.assert_array_equal(passes(vector, FREE).gram, once.gram)
    late = np.arange(150) > 100
    changed = maps + 0.1 * (late[:, None] & late)
    second = write_store(path, changed, phi=PHI, q=Q, dt=DT, tile=64, overwrite=True)
    found, expected = (Passes(second, InlineRunner(), resident_bytes=kept)(vector, FREE).gram for kept in (0, None))
    np.testing.assert_allclose(found[:, -1, -1], expected[:, -1, -1], rtol=1e-12)
    assert np.all(np.abs(found[:, -1, -1] / once.gram[:, -1, -1] - 1.0) > 0.01)


def test_workers_give_the_same_sums(store: Store, dask_runner: Runner) -> None:
    vector = as_vector(FLOW)
    expected = Passes(store, InlineRunner())(vector, FREE).gram
    for resident in (None, 0, 4 * store.tile**2):
        found = Passes(store, dask_runner, resident_bytes=resident)(vector, FREE).gram
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@given(
    angles=st.integers(1, 60),
    frames=st.integers(100, 6000),
    workers=st.integers(0, 9),
    resident_bytes=st.none() | st.integers(0, 10**9),
)
@settings(max_examples=40, deadline=None)
def test_every_shard_is_in_one_task_and_no_worker_has_many_more_than_another(
    angles: int, frames: int, workers: int, resident_bytes: int | None
) -> None:
    tiling = Tiling.plan(angles, frames)
    shards = FitPlan(tiling, None).shards()
    resident, streamed = divide(shards, tiling.tile, resident_bytes)
    assert resident_bytes is None or sum(held_bytes(spec, tiling.tile) for spec in resident) <= resident_bytes
    assert sorted(map(str, resident + streamed)) == sorted(map(str, shards))
    for part in (resident, streamed):
        tasks = units(part, tiling, workers, RESIDENT_UNIT)
        assert [spec for unit in tasks for spec in unit] == part
        assert all(tasks)
        assert len(tasks) == len(part) or len(tasks) % max(1, workers) == 0
        sizes = [len(unit) for unit in tasks]
        assert not sizes or max(sizes) - min(sizes) <= 1


def test_a_pass_counts_its_pixels(store: Store) -> None:
    passes = Passes(store, InlineRunner())
    result = project(passes(as_vector(FLOW), ()))
    assert result.n_points.sum() == passes.n_points == store.n_points
    assert passes.count == 1
    assert passes.pixels_per_second > 0.0


def test_the_value_alone_is_that_of_the_full_pass(store: Store) -> None:
    passes = Passes(store, InlineRunner())
    alone, full = project(passes(as_vector(FLOW), ())), project(passes(as_vector(FLOW), FREE))
    np.testing.assert_allclose(alone.sum_squares, full.sum_squares, rtol=1e-12)
    np.testing.assert_allclose(alone.contrast, full.contrast, rtol=1e-12)


def test_a_tampered_shard_stops_the_pass(maps: np.ndarray, tmp_path: Path) -> None:
    damaged = write_store(tmp_path / "damaged.zarr", maps, phi=PHI, q=Q, dt=DT)
    passes = Passes(damaged, InlineRunner(), resident_bytes=0)
    passes(as_vector(FLOW), ())
    file = next(path for path in sorted((tmp_path / "damaged.zarr" / "c2" / "c").rglob("*")) if path.is_file())
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        passes(as_vector(FLOW), ())


@pytest.mark.parametrize("sigma", [0.0, -1.0, [0.1, 0.2]])
def test_a_noise_level_that_makes_no_sense_is_refused(store: Store, sigma: float | list[float]) -> None:
    with pytest.raises(ConfigError, match="sigma"):
        chi_squared(store, FLOW, sigma=sigma)
