"""What is to be seen in a figure, in words and numbers, for readers who can't see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hetdask.results.formatting import format_number

if TYPE_CHECKING:
    import xarray as xr

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


def angle_name(dataset: xr.Dataset, angle: int) -> str:
    """Azimuth of a map, with its wavevector where those differ.

    Returns
    -------
    str
        Such as "φ = 30°" or "φ = 30°, q = 0.0054 Å⁻¹".
    """
    q = dataset["q"].to_numpy()
    phi = format_number(float(dataset["phi"][angle])).replace("-", "−")
    text = f"φ = {phi}°"
    if np.ptp(q) > 1e-3 * q.mean():
        text += f", q = {format_number(float(q[angle]), 3)} Å⁻¹"
    return text


def rate_text(dataset: xr.Dataset, name: str) -> str:
    """A quantity of the dynamics against time."""
    title, unit = _RATES[name]
    time, values = dataset["time"].to_numpy(), dataset[name].to_numpy()
    finite = np.flatnonzero(np.isfinite(values))
    if not finite.size:
        return f"{title} against time: no finite values."
    first, last = finite[0], finite[-1]
    begin, end = (
        f"{format_number(float(values[k]), 3)}{unit} at {format_number(float(time[k]), 3)} s" for k in (first, last)
    )
    text = f"{title} against time: {begin}, {end}; range {_range(values, unit)}."
    if f"{name}_stderr" in dataset:
        error = dataset[f"{name}_stderr"].to_numpy()
        text += f" Standard error {_range(error, unit, 2)}, drawn as a band."
    return text


def profile_text(dataset: xr.Dataset, index: int) -> str:
    """Deviance along a parameter."""
    one = dataset.isel(profiled=index)
    name = str(one["profiled"].item())
    unit = str(dataset["unit"].sel(parameter=name).item())
    values, deviance = one["profile_values"].to_numpy(), one["profile_deviance"].to_numpy()
    known = np.isfinite(values)
    parts = []
    for share in ("68", "95"):
        low, high = one[f"profile_interval_{share}"].to_numpy().tolist()
        begin = f"from {format_number(low, 5)}" if np.isfinite(low) else "open below"
        end = f"to {format_number(high, 5)}" if np.isfinite(high) else "open above"
        parts.append(f"{share} % {begin}, {end}")
    return (
        f"Deviance against {name}{f' in {unit}' if unit else ''}, {int(known.sum())} values "
        f"{_range(values[known], digits=5)}: largest {format_number(float(np.nanmax(deviance)), 3)}. "
        f"Intervals: {'; '.join(parts)}."
    )


def scaling_text(dataset: xr.Dataset, name: str, title: str) -> str:
    """Contrast, offset or residual of all maps."""
    values, phi = dataset[name].to_numpy(), dataset["phi"].to_numpy()
    text = f"{title} of {values.size} maps against azimuth from {_range(phi, '°')}: {_range(values)}"
    if name == "residual_rms":
        for other, what in (("expected_rms", "expected from noise"), ("sigma", "σ of one pixel")):
            level = dataset[other].to_numpy()
            if np.isfinite(level).any():
                text += f"; {what}: {_range(level)}"
    return text + "."


def map_text(dataset: xr.Dataset, angle: int, name: str) -> str:
    """One map."""
    one = dataset.isel(phi=angle)
    text = f"{_MAPS[name]} at {angle_name(dataset, angle)}: {_range(one[name].to_numpy(), digits=4)}"
    if name == "residual":
        return f"{text}; root mean square {format_number(float(one['residual_rms']), 3)} per pixel."
    time = dataset["time"].to_numpy()
    return f"{text} over times from {format_number(float(time[0]), 3)} to {format_number(float(time[-1]), 3)} s."


def cuts_text(dataset: xr.Dataset, angle: int) -> str:
    """One-time cuts of one map."""
    one = dataset.isel(phi=angle)
    parts = []
    for k, waiting in enumerate(dataset["waiting_time"].to_numpy()):
        data = one["cut_data"].to_numpy()[k]
        known = data[np.isfinite(data)]
        if known.size:
            ends = " to ".join(format_number(float(end), 4) for end in (known[0], known[-1]))
            parts.append(f"from t₁ = {format_number(float(waiting), 3)} s {ends}")
    if not parts:
        return f"One-time cuts at {angle_name(dataset, angle)}: no data."
    return (
        f"Correlation against lag at {angle_name(dataset, angle)}, data as points with error bars and model as lines, "
        f"shortest to longest lag: {'; '.join(parts)}. Their residuals are below."
    )


def history_text(dataset: xr.Dataset) -> str:
    """The evaluations of the fit."""
    values = dataset["history_chi_squared"].to_numpy() / max(dataset.attrs["dof"], 1)
    finite = values[np.isfinite(values)]
    rounds = np.unique(dataset["history_round"].to_numpy()).size
    text = f"Chi-squared per degree of freedom of {values.size} evaluations in {rounds} rounds of weighting"
    if not finite.size:
        return f"{text}: no finite values."
    return f"{text}: {format_number(float(finite[0]))} at first, {format_number(float(finite[-1]))} at last."
