"""What the parameters mean at every frame, and its derivatives: `hetdask.model.dynamics` in one loop over the frames.

The closed forms are those of `hetdask.model.integrals`, which says where they come from.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hetdask_kernels._jit import JIT, LANES, PART

Array = NDArray[np.float64]

NEAR: Final = 1.0
"""Below this |(α + 1) ln(stop/start)| the closed forms would cancel, and series are used."""

TERMS: Final = tuple(1.0 / (math.factorial(k) * (k + 2)) for k in range(20, -1, -1))
"""Coefficients of the derivative of (e^z - 1)/z, the highest power first."""

TINY: Final = 1e-290
"""A gain that never exceeds this adds nothing to a sum."""

GOLDEN: Final = 0.6180339887498949
"""Multiples of it are spread evenly modulo 1 and never meet."""


@njit(**PART)
def _log_ratio(start, stop):  # type: ignore[no-untyped-def]
    if stop - start < start:
        return math.log1p((stop - start) / start)
    return math.log(stop) - math.log(start)


@njit(**PART)
def _power_integral(start, stop, log_stop, c, base):  # type: ignore[no-untyped-def]
    """Integral of t^(c-1) from `start` to `stop`; `base` is start^c."""
    if start <= 0.0:
        return math.exp(c * log_stop) / c
    span = _log_ratio(start, stop)
    z = c * span
    if abs(z) < NEAR:
        return base * span * (math.expm1(z) / z if z != 0.0 else 1.0)
    return (math.exp(c * log_stop) - base) / c


@njit(**PART)
def _log_integral(start, stop, log_stop, c, base, power):  # type: ignore[no-untyped-def]
    """Integral of t^(c-1) ln t, where that of t^(c-1) is `power`: nothing else has to be raised to a power."""
    if start <= 0.0:
        return power * (log_stop - 1.0 / c) if stop > 0.0 else 0.0
    span = _log_ratio(start, stop)
    z = c * span
    if abs(z) < NEAR:
        series = 0.0
        for term in TERMS:
            series = series * z + term
        return math.log(start) * power + base * span * span * series
    return ((base + c * power) * (log_stop - 1.0 / c) - base * (math.log(start) - 1.0 / c)) / c


@njit(**PART)
def term_amplitudes(s):  # type: ignore[no-untyped-def]
    """Amplitudes of the three terms at a fraction s, and the derivatives of the second and the third.

    That of the first is minus the second's.
    """
    root = math.sqrt(2.0)
    r = 1.0 - s
    n = r * r + s * s
    return r * r / n, s * s / n, root * r * s / n, 2.0 * r * s / (n * n), root * (r - s) / (n * n)


@njit(**JIT)
def _frame_curves(time, log_time, laws, shares, motion, power, growth, amplitude):  # type: ignore[no-untyped-def]
    for n in range(3):
        start, upper, size, c, offset, acts = laws[n]
        base = start**c if start > 0.0 else 0.0
        highest = 0.0
        for i in range(time.shape[0]):
            stop = min(max(time[i], start), upper)
            value = offset * (stop - start)
            power[n, i] = 0.0
            if acts > 0.0:
                log_stop = log_time[i] if stop == time[i] else math.log(stop)
                power[n, i] = integral = _power_integral(start, stop, log_stop, c, base)
                value += size * integral
            if n < 2:
                highest = value = np.maximum(highest, value)  # what is not a number stays one
            motion[n, i] = value
    for i in range(time.shape[0]):
        growth[i] = grown = math.exp(min(shares[1] * (time[i] - shares[2]), 700.0))
        free = shares[0] * grown + shares[3]
        w1, w2, w3, bend, turn = term_amplitudes(min(max(free, 0.0), 1.0))
        amplitude[i, 0], amplitude[i, 1], amplitude[i, 2] = w1, w2, w3
        amplitude[i, 3], amplitude[i, 4], amplitude[i, 5] = -bend, bend, turn


def frame_curves(time: Array, log_time: Array, laws: Array, shares: Array) -> tuple[Array, Array, Array, Array]:
    """Integrated rates and amplitudes at all frames.

    Parameters
    ----------
    time, log_time : (L,) float64
        s, increasing, and its logarithm.
    laws : (3, 6) float64
        Of reference, sample and flow, whose rates are size·t^(c-1) + offset where they are not clipped: where that
        begins and ends, size, c, offset, and 0 where the first term adds nothing.
    shares : (4,) float64
        f0 to f3.

    Returns
    -------
    motion : (3, L)
        Integrated transport of reference and sample, Å², and displacement, Å, from the first frame.
    power : (3, L)
        Integrals of t^(c-1) in them.
    growth : (L,)
        Exponential in the fraction.
    amplitude : (L, 6)
        r²/n, s²/n, √2 rs/n of the terms, and their derivatives with respect to s.
    """
    motion, power, growth = np.empty((3, time.size)), np.empty((3, time.size)), np.empty(time.size)
    amplitude = np.empty((time.size, 6))
    _frame_curves(time, log_time, laws, shares, motion, power, growth, amplitude)
    return motion, power, growth, amplitude


@njit(**JIT)
def _frame_gains(time, log_time, laws, shares, displacement, power, growth, size, gain, probe):  # type: ignore[no-untyped-def]
    for n in range(3):
        start, upper, amplitude, c, _, acts = laws[n]
        base = start**c if start > 0.0 else 0.0
        for i in range(time.shape[0]):
            stop = min(max(time[i], start), upper)
            slope = 0.0
            if acts > 0.0:
                log_stop = log_time[i] if stop == time[i] else math.log(stop)
                slope = amplitude * _log_integral(start, stop, log_stop, c, base, power[n, i])
            gain[i, 4 * n], gain[i, 4 * n + 1], gain[i, 4 * n + 2] = power[n, i], slope, stop - start
    largest, weight = np.empty(LANES), np.empty(LANES)
    for first in range(0, time.shape[0], size):
        largest[:] = 0.0
        for i in range(first, first + size):
            row, since = gain[i], time[i] - shares[2]
            grown = growth[i]
            free = shares[0] * grown + shares[3]
            inside = 1.0 if 0.0 <= free <= 1.0 else 0.0
            row[3] = row[7] = 0.0
            row[11] = displacement[i]
            row[12], row[13] = inside * grown, inside * shares[0] * grown * since
            row[14], row[15] = -inside * shares[0] * shares[1] * grown, inside
            for k in range(LANES):
                largest[k] = max(largest[k], abs(row[k]))
        for k in range(LANES):
            # A weight of its own for each lane: what is rough in one is not cancelled by another.
            weight[k] = (0.5 + (GOLDEN * k) % 1.0) / largest[k] if largest[k] > TINY else 0.0
        for i in range(first, first + size):
            total = 1.0
            for k in range(LANES):
                total += gain[i, k] * weight[k]
            probe[i] = total


def frame_gains(
    time: Array,
    log_time: Array,
    laws: Array,
    shares: Array,
    displacement: Array,
    power: Array,
    growth: Array,
    size: int,
) -> tuple[Array, Array]:
    """Gains of the derivatives, which depend on no angle.

    Parameters
    ----------
    time, log_time, laws, shares
        As in `frame_curves`.
    displacement : (L,) float64
        Å.
    power, growth
        From `frame_curves`.
    size : int
        Frames in a block.

    Returns
    -------
    gain : (L, LANES)
        See `hetdask_kernels.GROUPS`.
    probe : (L,)
        One plus a sum of all gains, each scaled to at most 1 on its block: as rough as the roughest of them.
    """
    gain, probe = np.empty((time.size, LANES)), np.empty(time.size)
    _frame_gains(time, log_time, laws, shares, displacement, power, growth, size, gain, probe)
    return gain, probe
