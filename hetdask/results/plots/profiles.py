"""Profiles of χ² along parameters."""

from __future__ import annotations

from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hetdask.fitting.profile import LEVELS, signed_root
from hetdask.model.parameters import NAMES
from hetdask.results.dataset import Contents
from hetdask.results.plots.style import INCHES, INK, MUTED, SERIES, Width, figure_title, new_figure, styled

HIGHEST: Final = 5.0
"""Deviance at the top of a panel."""


def profile_panel(axes: Axes, contents: Contents, index: int) -> None:
    """Deviance against one parameter, with its intervals; dashed what the standard error says."""
    name = str(contents["profiled"][index])
    place = NAMES.index(name)
    values, deviance = contents["profile_values"][index], contents["profile_deviance"][index]
    known = np.isfinite(values)
    values, deviance = values[known], deviance[known]
    fine = np.linspace(values[0], values[-1], 400)
    if values.size > 1:
        curve = signed_root(values, deviance)(fine) ** 2
        axes.plot(fine, curve, color=SERIES[0])
        axes.set_xlim(*fine[curve <= HIGHEST][[0, -1]])
        for name_of, level in LEVELS.items():
            share = name_of.removeprefix("interval_")
            axes.fill_between(fine, curve, level, where=curve <= level, color=SERIES[0], alpha=0.12, lw=0)
            axes.axhline(level, color=MUTED, lw=0.7)
            axes.annotate(
                f"{share} %", (1.0, level), (-2, 2), xycoords=axes.get_yaxis_transform(), textcoords="offset points",
                ha="right", va="bottom", fontsize=8, color=MUTED,
            )  # fmt: skip
    axes.plot(values, deviance, "o", ms=3.5, color=SERIES[0])
    value, error = float(contents["value"][place]), float(contents["stderr"][place])
    axes.axvline(value, color=INK, lw=0.8)
    if np.isfinite(error) and error > 0.0:
        axes.plot(fine, ((fine - value) / error) ** 2, color=SERIES[1], lw=1.0, ls="--", zorder=1)
    unit = str(contents["unit"][place])
    axes.set(xlabel=f"{name} ({unit})" if unit else name, ylabel="deviance")
    axes.set_ylim(min(-0.15, 1.1 * float(deviance.min())), HIGHEST)
    axes.margins(x=0.02)
    axes.locator_params(axis="x", nbins=5)


@styled
def profile_figure(contents: Contents, index: int, width: Width = "screen") -> Figure:
    """Profile of one parameter, by its index among those that have one."""
    figure = new_figure(min(INCHES[width], 6.4), 2.6 if width == "single" else 3.4)
    profile_panel(figure.subplots(), contents, index)
    figure_title(figure, f"Profile of {contents['profiled'][index]}", width)
    return figure
