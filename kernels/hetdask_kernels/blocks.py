"""Block means of the model and its derivatives, and block sums of the data.

A block is a square of pixels: the frames of one node times those of a later one, or all pairs within one node. The
nodes of the finest level are single frames; two neighbours make one node of the next level.

Since the model is a sum of terms that separate, its sum over a block is a product of sums over frames. With E the
decay between two frames, Σ_ij w(i) w(j) E(i, j) = [Σ_i w(i) E(i, last)] E(last, first) [Σ_j w(j) E(first, j)]. All
decays have a modulus of at most 1 and are carried along by multiplication: exp and cos are taken once per frame.

A decay is a row of four: reference, sample, real and imaginary part of the cross term.
"""

from __future__ import annotations

import math
import threading
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hetdask_kernels._jit import JIT, REORDER

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


@njit(fastmath=REORDER, **JIT)
def _block_sums(tile, row, column, baseline, first_row, first_column, size, sums):  # type: ignore[no-untyped-def]
    for b in range(size.shape[0]):
        top, left = max(first_row[b] - row, 0), max(first_column[b] - column, 0)
        bottom = min(first_row[b] + size[b] - row, tile.shape[0])
        right = min(first_column[b] + size[b] - column, tile.shape[1])
        if left >= right:
            continue
        count, total, square = 0, 0.0, 0.0
        for i in range(top, bottom):
            for j in range(max(left, i + row + 1 - column), right):
                value = np.float64(tile[i, j]) - baseline
                if abs(value) < math.inf:  # np.isfinite subtracts the value from itself, which REORDER takes for 0
                    count += 1
                    total += value
                    square += value * value
        sums[0, b] += count
        sums[1, b] += total
        sums[2, b] += square


def block_sums(
    tile: NDArray[np.floating],
    row: int,
    column: int,
    baseline: float,
    first_row: Indices,
    first_column: Indices,
    size: Indices,
    sums: Array,
) -> None:
    """Add the pixels i < j of a tile to the blocks in which they lie.

    Parameters
    ----------
    tile : (h, w) float
        Pixels; not finite where a pixel is no data.
    row, column : int
        Frames of its first pixel.
    baseline : float
        Subtracted from each pixel.
    first_row, first_column, size : (n,) int64
        Blocks.
    sums : (3, n) float64
        Count, Σe and Σe² of each block; added to.
    """
    _block_sums(tile, row, column, baseline, first_row, first_column, size, sums)


_LOCAL: Final = threading.local()
_NOTHING: Final = np.empty(0)


@njit(**JIT)
def _decay(c_ref, c_sample, displacement, i, j, q, kappa):  # type: ignore[no-untyped-def]
    """Decay from frame i to frame j."""
    a = math.exp(-0.5 * q * q * (c_ref[j] - c_ref[i]))
    b = math.exp(-0.5 * q * q * (c_sample[j] - c_sample[i]))
    turn = kappa * (displacement[j] - displacement[i])
    return a * a, b * b, a * b * math.cos(turn), a * b * math.sin(turn)


@njit(**JIT)
def _load(rows, i):  # type: ignore[no-untyped-def]
    return rows[i, 0], rows[i, 1], rows[i, 2], rows[i, 3]


@njit(**JIT)
def _store(rows, i, x):  # type: ignore[no-untyped-def]
    rows[i, 0], rows[i, 1], rows[i, 2], rows[i, 3] = x


@njit(**JIT)
def _times(x, y):  # type: ignore[no-untyped-def]
    return x[0] * y[0], x[1] * y[1], x[2] * y[2] - x[3] * y[3], x[2] * y[3] + x[3] * y[2]


@njit(**JIT)
def _join(sums, slopes, near, far, decay, parent):  # type: ignore[no-untyped-def]
    """Sums over a parent node: those of one child, and those of the other carried over to it."""
    x, y = _load(sums, near), _times(decay, _load(sums, far))
    _store(sums, parent, (x[0] + y[0], x[1] + y[1], x[2] + y[2], x[3] + y[3]))
    a, b, c, d = decay
    for k in range(slopes.shape[2]):
        slopes[parent, 0, k] = slopes[near, 0, k] + a * slopes[far, 0, k]
        slopes[parent, 1, k] = slopes[near, 1, k] + b * slopes[far, 1, k]
        slopes[parent, 2, k] = slopes[near, 2, k] + c * slopes[far, 2, k] - d * slopes[far, 3, k]
        slopes[parent, 3, k] = slopes[near, 3, k] + c * slopes[far, 3, k] + d * slopes[far, 2, k]


@njit(**JIT)
def _add_pair(left, right, left_slope, right_slope, i, j, decay, out, b):  # type: ignore[no-untyped-def]
    """Add the sums over the pixels of nodes i and j to those of block b; `decay` leads from one to the other."""
    y1, y2, yr, yi = _load(right, j)
    u1, u2, ur, ui = _times(decay, _load(left, i))
    v1, v2, vr, vi = _times(decay, (y1, y2, yr, yi))
    out[b, 0] += u1 * y1 + u2 * y2 + ur * yr - ui * yi
    for k in range(left_slope.shape[2]):
        out[b, 1 + k] += (
            v1 * left_slope[i, 0, k]
            + v2 * left_slope[i, 1, k]
            + vr * left_slope[i, 2, k]
            - vi * left_slope[i, 3, k]
            + u1 * right_slope[j, 0, k]
            + u2 * right_slope[j, 1, k]
            + ur * right_slope[j, 2, k]
            - ui * right_slope[j, 3, k]
        )


@njit(**JIT)
def _frames(fraction, keep, gradient, gain, sign, left, right, left_slope, right_slope):  # type: ignore[no-untyped-def]
    """Amplitudes and derivative factors of the single frames."""
    root = math.sqrt(2.0)
    for i in range(fraction.shape[0]):
        s = fraction[i]
        r = 1.0 - s
        n = r * r + s * s
        w1, w2, w3 = keep[i] * r * r / n, keep[i] * s * s / n, keep[i] * root * r * s / n
        x1, x3 = -2.0 * keep[i] * r * s / (n * n), keep[i] * root * (r - s) / (n * n)
        _store(left, i, (w1, w2, w3, 0.0))
        _store(right, i, (w1, w2, w3, 0.0))
        for k in range(gradient.shape[1]):
            slope = gradient[i, k]
            left_slope[i, 0, k] = slope * (w1 * gain[0, k] + x1 * gain[3, k])
            left_slope[i, 1, k] = slope * (w2 * gain[1, k] - x1 * gain[3, k])
            left_slope[i, 2, k] = slope * (0.5 * w3 * (gain[0, k] + gain[1, k]) + x3 * gain[3, k])
            left_slope[i, 3, k] = -slope * w3 * gain[2, k]
        for c in range(4):
            for k in range(gradient.shape[1]):
                right_slope[i, c, k] = sign[k] * left_slope[i, c, k]


@njit(**JIT)
def _merge(step, offset, through, hop, left, right, left_slope, right_slope, own):  # type: ignore[no-untyped-def]
    """Sums over the nodes of each level from those of the level below.

    `through` leads from the first to the last frame of a node, `hop` from its first to the first of the next one.
    """
    nothing = (0.0, 0.0, 0.0, 0.0)
    for level in range(offset.shape[0] - 1):
        start, stop = offset[level], offset[level + 1]
        for node in range(start, stop - 1):
            _store(hop, node, _times(_load(through, node), _load(step, (node - start + 1) << level)))
        if level + 2 == offset.shape[0]:
            break
        for parent in range(stop, offset[level + 2]):
            one = start + 2 * (parent - stop)
            two = one + 1
            n_sums = own.shape[1] if parent < own.shape[0] else 0
            if two == stop:
                _store(through, parent, _load(through, one))
                _join(left, left_slope, one, one, nothing, parent)
                _join(right, right_slope, one, one, nothing, parent)
                for k in range(n_sums):
                    own[parent, k] = own[one, k]
                continue
            between = _load(step, (two - start) << level)
            onward = _times(between, _load(through, two))
            _store(through, parent, _times(_load(through, one), onward))
            _join(left, left_slope, two, one, onward, parent)
            _join(right, right_slope, one, two, _load(hop, one), parent)
            if n_sums:
                for k in range(n_sums):
                    own[parent, k] = own[one, k] + own[two, k]
                _add_pair(left, right, left_slope, right_slope, one, two, between, own, parent)


@njit(**JIT)
def _couple(rows, columns, following, step, hop, left, right, left_slope, right_slope, own, out):  # type: ignore[no-untyped-def]
    """Sums over blocks from those over nodes."""
    row = at = -1
    decay = (0.0, 0.0, 0.0, 0.0)
    for b in range(rows.shape[0]):
        if rows[b] == columns[b]:
            out[b] = own[rows[b]]
            continue
        if rows[b] != row:
            row, at = rows[b], rows[b] + 1
            decay = _load(step, following[row])
        while at < columns[b]:
            decay = _times(decay, _load(hop, at))
            at += 1
        _add_pair(left, right, left_slope, right_slope, row, at, decay, out, b)


@njit(**JIT)
def _block_model(  # type: ignore[no-untyped-def]
    c_ref,
    c_sample,
    displacement,
    fraction,
    keep,
    q,
    kappa,
    gradient,
    gain,
    sign,
    offset,
    n_own,
    rows,
    columns,
    following,
    missing,
    count,
    left_slope,
    right_slope,
    out,
):
    n, lanes, nodes = fraction.shape[0], gradient.shape[1], offset[-1]
    step, through, hop = np.empty((n, 4)), np.empty((nodes, 4)), np.empty((nodes, 4))
    for i in range(n):
        _store(step, i, _decay(c_ref, c_sample, displacement, max(i - 1, 0), i, q, kappa))
        _store(through, i, (1.0, 1.0, 1.0, 0.0))
    left, right = np.empty((nodes, 4)), np.empty((nodes, 4))
    own = np.zeros((n_own, 1 + lanes))
    _frames(fraction, keep, gradient, gain, sign, left, right, left_slope, right_slope)
    _merge(step, offset, through, hop, left, right, left_slope, right_slope, own)
    _couple(rows, columns, following, step, hop, left, right, left_slope, right_slope, own, out)
    for m in range(missing.shape[0]):
        b, i, j = missing[m]
        a1, a2, ar, ai = _decay(c_ref, c_sample, displacement, i, j, q, kappa)
        _add_pair(left, right, left_slope, right_slope, i, j, (-a1, -a2, -ar, -ai), out, b)
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
    nodes: tuple[Indices, int, Indices, Indices, Indices],
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
    slopes : ((N, p), (4, p), (p,)) float64
        For p parameters: the derivative of what each acts on; how much it acts on the exponent of the reference (q²),
        of the sample (q²), on the phase (κ), on the fraction (1); and 1 for the fraction, -1 for the others.
    nodes : ((levels + 1,) int64, int, (n,) int64, (n,) int64, (nodes,) int64)
        First node of each level and the number of all; how many of the first nodes are blocks with themselves;
        row and column node of each block, with those of a row together and in order; the frame after each node.
    missing : (m, 3) int64
        Block, row frame and column frame of single pixels that are no data.
    count : (n,) float64
        Pixels of each block that are data.

    Returns
    -------
    (n, 1 + p) float64
        0 where a block has no data.
    """
    out = np.zeros((nodes[2].size, 1 + slopes[0].shape[1]))
    left, right = _scratch(int(nodes[0][-1]), slopes[0].shape[1])
    _block_model(*motion, fraction, keep, q, kappa, *slopes, *nodes, missing, count, left, right, out)
    return out


def _scratch(nodes: int, lanes: int) -> Array:
    """Memory (2, nodes, 4, lanes) for the derivatives of all nodes, the same at the next call of this thread.

    The system would take megabytes back after each call, and making their pages anew takes longer than to fill them.
    """
    slopes: Array = getattr(_LOCAL, "slopes", _NOTHING)
    if slopes.shape != (shape := (2, nodes, 4, lanes)):
        slopes = _LOCAL.slopes = np.empty(shape)
    return slopes


@njit(fastmath=REORDER, **JIT)
def _weighted_products(rows, weight, gram):  # type: ignore[no-untyped-def]
    for k in range(rows.shape[0]):
        scaled = weight * rows[k]
        for m in range(k + 1):
            total = 0.0
            for b in range(scaled.shape[0]):
                total += scaled[b] * rows[m, b]
            gram[k, m] = gram[m, k] = total


def weighted_products(rows: Array, weight: Array) -> Array:
    """Products of all pairs of rows, Σ_b weight(b) rows(k, b) rows(m, b), (K, K), in the caller's thread.

    Parameters
    ----------
    rows : (K, n) float64
    weight : (n,) float64
    """
    gram = np.empty((rows.shape[0], rows.shape[0]))
    _weighted_products(rows, weight, gram)
    return gram
