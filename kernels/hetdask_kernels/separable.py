"""Sums of the model over all pairs of frames by O(N) recurrences, without data.

The model and its derivatives are sums of separable terms whose decay from frame to frame is a number of
modulus at most 1, so S(j) = step(j)·(S(j-1) + w(j-1)) adds up any product of two of them over all i < j.

A derivative is D_k(i, j) = u_k(i)·G_g(i, j) ± u_k(j)·G'_g(i, j): a gain u_k of each frame times one of four
functions that all parameters of a group g share (see `GROUPS`). With y = (w1 E1, w2 E2, w3 Re E3, w3 Im E3) each G
is a linear form b_g·y, so all products of two derivatives follow from the sums of y yᵀ, plain and weighted with
each gain. See `docs/speed.md`, "Sums without data".
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

from hetdask_kernels._jit import JIT, LANES, PART, REORDER

BATCH: Final = 4
"""Frames whose contributions to the Gram matrix are added at once, while it is in registers."""


@njit(**PART)
def _running_sums(step, amplitude, keep, backward, out):  # type: ignore[no-untyped-def]
    """Write Σ(1, y) and Σ y yᵀ over all earlier frames, or all later ones, to `out` (N, 15).

    Columns: 1, y1, y2, yc, ys; then 11, 12, 22, 1c, 1s, 2c, 2s, cc, ss, cs.
    """
    n = step.shape[0]
    s0 = s1 = s2 = s11 = s12 = s22 = same = 0.0
    s3 = s13 = s23 = s33 = 0.0 + 0.0j
    for count in range(n):
        j = n - 1 - count if backward else count
        if count > 0:
            near = j + 1 if backward else j
            last = j + 1 if backward else j - 1
            a, b, c = step[near, 0], step[near, 1], step[near, 2] + 1j * step[near, 3]
            one = keep[last]
            w1, w2, w3 = one * amplitude[last, 0], one * amplitude[last, 1], one * amplitude[last, 2]
            s0 = s0 + one
            s1 = a * (s1 + w1)
            s2 = b * (s2 + w2)
            s3 = c * (s3 + w3)
            s11 = a * a * (s11 + w1 * w1)
            s12 = a * b * (s12 + w1 * w2)
            s22 = b * b * (s22 + w2 * w2)
            same = a * b * (same + w3 * w3)
            s13 = a * c * (s13 + w1 * w3)
            s23 = b * c * (s23 + w2 * w3)
            s33 = c * c * (s33 + w3 * w3)
        row = out[j]
        row[0], row[1], row[2], row[3], row[4] = s0, s1, s2, s3.real, s3.imag
        row[5], row[6], row[7] = s11, s12, s22
        row[8], row[9], row[10], row[11] = s13.real, s13.imag, s23.real, s23.imag
        row[12], row[13], row[14] = 0.5 * (same + s33.real), 0.5 * (same - s33.real), 0.5 * s33.imag


@njit(fastmath=REORDER, **PART)
def _values(amplitude, keep, early, gram):  # type: ignore[no-untyped-def]
    """Sums of 1, g and g², from the sums over earlier frames."""
    ones = first = second = 0.0
    for j in range(keep.shape[0]):
        w1, w2, w3 = amplitude[j, 0], amplitude[j, 1], amplitude[j, 2]
        e = early[j]
        ones += keep[j] * e[0]
        first += keep[j] * (w1 * e[1] + w2 * e[2] + w3 * e[3])
        square = w1 * w1 * e[5] + w2 * w2 * e[7] + w3 * w3 * e[12]
        second += keep[j] * (square + 2.0 * (w1 * w2 * e[6] + w1 * w3 * e[8] + w2 * w3 * e[10]))
    gram[0, 0], gram[0, 1], gram[1, 1] = ones, first, second


@njit(fastmath=REORDER, **PART)
def _group_sums(amplitude, keep, early, late, linear, pairs):  # type: ignore[no-untyped-def]
    """Sums of G_g, G_g·g and ½ G_g·G_h over the pairs of each frame with all others.

    The signs are those of the derivatives: earlier frames count negative for reference, sample and flow.

    Parameters
    ----------
    amplitude : (N, 6)
    keep : (N,)
    early, late : (N, 15)
        Of `_running_sums`.
    linear : (N, 8)
        Overwritten with the sums of G_g and of G_g·g; groups in the order of `GROUPS`.
    pairs : (N, 16)
        Overwritten with the sums of products, [g, h].
    """
    for j in range(amplitude.shape[0]):
        a, b, row, out = early[j], late[j], linear[j], pairs[j]
        w1, w2, w3 = amplitude[j, 0], amplitude[j, 1], amplitude[j, 2]
        h1, h2, h3 = amplitude[j, 3], amplitude[j, 4], amplitude[j, 5]
        half = 0.5 * w3
        one = keep[j]
        d1, d2, dc, ds = b[1] - a[1], b[2] - a[2], b[3] - a[3], b[4] - a[4]
        row[0] = one * (w1 * d1 + half * dc)
        row[1] = one * (w2 * d2 + half * dc)
        row[2] = one * w3 * ds
        row[3] = one * (h1 * (b[1] + a[1]) + h2 * (b[2] + a[2]) + h3 * (b[3] + a[3]))
        # Differences of the second moments, contracted with the amplitudes (w1, w2, w3, 0) of the model ...
        m11, m12, m22 = b[5] - a[5], b[6] - a[6], b[7] - a[7]
        m1c, m1s, m2c, m2s = b[8] - a[8], b[9] - a[9], b[10] - a[10], b[11] - a[11]
        mcc, mcs = b[12] - a[12], b[14] - a[14]
        z1, z2 = w1 * m11 + w2 * m12 + w3 * m1c, w1 * m12 + w2 * m22 + w3 * m2c
        zc, zs = w1 * m1c + w2 * m2c + w3 * mcc, w1 * m1s + w2 * m2s + w3 * mcs
        row[4] = one * (w1 * z1 + half * zc)
        row[5] = one * (w2 * z2 + half * zc)
        row[6] = one * w3 * zs
        # ... and with those of the composition, (h1, h2, h3, 0).
        z1, z2 = h1 * m11 + h2 * m12 + h3 * m1c, h1 * m12 + h2 * m22 + h3 * m2c
        zc, zs = h1 * m1c + h2 * m2c + h3 * mcc, h1 * m1s + h2 * m2s + h3 * mcs
        one *= 0.5
        out[3] = out[12] = one * (w1 * z1 + half * zc)
        out[7] = out[13] = one * (w2 * z2 + half * zc)
        out[11] = out[14] = one * w3 * zs
        # Sums of the second moments, for groups of equal sign.
        p11, p12, p22 = b[5] + a[5], b[6] + a[6], b[7] + a[7]
        p1c, p1s, p2c, p2s = b[8] + a[8], b[9] + a[9], b[10] + a[10], b[11] + a[11]
        pcc, pss, pcs = b[12] + a[12], b[13] + a[13], b[14] + a[14]
        z1, z2 = h1 * p11 + h2 * p12 + h3 * p1c, h1 * p12 + h2 * p22 + h3 * p2c
        zc = h1 * p1c + h2 * p2c + h3 * pcc
        row[7] = 2.0 * one * (w1 * z1 + w2 * z2 + w3 * zc)
        out[15] = one * (h1 * z1 + h2 * z2 + h3 * zc)
        rc = half * (w1 * p1c + half * pcc)
        out[0] = one * (w1 * (w1 * p11 + half * p1c) + rc)
        out[1] = out[4] = one * (w2 * (w1 * p12 + half * p2c) + rc)
        out[2] = out[8] = one * w3 * (w1 * p1s + half * pcs)
        out[5] = one * (w2 * (w2 * p22 + half * p2c) + half * (w2 * p2c + half * pcc))
        out[6] = out[9] = one * w3 * (w2 * p2s + half * pcs)
        out[10] = one * w3 * w3 * pss


@njit(**PART)
def frame_sums(step, amplitude, keep, early, late, linear, pairs):  # type: ignore[no-untyped-def]
    """Write sums of each frame from `_running_sums` (earlier frames, later ones) and `_group_sums`."""
    _running_sums(step, amplitude, keep, False, early)
    _running_sums(step, amplitude, keep, True, late)
    _group_sums(amplitude, keep, early, late, linear, pairs)


_BEFORE: Final = 15 * LANES
_GROUPS: Final = _BEFORE + 2 * LANES
_OWN: Final = _GROUPS + 4 * LANES
_EDGE: Final = _OWN + 3 * LANES
_WORK: Final = _EDGE + 2 * LANES
_EACH: Final = 4 * LANES
"""Offsets in the working array of `_cross`: gains of the frame before (after the sums), membership of groups,
multiples of the terms in the function of a lane's group, sums of D and g·D."""


@njit(fastmath=REORDER, **PART)
def _take_frame(j, step, amplitude, keep, gain, linear, pairs, lanes, work, products):  # type: ignore[no-untyped-def]
    """Carry the sums of `_cross` on to frame j, and write the products of each lane with the groups, (4·LANES,)."""
    i = max(j - 1, 0)
    a, b, re, im = step[j, 0], step[j, 1], step[j, 2], step[j, 3]
    aa, ab, bb = a * a, a * b, b * b
    ar, ai, br, bi = a * re, a * im, b * re, b * im
    cr, ci = re * re - im * im, 2.0 * re * im
    one = keep[i] if j > 0 else 0.0
    u1, u2, u3 = amplitude[i, 0], amplitude[i, 1], amplitude[i, 2]
    t1, t2, t3 = one * amplitude[i, 3], one * amplitude[i, 4], one * amplitude[i, 5]
    o1, o2, o3 = one * u1, one * u2, one * u3
    o11, o12, o22, o13, o23, o33 = o1 * u1, o1 * u2, o2 * u2, o1 * u3, o2 * u3, 0.5 * o3 * u3
    w1, w2, w3 = amplitude[j, 0], amplitude[j, 1], amplitude[j, 2]
    h1, h2, h3 = amplitude[j, 3], amplitude[j, 4], amplitude[j, 5]
    half, half_u3 = 0.5 * w3, 0.5 * u3
    q0, q1, q2, q3, q5, q6, q7 = (
        pairs[j, 0], pairs[j, 1], pairs[j, 2], pairs[j, 3], pairs[j, 5], pairs[j, 6], pairs[j, 7],
    )  # fmt: skip
    q10, q11, q15 = pairs[j, 10], pairs[j, 11], pairs[j, 15]
    l0, l1, l2, l3, l4, l5, l6, l7 = (
        linear[j, 0], linear[j, 1], linear[j, 2], linear[j, 3], linear[j, 4], linear[j, 5], linear[j, 6],
        linear[j, 7],
    )  # fmt: skip
    row = gain[j]
    for k in range(lanes):
        e = work[_BEFORE + k]
        s11 = aa * (work[k] + e * o11)
        s12 = ab * (work[LANES + k] + e * o12)
        s22 = bb * (work[3 * LANES + k] + e * o22)
        x, z = work[4 * LANES + k] + e * o13, work[5 * LANES + k]
        s1c, s1s = ar * x - ai * z, ar * z + ai * x
        x, z = work[8 * LANES + k] + e * o23, work[9 * LANES + k]
        s2c, s2s = br * x - bi * z, br * z + bi * x
        same = ab * (work[12 * LANES + k] + e * o33)
        x, z = work[13 * LANES + k] + e * o33, work[14 * LANES + k]
        s33, t33 = cr * x - ci * z, cr * z + ci * x
        work[k], work[LANES + k], work[3 * LANES + k] = s11, s12, s22
        work[4 * LANES + k], work[5 * LANES + k] = s1c, s1s
        work[8 * LANES + k], work[9 * LANES + k] = s2c, s2s
        work[12 * LANES + k], work[13 * LANES + k], work[14 * LANES + k] = same, s33, t33
        m1, m2 = w1 * work[_OWN + k], w2 * work[_OWN + LANES + k]
        z1 = m1 * s11 + m2 * s12 + half * s1c
        z2 = m1 * s12 + m2 * s22 + half * s2c
        zc = m1 * s1c + m2 * s2c + half * (same + s33)
        zs = m1 * s1s + m2 * s2s + half * t33
        here = row[k]
        work[_BEFORE + k] = here
        ref, sample = here * work[_GROUPS + k], here * work[_GROUPS + LANES + k]
        work[_EDGE + k] += ref * l0 + sample * l1
        work[_EDGE + LANES + k] += ref * l4 + sample * l5
        products[k] = ref * q0 + sample * q1 - w1 * z1 - half * zc
        products[LANES + k] = ref * q1 + sample * q5 - w2 * z2 - half * zc
        products[2 * LANES + k] = ref * q2 + sample * q6 - w3 * zs
        products[3 * LANES + k] = ref * q3 + sample * q7 + h1 * z1 + h2 * z2 + h3 * zc
    for c in range(lanes):
        k = LANES // 2 + c
        flow, mixed = work[_GROUPS + 2 * LANES + k], work[_GROUPS + 3 * LANES + k]
        straight, bent = work[_BEFORE + k], work[_BEFORE + LANES + k]
        e1, e2, e3 = straight * o1 + bent * t1, straight * o2 + bent * t2, straight * o3 + bent * t3
        s11 = aa * (work[k] + e1 * u1)
        s12 = ab * (work[LANES + k] + e1 * u2)
        s21 = ab * (work[2 * LANES + k] + e2 * u1)
        s22 = bb * (work[3 * LANES + k] + e2 * u2)
        x, z = work[4 * LANES + k] + e1 * u3, work[5 * LANES + k]
        s1c, s1s = ar * x - ai * z, ar * z + ai * x
        x, z = work[6 * LANES + k] + e3 * u1, work[7 * LANES + k]
        sc1, ss1 = ar * x - ai * z, ar * z + ai * x
        x, z = work[8 * LANES + k] + e2 * u3, work[9 * LANES + k]
        s2c, s2s = br * x - bi * z, br * z + bi * x
        x, z = work[10 * LANES + k] + e3 * u2, work[11 * LANES + k]
        sc2, ss2 = br * x - bi * z, br * z + bi * x
        same = ab * (work[12 * LANES + k] + e3 * half_u3)
        x, z = work[13 * LANES + k] + e3 * half_u3, work[14 * LANES + k]
        s33, t33 = cr * x - ci * z, cr * z + ci * x
        work[k], work[LANES + k], work[2 * LANES + k], work[3 * LANES + k] = s11, s12, s21, s22
        work[4 * LANES + k], work[5 * LANES + k] = s1c, s1s
        work[6 * LANES + k], work[7 * LANES + k] = sc1, ss1
        work[8 * LANES + k], work[9 * LANES + k] = s2c, s2s
        work[10 * LANES + k], work[11 * LANES + k] = sc2, ss2
        work[12 * LANES + k], work[13 * LANES + k], work[14 * LANES + k] = same, s33, t33
        # Contract with the amplitudes of the lane's group at the later frame.
        m1, m2 = w1 * work[_OWN + k], w2 * work[_OWN + LANES + k]
        mc, ms = half * work[_OWN + 2 * LANES + k], w3 * flow
        z1 = m1 * s11 + m2 * s21 + mc * sc1 + ms * ss1
        z2 = m1 * s12 + m2 * s22 + mc * sc2 + ms * ss2
        zc = m1 * s1c + m2 * s2c + mc * (same + s33) + ms * t33
        zs = m1 * s1s + m2 * s2s + mc * t33 + ms * (same - s33)
        # Reference, sample and flow enter with a minus sign at the later frame.
        here = row[k]
        work[_BEFORE + LANES + k] = here * mixed
        work[_BEFORE + k] = here - here * mixed
        turned, bent = here * flow, here * mixed
        work[_EDGE + k] += turned * l2 + bent * l3
        work[_EDGE + LANES + k] += turned * l6 + bent * l7
        products[k] = turned * q2 + bent * q3 - w1 * z1 - half * zc
        products[LANES + k] = turned * q6 + bent * q7 - w2 * z2 - half * zc
        products[2 * LANES + k] = turned * q10 + bent * q11 - w3 * zs
        products[3 * LANES + k] = turned * q11 + bent * q15 + h1 * z1 + h2 * z2 + h3 * zc


@njit(fastmath=REORDER, **PART)
def _cross(step, amplitude, keep, gain, linear, pairs, lanes, work, half_gram):  # type: ignore[no-untyped-def]
    """Add half of Σ D_k D_l to `half_gram` (16, 16), such that half + halfᵀ is the whole; ΣD and Σg·D go to `work`.

    The gains of the earlier frames, times y yᵀ, run through the same recurrences as in `_running_sums`. For the
    composition the earlier side is bent, so y yᵀ is not symmetric and has 15 entries: 11, 12, 21, 22, 1c, 1s,
    c1, s1, 2c, 2s, c2, s2, ww, and 33 real and imaginary part. Reference and sample, the first half of the lanes,
    do with the ten that differ; flow goes with the composition.

    What the lanes write lies in flat arrays at constant offsets, and their number comes in as an argument: the
    compiler then vectorises the loops over the lanes, and does not if it can't tell arrays apart or unrolls them first.
    `lanes` is half of them.
    """
    work[:] = 0.0
    products = np.empty(BATCH * _EACH)
    for g in range(4):
        for k in range(4 * g, 4 * g + 4):
            work[_GROUPS + g * LANES + k] = 1.0
            work[_OWN + k] = 1.0 if g in (0, 3) else 0.0
            work[_OWN + LANES + k] = 1.0 if g in (1, 3) else 0.0
            work[_OWN + 2 * LANES + k] = 0.0 if g == 2 else 2.0 if g == 3 else 1.0
    for j in range(0, step.shape[0], BATCH):
        for b in range(BATCH):
            _take_frame(j + b, step, amplitude, keep, gain, linear, pairs, lanes, work, products[b * _EACH :])
        for m in range(LANES):
            if m % 4 == 3 and m < LANES // 2:  # Lanes of no parameter.
                continue
            out = half_gram[m]
            u0, u1 = keep[j] * gain[j, m], keep[j + 1] * gain[j + 1, m]
            u2, u3 = keep[j + 2] * gain[j + 2, m], keep[j + 3] * gain[j + 3, m]
            y = products[m // 4 * LANES :]
            for k in range(2 * lanes):
                out[k] += (u0 * y[k] + u1 * y[_EACH + k]) + (u2 * y[2 * _EACH + k] + u3 * y[3 * _EACH + k])


@njit(**JIT)
def model_grams(step, amplitude, keep, gain, which, grams):  # type: ignore[no-untyped-def]
    """Write the Gram matrices of (1, g, D) of some angles over all pairs of frames i < j, one derivative in each lane.

    Parameters
    ----------
    step : (M, N, 4) float64
        Decay from the frame before: reference, sample, real and imaginary part of the cross term. N is a multiple of 4.
    amplitude : (N, 6) float64
        Amplitudes w of the three terms, and their derivatives with respect to the fraction.
    keep : (M, N) float64
        1 for frames that are data, 0 for excluded ones.
    gain : (N, LANES) or (0, LANES) float64
        Derivatives of the integrals and the fraction, see `hetdask_kernels.GROUPS`. Without any, no derivatives.
    which : (n,) int64
        The angles.
    grams : (M, ≥ LANES + 2, ≥ LANES + 2) float64
        Overwritten in the first rows and columns; the derivatives are still to be multiplied by the scale of their
        lane. Only the first two rows and columns without gains.
    """
    n, derivatives = amplitude.shape[0], gain.shape[0] > 0
    rows = n if derivatives else 0
    early, late, linear, pairs = np.empty((n, 15)), np.empty((rows, 15)), np.empty((rows, 8)), np.empty((rows, 16))
    half, work = np.empty((LANES, LANES)), np.empty(_WORK)
    for angle in which:
        gram = grams[angle]
        if derivatives:
            frame_sums(step[angle], amplitude, keep[angle], early, late, linear, pairs)
            half[:] = 0.0
            _cross(step[angle], amplitude, keep[angle], gain, linear, pairs, LANES // 2, work, half)
            for k in range(LANES):
                gram[0, 2 + k], gram[1, 2 + k] = work[_EDGE + k], work[_EDGE + LANES + k]
                for m in range(k, LANES):
                    gram[2 + k, 2 + m] = half[k, m] + half[m, k]
        else:
            _running_sums(step[angle], amplitude, keep[angle], False, early)
        _values(amplitude, keep[angle], early, gram)
        for k in range(LANES + 2 if derivatives else 2):
            for m in range(k):
                gram[k, m] = gram[m, k]
