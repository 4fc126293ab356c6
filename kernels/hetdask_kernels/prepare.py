"""Make tiles ready for contraction: sum and count what is data, fill what is not."""

from __future__ import annotations

import numpy as np
from numba import njit

from hetdask_kernels._jit import JIT, PART, REORDER


@njit(fastmath=REORDER, **PART)
def sum_row(values, baseline):  # type: ignore[no-untyped-def]
    """Count of the finite values, and the sums of their distances from the baseline and of the squares of these."""
    count = 0
    total = square = 0.0
    for j in range(values.shape[0]):
        finite = np.isfinite(values[j])
        e = np.float64(values[j]) - baseline if finite else 0.0
        count += finite
        total += e
        square += e * e
    return count, total, square


@njit(**JIT)
def sum_blocks(tile, places, size, baseline, counts):  # type: ignore[no-untyped-def]
    """Count and sum the pixels of some blocks of a tile that are data.

    Parameters
    ----------
    tile : (side, side) float32
        NaN or infinite where a pixel is no data.
    places : (n, 2) int64
        First row and column of each block.
    size : int
        Rows and columns of a block.
    baseline : float
        Exactly a float32.
    counts : (n,) int64
        Overwritten: pixels of each block that are data.

    Returns
    -------
    total, square : float
        Σe and Σe² of the centred pixels e = c2 - baseline.
    """
    total = square = 0.0
    for k in range(places.shape[0]):
        row, column = places[k, 0], places[k, 1]
        counts[k] = 0
        for i in range(row, row + size):
            count, row_total, row_square = sum_row(tile[i, column : column + size], baseline)
            counts[k] += count
            total += row_total
            square += row_square
    return total, square


@njit(**JIT)
def fill_blocks(tile, places, size, baseline):  # type: ignore[no-untyped-def]
    """Replace pixels that are no data by the baseline, in some blocks of a tile; arguments as in `sum_blocks`."""
    fill = np.float32(baseline)
    for k in range(places.shape[0]):
        row, column = places[k, 0], places[k, 1]
        for i in range(row, row + size):
            for j in range(column, column + size):
                if not np.isfinite(tile[i, j]):
                    tile[i, j] = fill
