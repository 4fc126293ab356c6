"""Tiles of a map in memory, ready to be summed over."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hetdask_kernels import fill_blocks, panel, polynomials, sum_blocks

Array = NDArray[np.float64]

USUAL_BLOCK: Final = 128
"""Frames in a block: few enough for slow factors to be short polynomials, many enough for whole vector registers."""

SMALLEST_BLOCK: Final = 64
"""Below this, compressing gains nothing."""

RESIDENT_BYTES: Final = 5.5
"""Memory of a pixel that stays: a float32, 9/64 of a float64 in its compressed tile, and the first row of blocks."""

WIDEST_PANEL: Final = 32
"""Blocks side by side in a matrix of coefficients: fewer would be slower, of more the factors would leave the cache."""


@dataclass(frozen=True, eq=False)
class Series:
    """What the model needs to know of a data set.

    Attributes
    ----------
    phi : (n_phi,) float64
        Degrees.
    q : (n_phi,) float64
        1/Å.
    time : (N,) float64
        s, equidistant.
    excluded : (n_phi, N) bool
        Frames that are no data.
    baseline : (n_phi,) float64
        Subtracted from the data before summing; each exactly a float32.
    tile : int
        Frames along a stored tile.
    """

    phi: Array
    q: Array
    time: Array
    excluded: NDArray[np.bool_]
    baseline: Array
    tile: int

    @property
    def n_phi(self) -> int:
        """Number of maps."""
        return int(self.phi.size)

    def at_angles(self, chosen: NDArray[np.intp]) -> Series:
        """The same for some of the maps."""
        of_maps = {name: getattr(self, name)[chosen] for name in ("phi", "q", "excluded", "baseline")}
        return replace(self, **of_maps)

    @property
    def block(self) -> int:
        """Frames in a block, the unit of all sums."""
        return block_size(self.tile)

    @cached_property
    def padded_time(self) -> Array:
        """The time axis, continued to whole blocks, (n_blocks·block,) s."""
        n = self.time.size
        missing = -n % self.block
        dt = self.time[-1] - self.time[-2]
        return np.concatenate([self.time, self.time[-1] + dt * np.arange(1, missing + 1)])

    @cached_property
    def time_bytes(self) -> bytes:
        """The same as bytes, which keep their hash."""
        return self.padded_time.tobytes()


@lru_cache
def block_size(tile: int) -> int:
    """Frames in a block for stored tiles of this side: the part of it nearest to 128 by ratio, a multiple of 8."""
    parts = [tile // k for k in range(1, tile // 8 + 1) if tile % k == 0 and tile // k % 8 == 0]
    return min(parts, key=lambda size: abs(math.log(size / USUAL_BLOCK)))


@dataclass(frozen=True, slots=True, eq=False)
class AngleTiles:
    """Blocks of one angle, filled with the baseline where a pixel is no data.

    Attributes
    ----------
    angle : int
    size : int
        Frames in a block.
    blocks : (n, 2) int64
        Row and column of each block in the map.
    tiles : (t, side, side) float32
        What holds their pixels: single blocks, or stored tiles of several blocks, whose pixels below the diagonal may
        be NaN.
    places : (n, 3) int64
        Tile, first row and first column in it of each block.
    compressed : (…,) float64
        Centred blocks in d polynomials of rows and columns (`hetdask_kernels.polynomials`), neighbours in a row of
        blocks joined to panels (d, count·d), one after the other. Empty if not compressed.
    panels : (p, 3) int64
        Row, first column and number of blocks of each of these matrices.
    first_row : (…,) float64
        The same in polynomials of the columns only, matrices (block, count·d), for the first row of blocks: power
        laws begin there and are no polynomials.
    first_panels : (p, 3) int64
    degrees : int
        The number d; 0 if not compressed.
    missing : dict of int to (size, size) bool
        For blocks with single missing pixels between valid frames: where they are.
    total, square : float
        Σe and Σe² of the centred pixels.
    """

    angle: int
    size: int
    blocks: NDArray[np.int64]
    tiles: NDArray[np.float32]
    places: NDArray[np.int64]
    compressed: Array
    panels: NDArray[np.int64]
    first_row: Array
    first_panels: NDArray[np.int64]
    degrees: int
    missing: dict[int, NDArray[np.bool_]]
    total: float
    square: float

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        held = self.tiles.nbytes + self.compressed.nbytes + self.first_row.nbytes
        return held + sum(mask.nbytes for mask in self.missing.values())

    def block(self, k: int) -> NDArray[np.float32]:
        """Pixels of a block, (size, size)."""
        tile, row, column = self.places[k].tolist()
        return self.tiles[tile, row : row + self.size, column : column + self.size]


def missing_pixels(
    finite: NDArray[np.bool_], row: int, column: int, excluded: NDArray[np.bool_], size: int
) -> NDArray[np.bool_]:
    """Pixels of a tile that lie above the diagonal, between valid frames, and are no data."""
    n = excluded.size
    rows, columns = row * size + np.arange(size), column * size + np.arange(size)
    valid = np.zeros((size, size), dtype=np.bool_)
    inside = np.ix_(rows < n, columns < n)
    valid[inside] = ~excluded[rows[rows < n], None] & ~excluded[None, columns[columns < n]]
    return np.asarray(valid & (rows[:, None] < columns[None, :]) & ~finite)


def single_blocks(count: int) -> NDArray[np.int64]:
    """Places (count, 3) of blocks each of which is a tile of its own."""
    return np.asarray(np.arange(count)[:, None] * np.array([1, 0, 0]))


@lru_cache(maxsize=64)
def blocks_above(parts: int, diagonal: bool, columns: int) -> NDArray[np.int64]:
    """Blocks of a stored tile, `parts` along each side, that hold pixels above the diagonal: row and column, (n, 2).

    Those from the column `columns` on lie beyond the last frame.
    """
    found = [(r, c) for r in range(parts) for c in range(r if diagonal else 0, min(parts, columns))]
    return np.array(found, dtype=np.int64).reshape(-1, 2)


@dataclass(frozen=True, slots=True, eq=False)
class TileSums:
    """What the pixels of a stored tile add up to, which no parameter changes.

    Attributes
    ----------
    total, square : float
        Σe and Σe² of the centred pixels.
    gaps : (g, 2) int64
        First row and column of each block with pixels that are no data, above the diagonal.
    missing : dict of int to (size, size) bool
        As in `AngleTiles`, for the blocks of this tile.
    """

    total: float
    square: float
    gaps: NDArray[np.int64]
    missing: dict[int, NDArray[np.bool_]]


class _BlockFinder:
    """Finds the blocks in stored tiles of one angle, and remembers sums of tiles that are complete in `known`."""

    def __init__(self, series: Series, angle: int, known: dict[tuple[int, int], TileSums] | None = None) -> None:
        self.baseline = float(series.baseline[angle])
        self.size = series.block
        self.parts = series.tile // self.size
        self._known = {} if known is None else known
        self._excluded = series.excluded[angle]
        good = np.zeros(series.padded_time.size, dtype=np.int64)
        good[: self._excluded.size] = ~self._excluded
        self._good = good.reshape(-1, self.size).sum(axis=1)

    def find(
        self, row: int, column: int, tile: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], TileSums]:
        """First row and column of each block in a tile, which is filled; where they belong; and sums."""
        inside = blocks_above(self.parts, row == column, self._good.size - column * self.parts)
        blocks, places = inside + np.array([row, column]) * self.parts, inside * self.size
        sums = self._known.get((row, column))
        if sums is None:
            sums = self._sum(tile, places, blocks)
            if not sums.missing:
                self._known[row, column] = sums
        if sums.gaps.size:
            fill_blocks(tile, sums.gaps, self.size, self.baseline)
        return places, blocks, sums

    def _sum(self, tile: NDArray[np.float32], places: NDArray[np.int64], blocks: NDArray[np.int64]) -> TileSums:
        counts = np.empty(len(places), dtype=np.int64)
        total, square = sum_blocks(tile, places, self.size, self.baseline, counts)
        rows, columns = self._good[blocks.T]

        def above(rows: int | NDArray[np.int64], columns: int | NDArray[np.int64]) -> NDArray[np.int64]:
            """Pixels above the diagonal between so many frames."""
            return np.where(blocks[:, 0] == blocks[:, 1], rows * (rows - 1) // 2, rows * columns)

        missing = {}
        for k in np.flatnonzero(counts != above(rows, columns)).tolist():
            r, c = places[k]
            finite = np.isfinite(tile[r : r + self.size, c : c + self.size])
            missing[k] = missing_pixels(finite, int(blocks[k, 0]), int(blocks[k, 1]), self._excluded, self.size)
        return TileSums(total, square, places[counts < above(self.size, self.size)], missing)


def collect_tiles(
    series: Series,
    angle: int,
    tiles: Iterable[tuple[int, int, NDArray[np.float32]]],
    count: int,
    *,
    compress: bool = False,
) -> AngleTiles:
    """Copy the blocks of one angle from its stored tiles, one after the other.

    Parameters
    ----------
    series : Series
    angle : int
    tiles : iterable of (row, column, (side, side) float32)
        Stored tiles by their place in units of `side`, a multiple of `series.block`; NaN where a pixel is no data,
        which is overwritten with the baseline.
    count : int
        Number of stored tiles.
    compress : bool
        Also compress them: for data that several passes go through.
    """
    finder = _BlockFinder(series, angle)
    size = finder.size
    basis = polynomials(size)
    compress = compress and size >= SMALLEST_BLOCK
    # Pages that are never written to are never made: room for all parts of all tiles costs nothing.
    stack = np.empty((count * finder.parts**2, size, size), dtype=np.float32)
    blocks: list[NDArray[np.int64]] = [np.empty((0, 2), dtype=np.int64)]
    compressed: dict[tuple[int, int], Array] = {}
    first_row: dict[tuple[int, int], Array] = {}
    missing: dict[int, NDArray[np.bool_]] = {}
    done = 0
    total = square = 0.0
    for row, column, tile in tiles:
        places, found, sums = finder.find(row, column, tile)
        total, square = total + sums.total, square + sums.square
        blocks.append(found)
        missing.update({done + k: pixels for k, pixels in sums.missing.items()})
        for k, (i, j) in enumerate(places.tolist()):
            block, (r, c) = stack[done + k], found[k].tolist()
            block[:] = tile[i : i + size, j : j + size]
            if r == c:
                block[np.isnan(block)] = finder.baseline  # below the diagonal, where nothing may spoil a product
            if compress:
                half = (block - finder.baseline) @ basis
                compressed[r, c] = basis.T @ half
                if r == 0 and c > 0:
                    first_row[r, c] = half
        done += len(found)
    return AngleTiles(
        angle,
        size,
        np.concatenate(blocks),
        stack[:done],
        single_blocks(done),
        *_panels(compressed),
        *_panels(first_row),
        degrees=basis.shape[1] if compress else 0,
        missing=missing,
        total=total,
        square=square,
    )


def stream_tiles(
    series: Series,
    angle: int,
    tiles: Iterable[tuple[int, int, NDArray[np.float32]]],
    known: dict[tuple[int, int], TileSums] | None = None,
) -> Iterator[AngleTiles]:
    """The blocks of one stored tile after the other where they are, not compressed.

    What is read once is summed while it is in the cache.

    Parameters
    ----------
    series, angle, tiles
        As in `collect_tiles`.
    known : dict, optional
        Sums of the tiles of this angle by row and column, from earlier passes; those that are not there are added.
    """
    finder = _BlockFinder(series, angle, known)
    nothing = _panels({})
    for row, column, tile in tiles:
        places, blocks, sums = finder.find(row, column, tile)
        yield AngleTiles(
            angle,
            finder.size,
            blocks,
            tile[None],
            np.concatenate([np.zeros_like(places[:, :1]), places], axis=1),
            *nothing,
            *nothing,
            degrees=0,
            missing=sums.missing,
            total=sums.total,
            square=sums.square,
        )


def _panels(tiles: Mapping[tuple[int, int], Array]) -> tuple[Array, NDArray[np.int64]]:
    """Blocks by row and column as matrices of neighbours side by side: their values in a row, and where they belong."""
    runs: list[list[tuple[int, int]]] = []
    for place in sorted(tiles):
        if runs and runs[-1][-1] == (place[0], place[1] - 1) and len(runs[-1]) < WIDEST_PANEL:
            runs[-1].append(place)
        else:
            runs.append([place])
    matrices = [panel([tiles[place] for place in run]).ravel() for run in runs]
    panels = np.array([(*run[0], len(run)) for run in runs], dtype=np.int64).reshape(-1, 3)
    return np.concatenate([*matrices, np.empty(0)]), panels
