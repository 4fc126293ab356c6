"""Maps before any fit: measured ones with their statistics, and those of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hetdask.data.preview import Preview
from hetdask.results.formatting import format_number
from hetdask.results.maps import symmetric
from hetdask.results.plots.maps import MapView, Scale, colour_bar, map_panel
from hetdask.results.plots.style import MAP_COLOURS, MUTED, SERIES, angle_title, limits, new_figure, panel_title, styled
from hetdask.results.plots.thumbnails import block_means

Array = NDArray[np.float64]

SIDE: Final = 256
"""Most cells along one side of a drawn map: means over the pixels of each."""


class MeasuredMap(NamedTuple):
    """One map as it was measured.

    Attributes
    ----------
    phi, q : float
        Degrees, 1/Å.
    values : (N, N) float32
        NaN on and below the diagonal, and where a pixel is no data.
    noise : float
        White noise of one pixel.
    """

    phi: float
    q: float
    values: NDArray[np.float32]
    noise: float


def _view(values: Array, time: Array, label: str) -> MapView:
    """A full map as the means of at most `SIDE` cells along each side."""
    cells = block_means(values, SIDE)
    dt = float(time[1] - time[0])
    step = -(-values.shape[0] // SIDE) * dt
    low, high = limits(cells)
    return MapView(cells, float(time[0]) - dt / 2, step, float(time[-1]) + dt / 2, Scale(MAP_COLOURS, low, high, label))


def lag_means(upper: NDArray[np.float32]) -> Array:
    """Mean at each lag of 1 to N - 1 frames, over all times, (N - 1,) float64; NaN where there are no data."""
    out = np.full(upper.shape[0] - 1, np.nan)
    for lag in range(1, upper.shape[0]):
        line = np.diagonal(upper, lag)
        known = line[np.isfinite(line)]
        if known.size:
            out[lag - 1] = known.mean(dtype=np.float64)
    return out


@styled
def measured_figure(maps: Sequence[MeasuredMap], time: Array) -> Figure:
    """Each map beside its mean against lag, with its statistics in words.

    Parameters
    ----------
    maps : sequence of MeasuredMap
    time : (N,) float64
        s.
    """
    figure = new_figure(8.4, 3.6 * len(maps))
    panels = figure.subplots(len(maps), 2, squeeze=False, width_ratios=[1.05, 1.0])
    for (left, right), one in zip(panels, maps, strict=True):
        view = _view(symmetric(one.values), time, "c₂")
        colour_bar(figure, map_panel(left, view), [view], ax=left, fraction=0.06, pad=0.02)
        panel_title(left, angle_title(one.phi, one.q))
        right.plot(time[1:] - time[0], lag_means(one.values), color=SERIES[0])
        right.set_xscale("log")
        right.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        right.set(xlabel="lag τ (s)", ylabel="c₂, mean over all times")
        right.set_title(_statistics(one), loc="left", fontsize=8, color=MUTED)
    return figure


@styled
def preview_figure(previews: Sequence[Preview]) -> Figure:
    """Block means of each map beside its one-time cuts."""
    figure = new_figure(8.4, 3.6 * len(previews))
    panels = figure.subplots(len(previews), 2, squeeze=False, width_ratios=[1.05, 1.0])
    for (left, right), one in zip(panels, previews, strict=True):
        cells = symmetric(one.cells)
        low, high = limits(cells)
        end = one.begin + one.cells.shape[0] * one.step
        view = MapView(cells, one.begin, one.step, end, Scale(MAP_COLOURS, low, high, "c₂"))
        colour_bar(figure, map_panel(left, view), [view], ax=left, fraction=0.06, pad=0.02)
        panel_title(left, angle_title(one.phi, one.q))
        for colour, cut in zip(SERIES, one.cuts, strict=True):
            right.plot(cut.lag, cut.mean, "o", ms=2.6, color=colour, label=f"t₁ = {cut.waiting:.4g} s")
        right.set_xscale("log")
        right.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        right.set(xlabel="lag τ (s)", ylabel="c₂(t₁, t₁ + τ), block means")
        right.legend()
    return figure


def _statistics(one: MeasuredMap) -> str:
    known = one.values[np.isfinite(one.values)].astype(np.float64)
    if not known.size:
        return "no pixel is data"
    side = one.values.shape[0]
    share = 100.0 * known.size / (side * (side - 1) / 2)
    mean, spread, low, high = (
        format_number(float(x), 5) for x in (known.mean(), known.std(), known.min(), known.max())
    )
    return (
        f"{side} × {side} frames, {share:.4g} % of the pairs are data\n"
        f"{low} to {high}, mean {mean}\nstandard deviation {spread}, "
        f"white noise {format_number(one.noise, 3)}"
    )


@styled
def simulated_figure(values: Array, time: Array, title: str, label: str) -> Figure:
    """One map of a model, (N, N), on axes in seconds."""
    figure = new_figure(5.6, 4.6)
    axes = figure.subplots()
    view = _view(values, time, label)
    colour_bar(figure, map_panel(axes, view), [view], ax=axes, fraction=0.06, pad=0.02)
    panel_title(axes, title)
    return figure
