"""Sums of the model over the pairs of each frame with all others, by O(N) recurrences.

Every term of the model separates and decays from frame to frame by a number of modulus at most 1, so the recurrence
S(j) = step(j)·(S(j-1) + w(j-1)) adds up any product of two of them over all i < j. See `docs/speed.md`, "Sums without
data".

Frames are taken `CHUNK` at a time, and what needs no recurrence is computed for all of them side by side. What belongs
to a chunk stands in one array, `work`, in rows of `CHUNK` numbers: the compiler can tell parts of one array apart.
"""

from __future__ import annotations

from typing import Final

from numba import njit

from hetdask_kernels._jit import PART, REORDER
from hetdask_kernels.vectors import first_of, load_octet, pair, second_of, store

CHUNK: Final = 8
MOMENTS: Final = 15 * CHUNK
"""Frames of a chunk, and numbers of a chunk in the arrays of `running_sums`."""

A, B, RE, IM, KEEP, W1, W2, W3, H1, H2, H3, HALF = range(0, 12 * CHUNK, CHUNK)
"""Rows of `work`: decays from the frame before, whether a frame is data, its amplitudes, and half of the third."""

LINEAR: Final = HALF + CHUNK
PAIRS: Final = LINEAR + 8 * CHUNK
"""Sums of G_g, of G_g·g and of ½ G_g·G_h over the pairs of a frame with all others: 4, 4 and 4 × 4 rows."""

FRAME_WORK: Final = PAIRS + 16 * CHUNK
"""Length of `work`."""


@njit(fastmath=REORDER, **PART)
def carry_moments(sums, step, one, amplitudes):  # type: ignore[no-untyped-def]
    """Running sums at the next frame: those at its neighbour, and what that adds; `step` has the decay between."""
    s0, s1, s2, sc, ss, s11, s12, s22, s1c, s1s, s2c, s2s, same, twice, turned = sums
    a, b, re, im = step
    w1, w2, w3 = one * amplitudes[0], one * amplitudes[1], one * amplitudes[2]
    a_re, a_im, b_re, b_im = a * re, a * im, b * re, b * im
    c_re, c_im = re * re - im * im, 2.0 * (re * im)
    sc, s1c, s2c, twice = sc + w3, s1c + w1 * w3, s2c + w2 * w3, twice + w3 * w3
    return (
        s0 + one,
        a * (s1 + w1),
        b * (s2 + w2),
        re * sc - im * ss,
        re * ss + im * sc,
        a * a * (s11 + w1 * w1),
        a * b * (s12 + w1 * w2),
        b * b * (s22 + w2 * w2),
        a_re * s1c - a_im * s1s,
        a_re * s1s + a_im * s1c,
        b_re * s2c - b_im * s2s,
        b_re * s2s + b_im * s2c,
        a * b * (same + w3 * w3),
        c_re * twice - c_im * turned,
        c_re * turned + c_im * twice,
    )


@njit(**PART)
def _write_moments(part, sums, values, frame):  # type: ignore[no-untyped-def]
    """Write one part of pairs of running sums, for one frame."""
    s0, s1, s2, sc, ss, s11, s12, s22, s1c, s1s, s2c, s2s, same, twice, turned = sums
    at = frame // CHUNK * MOMENTS + frame % CHUNK
    values[at], values[at + CHUNK], values[at + 2 * CHUNK] = part(s0), part(s1), part(s2)
    values[at + 3 * CHUNK], values[at + 4 * CHUNK] = part(sc), part(ss)
    values[at + 5 * CHUNK], values[at + 6 * CHUNK], values[at + 7 * CHUNK] = part(s11), part(s12), part(s22)
    values[at + 8 * CHUNK], values[at + 9 * CHUNK] = part(s1c), part(s1s)
    values[at + 10 * CHUNK], values[at + 11 * CHUNK] = part(s2c), part(s2s)
    values[at + 12 * CHUNK] = 0.5 * (part(same) + part(twice))
    values[at + 13 * CHUNK] = 0.5 * (part(same) - part(twice))
    values[at + 14 * CHUNK] = 0.5 * part(turned)


@njit(**PART)
def running_sums(step, amplitude, keep, early, late):  # type: ignore[no-untyped-def]
    """Write Σ(1, y) and Σ y yᵀ over earlier frames to `early`, and over later ones to `late`.

    Both have `MOMENTS` numbers for a chunk of frames, `CHUNK` for each of 1, y1, y2, yc, ys; 11, 12, 22, 1c, 1s, 2c,
    2s, cc, ss, cs. Both sums are carried side by side.
    """
    last = step.shape[0] - 1
    nothing = pair(0.0, 0.0)
    five = nothing, nothing, nothing, nothing, nothing
    sums = five + five + five
    for j in range(last + 1):
        k = last - j
        _write_moments(first_of, sums, early, j)
        _write_moments(second_of, sums, late, k)
        # Decays lead from frame j to the next one, and from frame k to the one before.
        ahead, x, y = min(j + 1, last), amplitude[j], amplitude[k]
        a, b = pair(step[ahead, 0], step[k, 0]), pair(step[ahead, 1], step[k, 1])
        re, im = pair(step[ahead, 2], step[k, 2]), pair(step[ahead, 3], step[k, 3])
        amplitudes = pair(x[0], y[0]), pair(x[1], y[1]), pair(x[2], y[2])
        sums = carry_moments(sums, (a, b, re, im), pair(keep[j], keep[k]), amplitudes)


@njit(**PART)
def read_chunk(chunk, step, amplitude, keep, work):  # type: ignore[no-untyped-def]
    """Copy what belongs to the frames of a chunk to `work`; beyond the last frame that one is repeated."""
    last = step.shape[0] - 1
    for b in range(CHUNK):
        j = min(CHUNK * chunk + b, last)
        work[A + b], work[B + b], work[RE + b], work[IM + b] = step[j, 0], step[j, 1], step[j, 2], step[j, 3]
        work[KEEP + b] = keep[j]
        work[W1 + b], work[W2 + b], work[W3 + b] = amplitude[j, 0], amplitude[j, 1], amplitude[j, 2]
        work[H1 + b], work[H2 + b], work[H3 + b] = amplitude[j, 3], amplitude[j, 4], amplitude[j, 5]
        work[HALF + b] = 0.5 * amplitude[j, 2]


@njit(**PART)
def moments_of(values, at):  # type: ignore[no-untyped-def]
    """Running sums of a chunk, see `running_sums`, without the first."""
    return (
        load_octet(values, at + CHUNK), load_octet(values, at + 2 * CHUNK), load_octet(values, at + 3 * CHUNK),
        load_octet(values, at + 4 * CHUNK), load_octet(values, at + 5 * CHUNK), load_octet(values, at + 6 * CHUNK),
        load_octet(values, at + 7 * CHUNK), load_octet(values, at + 8 * CHUNK), load_octet(values, at + 9 * CHUNK),
        load_octet(values, at + 10 * CHUNK), load_octet(values, at + 11 * CHUNK), load_octet(values, at + 12 * CHUNK),
        load_octet(values, at + 13 * CHUNK), load_octet(values, at + 14 * CHUNK),
    )  # fmt: skip


@njit(fastmath=REORDER, **PART)
def values_of(w1, w2, w3, moments):  # type: ignore[no-untyped-def]
    """Sums of g and g² over the pairs of frames with those that the moments are of."""
    s1, s2, sc, _, s11, s12, s22, s1c, _, s2c, _, scc, _, _ = moments
    square = w1 * (w1 * s11 + 2.0 * (w2 * s12 + w3 * s1c)) + w2 * (w2 * s22 + 2.0 * (w3 * s2c)) + w3 * w3 * scc
    return w1 * s1 + w2 * s2 + w3 * sc, square


@njit(**PART)
def group_sums(chunk, early, late, work):  # type: ignore[no-untyped-def]
    """Write the sums of G_g, G_g·g and ½ G_g·G_h over the pairs of each frame of a chunk with all others to `work`.

    The signs are those of the derivatives: earlier frames count negative for reference, sample and flow.
    """
    at = chunk * MOMENTS
    one, w1, w2, w3 = load_octet(work, KEEP), load_octet(work, W1), load_octet(work, W2), load_octet(work, W3)
    h1, h2, h3, half = load_octet(work, H1), load_octet(work, H2), load_octet(work, H3), load_octet(work, HALF)
    a1, a2, ac, a_s, a11, a12, a22, a1c, a1s, a2c, a2s, acc, ass, acs = moments_of(early, at)
    b1, b2, bc, b_s, b11, b12, b22, b1c, b1s, b2c, b2s, bcc, bss, bcs = moments_of(late, at)
    dc = half * (bc - ac)
    store(one * (w1 * (b1 - a1) + dc), work, LINEAR)
    store(one * (w2 * (b2 - a2) + dc), work, LINEAR + CHUNK)
    store(one * (w3 * (b_s - a_s)), work, LINEAR + 2 * CHUNK)
    store(one * (h1 * (b1 + a1) + h2 * (b2 + a2) + h3 * (bc + ac)), work, LINEAR + 3 * CHUNK)
    # Differences of the second moments, contracted with the amplitudes (w1, w2, w3, 0) of the model ...
    m11, m12, m22, m1c, m1s = b11 - a11, b12 - a12, b22 - a22, b1c - a1c, b1s - a1s
    m2c, m2s, mcc, mcs = b2c - a2c, b2s - a2s, bcc - acc, bcs - acs
    zc = half * (w1 * m1c + w2 * m2c + w3 * mcc)
    store(one * (w1 * (w1 * m11 + w2 * m12 + w3 * m1c) + zc), work, LINEAR + 4 * CHUNK)
    store(one * (w2 * (w1 * m12 + w2 * m22 + w3 * m2c) + zc), work, LINEAR + 5 * CHUNK)
    store(one * (w3 * (w1 * m1s + w2 * m2s + w3 * mcs)), work, LINEAR + 6 * CHUNK)
    # ... and with those of the composition, (h1, h2, h3, 0).
    zc = half * (h1 * m1c + h2 * m2c + h3 * mcc)
    two = 0.5 * one
    value = two * (w1 * (h1 * m11 + h2 * m12 + h3 * m1c) + zc)
    store(value, work, PAIRS + 3 * CHUNK)
    store(value, work, PAIRS + 12 * CHUNK)
    value = two * (w2 * (h1 * m12 + h2 * m22 + h3 * m2c) + zc)
    store(value, work, PAIRS + 7 * CHUNK)
    store(value, work, PAIRS + 13 * CHUNK)
    value = two * (w3 * (h1 * m1s + h2 * m2s + h3 * mcs))
    store(value, work, PAIRS + 11 * CHUNK)
    store(value, work, PAIRS + 14 * CHUNK)
    # Sums of the second moments, for groups of equal sign.
    p11, p12, p22, p1c, p1s = b11 + a11, b12 + a12, b22 + a22, b1c + a1c, b1s + a1s
    p2c, p2s, pcc, pss, pcs = b2c + a2c, b2s + a2s, bcc + acc, bss + ass, bcs + acs
    z1, z2 = h1 * p11 + h2 * p12 + h3 * p1c, h1 * p12 + h2 * p22 + h3 * p2c
    zc = h1 * p1c + h2 * p2c + h3 * pcc
    store(one * (w1 * z1 + w2 * z2 + w3 * zc), work, LINEAR + 7 * CHUNK)
    store(two * (h1 * z1 + h2 * z2 + h3 * zc), work, PAIRS + 15 * CHUNK)
    rc = half * (w1 * p1c + half * pcc)
    store(two * (w1 * (w1 * p11 + half * p1c) + rc), work, PAIRS)
    value = two * (w2 * (w1 * p12 + half * p2c) + rc)
    store(value, work, PAIRS + 1 * CHUNK)
    store(value, work, PAIRS + 4 * CHUNK)
    value = two * (w3 * (w1 * p1s + half * pcs))
    store(value, work, PAIRS + 2 * CHUNK)
    store(value, work, PAIRS + 8 * CHUNK)
    store(two * (w2 * (w2 * p22 + half * p2c) + half * (w2 * p2c + half * pcc)), work, PAIRS + 5 * CHUNK)
    value = two * (w3 * (w2 * p2s + half * pcs))
    store(value, work, PAIRS + 6 * CHUNK)
    store(value, work, PAIRS + 9 * CHUNK)
    store(two * (w3 * w3 * pss), work, PAIRS + 10 * CHUNK)
