"""One-time cuts, dynamics, history and overview."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from hetdask.results.plots.style import (
    EMPTY,
    INK,
    MUTED,
    SERIES,
    angle_title,
    limits,
    new_figure,
    panel_title,
    styled,
)

Array = NDArray[np.float64]


def _title(figure: Figure, text: str) -> None:
    figure.suptitle(text, x=0.01, ha="left", fontsize=11, fontweight="bold")


def _finite(values: Array) -> Array:
    return np.where(np.isfinite(values), values, np.nan)


def _thin(lag: Array, values: Array, bins: int) -> tuple[Array, Array]:
    """Means over at most `bins` lag bins of equal width in log(lag): as many points as an eye can tell apart."""
    known = np.isfinite(values) & (lag > 0.0)
    if not known.any():
        return np.empty(0), np.empty(0)
    position = np.log(lag[known])
    edges = np.linspace(position[0], position[-1], bins + 1)
    index = np.clip(np.searchsorted(edges, position, side="right") - 1, 0, bins - 1)
    count = np.bincount(index, minlength=bins)
    filled = count > 0
    means = [
        np.bincount(index, weights=column, minlength=bins)[filled] / count[filled]
        for column in (lag[known], values[known])
    ]
    return means[0], means[1]


@styled
def cuts_figure(dataset: xr.Dataset, angle: int) -> Figure:
    """c2 against lag at three waiting times: data as points, model as lines, with the residual below.

    Parameters are those of `hetdask.results.plots.maps_figure`.
    """
    one = dataset.isel(phi=angle)
    lag, waiting = dataset["lag"].to_numpy(), dataset["waiting_time"].to_numpy()
    data, model = (
        one["cut_data"].to_numpy().astype(np.float64),
        one["cut_model"].to_numpy().astype(np.float64),
    )
    figure = new_figure(6.4, 4.7)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    for colour, start, measured, fitted in zip(SERIES, waiting, data, model, strict=True):
        x, y = _thin(lag, measured, 70)
        top.plot(x, y, "o", ms=3.4, color=colour, alpha=0.75, mew=0)
        known = np.isfinite(fitted) & (lag > 0.0)
        top.plot(lag[known], fitted[known], color=colour, label=f"t₁ = {start:.4g} s")
        x, y = _thin(lag, measured - fitted, 70)
        bottom.plot(x, y, "o", ms=2.6, color=colour, alpha=0.75, mew=0)
    bottom.axhline(0.0, color=MUTED, lw=0.8)
    top.set_xscale("log")
    reach = lag[np.isfinite(model).any(axis=0)]
    top.set_xlim(0.8 * lag[1], 1.25 * max(reach[-1] if reach.size else 0.0, lag[1]))
    top.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    top.set_ylabel("c₂(t₁, t₁ + τ)")
    top.legend(title="points: data, lines: model", title_fontsize=8, alignment="left")
    bottom.set(ylabel="Δc₂", xlabel="lag τ (s)")
    bottom.yaxis.set_major_locator(MaxNLocator(4))
    figure.align_ylabels()
    _title(figure, angle_title(float(one["phi"]), float(one["q"])))
    return figure


def _rate_panel(axes: Axes, time: Array, values: Array, colour: str, text: str, label: str) -> None:
    values = _finite(values)
    axes.plot(time, values, color=colour)
    panel_title(axes, text)
    axes.set_ylabel(label)
    # A rate that diverges at t = 0 would flatten the rest of its curve: the first percent may leave the panel.
    later = values[max(1, time.size // 100) :]
    low, high = limits(later, 0.0, 100.0)
    low, high = min(low, 0.0), max(high, 0.0)
    axes.set_ylim(low - 0.05 * (high - low), high + 0.08 * (high - low))
    axes.yaxis.set_major_locator(MaxNLocator(5))


@styled
def dynamics_figure(dataset: xr.Dataset) -> Figure:
    """Transport rates, velocity and sample fraction against time."""
    time = dataset["time"].to_numpy()
    figure = new_figure(8.0, 5.0)
    panels = figure.subplots(2, 2, sharex=True)
    for axes, (name, colour, text, label) in zip(
        panels.flat,
        (
            ("J_ref", SERIES[0], "Transport of the reference", "J (Å²/s)"),
            ("J_sample", SERIES[1], "Transport of the sample", "J (Å²/s)"),
            ("velocity", SERIES[2], "Velocity", "v (Å/s)"),
            ("fraction", INK, "Sample fraction", "s"),
        ),
        strict=True,
    ):
        _rate_panel(axes, time, dataset[name].to_numpy(), colour, text, label)
        axes.margins(x=0.0)
    panels[1, 0].axhline(0.0, color=MUTED, lw=0.8)
    panels[1, 1].set_ylim(-0.03, 1.03)
    for axes in panels[1]:
        axes.set_xlabel("time (s)")
    figure.align_ylabels()
    _title(figure, "Fitted dynamics")
    return figure


@styled
def history_figure(dataset: xr.Dataset) -> Figure:
    """Chi-squared per degree of freedom of every evaluation, with the best so far and the rounds of weighting."""
    chi_squared = dataset["history_chi_squared"].to_numpy() / max(dataset.attrs["dof"], 1)
    rounds = dataset["history_round"].to_numpy()
    evaluation = np.arange(1, chi_squared.size + 1)
    figure = new_figure(6.4, 3.8)
    axes = figure.subplots()
    for number in np.unique(rounds):
        here = rounds == number
        first, last = evaluation[here][0], evaluation[here][-1]
        if number % 2 == rounds.min() % 2:
            axes.axvspan(first - 0.5, last + 0.5, color=EMPTY, alpha=0.35, lw=0)
        axes.text(
            first - 0.5,
            1.01,
            f"round {number}",
            transform=axes.get_xaxis_transform(),
            va="bottom",
            fontsize=8,
            color=MUTED,
        )
        best = np.minimum.accumulate(np.where(np.isfinite(chi_squared[here]), chi_squared[here], np.inf))
        axes.step(
            evaluation[here],
            _finite(best),
            where="post",
            color=SERIES[0],
            label="best so far" if number == rounds.min() else None,
        )
    improved = dataset["history_improved"].to_numpy()
    axes.plot(evaluation[improved], chi_squared[improved], "o", ms=4.5, color=SERIES[0], label="improvement")
    if not improved.all():
        worse = (evaluation[~improved], chi_squared[~improved])
        axes.plot(*worse, "o", ms=4.5, color=SERIES[1], fillstyle="none", label="no improvement")
    positive = chi_squared[np.isfinite(chi_squared) & (chi_squared > 0.0)]
    if positive.size and positive.max() > 10.0 * positive.min():
        axes.set_yscale("log")
    axes.set(xlabel="evaluation", ylabel="χ² / degree of freedom")
    axes.set_xlim(0.5, max(chi_squared.size, 1) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    if chi_squared.size:
        axes.legend(loc="upper right")
    _title(figure, "Way of the fit")
    return figure


@styled
def overview_figure(dataset: xr.Dataset) -> Figure:
    """Contrast, offset and residuals of all maps against φ; maps of different q in different colours."""
    phi, q = dataset["phi"].to_numpy(), dataset["q"].to_numpy()
    figure = new_figure(7.0, 5.6)
    panels = figure.subplots(3, 1, sharex=True)
    names = (("contrast", "contrast"), ("offset", "offset"), ("residual_rms", "residual rms"))
    order = np.argsort(phi, kind="stable")
    small = phi.size > 60
    several = bool(np.ptp(q) > 1e-3 * q.mean())
    colours = ScalarMappable(Normalize(q.min(), q.max()), "viridis")
    shades = colours.to_rgba(q[order]) if several else SERIES[0]
    for axes, (name, label) in zip(panels, names, strict=True):
        values = dataset[name].to_numpy()
        axes.scatter(phi[order], values[order], color=shades, s=10 if small else 26, lw=0, zorder=3)
        axes.set_ylabel(label)
        axes.yaxis.set_major_locator(MaxNLocator(5))
    sigma = dataset["sigma"].to_numpy()
    dash = {"marker": "_", "markersize": 9 if small else 16, "markeredgewidth": 1.4, "color": SERIES[1]}
    panels[2].plot(phi[order], sigma[order], linestyle="none", zorder=2, label="σ of one pixel", **dash)
    panels[2].legend(loc="lower right")
    panels[2].set_xlabel("φ (degrees)")
    highest = limits(np.stack([sigma, dataset["residual_rms"].to_numpy()]), 0.0, 100.0)[1]
    panels[2].set_ylim(0.0, 1.2 * highest)
    figure.align_ylabels()
    if several:
        bar = figure.colorbar(colours, ax=panels, pad=0.015, aspect=40)
        bar.set_label("q (Å⁻¹)")
        bar.outline.set_visible(False)
    _title(figure, f"Scaling and residuals of {phi.size} maps")
    return figure
