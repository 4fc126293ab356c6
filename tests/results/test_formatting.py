"""Numbers carry as many digits as their errors allow."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetdask.results.formatting import format_fixed, format_measurement, format_number, format_seconds


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        (401.2345, 3.14159, ("401.2", "3.1")),
        (10243.0, 312.0, ("10240", "310")),
        (-0.00012, 0.5, ("0.00", "0.50")),
        (0.02, 0.0996, ("0.02", "0.10")),
        (1234567.0, 890.0, ("1.23457e+06", "0.00089e+06")),
        (0.0000123, 0.0000021, ("1.23e-05", "0.21e-05")),
        (0.0, 1e-9, ("0.0e-09", "1.0e-09")),
        (5.0, None, ("5", "–")),
        (5.0, math.nan, ("5", "–")),
        (5.0, 0.0, ("5", "–")),
    ],
)
def test_value_ends_where_its_error_does(value: float, error: float | None, expected: tuple[str, str]) -> None:
    assert format_measurement(value, error) == expected


@given(st.floats(-1e12, 1e12), st.floats(1e-12, 1e12))
def test_rounding_stays_far_below_the_error(value: float, error: float) -> None:
    shown_value, shown_error = map(float, format_measurement(value, error))
    assert abs(shown_value - value) <= 0.051 * error + 1e-12 * abs(value)
    assert shown_error == pytest.approx(error, rel=0.051)


def test_missing_numbers_are_dashes() -> None:
    assert (format_number(None), format_number(math.nan), format_fixed(None, 2), format_fixed(math.inf, 2)) == (
        ("–",) * 4
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0123, "12 ms"), (59.96, "1 min 0 s"), (3599.9, "1 h 0 min"), (45.0, "45.0 s")]
)
def test_durations_read_naturally(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
