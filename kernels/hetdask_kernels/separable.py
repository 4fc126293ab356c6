"""Sums of the model over all pairs of frames by O(N) recurrences, without data.

The model and its derivatives are sums of separable terms whose decay from frame to frame is a number of
modulus at most 1, so S(j) = step(j)·(S(j-1) + w(j-1)) adds up any product of two of them over all i < j.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hetdask_kernels._jit import JIT, REORDER

Array = NDArray[np.float64]


@njit(**JIT)
def _prefix(step, weight, valid, out):  # type: ignore[no-untyped-def]
    """For each frame j the (5, 5) matrix Σ_{i<j} y(i, j) y(i, j)ᵀ with y = (1, w1 E1, w2 E2, w3 Re E3, w3 Im E3)."""
    s00 = s01 = s02 = s11 = s12 = s22 = sb = 0.0
    c03 = c13 = c23 = c33 = 0.0 + 0.0j
    for j in range(step.shape[1]):
        if j > 0:
            a, b, c = step[0, j], step[1, j], step[2, j] + 1j * step[3, j]
            one, w1, w2, w3 = valid[j - 1], weight[0, j - 1], weight[1, j - 1], weight[2, j - 1]
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
def _cross(step, weight, slope, out):  # type: ignore[no-untyped-def]
    """For one parameter: X_d(j) = Σ_{i<j} Σ_c w_c(j) Re[l_c(i) E_c(i, j)] y_d(i, j), written to `out` (4, N)."""
    s11 = s12 = s21 = s22 = 0.0
    b33 = c13 = c23 = c31 = c32 = c33 = 0.0 + 0.0j
    out[:, 0] = 0.0
    for j in range(1, step.shape[1]):
        a, b, c = step[0, j], step[1, j], step[2, j] + 1j * step[3, j]
        w1, w2, w3 = weight[0, j - 1], weight[1, j - 1], weight[2, j - 1]
        l1, l2 = slope[0, j - 1], slope[1, j - 1]
        l3 = slope[2, j - 1] + 1j * slope[3, j - 1]
        ab, ac, bc = a * b, a * c, b * c
        s11 = a * a * (s11 + l1 * w1)
        s12 = ab * (s12 + l1 * w2)
        s21 = ab * (s21 + l2 * w1)
        s22 = b * b * (s22 + l2 * w2)
        b33 = ab * (b33 + l3 * w3)
        c13 = ac * (c13 + l1 * w3)
        c23 = bc * (c23 + l2 * w3)
        c31 = ac * (c31 + l3 * w1)
        c32 = bc * (c32 + l3 * w2)
        c33 = c * c * (c33 + l3 * w3)
        v1, v2, v3 = weight[0, j], weight[1, j], weight[2, j]
        out[0, j] = v1 * s11 + v2 * s21 + v3 * c31.real
        out[1, j] = v1 * s12 + v2 * s22 + v3 * c32.real
        out[2, j] = v1 * c13.real + v2 * c23.real + 0.5 * v3 * (c33.real + b33.real)
        out[3, j] = v1 * c13.imag + v2 * c23.imag + 0.5 * v3 * (c33.imag - b33.imag)


@njit(**JIT)
def _half_products(prefix, suffix, left, right, cross, out_left, out_right):  # type: ignore[no-untyped-def]
    """Multiply the slopes of every parameter by the frame matrices; shapes (p, 4, N)."""
    for k in range(left.shape[0]):
        for j in range(left.shape[2]):
            for c in range(4):
                x = y = 0.0
                for d in range(4):
                    x += suffix[j, c + 1, d + 1] * left[k, d, j]
                    y += prefix[j, c + 1, d + 1] * right[k, d, j]
                out_left[k, c, j] = x
                out_right[k, c, j] = cross[k, c, j] + 0.5 * y


@njit(fastmath=REORDER, **JIT)
def _add_products(a, b, out):  # type: ignore[no-untyped-def]
    """Add a·bᵀ of (p, L) arrays to `out` (p, p)."""
    for k in range(a.shape[0]):
        x = a[k]
        for m in range(b.shape[0]):
            y = b[m]
            total = 0.0
            for j in range(x.shape[0]):
                total += x[j] * y[j]
            out[k, m] += total


@njit(**JIT)
def _reverse_steps(step):  # type: ignore[no-untyped-def]
    """Steps of the series read backwards."""
    n = step.shape[1]
    out = np.ones_like(step)
    for j in range(1, n):
        out[:, j] = step[:, n - j]
    return out


def model_gram(step: Array, weight: Array, valid: Array, left: Array, right: Array) -> Array:
    """Gram matrix of (1, g, D_1..D_p) over all pairs of frames i < j.

    Parameters
    ----------
    step : (4, N) float64
        Decay from the frame before: reference, sample, real and imaginary part of the cross term.
    weight : (3, N) float64
        Amplitudes of the three terms, the third including √2; 0 at excluded frames.
    valid : (N,) float64
        1 for frames that are data, 0 for excluded ones.
    left, right : (p, 4, N) float64
        Slopes of each parameter at the earlier and the later frame:
        D_k = Re Σ_c [l_ck(i) w_c(j) + w_c(i) m_ck(j)] E_c(i, j); rows hold c = 1, c = 2, Re and Im of c = 3.

    Returns
    -------
    (p + 2, p + 2) float64
        Symmetric.
    """
    p, n = left.shape[0], step.shape[1]
    prefix, suffix = np.empty((n, 5, 5)), np.empty((n, 5, 5))
    _prefix(step, weight, valid, prefix)
    _prefix(_reverse_steps(step), weight[:, ::-1].copy(), valid[::-1].copy(), suffix)
    suffix = suffix[::-1]
    cross = np.empty((p, 4, n))
    for k in range(p):
        _cross(step, weight, left[k], cross[k])
    # Re[l E] = Re l Re E - Im l Im E: the sign belongs to the fourth row.
    left, right = left.copy(), right.copy()
    left[:, 3] *= -1.0
    right[:, 3] *= -1.0
    half_left, half_right = np.empty_like(left), np.empty_like(right)
    _half_products(prefix, suffix, left, right, cross, half_left, half_right)

    amplitude = np.zeros((5, n))
    amplitude[1:4] = weight
    later_g = np.einsum("jcd,dj->cj", prefix, amplitude)
    earlier_g = np.einsum("jcd,dj->cj", suffix, amplitude)
    gram = np.empty((p + 2, p + 2))
    gram[0, 0] = valid @ prefix[:, 0, 0]
    gram[0, 1] = valid @ later_g[0]
    gram[1, 1] = np.sum(amplitude * later_g)
    flat_left, flat_right = left.reshape(p, 4 * n), right.reshape(p, 4 * n)
    gram[0, 2:] = flat_left @ (suffix[:, 0, 1:] * valid[:, None]).T.ravel()
    gram[0, 2:] += flat_right @ (prefix[:, 0, 1:] * valid[:, None]).T.ravel()
    gram[1, 2:] = flat_left @ earlier_g[1:].ravel() + flat_right @ later_g[1:].ravel()
    # Small products in this thread: a threaded BLAS would only fight with the other tasks.
    early, mixed = np.zeros((p, p)), np.zeros((p, p))
    _add_products(flat_left, half_left.reshape(p, 4 * n), early)
    _add_products(flat_right, half_right.reshape(p, 4 * n), mixed)
    gram[2:, 2:] = early + mixed + mixed.T
    lower = np.tril_indices(p + 2, -1)
    gram[lower] = gram.T[lower]
    return gram
