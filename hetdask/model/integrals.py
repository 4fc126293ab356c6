r"""Exact integrals of the model's power laws.

The transport rate is J(t) = max(D0 t^α + D_offset, 0) and the velocity v(t) = v0 t^β + v_offset.
Both integrals have closed forms: ∫ t^α dt = t^(α+1)/(α+1), written here with (e^z - 1)/z so that
α = -1 is a regular point. The bracket of J changes sign at most once, because t^α is monotone;
only the interval where it is positive is integrated.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hetdask.errors import ConfigError

Array = NDArray[np.float64]

_NEAR: Final = 1.0
"""Below this |(α+1) ln(stop/start)| the closed forms would cancel; (e^z - 1)/z does not."""

_SERIES_TERMS: Final = 20


class Curve:
    """A quantity at every frame; its derivatives are computed when they are asked for.

    Parameters
    ----------
    value : (N,) float64
    slopes : callable
        Returns the derivatives (p, N) with respect to the p parameters of the quantity.
    """

    def __init__(self, value: Array, slopes: Callable[[], Array]) -> None:
        self.value = value
        self._slopes = slopes

    @cached_property
    def gradient(self) -> Array:
        """Derivatives (p, N)."""
        return self._slopes()


def relative_expm1(z: Array) -> Array:
    """(e^z - 1)/z for |z| of order 1, regular at z = 0."""
    safe = np.where(z == 0.0, 1.0, z)
    return np.where(z == 0.0, 1.0, np.expm1(safe) / safe)


def relative_expm1_derivative(z: Array) -> Array:
    """d/dz of (e^z - 1)/z for |z| of order 1: the integral of x e^(zx) over x in 0..1, as its power series."""
    series = np.zeros_like(z)
    for k in range(_SERIES_TERMS, -1, -1):
        series = series * z + 1.0 / (math.factorial(k) * (k + 2))
    return series


def _log_ratio(start: float, stop: Array) -> Array:
    """ln(stop/start), accurate also where both are close, for any positive start."""
    near = np.minimum(stop - start, start)
    return np.where(stop - start < start, np.log1p(near / start), np.log(stop) - math.log(start))


def power_integral(start: float, stop: Array, exponent: float) -> Array:
    """Integral of t^exponent from `start` to each of `stop`.

    Parameters
    ----------
    start : float
        Lower limit, s; at least 0.
    stop : (N,) float64
        Upper limits, s; none below `start`.
    exponent : float
        Must exceed -1 where `start` is 0.

    Returns
    -------
    (N,) float64
    """
    c = exponent + 1.0
    if start <= 0.0:
        return np.asarray(stop**c / c)
    span = _log_ratio(start, stop)
    z = c * span
    near = np.abs(z) < _NEAR
    regular = start**c * span * relative_expm1(np.where(near, z, 0.0))
    return np.asarray(np.where(near, regular, (stop**c - start**c) / (c or 1.0)))


def power_log_integral(start: float, stop: Array, exponent: float, power: Array | None = None) -> Array:
    """Integral of t^exponent ln t: the derivative of `power_integral`, or `power`, with respect to the exponent."""
    c = exponent + 1.0
    if start <= 0.0:
        positive = stop > 0.0
        power = power_integral(start, stop, exponent) if power is None else power
        return np.where(positive, power * (np.log(np.where(positive, stop, 1.0)) - 1.0 / c), 0.0)
    log_start, safe = math.log(start), c or 1.0
    integral = (stop**c * (np.log(stop) - 1.0 / safe) - start**c * (log_start - 1.0 / safe)) / safe
    span = _log_ratio(start, stop)
    near = np.abs(c * span) < _NEAR
    z = c * span[near]
    inner = log_start * relative_expm1(z) + span[near] * relative_expm1_derivative(z)
    integral[near] = start**c * span[near] * inner
    return np.asarray(integral)


def positive_interval(amplitude: float, exponent: float, offset: float) -> tuple[float, float]:
    """Interval of t > 0 on which amplitude·t^exponent + offset is positive, as (lower, upper)."""
    if exponent == 0.0 or amplitude == 0.0:
        constant = amplitude + offset if exponent == 0.0 else offset
        return (0.0, math.inf) if constant > 0.0 else (0.0, 0.0)
    if amplitude * offset >= 0.0:
        return (0.0, math.inf) if max(amplitude, offset) > 0.0 else (0.0, 0.0)
    log_zero = (math.log(abs(offset)) - math.log(abs(amplitude))) / float(exponent)
    zero = math.exp(log_zero) if log_zero < 700.0 else math.inf
    return (zero, math.inf) if amplitude * exponent > 0.0 else (0.0, zero)


def _check_integrable(start: float, exponent: float, names: tuple[str, str]) -> None:
    if start <= 0.0 and exponent <= -1.0:
        raise ConfigError(
            f"{names[0]} = {exponent:g} makes the integral of {names[1]} diverge at t = 0: "
            f"choose {names[0]} > -1 or a time_origin > 0 (for example time_origin: one frame time)"
        )


def transport_interval(
    begin: float, end: float, amplitude: float, exponent: float, offset: float, name: str
) -> tuple[float, float] | None:
    """Where a transport rate is positive from `begin` on, as (start, upper); None where it is not before `end`.

    Raises
    ------
    ConfigError
        Where its integral from there diverges.
    """
    lower, upper = positive_interval(amplitude, exponent, offset)
    start = max(begin, lower)
    if start >= min(upper, end):
        return None
    _check_integrable(start, exponent, (f"alpha_{name}", f"J_{name}"))
    return start, upper


def flow_has_power_law(begin: float, amplitude: float, exponent: float) -> bool:
    """Whether the first term of the velocity has an integral from `begin`; it may have none where its size is 0.

    Raises
    ------
    ConfigError
        Where it has none and its size is not 0.
    """
    if amplitude != 0.0:
        _check_integrable(begin, exponent, ("beta", "v"))
    return begin > 0.0 or exponent > -1.0


def check_time(time: Array) -> None:
    """Raise ConfigError unless `time` is a non-negative, strictly increasing (N,) axis in s."""
    if time.ndim != 1 or time.size == 0 or not np.all(np.isfinite(time)):
        raise ConfigError(f"found a time axis of shape {time.shape}, expected (N,) finite values in s")
    if time[0] < 0.0 or (time.size > 1 and np.any(np.diff(time) <= 0.0)):
        raise ConfigError("the time axis must not be negative and must increase; check dt and time_origin")


def transport_integral(time: Array, amplitude: float, exponent: float, offset: float, name: str = "ref") -> Curve:
    """Integrated transport C(t) from time[0].

    Parameters
    ----------
    time : (N,) float64
        s, increasing.
    amplitude, exponent, offset : float
        D0 in Å²/s^(α+1), α, D_offset in Å²/s.
    name : str
        Component, for the error message.

    Returns
    -------
    Curve
        Å², not decreasing, 0 at the first frame; with derivatives with respect to amplitude, exponent and offset.

    Raises
    ------
    ConfigError
        Where α ≤ -1 and the time axis begins at 0.
    """
    active = transport_interval(float(time[0]), float(time[-1]), amplitude, exponent, offset, name)
    if active is None:
        return Curve(np.zeros_like(time), lambda: np.zeros((3, time.size)))
    start, upper = active
    stop = np.clip(time, start, upper)
    power, span = power_integral(start, stop, exponent), stop - start
    c = np.maximum.accumulate(np.maximum(amplitude * power + offset * span, 0.0))
    return Curve(c, lambda: np.stack([power, amplitude * power_log_integral(start, stop, exponent, power), span]))


def displacement_integral(time: Array, amplitude: float, exponent: float, offset: float) -> Curve:
    """Displacement V(t) from time[0], Å, with derivatives with respect to v0, β and v_offset."""
    start = float(time[0])
    span = time - start
    if not flow_has_power_law(start, amplitude, exponent):
        return Curve(offset * span, lambda: np.stack([np.zeros_like(span), np.zeros_like(span), span]))
    power = power_integral(start, time, exponent)
    return Curve(
        amplitude * power + offset * span,
        lambda: np.stack([power, amplitude * power_log_integral(start, time, exponent, power), span]),
    )
