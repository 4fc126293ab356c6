"""The look of all figures: type, colours, grids, widths; and how they reach the disk."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Final, Literal
from uuid import uuid4

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

DPI: Final = 150
PRINT_DPI: Final = 600
"""Of maps within vector figures."""

INK: Final = "#1f2933"
MUTED: Final = "#616e7c"
GRID: Final = "#e4e7eb"
EMPTY: Final = "#d9dce1"
"""Pixels without data."""

SERIES: Final = ("#0072b2", "#d55e00", "#009e73")
"""Okabe and Ito's blue, vermilion and green: distinct under every common colour vision deficiency."""

type Width = Literal["screen", "single", "double"]
"""For screens and slides, or for one column or two columns of a journal page."""

INCHES: Final[dict[Width, float]] = {"screen": 8.0, "single": 3.4, "double": 7.0}

type FigureFormat = Literal["png", "pdf", "svg"]

MAP_COLOURS: Final = "viridis"
RESIDUAL_COLOURS: Final = "RdBu_r"

STYLE: Final[dict[Any, Any]] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9.0,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-4, 5),
    "axes.unicode_minus": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.fontsize": 8.0,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    # Maps in vector files keep their own pixels; text stays text that an editor of figures can change.
    "image.composite_image": False,
    "pdf.fonttype": 42,
    "svg.hashsalt": "hetdask",
}


def styled[**P, R](draw: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function so that it draws in this style, whatever the caller's settings are."""

    @wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return wrapper


def new_figure(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """Empty figure of `width` × `height` inches on an Agg canvas; without a layout, axes stay where they are put."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def figure_title(figure: Figure, text: str, width: Width) -> None:
    """Heading at the left; none on figures for papers, where the caption says it."""
    if width == "screen":
        figure.suptitle(text, x=0.01, ha="left", fontsize=11, fontweight="bold")


def panel_title(axes: Axes, text: str) -> None:
    """Title at the left of a panel."""
    axes.set_title(text, loc="left", color=INK)


def limits(values: NDArray[np.floating], low: float = 0.5, high: float = 99.5) -> tuple[float, float]:
    """Percentiles of the finite values as the ends of a colour scale; never equal; (0, 1) where nothing is finite."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return 0.0, 1.0
    lower, upper = (float(edge) for edge in np.percentile(finite, [low, high]))
    if upper <= lower:
        spread = max(abs(lower), 1.0) * 1e-6
        return lower - spread, upper + spread
    return lower, upper


def angle_title(phi: float, q: float) -> str:
    """Which map this is."""
    return f"φ = {phi:.4g}°,  q = {q:.4g} Å⁻¹".replace("-", "−")


@styled
def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure under a temporary name and move it into place; returns `path`, whose suffix is the format.

    The same figure gives the same bytes: no dates are written.
    """
    kind = path.suffix.removeprefix(".")
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}.tmp")
    try:
        if kind == "png":
            # `savefig` would draw twice. Half the time of a map would go into the last tenth of its compression.
            options = {"metadata": {"Software": "hetdask"}, "pil_kwargs": {"compress_level": 1}}
            FigureCanvasAgg(figure).print_png(temporary, **options)  # type: ignore[no-untyped-call]
        else:
            dated = {"pdf": "CreationDate"}.get(kind, "Date")
            figure.savefig(temporary, format=kind, metadata={"Creator": "hetdask", dated: None}, dpi=PRINT_DPI)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
