"""Contraction of two-time correlation tiles with the model's factors.

Above the diagonal every term of the model is a product A_r(i)·B_r(j), so all that a least-squares
fit needs of the data are the sums of e(i, j) against B along rows and against A along columns:
eight multiply-adds per pixel and no exp or cos. See `docs/model.md`, "The factorisation".
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hetdask_kernels._jit import JIT, REORDER


@njit(fastmath=REORDER, **JIT)
def contract_strip(tile, first, begin, baseline, left, row, right, column, row_sums, column_sums, both):  # type: ignore[no-untyped-def]
    """Contract eight rows of a tile with their factors.

    Pixels are centred in registers: a copy of the strip in float64 would not leave room for the factors in the
    first-level cache. Whole arrays and offsets are passed, because a row of a contiguous array is contiguous and a
    slice of it is not known to be: only the former is vectorised.

    Parameters
    ----------
    tile : (size, size) float32
    first, begin : int
        First row of the strip, and first column that counts.
    baseline : float
        Subtracted from every pixel, exactly, in float64.
    left, right : (4, L) float64
        Factors of all frames as rows and as columns.
    row, column : int
        First frame of the tile's rows and columns.
    row_sums, column_sums : (4, size) float64
        Added to.
    both : bool
        Without it, only the row sums, in half the time.
    """
    size = tile.shape[1]
    width = size - begin
    for half in range(first, first + 8 if both else first, 4):
        x0, x1, x2, x3 = tile[half, begin:], tile[half + 1, begin:], tile[half + 2, begin:], tile[half + 3, begin:]
        i = row + half
        for r in range(0, 4, 2):
            a0, a1, a2, a3 = left[r, i], left[r, i + 1], left[r, i + 2], left[r, i + 3]
            c0, c1, c2, c3 = left[r + 1, i], left[r + 1, i + 1], left[r + 1, i + 2], left[r + 1, i + 3]
            out, next_out = column_sums[r, begin:], column_sums[r + 1, begin:]
            for j in range(width):
                e0, e1 = np.float64(x0[j]) - baseline, np.float64(x1[j]) - baseline
                e2, e3 = np.float64(x2[j]) - baseline, np.float64(x3[j]) - baseline
                out[j] += (e0 * a0 + e1 * a1) + (e2 * a2 + e3 * a3)
                next_out[j] += (e0 * c0 + e1 * c1) + (e2 * c2 + e3 * c3)
    b0 = right[0, column + begin : column + size]
    b1 = right[1, column + begin : column + size]
    b2 = right[2, column + begin : column + size]
    b3 = right[3, column + begin : column + size]
    for i in range(first, first + 8, 2):
        x, y = tile[i, begin:], tile[i + 1, begin:]
        s0 = s1 = s2 = s3 = 0.0
        t0 = t1 = t2 = t3 = 0.0
        for j in range(width):
            e, f = np.float64(x[j]) - baseline, np.float64(y[j]) - baseline
            s0 += e * b0[j]
            s1 += e * b1[j]
            s2 += e * b2[j]
            s3 += e * b3[j]
            t0 += f * b0[j]
            t1 += f * b1[j]
            t2 += f * b2[j]
            t3 += f * b3[j]
        row_sums[0, i] += s0
        row_sums[1, i] += s1
        row_sums[2, i] += s2
        row_sums[3, i] += s3
        row_sums[0, i + 1] += t0
        row_sums[1, i + 1] += t1
        row_sums[2, i + 1] += t2
        row_sums[3, i + 1] += t3


@njit(fastmath=REORDER, **JIT)
def contract_corner(tile, first, baseline, left, row, right, column, row_sums, column_sums):  # type: ignore[no-untyped-def]
    """Contract the pixels above the diagonal in the (8, 8) block at `first`; arguments as in `contract_strip`."""
    for i in range(first, first + 8):
        for j in range(i + 1, first + 8):
            e = np.float64(tile[i, j]) - baseline
            for r in range(4):
                row_sums[r, i] += e * right[r, column + j]
                column_sums[r, j] += e * left[r, row + i]


@njit(fastmath=REORDER, **JIT)
def contract_tile(tile, diagonal, baseline, left, row, right, column, row_sums, column_sums, both):  # type: ignore[no-untyped-def]
    """Contract one tile with the factors of its rows and columns.

    Parameters
    ----------
    tile : (size, size) float32
        Two-time correlation; `size` is a multiple of 8. Pixels that are no data equal `baseline`.
    diagonal : bool
        The tile lies on the diagonal: only pixels above it are used.
    baseline : float
        Subtracted from every pixel, exactly, in float64.
    left, right : (4, L) float64
        Factors A of the frames as rows and B as columns; 0 beyond the last frame.
    row, column : int
        First frame of the tile's rows and columns.
    row_sums, column_sums : (4, size) float64
        Overwritten: Σ_j e(i, j) B_r(j) and Σ_i e(i, j) A_r(i).
    both : bool
        Whether the column sums are wanted; they are not complete without.
    """
    row_sums[:] = 0.0
    column_sums[:] = 0.0
    for first in range(0, tile.shape[0], 8):
        begin = 0
        if diagonal:
            contract_corner(tile, first, baseline, left, row, right, column, row_sums, column_sums)
            begin = first + 8
        contract_strip(tile, first, begin, baseline, left, row, right, column, row_sums, column_sums, both)


@njit(**JIT)
def contract_steep_diagonal(tile, baseline, weight, step, frame, row_sums, column_sums):  # type: ignore[no-untyped-def]
    """Contract a diagonal tile over which the decays span more than a float64 can hold.

    The decays of each row follow from the frame-to-frame steps by multiplication, so no factor has to
    reach across the tile. Slower than `contract_tile`; used where a component decays by more than e^-600 in a tile.

    Parameters
    ----------
    tile : (size, size) float32
    baseline : float
    weight : (3, L) float64
        Amplitudes of the three terms at every frame.
    step : (4, L) float64
        e^-Δ of reference and sample, real and imaginary part of the cross term, from the frame before.
    frame : int
        First frame of the tile.
    row_sums, column_sums : (4, size) float64
        Overwritten: Σ_j e w_r(j) E_r(i, j) and Σ_i e w_r(i) E_r(i, j), with nothing left to multiply.
    """
    size = tile.shape[0]
    row_sums[:] = 0.0
    column_sums[:] = 0.0
    for i in range(size):
        ref = sample = cosine = 1.0
        sine = 0.0
        m = frame + i
        for j in range(i + 1, size):
            n = frame + j
            ref *= step[0, n]
            sample *= step[1, n]
            cosine, sine = cosine * step[2, n] - sine * step[3, n], cosine * step[3, n] + sine * step[2, n]
            if ref < 1e-280 and sample < 1e-280:
                break
            e = np.float64(tile[i, j]) - baseline
            row_sums[0, i] += e * weight[0, n] * ref
            row_sums[1, i] += e * weight[1, n] * sample
            row_sums[2, i] += e * weight[2, n] * cosine
            row_sums[3, i] += e * weight[2, n] * sine
            column_sums[0, j] += e * weight[0, m] * ref
            column_sums[1, j] += e * weight[1, m] * sample
            column_sums[2, j] += e * weight[2, m] * cosine
            column_sums[3, j] += e * weight[2, m] * sine


@njit(**JIT)
def accumulate(raw, coupling, total, first):  # type: ignore[no-untyped-def]
    """Add raw sums (4, size), multiplied by the coupling (4,) between two blocks, to total (4, L) from `first` on."""
    for i in range(raw.shape[1]):
        n = first + i
        total[0, n] += coupling[0] * raw[0, i]
        total[1, n] += coupling[1] * raw[1, i]
        total[2, n] += coupling[2] * raw[2, i] - coupling[3] * raw[3, i]
        total[3, n] += coupling[2] * raw[3, i] + coupling[3] * raw[2, i]


@njit(**JIT)
def _contract_tiles(tiles, blocks, baseline, left, right, coupling, steep, weight, step, both, rows, columns, extra):  # type: ignore[no-untyped-def]
    size = tiles.shape[1]
    row_sums, column_sums = np.empty((4, size)), np.empty((4, size))
    for t in range(tiles.shape[0]):
        row, column = blocks[t, 0] * size, blocks[t, 1] * size
        if row == column and steep[blocks[t, 0]]:
            contract_steep_diagonal(tiles[t], baseline, weight, step, row, row_sums, column_sums)
            extra[0, :, row : row + size] += row_sums
            extra[1, :, column : column + size] += column_sums
        else:
            contract_tile(tiles[t], row == column, baseline, left, row, right, column, row_sums, column_sums, both)
            accumulate(row_sums, coupling[t], rows, row)
            accumulate(column_sums, coupling[t], columns, column)


def contract_tiles(
    tiles: NDArray[np.float32],
    blocks: NDArray[np.int64],
    baseline: float,
    left: NDArray[np.float64],
    right: NDArray[np.float64],
    coupling: NDArray[np.float64],
    steep: NDArray[np.bool_],
    weight: NDArray[np.float64],
    step: NDArray[np.float64],
    both: bool,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Contract tiles of one angle and add up their row and column sums.

    Parameters
    ----------
    tiles : (n, size, size) float32
        Tiles on or above the diagonal; pixels that are no data equal `baseline`.
    blocks : (n, 2) int64
        Row and column block of each tile.
    baseline : float
        Centring value, exactly a float32.
    left, right : (4, n_blocks·size) float64
        Factors of all frames relative to the last (left) and first (right) frame of their block:
        reference, sample, real and imaginary part of the cross term. 0 beyond the last frame.
    coupling : (n, 4) float64
        Decay from the last frame of the row block to the first frame of the column block.
    steep : (n_blocks,) bool
        Blocks whose diagonal tile goes to `contract_steep_diagonal`.
    weight : (3, n_blocks·size) float64
    step : (4, n_blocks·size) float64
    both : bool
        Whether the column sums are wanted, as for derivatives; without them it takes half the time.

    Returns
    -------
    rows, columns : (4, n_blocks·size) float64
        Sums to be multiplied by the decay between each frame and the edge of its block.
    extra : (2, 4, n_blocks·size) float64
        Row and column sums of steep diagonal tiles, complete as they are.
    """
    rows, columns = np.zeros_like(left), np.zeros_like(right)
    extra = np.zeros((2, *left.shape))
    _contract_tiles(tiles, blocks, baseline, left, right, coupling, steep, weight, step, both, rows, columns, extra)
    return rows, columns, extra


@njit(fastmath=REORDER, **JIT)
def _slope_products(rows, columns, slope, sign, out):  # type: ignore[no-untyped-def]
    for j in range(slope.shape[0]):
        here = slope[j]
        for c in range(4):
            # Re[l U] = Re l Re U - Im l Im U, and the fourth row holds -Im l.
            early, late = rows[c, j], columns[c, j]
            for k in range(out.shape[0]):
                out[k] += here[c, k] * (early + sign[k] * late)


def slope_products(
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
    slope: NDArray[np.float64],
    sign: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Sums of e·D_k from complete row and column sums.

    Parameters
    ----------
    rows, columns : (4, L) float64
        Σ_j e w_c(j) E_c(i, j) for each earlier frame, Σ_i e w_c(i) E_c(i, j) for each later one.
    slope : (L, 4, LANES) float64
    sign : (LANES,) float64
        As in `separable.model_gram`.

    Returns
    -------
    (LANES,) float64
    """
    out = np.zeros(slope.shape[2])
    _slope_products(rows, columns, slope, sign, out)
    return out
