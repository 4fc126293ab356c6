"""Numbers as people write them: as many digits as the error allows."""

from __future__ import annotations

import math

from hetdask.model.parameters import SPECS

MISSING = "–"
"""Shown where there is no number."""


def _unsigned_zero(text: str) -> str:
    return text.removeprefix("-") if float(text) == 0.0 else text


def format_number(value: float | None, digits: int = 4) -> str:
    """`value` with `digits` significant digits, without an error; a dash for None.

    Examples
    --------
    >>> format_number(0.00540001), format_number(1e6), format_number(None)
    ('0.0054', '1e+06', '–')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    return _unsigned_zero(f"{value:.{digits}g}")


def format_fixed(value: float | None, decimals: int) -> str:
    """`value` with `decimals` digits after the point, for columns; a dash for None.

    Examples
    --------
    >>> format_fixed(-0.00001, 2), format_fixed(1.0049, 3)
    ('0.00', '1.005')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    return _unsigned_zero(f"{value:.{decimals}f}")


def format_measurement(value: float, error: float | None) -> tuple[str, str]:
    """Value and standard error with two significant digits of the error, both to the same decimal place.

    Parameters
    ----------
    value : float
    error : float or None
        None: there is no error; the value then gets six significant digits.

    Examples
    --------
    >>> format_measurement(401.2345, 3.14159)
    ('401.2', '3.1')
    >>> format_measurement(10243.0, 312.0)
    ('10240', '310')
    >>> format_measurement(0.0000123, 0.0000021)
    ('1.23e-05', '0.21e-05')
    >>> format_measurement(5.0, None)
    ('5', '–')
    """
    if error is None or not math.isfinite(error) or error <= 0.0:
        return format_number(value, 6), MISSING
    largest = max(abs(value), error)
    exponent = math.floor(math.log10(largest))
    if -4 <= exponent < 6:
        exponent = 0
    scale = 10.0**exponent
    # Two digits of the error; rounding it first keeps 0.0996 at 0.10 rather than 0.100.
    place = 1 - math.floor(math.log10(float(f"{error / scale:.1e}")))
    decimals = max(place, 0)
    suffix = f"e{exponent:+03d}" if exponent else ""
    mantissas = (round(number / scale, place) for number in (value, error))
    shown = [_unsigned_zero(f"{mantissa:.{decimals}f}") + suffix for mantissa in mantissas]
    return shown[0], shown[1]


def format_seconds(seconds: float) -> str:
    """A duration for people.

    Examples
    --------
    >>> format_seconds(0.0123), format_seconds(12.34), format_seconds(754.0), format_seconds(9000.0)
    ('12 ms', '12.3 s', '12 min 34 s', '2 h 30 min')
    """
    if seconds < 1.0:
        return f"{seconds * 1e3:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def frames_text(frames: tuple[int, int], other_frames: tuple[int, int] | None) -> str:
    """Part of a map in words, from the frames of its earlier and of its later time; None are all.

    Examples
    --------
    >>> frames_text((3, 8), None), frames_text((3, 8), (20, 31))
    ('frames 3-8', 'frames 3-8 against 20-31')
    """
    return "frames {}-{}".format(*frames) + ("" if other_frames is None else " against {}-{}".format(*other_frames))


def sentence(text: str) -> str:
    """`text` with a capital letter, unless it begins with the name of a parameter, and a full stop."""
    first = text.split(maxsplit=1)[0]
    return f"{text if first in SPECS else text[:1].upper() + text[1:]}."
