"""How maps are cut: tiles, storage shards, and the groups of angles that share shards.

A tile is the square that is compressed and checked on its own. A shard is one file: the unit of work of a pass. Only
the upper triangle is kept, so only tiles with row block ≤ column block exist.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MOST_FRAMES_PER_TILE: Final = 512
"""A tile of this size is 1 MiB of float32: it fits into the cache of a core."""

SHARD_BYTES: Final = 64 * 2**20
"""Default size of a shard in memory."""

SMALLEST_SHARD: Final = 4 * 2**20
LARGEST_SHARD: Final = 256 * 2**20

MOST_SHARDS: Final = 1024
"""Shards grow beyond their usual size rather than become more: each costs the scheduler a task in every pass."""

TASK_BYTES: Final = 12 * 2**20
"""What a task on a shard takes beside its pixels: factors of the frames, a tile, buffers."""

LEAST_SHARDS: Final = 8
"""Angles are not packed together so far that fewer shards than this are left to work on."""

PIXEL_BYTES: Final = 4
"""Pixels are float32."""


def tile_size(n_frames: int) -> int:
    """Frames along the side of a tile: a multiple of 16, at most 512, with little padding.

    Examples
    --------
    >>> tile_size(4800), tile_size(350)
    (480, 352)
    """
    blocks = math.ceil(n_frames / MOST_FRAMES_PER_TILE)
    return math.ceil(n_frames / blocks / 16) * 16


def upper_tiles(n_blocks: int) -> int:
    """Tiles of one map on and above the diagonal."""
    return n_blocks * (n_blocks + 1) // 2


def shard_shape(n_phi: int, n_frames: int, tile: int, target_bytes: int = SHARD_BYTES) -> tuple[int, int, int]:
    """Angles, rows and columns of a shard.

    Parameters
    ----------
    n_phi, n_frames, tile : int
    target_bytes : int
        No shard holds more tiles than this, unless a single tile is larger.

    Returns
    -------
    tuple of int
        (P, S, S), with S a multiple of `tile`. Small maps share a shard (P > 1, then S covers the map), but at least
        min(n_phi, 8) shards are left, so that there is work for several processes.

    Examples
    --------
    >>> shard_shape(300, 4800, 480), shard_shape(23, 1001, 512), shard_shape(1, 20000, 512)
    ((1, 4800, 4800), (3, 1024, 1024), (1, 4096, 4096))
    """
    n_blocks = math.ceil(n_frames / tile)
    tile_bytes = PIXEL_BYTES * tile**2
    map_bytes = upper_tiles(n_blocks) * tile_bytes
    if map_bytes <= target_bytes:
        least = min(n_phi, LEAST_SHARDS)
        together = n_phi if least == 1 else (n_phi - 1) // (least - 1)
        return max(1, min(together, target_bytes // map_bytes, n_phi)), n_blocks * tile, n_blocks * tile
    widest = max(1, math.isqrt(target_bytes // tile_bytes))
    across = math.ceil(n_blocks / widest)
    side = math.ceil(n_blocks / across) * tile
    return 1, side, side


def choose_shard_bytes(n_phi: int, n_frames: int, room: int | None = None) -> int:
    """Size of the shards of a new store: the usual one, less where workers are small, more where shards are many.

    Parameters
    ----------
    n_phi, n_frames : int
    room : int, optional
        Bytes that a task may allocate on a worker; None for no limit.

    Examples
    --------
    >>> [choose_shard_bytes(n, 4800) // 2**20 for n in (5, 300, 18 * 300)], choose_shard_bytes(5, 4800, 2**25) // 2**20
    ([64, 64, 256], 20)
    """
    tile = tile_size(n_frames)
    whole = n_phi * upper_tiles(math.ceil(n_frames / tile)) * PIXEL_BYTES * tile**2
    size = SHARD_BYTES
    while size < LARGEST_SHARD and whole > MOST_SHARDS * size:
        size *= 2
    return size if room is None else max(SMALLEST_SHARD, min(size, room - TASK_BYTES))


@dataclass(frozen=True, slots=True)
class ShardSpec:
    """One storage shard: what a worker needs to read it.

    Attributes
    ----------
    path : str
        Folder of the store.
    angles, rows, columns : tuple of int
        Half-open ranges of angles, row blocks and column blocks.
    n_tiles : int
        Tiles on or above the diagonal in it.
    """

    path: str
    angles: tuple[int, int]
    rows: tuple[int, int]
    columns: tuple[int, int]
    n_tiles: int

    def tiles(self) -> Iterator[tuple[int, int, int]]:
        """Angle, row block and column block of each tile, in the order of the file."""
        for angle in range(*self.angles):
            for row in range(*self.rows):
                for column in range(max(row, self.columns[0]), self.columns[1]):
                    yield angle, row, column


@dataclass(frozen=True, slots=True)
class Tiling:
    """Tiles and shards of a whole data set.

    Attributes
    ----------
    n_phi, n_frames : int
    tile : int
        Frames along a tile.
    shard : tuple of int
        (P, S, S): angles, rows and columns of a shard.
    """

    n_phi: int
    n_frames: int
    tile: int
    shard: tuple[int, int, int]

    @classmethod
    def plan(cls, n_phi: int, n_frames: int, *, tile: int | None = None, shard_bytes: int = SHARD_BYTES) -> Tiling:
        """Tiling with the default tile size unless one is given."""
        size = tile_size(n_frames) if tile is None else tile
        return cls(n_phi, n_frames, size, shard_shape(n_phi, n_frames, size, shard_bytes))

    @property
    def n_pixels(self) -> int:
        """Pixels above the diagonals of all maps."""
        return self.n_phi * self.n_frames * (self.n_frames - 1) // 2

    @property
    def n_blocks(self) -> int:
        """Tiles along the side of a map."""
        return math.ceil(self.n_frames / self.tile)

    @property
    def shard_blocks(self) -> int:
        """Tiles along the side of a shard."""
        return self.shard[1] // self.tile

    @property
    def tile_bytes(self) -> int:
        """Bytes of a tile in memory."""
        return PIXEL_BYTES * self.tile**2

    @property
    def map_bytes(self) -> int:
        """Bytes of all stored tiles of a map in memory."""
        return upper_tiles(self.n_blocks) * self.tile_bytes

    @property
    def groups(self) -> list[tuple[int, int]]:
        """Half-open ranges of the angles that share shards."""
        step = self.shard[0]
        return [(first, min(first + step, self.n_phi)) for first in range(0, self.n_phi, step)]

    @property
    def shard_grid(self) -> tuple[int, int, int]:
        """Tiles of a shard along angle, rows and columns, with those outside the data and below the diagonal."""
        return self.shard[0], self.shard_blocks, self.shard_blocks

    def shard_file(self, spec: ShardSpec) -> Path:
        """File of a shard within the store: Zarr's default chunk key of the array ``c2``."""
        step = self.shard_blocks
        place = spec.angles[0] // self.shard[0], spec.rows[0] // step, spec.columns[0] // step
        return Path("c2", "c", *map(str, place))

    def shards(self, path: str, group: tuple[int, int]) -> list[ShardSpec]:
        """Shards of a group of angles that hold tiles on or above the diagonal."""
        step = self.shard_blocks
        specs = []
        for row in range(0, self.n_blocks, step):
            for column in range(row, self.n_blocks, step):
                rows = (row, min(row + step, self.n_blocks))
                columns = (column, min(column + step, self.n_blocks))
                height = rows[1] - rows[0]
                tiles = upper_tiles(height) if row == column else height * (columns[1] - columns[0])
                specs.append(ShardSpec(path, group, rows, columns, tiles * (group[1] - group[0])))
        return specs
