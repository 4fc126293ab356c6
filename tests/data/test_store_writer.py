"""A store is written as a whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray

from hetdask.data import shardfile
from hetdask.data.maps import prepare_map
from hetdask.data.store import Store
from hetdask.data.store_writer import StoreWriter, write_group
from hetdask.data.writers import write_store
from hetdask.errors import DataError


class Usage(NamedTuple):
    """What `shutil.disk_usage` returns."""

    total: int
    used: int
    free: int


@pytest.fixture
def maps(make_maps: Callable[..., NDArray[np.float32]]) -> NDArray[np.float32]:
    return make_maps(3, 40)


def write(path: Path, maps: NDArray[np.float32], **options: bool) -> Store:
    return write_store(path, maps, np.arange(len(maps)), 0.0054, 0.1, tile=16, shard_bytes=1, **options)


def test_nothing_stays_when_a_map_is_bad(tmp_path: Path, maps: NDArray[np.float32]) -> None:
    maps[2] = np.nan
    with pytest.raises(DataError, match="map 3 has no data"):
        write(tmp_path / "scan.zarr", maps)
    assert list(tmp_path.iterdir()) == []


def test_nothing_stays_when_it_is_interrupted(tmp_path: Path, maps: NDArray[np.float32]) -> None:
    def interrupted() -> Iterator[NDArray[np.float32]]:
        yield maps[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_store(tmp_path / "scan.zarr", interrupted(), [0, 45, 90], 0.0054, 0.1)
    assert list(tmp_path.iterdir()) == []


def test_another_number_of_maps_than_of_angles_is_no_store(tmp_path: Path, maps: NDArray[np.float32]) -> None:
    with pytest.raises(DataError, match="found 2 maps, expected 3"):
        write_store(tmp_path / "scan.zarr", maps[:2], [0, 45, 90], 0.0054, 0.1)
    with pytest.raises(DataError, match="found more than 2 maps"):
        write_store(tmp_path / "scan.zarr", maps, [0, 45], 0.0054, 0.1)
    with pytest.raises(DataError, match="no maps to write"):
        write_store(tmp_path / "scan.zarr", [], [0], 0.0054, 0.1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("after", [0, 3, 10])
def test_nothing_stays_when_the_disk_is_full(
    tmp_path: Path, maps: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch, code: int, after: int
) -> None:
    writes = 0

    def full(writer: shardfile.ShardWriter, place: tuple[int, int, int], tile: NDArray[np.float32]) -> None:
        nonlocal writes
        writes += 1
        if writes > after:
            raise OSError(code, os.strerror(code))
        add(writer, place, tile)

    add = shardfile.ShardWriter.add
    monkeypatch.setattr(shardfile.ShardWriter, "add", full)
    with pytest.raises(
        DataError, match=r"not enough space for the store.*needs about .* GB.*GB free; nothing was kept"
    ):
        write(tmp_path / "scan.zarr", maps)
    assert list(tmp_path.iterdir()) == []


def test_the_space_is_checked_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9, 1000))
    with pytest.raises(DataError, match=r"needs about 1\.42e-05 GB and .* has 1e-06 GB free"):
        StoreWriter(tmp_path / "scan.zarr", phi=[0, 1, 2], q=0.0054, n_frames=40, dt=0.1, tile=16)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_store_is_kept_unless_told_otherwise(tmp_path: Path, maps: NDArray[np.float32]) -> None:
    path = tmp_path / "scan.zarr"
    write(path, maps)
    with pytest.raises(DataError, match=r"exists: use overwrite \(--overwrite\)"):
        write(path, maps[:2])
    assert Store.open(path).n_phi == 3
    write(path, maps[:2], overwrite=True)
    assert Store.open(path, verify="full").n_phi == 2
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_store_survives_a_failed_replacement(tmp_path: Path, maps: NDArray[np.float32]) -> None:
    path = tmp_path / "scan.zarr"
    write(path, maps)
    with pytest.raises(DataError, match="no data"):
        write(path, np.full((2, 40, 40), np.nan, dtype=np.float32), overwrite=True)
    assert Store.open(path, verify="full").n_phi == 3
    assert list(tmp_path.iterdir()) == [path]


def test_a_half_written_store_can_be_replaced(tmp_path: Path, maps: NDArray[np.float32]) -> None:
    path = tmp_path / "scan.zarr"
    write(path, maps)
    text = (path / "zarr.json").read_text()
    (path / "zarr.json").write_text(text.replace('"complete": true', '"complete": false'))
    assert write(path, maps, overwrite=True).n_phi == 3


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.write_text("precious")])
def test_what_is_not_a_store_is_never_replaced(
    tmp_path: Path, maps: NDArray[np.float32], make: Callable[[Path], None]
) -> None:
    path = tmp_path / "scan.zarr"
    make(path)
    with pytest.raises(DataError, match="exists and is not a hetdask store"):
        write(path, maps, overwrite=True)
    assert path.exists()


def test_a_folder_that_is_missing_or_read_only_is_said(
    tmp_path: Path, maps: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match=rf"there is no folder {tmp_path / 'no'}"):
        write(tmp_path / "no" / "scan.zarr", maps)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write into read-only folders
    with pytest.raises(DataError, match=rf"the folder {tmp_path} is read-only"):
        write(tmp_path / "scan.zarr", maps)


def test_a_task_that_outlives_its_run_cannot_bring_the_folder_back(tmp_path: Path, maps: NDArray[np.float32]) -> None:
    writer = StoreWriter(tmp_path / "scan.zarr", phi=[0, 1, 2], q=0.0054, n_frames=40, dt=0.1)

    def late() -> NoReturn:
        with writer:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        late()
    with pytest.raises(FileNotFoundError):
        write_group(writer.plan, (0, 1), iter([prepare_map(maps[0], "map")]))
    assert list(tmp_path.iterdir()) == []


def test_what_an_attempt_left_behind_is_not_in_the_store(tmp_path: Path, maps: NDArray[np.float32]) -> None:
    prepared = [prepare_map(pixels, "map") for pixels in maps]
    with StoreWriter(tmp_path / "scan.zarr", phi=[0, 1, 2], q=0.0054, n_frames=40, dt=0.1) as writer:
        for group in writer.plan.tiling.groups:
            write_group(writer.plan, group, iter(prepared[slice(*group)]))
        (Path(writer.plan.folder) / "c2/c/0/0/0.tmp-1234").write_text("of a worker that died")
        for group in writer.plan.tiling.groups:  # a second attempt
            writer.add(write_group(writer.plan, group, iter(prepared[slice(*group)])))
    store = Store.open(tmp_path / "scan.zarr", verify="full")
    assert not list(store.path.rglob("*.tmp-*"))
