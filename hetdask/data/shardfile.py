"""Files of the Zarr sharding codec, written and read tile by tile.

The format is the published one (https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/): compressed
chunks one after the other, then an index of (offset, length) pairs and its crc32c. Any Zarr implementation reads these
files, and files that Zarr wrote are read here. Going through them directly is faster than slicing a
`zarr.Array`, and needs no array that holds the empty lower triangle too.
"""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import struct
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

import google_crc32c
import numcodecs  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray

EMPTY: Final = np.uint64(2**64 - 1)
"""Offset and length of a chunk that holds nothing but the fill value."""

CODEC: Final[Mapping[str, Any]] = {"cname": "lz4", "clevel": 5, "blocksize": 2**18}
"""Of Blosc, with shuffled bytes. Noisy data compress little: lz4 is the fastest, and as small as any. Half of this
block size, its own choice for many tiles, takes twice as long to read."""

READ_AHEAD: Final = 2**18
"""Bytes that are read in one go ahead of their use."""

CRC: Final = struct.Struct("<I")

_codec: Final = numcodecs.Blosc(**CODEC, shuffle=numcodecs.Blosc.SHUFFLE)


def checksum(array: NDArray[Any]) -> int:
    """crc32c of the bytes of an array in C order."""
    return int(google_crc32c.value(np.ascontiguousarray(array).reshape(-1).view(np.uint8)))


def read_ahead(path: Path) -> None:
    """Have the system read what it does not hold yet of a file that will be needed soon.

    Reading waits for the disk without the lock of Python, so that another thread computes meanwhile. Where the file is
    missing or cannot be read, its reader says so; where the system does not tell what it holds, nothing is done.
    """
    if not hasattr(os, "RWF_NOWAIT"):
        return
    part, byte = bytearray(READ_AHEAD), bytearray(1)
    with contextlib.suppress(OSError), path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        for start in range(0, size, READ_AHEAD):
            try:
                os.preadv(file.fileno(), [byte], min(start + READ_AHEAD, size) - 1, os.RWF_NOWAIT)
            except OSError:  # it would have to wait for the disk, or can't tell
                os.preadv(file.fileno(), [part], start)


class ShardWriter:
    """One shard file, complete or not there at all.

    Parameters
    ----------
    path : Path
        In a folder that exists: a task that outlives its run finds the folder gone and fails, and does not bring it
        back.
    grid : tuple of int
        Chunks of the shard along angle, rows and columns.

    Notes
    -----
    It is written under a temporary name and renamed, so that two attempts at the same shard cannot mix.
    """

    def __init__(self, path: Path, grid: tuple[int, int, int]) -> None:
        self._path = path
        self._partial = path.with_name(f"{path.name}.tmp-{secrets.token_hex(4)}")
        self._index = np.full((*grid, 2), EMPTY, dtype="<u8")
        self._file: BinaryIO = self._partial.open("xb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            try:
                self._finish()
            except BaseException:
                self._abandon()
                raise
        else:
            self._abandon()

    def add(self, place: tuple[int, int, int], tile: NDArray[np.float32]) -> None:
        """Append a (T, T) tile at its place in the grid."""
        data = _codec.encode(tile)
        self._index[place] = self._file.tell(), len(data)
        self._file.write(data)

    def _finish(self) -> None:
        index = self._index.tobytes()
        self._file.write(index + CRC.pack(google_crc32c.value(index)))
        self._file.close()
        self._partial.replace(self._path)

    def _abandon(self) -> None:
        with contextlib.suppress(OSError):  # closing flushes, which a full disk refuses; the file goes anyway
            self._file.close()
        self._partial.unlink(missing_ok=True)


class DamagedShardError(Exception):
    """A shard file is missing, cut short or altered; the text says which."""


class ShardReader:
    """Tiles of one shard file.

    Parameters
    ----------
    path : Path
    grid : tuple of int
        Chunks of the shard along angle, rows and columns.

    Raises
    ------
    DamagedShardError
        If there is no such file, or its index does not match its checksum.
    """

    def __init__(self, path: Path, grid: tuple[int, int, int]) -> None:
        try:
            self._file = path.open("rb")
        except FileNotFoundError:
            raise DamagedShardError("is missing") from None
        self._buffer = bytearray()
        try:
            self._index = self._read_index(grid)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def read(self, place: tuple[int, int, int], out: NDArray[np.float32]) -> None:
        """Fill `out` (T, T) with the tile at a place of the grid, with NaN if it is empty.

        Raises
        ------
        DamagedShardError
            If the tile cannot be decompressed.
        """
        offset, length = self._index[place]
        if offset == EMPTY:
            out.fill(np.nan)
            return
        if len(self._buffer) < length:
            self._buffer = bytearray(int(length))
        data = memoryview(self._buffer)[: int(length)]
        self._file.seek(int(offset))
        if self._file.readinto(data) != length:
            raise DamagedShardError("is cut short")
        try:
            _codec.decode(data, out=out)
        except (RuntimeError, ValueError) as error:
            raise DamagedShardError(f"cannot be decompressed ({error})") from error

    def _read_index(self, grid: tuple[int, int, int]) -> NDArray[np.uint64]:
        size = 16 * math.prod(grid)
        total = os.fstat(self._file.fileno()).st_size
        if total < size + CRC.size:
            raise DamagedShardError("is cut short")
        self._file.seek(total - size - CRC.size)
        index = self._file.read(size)
        if CRC.unpack(self._file.read(CRC.size))[0] != google_crc32c.value(index):
            raise DamagedShardError("is cut short or altered: its index does not match its checksum")
        return np.frombuffer(index, dtype="<u8").reshape(*grid, 2)
