"""Contraction of two-time correlation tiles with the model's factors.

Above the diagonal every term of the model is a product A_r(i)·B_r(j), so all that a least-squares
fit needs of the data are the sums of e(i, j) against B along rows and against A along columns:
eight multiply-adds per pixel and no exp or cos. See `docs/speed.md`, "The factorisation".
"""

from __future__ import annotations

import numpy as np
from numba import njit

from hetdask_kernels._jit import JIT, PART, REORDER
from hetdask_kernels.factors import block_coupling


@njit(fastmath=REORDER, **PART)
def contract_strip(  # type: ignore[no-untyped-def]
    tile, top, edge, first, begin, width, baseline, left, row, right, column, term, stop, row_sums, column_sums
):
    """Contract eight rows of a block of a tile with their factors from `term` to `stop`, two at a time.

    Pixels are centred in registers: a copy of the strip in float64 would not leave room for the factors in the
    first-level cache. Row and column sums of four rows with two factors are taken in one go, which is as many sums as
    there are registers for. Whole arrays and offsets are passed, because a row of a contiguous array is contiguous and
    a slice of it is not known to be: only the former is vectorised.

    Parameters
    ----------
    tile : (…, …) float32 or float64
    top, edge : int
        First row and column of the block in the tile.
    first, begin, width : int
        First row of the strip in the block, and first column and number of columns that count.
    baseline : float
        Subtracted from every pixel, exactly, in float64.
    left, right : (4, L) float64
        Factors of all frames as rows and as columns.
    row, column : int
        First frame of the block's rows and columns.
    term, stop : int
        Even; reference and sample come before the cross term.
    row_sums : (4, rows) float64
    column_sums : (4, columns) float64
        Added to.
    """
    start = column + begin
    for half in range(first, first + 8, 4):
        i, k = top + half, edge + begin
        x0, x1, x2, x3 = tile[i, k:], tile[i + 1, k:], tile[i + 2, k:], tile[i + 3, k:]
        i = row + half
        for r in range(term, stop, 2):
            a0, a1, a2, a3 = left[r, i], left[r, i + 1], left[r, i + 2], left[r, i + 3]
            c0, c1, c2, c3 = left[r + 1, i], left[r + 1, i + 1], left[r + 1, i + 2], left[r + 1, i + 3]
            b, d = right[r, start : start + width], right[r + 1, start : start + width]
            out, next_out = column_sums[r, begin:], column_sums[r + 1, begin:]
            s0 = s1 = s2 = s3 = 0.0
            t0 = t1 = t2 = t3 = 0.0
            for j in range(width):
                e0, e1 = np.float64(x0[j]) - baseline, np.float64(x1[j]) - baseline
                e2, e3 = np.float64(x2[j]) - baseline, np.float64(x3[j]) - baseline
                out[j] += (e0 * a0 + e1 * a1) + (e2 * a2 + e3 * a3)
                next_out[j] += (e0 * c0 + e1 * c1) + (e2 * c2 + e3 * c3)
                s0 += e0 * b[j]
                s1 += e1 * b[j]
                s2 += e2 * b[j]
                s3 += e3 * b[j]
                t0 += e0 * d[j]
                t1 += e1 * d[j]
                t2 += e2 * d[j]
                t3 += e3 * d[j]
            row_sums[r, half] += s0
            row_sums[r, half + 1] += s1
            row_sums[r, half + 2] += s2
            row_sums[r, half + 3] += s3
            row_sums[r + 1, half] += t0
            row_sums[r + 1, half + 1] += t1
            row_sums[r + 1, half + 2] += t2
            row_sums[r + 1, half + 3] += t3


@njit(fastmath=REORDER, **PART)
def contract_rows(tile, top, edge, first, begin, width, baseline, right, column, row_sums):  # type: ignore[no-untyped-def]
    """The row sums of `contract_strip` alone, with all factors, in half the time."""
    start = column + begin
    b0, b1 = right[0, start : start + width], right[1, start : start + width]
    b2, b3 = right[2, start : start + width], right[3, start : start + width]
    for i in range(first, first + 8, 2):
        x, y = tile[top + i, edge + begin :], tile[top + i + 1, edge + begin :]
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


@njit(fastmath=REORDER, **PART)
def contract_corner(tile, top, edge, first, baseline, left, row, right, column, row_sums, column_sums):  # type: ignore[no-untyped-def]
    """Contract the pixels above the diagonal in the (8, 8) block at `first`; arguments as in `contract_strip`."""
    for i in range(first, first + 8):
        for j in range(i + 1, first + 8):
            e = np.float64(tile[top + i, edge + j]) - baseline
            for r in range(4):
                row_sums[r, i] += e * right[r, column + j]
                column_sums[r, j] += e * left[r, row + i]


@njit(fastmath=REORDER, **PART)
def contract_block(  # type: ignore[no-untyped-def]
    tile, top, edge, diagonal, baseline, left, row, right, column, row_sums, column_sums, both
):
    """Contract one block of a tile with the factors of its rows and columns.

    Parameters
    ----------
    tile : (…, …) float32 or float64
        Pixels that are no data equal `baseline`.
    top, edge : int
        First row and column of the block in it.
    diagonal : bool
        Only pixels above the diagonal of the block are used.
    baseline : float
        Subtracted from every pixel, exactly, in float64.
    left, right : (4, …) float64
        Factors A of the rows and B of the columns.
    row, column : int
        Where those of this block begin.
    row_sums, column_sums : (4, rows), (4, columns) float64
        Equal sides, multiples of 8. Overwritten: Σ_j e(i, j) B_r(j) and Σ_i e(i, j) A_r(i).
    both : bool
        Whether the column sums are wanted; they are not complete without.
    """
    row_sums[:] = 0.0
    column_sums[:] = 0.0
    size = row_sums.shape[1]
    for first in range(0, size, 8):
        begin = 0
        if diagonal:
            contract_corner(tile, top, edge, first, baseline, left, row, right, column, row_sums, column_sums)
            begin = first + 8
        width = size - begin
        if both:
            contract_strip(
                tile, top, edge, first, begin, width, baseline, left, row, right, column, 0, 4, row_sums, column_sums
            )
        else:
            contract_rows(tile, top, edge, first, begin, width, baseline, right, column, row_sums)


@njit(**PART)
def contract_steep_diagonal(tile, top, edge, size, baseline, amplitude, step, frame, row_sums, column_sums):  # type: ignore[no-untyped-def]
    """Contract a diagonal block over which the decays span more than a float64 can hold.

    The decays of each row follow from the frame-to-frame steps by multiplication, so no factor has to
    reach across the tile. Slower than `contract_block`; used where a component decays by more than e^-600 in a tile.

    Parameters
    ----------
    tile : (…, …) float32
    top, edge, size : int
        First row and column of the block in it, and its number of rows and columns.
    baseline : float
    amplitude : (L, 6) float64
        Amplitudes of the three terms at every frame come first.
    step : (L, 4) float64
        e^-Δ of reference and sample, real and imaginary part of the cross term, from the frame before.
    frame : int
        First frame of the tile.
    row_sums, column_sums : (4, L) float64
        Added to: Σ_j e w_r(j) E_r(i, j) and Σ_i e w_r(i) E_r(i, j), with nothing left to multiply.
    """
    for i in range(size):
        ref = sample = cosine = 1.0
        sine = 0.0
        m = frame + i
        for j in range(i + 1, size):
            n = frame + j
            ref *= step[n, 0]
            sample *= step[n, 1]
            cosine, sine = cosine * step[n, 2] - sine * step[n, 3], cosine * step[n, 3] + sine * step[n, 2]
            if ref < 1e-280 and sample < 1e-280:
                break
            e = np.float64(tile[top + i, edge + j]) - baseline
            row_sums[0, m] += e * amplitude[n, 0] * ref
            row_sums[1, m] += e * amplitude[n, 1] * sample
            row_sums[2, m] += e * amplitude[n, 2] * cosine
            row_sums[3, m] += e * amplitude[n, 2] * sine
            column_sums[0, n] += e * amplitude[m, 0] * ref
            column_sums[1, n] += e * amplitude[m, 1] * sample
            column_sums[2, n] += e * amplitude[m, 2] * cosine
            column_sums[3, n] += e * amplitude[m, 2] * sine


@njit(**PART)
def spread(decay, coupling, begin, end):  # type: ignore[no-untyped-def]
    """Write the coupling between two blocks to some columns of `coupling` (4, ...)."""
    for i in range(begin, end):
        coupling[0, i], coupling[1, i], coupling[2, i], coupling[3, i] = decay


@njit(fastmath=REORDER, **PART)
def accumulate(raw, begin, coupling, total, first):  # type: ignore[no-untyped-def]
    """Add raw sums (4, ...) from `begin` on, multiplied by `coupling` (4, n), to total (4, ...) from `first` on.

    One row after the other: with more of them the compiler would not check that they do not overlap.
    """
    n = coupling.shape[1]
    for r in range(2):
        x, c, out = raw[r, begin : begin + n], coupling[r], total[r, first : first + n]
        for i in range(n):
            out[i] += c[i] * x[i]
    re, im, x, y = coupling[2], coupling[3], raw[2, begin : begin + n], raw[3, begin : begin + n]
    out = total[2, first : first + n]
    for i in range(n):
        out[i] += re[i] * x[i] - im[i] * y[i]
    out = total[3, first : first + n]
    for i in range(n):
        out[i] += re[i] * y[i] + im[i] * x[i]


PIXELS, COMPRESSED, FIRST_ROW, STEEP = 0, 1, 2, 3
"""How a tile is contracted: by pixels, as polynomials of rows and columns, of columns only, by recurrence."""


@njit(**PART)
def path_of(row, column, smooth, gentle, steep):  # type: ignore[no-untyped-def]
    """How a block is contracted; see `contract_blocks` for the arguments."""
    if smooth[column]:
        if row == column:
            if gentle[row]:
                return COMPRESSED
        elif smooth[row]:
            return COMPRESSED
        elif row == 0:
            return FIRST_ROW
    return STEEP if row == column and steep[row] else PIXELS


@njit(**JIT)
def contract_blocks(  # type: ignore[no-untyped-def]
    tiles, places, blocks, size, baseline, both, left, right, smooth, gentle, steep, exponent, phase, rows, columns
):
    """Contract the blocks of one angle that have to be taken pixel by pixel, and add up their row and column sums.

    Parameters
    ----------
    tiles : (t, side, side) float32
        Pixels that are no data equal `baseline`.
    places : (n, 3) int64
        Tile, first row and first column of each block.
    blocks : (n, 2) int64
        Row and column of each block in the map, on or above the diagonal.
    size : int
        Frames in a block.
    baseline : float
        Centring value, exactly a float32.
    both : bool
        Whether the column sums are wanted, as for derivatives; without them it takes half the time.
    left, right : (4, n_blocks·size) float64
        Factors of all frames relative to the last (left) and first (right) frame of their block: reference, sample,
        real and imaginary part of the cross term.
    smooth, gentle, steep : (n_blocks,) bool
        Blocks left to `contract_panels`, those of them for which it serves on the diagonal too, and blocks left to
        `contract_steep_blocks` there.
    exponent, phase : (2, n_blocks·size), (n_blocks·size,) float64
        As from `frame_steps`.
    rows, columns : (4, n_blocks·size) float64
        Added to; still to be multiplied by the decay between each frame and the edge of its block.
    """
    row_sums, column_sums, coupling = np.empty((4, size)), np.empty((4, size)), np.empty((4, size))
    for k in range(places.shape[0]):
        row, column = blocks[k, 0], blocks[k, 1]
        if path_of(row, column, smooth, gentle, steep) == PIXELS:
            spread(block_coupling(row, column, size, exponent, phase), coupling, 0, size)
            i, j = row * size, column * size
            tile, top, edge = tiles[places[k, 0]], places[k, 1], places[k, 2]
            contract_block(tile, top, edge, row == column, baseline, left, i, right, j, row_sums, column_sums, both)
            accumulate(row_sums, 0, coupling, rows, i)
            accumulate(column_sums, 0, coupling, columns, j)


@njit(**JIT)
def contract_steep_blocks(  # type: ignore[no-untyped-def]
    tiles, places, blocks, size, baseline, smooth, gentle, steep, amplitude, step, rows, columns
):
    """Contract the blocks that `contract_blocks` leaves out; the sums (4, L) need no further decay."""
    for k in range(places.shape[0]):
        row, column = blocks[k, 0], blocks[k, 1]
        if path_of(row, column, smooth, gentle, steep) == STEEP:
            tile, top, edge = tiles[places[k, 0]], places[k, 1], places[k, 2]
            contract_steep_diagonal(tile, top, edge, size, baseline, amplitude, step, row * size, rows, columns)


@njit(fastmath=REORDER, **PART)
def _product(rows, to_last, amplitude):  # type: ignore[no-untyped-def]
    total = 0.0
    for j in range(amplitude.shape[0]):
        cross = rows[2, j] * to_last[2, j] - rows[3, j] * to_last[3, j]
        total += amplitude[j, 0] * rows[0, j] * to_last[0, j] + amplitude[j, 1] * rows[1, j] * to_last[1, j]
        total += amplitude[j, 2] * cross
    return total


@njit(fastmath=REORDER, **PART)
def _products(rows, columns, to_last, from_first, amplitude, gain, out):  # type: ignore[no-untyped-def]
    for j in range(amplitude.shape[0]):
        r1, r2 = rows[0, j] * to_last[0, j], rows[1, j] * to_last[1, j]
        rc = rows[2, j] * to_last[2, j] - rows[3, j] * to_last[3, j]
        rs = rows[2, j] * to_last[3, j] + rows[3, j] * to_last[2, j]
        c1, c2 = columns[0, j] * from_first[0, j], columns[1, j] * from_first[1, j]
        cc = columns[2, j] * from_first[2, j] - columns[3, j] * from_first[3, j]
        cs = columns[2, j] * from_first[3, j] + columns[3, j] * from_first[2, j]
        w1, w2, w3 = amplitude[j, 0], amplitude[j, 1], amplitude[j, 2]
        h1, h2, h3 = amplitude[j, 3], amplitude[j, 4], amplitude[j, 5]
        out[0] += w1 * r1 + w2 * r2 + w3 * rc
        cross = 0.5 * w3 * (rc - cc)
        reference, sample, flow = w1 * (r1 - c1) + cross, w2 * (r2 - c2) + cross, w3 * (rs - cs)
        composition = h1 * (r1 + c1) + h2 * (r2 + c2) + h3 * (rc + cc)
        row = gain[j]
        for k in range(1, 5):
            out[k] += row[k - 1] * reference
            out[4 + k] += row[3 + k] * sample
            out[8 + k] += row[7 + k] * flow
            out[12 + k] += row[11 + k] * composition


@njit(**JIT)
def data_product(rows, to_last, amplitude, which, out):  # type: ignore[no-untyped-def]
    """Add Σ e·g from the row sums to the first column of `out`; arguments as in `data_products`."""
    for m in which:
        out[m, 0] += _product(rows[m], to_last[m], amplitude)


@njit(**JIT)
def data_products(rows, columns, to_last, from_first, amplitude, gain, which, out):  # type: ignore[no-untyped-def]
    """Add the sums of e·g and of e·D in each lane, still to be multiplied by its scale, to `out`.

    Parameters
    ----------
    rows, columns : (M, 4, L) float64
        Sums with the later frame for each earlier one and the other way round.
    to_last, from_first : (M, 4, L) float64
        Decays by which they have to be multiplied.
    amplitude : (L, 6) float64
    gain : (L, LANES) float64
        As in `separable.model_grams`.
    which : (n,) int64
        The angles.
    out : (M, LANES + 1) float64
    """
    for m in which:
        _products(rows[m], columns[m], to_last[m], from_first[m], amplitude, gain, out[m])
