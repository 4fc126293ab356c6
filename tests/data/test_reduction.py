"""Block means are those of the pixels, at every level, however they were computed or kept."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hetdask.data.reduction import WIDTH, Reduced, blocks_of, choose_level, reduce_maps, reduce_store
from hetdask.data.store import Store
from hetdask.data.writers import write_store
from hetdask.errors import DataError
from hetdask_cluster.runner import InlineRunner, Runner

N_FRAMES = 150
LOST = [[0, 3, 4], [2, 20, 148], [2, 30, 90], [2, 30, 91]]


@pytest.fixture(scope="module")
def maps(make_maps: Callable[..., NDArray[np.float32]]) -> NDArray[np.float32]:
    maps = make_maps(3, N_FRAMES)
    maps[1, 20, :] = maps[1, :, 20] = np.nan
    for angle, row, column in LOST:
        maps[angle, row, column] = maps[angle, column, row] = np.nan
    return maps


@pytest.fixture
def store(maps: NDArray[np.float32], tmp_path: Path) -> Store:
    """Three shards for each angle."""
    return write_store(tmp_path / "scan.zarr", maps, phi=[0, 45, 90], q=0.0054, dt=0.1, tile=48, shard_bytes=50_000)


class NoRunner(InlineRunner):
    """Must not be asked for anything."""

    def map(self, *_: Any, **__: Any) -> list[Any]:
        raise AssertionError("the pixels were read again")


def assert_same(a: Reduced, b: Reduced, rtol: float = 0.0) -> None:
    for name in ("mean", "count", "variance", "missing", "white"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=rtol, atol=rtol, err_msg=name)


@given(n=st.integers(2, 200), level=st.integers(0, 4))
@settings(max_examples=40)
def test_every_pixel_lies_in_one_block(n: int, level: int) -> None:
    blocks = blocks_of(n, level)
    owner = np.full((n, n), -1)
    for b, (row, column, size) in enumerate(zip(blocks.first_row, blocks.first_column, blocks.size, strict=True)):
        part = owner[row : row + size, column : column + size]
        assert np.all(part == -1)
        part[:] = b
        assert size == 1 << level or column - row >= WIDTH * size
    row, column = np.triu_indices(n, 1)
    assert np.all(owner[row, column] >= 0)
    np.testing.assert_array_equal(blocks.find(row, column), owner[row, column])


@pytest.mark.parametrize("level", [0, 1, 3])
def test_means_and_variances_of_a_store_are_those_of_its_pixels(
    store: Store, maps: NDArray[np.float32], level: int
) -> None:
    reduced = reduce_store(store, level=level)
    blocks = reduced.blocks
    np.testing.assert_array_equal(reduced.missing, LOST)
    assert reduced.count.sum() == store.n_points
    for m in range(3):
        c2 = np.where(np.triu(np.ones((N_FRAMES, N_FRAMES)), 1) > 0, maps[m].astype(np.float64), np.nan)
        for b, (row, column, size) in enumerate(zip(blocks.first_row, blocks.first_column, blocks.size, strict=True)):
            pixels = c2[row : row + size, column : column + size]
            pixels = pixels[np.isfinite(pixels)]
            assert reduced.count[m, b] == pixels.size
            if pixels.size:
                assert reduced.mean[m, b] == pytest.approx(pixels.mean(), rel=1e-14)
                assert reduced.variance[m, b] == pytest.approx(pixels.var(), rel=1e-9, abs=1e-17)


def test_a_coarser_level_follows_from_a_finer_one(maps: NDArray[np.float32]) -> None:
    excluded = np.zeros((3, N_FRAMES), dtype=bool)
    excluded[1, 20] = True
    white = np.full(3, 0.01)
    finest = reduce_maps(maps, 0, white, excluded)
    for level in (1, 2, 3):
        assert_same(finest.coarsen(level), reduce_maps(maps, level, white, excluded), rtol=1e-12)
    with pytest.raises(DataError, match="level 0, expected 2 or more"):
        finest.coarsen(2).coarsen(0)


def test_workers_and_what_was_kept_give_the_same_bits(store: Store, dask_runner: Runner) -> None:
    here = reduce_store(store, level=1)
    assert_same(reduce_store(store, NoRunner(), level=1), here)
    shutil.rmtree(store.path / "reduced")
    assert_same(reduce_store(store, dask_runner, level=1), here)
    Store.open(store.path, verify="full")


def test_what_was_kept_of_other_pixels_or_is_damaged_does_not_serve(
    store: Store, maps: NDArray[np.float32], caplog: pytest.LogCaptureFixture
) -> None:
    before = reduce_store(store, level=0)
    chunk = store.path / "reduced" / "0" / "mean" / "c" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-8] + bytes(8))
    with caplog.at_level("WARNING", "hetdask.data.derived"):
        assert_same(reduce_store(store, level=0), before)
    assert "does not match its checksums" in caplog.text
    assert_same(reduce_store(store, NoRunner(), level=0), before)

    other = write_store(store.path.with_name("other.zarr"), maps + 1, phi=[0, 45, 90], q=0.0054, dt=0.1, tile=48)
    shutil.copytree(store.path / "reduced", other.path / "reduced")
    np.testing.assert_allclose(reduce_store(other, level=0).mean[:, 0], before.mean[:, 0] + 1, rtol=1e-6)


def test_a_store_that_cannot_be_written_serves_as_well(store: Store) -> None:
    (store.path / "reduced").touch()  # in the way of a folder
    expected = reduce_store(store, level=2)
    assert_same(reduce_store(store, level=2), expected)
    assert (store.path / "reduced").is_file()


def test_the_level_is_the_finest_with_few_enough_points(store: Store) -> None:
    sizes: Sequence[int] = [3 * blocks_of(N_FRAMES, level).n_blocks for level in range(4)]
    assert [choose_level(store, size) for size in sizes] == [0, 1, 2, 3]
    assert choose_level(store, sizes[1] - 1) == 2
    assert choose_level(store, 1) == 3
