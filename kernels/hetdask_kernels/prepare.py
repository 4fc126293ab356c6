"""Make a tile ready for contraction: fill what is no data, and sum what is."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hetdask_kernels._jit import JIT


@njit(**JIT)
def _prepare(tile, baseline):  # type: ignore[no-untyped-def]
    fill = np.float32(baseline)
    count = 0
    total = square = 0.0
    for i in range(tile.shape[0]):
        row = tile[i]
        row_total = row_square = 0.0
        for j in range(row.shape[0]):
            value = row[j]
            finite = np.isfinite(value)
            row[j] = value if finite else fill
            e = np.float64(row[j]) - baseline
            count += finite
            row_total += e
            row_square += e * e
        total += row_total
        square += row_square
    return count, total, square


def prepare_tile(tile: NDArray[np.float32], baseline: float) -> tuple[int, float, float]:
    """Fill pixels that are no data with the baseline, in place, and sum the others.

    Parameters
    ----------
    tile : (size, size) float32
        NaN or infinite where a pixel is no data.
    baseline : float
        Exactly a float32.

    Returns
    -------
    count : int
        Pixels that are data.
    total, square : float
        Σe and Σe² of the centred pixels e = c2 - baseline.
    """
    count, total, square = _prepare(tile, baseline)
    return int(count), float(total), float(square)
