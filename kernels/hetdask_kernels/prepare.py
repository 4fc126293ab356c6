"""Make tiles ready for contraction: cut them into blocks, fill what is no data, and sum what is."""

from __future__ import annotations

import numpy as np
from numba import njit

from hetdask_kernels._jit import JIT, REORDER


@njit(fastmath=REORDER, **JIT)
def _row(source, baseline, fill, row):  # type: ignore[no-untyped-def]
    count = 0
    total = square = 0.0
    for j in range(row.shape[0]):
        finite = np.isfinite(source[j])
        value = source[j] if finite else fill
        row[j] = value
        e = np.float64(value) - baseline
        count += finite
        total += e
        square += e * e
    return count, total, square


@njit(**JIT)
def cut_tile(tile, places, baseline, blocks, counts):  # type: ignore[no-untyped-def]
    """Cut blocks out of a tile, fill pixels that are no data with the baseline, and sum the others.

    Parameters
    ----------
    tile : (side, side) float32
        NaN or infinite where a pixel is no data.
    places : (n, 2) int64
        Row and column of each block, in units of `size`.
    baseline : float
        Exactly a float32.
    blocks : (n, size, size) float32
        Overwritten.
    counts : (n,) int64
        Overwritten: pixels of each block that are data.

    Returns
    -------
    total, square : float
        Σe and Σe² of the centred pixels e = c2 - baseline.
    """
    fill = np.float32(baseline)
    size = blocks.shape[1]
    total = square = 0.0
    for k in range(places.shape[0]):
        row, column = places[k, 0] * size, places[k, 1] * size
        counts[k] = 0
        for i in range(size):
            count, row_total, row_square = _row(tile[row + i, column : column + size], baseline, fill, blocks[k, i])
            counts[k] += count
            total += row_total
            square += row_square
    return total, square
