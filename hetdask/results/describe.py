"""What is to be seen in a figure, in words and numbers, for readers who can't see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hetdask.model.parameters import NAMES
from hetdask.results.formatting import format_number

if TYPE_CHECKING:
    from hetdask.results.dataset import Contents

Array = NDArray[np.float64]

_RATES = {
    "J_ref": ("Transport rate of the reference", " Å²/s"),
    "J_sample": ("Transport rate of the sample", " Å²/s"),
    "velocity": ("Velocity", " Å/s"),
    "fraction": ("Sample fraction", ""),
}
_MAPS = {
    "data": "Measured two-time correlation",
    "model": "Fitted two-time correlation",
    "residual": "Residual, data less model,",
}


def _range(values: Array, unit: str = "", digits: int = 3) -> str:
    """Smallest and largest finite value."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return "no finite values"
    low, high = (f"{format_number(float(edge), digits)}{unit}" for edge in (finite.min(), finite.max()))
    return low if low == high else f"{low} to {high}"


def angle_name(contents: Contents, angle: int) -> str:
    """Azimuth of a map, with its wavevector where those differ.

    Returns
    -------
    str
        Such as "φ = 30°" or "φ = 30°, q = 0.0054 Å⁻¹".
    """
    q = contents["q"]
    phi = format_number(float(contents["phi"][angle])).replace("-", "−")
    text = f"φ = {phi}°"
    if np.ptp(q) > 1e-3 * q.mean():
        text += f", q = {format_number(float(q[angle]), 3)} Å⁻¹"
    return text


def rate_text(contents: Contents, name: str) -> str:
    """A quantity of the dynamics against time."""
    title, unit = _RATES[name]
    time, values = contents["time"], contents[name]
    finite = np.flatnonzero(np.isfinite(values))
    if not finite.size:
        return f"{title} against time: no finite values."
    first, last = finite[0], finite[-1]
    begin, end = (
        f"{format_number(float(values[k]), 3)}{unit} at {format_number(float(time[k]), 3)} s" for k in (first, last)
    )
    text = f"{title} against time: {begin}, {end}; range {_range(values, unit)}."
    if f"{name}_stderr" in contents:
        error = contents[f"{name}_stderr"]
        text += f" Standard error {_range(error, unit, 2)}, drawn as a band."
    return text


def profile_text(contents: Contents, index: int) -> str:
    """Deviance along a parameter."""
    name = str(contents["profiled"][index])
    unit = str(contents["unit"][NAMES.index(name)])
    values, deviance = contents["profile_values"][index], contents["profile_deviance"][index]
    known = np.isfinite(values)
    parts = []
    for share in ("68", "95"):
        low, high = contents[f"profile_interval_{share}"][index].tolist()
        begin = f"from {format_number(low, 5)}" if np.isfinite(low) else "open below"
        end = f"to {format_number(high, 5)}" if np.isfinite(high) else "open above"
        parts.append(f"{share} % {begin}, {end}")
    return (
        f"Deviance against {name}{f' in {unit}' if unit else ''}, {int(known.sum())} values "
        f"{_range(values[known], digits=5)}: largest {format_number(float(np.nanmax(deviance)), 3)}. "
        f"Intervals: {'; '.join(parts)}."
    )


def scaling_text(contents: Contents, name: str, title: str) -> str:
    """Contrast, offset or residual of all maps."""
    values, phi = contents[name], contents["phi"]
    text = f"{title} of {values.size} maps against azimuth from {_range(phi, '°')}: {_range(values)}"
    if name == "residual_rms":
        for other, what in (("expected_rms", "expected from noise"), ("sigma", "σ of one pixel")):
            level = contents[other]
            if np.isfinite(level).any():
                text += f"; {what}: {_range(level)}"
    return text + "."


def map_text(contents: Contents, angle: int, name: str) -> str:
    """One map."""
    text = f"{_MAPS[name]} at {angle_name(contents, angle)}: {_range(contents[name][angle], digits=4)}"
    if name == "residual":
        return f"{text}; root mean square {format_number(float(contents['residual_rms'][angle]), 3)} per pixel."
    time = contents["time"]
    return f"{text} over times from {format_number(float(time[0]), 3)} to {format_number(float(time[-1]), 3)} s."


def cuts_text(contents: Contents, angle: int) -> str:
    """One-time cuts of one map."""
    parts = []
    for waiting, data in zip(contents["waiting_time"], contents["cut_data"][angle], strict=True):
        known = data[np.isfinite(data)]
        if known.size:
            ends = " to ".join(format_number(float(end), 4) for end in (known[0], known[-1]))
            parts.append(f"from t₁ = {format_number(float(waiting), 3)} s {ends}")
    if not parts:
        return f"One-time cuts at {angle_name(contents, angle)}: no data."
    return (
        f"Correlation against lag at {angle_name(contents, angle)}, data as points with error bars and model as "
        f"lines, shortest to longest lag: {'; '.join(parts)}. Their residuals are below."
    )


def history_text(contents: Contents) -> str:
    """The evaluations of the fit."""
    values = contents["history_chi_squared"] / max(contents.attrs["dof"], 1)
    finite = values[np.isfinite(values)]
    rounds = np.unique(contents["history_round"]).size
    text = f"Chi-squared per degree of freedom of {values.size} evaluations in {rounds} rounds of weighting"
    if not finite.size:
        return f"{text}: no finite values."
    return f"{text}: {format_number(float(finite[0]))} at first, {format_number(float(finite[-1]))} at last."
