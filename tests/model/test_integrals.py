"""Closed-form integrals against mpmath, at regular points and at every special one."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hetdask.errors import ConfigError
from hetdask.model.integrals import (
    displacement_integral,
    positive_interval,
    power_integral,
    power_log_integral,
    relative_expm1_derivative,
    transport_integral,
)

mpmath.mp.dps = 40

exponents = st.one_of(
    st.floats(-2.0, 2.0), st.sampled_from([-1.0, 0.0, 1.0, -1.0 + 1e-9, -1.0 - 1e-7, -1.0 + 1e-4, 1e-12])
)
starts = st.floats(1e-3, 50.0)
spans = st.floats(1e-6, 200.0)


def power(start: float, stop: float, exponent: float) -> mpmath.mpf:
    """Antiderivative of t^exponent between the limits, in 40 digits."""
    a, b, c = mpmath.mpf(start), mpmath.mpf(stop), mpmath.mpf(exponent) + 1
    return mpmath.log(b / a) if c == 0 else (b**c - (a**c if a > 0 else 0)) / c


def positive_part(start: float, stop: float, d0: float, alpha: float, offset: float) -> mpmath.mpf:
    """Integral of max(d0 t^alpha + offset, 0), the sign change found by bisection on log t."""

    def bracket(t: mpmath.mpf) -> mpmath.mpf:
        return mpmath.mpf(d0) * t ** mpmath.mpf(alpha) + mpmath.mpf(offset)

    def signed(a: mpmath.mpf, b: mpmath.mpf) -> mpmath.mpf:
        return mpmath.mpf(d0) * power(a, b, alpha) + mpmath.mpf(offset) * (b - a)

    a, b = mpmath.mpf(start), mpmath.mpf(stop)
    sign_a, sign_b = bracket(a) > 0, bracket(b) > 0
    if sign_a == sign_b:
        return signed(a, b) if sign_a else mpmath.mpf(0)
    low, high = a, b
    for _ in range(140):
        middle = (low + high) / 2
        low, high = (middle, high) if (bracket(middle) > 0) == sign_a else (low, middle)
    return signed(a, low) if sign_a else signed(high, b)


@given(start=starts, span=spans, exponent=exponents)
@settings(max_examples=150, deadline=None)
def test_power_integral_agrees_with_mpmath(start: float, span: float, exponent: float) -> None:
    stop = start + span
    expected = float(power(start, stop, exponent))
    assert power_integral(start, np.array([stop]), exponent)[0] == pytest.approx(expected, rel=1e-12)


@given(start=starts, span=spans, exponent=exponents)
@settings(max_examples=60, deadline=None)
def test_power_log_integral_agrees_with_mpmath(start: float, span: float, exponent: float) -> None:
    stop = start + span
    value = mpmath.quad(lambda t: t ** mpmath.mpf(exponent) * mpmath.log(t), mpmath.linspace(start, stop, 4))
    scale = float(power(start, stop, exponent)) * max(abs(np.log(start)), abs(np.log(stop)), 1.0)
    assert power_log_integral(start, np.array([stop]), exponent)[0] == pytest.approx(float(value), abs=1e-12 * scale)


@given(stop=st.floats(1e-3, 500.0), exponent=st.floats(-0.99, 2.0))
def test_integrals_from_zero_agree_with_mpmath(stop: float, exponent: float) -> None:
    c, b = mpmath.mpf(exponent) + 1, mpmath.mpf(stop)
    assert power_integral(0.0, np.array([stop]), exponent)[0] == pytest.approx(float(b**c / c), rel=1e-12)
    expected = b**c / c * (mpmath.log(b) - 1 / c)
    scale = float(b**c / c) * (abs(np.log(stop)) + 1.0 / float(c))
    assert power_log_integral(0.0, np.array([stop]), exponent)[0] == pytest.approx(float(expected), abs=1e-12 * scale)


@given(z=st.floats(-1.0, 1.0))
def test_the_series_agrees_with_its_integral(z: float) -> None:
    exact = mpmath.quad(lambda x: x * mpmath.exp(mpmath.mpf(z) * x), [0, 1])
    assert relative_expm1_derivative(np.array([z]))[0] == pytest.approx(float(exact), rel=2e-13)


@given(
    start=st.floats(1e-2, 5.0),
    span=st.floats(0.1, 100.0),
    d0=st.floats(1.0, 1e6),
    alpha=exponents,
    offset=st.floats(-1e4, 1e4),
)
@settings(max_examples=150, deadline=None)
def test_transport_integral_takes_only_the_positive_part(
    start: float, span: float, d0: float, alpha: float, offset: float
) -> None:
    time = start + span * np.array([0.0, 0.3, 1.0])
    c = transport_integral(time, d0, alpha, offset).value
    scale = d0 * power_integral(start, time, alpha)[-1] + abs(offset) * span
    for k in range(3):
        expected = positive_part(start, time[k], d0, alpha, offset)
        assert c[k] == pytest.approx(float(expected), abs=1e-12 * scale)
    assert np.all(np.diff(c) >= 0.0)


@given(
    d0=st.floats(1.0, 1e4),
    alpha=st.floats(-0.9, 2.0),
    offset=st.one_of(st.floats(-1e3, -0.5), st.floats(0.5, 1e3)),
    origin=st.sampled_from([0.0, 0.5]),
)
@settings(max_examples=100, deadline=None)
def test_transport_derivatives_agree_with_differences(d0: float, alpha: float, offset: float, origin: float) -> None:
    time = origin + np.array([0.0, 1.0, 7.0])
    # Where the rate vanishes at all times at once, its positive part has a kink in every parameter.
    assume(np.ptp(d0 * time[1:] ** alpha) > 0.1 * d0 or np.all(np.abs(d0 * time[1:] ** alpha + offset) > 0.1 * d0))
    gradient = transport_integral(time, d0, alpha, offset).gradient
    for k, step in enumerate((1e-6 * d0, 1e-7, 1e-4 * max(abs(offset), 1.0))):
        shift = np.zeros(3)
        shift[k] = step
        plus = transport_integral(time, *(np.array([d0, alpha, offset]) + shift)).value
        minus = transport_integral(time, *(np.array([d0, alpha, offset]) - shift)).value
        scale = np.abs(gradient[k]).max() + 1e-9
        np.testing.assert_allclose((plus - minus) / (2 * step), gradient[k], atol=2e-4 * scale, rtol=2e-4)


def test_a_rate_that_is_never_positive_gives_zero() -> None:
    time = np.linspace(0.0, 5.0, 6)
    c = transport_integral(time, 10.0, 0.0, -20.0)
    assert np.all(c.value == 0.0)
    assert np.array_equal(c.gradient, np.zeros((3, 6)))


@pytest.mark.parametrize(
    ("d0", "alpha", "offset", "expected"),
    [
        (1.0, 0.0, 0.0, (0.0, np.inf)),
        (4.0, 0.5, -4.0, (1.0, np.inf)),
        (4.0, -0.5, -4.0, (0.0, 1.0)),
        (-4.0, 0.5, 4.0, (0.0, 1.0)),
        (4.0, 0.0, -4.0, (0.0, 0.0)),
        (1.0, 1e-6, -2.0, (np.inf, np.inf)),
    ],
)
def test_the_sign_change_is_found(d0: float, alpha: float, offset: float, expected: tuple[float, float]) -> None:
    assert positive_interval(d0, alpha, offset) == pytest.approx(expected)


def test_displacement_may_run_backwards() -> None:
    time = np.linspace(0.0, 4.0, 5)
    v = displacement_integral(time, -3.0, 1.0, 0.5)
    np.testing.assert_allclose(v.value, -1.5 * time**2 + 0.5 * time)
    np.testing.assert_allclose(v.gradient[0], time**2 / 2)


@pytest.mark.parametrize("alpha", [-1.0, -1.5])
def test_divergence_at_zero_names_parameter_and_time_origin(alpha: float) -> None:
    with pytest.raises(ConfigError, match=r"alpha_sample.*time_origin"):
        transport_integral(np.linspace(0.0, 1.0, 3), 10.0, alpha, 0.0, "sample")
    with pytest.raises(ConfigError, match=r"beta.*time_origin"):
        displacement_integral(np.linspace(0.0, 1.0, 3), 10.0, alpha, 0.0)


def test_minus_one_is_regular_away_from_zero() -> None:
    time = 0.1 * np.arange(1, 5)
    c = transport_integral(time, 2.0, -1.0, 0.0).value
    np.testing.assert_allclose(c, 2.0 * np.log(time / time[0]), rtol=1e-14)
