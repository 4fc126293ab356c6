"""Residuals of a model pixel by pixel, and their sums by frame and by cell of the map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hetdask.passes.factors import AngleFactors, angle_factors
from hetdask.passes.shard import Shard, cached_factors, place_of
from hetdask.passes.tiles import AngleTiles, Series
from hetdask_kernels import tile_model

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
    """Sums over the residuals e; those over disjoint pixels add.

    Attributes
    ----------
    frame_points, frame_sum, frame_square, frame_far : (n_phi, N) float64
        Number of the pixels that each frame takes part in, Σe, Σe², and how many |e| are above a limit.
    cell_points, cell_square, cell_far : (n_phi, C, C) float64
        The same by cells of the map.
    """

    frame_points: Array
    frame_sum: Array
    frame_square: Array
    frame_far: Array
    cell_points: Array
    cell_square: Array
    cell_far: Array

    @classmethod
    def zeros(cls, n_phi: int, series: Series) -> ResidualSums:
        """Sums over no pixels of `n_phi` maps."""
        side = series.padded_time.size // cell_size(series)
        frames, cells = (n_phi, series.time.size), (n_phi, side, side)
        return cls(*(np.zeros(frames) for _ in range(4)), *(np.zeros(cells) for _ in range(3)))

    def angle(self, m: int) -> tuple[Array, ...]:
        """Views of what belongs to one angle, as arrays that can be added to."""
        return tuple(getattr(self, entry.name)[m : m + 1] for entry in fields(self))


def tile_residuals(
    factors: AngleFactors, m: int, tiles: AngleTiles, contrast: float, offset: float
) -> Iterator[tuple[int, int, int, NDArray[np.bool_], Array]]:
    """Number, row and column of each tile, which of its pixels are data, and their residuals, 0 elsewhere.

    Parameters
    ----------
    factors : AngleFactors
    m : int
        Place of the angle in `factors`.
    tiles : AngleTiles
    contrast, offset : float
        In units of c2.
    """
    size, keep = factors.series.block, factors.keep[m] > 0.0
    model = np.zeros((size, size))
    for k, (row, column) in enumerate(tiles.blocks.tolist()):
        diagonal = row == column
        tile_model(diagonal, bool(diagonal and factors.steep[m, row]), *place_of(factors, m, row, column), model)
        valid = np.outer(keep[row * size : (row + 1) * size], keep[column * size : (column + 1) * size])
        if diagonal:
            valid = np.triu(valid, 1)
        if k in tiles.missing:
            valid &= ~tiles.missing[k]
        data = tiles.tiles[k].astype(np.float64)
        yield k, row, column, valid, np.where(valid, data - offset - contrast * model, 0.0)


def evaluate_residuals(
    shard: Shard, vector: Array, contrast: Sequence[float], offset: Sequence[float], limit: Sequence[float]
) -> dict[int, tuple[Array, ...]]:
    """Sums over a shard, by angle in the order of the fields of `ResidualSums`.

    Parameters
    ----------
    shard : Shard
    vector : (14,) float64
    contrast, offset, limit : n_phi floats
        Of each angle, in units of c2.
    """
    series, size = shard.series, shard.series.block
    shared = cached_factors(vector.tobytes(), series.padded_time.tobytes(), size)
    angles = [tiles.angle for tiles in shard.angles]
    factors = angle_factors(shared, series.phi[angles], series.q[angles], series.excluded[angles])
    out = {}
    cells, n_frames = size // cell_size(series), series.time.size
    for m, tiles in enumerate(shard.angles):
        sums = ResidualSums.zeros(1, series)
        scaling = contrast[tiles.angle], offset[tiles.angle]
        for _, row, column, valid, residual in tile_residuals(factors, m, tiles, *scaling):
            square, far = residual * residual, np.abs(residual) > limit[tiles.angle]
            pixels = (valid.astype(np.float64), residual, square, far.astype(np.float64))
            frames = (sums.frame_points, sums.frame_sum, sums.frame_square, sums.frame_far)
            for target, values in zip(frames, pixels, strict=True):
                for block, axis in ((row, 1), (column, 0)):
                    place = target[0, block * size : min((block + 1) * size, n_frames)]
                    place += values.sum(axis=axis)[: place.size]
            rows, columns = slice(row * cells, (row + 1) * cells), slice(column * cells, (column + 1) * cells)
            grids = (sums.cell_points, sums.cell_square, sums.cell_far)
            for target, values in zip(grids, (pixels[k] for k in (0, 2, 3)), strict=True):
                target[0, rows, columns] += values.reshape(cells, size // cells, cells, -1).sum(axis=(1, 3))
        out[tiles.angle] = sums.angle(0)
    return out


def merge_residuals(zeros: ResidualSums, parts: Sequence[Mapping[int, tuple[Array, ...]]]) -> ResidualSums:
    """Add the sums of disjoint shards to `zeros`, which is returned."""
    for part in parts:
        for angle, arrays in part.items():
            for total, array in zip(zeros.angle(angle), arrays, strict=True):
                np.add(total, array, out=total)
    return zeros
