"""Data, model and residual of one map, side by side."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from hetdask.results.dataset import Contents
from hetdask.results.formatting import format_number
from hetdask.results.maps import symmetric
from hetdask.results.plots.style import (
    EMPTY,
    INCHES,
    MAP_COLOURS,
    MUTED,
    RESIDUAL_COLOURS,
    Width,
    angle_title,
    figure_title,
    limits,
    new_figure,
    panel_title,
    styled,
)

Array = NDArray[np.float64]

MAP_PANELS: Final = (("data", "Data"), ("model", "Model"), ("residual", "Residual, data − model"))


class Scale(NamedTuple):
    """Colours of a map, their ends, and what they stand for."""

    colours: str
    low: float
    high: float
    label: str


class MapView(NamedTuple):
    """One map ready to be drawn.

    Attributes
    ----------
    values : (K, K) float64
        Symmetric; NaN where there are no data.
    begin, step, end : float
        Edge of the first cell, width of a cell and end of the axes, s; the last cell may be a partial block.
    scale : Scale
    """

    values: Array
    begin: float
    step: float
    end: float
    scale: Scale


def map_views(contents: Contents, angle: int) -> dict[str, MapView]:
    """Data and model of one map on one colour scale, and the residual on a symmetric one."""
    maps = {name: symmetric(contents[name][angle]) for name, _ in MAP_PANELS}
    low, high = limits(np.stack([maps["data"], maps["model"]]))
    span = max(abs(edge) for edge in limits(maps["residual"]))
    value, difference = Scale(MAP_COLOURS, low, high, "c₂"), Scale(RESIDUAL_COLOURS, -span, span, "Δc₂")
    time = contents["time"]
    dt = float(time[1] - time[0])
    step = contents.frames_per_block * dt
    begin, end = float(time[0]) - dt / 2, float(time[-1]) + dt / 2
    return {
        name: MapView(values, begin, step, end, difference if name == "residual" else value)
        for name, values in maps.items()
    }


def _extend(scale: Scale, *maps: Array) -> str:
    below = any(bool(np.any(values < scale.low)) for values in maps)
    above = any(bool(np.any(values > scale.high)) for values in maps)
    return {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[below, above]


def map_panel(axes: Axes, view: MapView, *, raw: bool = False) -> AxesImage:
    """One map on axes in seconds.

    Cells smaller than a pixel are averaged; with `raw`, vector files keep all cells, and cells without data are clear.
    """
    far = view.begin + view.values.shape[0] * view.step
    image = axes.imshow(
        view.values,
        origin="lower",
        extent=(view.begin, far, view.begin, far),
        cmap=mpl.colormaps[view.scale.colours].with_extremes(bad="none" if raw else EMPTY),
        vmin=view.scale.low,
        vmax=view.scale.high,
        interpolation="none" if raw else "antialiased",
        interpolation_stage="data",
    )
    axes.set(xlim=(view.begin, view.end), ylim=(view.begin, view.end), aspect="equal")
    axes.set(xlabel="t₁ (s)", ylabel="t₂ (s)")
    axes.grid(visible=False)
    axes.spines[:].set_visible(True)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    return image


def colour_bar(figure: Figure, image: AxesImage, views: list[MapView], **place: Any) -> None:
    """Colour bar of one or several maps of the same scale; arrows where values lie beyond its ends.

    `place` says where: ``ax`` the axes beside it, or ``cax`` its own.
    """
    scale = views[0].scale
    extend = _extend(scale, *(view.values for view in views))
    bar = figure.colorbar(image, extend=extend, **place)
    bar.set_label(scale.label)
    bar.outline.set_visible(False)
    bar.minorticks_off()


class Arrangement(NamedTuple):
    """Where a figure has its maps, all lengths in inches: seeking places would take as long as drawing.

    Attributes
    ----------
    height, side : float
        Of the figure, and of each map.
    corners : dict of str to (float, float)
        Lower left corner of each map.
    bar : (float, float)
        Distance of a colour bar from its map, and its width.
    ticks : int
        Most intervals between ticks.
    """

    height: float
    side: float
    corners: dict[str, tuple[float, float]]
    bar: tuple[float, float]
    ticks: int = 5


WIDE: Final = 10.4
"""Inches of a figure for screens: wider than others, for three maps side by side."""

ARRANGEMENTS: Final[dict[Width, Arrangement]] = {
    "screen": Arrangement(
        3.55, 2.5, {"data": (0.62, 0.56), "model": (3.36, 0.56), "residual": (6.84, 0.56)}, (0.13, 0.12)
    ),
    "double": Arrangement(
        2.15, 1.44, {"data": (0.58, 0.44), "model": (2.22, 0.44), "residual": (4.58, 0.44)}, (0.08, 0.08)
    ),
    # The residual below the others, and names above the bars, where there is room for them.
    "single": Arrangement(
        3.7, 1.12, {"data": (0.5, 2.3), "model": (1.72, 2.3), "residual": (0.5, 0.45)}, (0.06, 0.08), 3
    ),
}


@styled
def maps_figure(contents: Contents, angle: int, width: Width = "screen") -> Figure:
    """Data and model on one colour scale, and the residual on a symmetric one.

    Parameters
    ----------
    contents : Contents
        With maps.
    angle : int
        Index of the map.
    width : {"screen", "single", "double"}
        The narrow figure of a single column has the residual below.
    """
    views = map_views(contents, angle)
    wide = WIDE if width == "screen" else INCHES[width]
    height, side, corners, bar, ticks = ARRANGEMENTS[width]
    figure = new_figure(wide, height, None)

    def place(x: float, y: float, across: float) -> Axes:
        return figure.add_axes((x / wide, y / height, across / wide, side / height))

    images = {}
    for name, text in MAP_PANELS:
        axes = place(*corners[name], side)
        images[name] = map_panel(axes, views[name])
        axes.xaxis.set_major_locator(MaxNLocator(ticks))
        axes.yaxis.set_major_locator(MaxNLocator(ticks))
        panel_title(axes, name.capitalize() if width == "single" else text)
        if corners[name][0] > corners["data"][0]:
            axes.set_ylabel("")
            axes.tick_params(labelleft=False)
    for name, beside in (("model", ["data", "model"]), ("residual", ["residual"])):
        x, y = corners[name]
        scale = place(x + side + bar[0], y, bar[1])
        colour_bar(figure, images[name], [views[one] for one in beside], cax=scale)
        if width == "single":
            scale.set_title(scale.get_ylabel(), fontsize=8, loc="left")
            scale.set_ylabel("")
    figure_title(figure, angle_title(float(contents["phi"][angle]), float(contents["q"][angle])), width)
    if width == "screen":
        figure.text(0.99, 0.985, _caption(contents, angle), ha="right", va="top", fontsize=8, color=MUTED)
    return figure


def _caption(contents: Contents, angle: int) -> str:
    parts = [
        f"contrast {format_number(float(contents['contrast'][angle]))}",
        f"offset {format_number(float(contents['offset'][angle]))}",
        f"residual rms {format_number(float(contents['residual_rms'][angle]), 3)} per pixel",
    ]
    block = contents.frames_per_block
    if block > 1:
        parts.append(f"each cell: mean of {block} × {block} pixels")
    return "   ·   ".join(parts)
