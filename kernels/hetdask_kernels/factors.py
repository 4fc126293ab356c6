"""The model of one angle as per-frame factors: the only place where exp and cos are taken, once per frame."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hetdask_kernels._jit import JIT, LANES

Array = NDArray[np.float64]

MAX_STEP = 60.0
"""Frame-to-frame exponents are clipped here: e^-60 is far below the rounding of a sum of float64."""

STEEP_RANGE = 600.0
"""Largest exponent across a block whose factors a float64 can hold both ways."""


@njit(**JIT)
def _weights_and_steps(c_ref, c_sample, displacement, fraction, keep, q, kappa, weight, valid, step, exponent, phase):  # type: ignore[no-untyped-def]
    n, length = c_ref.shape[0], valid.shape[0]
    q2 = q * q
    first = second = angle = 0.0
    step[0, 0] = step[1, 0] = step[2, 0] = 1.0
    step[3, 0] = 0.0
    for i in range(length):
        if i < n:
            s = fraction[i]
            r = 1.0 - s
            scale = keep[i] / (r * r + s * s)
            weight[0, i] = r * r * scale
            weight[1, i] = s * s * scale
            weight[2, i] = math.sqrt(2.0) * r * s * scale
            valid[i] = keep[i]
            if i > 0:
                a = min(q2 * (c_ref[i] - c_ref[i - 1]), MAX_STEP)
                b = min(q2 * (c_sample[i] - c_sample[i - 1]), MAX_STEP)
                turn = kappa * (displacement[i] - displacement[i - 1])
                first, second, angle = first + a, second + b, angle + turn
                cross = math.exp(-0.5 * (a + b))
                step[0, i], step[1, i] = math.exp(-a), math.exp(-b)
                step[2, i], step[3, i] = cross * math.cos(turn), cross * math.sin(turn)
        else:
            weight[0, i] = weight[1, i] = weight[2, i] = valid[i] = 0.0
            step[0, i] = step[1, i] = step[2, i] = 1.0
            step[3, i] = 0.0
        exponent[0, i], exponent[1, i], phase[i] = first, second, angle


@njit(**JIT)
def _block_decays(step, size, to_last, from_first):  # type: ignore[no-untyped-def]
    for first in range(0, step.shape[1], size):
        last = first + size - 1
        a, b, c, d = 1.0, 1.0, 1.0, 0.0
        for i in range(first, last + 1):
            if i > first:
                a, b = a * step[0, i], b * step[1, i]
                c, d = c * step[2, i] - d * step[3, i], c * step[3, i] + d * step[2, i]
            from_first[0, i], from_first[1, i], from_first[2, i], from_first[3, i] = a, b, c, d
        a, b, c, d = 1.0, 1.0, 1.0, 0.0
        for i in range(last, first - 1, -1):
            to_last[0, i], to_last[1, i], to_last[2, i], to_last[3, i] = a, b, c, d
            if i > first:
                a, b = a * step[0, i], b * step[1, i]
                c, d = c * step[2, i] - d * step[3, i], c * step[3, i] + d * step[2, i]


@njit(**JIT)
def _weighted(weight, decay, out):  # type: ignore[no-untyped-def]
    for i in range(weight.shape[1]):
        out[0, i] = weight[0, i] * decay[0, i]
        out[1, i] = weight[1, i] * decay[1, i]
        out[2, i] = weight[2, i] * decay[2, i]
        out[3, i] = weight[2, i] * decay[3, i]


@njit(**JIT)
def _fill_slopes(  # type: ignore[no-untyped-def]
    weight, fraction, keep, displacement, ref, sample, flow, composition, q, kappa, kappa_slope, free, slope
):
    half = math.sqrt(0.5)
    q2 = q * q
    for lane in range(free.shape[0]):
        k = free[lane]
        for i in range(fraction.shape[0]):
            if k < 3:
                gain = q2 * ref[k, i]
                slope[i, 0, lane] = gain * weight[0, i]
                slope[i, 2, lane] = 0.5 * gain * weight[2, i]
            elif k < 6:
                gain = q2 * sample[k - 3, i]
                slope[i, 1, lane] = gain * weight[1, i]
                slope[i, 2, lane] = 0.5 * gain * weight[2, i]
            elif k < 9:
                slope[i, 3, lane] = kappa * flow[k - 6, i] * weight[2, i]
            elif k < 13:
                s = fraction[i]
                r = 1.0 - s
                n = r * r + s * s
                gain = composition[k - 9, i] * keep[i] / (n * n)
                slope[i, 0, lane] = -2.0 * r * s * gain
                slope[i, 1, lane] = 2.0 * r * s * gain
                slope[i, 2, lane] = 2.0 * half * (r - s) * gain
            else:
                slope[i, 3, lane] = kappa_slope * displacement[i] * weight[2, i]


def frame_factors(
    c_ref: Array,
    c_sample: Array,
    displacement: Array,
    fraction: Array,
    keep: Array,
    q: float,
    kappa: float,
    size: int,
) -> tuple[Array, Array, Array, Array, Array, Array, Array, Array, Array]:
    """Amplitudes and decays of one angle, padded to whole blocks of `size` frames (length L).

    Parameters
    ----------
    c_ref, c_sample : (N,) float64
        Integrated transport, Å².
    displacement : (N,) float64
        Å.
    fraction : (N,) float64
    keep : (N,) float64
        1 for frames that are data, 0 for excluded ones.
    q, kappa : float
        Wavevector and its component along the flow, 1/Å.
    size : int

    Returns
    -------
    weight : (3, L)
        Amplitudes r²/n, s²/n, √2 rs/n; 0 at excluded and padded frames.
    valid : (L,)
    step : (4, L)
        Decay from the frame before: reference, sample, real and imaginary part of the cross term.
    exponent : (2, L)
        q²C of both components, steps clipped at `MAX_STEP`.
    phase : (L,)
        κV, radians.
    to_last, from_first : (4, L)
        Decay from the frame to the last of its block, and from the first of its block to the frame.
    left, right : (4, L)
        Amplitudes times these decays.
    """
    length = -(-fraction.size // size) * size
    weight, valid, step = np.empty((3, length)), np.empty(length), np.empty((4, length))
    exponent, phase = np.empty((2, length)), np.empty(length)
    to_last, from_first, left, right = np.empty((4, 4, length))
    _weights_and_steps(c_ref, c_sample, displacement, fraction, keep, q, kappa, weight, valid, step, exponent, phase)
    _block_decays(step, size, to_last, from_first)
    _weighted(weight, to_last, left)
    _weighted(weight, from_first, right)
    return weight, valid, step, exponent, phase, to_last, from_first, left, right


def frame_slopes(
    weight: Array,
    fraction: Array,
    keep: Array,
    displacement: Array,
    gradients: tuple[Array, Array, Array, Array],
    q: float,
    kappa: float,
    kappa_slope: float,
    free: NDArray[np.int64],
) -> Array:
    """Derivative factors l_ck of the free parameters: c = 1, c = 2, and Re and -Im of c = 3.

    Parameters
    ----------
    weight : (3, L) float64
        From `frame_factors`.
    fraction, keep, displacement : (N,) float64
    gradients : ((3, N), (3, N), (3, N), (4, N)) float64
        Derivatives of c_ref, c_sample, displacement and fraction with respect to their parameters.
    q, kappa, kappa_slope : float
        1/Å, 1/Å, 1/(Å deg).
    free : (p,) int64
        Indices of the parameters, one for each lane.

    Returns
    -------
    (L, 4, LANES) float64
    """
    slope = np.zeros((weight.shape[1], 4, LANES))
    _fill_slopes(weight, fraction, keep, displacement, *gradients, q, kappa, kappa_slope, free, slope)
    return slope


@njit(**JIT)
def _couplings(blocks, size, exponent, phase, steep, out):  # type: ignore[no-untyped-def]
    for t in range(blocks.shape[0]):
        last, first = (blocks[t, 0] + 1) * size - 1, blocks[t, 1] * size
        if blocks[t, 0] == blocks[t, 1] and steep[blocks[t, 0]]:
            out[t, 0] = out[t, 1] = out[t, 2] = 1.0
            out[t, 3] = 0.0
            continue
        a, b = exponent[0, first] - exponent[0, last], exponent[1, first] - exponent[1, last]
        turn = phase[first] - phase[last]
        cross = math.exp(-0.5 * (a + b))
        out[t, 0], out[t, 1] = math.exp(-a), math.exp(-b)
        out[t, 2], out[t, 3] = cross * math.cos(turn), cross * math.sin(turn)


def couplings(blocks: NDArray[np.int64], size: int, exponent: Array, phase: Array, steep: NDArray[np.bool_]) -> Array:
    """Decay from the last frame of each row block to the first frame of each column block, (n, 4).

    On the diagonal it exceeds 1 and brings the factors of both sides together; `steep` blocks do without.
    """
    out = np.empty((blocks.shape[0], 4))
    _couplings(blocks, size, exponent, phase, steep, out)
    return out
