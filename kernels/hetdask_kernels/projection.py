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
    """Sums and differences (2, n/2) of a weighted function at frames equally far from the middle of a block."""
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


@njit(**JIT)
def project(values, weight, halves, used, alike, block_stride, stride, out):  # type: ignore[no-untyped-def]
    """Write the coefficients of functions of the frame, two at a time.

    Parameters
    ----------
    values : (M, 4, n_blocks·size) float64
        At M angles.
    weight : (n_blocks·size,) float64
        By which they are multiplied.
    halves : (d, size/2) float64
        See `first_halves`.
    used : (M, 2) int64
        How many coefficients the first and the last two functions of an angle get, multiples of `TOGETHER`.
    alike : bool
        Whether the first two functions are the same at all angles.
    block_stride, stride : int
        From the coefficients of a block to those of the next, and from `TOGETHER` of them to the next ones: (d,
        TOGETHER), or (TOGETHER, n_blocks·TOGETHER) if they lie by degree.
    out : (M, 4, n_blocks·d) float64
        Overwritten where there is a coefficient.
    """
    degrees, half = halves.shape
    first, second, few = np.empty((2, half)), np.empty((2, half)), np.empty((2, degrees))
    for m in range(values.shape[0]):
        for pair in range(2):
            r = 2 * pair
            if alike and pair == 0 and m > 0:
                for c in range(out.shape[2]):
                    out[m, 0, c], out[m, 1, c] = out[0, 0, c], out[0, 1, c]
                continue
            for b in range(values.shape[2] // (2 * half)):
                _fold(values[m, r], weight, 2 * half * b, first)
                _fold(values[m, r + 1], weight, 2 * half * b, second)
                _coefficients(first, second, halves, used[m, pair], few)
                for c in range(0, used[m, pair], TOGETHER):
                    at = b * block_stride + c // TOGETHER * stride
                    for k in range(TOGETHER):
                        out[m, r, at + k], out[m, r + 1, at + k] = few[0, c + k], few[1, c + k]


@njit(**PART)
def _coefficient(row, b, c, block_stride, stride):  # type: ignore[no-untyped-def]
    return row[b * block_stride + c // TOGETHER * stride + c % TOGETHER]


@njit(**JIT)
def polynomials_needed(coefficients, degrees, block_stride, stride, tolerance, smooth, used):  # type: ignore[no-untyped-def]
    """Tell on which blocks polynomials hold pairs of functions to a tolerance, and how many of them this takes.

    Parameters
    ----------
    coefficients : (M, 4, n_blocks·d) float64
        Of two pairs of functions at M angles.
    degrees : int
        The number d.
    block_stride, stride : int
        As in `project`.
    tolerance : float
        Size of the coefficients that may be left out, relative to the largest of the function on its block.
    smooth : (M, n_blocks) bool
        Overwritten: whether d of them are enough for all four. The last `TAIL` of those that are needed have such
        coefficients.
    used : (M, 2) int64
        Overwritten with the most that a pair needs on the blocks where d are enough for it, a multiple of `TOGETHER`.
    """
    for m in range(used.shape[0]):
        for pair in range(2):
            most = 1
            for b in range(smooth.shape[1]):
                needed = TAIL
                for r in range(2 * pair, 2 * pair + 2):
                    largest, last = 0.0, -1
                    for c in range(degrees):
                        largest = max(largest, abs(_coefficient(coefficients[m, r], b, c, block_stride, stride)))
                    for c in range(needed - TAIL, degrees):
                        if not abs(_coefficient(coefficients[m, r], b, c, block_stride, stride)) <= tolerance * largest:
                            last = c
                    needed = max(needed, last + 1 + TAIL)
                enough = needed <= degrees
                if enough:
                    most = max(most, needed)
                smooth[m, b] = enough if pair == 0 else smooth[m, b] and enough
            used[m, pair] = -(-most // TOGETHER) * TOGETHER


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
def expand(coefficients, halves, block_stride, stride, smooth, used, out):  # type: ignore[no-untyped-def]
    """Add functions of the frame, given by their coefficients, to `out` on the blocks that are smooth.

    Parameters
    ----------
    coefficients : (M, 4, n_blocks·d) float64
    halves : (d, size/2) float64
        See `first_halves`.
    block_stride, stride : int
        As in `project`.
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
