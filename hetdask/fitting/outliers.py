"""Frames and regions of the maps to which a fit has given little weight."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hetdask.passes.weighted import LossSums

Array = NDArray[np.float64]

FAR_BELOW: Final = 0.5
"""Frames and blocks below this share of the usual weight of their map are reported."""


@dataclass(frozen=True, slots=True)
class Region:
    """Part of a map, with frames counted from 0 and ends excluded.

    Attributes
    ----------
    angle : int
    rows, columns : (int, int)
        Frames of the earlier and of the later time; whole frames have the whole map as `columns`.
    weight : float
        Mean weight of its pixels, relative to the median over the frames of the map.
    whole : bool
        These are all pixels of the frames `rows`, which are left out.
    """

    angle: int
    rows: tuple[int, int]
    columns: tuple[int, int]
    weight: float
    whole: bool


def frame_weights(sums: LossSums, m: int) -> tuple[Array, float]:
    """Mean weight (N,) of the pixels of each frame of an angle, NaN for frames without data, and its median."""
    points = sums.frame_points[m]
    mean = np.where(points > 0.0, sums.frame_weight[m] / np.maximum(points, 1.0), np.nan)
    return mean, float(np.nanmedian(mean))


def bad_frames(sums: LossSums) -> tuple[tuple[int, ...], ...]:
    """Frames of each angle whose pixels have little weight, counted from 0."""
    found = []
    for m in range(sums.frame_weight.shape[0]):
        mean, usual = frame_weights(sums, m)
        found.append(tuple(np.flatnonzero(mean < FAR_BELOW * usual).tolist()))
    return tuple(found)


def find_outliers(sums: LossSums, block: int) -> tuple[Region, ...]:
    """Runs of frames whose pixels have little weight, then blocks of frames that those frames do not explain.

    Parameters
    ----------
    sums : LossSums
    block : int
        Frames in a block.
    """
    found: list[Region] = []
    n_frames = sums.frame_weight.shape[1]
    for m, frames in enumerate(bad_frames(sums)):
        usual, points = frame_weights(sums, m)[1], sums.frame_points[m]
        low = np.zeros(n_frames, dtype=np.bool_)
        low[list(frames)] = True
        edges = np.flatnonzero(np.diff(np.concatenate([[False], low, [False]]).astype(np.int8)))
        for first, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            weight = float(sums.frame_weight[m, first:stop].sum() / points[first:stop].sum())
            found.append(Region(m, (first, stop), (0, n_frames), weight / usual, whole=True))
        found.extend(_blocks(sums, m, low, usual, block))
    return tuple(found)


def _blocks(sums: LossSums, m: int, low: NDArray[np.bool_], usual: float, block: int) -> list[Region]:
    """Blocks of small weight, most of whose frames are none of the frames of small weight."""
    n_frames, n_blocks = low.size, sums.tile_weight.shape[1]
    edges = [min(k * block, n_frames) for k in range(n_blocks + 1)]
    explained = [bool(low[first:stop].mean() > FAR_BELOW) if stop > first else True for first, stop in pairwise(edges)]
    out = []
    for row in range(n_blocks):
        for column in range(row, n_blocks):
            points = float(sums.tile_points[m, row, column])
            weight = float(sums.tile_weight[m, row, column]) / max(points, 1.0) / usual
            if points > 0.0 and weight < FAR_BELOW and not (explained[row] or explained[column]):
                rows, columns = (edges[row], edges[row + 1]), (edges[column], edges[column + 1])
                out.append(Region(m, rows, columns, weight, whole=False))
    return out
