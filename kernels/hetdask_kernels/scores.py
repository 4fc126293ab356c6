"""Scores of single speckles: what each adds to the gradient of χ², in O(N) for all parameters.

A score is a sum over pairs of frames of a derivative of the model times the deviations of the intensity at both, so the
recurrences of `hetdask_kernels.frame_sums` give it with the deviations as weights of the frames.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hetdask_kernels._jit import JIT, LANES, PART, REORDER
from hetdask_kernels.frame_sums import (
    CHUNK,
    FRAME_WORK,
    KEEP,
    LINEAR,
    MOMENTS,
    W1,
    W2,
    W3,
    group_sums,
    moments_of,
    read_chunk,
    running_sums,
    values_of,
)
from hetdask_kernels.vectors import load_octet, store

Array = NDArray[np.float64]


@njit(**JIT)
def _pair_sums(step, amplitude, gain, weight, out):  # type: ignore[no-untyped-def]
    n = step.shape[0]
    early = np.empty((n, 4))
    group = np.empty(4)
    for s in range(weight.shape[0]):
        w = weight[s]
        row = out[s]
        s1 = s2 = s3 = s4 = before = 0.0
        for j in range(n):
            if j > 0:
                z, re, im = w[j - 1], step[j, 2], step[j, 3]
                s1 = step[j, 0] * (s1 + z * amplitude[j - 1, 0])
                s2 = step[j, 1] * (s2 + z * amplitude[j - 1, 1])
                s3 += z * amplitude[j - 1, 2]
                s3, s4 = re * s3 - im * s4, re * s4 + im * s3
            early[j, 0], early[j, 1], early[j, 2], early[j, 3] = s1, s2, s3, s4
            row[0] += w[j] * before
            row[1] += w[j] * (amplitude[j, 0] * s1 + amplitude[j, 1] * s2 + amplitude[j, 2] * s3)
            before += w[j]
        s1 = s2 = s3 = s4 = 0.0
        for j in range(n - 1, -1, -1):
            if j < n - 1:
                z, re, im = w[j + 1], step[j + 1, 2], step[j + 1, 3]
                s1 = step[j + 1, 0] * (s1 + z * amplitude[j + 1, 0])
                s2 = step[j + 1, 1] * (s2 + z * amplitude[j + 1, 1])
                s3 += z * amplitude[j + 1, 2]
                s3, s4 = re * s3 - im * s4, re * s4 + im * s3
            e, a = early[j], amplitude[j]
            cross = 0.5 * a[2] * (s3 - e[2])
            group[0] = w[j] * (a[0] * (s1 - e[0]) + cross)
            group[1] = w[j] * (a[1] * (s2 - e[1]) + cross)
            group[2] = w[j] * a[2] * (s4 - e[3])
            group[3] = w[j] * (a[3] * (s1 + e[0]) + a[4] * (s2 + e[1]) + a[5] * (s3 + e[2]))
            for k in range(LANES):
                row[2 + k] += gain[j, k] * group[k // 4]


def pair_sums(step: Array, amplitude: Array, gain: Array, weight: Array) -> Array:
    """Sums of w_i w_j (1, g, D) over all pairs of frames i < j, (S, LANES + 2), for S sets of weights.

    Parameters
    ----------
    step, amplitude, gain
        As in `hetdask_kernels.separable.model_grams`; the derivatives are still to be scaled.
    weight : (S, N) float64
    """
    out = np.zeros((weight.shape[0], LANES + 2))
    _pair_sums(step, amplitude, gain, weight, out)
    return out


@njit(fastmath=REORDER, **PART)
def _with_gains(step, amplitude, keep, gain, backward, out):  # type: ignore[no-untyped-def]
    """Add the sums of u_k·g·G over all earlier frames, with their gains u_k, to `out` (N, LANES); or all later ones.

    With y = (w1 E1, w2 E2, w3 Re E3, w3 Im E3) g·G is a form y₁ y₂ᵀ, in which the composition has the derivatives of
    the amplitudes on the side of G. Its sums run through the recurrences of `hetdask_kernels.frame_sums`, for each
    lane: 11, 12, 21, 22, then 1c, 1s, c1, s1, 2c, 2s, c2, s2, ww, and 33 real and imaginary part.
    """
    n = step.shape[0]
    bent, own = np.zeros(LANES), np.zeros((4, LANES))
    bent[12:] = 1.0
    own[0, :4] = own[0, 12:] = own[1, 4:8] = own[1, 12:] = 1.0
    own[2, :8], own[2, 12:], own[3, 8:12] = 0.5, 1.0, 1.0
    sums = np.zeros((15, LANES))
    for count in range(n):
        j = n - 1 - count if backward else count
        near, last = (j + 1, j + 1) if backward else (j, j - 1)
        if count > 0:
            a, b, re, im = step[near, 0], step[near, 1], step[near, 2], step[near, 3]
            ar, ai, br, bi = a * re, a * im, b * re, b * im
            cr, ci = re * re - im * im, 2.0 * re * im
            one = keep[last]
            u1, u2, u3 = amplitude[last, 0], amplitude[last, 1], amplitude[last, 2]
            t1, t2, t3 = amplitude[last, 3], amplitude[last, 4], amplitude[last, 5]
            for k in range(LANES):
                e, mixed = one * gain[last, k], bent[k]
                p1, p2 = e * (u1 + mixed * (t1 - u1)), e * (u2 + mixed * (t2 - u2))
                p3 = e * (u3 + mixed * (t3 - u3))
                sums[0, k] = a * a * (sums[0, k] + p1 * u1)
                sums[1, k] = a * b * (sums[1, k] + p1 * u2)
                sums[2, k] = a * b * (sums[2, k] + p2 * u1)
                sums[3, k] = b * b * (sums[3, k] + p2 * u2)
                x, z = sums[4, k] + p1 * u3, sums[5, k]
                sums[4, k], sums[5, k] = ar * x - ai * z, ar * z + ai * x
                x, z = sums[6, k] + p3 * u1, sums[7, k]
                sums[6, k], sums[7, k] = ar * x - ai * z, ar * z + ai * x
                x, z = sums[8, k] + p2 * u3, sums[9, k]
                sums[8, k], sums[9, k] = br * x - bi * z, br * z + bi * x
                x, z = sums[10, k] + p3 * u2, sums[11, k]
                sums[10, k], sums[11, k] = br * x - bi * z, br * z + bi * x
                sums[12, k] = a * b * (sums[12, k] + p3 * u3)
                x, z = sums[13, k] + p3 * u3, sums[14, k]
                sums[13, k], sums[14, k] = cr * x - ci * z, cr * z + ci * x
        w1, w2, w3 = keep[j] * amplitude[j, 0], keep[j] * amplitude[j, 1], keep[j] * amplitude[j, 2]
        for k in range(LANES):
            m1, m2, mc, ms = w1 * own[0, k], w2 * own[1, k], w3 * own[2, k], w3 * own[3, k]
            z1 = m1 * sums[0, k] + m2 * sums[2, k] + mc * sums[6, k] + ms * sums[7, k]
            z2 = m1 * sums[1, k] + m2 * sums[3, k] + mc * sums[10, k] + ms * sums[11, k]
            zc = m1 * sums[4, k] + m2 * sums[8, k] + 0.5 * (mc * (sums[12, k] + sums[13, k]) + ms * sums[14, k])
            # Reference, sample and flow enter with a minus sign at the later frame.
            sign = 1.0 if bent[k] > 0.0 or not backward else -1.0
            out[j, k] += sign * (w1 * z1 + w2 * z2 + w3 * zc)


@njit(fastmath=REORDER, **JIT)
def _model_rows(step, amplitude, keep, gain, out):  # type: ignore[no-untyped-def]
    n = step.shape[0]
    chunks = -(-n // CHUNK)
    early, late, work = np.empty(chunks * MOMENTS), np.empty(chunks * MOMENTS), np.empty(FRAME_WORK)
    running_sums(step, amplitude, keep, early, late)
    lanes = np.zeros((n, LANES))
    for backward in (False, True):
        _with_gains(step, amplitude, keep, gain, backward, lanes)
    value = np.empty(2 * CHUNK)
    for j in range(n):
        chunk, b = j // CHUNK, j % CHUNK
        if b == 0:
            read_chunk(chunk, step, amplitude, keep, work)
            group_sums(chunk, early, late, work)
            one, w1, w2, w3 = load_octet(work, KEEP), load_octet(work, W1), load_octet(work, W2), load_octet(work, W3)
            g_early, square_early = values_of(w1, w2, w3, moments_of(early, chunk * MOMENTS))
            g_late, square_late = values_of(w1, w2, w3, moments_of(late, chunk * MOMENTS))
            store(one * (g_early + g_late), value, 0)
            store(one * (square_early + square_late), value, CHUNK)
        out[j, 0], out[j, 1] = value[b], value[CHUNK + b]
        for k in range(LANES):
            out[j, 2 + k] = gain[j, k] * work[LINEAR + CHUNK * (4 + k // 4) + b] + lanes[j, k]


def model_rows(step: Array, amplitude: Array, keep: Array, gain: Array) -> Array:
    """Sums of g·(1, g, D) over the pairs of each frame with all others, (N, LANES + 2).

    Parameters
    ----------
    step, amplitude, keep, gain
        As in `hetdask_kernels.separable.model_grams`; the derivatives are still to be scaled.
    """
    out = np.empty((step.shape[0], LANES + 2))
    _model_rows(step, amplitude, keep, gain, out)
    return out
