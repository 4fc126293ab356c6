"""Panels for the report: small SVG images that take on the page's light or dark colours.

Each is a whole image with a style of its own, so that it can be saved from the page and used elsewhere.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from hetdask.results.dataset import Contents
from hetdask.results.plots.curves import (
    RatePanel,
    cuts_panel,
    history_panel,
    q_colours,
    rate_panel,
    scaling_panel,
    several_q,
)
from hetdask.results.plots.maps import colour_bar, map_panel, map_views
from hetdask.results.plots.palette import repalette
from hetdask.results.plots.profiles import profile_panel
from hetdask.results.plots.style import EMPTY, GRID, INK, MUTED, SERIES, new_figure, styled

WIDTH: Final = 4.6
"""Inches of a panel: its type is legible on a phone, where it fills the screen, and beside another on a desk."""

MARGINS: Final = (0.82, 0.12, 0.5, 0.12)
"""Left, right, bottom and top of the axes of curves, inches: room for numbers of seven characters beside a label."""

HEAD: Final = 0.16
"""More at the top, for a legend above the axes."""

MAP: Final = (0.62, 0.5, 2.9)
"""Left, bottom and side of a map on its panel, inches: the same for all, so that maps line up."""

BAR: Final = (0.12, 0.11)
"""Distance of the colour bar from its map, and its width, inches."""

DARK: Final = {
    INK: "#e8ebee",
    MUTED: "#98a3ae",
    GRID: "#2c343d",
    EMPTY: "#3a434d",
    SERIES[0]: "#56b4e9",
    SERIES[1]: "#ff8a4c",
    SERIES[2]: "#2fc79b",
}
"""The dark page's colours for those of all figures."""

FONTS: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

SETTINGS: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "hetdask",  # the same figure gives the same bytes
    "axes.facecolor": "none",
}

_FONT: Final = re.compile(r"(font(?:-family)?:[^;\"]*?)'DejaVu Sans'(?:,[^;\"]*)?")
_METADATA: Final = re.compile(r"<metadata>.*?</metadata>\s*", re.DOTALL)
_IMAGE: Final = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=\s]+)")


def _style() -> str:
    """Style sheet of a panel: its colours as variables, for light and dark pages."""
    light = "".join(f"--c{k}:{colour};" for k, colour in enumerate(DARK))
    dark = "".join(f"--c{k}:{colour};" for k, colour in enumerate(DARK.values()))
    return (
        f"<style>:root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}"
        "@media print{:root{" + light + "}}</style>"
    )


def _themed(svg: str) -> str:
    """SVG of matplotlib with variables for its colours, the page's fonts, and maps of one byte a pixel."""
    svg = _METADATA.sub("", svg[svg.index("<svg") :])
    for k, colour in enumerate(DARK):
        svg = svg.replace(f": {colour}", f": var(--c{k})")
    svg = _FONT.sub(lambda match: match[1] + FONTS, svg)
    svg = _IMAGE.sub(_smaller, svg)
    start = svg.index(">", svg.index("<svg")) + 1
    return svg[:start] + _style() + svg[start:]


def _smaller(match: re.Match[str]) -> str:
    png = repalette(base64.b64decode(match[1]))
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def panel(draw: Callable[[Figure], None], height: float, head: float = 0.0) -> str:
    """SVG of a panel of `WIDTH` × `height` inches, on which `draw` places its axes, with so much more at the top."""
    with mpl.rc_context(SETTINGS):
        figure = panel_figure(draw, height, head)
        figure.set_facecolor("none")
        out = io.StringIO()
        # `savefig` would draw twice.
        FigureCanvasSVG(figure).print_svg(out)  # type: ignore[no-untyped-call]
    return _themed(out.getvalue())


@styled
def panel_figure(draw: Callable[[Figure], None], height: float, head: float = 0.0) -> Figure:
    """Figure of a panel: margins are fixed, since seeking them would double the time of drawing."""
    figure = new_figure(WIDTH, height, None)
    left, right, bottom, top = MARGINS
    figure.subplots_adjust(left / WIDTH, bottom / height, 1.0 - right / WIDTH, 1.0 - (top + head) / height, hspace=0.08)
    draw(figure)
    return figure


def rate_image(contents: Contents, one: RatePanel) -> str:
    """One quantity of the dynamics against time."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        rate_panel(axes, contents, one)
        axes.set_xlabel("time (s)")

    return panel(draw, 2.4)


def profile_image(contents: Contents, index: int) -> str:
    """Deviance along a parameter."""
    return panel(lambda figure: profile_panel(figure.subplots(), contents, index), 2.6)


def scaling_image(contents: Contents, name: str, label: str) -> str:
    """Contrast, offset or residual of all maps against φ."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        scaling_panel(axes, contents, name, label)
        axes.set_xlabel("φ (degrees)")
        if several_q(contents):
            bar = figure.colorbar(q_colours(contents), ax=axes, pad=0.015, aspect=30)
            bar.set_label("q (Å⁻¹)")
            bar.outline.set_visible(False)

    return panel(draw, 2.4, HEAD)


def map_images(contents: Contents, angle: int) -> dict[str, str]:
    """Data, model and residual of one map."""
    views = map_views(contents, angle)
    left, bottom, side = MAP
    height = bottom + side + 0.1

    def place(figure: Figure, x: float, width: float) -> Axes:
        return figure.add_axes((x / WIDTH, bottom / height, width / WIDTH, side / height))

    def draw(figure: Figure, name: str) -> None:
        image = map_panel(place(figure, left, side), views[name], raw=True)
        beside = [views["data"], views["model"]] if name != "residual" else [views[name]]
        colour_bar(figure, image, beside, cax=place(figure, left + side + BAR[0], BAR[1]))

    return {name: panel(partial(draw, name=name), height) for name in views}


def cuts_image(contents: Contents, angle: int) -> str:
    """One-time cuts of one map."""

    def draw(figure: Figure) -> None:
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        cuts_panel(top, bottom, contents, angle)
        figure.align_ylabels()

    return panel(draw, 3.6)


def history_image(contents: Contents) -> str:
    """Chi-squared of every evaluation."""
    return panel(lambda figure: history_panel(figure.subplots(), contents), 2.6, HEAD)
