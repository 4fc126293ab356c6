"""Sums over blocks of pixels, and products of block means."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hetdask_kernels._jit import JIT, REORDER
from hetdask_kernels.prepare import sum_row

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


@njit(fastmath=REORDER, **JIT)
def _block_sums(tile, row, column, baseline, first_row, first_column, size, sums):  # type: ignore[no-untyped-def]
    for b in range(size.shape[0]):
        top, left = max(first_row[b] - row, 0), max(first_column[b] - column, 0)
        bottom = min(first_row[b] + size[b] - row, tile.shape[0])
        right = min(first_column[b] + size[b] - column, tile.shape[1])
        if left >= right:
            continue
        for i in range(top, bottom):
            count, total, square = sum_row(tile[i, max(left, i + row + 1 - column) : right], baseline)
            sums[0, b] += count
            sums[1, b] += total
            sums[2, b] += square


def block_sums(
    tile: NDArray[np.floating],
    row: int,
    column: int,
    baseline: float,
    first_row: Indices,
    first_column: Indices,
    size: Indices,
    sums: Array,
) -> None:
    """Add the pixels i < j of a tile to the blocks in which they lie.

    Parameters
    ----------
    tile : (h, w) float
        Pixels; not finite where a pixel is no data.
    row, column : int
        Frames of its first pixel.
    baseline : float
        Subtracted from each pixel.
    first_row, first_column, size : (n,) int64
        Blocks.
    sums : (3, n) float64
        Count, Σe and Σe² of each block; added to.
    """
    _block_sums(tile, row, column, baseline, first_row, first_column, size, sums)


@njit(fastmath=REORDER, **JIT)
def _weighted_products(rows, weight, gram):  # type: ignore[no-untyped-def]
    for k in range(rows.shape[0]):
        scaled = weight * rows[k]
        for m in range(k + 1):
            total = 0.0
            for b in range(scaled.shape[0]):
                total += scaled[b] * rows[m, b]
            gram[k, m] = gram[m, k] = total


def weighted_products(rows: Array, weight: Array) -> Array:
    """Products of all pairs of rows, Σ_b weight(b) rows(k, b) rows(m, b), (K, K), in the caller's thread.

    Parameters
    ----------
    rows : (K, n) float64
    weight : (n,) float64
    """
    gram = np.empty((rows.shape[0], rows.shape[0]))
    _weighted_products(rows, weight, gram)
    return gram
