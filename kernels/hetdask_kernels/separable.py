"""Sums of the model over all pairs of frames by O(N) recurrences, without data.

The model and its derivatives are sums of separable terms whose decay from frame to frame is a number of
modulus at most 1, so S(j) = step(j)·(S(j-1) + w(j-1)) adds up any product of two of them over all i < j.

With y(i, j) = (1, w1 E1, w2 E2, w3 Re E3, w3 Im E3) at the earlier frame i, the sums over i of y yᵀ for every
later frame (`prefix`), and the same from the other side (`suffix`), give everything but the terms in which a
derivative at one frame meets a derivative at the other; those need one more recurrence per parameter.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hetdask_kernels._jit import JIT, LANES, REORDER

Array = NDArray[np.float64]


@njit(**JIT)
def _pair_sums(step, weight, valid, backward, out):  # type: ignore[no-untyped-def]
    """Write the (5, 5) matrices Σ y yᵀ over all earlier frames, or all later ones, to `out` (N, 5, 5)."""
    n = step.shape[1]
    s00 = s01 = s02 = s11 = s12 = s22 = sb = 0.0
    c03 = c13 = c23 = c33 = 0.0 + 0.0j
    for count in range(n):
        j = n - 1 - count if backward else count
        if count > 0:
            near = j + 1 if backward else j
            last = j + 1 if backward else j - 1
            a, b, c = step[0, near], step[1, near], step[2, near] + 1j * step[3, near]
            one, w1, w2, w3 = valid[last], weight[0, last], weight[1, last], weight[2, last]
            s00 = s00 + one
            s01 = a * (s01 + one * w1)
            s02 = b * (s02 + one * w2)
            c03 = c * (c03 + one * w3)
            s11 = a * a * (s11 + w1 * w1)
            s12 = a * b * (s12 + w1 * w2)
            s22 = b * b * (s22 + w2 * w2)
            sb = a * b * (sb + w3 * w3)
            c13 = a * c * (c13 + w1 * w3)
            c23 = b * c * (c23 + w2 * w3)
            c33 = c * c * (c33 + w3 * w3)
        out[j, 0, 0] = s00
        out[j, 0, 1] = out[j, 1, 0] = s01
        out[j, 0, 2] = out[j, 2, 0] = s02
        out[j, 0, 3] = out[j, 3, 0] = c03.real
        out[j, 0, 4] = out[j, 4, 0] = c03.imag
        out[j, 1, 1] = s11
        out[j, 1, 2] = out[j, 2, 1] = s12
        out[j, 2, 2] = s22
        out[j, 1, 3] = out[j, 3, 1] = c13.real
        out[j, 1, 4] = out[j, 4, 1] = c13.imag
        out[j, 2, 3] = out[j, 3, 2] = c23.real
        out[j, 2, 4] = out[j, 4, 2] = c23.imag
        out[j, 3, 3] = 0.5 * (sb + c33.real)
        out[j, 4, 4] = 0.5 * (sb - c33.real)
        out[j, 3, 4] = out[j, 4, 3] = 0.5 * c33.imag


@njit(**JIT)
def _values(weight, valid, prefix, gram):  # type: ignore[no-untyped-def]
    """Add the sums of 1, g and g² to the first two rows of `gram`."""
    for j in range(weight.shape[1]):
        w1, w2, w3 = weight[0, j], weight[1, j], weight[2, j]
        y = prefix[j]
        gram[0, 0] += valid[j] * y[0, 0]
        gram[0, 1] += valid[j] * (w1 * y[0, 1] + w2 * y[0, 2] + w3 * y[0, 3])
        for c in range(3):
            for d in range(3):
                gram[1, 1] += weight[c, j] * weight[d, j] * y[c + 1, d + 1]


@njit(fastmath=REORDER, **JIT)
def _slopes(step, weight, valid, slope, sign, prefix, suffix, linear, gram):  # type: ignore[no-untyped-def]
    """Add the sums of D_k and g D_k to `linear` (2, LANES), and half of those of D_k D_m to `gram` (LANES, LANES).

    All parameters advance together, one in each lane.
    """
    # Rows of the state: for c, d in (reference, sample) the sums of l_c w_d; then with the cross term, real and
    # imaginary: l1 w3, l2 w3, l3 w1, l3 w2, l3 w3 with E3², and l3 w3 with |E3|².
    state = np.zeros((16, LANES))
    cross = np.zeros((4, LANES))
    even, odd = np.zeros((4, LANES)), np.zeros((4, LANES))
    for j in range(step.shape[1]):
        a, b, re, im = step[0, j], step[1, j], step[2, j], step[3, j]
        w1, w2, w3 = weight[0, j], weight[1, j], weight[2, j]
        if j > 0:
            last = slope[j - 1]
            u1, u2, u3 = weight[0, j - 1], weight[1, j - 1], weight[2, j - 1]
            aa, ab, bb = a * a, a * b, b * b
            ar, ai, br, bi = a * re, a * im, b * re, b * im
            cr, ci = re * re - im * im, 2.0 * re * im
            for k in range(LANES):
                l1, l2, lr, li = last[0, k], last[1, k], last[2, k], -last[3, k]
                state[0, k] = aa * (state[0, k] + l1 * u1)
                state[1, k] = ab * (state[1, k] + l1 * u2)
                state[2, k] = ab * (state[2, k] + l2 * u1)
                state[3, k] = bb * (state[3, k] + l2 * u2)
                x, y = state[4, k] + l1 * u3, state[5, k]
                state[4, k], state[5, k] = ar * x - ai * y, ar * y + ai * x
                x, y = state[6, k] + l2 * u3, state[7, k]
                state[6, k], state[7, k] = br * x - bi * y, br * y + bi * x
                x, y = state[8, k] + lr * u1, state[9, k] + li * u1
                state[8, k], state[9, k] = ar * x - ai * y, ar * y + ai * x
                x, y = state[10, k] + lr * u2, state[11, k] + li * u2
                state[10, k], state[11, k] = br * x - bi * y, br * y + bi * x
                x, y = state[12, k] + lr * u3, state[13, k] + li * u3
                state[12, k], state[13, k] = cr * x - ci * y, cr * y + ci * x
                state[14, k] = ab * (state[14, k] + lr * u3)
                state[15, k] = ab * (state[15, k] + li * u3)
            for k in range(LANES):
                cross[0, k] = w1 * state[0, k] + w2 * state[2, k] + w3 * state[8, k]
                cross[1, k] = w1 * state[1, k] + w2 * state[3, k] + w3 * state[10, k]
                cross[2, k] = w1 * state[4, k] + w2 * state[6, k] + 0.5 * w3 * (state[12, k] + state[14, k])
                cross[3, k] = w1 * state[5, k] + w2 * state[7, k] + 0.5 * w3 * (state[13, k] - state[15, k])
        here, before, after = slope[j], prefix[j], suffix[j]
        for c in range(4):
            p0, p1, p2, p3 = before[c + 1, 1], before[c + 1, 2], before[c + 1, 3], before[c + 1, 4]
            q0, q1, q2, q3 = after[c + 1, 1], after[c + 1, 2], after[c + 1, 3], after[c + 1, 4]
            early_one, late_one = valid[j] * after[0, c + 1], valid[j] * before[0, c + 1]
            early_g, late_g = w1 * q0 + w2 * q1 + w3 * q2, w1 * p0 + w2 * p1 + w3 * p2
            for k in range(LANES):
                later = p0 * here[0, k] + p1 * here[1, k] + p2 * here[2, k] + p3 * here[3, k]
                earlier = q0 * here[0, k] + q1 * here[1, k] + q2 * here[2, k] + q3 * here[3, k]
                mixed = cross[c, k] + 0.5 * sign[k] * later
                even[c, k] = 0.5 * earlier + mixed
                odd[c, k] = 0.5 * earlier - mixed
                linear[0, k] += here[c, k] * (early_one + sign[k] * late_one)
                linear[1, k] += here[c, k] * (early_g + sign[k] * late_g)
        for k in range(LANES):
            h0, h1, h2, h3 = here[0, k], here[1, k], here[2, k], here[3, k]
            side = even if sign[k] > 0.0 else odd
            for m in range(LANES):
                gram[k, m] += h0 * side[0, m] + h1 * side[1, m] + h2 * side[2, m] + h3 * side[3, m]


def model_gram(step: Array, weight: Array, valid: Array, slope: Array, sign: Array, n_free: int) -> Array:
    """Gram matrix of (1, g, D_1..D_p) over all pairs of frames i < j.

    Parameters
    ----------
    step : (4, N) float64
        Decay from the frame before: reference, sample, real and imaginary part of the cross term.
    weight : (3, N) float64
        Amplitudes of the three terms, the third including √2; 0 at excluded frames.
    valid : (N,) float64
        1 for frames that are data, 0 for excluded ones.
    slope : (N, 4, LANES) float64
        Derivative factors l_ck of each parameter, one in each lane: c = 1, c = 2, and c = 3 as Re l and -Im l.
        D_k = Re Σ_c [l_ck(i) w_c(j) ± w_c(i) l_ck(j)] E_c(i, j).
    sign : (LANES,) float64
        The sign in this formula: 1 for parameters of the composition, -1 for the dynamics.
    n_free : int
        Number p of lanes that are used.

    Returns
    -------
    (p + 2, p + 2) float64
        Symmetric.
    """
    n = step.shape[1]
    gram = np.zeros((n_free + 2, n_free + 2))
    prefix = np.empty((n, 5, 5))
    _pair_sums(step, weight, valid, False, prefix)
    _values(weight, valid, prefix, gram)
    if n_free:
        suffix = np.empty((n, 5, 5))
        _pair_sums(step, weight, valid, True, suffix)
        linear, half = np.zeros((2, LANES)), np.zeros((LANES, LANES))
        _slopes(step, weight, valid, slope, sign, prefix, suffix, linear, half)
        gram[:2, 2:] = linear[:, :n_free]
        gram[2:, 2:] = (half + half.T)[:n_free, :n_free]
    lower = np.tril_indices(n_free + 2, -1)
    gram[lower] = gram.T[lower]
    return gram
