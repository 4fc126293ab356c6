"""Scores of single speckles: what each adds to the gradient of χ², in O(N) for all parameters.

A score is a sum over pairs of frames of a derivative of the model times the deviations of the intensity at both, so the
recurrences of `hetdask_kernels.separable` give it with the deviations as weights of the frames.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hetdask_kernels._jit import JIT, LANES

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
        As in `hetdask_kernels.separable.model_gram`; the derivatives are still to be scaled.
    weight : (S, N) float64
    """
    out = np.zeros((weight.shape[0], LANES + 2))
    _pair_sums(step, amplitude, gain, weight, out)
    return out


@njit(**JIT)
def _model_rows(step, amplitude, keep, gain, out):  # type: ignore[no-untyped-def]
    n = step.shape[0]
    group = np.empty(8)
    for i in range(n):
        if keep[i] == 0.0:
            continue
        a = amplitude[i]
        e1 = e2 = e3 = 1.0
        e4 = 0.0
        for j in range(i + 1, n):
            re, im = step[j, 2], step[j, 3]
            e1, e2 = e1 * step[j, 0], e2 * step[j, 1]
            e3, e4 = re * e3 - im * e4, re * e4 + im * e3
            if keep[j] == 0.0:
                continue
            b = amplitude[j]
            t1, t2, t3 = a[0] * b[0] * e1, a[1] * b[1] * e2, a[2] * b[2] * e3
            g = t1 + t2 + t3
            out[i, 0] += g
            out[j, 0] += g
            out[i, 1] += g * g
            out[j, 1] += g * g
            group[0], group[1], group[2] = g * (t1 + 0.5 * t3), g * (t2 + 0.5 * t3), g * a[2] * b[2] * e4
            group[3] = g * (a[3] * b[0] * e1 + a[4] * b[1] * e2 + a[5] * b[2] * e3)
            group[4], group[5], group[6] = -group[0], -group[1], -group[2]
            group[7] = g * (a[0] * b[3] * e1 + a[1] * b[4] * e2 + a[2] * b[5] * e3)
            for k in range(LANES):
                value = gain[i, k] * group[k // 4] + gain[j, k] * group[4 + k // 4]
                out[i, 2 + k] += value
                out[j, 2 + k] += value


def model_rows(step: Array, amplitude: Array, keep: Array, gain: Array) -> Array:
    """Sums of g·(1, g, D) over the pairs of each frame with all others, (N, LANES + 2).

    Parameters
    ----------
    step, amplitude, keep, gain
        As in `hetdask_kernels.separable.model_gram`; the derivatives are still to be scaled.
    """
    out = np.zeros((step.shape[0], LANES + 2))
    _model_rows(step, amplitude, keep, gain, out)
    return out
