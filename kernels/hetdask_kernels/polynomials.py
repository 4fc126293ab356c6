"""Functions of the frame as polynomials, block by block.

The polynomials are even or odd about the middle of a block. Sums and differences of frames at the same distance from it
need half of them each, so projection and expansion take half the multiply-adds of a matrix product.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numba import njit
from numpy.polynomial import legendre
from numpy.typing import NDArray

from hetdask_kernels._jit import JIT, PART, REORDER

Array = NDArray[np.float64]

TAIL: Final = 4
"""Highest coefficients that must be small before a function is believed to have no more large ones."""

TOGETHER: Final = 8
"""Polynomials that are used or left out together, and whose coefficients lie side by side in a panel."""


@lru_cache(maxsize=8)
def polynomials(size: int) -> Array:
    """Orthonormal polynomials on `size` equidistant frames, an even number, (size, d), by ascending degree.

    The number d is about 3/8 of `size`, a multiple of `TOGETHER`. Even ones are symmetric to the last digit.
    """
    degrees = TOGETHER * max(3 * size // (8 * TOGETHER), 1)
    basis, _ = np.linalg.qr(legendre.legvander(np.linspace(-1.0, 1.0, size), degrees - 1))
    basis = 0.5 * (basis + basis[::-1] * np.where(np.arange(degrees) % 2, -1.0, 1.0))
    basis.setflags(write=False)
    return basis


@lru_cache(maxsize=8)
def first_halves(size: int) -> Array:
    """The polynomials on the first half of the frames, (d, size/2)."""
    return np.ascontiguousarray(polynomials(size)[: size // 2].T)


def by_degree(coefficients: Array, degrees: int) -> Array:
    """Coefficients (..., n_blocks·d) in another order: the first `TOGETHER` of every block, then the next ones.

    Those that are used are the first of a row then.
    """
    parts = coefficients.reshape(*coefficients.shape[:-1], -1, degrees // TOGETHER, TOGETHER)
    return parts.swapaxes(-3, -2).reshape(coefficients.shape)


@njit(**PART)
def _fold(values, weight, begin, folded):  # type: ignore[no-untyped-def]
    """Sums and differences (2, n/2) of a function at frames equally far from the middle of a block."""
    half = folded.shape[1]
    last = begin + 2 * half - 1
    for i in range(half):
        x, y = values[begin + i] * weight[begin + i], values[last - i] * weight[last - i]
        folded[0, i], folded[1, i] = x + y, x - y


@njit(fastmath=REORDER, **PART)
def _coefficients(first, second, halves, degrees, out):  # type: ignore[no-untyped-def]
    """The first coefficients of two folded functions, (2, d): eight sums in one go, four polynomials for each."""
    for c in range(0, degrees, TOGETHER):
        for parity in range(2):
            k = c + parity
            b0, b1, b2, b3 = halves[k], halves[k + 2], halves[k + 4], halves[k + 6]
            x, y = first[parity], second[parity]
            s0 = s1 = s2 = s3 = 0.0
            t0 = t1 = t2 = t3 = 0.0
            for i in range(x.shape[0]):
                s0 += x[i] * b0[i]
                s1 += x[i] * b1[i]
                s2 += x[i] * b2[i]
                s3 += x[i] * b3[i]
                t0 += y[i] * b0[i]
                t1 += y[i] * b1[i]
                t2 += y[i] * b2[i]
                t3 += y[i] * b3[i]
            out[0, k], out[0, k + 2], out[0, k + 4], out[0, k + 6] = s0, s1, s2, s3
            out[1, k], out[1, k + 2], out[1, k + 4], out[1, k + 6] = t0, t1, t2, t3


@njit(**PART)
def _needed(coefficients, tolerance):  # type: ignore[no-untyped-def]
    """How many polynomials hold two functions: the last `TAIL` of them have small coefficients in both."""
    needed = TAIL
    for row in range(2):
        largest = 0.0
        for c in range(coefficients.shape[1]):
            largest = max(largest, abs(coefficients[row, c]))
        last = coefficients.shape[1] - 1
        while last >= needed - TAIL and abs(coefficients[row, last]) <= tolerance * largest:
            last -= 1
        needed = max(needed, last + 1 + TAIL)
    return needed


@njit(**JIT)
def compress_factors(left, right, probe, halves, tolerance, both, alike, few_left, few_right, needed, used):  # type: ignore[no-untyped-def]
    """Project factors of all angles on polynomials, and tell how many of these hold them.

    Two factors that only decay, then the two of the cross term, are held by as many polynomials each. The left factors
    decay where the right ones grow, and need the same.

    Parameters
    ----------
    left, right : (M, 4, n_blocks·size) float64
    probe : (n_blocks·size,) float64
        By which the right factors are multiplied before it is told how many polynomials hold them.
    halves : (d, size/2) float64
        See `first_halves`.
    tolerance : float
        Size of the coefficients that may be left out, relative to the largest of the function on its block.
    both : bool
        Whether the left factors are wanted.
    alike : bool
        Whether the first two factors are the same at all angles.
    few_left, few_right : (M, 4, n_blocks·d) float64
        Overwritten with the coefficients, in the first `used` of each block; those of the right factors by degree.
    needed : (M, 2, n_blocks) int64
        Overwritten with the polynomials that hold the products with the probe; more than d where these are too few.
    used : (M, 2) int64
        Overwritten with the most that a block needs of which d are enough, a multiple of `TOGETHER`.
    """
    degrees, half = halves.shape
    n_blocks = needed.shape[2]
    one = np.ones(probe.shape[0])
    first, second, few = np.empty((2, half)), np.empty((2, half)), np.empty((2, degrees))
    for m in range(right.shape[0]):
        for pair in range(2):
            if alike and pair == 0 and m > 0:
                needed[m, 0], used[m, 0] = needed[0, 0], used[0, 0]
                few_left[m, :2], few_right[m, :2] = few_left[0, :2], few_right[0, :2]
                continue
            r = 2 * pair
            most = 1
            for b in range(n_blocks):
                _fold(right[m, r], probe, 2 * half * b, first)
                _fold(right[m, r + 1], probe, 2 * half * b, second)
                _coefficients(first, second, halves, degrees, few)
                needed[m, pair, b] = _needed(few, tolerance)
                if needed[m, pair, b] <= degrees:
                    most = max(most, needed[m, pair, b])
            count = -(-most // TOGETHER) * TOGETHER
            used[m, pair] = count
            for b in range(n_blocks):
                _fold(right[m, r], one, 2 * half * b, first)
                _fold(right[m, r + 1], one, 2 * half * b, second)
                _coefficients(first, second, halves, count, few)
                for c in range(0, count, TOGETHER):
                    for k in range(TOGETHER):
                        few_right[m, r, (c * n_blocks + b * TOGETHER) + k] = few[0, c + k]
                        few_right[m, r + 1, (c * n_blocks + b * TOGETHER) + k] = few[1, c + k]
                if both:
                    _fold(left[m, r], one, 2 * half * b, first)
                    _fold(left[m, r + 1], one, 2 * half * b, second)
                    _coefficients(first, second, halves, count, few)
                    for c in range(count):
                        few_left[m, r, b * degrees + c], few_left[m, r + 1, b * degrees + c] = few[0, c], few[1, c]


@njit(fastmath=REORDER, **PART)
def _add_terms(x, y, halves, k, first, second):  # type: ignore[no-untyped-def]
    """Add four polynomials of one parity to two folded functions (n/2,), times `x` and `y`."""
    b0, b1, b2, b3 = halves[k], halves[k + 2], halves[k + 4], halves[k + 6]
    x0, x1, x2, x3 = x
    y0, y1, y2, y3 = y
    for i in range(first.shape[0]):
        first[i] += (x0 * b0[i] + x1 * b1[i]) + (x2 * b2[i] + x3 * b3[i])
        second[i] += (y0 * b0[i] + y1 * b1[i]) + (y2 * b2[i] + y3 * b3[i])


@njit(**PART)
def _unfold(folded, out, begin):  # type: ignore[no-untyped-def]
    """Add a function to the frames of a block from its even and its odd part, (2, n/2)."""
    half = folded.shape[1]
    last = begin + 2 * half - 1
    for i in range(half):
        out[begin + i] += folded[0, i] + folded[1, i]
        out[last - i] += folded[0, i] - folded[1, i]


@njit(**PART)
def _four(values, at):  # type: ignore[no-untyped-def]
    return values[at], values[at + 2], values[at + 4], values[at + 6]


@njit(**JIT)
def add_expanded(coefficients, halves, block_stride, stride, smooth, used, out):  # type: ignore[no-untyped-def]
    """Add functions of the frame, given by their coefficients, to `out` on the blocks that are smooth.

    Parameters
    ----------
    coefficients : (M, 4, n_blocks·d) float64
    halves : (d, size/2) float64
        See `first_halves`.
    block_stride, stride : int
        From the coefficients of a block to those of the next, and from `TOGETHER` of them to the next ones: (d,
        TOGETHER), or (TOGETHER, n_blocks·TOGETHER) if they lie by degree.
    smooth : (M, n_blocks) bool
    used : (M, 2) int64
        Coefficients that count for the first and the last two functions of an angle.
    out : (M, 4, n_blocks·size) float64
        Added to.
    """
    half = halves.shape[1]
    first, second = np.empty((2, half)), np.empty((2, half))
    for m in range(out.shape[0]):
        for pair in range(2):
            r = 2 * pair
            x, y = coefficients[m, r], coefficients[m, r + 1]
            for b in range(smooth.shape[1]):
                if not smooth[m, b]:
                    continue
                first[:] = 0.0
                second[:] = 0.0
                for c in range(0, used[m, pair], TOGETHER):
                    for parity in range(2):
                        at = b * block_stride + c // TOGETHER * stride + parity
                        _add_terms(_four(x, at), _four(y, at), halves, c + parity, first[parity], second[parity])
                _unfold(first, out[m, r], 2 * half * b)
                _unfold(second, out[m, r + 1], 2 * half * b)
