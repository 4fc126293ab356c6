"""The sums of a pass in plain NumPy, pixel by pixel from the reference model: the oracle of the kernels, and slow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hetdask.model.correlation import correlation, correlation_gradient
from hetdask.passes.shard import Shard
from hetdask.passes.tiles import AngleTiles, Series

Array = NDArray[np.float64]


def evaluate_reference(shard: Shard, vector: Array, free: tuple[int, ...]) -> dict[int, Array]:
    """Gram matrices of (1, g, D_1..D_p, e) over the pixels of a shard.

    Parameters
    ----------
    shard : Shard
    vector : (14,) float64
        Model parameters.
    free : tuple of int
        Indices of the p parameters whose derivatives are wanted.

    Returns
    -------
    dict of int to (p + 3, p + 3) float64
        By angle. Unlike those of `evaluate_shard`, sums without data are over the pixels of this shard too; over all
        shards both are the same.
    """
    return {tiles.angle: _gram(shard.series, tiles, vector, free) for tiles in shard.angles}


def _gram(series: Series, tiles: AngleTiles, vector: Array, free: tuple[int, ...]) -> Array:
    total = np.zeros((len(free) + 3, len(free) + 3))
    size, baseline = series.block, float(series.baseline[tiles.angle])
    phi, q = series.phi[[tiles.angle]], series.q[[tiles.angle]]
    valid = np.flatnonzero(~series.excluded[tiles.angle])
    for k, (row, column) in enumerate(tiles.blocks):
        rows, columns = (valid[(valid >= b * size) & (valid < (b + 1) * size)] for b in (row, column))
        # The model between all frames of both blocks, of which one corner is wanted.
        frames = rows if row == column else np.concatenate([rows, columns])
        if rows.size == 0 or columns.size == 0 or frames.size < 2:
            continue
        corner = np.ix_(range(rows.size), range(frames.size - columns.size, frames.size))
        inside = np.ix_(rows - row * size, columns - column * size)
        wanted = rows[:, None] < columns[None, :]
        if k in tiles.missing:
            wanted &= ~tiles.missing[k][inside]
        model = correlation(vector, series.time[frames], phi, q)[0][corner]
        slopes = correlation_gradient(vector, series.time[frames], phi, q)[0] if free else np.empty((0, 0, 0))
        data = tiles.block(k)[inside].astype(np.float64) - baseline
        parts = [np.ones(wanted.shape), model, *(slopes[p][corner] for p in free), data]
        values = np.stack([part[wanted] for part in parts])
        total += values @ values.T
    return total
