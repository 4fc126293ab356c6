"""Sums over single pixels with weights: the path for what does not separate.

Where pixels are missing inside a tile, or carry weights of their own, the model is built pixel by
pixel from its factors (a few multiplications, no exp) and its products are accumulated directly.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from hetdask_kernels._jit import JIT
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
        As in `separable.model_gram`.
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


@njit(**JIT)
def tile_model(  # type: ignore[no-untyped-def]
    diagonal, steep, exponent, phase, row, column, to_last, from_first, step, amplitude_row, amplitude_column, out,
):  # fmt: skip
    """Model g at the pixels of one tile, those above the diagonal only where `diagonal`.

    Parameters
    ----------
    out : (size, size) float64
        Overwritten where there are pixels.
    diagonal, steep, exponent, phase, row, column, to_last, from_first, step, amplitude_row, amplitude_column
        As in `weighted_gram`.
    """
    size = out.shape[0]
    coupling = np.ones(4)
    if not steep:
        coupling[0], coupling[1], coupling[2], coupling[3] = block_coupling(row, column, size, exponent, phase)
    for i in range(size):
        a = coupling[0] * to_last[0, i]
        b = coupling[1] * to_last[1, i]
        c = (coupling[2] + 1j * coupling[3]) * (to_last[2, i] + 1j * to_last[3, i])
        if steep:
            a, b, c = 1.0, 1.0, 1.0 + 0.0j
        u1, u2, u3 = amplitude_row[i, 0], amplitude_row[i, 1], amplitude_row[i, 2]
        for j in range(i + 1 if diagonal else 0, size):
            if steep:
                a, b, c = a * step[j, 0], b * step[j, 1], c * (step[j, 2] + 1j * step[j, 3])
                ref, sample, cross = a, b, c.real
            else:
                ref, sample = a * from_first[0, j], b * from_first[1, j]
                cross = c.real * from_first[2, j] - c.imag * from_first[3, j]
            v1, v2, v3 = amplitude_column[j, 0], amplitude_column[j, 1], amplitude_column[j, 2]
            out[i, j] = u1 * v1 * ref + u2 * v2 * sample + u3 * v3 * cross
