"""The loop over frames against the curves of the model in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from hetdask.errors import ConfigError
from hetdask.model import dynamics
from hetdask.passes.factors import LANE, series_factors

BLOCK = 16
FRAMES = 3 * BLOCK

EXPONENTS = st.one_of(st.floats(-0.95, 2.0), st.sampled_from([-0.5, 0.0, 1.0]))
LATE_EXPONENTS = st.one_of(EXPONENTS, st.floats(-2.0, 2.0), st.sampled_from([-1.0, -1.0 + 1e-9, -1.0 - 1e-12]))


def transport(exponents: st.SearchStrategy[float]) -> st.SearchStrategy[tuple[float, float, float]]:
    """Amplitude, exponent and offset of a rate that may change its sign."""
    return st.tuples(sizes(1e4), exponents, sizes(500.0))


def sizes(most: float) -> st.SearchStrategy[float]:
    """Zero, or no less than a millionth of the largest."""
    return st.one_of(st.just(0.0), st.floats(1e-6 * most, most), st.floats(-most, -1e-6 * most))


FLOWS = st.tuples(sizes(100.0), EXPONENTS, sizes(10.0))
SHARES = st.tuples(st.floats(0.0, 1.2), st.floats(-0.5, 0.5), st.floats(-5.0, 5.0), st.floats(-0.3, 0.8))


def compare(vector: np.ndarray, time: np.ndarray) -> None:
    expected = dynamics(vector, time)
    found = series_factors(vector, time, BLOCK)
    curves = {"reference": 0, "sample": 1, "motion": 2}
    for name, row in curves.items():
        curve = getattr(expected, name)
        amplitude, _, offset = np.abs(vector[3 * row : 3 * row + 3])
        # Both terms may nearly cancel.
        scale = max(float((np.abs(curve.gradient[[0, 2]]).T @ [amplitude, offset]).max()), 1e-300)
        assert_allclose(found.motion[row] / scale, curve.value / scale, rtol=0.0, atol=1e-13)
    s, r = expected.fraction, 1.0 - expected.fraction
    n = expected.intensity
    assert_allclose(found.amplitude[:, :3].T, [r * r / n, s * s / n, np.sqrt(2.0) * r * s / n], rtol=1e-13, atol=1e-15)
    gradient = np.concatenate(
        [expected.reference.gradient, expected.sample.gradient, expected.motion.gradient, expected.composition.gradient]
    )
    scale = np.maximum(np.abs(gradient).max(axis=1, keepdims=True), 1e-290)
    assert_allclose(found.gain[:, LANE[:13]].T / scale, gradient / scale, rtol=0.0, atol=1e-12)


@given(st.tuples(transport(EXPONENTS), transport(EXPONENTS), FLOWS, SHARES))
def test_curves_from_time_zero_are_those_of_the_model(parts: tuple[tuple[float, ...], ...]) -> None:
    compare(np.array([*(x for part in parts for x in part), 3.0]), 0.1 * np.arange(FRAMES))


@given(st.tuples(transport(LATE_EXPONENTS), transport(LATE_EXPONENTS), FLOWS, SHARES), st.floats(1e-3, 50.0))
def test_curves_from_a_later_time_are_those_of_the_model(parts: tuple[tuple[float, ...], ...], begin: float) -> None:
    compare(np.array([*(x for part in parts for x in part), 3.0]), begin + 0.1 * np.arange(FRAMES))


def test_a_flow_without_its_power_law_may_have_any_exponent() -> None:
    vector = np.array([100.0, 0.1, 1.0, 500.0, 0.1, 1.0, 0.0, -1.5, 3.0, 0.3, 0.1, 0.0, 0.1, 3.0])
    compare(vector, 0.1 * np.arange(FRAMES))


@pytest.mark.parametrize(("place", "name"), [(1, "alpha_ref"), (4, "alpha_sample"), (7, "beta")])
def test_an_exponent_that_makes_an_integral_diverge_is_named(place: int, name: str) -> None:
    vector = np.array([100.0, 0.1, 1.0, 500.0, 0.1, 1.0, 20.0, 0.1, 3.0, 0.3, 0.1, 0.0, 0.1, 3.0])
    vector[place] = -1.2
    with pytest.raises(ConfigError, match=name):
        series_factors(vector, 0.1 * np.arange(FRAMES), BLOCK)
