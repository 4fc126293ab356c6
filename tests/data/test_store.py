"""What is read from a store is what was written, and damage is an error that names the place."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hetdask.data.shardfile import checksum
from hetdask.data.store import Store
from hetdask.data.writers import write_store
from hetdask.errors import DataError

type MakeMaps = Callable[..., NDArray[np.float32]]

PHI = [0.0, 45.0, 90.0]


@pytest.fixture(scope="session")
def maps(make_maps: MakeMaps) -> NDArray[np.float32]:
    """Three maps with a dead frame and some missing pixels in one of them."""
    values = make_maps(3, 70)
    values[1, 20] = values[1, :, 20] = np.nan
    values[1, 5, 60] = values[1, 60, 5] = np.nan
    values[1, 2, 3] = values[1, 3, 2] = np.nan
    return values


@pytest.fixture
def store(tmp_path: Path, maps: NDArray[np.float32]) -> Store:
    """Of three maps in tiles of 16 frames and several shards for each map."""
    return write_store(tmp_path / "scan.zarr", maps, PHI, 0.0054, 0.1, time_origin=0.5, tile=16, shard_bytes=8000)


def expected(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    upper = pixels.copy()
    upper[np.tril_indices_from(upper)] = np.nan
    return upper


def test_maps_come_back_above_the_diagonal(store: Store, maps: NDArray[np.float32]) -> None:
    for angle in range(3):
        np.testing.assert_array_equal(store.read_map(angle), expected(maps[angle]))


def test_metadata_are_those_of_the_contract(store: Store, maps: NDArray[np.float32]) -> None:
    np.testing.assert_array_equal(store.phi, PHI)
    np.testing.assert_array_equal(store.q, [0.0054] * 3)
    np.testing.assert_allclose(store.time, 0.5 + 0.1 * np.arange(70))
    assert np.argwhere(store.frame_mask).tolist() == [[1, 20]]
    assert store.frame_mask.dtype == np.bool_
    np.testing.assert_allclose(store.noise, 0.01, rtol=0.1)
    np.testing.assert_allclose(store.baseline, [np.nanmean(expected(pixels)) for pixels in maps], rtol=1e-6)
    assert store.baseline.dtype == np.float32
    assert store.n_points == 2 * 70 * 69 // 2 + 69 * 68 // 2 - 2
    assert store.tile_missing.sum() == 2
    assert store.tile_missing[1, 0, 3] == 1
    assert store.tile_missing[1, 0, 0] == 1


def test_counts_and_checksums_are_those_of_the_padded_tiles(store: Store, maps: NDArray[np.float32]) -> None:
    padded = np.full((80, 80), np.nan, dtype=np.float32)
    padded[:70, :70] = expected(maps[1])
    for row in range(5):
        for column in range(row, 5):
            tile = padded[16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
            np.testing.assert_array_equal(store.read_tile(1, row, column), tile)
            assert store.tile_count[1, row, column] == np.count_nonzero(np.isfinite(tile))
            assert store.tile_checksum[1, row, column] == checksum(tile)
        assert not store.tile_count[1, row, :row].any()


def test_shards_hold_every_tile_once(store: Store) -> None:
    read = {}
    for spec in store.shards():
        tiles = store.read_shard(spec)
        assert len(tiles) == spec.n_tiles
        read.update({(angle, row, column): tile for angle, row, column, tile in tiles})
    assert len(read) == 3 * 15
    for (angle, row, column), tile in read.items():
        np.testing.assert_array_equal(tile, store.read_tile(angle, row, column))
        assert tile.flags.writeable
        assert tile.flags.c_contiguous


@given(
    n_maps=st.integers(1, 5),
    n_frames=st.integers(3, 80),
    tile=st.sampled_from([None, 16, 32, 48]),
    shard_bytes=st.sampled_from([1, 5000, 2**16, 2**26]),
    seed=st.integers(0, 100),
)
@settings(max_examples=15, deadline=None)
def test_any_chunking_holds_the_same_pixels(
    tmp_path_factory: pytest.TempPathFactory,
    make_maps: MakeMaps,
    n_maps: int,
    n_frames: int,
    tile: int | None,
    shard_bytes: int,
    seed: int,
) -> None:
    maps = make_maps(n_maps, n_frames, seed=seed)
    path = tmp_path_factory.mktemp("any") / "scan.zarr"
    store = write_store(path, maps, np.arange(n_maps), 0.0054, 0.1, tile=tile, shard_bytes=shard_bytes)
    for angle in range(n_maps):
        np.testing.assert_array_equal(store.read_map(angle), expected(maps[angle]))
    assert store.n_points == n_maps * n_frames * (n_frames - 1) // 2
    assert Store.open(path, verify="full").n_points == store.n_points


def test_zarr_and_xarray_read_it(store: Store, maps: NDArray[np.float32]) -> None:
    array = zarr.open_group(store.path, mode="r")["c2"]
    np.testing.assert_array_equal(array[1], expected(maps[1]))
    with xarray.open_zarr(store.path, consolidated=False) as dataset:
        assert dataset.c2.dims == ("phi", "t1", "t2")
        assert dataset.sizes["time"] == 70
        assert dataset.attrs["dt"] == 0.1


def test_the_lower_triangle_takes_no_space(store: Store) -> None:
    files = {str(file.relative_to(store.path / "c2/c")) for file in (store.path / "c2/c").rglob("*") if file.is_file()}
    assert files == {str(store.tiling.shard_file(spec).relative_to("c2/c")) for spec in store.shards()}
    assert all(int(name.split("/")[1]) <= int(name.split("/")[2]) for name in files)


def test_a_store_travels(store: Store) -> None:
    again = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(again.read_tile(2, 0, 1), store.read_tile(2, 0, 1))
    assert str(again) == str(store)


def test_a_store_says_what_it_is(store: Store) -> None:
    text = repr(store)
    assert text.startswith(f"Store({str(store.path)!r}: 3 maps of 70 frames, dt = 0.1 s, 7,174 pixels")


def test_tiles_that_do_not_exist_are_an_index_error(store: Store) -> None:
    for place in ((0, 1, 0), (0, 0, 5), (3, 0, 0), (-1, 0, 0)):
        with pytest.raises(IndexError):
            store.read_tile(*place)


def shard_of(store: Store, angle: int) -> Path:
    spec = next(spec for spec in store.shards() if spec.angles[0] <= angle < spec.angles[1])
    return store.path / store.tiling.shard_file(spec)


def test_a_missing_shard_is_named_with_its_angle(store: Store) -> None:
    shard_of(store, 1).unlink()
    with pytest.raises(
        DataError, match=rf"{store.path} is damaged.*{shard_of(store, 1)}.*45°.*is missing.*--overwrite"
    ):
        store.read_map(1)
    with pytest.raises(DataError, match="is missing"):
        Store.open(store.path, verify="full")
    assert Store.open(store.path).n_phi == 3


@pytest.mark.parametrize("cut", [1, 100, 1500])
def test_a_shard_cut_short_is_noticed(store: Store, cut: int) -> None:
    path = shard_of(store, 1)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(DataError, match=r"is damaged: the shard.*cut short"):
        Store.open(store.path, verify="full")


def test_altered_bytes_are_noticed_or_do_not_matter(store: Store) -> None:
    path = shard_of(store, 0)
    data = path.read_bytes()
    noticed = 0
    places = np.random.default_rng(3).choice(len(data), 60, replace=False)
    for place in places:
        changed = bytearray(data)
        changed[place] ^= 0x55
        path.write_bytes(changed)
        try:
            tiles = store.read_shard(store.shards()[0])
        except DataError:
            noticed += 1
        else:  # a byte of a header that no decoder looks at
            path.write_bytes(data)
            for (*_, tile), (*_, right) in zip(tiles, store.read_shard(store.shards()[0]), strict=True):
                np.testing.assert_array_equal(tile, right)
    assert noticed > 0.9 * len(places)


def test_a_tile_that_does_not_match_its_checksum_is_named(store: Store, maps: NDArray[np.float32]) -> None:
    array = zarr.open_group(store.path, mode="r+")["c2"]
    value = float(array[2, 3, 20])
    array[2, 3, 20] = value + 1e-6
    with pytest.raises(DataError, match=r"tile \(0, 1\) of the map at phi = 90°.*does not match its checksum"):
        store.read_tile(2, 0, 1)
    array[2, 3, 20] = np.nan
    with pytest.raises(DataError, match=r"holds 255 pixels, expected 256"):
        store.read_tile(2, 0, 1)
    array[2, 3, 20] = value
    np.testing.assert_array_equal(store.read_map(2), expected(maps[2]))


def edit(store: Store, **attributes: object) -> None:
    path = store.path / "zarr.json"
    values = json.loads(path.read_text())
    for name, value in attributes.items():
        if value is None:
            del values["attributes"][name]
        else:
            values["attributes"][name] = value
    path.write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"complete": None}, "is not complete: its ingest did not finish"),
        ({"complete": False}, "is not complete"),
        ({"hetdask_store": 2}, "version 2 of the store format, expected 1"),
        ({"hetdask_store": None}, "is not a hetdask store"),
        ({"dt": None}, "metadata cannot be read"),
        ({"tile": 32}, "is damaged"),
        ({"dt": -1.0}, "is damaged"),
    ],
)
def test_stores_that_are_not_whole_are_refused(store: Store, attributes: dict[str, object], message: str) -> None:
    edit(store, **attributes)
    with pytest.raises(DataError, match=message):
        Store.open(store.path)


@pytest.mark.parametrize("name", ["noise", "tile_checksum", "c2"])
def test_missing_metadata_are_noticed(store: Store, name: str) -> None:
    (store.path / name / "zarr.json").unlink()
    with pytest.raises(DataError, match=r"is damaged.*cannot be read"):
        Store.open(store.path)


def test_lost_or_altered_metadata_are_noticed(store: Store) -> None:
    array = zarr.open_group(store.path, mode="r+")["phi"]
    array[1] = 46.0
    with pytest.raises(DataError, match=r"is damaged: phi does not match its checksum"):
        Store.open(store.path)
    array[1] = 45.0
    (store.path / "tile_count/c/0/0/0").unlink()
    with pytest.raises(DataError, match=r"is damaged: tile_count does not match its checksum"):
        Store.open(store.path)


def test_what_is_not_a_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no store .*hetdask ingest"):
        Store.open(tmp_path / "scan.zarr")
    with pytest.raises(DataError, match="is not a hetdask store"):
        Store.open(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="is not a hetdask store"):
        Store.open(tmp_path / "file")


def test_a_store_is_read_anew_when_it_was_replaced(store: Store, maps: NDArray[np.float32]) -> None:
    write_store(store.path, maps[:2], PHI[:2], 0.01, 0.2, overwrite=True)
    again = Store.open(store.path)
    assert (again.n_phi, again.dt) == (2, 0.2)
    with pytest.raises(DataError):
        store.read_map(2)
