"""Shard files are those of Zarr's sharding codec: Zarr reads what is written here, and the other way round."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from hetdask.data.shardfile import READ_AHEAD, DamagedShardError, ShardReader, ShardWriter, checksum, read_ahead

TILE = 16
GRID = (2, 3, 3)


@pytest.fixture
def array(tmp_path: Path) -> zarr.Array:
    return zarr.create_array(
        tmp_path / "c2",
        shape=(2, 40, 40),
        chunks=(1, TILE, TILE),
        shards=(2, 48, 48),
        dtype="float32",
        fill_value=np.nan,
        compressors=[zarr.codecs.BloscCodec(cname="lz4", clevel=5, shuffle="shuffle", typesize=4)],
    )


@pytest.fixture
def pixels() -> NDArray[np.float32]:
    values = np.random.default_rng(1).random((2, 48, 48), dtype=np.float32)
    values[:, 40:] = values[:, :, 40:] = np.nan
    values[:, 16:32, :16] = np.nan
    return values


def place(index: tuple[int, int, int]) -> tuple[int, slice, slice]:
    angle, row, column = index
    return angle, slice(row * TILE, (row + 1) * TILE), slice(column * TILE, (column + 1) * TILE)


def write(path: Path, pixels: NDArray[np.float32]) -> None:
    path.parent.mkdir(parents=True)
    with ShardWriter(path, GRID) as writer:
        for index in np.ndindex(GRID):
            tile = pixels[place(index)]
            if np.isfinite(tile).any():
                writer.add(index, np.ascontiguousarray(tile))


def test_zarr_reads_what_is_written(tmp_path: Path, array: zarr.Array, pixels: NDArray[np.float32]) -> None:
    write(tmp_path / "c2/c/0/0/0", pixels)
    np.testing.assert_array_equal(array[...], pixels[:, :40, :40])


def test_what_zarr_writes_is_read(tmp_path: Path, array: zarr.Array, pixels: NDArray[np.float32]) -> None:
    array[...] = pixels[:, :40, :40]
    tile = np.empty((TILE, TILE), dtype=np.float32)
    with ShardReader(tmp_path / "c2/c/0/0/0", GRID) as reader:
        for index in np.ndindex(GRID):
            reader.read(index, tile)
            np.testing.assert_array_equal(tile, pixels[place(index)])


def test_a_failed_shard_leaves_no_file(tmp_path: Path) -> None:
    def fail() -> None:
        with ShardWriter(tmp_path / "shard", GRID) as writer:
            writer.add((0, 0, 0), np.ones((TILE, TILE), dtype=np.float32))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_shard_is_not_written_into_a_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ShardWriter(tmp_path / "gone" / "shard", GRID)
    assert list(tmp_path.iterdir()) == []


def test_every_byte_that_is_cut_off_is_noticed(tmp_path: Path, pixels: NDArray[np.float32]) -> None:
    path = tmp_path / "c/shard"
    write(path, pixels)
    data = path.read_bytes()
    for length in (0, 3, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(DamagedShardError, match="cut short"):
            ShardReader(path, GRID)


def test_a_missing_shard_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(DamagedShardError, match="is missing"):
        ShardReader(tmp_path / "shard", GRID)


def test_the_checksum_is_crc32c() -> None:
    # "123456789" as in RFC 3720 and every list of test values of this polynomial.
    assert checksum(np.frombuffer(b"123456789", dtype=np.uint8)) == 0xE3069283


@pytest.mark.skipif(not hasattr(os, "RWF_NOWAIT"), reason="the system does not tell what it holds of a file")
def test_what_is_read_ahead_needs_no_waiting(tmp_path: Path) -> None:
    file = tmp_path / "shard"
    file.write_bytes(bytes(3 * READ_AHEAD + 5))
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        read_ahead(file)
        try:
            there = [
                os.preadv(opened.fileno(), [bytearray(1)], start, os.RWF_NOWAIT)
                for start in range(0, file.stat().st_size, 4096)
            ]
        except BlockingIOError:
            pytest.fail("a part would have to be waited for")
        except OSError as error:
            pytest.skip(f"the file system does not tell what it holds: {error}")
    assert set(there) == {1}


def test_a_file_that_is_missing_is_left_to_its_reader(tmp_path: Path) -> None:
    read_ahead(tmp_path / "shard")
