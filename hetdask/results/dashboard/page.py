"""The page of a run as a Bokeh document: convergence, parameters, maps, speed and memory."""

from __future__ import annotations

import html
import math
from pathlib import Path
from typing import Any, Final

import numpy as np
from bokeh.core.properties import value
from bokeh.document import Document
from bokeh.layouts import column, gridplot, row
from bokeh.models import ColumnDataSource, DataRange1d, FactorRange, Image, LinearColorMapper, Range1d
from bokeh.models.annotations import Band, Span, Title, Whisker
from bokeh.models.widgets.markups import Div
from bokeh.palettes import interp_palette
from bokeh.plotting import figure

from hetdask.model.parameters import PARAMETERS
from hetdask.results.dashboard.files import RunFiles
from hetdask_cluster.memory import format_bytes

UPDATE_MILLISECONDS: Final = 1000
BLUE, ORANGE, GREY, RED = "#2a78d6", "#eb6834", "#898781", "#c0392b"
DIVERGING: Final = interp_palette(("#2a5fa8", "#f7f7f5", "#b3342e"), 255)
WIDTH, HEIGHT, SMALL = 460, 260, 150
TOOLS: Final = "pan,wheel_zoom,box_zoom,reset"
MIB: Final = 2**20
UNITS: Final = {spec.name: spec.unit for spec in PARAMETERS}


class RunPage:
    """Figures of a run, and their update from its files.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self.files = RunFiles(folder)
        self.head = Div(name="head", sizing_mode="stretch_width")
        self.convergence = ColumnDataSource({"evaluation": [], "excess": [], "text": []})
        self.best = ColumnDataSource({"evaluation": [], "excess": []})
        self.speed = ColumnDataSource({"evaluation": [], "rate": []})
        self.angles = ColumnDataSource({"phi": [], "chi": []})
        self.memory = ColumnDataSource({"who": [], "used": []})
        self.parameters: dict[str, ColumnDataSource] = {}
        self.residuals: list[ColumnDataSource] = []
        self.colours = LinearColorMapper(palette=DIVERGING, low=-1.0, high=1.0, nan_color="#00000000")
        self._grid, self._maps = column(name="parameters"), column(name="residuals")
        self._workers, self._size = FactorRange(factors=["-"]), Range1d(start=0.0, end=1.0)
        self._limit = Span(location=0, dimension="height", line_color=RED, line_width=2, visible=False)
        self._memory = self._memory_figure()
        self.body = column(
            self.head,
            row(self._convergence_figure(), self._angle_figure(), sizing_mode="scale_width"),
            row(self._speed_figure(), self._memory, sizing_mode="scale_width"),
            Div(text="<h2>Parameters</h2>"),
            self._grid,
            Div(text="<h2>Residuals</h2>"),
            self._maps,
            sizing_mode="stretch_width",
        )
        self.update()

    def update(self) -> None:
        """Show what is new."""
        if not self.files.refresh() and self.head.text:
            return
        history, best = self.files.history, self.files.best
        self.head.text = _head(self.files)
        self._show_memory()
        self._show_residuals()
        if best is None:
            return
        points = self._points()
        order = list(range(1, len(history) + 1))
        scaled = [entry["chi_squared"] / points for entry in history]
        self.convergence.data = {
            "evaluation": order,
            "excess": scaled,
            "text": [f"{entry['method']}, round {entry['round']}" for entry in history],
        }
        improved = [k for k, entry in enumerate(history) if entry["improved"]]
        self.best.data = {"evaluation": [k + 1 for k in improved], "excess": [scaled[k] for k in improved]}
        self.speed.data = {"evaluation": order, "rate": [entry["pixels_per_second"] / 1e6 for entry in history]}
        self._show_angles(best)
        self._show_parameters()

    def _points(self) -> float:
        """Pixels that χ² is summed over, 1 where they are not known."""
        known = self.files.result.get("n_points") or self.files.progress.get("n_points")
        return float(known or 1.0)

    def _show_angles(self, best: dict[str, Any]) -> None:
        known = self.files.result.get("angles", [])
        if known:
            chi = [one["reduced_chi_squared"] for one in known]
            self.angles.data = {"phi": [one["phi"] for one in known], "chi": chi}
        else:
            angles = self.files.progress.get("phi") or list(range(len(best["angles"])))
            self.angles.data = {"phi": angles, "chi": best["angles"]}

    def _show_parameters(self) -> None:
        names = self.files.free
        if set(names) - set(self.parameters):
            self.parameters = {
                name: ColumnDataSource({key: [] for key in ("evaluation", "value", "low", "high")}) for name in names
            }
            figures: list[Any] = [self._parameter_figure(name, source) for name, source in self.parameters.items()]
            self._grid.children = [gridplot(figures, ncols=4, toolbar_location=None)]
        entries = [(k + 1, entry) for k, entry in enumerate(self.files.history) if entry["improved"]]
        final = self.files.result.get("parameters", {})
        for name, source in self.parameters.items():
            x = [k for k, _ in entries]
            found = [entry["values"][name] for _, entry in entries]
            error = [entry["errors"].get(name, 0.0) for _, entry in entries]
            if final:
                x.append(x[-1] + 1)
                found.append(final[name]["value"])
                error.append(final[name]["stderr"] or 0.0)
            source.data = {
                "evaluation": x,
                "value": found,
                "low": [v - e for v, e in zip(found, error, strict=True)],
                "high": [v + e for v, e in zip(found, error, strict=True)],
            }

    def _show_memory(self) -> None:
        progress, final = self.files.progress, self.files.result.get("memory")
        if final:
            who, used = ["largest worker, peak", "client, peak"], [final["peak_worker"], final["peak_client"]]
        else:
            used = progress.get("workers", [])
            who = [f"worker {k}" for k in range(len(used))]
        limit = progress.get("limit")
        used = [value or 0 for value in used]
        if list(self._workers.factors) != who:
            self._workers.factors = who
        self.memory.data = {"who": who, "used": [value / MIB for value in used]}
        self._limit.visible = bool(limit)
        if limit:
            self._limit.location = limit / MIB
            self._size.end = 1.1 * max([limit, *used]) / MIB
            self._memory.title = f"Memory, with the limit of a worker ({format_bytes(limit)})"

    def _show_residuals(self) -> None:
        images = self.files.residual
        if len(images) != len(self.residuals):
            self.residuals = [ColumnDataSource({"image": []}) for _ in images]
            named = zip(self.residuals, self.files.phi, self.files.q, strict=True)
            figures: list[Any] = [
                self._residual_figure(source, f"φ = {phi:g}°, q = {q:.3g} 1/Å") for source, phi, q in named
            ]
            self._maps.children = [gridplot(figures, ncols=6, toolbar_location=None)]
        if len(images):
            high = float(np.nanpercentile(np.abs(images), 99.0)) or 1.0
            self.colours.update(low=-high, high=high)
        for source, image in zip(self.residuals, images, strict=True):
            source.data = {"image": [image]}

    def _convergence_figure(self) -> figure:
        plot = _figure("χ² over the number of pixels", "evaluation", "χ²/n", y_axis_type="log", tools=f"{TOOLS},hover",
                       tooltips=[("χ²/n", "@excess{0.00000}"), ("", "@text")])  # fmt: skip
        plot.scatter("evaluation", "excess", source=self.convergence, size=5, color=GREY)
        plot.line("evaluation", "excess", source=self.best, line_width=2, color=BLUE)
        return plot

    def _angle_figure(self) -> figure:
        plot = _figure("χ² over the number of pixels of each map", "φ (°)", "χ²/n")
        plot.scatter("phi", "chi", source=self.angles, size=8, color=ORANGE)
        plot.add_layout(Span(location=1.0, dimension="width", line_color=GREY, line_dash="dashed"))
        return plot

    def _speed_figure(self) -> figure:
        plot = _figure("Speed of the passes", "evaluation", "million pixels/s", y_range=DataRange1d(start=0))
        plot.line("evaluation", "rate", source=self.speed, line_width=2, color=BLUE)
        plot.scatter("evaluation", "rate", source=self.speed, size=5, color=BLUE)
        return plot

    def _memory_figure(self) -> figure:
        plot = figure(
            title="Memory", width=WIDTH, height=HEIGHT, y_range=self._workers, x_range=self._size, tools="",
            x_axis_label="MiB",
        )  # fmt: skip
        plot.toolbar.logo = None
        plot.hbar("who", right="used", height=0.7, source=self.memory, color=BLUE)
        plot.add_layout(self._limit)
        return plot

    def _parameter_figure(self, name: str, source: ColumnDataSource) -> figure:
        plot = figure(
            title=f"{name} ({UNITS[name]})" if UNITS[name] else name, width=WIDTH // 2, height=SMALL, tools=""
        )
        plot.add_layout(
            Band(base="evaluation", lower="low", upper="high", source=source, fill_color=BLUE, fill_alpha=0.25)
        )
        bar = Whisker(base="evaluation", lower="low", upper="high", source=source, line_color=BLUE, line_alpha=0.6)
        bar.update(lower_head=None, upper_head=None)
        plot.add_layout(bar)
        plot.line("evaluation", "value", source=source, line_width=2, color=BLUE)
        plot.scatter("evaluation", "value", source=source, size=4, color=BLUE)
        return plot

    def _residual_figure(self, source: ColumnDataSource, title: str) -> figure:
        head = Title(text=title, text_font_size="9px")
        plot = figure(title=head, width=SMALL, height=SMALL + 20, tools="", match_aspect=True)
        image = Image(image="image", x=value(0), y=value(0), dw=value(1), dh=value(1), color_mapper=self.colours)
        plot.add_glyph(source, image)
        plot.axis.visible = False
        plot.grid.visible = False
        return plot


def _figure(title: str, x: str, y: str, **options: Any) -> figure:
    options.setdefault("tools", TOOLS)
    plot = figure(title=title, x_axis_label=x, y_axis_label=y, width=WIDTH, height=HEIGHT, **options)
    plot.toolbar.logo = None
    return plot


def _head(files: RunFiles) -> str:
    """The state of the run in a line of text."""
    facts = [f"<b>{html.escape(files.state)}</b>"]
    step, last = files.progress.get("step"), files.history[-1] if files.history else None
    if step and not files.result:
        facts.append(html.escape(f"{step['text']}, {step['done']} of {step['total']}"))
    if last is not None:
        facts.append(f"{html.escape(last['method'])}, round {last['round']}, {len(files.history)} evaluations")
        found = files.result or files.best
        if found is not None:
            facts.append(f"χ² = {found['chi_squared']:.6g}")
        facts.append(f"{last['pixels_per_second'] / 1e6:.0f} million pixels/s")
    if files.progress.get("budget"):
        facts.append(f"memory budget {format_bytes(files.progress['budget'])}")
    seconds = _seconds(files)
    if math.isfinite(seconds):
        facts.append(f"{seconds:.0f} s")
    bands = (
        "Bands are standard errors; those of single evaluations take pixels as independent, which they are not: "
        "the last one counts."
    )
    return f"<h1>{html.escape(str(files.folder))}</h1><p>{' · '.join(facts)}</p><p>{bands}</p>"


def _seconds(files: RunFiles) -> float:
    """How long the run has taken."""
    if files.result:
        return float(files.result["timings"].get("total", math.nan))
    if files.progress:
        return float(files.progress["written"]) - float(files.progress["began"])
    return math.nan


def show_run(document: Document, folder: Path) -> None:
    """Draw the page of a run into a document, and keep it up to date."""
    page = RunPage(folder)
    document.title = f"hetdask: {folder.name}"
    document.add_root(page.body)
    document.add_periodic_callback(page.update, UPDATE_MILLISECONDS)
