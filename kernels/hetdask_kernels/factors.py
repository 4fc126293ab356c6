"""The model as per-frame factors: decays from frame to frame and within blocks of frames."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hetdask_kernels._jit import JIT, PART

Array = NDArray[np.float64]

MAX_STEP = 60.0
"""Frame-to-frame exponents are clipped here: e^-60 is far below the rounding of a sum of float64."""

SMALL_EXPONENT, SMALL_ANGLE = 0.03, 0.3
"""Up to these, short power series give decays and turns to rounding."""

STRETCH = 64
"""Frames for which this is decided together."""

STEEP_RANGE = 600.0
"""Largest exponent across a block whose factors a float64 can hold both ways."""


@njit(**PART)
def _decay(x):  # type: ignore[no-untyped-def]
    """e^-x for 0 ≤ x ≤ `SMALL_EXPONENT`, to rounding."""
    tail = x * (1 / 120 - x * (1 / 720 - x * (1 / 5040 - x * (1 / 40320))))
    return 1.0 - x * (1.0 - x * (1 / 2 - x * (1 / 6 - x * (1 / 24 - tail))))


@njit(fastmath={"contract"}, **PART)
def _small_steps(x, y, turn, step):  # type: ignore[no-untyped-def]
    """Decays (n, 4) from small exponents and angles (n,), by power series that are vectorised."""
    for i in range(x.shape[0]):
        z = turn[i] * turn[i]
        cosine = z * (1 / 40320 - z * (1 / 3628800 - z * (1 / 479001600)))
        cosine = 1.0 - z * (1 / 2 - z * (1 / 24 - z * (1 / 720 - cosine)))
        sine = z * (1 / 362880 - z * (1 / 39916800))
        sine = turn[i] * (1.0 - z * (1 / 6 - z * (1 / 120 - z * (1 / 5040 - sine))))
        cross = _decay(0.5 * (x[i] + y[i]))
        step[i, 0], step[i, 1], step[i, 2], step[i, 3] = _decay(x[i]), _decay(y[i]), cross * cosine, cross * sine


@njit(**PART)
def _steps(x, y, turn, known, step):  # type: ignore[no-untyped-def]
    """Decays (n, 4) from any exponents and angles (n,); those of reference and sample are there if `known`."""
    for i in range(x.shape[0]):
        if not known:
            step[i, 0], step[i, 1] = math.exp(-x[i]), math.exp(-y[i])
        cross = math.sqrt(step[i, 0] * step[i, 1])
        step[i, 2], step[i, 3] = cross * math.cos(turn[i]), cross * math.sin(turn[i])


@njit(**JIT)
def _frame_steps(c_ref, c_sample, displacement, q, kappa, step, exponent, phase):  # type: ignore[no-untyped-def]
    frames = c_ref.shape[0]
    x, y, turn = np.zeros(frames), np.zeros(frames), np.zeros(frames)
    for m in range(q.shape[0]):
        q2 = q[m] * q[m]
        known = m > 0 and q[m] == q[m - 1]
        first = second = 0.0
        exponent[m, 0, 0] = exponent[m, 1, 0] = phase[m, 0] = 0.0
        for i in range(1, frames):
            x[i] = min(q2 * (c_ref[i] - c_ref[i - 1]), MAX_STEP)
            y[i] = min(q2 * (c_sample[i] - c_sample[i - 1]), MAX_STEP)
            turn[i] = kappa[m] * (displacement[i] - displacement[i - 1])
            first, second = first + x[i], second + y[i]
            exponent[m, 0, i], exponent[m, 1, i] = first, second
            phase[m, i] = kappa[m] * (displacement[i] - displacement[0])
        for begin in range(0, frames, STRETCH):
            end = min(begin + STRETCH, frames)
            largest = turned = 0.0
            for i in range(begin, end):
                largest, turned = max(largest, x[i], y[i]), max(turned, abs(turn[i]))
            part = x[begin:end], y[begin:end], turn[begin:end]
            if largest <= SMALL_EXPONENT and turned <= SMALL_ANGLE:
                _small_steps(*part, step[m, begin:end])
                continue
            if known:
                for i in range(begin, end):
                    step[m, i, 0], step[m, i, 1] = step[m - 1, i, 0], step[m - 1, i, 1]
            _steps(*part, known, step[m, begin:end])


def frame_steps(
    c_ref: Array, c_sample: Array, displacement: Array, q: Array, kappa: Array
) -> tuple[Array, Array, Array]:
    """Decays from frame to frame at M angles; the only place where exp and cos are taken, once per frame.

    Parameters
    ----------
    c_ref, c_sample : (L,) float64
        Integrated transport, Å².
    displacement : (L,) float64
        Å.
    q, kappa : (M,) float64
        Wavevectors and their components along the flow, 1/Å.

    Returns
    -------
    step : (M, L, 4)
        Decay from the frame before: reference, sample, real and imaginary part of the cross term.
    exponent : (M, 2, L)
        q²C of both components, steps clipped at `MAX_STEP`.
    phase : (M, L)
        κV, radians.
    """
    frames = c_ref.size
    step, exponent, phase = np.empty((q.size, frames, 4)), np.empty((q.size, 2, frames)), np.empty((q.size, frames))
    _frame_steps(c_ref, c_sample, displacement, q, kappa, step, exponent, phase)
    return step, exponent, phase


@njit(**PART)
def _block_factors(step, amplitude, size, to_last, from_first, left, right):  # type: ignore[no-untyped-def]
    for first in range(0, step.shape[0], size):
        last = first + size - 1
        a, b, c, d = 1.0, 1.0, 1.0, 0.0
        for i in range(first, last + 1):
            if i > first:
                a, b = a * step[i, 0], b * step[i, 1]
                c, d = c * step[i, 2] - d * step[i, 3], c * step[i, 3] + d * step[i, 2]
            from_first[0, i], from_first[1, i], from_first[2, i], from_first[3, i] = a, b, c, d
            w3 = amplitude[i, 2]
            right[0, i], right[1, i] = amplitude[i, 0] * a, amplitude[i, 1] * b
            right[2, i], right[3, i] = w3 * c, w3 * d
        a, b, c, d = 1.0, 1.0, 1.0, 0.0
        for i in range(last, first - 1, -1):
            to_last[0, i], to_last[1, i], to_last[2, i], to_last[3, i] = a, b, c, d
            w3 = amplitude[i, 2]
            left[0, i], left[1, i] = amplitude[i, 0] * a, amplitude[i, 1] * b
            left[2, i], left[3, i] = w3 * c, w3 * d
            if i > first:
                a, b = a * step[i, 0], b * step[i, 1]
                c, d = c * step[i, 2] - d * step[i, 3], c * step[i, 3] + d * step[i, 2]


@njit(**JIT)
def _all_block_factors(step, amplitude, size, to_last, from_first, left, right):  # type: ignore[no-untyped-def]
    for m in range(step.shape[0]):
        _block_factors(step[m], amplitude, size, to_last[m], from_first[m], left[m], right[m])


def block_factors(step: Array, amplitude: Array, size: int) -> tuple[Array, Array, Array, Array]:
    """Decays within blocks of `size` frames, and the model's factors, at M angles.

    Parameters
    ----------
    step : (M, L, 4) float64
        From `frame_steps`; L is a multiple of `size`.
    amplitude : (L, 6) float64
        Amplitudes of the three terms first.
    size : int

    Returns
    -------
    to_last, from_first : (M, 4, L)
        Decay from the frame to the last of its block, and from the first of its block to the frame.
    left, right : (M, 4, L)
        Amplitudes times these decays.
    """
    to_last, from_first, left, right = np.empty((4, step.shape[0], 4, step.shape[1]))
    _all_block_factors(step, amplitude, size, to_last, from_first, left, right)
    return to_last, from_first, left, right


@njit(**PART)
def block_coupling(row, column, size, exponent, phase):  # type: ignore[no-untyped-def]
    """Decay from the last frame of the row block to the first of the column block; it exceeds 1 on the diagonal."""
    last, first = (row + 1) * size - 1, column * size
    a, b = exponent[0, first] - exponent[0, last], exponent[1, first] - exponent[1, last]
    turn = phase[first] - phase[last]
    cross = math.exp(-0.5 * (a + b))
    return math.exp(-a), math.exp(-b), cross * math.cos(turn), cross * math.sin(turn)
