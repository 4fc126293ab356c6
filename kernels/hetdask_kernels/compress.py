"""Tiles in a basis of polynomials.

Where the model's factors vary slowly over a block of frames they lie in the span of few polynomials of the frame
number, to rounding. The sums of a pass then need nothing of a tile but its products with those: a tile of 128 × 128
pixels becomes 48 × 48 numbers, computed once. See
`docs/speed.md`, "Compressed tiles".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hetdask_kernels._jit import JIT, PART, REORDER
from hetdask_kernels.contract import COMPRESSED, accumulate, contract_rows, contract_strip, path_of, spread
from hetdask_kernels.factors import block_coupling
from hetdask_kernels.projection import TOGETHER, by_degree

Array = NDArray[np.float64]


def panel(tiles: Sequence[Array]) -> Array:
    """Columns of neighbouring tiles (n, d) as a matrix (n, count·d), by degree."""
    return by_degree(np.concatenate(tiles, axis=1), tiles[0].shape[1])


@njit(fastmath=REORDER, **PART)
def _contract_panel(matrix, kept, width, left, row, right, both, row_sums, column_sums):  # type: ignore[no-untyped-def]
    """Contract the first rows and columns of a panel: `kept` and `width` (2,) for the decays and the cross term."""
    if both:
        for k in range(2):
            for i in range(0, kept[k], 8):
                contract_strip(
                    matrix, 0, 0, i, 0, width[k], 0.0, left, row, right, 0, 2 * k, 2 * k + 2, row_sums, column_sums
                )
    else:
        for i in range(0, kept.max(), 8):
            contract_rows(matrix, 0, 0, i, 0, width.max(), 0.0, right, 0, row_sums)


@njit(**JIT)
def contract_panels(  # type: ignore[no-untyped-def]
    values, panels, height, degrees, used, path, both, left, right,
    smooth, gentle, steep, size, exponent, phase, rows, columns,
):  # fmt: skip
    """Contract compressed tiles of one angle, whole rows of blocks at a time, and add up their row and column sums.

    Parameters
    ----------
    values : (n,) float64
        Panels (height, count·degrees) one after the other, see `panel`.
    panels : (p, 3) int64
        Row, first column and number of blocks of each.
    height : int
        Coefficients of the rows: `degrees`, or `size` if only the columns were compressed.
    degrees : int
        Polynomials per block.
    used : (2,) int64
        How many of them hold the factors that only decay and those of the cross term, in multiples of `TOGETHER`: the
        others are left out.
    path : int
        `COMPRESSED` or `FIRST_ROW`: other tiles are left out.
    both : bool
        Whether the column sums are wanted.
    left : (4, n_blocks·height) float64
    right : (4, n_blocks·degrees) float64
        Factors, or their coefficients in the polynomials: those of the columns by degree.
    smooth, gentle, steep, exponent, phase
        As in `contract_blocks`.
    size : int
        Frames in a block.
    rows, columns : (4, n_blocks·height), (4, n_blocks·degrees) float64
        Added to; columns by degree.
    """
    start, n_blocks = 0, smooth.size
    kept = used if path == COMPRESSED else np.full(2, height)
    for p in range(panels.shape[0]):
        row, first, count = panels[p, 0], panels[p, 1], panels[p, 2]
        matrix = values[start : start + height * count * degrees].reshape((height, count * degrees))
        start += height * count * degrees
        coupling, wanted = np.zeros((4, count * TOGETHER)), False
        for k in range(count):
            if path_of(row, first + k, smooth, gentle, steep) == path:
                wanted = True
                decay = block_coupling(row, first + k, size, exponent, phase)
                spread(decay, coupling, k * TOGETHER, (k + 1) * TOGETHER)
        if not wanted:
            continue
        along, later, sums = np.zeros((4, height)), np.zeros((4, count * degrees)), np.zeros((4, count * degrees))
        for c in range(0, used.max(), TOGETHER):
            accumulate(right, c * n_blocks + first * TOGETHER, coupling, later, c * count)
        _contract_panel(matrix, kept, used * count, left, row * height, later, both, along, sums)
        for r in range(4):
            for i in range(height):
                rows[r, row * height + i] += along[r, i]
        if both:
            for c in range(0, used.max(), TOGETHER):
                accumulate(sums, c * count, coupling, columns, c * n_blocks + first * TOGETHER)
