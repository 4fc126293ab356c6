"""Sums over single pixels with weights: the path for what does not separate.

Where pixels are missing inside a tile, or carry weights of their own, the model is built pixel by
pixel from its factors (a few multiplications, no exp) and its products are accumulated directly.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from hetdask_kernels._jit import JIT


@njit(**JIT)
def weighted_gram(  # type: ignore[no-untyped-def]
    tile, pixel_weight, diagonal, steep, baseline, decay_row, decay_column, coupling, step,
    weight_row, weight_column, slope_row, slope_column, sign, gram,
):  # fmt: skip
    """Add the weighted Gram matrix of (1, g, D_1..D_p, e) over the pixels of one tile.

    Parameters
    ----------
    tile : (size, size) float32
        Two-time correlation.
    pixel_weight : (size, size) float32 or bool
        Weight of each pixel; pixels of weight 0 cost next to nothing.
    diagonal : bool
        The tile lies on the diagonal: only pixels above it count.
    steep : bool
        The decays of this diagonal tile follow from `step` alone, see `contract_steep_diagonal`.
    baseline : float
        Subtracted from the data.
    decay_row, decay_column : (4, size) float64
        Decay between each frame and the last (row) or first (column) frame of its block.
    coupling : (4,) float64
        Decay between these two frames.
    step : (4, size) float64
        Decay from the frame before; used where `steep`.
    weight_row, weight_column : (3, size) float64
        Amplitudes of the terms.
    slope_row, slope_column : (size, 4, LANES) float64
        Derivative factors at the rows and the columns, as in `separable.model_gram`.
    sign : (LANES,) float64
    gram : (p + 3, p + 3) float64
        Symmetric; added to.
    """
    p = gram.shape[0] - 3
    x = np.empty(p + 3)
    size = tile.shape[0]
    for i in range(size):
        a = coupling[0] * decay_row[0, i]
        b = coupling[1] * decay_row[1, i]
        c = (coupling[2] + 1j * coupling[3]) * (decay_row[2, i] + 1j * decay_row[3, i])
        if steep:
            a, b, c = 1.0, 1.0, 1.0 + 0.0j
        ref, sample, cross = a, b, c
        for j in range(i + 1 if diagonal else 0, size):
            if steep:
                a, b, c = a * step[0, j], b * step[1, j], c * (step[2, j] + 1j * step[3, j])
                ref, sample, cross = a, b, c
            w = np.float64(pixel_weight[i, j])
            if w == 0.0:
                continue
            if not steep:
                ref = a * decay_column[0, j]
                sample = b * decay_column[1, j]
                cross = c * (decay_column[2, j] + 1j * decay_column[3, j])
            x[0] = 1.0
            x[1] = (
                weight_row[0, i] * weight_column[0, j] * ref
                + weight_row[1, i] * weight_column[1, j] * sample
                + weight_row[2, i] * weight_column[2, j] * cross.real
            )
            v1, v2, v3 = ref * weight_column[0, j], sample * weight_column[1, j], weight_column[2, j]
            u1, u2, u3 = ref * weight_row[0, i], sample * weight_row[1, i], weight_row[2, i]
            early, late = slope_row[i], slope_column[j]
            for k in range(p):
                x[2 + k] = (
                    early[0, k] * v1
                    + early[1, k] * v2
                    + v3 * (early[2, k] * cross.real + early[3, k] * cross.imag)
                    + sign[k]
                    * (late[0, k] * u1 + late[1, k] * u2 + u3 * (late[2, k] * cross.real + late[3, k] * cross.imag))
                )
            x[p + 2] = np.float64(tile[i, j]) - baseline
            for k in range(p + 3):
                scaled = w * x[k]
                for m in range(k, p + 3):
                    gram[k, m] += scaled * x[m]
    for k in range(p + 3):
        for m in range(k):
            gram[k, m] = gram[m, k]
