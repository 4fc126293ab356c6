"""Data, model and residual of one map, side by side."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from hetdask.results.formatting import format_number
from hetdask.results.maps import symmetric
from hetdask.results.plots.style import (
    EMPTY,
    MAP_COLOURS,
    MUTED,
    RESIDUAL_COLOURS,
    angle_title,
    limits,
    new_figure,
    panel_title,
    styled,
)

Array = NDArray[np.float64]


def _colours(name: str) -> Colormap:
    return mpl.colormaps[name].with_extremes(bad=EMPTY)


def _extend(values: Array, low: float, high: float) -> str:
    below, above = bool(np.any(values < low)), bool(np.any(values > high))
    return {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[below, above]


def _draw(
    axes: Axes, values: Array, extent: tuple[float, float], end: float, scale: tuple[str, float, float]
) -> AxesImage:
    """One map; cells begin at `extent[0]`, the axes stop at `end`: inside the last cell if it is a partial block."""
    name, low, high = scale
    image = axes.imshow(
        values,
        origin="lower",
        extent=(*extent, *extent),
        cmap=_colours(name),
        vmin=low,
        vmax=high,
        interpolation="nearest",
    )
    axes.set(xlim=(extent[0], end), ylim=(extent[0], end), aspect="equal", xlabel="t₁ (s)")
    axes.grid(visible=False)
    axes.spines[:].set_visible(True)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    return image


@styled
def maps_figure(dataset: xr.Dataset, angle: int) -> Figure:
    """Data and model on one colour scale, and the residual on a symmetric one.

    Parameters
    ----------
    dataset : xarray.Dataset
        As `hetdask.results.dataset` makes it, with maps.
    angle : int
        Index of the map.
    """
    one = dataset.isel(phi=angle)
    data, model, residual = (symmetric(one[name].to_numpy()) for name in ("data", "model", "residual"))
    time = dataset["time"].to_numpy()
    dt = float(time[1] - time[0])
    block = int(dataset["t1"].attrs["frames_per_block"])
    begin = float(time[0]) - dt / 2
    extent = (begin, begin + data.shape[0] * block * dt)
    low, high = limits(np.stack([data, model]))
    span = max(abs(edge) for edge in limits(residual))

    figure = new_figure(10.4, 3.55, "compressed")
    left, middle, right = figure.subplots(1, 3, sharey=True)
    end = float(time[-1]) + dt / 2
    _draw(left, data, extent, end, (MAP_COLOURS, low, high))
    shared = _draw(middle, model, extent, end, (MAP_COLOURS, low, high))
    difference = _draw(right, residual, extent, end, (RESIDUAL_COLOURS, -span, span))
    left.set_ylabel("t₂ (s)")
    for axes, text in ((left, "Data"), (middle, "Model"), (right, "Residual, data − model")):
        panel_title(axes, text)
    both = np.stack([data, model])
    bars = (
        (shared, [left, middle], _extend(both, low, high), "c₂", 0.015, 0.05),
        (difference, [right], _extend(residual, -span, span), "Δc₂", 0.03, 0.1),
    )
    for image, beside, extend, label, pad, fraction in bars:
        bar = figure.colorbar(image, ax=beside, extend=extend, pad=pad, fraction=fraction, aspect=24)
        bar.set_label(label)
        bar.outline.set_visible(False)
        bar.minorticks_off()
    figure.suptitle(angle_title(float(one["phi"]), float(one["q"])), x=0.01, ha="left", fontsize=11, fontweight="bold")
    figure.text(0.99, 0.985, _caption(one, block), ha="right", va="top", fontsize=8, color=MUTED)
    return figure


def _caption(one: xr.Dataset, block: int) -> str:
    parts = [
        f"contrast {format_number(float(one['contrast']))}",
        f"offset {format_number(float(one['offset']))}",
        f"residual rms {format_number(float(one['residual_rms']), 3)} per pixel",
    ]
    if block > 1:
        parts.append(f"each cell: mean of {block} × {block} pixels")
    return "   ·   ".join(parts)
