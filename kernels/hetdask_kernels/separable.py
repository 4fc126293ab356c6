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
def _write_sums(sums, row):  # type: ignore[no-untyped-def]
    s0, s1, s2, s11, s12, s22, same, s3, s13, s23, s33 = sums
    row[0], row[1], row[2], row[3], row[4] = s0, s1, s2, s3.real, s3.imag
    row[5], row[6], row[7] = s11, s12, s22
    row[8], row[9], row[10], row[11] = s13.real, s13.imag, s23.real, s23.imag
    row[12], row[13], row[14] = 0.5 * (same + s33.real), 0.5 * (same - s33.real), 0.5 * s33.imag


@njit(**PART)
def _carry_sums(sums, frame, between, step, amplitude, keep):  # type: ignore[no-untyped-def]
    """Running sums at the next frame: those at its neighbour `frame`, and what that adds; `between` has the decay."""
    s0, s1, s2, s11, s12, s22, same, s3, s13, s23, s33 = sums
    a, b, c = step[between, 0], step[between, 1], step[between, 2] + 1j * step[between, 3]
    one = keep[frame]
    w1, w2, w3 = one * amplitude[frame, 0], one * amplitude[frame, 1], one * amplitude[frame, 2]
    return (
        s0 + one,
        a * (s1 + w1),
        b * (s2 + w2),
        a * a * (s11 + w1 * w1),
        a * b * (s12 + w1 * w2),
        b * b * (s22 + w2 * w2),
        a * b * (same + w3 * w3),
        c * (s3 + w3),
        a * c * (s13 + w1 * w3),
        b * c * (s23 + w2 * w3),
        c * c * (s33 + w3 * w3),
    )


@njit(**PART)
def _running_sums(step, amplitude, keep, early, late):  # type: ignore[no-untyped-def]
    """Write Σ(1, y) and Σ y yᵀ over earlier frames to `early` (N, 15), and over later ones to `late` if it has rows.

    Columns: 1, y1, y2, yc, ys; then 11, 12, 22, 1c, 1s, 2c, 2s, cc, ss, cs. Neither sum waits for the other.
    """
    n, backward = step.shape[0], late.shape[0] > 0
    before = after = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0j, 0j, 0j, 0j)
    _write_sums(before, early[0])
    if backward:
        _write_sums(after, late[n - 1])
    for j in range(1, n):
        before = _carry_sums(before, j - 1, j, step, amplitude, keep)
        _write_sums(before, early[j])
        if backward:
            after = _carry_sums(after, n - j, n - j, step, amplitude, keep)
            _write_sums(after, late[n - 1 - j])


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
    _running_sums(step, amplitude, keep, early, late)
    _group_sums(amplitude, keep, early, late, linear, pairs)


_EACH: Final = 4 * LANES
_GROUP: Final = LANES // 4
_REFERENCE, _SAMPLE, _FLOW, _COMPOSITION = 0, 9 * _GROUP, 18 * _GROUP, 25 * _GROUP
_BEFORE: Final = 40 * _GROUP
_EDGE: Final = _BEFORE + LANES
_WORK: Final = _EDGE + 2 * LANES
"""Products of a frame with the groups, lanes of a group, and offsets in the working array of `_cross`: the sums that
each group needs, gains of the frame before, sums of D and g·D."""


@njit(fastmath=REORDER, **PART)
def _carry(work, at, decay, new):  # type: ignore[no-untyped-def]
    """Add to a sum, take it on to the next frame, and return it."""
    work[at] = value = decay * (work[at] + new)
    return value


@njit(fastmath=REORDER, **PART)
def _turn(work, at, re, im, new):  # type: ignore[no-untyped-def]
    """The same for a complex sum, whose imaginary part is `_GROUP` further, and a real addend."""
    x, y = work[at] + new, work[at + _GROUP]
    work[at], work[at + _GROUP] = value = re * x - im * y, re * y + im * x
    return value


@njit(fastmath=REORDER, **PART)
def _component(work, at, e, own, other, shared, w, half):  # type: ignore[no-untyped-def]
    """Sums of reference or sample, contracted with the amplitudes at the later frame.

    Decays and addends of its `own` term, its cross term with itself and with the `other` component, and what both have.
    """
    decay, new, re, im, mixed = own
    s = _carry(work, at, decay, e * new)
    c, si = _turn(work, at + _GROUP, re, im, e * mixed)
    re, im, mixed = other
    other_c, _ = _turn(work, at + 3 * _GROUP, re, im, e * mixed)
    decay, new, re, im, cross = shared
    s12 = _carry(work, at + 5 * _GROUP, decay, e * new)
    same = _carry(work, at + 6 * _GROUP, decay, e * cross)
    twice, turned = _turn(work, at + 7 * _GROUP, re, im, e * cross)
    return w * s + half * c, w * s12 + half * other_c, w * c + half * (same + twice), w * si + half * turned


@njit(fastmath=REORDER, **PART)
def _flow(work, at, e, ref, sample, shared, w3):  # type: ignore[no-untyped-def]
    """The same for the flow."""
    re, im, mixed = ref
    _, si1 = _turn(work, at, re, im, e * mixed)
    re, im, mixed = sample
    _, si2 = _turn(work, at + 2 * _GROUP, re, im, e * mixed)
    decay, _, re, im, cross = shared
    same = _carry(work, at + 4 * _GROUP, decay, e * cross)
    twice, turned = _turn(work, at + 5 * _GROUP, re, im, e * cross)
    return w3 * si1, w3 * si2, w3 * turned, w3 * (same - twice)


@njit(fastmath=REORDER, **PART)
def _composition(work, at, e, bent, u, decays, ref, sample, shared, w):  # type: ignore[no-untyped-def]
    """The same for the composition, where the earlier side of y yᵀ has the amplitudes' derivatives: not symmetric."""
    e1, e2, e3 = e * bent[0], e * bent[1], e * bent[2]
    u1, u2, u3 = u
    w1, w2, w3 = w
    aa, ab, bb = decays
    s11, s12 = _carry(work, at, aa, e1 * u1), _carry(work, at + _GROUP, ab, e1 * u2)
    s21, s22 = _carry(work, at + 2 * _GROUP, ab, e2 * u1), _carry(work, at + 3 * _GROUP, bb, e2 * u2)
    s1c, s1s = _turn(work, at + 4 * _GROUP, ref[0], ref[1], e1 * u3)
    sc1, _ = _turn(work, at + 6 * _GROUP, ref[0], ref[1], e3 * u1)
    s2c, s2s = _turn(work, at + 8 * _GROUP, sample[0], sample[1], e2 * u3)
    sc2, _ = _turn(work, at + 10 * _GROUP, sample[0], sample[1], e3 * u2)
    same = _carry(work, at + 12 * _GROUP, ab, e3 * (0.5 * u3))
    twice, turned = _turn(work, at + 13 * _GROUP, shared[2], shared[3], e3 * (0.5 * u3))
    return (
        w1 * s11 + w2 * s21 + w3 * sc1,
        w1 * s12 + w2 * s22 + w3 * sc2,
        w1 * s1c + w2 * s2c + w3 * (same + twice),
        w1 * s1s + w2 * s2s + w3 * turned,
    )


@njit(fastmath=REORDER, **PART)
def _multiply(work, lane, here, z, w, h, plain, with_model, with_groups, products):  # type: ignore[no-untyped-def]
    """Write the products of a lane with the groups, from its contracted sums and its gain here."""
    z1, z2, zc, zs = z
    work[_BEFORE + lane] = here
    work[_EDGE + lane] += here * plain
    work[_EDGE + LANES + lane] += here * with_model
    products[lane] = here * with_groups[0] - w[0] * z1 - 0.5 * w[2] * zc
    products[LANES + lane] = here * with_groups[1] - w[1] * z2 - 0.5 * w[2] * zc
    products[2 * LANES + lane] = here * with_groups[2] - w[2] * zs
    products[3 * LANES + lane] = here * with_groups[3] + h[0] * z1 + h[1] * z2 + h[2] * zc


@njit(fastmath=REORDER, **PART)
def _take_frame(j, step, amplitude, keep, gain, linear, pairs, lanes, work, products):  # type: ignore[no-untyped-def]
    """Carry the sums of `_cross` on to frame j, and write the products of each lane with the groups, (4·LANES,)."""
    i = max(j - 1, 0)
    a, b, re, im = step[j, 0], step[j, 1], step[j, 2], step[j, 3]
    one = keep[i] if j > 0 else 0.0
    u = (amplitude[i, 0], amplitude[i, 1], amplitude[i, 2])
    bent = (one * amplitude[i, 3], one * amplitude[i, 4], one * amplitude[i, 5])
    o1, o2, o3 = one * u[0], one * u[1], one * u[2]
    w, h = (amplitude[j, 0], amplitude[j, 1], amplitude[j, 2]), (amplitude[j, 3], amplitude[j, 4], amplitude[j, 5])
    half = 0.5 * w[2]
    ref, sample = (a * re, a * im, o1 * u[2]), (b * re, b * im, o2 * u[2])
    decays = (a * a, a * b, b * b)
    shared = (a * b, o1 * u[1], re * re - im * im, 2.0 * re * im, 0.5 * o3 * u[2])
    row = gain[j]
    # Loaded before the loops: the compiler can't know that what these write does not change them.
    l0, l1, l2, l3 = linear[j, 0], linear[j, 1], linear[j, 2], linear[j, 3]
    l4, l5, l6, l7 = linear[j, 4], linear[j, 5], linear[j, 6], linear[j, 7]
    q0, q1, q2, q3, q5 = pairs[j, 0], pairs[j, 1], pairs[j, 2], pairs[j, 3], pairs[j, 5]
    q6, q7, q10, q11, q15 = pairs[j, 6], pairs[j, 7], pairs[j, 10], pairs[j, 11], pairs[j, 15]
    own_ref, own_sample = (a * a, o1 * u[0], *ref), (b * b, o2 * u[1], *sample)
    groups = (q0, q1, q2, q3), (q1, q5, q6, q7), (q2, q6, q10, q11), (q3, q7, q11, q15)
    for k in range(lanes):
        z = _component(work, _REFERENCE + k, work[_BEFORE + k], own_ref, sample, shared, w[0], half)
        _multiply(work, k, row[k], z, w, h, l0, l4, groups[0], products)
    for c in range(lanes):
        k = _GROUP + c
        own, other, zc, zs = _component(work, _SAMPLE + c, work[_BEFORE + k], own_sample, ref, shared, w[1], half)
        _multiply(work, k, row[k], (other, own, zc, zs), w, h, l1, l5, groups[1], products)
    for c in range(lanes):
        k = 2 * _GROUP + c
        z = _flow(work, _FLOW + c, work[_BEFORE + k], ref, sample, shared, w[2])
        _multiply(work, k, row[k], z, w, h, l2, l6, groups[2], products)
    for c in range(lanes):
        k = 3 * _GROUP + c
        z = _composition(work, _COMPOSITION + c, work[_BEFORE + k], bent, u, decays, ref, sample, shared, w)
        _multiply(work, k, row[k], z, w, h, l3, l7, groups[3], products)


@njit(fastmath=REORDER, **PART)
def _cross(step, amplitude, keep, gain, linear, pairs, lanes, work, half_gram):  # type: ignore[no-untyped-def]
    """Add half of Σ D_k D_l to `half_gram` (16, 16), such that half + halfᵀ is the whole; ΣD and Σg·D go to `work`.

    The gains of the earlier frames, times y yᵀ, run through the same recurrences as in `_running_sums`. Each group has
    those of the sums that its function needs: of the flow no more than products with the cross term; of the composition
    all 15, since y yᵀ is not symmetric there.

    What the lanes write lies in flat arrays at constant offsets, and their number in a group comes in as an argument:
    the compiler then vectorises the loops over the lanes, and does not if it can't tell arrays apart or unrolls them
    first.
    """
    work[:] = 0.0
    products = np.empty(BATCH * _EACH)
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
            for k in range(4 * lanes):
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
            # An expression, not `_GROUP`: with a constant the compiler unrolls the loops over lanes, at twice the time.
            _cross(step[angle], amplitude, keep[angle], gain, linear, pairs, LANES // 4, work, half)
            for k in range(LANES):
                gram[0, 2 + k], gram[1, 2 + k] = work[_EDGE + k], work[_EDGE + LANES + k]
                for m in range(k, LANES):
                    gram[2 + k, 2 + m] = half[k, m] + half[m, k]
        else:
            _running_sums(step[angle], amplitude, keep[angle], early, late)
        _values(amplitude, keep[angle], early, gram)
        for k in range(LANES + 2 if derivatives else 2):
            for m in range(k):
                gram[k, m] = gram[m, k]
