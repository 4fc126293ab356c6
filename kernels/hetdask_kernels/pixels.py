"""Sums over single pixels with weights: the path for what does not separate.

Where pixels are missing inside a tile, or carry weights of their own, the model is built pixel by
pixel from its factors (a few multiplications, no exp) and its products are accumulated directly.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from hetdask_kernels._jit import JIT, REORDER
from hetdask_kernels.factors import block_coupling


@njit(**JIT)
def weighted_gram(  # type: ignore[no-untyped-def]
    tile, pixel_weight, diagonal, steep, baseline, exponent, phase, row, column, to_last, from_first,
    step, amplitude_row, amplitude_column, gain_row, gain_column, gram,
):  # fmt: skip
    """Add the weighted Gram matrix of (1, g, D, e) over the pixels of one tile.

    Parameters
    ----------
    tile : (size, size) float32
        Two-time correlation.
    pixel_weight : (size, size) float64 or bool
        Weight of each pixel; pixels of weight 0 cost next to nothing.
    diagonal : bool
        The tile lies on the diagonal: only pixels above it count.
    steep : bool
        The decays of this diagonal tile follow from `step` alone, see `contract_steep_diagonal`.
    baseline : float
        Subtracted from the data.
    exponent, phase : (2, L), (L,) float64
        As from `frame_steps`.
    row, column : int
        Block of the rows and of the columns.
    to_last, from_first : (4, size) float64
        Decay between each row and the last frame of its block, and between the first frame of its and each column.
    step : (size, 4) float64
        Decay from the frame before each column; used where `steep`.
    amplitude_row, amplitude_column : (size, 6) float64
    gain_row, gain_column : (size, LANES) float64
        As in `separable.model_grams`.
    gram : (LANES + 3, LANES + 3) float64
        Symmetric; added to. The derivatives are still to be multiplied by the scale of their lane.
    """
    last = gram.shape[0] - 1
    rows, weighted = np.empty((tile.shape[0], last + 1)), np.empty((tile.shape[0], last + 1))
    early, late = np.empty(4), np.empty(4)
    size = tile.shape[0]
    coupling = np.ones(4)
    if not steep:
        coupling[0], coupling[1], coupling[2], coupling[3] = block_coupling(row, column, size, exponent, phase)
    for i in range(size):
        a = coupling[0] * to_last[0, i]
        b = coupling[1] * to_last[1, i]
        c = (coupling[2] + 1j * coupling[3]) * (to_last[2, i] + 1j * to_last[3, i])
        if steep:
            a, b, c = 1.0, 1.0, 1.0 + 0.0j
        ref, sample, cross = a, b, c
        u1, u2, u3 = amplitude_row[i, 0], amplitude_row[i, 1], amplitude_row[i, 2]
        g1, g2, g3 = amplitude_row[i, 3], amplitude_row[i, 4], amplitude_row[i, 5]
        count = 0
        for j in range(i + 1 if diagonal else 0, size):
            if steep:
                a, b, c = a * step[j, 0], b * step[j, 1], c * (step[j, 2] + 1j * step[j, 3])
                ref, sample, cross = a, b, c
            w = np.float64(pixel_weight[i, j])
            if w == 0.0:
                continue
            if not steep:
                ref = a * from_first[0, j]
                sample = b * from_first[1, j]
                cross = c * (from_first[2, j] + 1j * from_first[3, j])
            v1, v2, v3 = amplitude_column[j, 0], amplitude_column[j, 1], amplitude_column[j, 2]
            h1, h2, h3 = amplitude_column[j, 3], amplitude_column[j, 4], amplitude_column[j, 5]
            t1, t2, tc, ts = u1 * v1 * ref, u2 * v2 * sample, u3 * v3 * cross.real, u3 * v3 * cross.imag
            early[0], early[1], early[2] = t1 + 0.5 * tc, t2 + 0.5 * tc, ts
            late[0], late[1], late[2] = -early[0], -early[1], -ts
            early[3] = g1 * v1 * ref + g2 * v2 * sample + g3 * v3 * cross.real
            late[3] = u1 * h1 * ref + u2 * h2 * sample + u3 * h3 * cross.real
            x = rows[count]
            x[0], x[1], x[last] = 1.0, t1 + t2 + tc, np.float64(tile[i, j]) - baseline
            for k in range(last - 2):
                x[2 + k] = early[k // 4] * gain_row[i, k] + late[k // 4] * gain_column[j, k]
            for k in range(last + 1):
                weighted[count, k] = w * x[k]
            count += 1
        if count > 0:
            gram += np.dot(weighted[:count].T, rows[:count])


@njit(fastmath=REORDER, **JIT)
def tile_residuals(  # type: ignore[no-untyped-def]
    tile, contrast, offset, keep_row, keep_column, missing, diagonal, steep, exponent, phase, row, column,
    to_last, from_first, step, amplitude_row, amplitude_column, out, valid,
):  # fmt: skip
    """Residuals x - offset - contrast·g at the pixels of one tile.

    Parameters
    ----------
    tile : (size, size) float32
        Two-time correlation; any finite value where a pixel is no data.
    contrast, offset : float
        In units of c2.
    keep_row, keep_column : (size,) bool
        Frames that are data.
    missing : (size, size) or (0, 0) bool
        Single pixels that are no data.
    diagonal, steep, exponent, phase, row, column, to_last, from_first, step, amplitude_row, amplitude_column
        As in `weighted_gram`.
    out : (size, size) float64
        Overwritten; 0 where a pixel is no data.
    valid : (size, size) bool
        Overwritten: which pixels are data; those above the diagonal only where `diagonal`.
    """
    size = out.shape[0]
    coupling = np.ones(4)
    if not steep:
        coupling[0], coupling[1], coupling[2], coupling[3] = block_coupling(row, column, size, exponent, phase)
    late = np.empty((4, size))
    for j in range(size):
        late[0, j], late[1, j] = amplitude_column[j, 0] * from_first[0, j], amplitude_column[j, 1] * from_first[1, j]
        late[2, j], late[3, j] = amplitude_column[j, 2] * from_first[2, j], amplitude_column[j, 2] * from_first[3, j]
    v0, v1, v2, v3 = late[0], late[1], late[2], late[3]
    for i in range(size):
        a = coupling[0] * to_last[0, i]
        b = coupling[1] * to_last[1, i]
        c = (coupling[2] + 1j * coupling[3]) * (to_last[2, i] + 1j * to_last[3, i])
        u0, u1, u2 = contrast * amplitude_row[i, 0], contrast * amplitude_row[i, 1], contrast * amplitude_row[i, 2]
        begin = i + 1 if diagonal else 0
        for j in range(begin):
            out[i, j] = 0.0
            valid[i, j] = False
        if steep:
            a, b, c = 1.0, 1.0, 1.0 + 0.0j
            for j in range(begin, size):
                a, b, c = a * step[j, 0], b * step[j, 1], c * (step[j, 2] + 1j * step[j, 3])
                model = u0 * amplitude_column[j, 0] * a + u1 * amplitude_column[j, 1] * b
                model += u2 * amplitude_column[j, 2] * c.real
                out[i, j] = np.float64(tile[i, j]) - offset - model
        else:
            a, b, real, imag = u0 * a, u1 * b, u2 * c.real, u2 * c.imag
            for j in range(begin, size):
                model = (a * v0[j] + b * v1[j]) + (real * v2[j] - imag * v3[j])
                out[i, j] = np.float64(tile[i, j]) - offset - model
        for j in range(begin, size):
            valid[i, j] = keep_row[i] and keep_column[j]
        if missing.shape[0] > 0:
            for j in range(begin, size):
                valid[i, j] = valid[i, j] and not missing[i, j]
        for j in range(begin, size):
            out[i, j] = out[i, j] if valid[i, j] else 0.0


@njit(fastmath=REORDER, **JIT)
def residual_sums(residual, valid, limit, row, column, cell, frames, cells):  # type: ignore[no-untyped-def]
    """Add number, sum, sum of squares and number of far ones of the residuals of one tile, by frame and by cell.

    Parameters
    ----------
    residual : (size, size) float64
        0 where a pixel is no data.
    valid : (size, size) bool
    limit : float
        Residuals of a larger size are far.
    row, column : int
        Block of the rows and of the columns.
    cell : int
        Frames along a cell, a part of `size`.
    frames : (4, N) float64
        By frame, whether row or column; added to. Frames beyond N are no data.
    cells : (4, C, C) float64
        By cell of the map; added to.
    """
    size, n_frames = residual.shape[0], frames.shape[1]
    columns = np.zeros((4, size))
    points, first, second, far = columns[0], columns[1], columns[2], columns[3]
    for i in range(size):
        whole = np.zeros(4)
        for begin in range(0, size, cell):
            n = s = t = f = 0.0
            for j in range(begin, begin + cell):
                x, held = residual[i, j], 1.0 if valid[i, j] else 0.0
                square, beyond = x * x, 1.0 if abs(x) > limit else 0.0
                n += held
                s += x
                t += square
                f += beyond
                points[j] += held
                first[j] += x
                second[j] += square
                far[j] += beyond
            r, c = (row * size + i) // cell, (column * size + begin) // cell
            for k, value in enumerate((n, s, t, f)):
                whole[k] += value
                cells[k, r, c] += value
        if row * size + i < n_frames:
            for k in range(4):
                frames[k, row * size + i] += whole[k]
    for j in range(min(size, n_frames - column * size)):
        for k in range(4):
            frames[k, column * size + j] += columns[k, j]
