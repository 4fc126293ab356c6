"""One-time cuts, dynamics, history and scaling: panels that draw on axes of the caller, and figures made of them."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from hetdask.results.dataset import Contents
from hetdask.results.plots.cuts import cut_noise, spread, thin
from hetdask.results.plots.style import (
    EMPTY,
    INCHES,
    INK,
    MUTED,
    SERIES,
    Width,
    angle_title,
    figure_title,
    limits,
    new_figure,
    panel_title,
    styled,
)

Array = NDArray[np.float64]


class RatePanel(NamedTuple):
    """How a quantity of the dynamics is drawn."""

    name: str
    colour: str
    title: str
    label: str


RATE_PANELS: Final = (
    RatePanel("J_ref", SERIES[0], "Transport of the reference", "J (Å²/s)"),
    RatePanel("J_sample", SERIES[1], "Transport of the sample", "J (Å²/s)"),
    RatePanel("velocity", SERIES[2], "Velocity", "v (Å/s)"),
    RatePanel("fraction", INK, "Sample fraction", "s"),
)

SCALING_PANELS: Final = (("contrast", "contrast"), ("offset", "offset"), ("residual_rms", "residual rms"))


def _finite(values: Array) -> Array:
    return np.where(np.isfinite(values), values, np.nan)


def cuts_panel(axes: Axes, below: Axes, contents: Contents, angle: int) -> None:
    """c2 against lag at three waiting times with error bars, model as lines; the residual on the axes `below`.

    Parameters
    ----------
    axes, below : Axes
    contents : Contents
        With maps and cuts.
    angle : int
        Index of the map.
    """
    lag, waiting = contents["lag"], contents["waiting_time"]
    data, model = (contents[name][angle].astype(np.float64) for name in ("cut_data", "cut_model"))
    pixels = contents["cut_pixels"][angle].astype(np.float64)
    noise, drawn = cut_noise(contents, angle), spread(lag.size)
    style: dict[str, Any] = {"fmt": "o", "ms": 2.6, "mew": 0.0, "elinewidth": 0.7, "alpha": 0.8}
    for colour, start, measured, fitted, count in zip(SERIES, waiting, data, model, pixels, strict=True):
        x, y, error = thin(lag, measured, count, noise)
        axes.errorbar(x, y, error, color=colour, **style)
        axes.plot(lag[drawn], _finite(fitted[drawn]), color=colour, lw=1.3, label=f"t₁ = {start:.4g} s", zorder=3)
        x, y, error = thin(lag, measured - fitted, count, noise)
        below.errorbar(x, y, error, color=colour, **style)
    below.axhline(0.0, color=MUTED, lw=0.8)
    axes.set_xscale("log")
    reach = lag[np.isfinite(model).any(axis=0)]
    axes.set_xlim(0.8 * lag[1], 1.25 * max(reach[-1] if reach.size else 0.0, lag[1]))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_ylabel("c₂(t₁, t₁ + τ)")
    axes.legend(title="points: data, lines: model", title_fontsize=8, alignment="left")
    below.set(ylabel="Δc₂", xlabel="lag τ (s)")
    below.yaxis.set_major_locator(MaxNLocator(4))


@styled
def cuts_figure(contents: Contents, angle: int, width: Width = "screen") -> Figure:
    """One-time cuts of one map; parameters are those of `hetdask.results.plots.maps_figure`."""
    figure = new_figure(min(INCHES[width], 6.4), 3.4 if width == "single" else 4.7)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    cuts_panel(top, bottom, contents, angle)
    figure.align_ylabels()
    figure_title(figure, angle_title(float(contents["phi"][angle]), float(contents["q"][angle])), width)
    return figure


def rate_panel(axes: Axes, contents: Contents, panel: RatePanel) -> None:
    """One quantity of the dynamics against time, with its band of one standard error where there is one."""
    time = contents["time"]
    values = _finite(contents[panel.name])
    axes.plot(time, values, color=panel.colour)
    shown = [values]
    if f"{panel.name}_stderr" in contents:
        error = _finite(contents[f"{panel.name}_stderr"])
        axes.fill_between(time, values - error, values + error, color=panel.colour, alpha=0.22, lw=0)
        shown += [values - error, values + error]
    # A rate that diverges at t = 0 would flatten the rest of its curve: the first percent may leave the panel.
    later = np.stack(shown)[:, max(1, time.size // 100) :]
    low, high = limits(later, 0.0, 100.0)
    low, high = min(low, 0.0), max(high, 0.0)
    axes.set_ylim(low - 0.05 * (high - low), high + 0.08 * (high - low))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    if panel.name == "velocity":
        axes.axhline(0.0, color=MUTED, lw=0.8)
    if panel.name == "fraction":
        axes.set_ylim(-0.03, 1.03)
    axes.set_ylabel(panel.label)
    axes.margins(x=0.0)


@styled
def dynamics_figure(contents: Contents, width: Width = "screen") -> Figure:
    """Transport rates, velocity and sample fraction against time."""
    narrow = width == "single"
    figure = new_figure(INCHES[width], 6.4 if narrow else 5.0)
    panels = figure.subplots(4 if narrow else 2, 1 if narrow else 2, sharex=True).ravel()
    for axes, panel in zip(panels, RATE_PANELS, strict=True):
        rate_panel(axes, contents, panel)
        panel_title(axes, panel.title)
    for axes in panels[3:] if narrow else panels[2:]:
        axes.set_xlabel("time (s)")
    figure.align_ylabels()
    figure_title(figure, "Fitted dynamics", width)
    return figure


def history_panel(axes: Axes, contents: Contents) -> None:
    """Chi-squared per degree of freedom of every evaluation, with the best so far and the rounds of weighting."""
    chi_squared = contents["history_chi_squared"] / max(contents.attrs["dof"], 1)
    rounds = contents["history_round"]
    evaluation = np.arange(1, chi_squared.size + 1)
    room = -np.inf
    for number in np.unique(rounds):
        here = rounds == number
        first, last = evaluation[here][0], evaluation[here][-1]
        if number % 2 == rounds.min() % 2:
            axes.axvspan(first - 0.5, last + 0.5, color=EMPTY, alpha=0.35, lw=0)
        # A label needs about a sixth of the width: those of short rounds are left out, and of rounds at the very end.
        if first >= room and first <= 0.86 * chi_squared.size:
            axes.text(
                first - 0.5,
                1.01,
                f"round {number}",
                transform=axes.get_xaxis_transform(),
                va="bottom",
                fontsize=8,
                color=MUTED,
            )
            room = first + chi_squared.size / 6
        best = np.minimum.accumulate(np.where(np.isfinite(chi_squared[here]), chi_squared[here], np.inf))
        axes.step(
            evaluation[here],
            _finite(best),
            where="post",
            color=SERIES[0],
            label="best so far" if number == rounds.min() else None,
        )
    improved = contents["history_improved"]
    size = 4.5 if chi_squared.size <= 100 else 2.0
    if not improved.all():
        worse = (evaluation[~improved], chi_squared[~improved])
        axes.plot(*worse, "o", ms=size, color=SERIES[1], fillstyle="none", mew=0.7, label="no improvement")
    axes.plot(evaluation[improved], chi_squared[improved], "o", ms=size, color=SERIES[0], label="improvement")
    positive = chi_squared[np.isfinite(chi_squared) & (chi_squared > 0.0)]
    if positive.size and positive.max() > 10.0 * positive.min():
        axes.set_yscale("log")
    axes.set(xlabel="evaluation", ylabel="χ² / degree of freedom")
    axes.set_xlim(0.5, max(chi_squared.size, 1) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    if chi_squared.size:
        axes.legend(loc="upper right")


@styled
def history_figure(contents: Contents, width: Width = "screen") -> Figure:
    """Chi-squared of every evaluation of the fit."""
    figure = new_figure(min(INCHES[width], 6.4), 2.6 if width == "single" else 3.8)
    history_panel(figure.subplots(), contents)
    figure_title(figure, "Way of the fit", width)
    return figure


def several_q(contents: Contents) -> bool:
    """Whether the maps are of different wavevectors, by more than the spread of one detector ring."""
    q = contents["q"]
    return bool(np.ptp(q) > 1e-3 * q.mean())


def q_colours(contents: Contents) -> ScalarMappable:
    """Colour scale of the wavevectors."""
    q = contents["q"]
    return ScalarMappable(Normalize(q.min(), q.max()), "viridis")


def scaling_panel(axes: Axes, contents: Contents, name: str, label: str) -> None:
    """Contrast, offset or residual of all maps against φ; maps of different q in different colours."""
    phi = contents["phi"]
    order = np.argsort(phi, kind="stable")
    small = phi.size > 60
    shades = q_colours(contents).to_rgba(contents["q"][order]) if several_q(contents) else SERIES[0]
    values = contents[name]
    axes.scatter(phi[order], values[order], color=shades, s=10 if small else 24, lw=0, zorder=3)
    axes.set_ylabel(label)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    if name != "residual_rms":
        return
    dash: dict[str, Any] = {
        "marker": "_",
        "markersize": 9 if small else 14,
        "markeredgewidth": 1.4,
        "linestyle": "none",
    }
    highest = [values]
    for other, colour, text in (
        ("expected_rms", INK, "expected from noise"),
        ("sigma", SERIES[1], "σ of one pixel"),
    ):
        level = contents[other]
        if np.isfinite(level).any():
            axes.plot(phi[order], level[order], zorder=2, label=text, color=colour, **dash)
            highest.append(level)
    columns = 2 if axes.figure.bbox.width > 4.0 * axes.figure.dpi else 1
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 0.99), ncols=columns, borderaxespad=0.0)
    axes.set_ylim(0.0, 1.2 * limits(np.concatenate(highest), 0.0, 100.0)[1])


@styled
def overview_figure(contents: Contents, width: Width = "screen") -> Figure:
    """Contrast, offset and residuals of all maps against φ."""
    figure = new_figure(min(INCHES[width], 7.0), 5.0 if width == "single" else 5.6)
    panels = figure.subplots(3, 1, sharex=True)
    for axes, (name, label) in zip(panels, SCALING_PANELS, strict=True):
        scaling_panel(axes, contents, name, label)
    panels[2].set_xlabel("φ (degrees)")
    figure.align_ylabels()
    if several_q(contents):
        bar = figure.colorbar(q_colours(contents), ax=panels, pad=0.015, aspect=40)
        bar.set_label("q (Å⁻¹)")
        bar.outline.set_visible(False)
    figure_title(figure, f"Scaling and residuals of {contents.sizes['phi']} maps", width)
    return figure
