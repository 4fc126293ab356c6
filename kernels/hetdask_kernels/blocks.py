"""Block means of the model and its derivatives.

A block is a square of pixels: the frames of one node times those of a later one, or all pairs within one node. The
nodes of the lowest level have as many frames as the smallest blocks; two neighbours make one node of the next level.

Since the model is a sum of terms that separate, its sum over a block is a product of sums over frames. With E the
decay between two frames, Σ_ij w(i) w(j) E(i, j) = [Σ_i w(i) E(i, last)] E(last, first) [Σ_j w(j) E(first, j)]. All
decays have a modulus of at most 1 and are carried along by multiplication: exp and cos are taken once per frame.

A decay is a row of four: reference, sample, real and imaginary part of the cross term.
"""

from __future__ import annotations

import math
import threading
from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hetdask_kernels._jit import JIT, LANES, PART, REORDER, assign
from hetdask_kernels.curves import term_amplitudes
from hetdask_kernels.factors import frame_steps

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

_LOCAL: Final = threading.local()
_NOTHING: Final = np.empty(0)


class Nodes(NamedTuple):
    """Blocks as pairs of nodes.

    Attributes
    ----------
    size : int
        Frames in a node of the lowest level, all pairs of which are a block.
    offset : (levels + 1,) int64
        First node of each level and the number of all; a node has two of the level below.
    rows, columns : (n,) int64
        Nodes of each block, with those of a row together and in order.
    following : (nodes,) int64
        The frame after each node.
    """

    size: int
    offset: Indices
    rows: Indices
    columns: Indices
    following: Indices


@njit(**PART)
def _decay(c_ref, c_sample, displacement, i, j, q, kappa):  # type: ignore[no-untyped-def]
    """Decay from frame i to frame j."""
    a = math.exp(-0.5 * q * q * (c_ref[j] - c_ref[i]))
    b = math.exp(-0.5 * q * q * (c_sample[j] - c_sample[i]))
    turn = kappa * (displacement[j] - displacement[i])
    return a * a, b * b, a * b * math.cos(turn), a * b * math.sin(turn)


@njit(**PART)
def _load(rows, i):  # type: ignore[no-untyped-def]
    return rows[i, 0], rows[i, 1], rows[i, 2], rows[i, 3]


@njit(**PART)
def _store(rows, i, x):  # type: ignore[no-untyped-def]
    rows[i, 0], rows[i, 1], rows[i, 2], rows[i, 3] = x


@njit(**PART)
def _times(x, y):  # type: ignore[no-untyped-def]
    return x[0] * y[0], x[1] * y[1], x[2] * y[2] - x[3] * y[3], x[2] * y[3] + x[3] * y[2]


@njit(**PART)
def _amplitudes(s, keep):  # type: ignore[no-untyped-def]
    """Amplitudes of the three terms at a fraction s, and derivatives of the first and the last; 0 without `keep`."""
    w1, w2, w3, bend, turn = term_amplitudes(s)
    return keep * w1, keep * w2, keep * w3, -keep * bend, keep * turn


_SIGN, _LEFT, _RIGHT, _OWN = 4 * LANES, 5 * LANES, 9 * LANES, 13 * LANES
_WORK: Final = 14 * LANES
"""Parts of the array in which sums over the frames of a node grow; the gains of `block_model` come first.

One array with constant offsets: the compiler sees that its parts do not overlap, and uses vector registers.
"""


@njit(**PART)
def _start(gain, sign):  # type: ignore[no-untyped-def]
    work = np.zeros(_WORK)
    for k in range(gain.shape[1]):
        work[_SIGN + k] = sign[k]
        for c in range(4):
            work[c * LANES + k] = gain[c, k]
    return work


@njit(fastmath=REORDER, **PART)
def _take_frame(work, row, amplitude, step, before, here):  # type: ignore[no-untyped-def]
    """Carry the derivatives' sums on to the next frame of a node, and add those of this frame.

    `step` leads here from the frame before, to which `before` has the sums of the left side after this step; `here`
    leads from the first frame of the node.
    """
    w1, w2, w3, x1, x3 = amplitude
    s1, s2, sr, si = step
    u1, u2, ur, ui = before
    d1, d2, dr, di = here
    for k in range(LANES):
        g, sign = row[k], work[_SIGN + k]
        on_ref, on_sample = work[k], work[LANES + k]
        on_flow, on_fraction = work[2 * LANES + k], work[3 * LANES + k]
        l1, l2 = g * (w1 * on_ref + x1 * on_fraction), g * (w2 * on_sample - x1 * on_fraction)
        lr, li = g * (0.5 * w3 * (on_ref + on_sample) + x3 * on_fraction), -g * w3 * on_flow
        y1, y2 = s1 * work[_LEFT + k], s2 * work[_LEFT + LANES + k]
        zr, zi = work[_LEFT + 2 * LANES + k], work[_LEFT + 3 * LANES + k]
        yr, yi = sr * zr - si * zi, sr * zi + si * zr
        work[_OWN + k] += (w1 * y1 + w2 * y2 + w3 * yr) + sign * (u1 * l1 + u2 * l2 + ur * lr - ui * li)
        work[_LEFT + k], work[_LEFT + LANES + k] = y1 + l1, y2 + l2
        work[_LEFT + 2 * LANES + k], work[_LEFT + 3 * LANES + k] = yr + lr, yi + li
        work[_RIGHT + k] += sign * d1 * l1
        work[_RIGHT + LANES + k] += sign * d2 * l2
        work[_RIGHT + 2 * LANES + k] += sign * (dr * lr - di * li)
        work[_RIGHT + 3 * LANES + k] += sign * (dr * li + di * lr)


@njit(**PART)
def _smallest(step, fraction, keep, gradient, work, size, through, left, right, left_slope, right_slope, own):  # type: ignore[no-untyped-def]
    """Sums over the nodes of the lowest level, `size` frames each, and over the pairs within each, by recurrence."""
    n = fraction.shape[0]
    for node in range(own.shape[0]):
        work[_LEFT:] = 0.0
        before = after = total = (0.0, 0.0, 0.0, 0.0)
        here = (1.0, 1.0, 1.0, 0.0)
        pairs = 0.0
        first = node * size
        for i in range(first, min(first + size, n)):
            amplitude = _amplitudes(fraction[i], keep[i])
            w1, w2, w3 = amplitude[0], amplitude[1], amplitude[2]
            ahead = _load(step, i)
            if i > first:
                here = _times(here, ahead)
                before = _times(ahead, after)
            pairs += before[0] * w1 + before[1] * w2 + before[2] * w3
            if gradient.shape[1]:
                _take_frame(work, gradient[i], amplitude, ahead, before, here)
            after = before[0] + w1, before[1] + w2, before[2] + w3, before[3]
            total = total[0] + here[0] * w1, total[1] + here[1] * w2, total[2] + here[2] * w3, total[3] + here[3] * w3
        _store(through, node, here)
        _store(left, node, after)
        _store(right, node, total)
        own[node, 0] = pairs
        if gradient.shape[1]:
            assign(work[_LEFT:_RIGHT], left_slope[node])
            assign(work[_RIGHT:_OWN], right_slope[node])
            assign(work[_OWN:], own[node, 1:])


@njit(fastmath=REORDER, **PART)
def _join_slopes(near, far, decay, parent):  # type: ignore[no-untyped-def]
    a, b, c, d = decay
    for k in range(LANES):
        parent[k] = near[k] + a * far[k]
        parent[LANES + k] = near[LANES + k] + b * far[LANES + k]
        zr, zi = far[2 * LANES + k], far[3 * LANES + k]
        parent[2 * LANES + k] = near[2 * LANES + k] + (c * zr - d * zi)
        parent[3 * LANES + k] = near[3 * LANES + k] + (c * zi + d * zr)


@njit(**PART)
def _join(sums, slopes, near, far, decay, parent):  # type: ignore[no-untyped-def]
    """Sums over a parent node: those of one child, and those of the other carried over to it."""
    x, y = _load(sums, near), _times(decay, _load(sums, far))
    _store(sums, parent, (x[0] + y[0], x[1] + y[1], x[2] + y[2], x[3] + y[3]))
    if slopes.shape[1]:
        _join_slopes(slopes[near], slopes[far], decay, slopes[parent])


@njit(**PART)
def _merge(step, offset, size, through, hop, left, right, left_slope, right_slope):  # type: ignore[no-untyped-def]
    """Sums over the nodes of each level from those of the level below, of which the lowest has `size` frames.

    `through` leads from the first to the last frame of a node, `hop` from its first to the first of the next one.
    """
    nothing = (0.0, 0.0, 0.0, 0.0)
    for level in range(offset.shape[0] - 1):
        start, stop = offset[level], offset[level + 1]
        for node in range(start, stop - 1):
            _store(hop, node, _times(_load(through, node), _load(step, (node - start + 1) * (size << level))))
        if level + 2 == offset.shape[0]:
            break
        for parent in range(stop, offset[level + 2]):
            one = start + 2 * (parent - stop)
            two = one + 1
            if two == stop:
                _store(through, parent, _load(through, one))
                _join(left, left_slope, one, one, nothing, parent)
                _join(right, right_slope, one, one, nothing, parent)
                continue
            onward = _times(_load(step, (two - start) * (size << level)), _load(through, two))
            _store(through, parent, _times(_load(through, one), onward))
            _join(left, left_slope, two, one, onward, parent)
            _join(right, right_slope, one, two, _load(hop, one), parent)


@njit(fastmath=REORDER, **PART)
def _pair_slopes(left, right, i, j, u, v, out, b):  # type: ignore[no-untyped-def]
    u1, u2, ur, ui = u
    v1, v2, vr, vi = v
    for k in range(LANES):
        out[b, 1 + k] += (
            (v1 * left[i, k] + v2 * left[i, LANES + k])
            + (vr * left[i, 2 * LANES + k] - vi * left[i, 3 * LANES + k])
            + (u1 * right[j, k] + u2 * right[j, LANES + k])
            + (ur * right[j, 2 * LANES + k] - ui * right[j, 3 * LANES + k])
        )


@njit(**PART)
def _add_pair(left, right, left_slope, right_slope, i, j, decay, out, b):  # type: ignore[no-untyped-def]
    """Add the sums over the pixels of nodes i and j to those of block b; `decay` leads from one to the other."""
    y1, y2, yr, yi = _load(right, j)
    u1, u2, ur, ui = _times(decay, _load(left, i))
    out[b, 0] += u1 * y1 + u2 * y2 + ur * yr - ui * yi
    if left_slope.shape[1]:
        v = _times(decay, (y1, y2, yr, yi))
        _pair_slopes(left_slope, right_slope, i, j, (u1, u2, ur, ui), v, out, b)


@njit(**PART)
def _couple(rows, columns, following, step, hop, left, right, left_slope, right_slope, own, out):  # type: ignore[no-untyped-def]
    """Sums over blocks from those over nodes."""
    row = at = -1
    decay = (0.0, 0.0, 0.0, 0.0)
    for b in range(rows.shape[0]):
        if rows[b] == columns[b]:
            assign(own[rows[b]], out[b])
            continue
        if rows[b] != row:
            row, at = rows[b], rows[b] + 1
            decay = _load(step, following[row])
        while at < columns[b]:
            decay = _times(decay, _load(hop, at))
            at += 1
        _add_pair(left, right, left_slope, right_slope, row, at, decay, out, b)


@njit(**PART)
def _take_out(missing, motion, q, kappa, fraction, gradient, work, out):  # type: ignore[no-untyped-def]
    """Take single pixels off the sums over their blocks."""
    c_ref, c_sample, displacement = motion
    lanes = gradient.shape[1]
    values, slopes = np.zeros((2, 4)), np.zeros((2, 4 * lanes))
    first = (1.0, 1.0, 1.0, 0.0)
    nothing = (0.0, 0.0, 0.0, 0.0)
    for m in range(missing.shape[0]):
        b, i, j = missing[m]
        for side, frame in enumerate((i, j)):
            amplitude = _amplitudes(fraction[frame], 1.0)
            _store(values, side, (amplitude[0], amplitude[1], amplitude[2], 0.0))
            if lanes:
                work[_LEFT:] = 0.0
                _take_frame(work, gradient[frame], amplitude, nothing, nothing, first)
                assign(work[_LEFT:_RIGHT] if side == 0 else work[_RIGHT:_OWN], slopes[side])
        a1, a2, ar, ai = _decay(c_ref, c_sample, displacement, i, j, q, kappa)
        last = values.shape[0] - 1  # no constants: Numba would compile once more for them
        _add_pair(values, values, slopes, slopes, last - 1, last, (-a1, -a2, -ar, -ai), out, b)


@njit(**JIT)
def _block_model(  # type: ignore[no-untyped-def]
    motion, fraction, keep, step, q, kappa, gradient, gain, sign,
    size, offset, rows, columns, following, missing, count, left_slope, right_slope, out,
):  # fmt: skip
    nodes, lanes = offset[-1], gradient.shape[1]
    through, hop, left, right = np.empty((nodes, 4)), np.empty((nodes, 4)), np.empty((nodes, 4)), np.empty((nodes, 4))
    own, work = np.zeros((offset[1], 1 + lanes)), _start(gain, sign)
    _smallest(step, fraction, keep, gradient, work, size, through, left, right, left_slope, right_slope, own)
    _merge(step, offset, size, through, hop, left, right, left_slope, right_slope)
    _couple(rows, columns, following, step, hop, left, right, left_slope, right_slope, own, out)
    _take_out(missing, motion, q, kappa, fraction, gradient, work, out)
    for b in range(out.shape[0]):
        scale = 1.0 / count[b] if count[b] > 0.0 else 0.0
        for k in range(1 + lanes):
            out[b, k] *= scale


def block_model(
    motion: tuple[Array, Array, Array],
    fraction: Array,
    keep: Array,
    q: float,
    kappa: float,
    slopes: tuple[Array, Array, Array],
    nodes: Nodes,
    missing: Indices,
    count: Array,
) -> Array:
    """Means of the model and its derivatives over the data of each block, for one angle.

    Parameters
    ----------
    motion : three of (N,) float64
        Integrated transport of reference and sample, Å², and displacement, Å.
    fraction : (N,) float64
        Sample fraction.
    keep : (N,) float64
        1 for frames that are data, 0 for excluded ones.
    q, kappa : float
        Wavevector and its component along the flow, 1/Å.
    slopes : ((N, LANES), (4, p), (p,)) float64
        For p parameters, at most `LANES`: the derivative of what each acts on, followed by zeros; how much it acts on
        the exponent of the reference (q²), of the sample (q²), on the phase (κ), on the fraction (1); and 1 for the
        fraction, -1 for the others. Without parameters, the first one is (N, 0).
    nodes : Nodes
    missing : (m, 3) int64
        Block, row frame and column frame of single pixels that are no data.
    count : (n,) float64
        Pixels of each block that are data.

    Returns
    -------
    (n, 1 + p) float64
        0 where a block has no data.
    """
    gradient, gain, sign = slopes
    lanes = gradient.shape[1]
    steps = frame_steps(*motion, np.array([q]), np.array([kappa]))[0][0]
    left, right = _scratch(int(nodes.offset[-1]), 4 * lanes)
    out = np.zeros((nodes.rows.size, 1 + lanes))
    _block_model(
        motion, fraction, keep, steps, q, kappa, gradient, gain, sign, *nodes, missing, count, left, right, out
    )
    return out[:, : 1 + sign.size]


def _scratch(nodes: int, width: int) -> Array:
    """Memory (2, nodes, width) for the derivatives of all nodes, the same at the next call of this thread.

    The system would take megabytes back after each call, and making their pages anew takes longer than to fill them.
    """
    slopes: Array = getattr(_LOCAL, "slopes", _NOTHING)
    if slopes.shape != (shape := (2, nodes, width)):
        slopes = _LOCAL.slopes = np.empty(shape)
    return slopes
