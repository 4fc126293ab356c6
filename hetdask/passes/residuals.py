"""Residuals of a model pixel by pixel, and their sums by frame and by cell of the map."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hetdask.passes.factors import AngleFactors
from hetdask.passes.shard import factors_at, place_of
from hetdask.passes.tiles import AngleTiles, Series
from hetdask_kernels import residual_sums, tile_residuals

Array = NDArray[np.float64]

CELLS: Final = 64
"""Cells along a map, unless the blocks of the sums are more."""

PARTS: Final = (8, 4, 2)
"""Parts that a block may be cut into."""


def cell_size(series: Series) -> int:
    """Frames along a cell: a part of a block, so that there are not many more than `CELLS` along a map."""
    sizes = [series.block // parts for parts in PARTS]
    return next((size for size in sizes if size * CELLS >= series.time.size), series.block)


@dataclass(frozen=True, slots=True, eq=False)
class ResidualSums:
    """Number, sum, sum of squares and number of far ones of the residuals; those over disjoint pixels add.

    Attributes
    ----------
    frames : (n_phi, 4, N) float64
        Over the pixels that each frame takes part in.
    cells : (n_phi, 4, C, C) float64
        Over the cells of the map.
    """

    frames: Array
    cells: Array

    @classmethod
    def zeros(cls, n_phi: int, series: Series) -> ResidualSums:
        """Sums over no pixels of `n_phi` maps."""
        side = series.padded_time.size // cell_size(series)
        return cls(np.zeros((n_phi, 4, series.time.size)), np.zeros((n_phi, 4, side, side)))


def residuals_of(
    factors: AngleFactors, m: int, tiles: AngleTiles, contrast: float, offset: float
) -> Iterator[tuple[int, int, int, NDArray[np.bool_], Array]]:
    """Number, row and column of each tile, which of its pixels are data, and their residuals, 0 elsewhere.

    The arrays are overwritten by those of the next tile.

    Parameters
    ----------
    factors : AngleFactors
    m : int
        Place of the angle in `factors`.
    tiles : AngleTiles
    contrast, offset : float
        In units of c2.
    """
    size, keep, none = factors.series.block, factors.keep[m] > 0.0, np.empty((0, 0), dtype=np.bool_)
    residual, valid = np.empty((size, size)), np.empty((size, size), dtype=np.bool_)
    for k, (row, column) in enumerate(tiles.blocks.tolist()):
        diagonal = row == column
        data = (keep[row * size : (row + 1) * size], keep[column * size : (column + 1) * size])
        shape = (diagonal, bool(diagonal and factors.steep[m, row]))
        place = place_of(factors, m, row, column)
        missing = tiles.missing.get(k, none)
        tile_residuals(tiles.block(k), contrast, offset, *data, missing, *shape, *place, residual, valid)
        yield k, row, column, valid, residual


def evaluate_residuals(
    series: Series,
    pieces: Mapping[int, Iterable[AngleTiles]],
    vector: Array,
    contrast: Sequence[float],
    offset: Sequence[float],
    limit: Sequence[float],
) -> dict[int, tuple[Array, Array]]:
    """Sums over some tiles, by angle: `frames` (4, N) and `cells` (4, C, C) as in `ResidualSums`.

    Parameters
    ----------
    series : Series
    pieces : mapping of int to iterable of AngleTiles
        As in `evaluate_pieces`.
    vector : (14,) float64
    contrast, offset, limit : n_phi floats
        Of each angle, in units of c2.
    """
    angles, cell = sorted(pieces), cell_size(series)
    factors = factors_at(series, angles, vector)
    out = {}
    for m, angle in enumerate(angles):
        zeros = ResidualSums.zeros(1, series)
        frames, cells = zeros.frames[0], zeros.cells[0]
        for tiles in pieces[angle]:
            for _, row, column, valid, residual in residuals_of(factors, m, tiles, contrast[angle], offset[angle]):
                residual_sums(residual, valid, limit[angle], row, column, cell, frames, cells)
        out[angle] = (frames, cells)
    return out


def merge_residuals(zeros: ResidualSums, parts: Sequence[Mapping[int, tuple[Array, Array]]]) -> ResidualSums:
    """Add the sums of disjoint shards to `zeros`, which is returned."""
    for part in parts:
        for angle, (frames, cells) in part.items():
            zeros.frames[angle] += frames
            zeros.cells[angle] += cells
    return zeros
