"""Sums of the model over all pairs of frames by O(N) recurrences, without data.

The model and its derivatives are sums of separable terms, and `hetdask_kernels.frame_sums` adds up their products.
A derivative is D_k(i, j) = u_k(i)·G_g(i, j) ± u_k(j)·G'_g(i, j): a gain u_k of each frame times one of four
functions that all parameters of a group g share (see `GROUPS`). With y = (w1 E1, w2 E2, w3 Re E3, w3 Im E3) each G
is a linear form b_g·y, so all products of two derivatives follow from the sums of y yᵀ, plain and weighted with
each gain. See `docs/speed.md`, "Sums without data".

What is carried from frame to frame is computed for the lanes of a group side by side. The Gram matrix takes the frames
of a chunk at once, while its rows are in registers.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

from hetdask_kernels._jit import JIT, LANES, PART, REORDER
from hetdask_kernels.frame_sums import (
    CHUNK,
    FRAME_WORK,
    H1,
    H2,
    H3,
    HALF,
    IM,
    KEEP,
    LINEAR,
    MOMENTS,
    PAIRS,
    RE,
    W1,
    W2,
    W3,
    A,
    B,
    carry_moments,
    group_sums,
    moments_of,
    read_chunk,
    running_sums,
    values_of,
)
from hetdask_kernels.vectors import load_octet, load_quad, store

_AA, _AB, _BB, _A_RE, _A_IM, _B_RE, _B_IM, _C_RE, _C_IM = range(FRAME_WORK, FRAME_WORK + 9 * CHUNK, CHUNK)
"""Rows of `work` as in `hetdask_kernels.frame_sums`, here the decays of products of two terms."""

_N11, _N12, _N22, _N1C, _N2C, _NCC = range(_C_IM + CHUNK, _C_IM + 7 * CHUNK, CHUNK)
_T11, _T12, _T21, _T22, _T1C, _TC1, _T2C, _TC2, _TCC = range(_NCC + CHUNK, _NCC + 10 * CHUNK, CHUNK)
"""What a frame adds to the sums of these; and of those whose first term has the amplitudes' derivatives."""

_GROUP: Final = LANES // 4
_REFERENCE: Final = _TCC + CHUNK
_SAMPLE, _FLOW, _COMPOSITION = _REFERENCE + 9 * _GROUP, _REFERENCE + 18 * _GROUP, _REFERENCE + 25 * _GROUP
"""The sums that each group needs, one for each of its lanes."""

_OF_REFERENCE: Final = (_REFERENCE, W1, _AA, _N11, _A_RE, _A_IM, _N1C)
_OF_SAMPLE: Final = (_SAMPLE, W2, _BB, _N22, _B_RE, _B_IM, _N2C)
"""Where a component has its sums; its amplitude, decay and addend; decay and addend of its product with the cross
term."""

_EDGE: Final = _REFERENCE + 40 * _GROUP
_VALUES: Final = _EDGE + 2 * LANES
_KEPT: Final = _VALUES + 3 * CHUNK
_PRODUCTS: Final = _KEPT + CHUNK * LANES
_HALF_GRAM: Final = _PRODUCTS + 4 * CHUNK * LANES
_WORK: Final = _HALF_GRAM + LANES**2
"""Sums of D and g·D; of 1, g and g²; gains of the frames that are data; products of each frame with the groups, and
half of the Gram matrix."""


@njit(fastmath=REORDER, **PART)
def _values(step, amplitude, keep, gram):  # type: ignore[no-untyped-def]
    """Write the sums of 1, g and g² alone."""
    ones = first = second = 0.0
    five = 0.0, 0.0, 0.0, 0.0, 0.0
    sums = five + five + five
    for j in range(step.shape[0]):
        s0, s1, s2, sc, ss, s11, s12, s22, s1c, s1s, s2c, s2s, same, twice, turned = sums
        one, w1, w2, w3 = keep[j], amplitude[j, 0], amplitude[j, 1], amplitude[j, 2]
        cross = 0.5 * (same + twice), 0.5 * (same - twice), 0.5 * turned
        value, square = values_of(w1, w2, w3, (s1, s2, sc, ss, s11, s12, s22, s1c, s1s, s2c, s2s, *cross))
        ones, first, second = ones + one * s0, first + one * value, second + one * square
        k = min(j + 1, step.shape[0] - 1)
        sums = carry_moments(sums, (step[k, 0], step[k, 1], step[k, 2], step[k, 3]), one, (w1, w2, w3))
    gram[0, 0], gram[0, 1], gram[1, 0], gram[1, 1] = ones, first, first, second


@njit(**PART)
def _add_values(chunk, early, work):  # type: ignore[no-untyped-def]
    """Add to the sums of 1, g and g² over the frames of a chunk and all earlier ones."""
    at = chunk * MOMENTS
    keep, w1, w2, w3 = load_octet(work, KEEP), load_octet(work, W1), load_octet(work, W2), load_octet(work, W3)
    value, square = values_of(w1, w2, w3, moments_of(early, at))
    store(load_octet(work, _VALUES) + keep * load_octet(early, at), work, _VALUES)
    store(load_octet(work, _VALUES + CHUNK) + keep * value, work, _VALUES + CHUNK)
    store(load_octet(work, _VALUES + 2 * CHUNK) + keep * square, work, _VALUES + 2 * CHUNK)


@njit(**PART)
def _multiply_terms(work):  # type: ignore[no-untyped-def]
    """Write decays of products of two terms, and what each frame of a chunk adds to their sums."""
    a, b, re, im = load_octet(work, A), load_octet(work, B), load_octet(work, RE), load_octet(work, IM)
    store(a * a, work, _AA)
    store(a * b, work, _AB)
    store(b * b, work, _BB)
    store(a * re, work, _A_RE)
    store(a * im, work, _A_IM)
    store(b * re, work, _B_RE)
    store(b * im, work, _B_IM)
    store(re * re - im * im, work, _C_RE)
    store(2.0 * (re * im), work, _C_IM)
    one, w1, w2, w3 = load_octet(work, KEEP), load_octet(work, W1), load_octet(work, W2), load_octet(work, W3)
    half = load_octet(work, HALF)
    u1, u2 = one * w1, one * w2
    store(u1 * w1, work, _N11)
    store(u1 * w2, work, _N12)
    store(u2 * w2, work, _N22)
    store(u1 * w3, work, _N1C)
    store(u2 * w3, work, _N2C)
    store(one * (w3 * half), work, _NCC)
    h1, h2, h3 = one * load_octet(work, H1), one * load_octet(work, H2), one * load_octet(work, H3)
    store(h1 * w1, work, _T11)
    store(h1 * w2, work, _T12)
    store(h2 * w1, work, _T21)
    store(h2 * w2, work, _T22)
    store(h1 * w3, work, _T1C)
    store(h3 * w1, work, _TC1)
    store(h2 * w3, work, _T2C)
    store(h3 * w2, work, _TC2)
    store(h3 * half, work, _TCC)


@njit(**PART)
def _carry(work, at, decay, new):  # type: ignore[no-untyped-def]
    """Carry a sum on to a frame and return it, then add what the frame does."""
    value = load_quad(work, at) * decay
    store(value + new, work, at)
    return value


@njit(**PART)
def _turn(work, at, re, im, new):  # type: ignore[no-untyped-def]
    """The same for a complex sum, whose imaginary part is `_GROUP` further, and a real addend."""
    x, y = load_quad(work, at), load_quad(work, at + _GROUP)
    x, y = re * x - im * y, re * y + im * x
    store(x + new, work, at)
    store(y, work, at + _GROUP)
    return x, y


@njit(**PART)
def _component(work, b, gain, own, other):  # type: ignore[no-untyped-def]
    """Sums of reference or sample, contracted with the amplitudes at frame b of a chunk.

    `own` is its row of `_OF_REFERENCE` and `_OF_SAMPLE`, `other` that of the other component.
    """
    at, w, decay, new, re, im, mixed = own
    w, half, ab, cross = work[w + b], work[HALF + b], work[_AB + b], gain * work[_NCC + b]
    s = _carry(work, at, work[decay + b], gain * work[new + b])
    c, si = _turn(work, at + _GROUP, work[re + b], work[im + b], gain * work[mixed + b])
    _, _, _, _, re, im, mixed = other
    other_c, _ = _turn(work, at + 3 * _GROUP, work[re + b], work[im + b], gain * work[mixed + b])
    s12 = _carry(work, at + 5 * _GROUP, ab, gain * work[_N12 + b])
    same = _carry(work, at + 6 * _GROUP, ab, cross)
    twice, turned = _turn(work, at + 7 * _GROUP, work[_C_RE + b], work[_C_IM + b], cross)
    return w * s + half * c, w * s12 + half * other_c, w * c + half * (same + twice), w * si + half * turned


@njit(**PART)
def _flow(work, b, gain):  # type: ignore[no-untyped-def]
    """The same for the flow."""
    at, w3, cross = _FLOW, work[W3 + b], gain * work[_NCC + b]
    _, si1 = _turn(work, at, work[_A_RE + b], work[_A_IM + b], gain * work[_N1C + b])
    _, si2 = _turn(work, at + 2 * _GROUP, work[_B_RE + b], work[_B_IM + b], gain * work[_N2C + b])
    same = _carry(work, at + 4 * _GROUP, work[_AB + b], cross)
    twice, turned = _turn(work, at + 5 * _GROUP, work[_C_RE + b], work[_C_IM + b], cross)
    return w3 * si1, w3 * si2, w3 * turned, w3 * (same - twice)


@njit(**PART)
def _composition(work, b, gain):  # type: ignore[no-untyped-def]
    """The same for the composition, where the earlier side of y yᵀ has the amplitudes' derivatives: not symmetric."""
    w1, w2, w3 = work[W1 + b], work[W2 + b], work[W3 + b]
    at, ab, cross = _COMPOSITION, work[_AB + b], gain * work[_TCC + b]
    s11 = _carry(work, at, work[_AA + b], gain * work[_T11 + b])
    s12 = _carry(work, at + _GROUP, ab, gain * work[_T12 + b])
    s21 = _carry(work, at + 2 * _GROUP, ab, gain * work[_T21 + b])
    s22 = _carry(work, at + 3 * _GROUP, work[_BB + b], gain * work[_T22 + b])
    re, im = work[_A_RE + b], work[_A_IM + b]
    s1c, s1s = _turn(work, at + 4 * _GROUP, re, im, gain * work[_T1C + b])
    sc1, _ = _turn(work, at + 6 * _GROUP, re, im, gain * work[_TC1 + b])
    re, im = work[_B_RE + b], work[_B_IM + b]
    s2c, s2s = _turn(work, at + 8 * _GROUP, re, im, gain * work[_T2C + b])
    sc2, _ = _turn(work, at + 10 * _GROUP, re, im, gain * work[_TC2 + b])
    same = _carry(work, at + 12 * _GROUP, ab, cross)
    twice, turned = _turn(work, at + 13 * _GROUP, work[_C_RE + b], work[_C_IM + b], cross)
    return (
        w1 * s11 + w2 * s21 + w3 * sc1,
        w1 * s12 + w2 * s22 + w3 * sc2,
        w1 * s1c + w2 * s2c + w3 * (same + twice),
        w1 * s1s + w2 * s2s + w3 * turned,
    )


@njit(**PART)
def _multiply(work, b, group, gain, z):  # type: ignore[no-untyped-def]
    """Write the products of a group's lanes with all groups at frame b, from their contracted sums and gains."""
    z1, z2, zc, zs = z
    lane, pairs = _GROUP * group, PAIRS + 4 * CHUNK * group + b
    store(gain * work[KEEP + b], work, _KEPT + LANES * b + lane)
    for edge in range(2):
        at = _EDGE + LANES * edge + lane
        store(load_quad(work, at) + gain * work[LINEAR + CHUNK * (4 * edge + group) + b], work, at)
    at = _PRODUCTS + 4 * LANES * b + lane
    half = work[HALF + b] * zc
    store(gain * work[pairs] - work[W1 + b] * z1 - half, work, at)
    store(gain * work[pairs + CHUNK] - work[W2 + b] * z2 - half, work, at + LANES)
    store(gain * work[pairs + 2 * CHUNK] - work[W3 + b] * zs, work, at + 2 * LANES)
    mixed = work[H1 + b] * z1 + work[H2 + b] * z2 + work[H3 + b] * zc
    store(gain * work[pairs + 3 * CHUNK] + mixed, work, at + 3 * LANES)


@njit(**PART)
def _take_frame(work, b, gain):  # type: ignore[no-untyped-def]
    """Carry the sums of all lanes on to frame b of a chunk, of the given gains (LANES,), and write their products."""
    lanes = load_quad(gain, 0)
    z = _component(work, b, lanes, _OF_REFERENCE, _OF_SAMPLE)
    _multiply(work, b, 0, lanes, z)
    lanes = load_quad(gain, _GROUP)
    z2, z1, zc, zs = _component(work, b, lanes, _OF_SAMPLE, _OF_REFERENCE)
    _multiply(work, b, 1, lanes, (z1, z2, zc, zs))
    lanes = load_quad(gain, 2 * _GROUP)
    _multiply(work, b, 2, lanes, _flow(work, b, lanes))
    lanes = load_quad(gain, 3 * _GROUP)
    _multiply(work, b, 3, lanes, _composition(work, b, lanes))


@njit(**PART)
def _add_products(work):  # type: ignore[no-untyped-def]
    """Add the products of a chunk's frames with the groups, times the gains of these, to half of the Gram matrix."""
    for part in range(8):
        group, side = part // 2, CHUNK * (part % 2)
        at = _HALF_GRAM + LANES * _GROUP * group + side
        row0, row1 = load_octet(work, at), load_octet(work, at + LANES)
        row2, row3 = load_octet(work, at + 2 * LANES), load_octet(work, at + 3 * LANES)
        for b in range(CHUNK):
            u, y = _KEPT + LANES * b + _GROUP * group, load_octet(work, _PRODUCTS + LANES * (4 * b + group) + side)
            row0, row1 = row0 + work[u] * y, row1 + work[u + 1] * y
            row2, row3 = row2 + work[u + 2] * y, row3 + work[u + 3] * y
        store(row0, work, at)
        store(row1, work, at + LANES)
        store(row2, work, at + 2 * LANES)
        store(row3, work, at + 3 * LANES)


@njit(**PART)
def _write_gram(work, gram):  # type: ignore[no-untyped-def]
    """Write what has been summed to a Gram matrix."""
    for value in range(3):
        k, m = value // 2, (value + 1) // 2
        total = 0.0
        for b in range(CHUNK):
            total += work[_VALUES + CHUNK * value + b]
        gram[k, m] = gram[m, k] = total
    for k in range(LANES):
        for edge in range(2):
            gram[edge, 2 + k] = gram[2 + k, edge] = work[_EDGE + LANES * edge + k]
        for m in range(LANES):
            gram[2 + k, 2 + m] = work[_HALF_GRAM + LANES * k + m] + work[_HALF_GRAM + LANES * m + k]


@njit(**JIT)
def model_grams(step, amplitude, keep, gain, which, grams):  # type: ignore[no-untyped-def]
    """Write the Gram matrices of (1, g, D) of some angles over all pairs of frames i < j, one derivative in each lane.

    Parameters
    ----------
    step : (M, N, 4) float64
        Decay from the frame before: reference, sample, real and imaginary part of the cross term. N is a multiple of
        `CHUNK`.
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
    if gain.shape[0] == 0:
        for angle in which:
            _values(step[angle], amplitude, keep[angle], grams[angle])
        return
    chunks = amplitude.shape[0] // CHUNK
    # A number that the compiler does not know: else it would unroll the loop over frames, too long for the caches.
    frames = amplitude.shape[0] // chunks
    early, late, work = np.empty(chunks * MOMENTS), np.empty(chunks * MOMENTS), np.empty(_WORK)
    for angle in which:
        for k in range(_WORK):
            work[k] = 0.0
        running_sums(step[angle], amplitude, keep[angle], early, late)
        for chunk in range(chunks):
            read_chunk(chunk, step[angle], amplitude, keep[angle], work)
            _add_values(chunk, early, work)
            group_sums(chunk, early, late, work)
            _multiply_terms(work)
            # Those of the chunk before: what has just been written has to wait before it is read.
            _add_products(work)
            for b in range(frames):
                _take_frame(work, b, gain[CHUNK * chunk + b])
        _add_products(work)
        _write_gram(work, grams[angle])
