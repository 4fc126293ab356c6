"""The figures of a run as files: which ones, and under which names."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from hetdask.results.tables import shown_angles

if TYPE_CHECKING:
    from hetdask.results.dataset import Contents
    from hetdask.results.plots import FigureFormat, PlotKind, Width

logger = logging.getLogger(__name__)

ANGLE_FIGURES: Final = 4
"""Maps that get figures of their own; of more maps an even selection, and the worst of all."""

FIGURE_PATTERNS: Final = ("overview.png", "dynamics.png", "history.png", "map-*.png", "profile_*.png")

COLUMNS: Final[dict[Width, str]] = {"single": "1-column", "double": "2-columns"}


def detailed_angles(contents: Contents, most: int = ANGLE_FIGURES) -> list[int]:
    """Indices of the maps that are shown in detail: all, or evenly spread ones and the one that fits worst.

    The worst is the one whose residual is largest beside the expected one, or beside σ where none was predicted.
    Empty where there are no maps.
    """
    if "data" not in contents:
        return []
    count = contents.sizes["phi"]
    spread, worst = shown_angles(count, most), worst_angle(contents)
    if worst is None or worst in spread or most < 2:
        return spread
    others = [index for index in range(count) if index != worst]
    return sorted([*(others[place] for place in shown_angles(count - 1, most - 1)), worst])


def worst_angle(contents: Contents) -> int | None:
    """Index of the map whose residual is largest beside the expected one; None where no residual is known."""
    residual = contents["residual_rms"]
    expected, sigma = contents["expected_rms"], contents["sigma"]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = residual / np.where(np.isfinite(expected), expected, sigma)
    return int(np.nanargmax(ratio)) if np.isfinite(ratio).any() else None


def _wanted(contents: Contents, most: int, *, cuts: bool) -> Iterator[tuple[str, PlotKind, int]]:
    """Name, kind and angle of every figure that a run has, with the cuts or without."""
    yield "dynamics", "dynamics", 0
    if contents.sizes["phi"] > 1:
        yield "overview", "overview", 0
    for index in detailed_angles(contents, most):
        yield f"map-{index:03d}", "maps", index
        if cuts:
            yield f"cuts-{index:03d}", "cuts", index
    if contents.sizes["evaluation"]:
        yield "history", "history", 0
    for index in range(contents.sizes.get("profiled", 0)):
        yield f"profile_{contents['profiled'][index]}", "profile", index


def write_figures(folder: Path, contents: Contents, most: int = ANGLE_FIGURES) -> list[Path]:
    """Draw a run's figures as PNG into its folder; returns their paths. The report has cuts too.

    Parameters
    ----------
    folder : Path
    contents : Contents
        Of the run; maps and cuts are drawn if it has them.
    most : int
        Most maps that get figures of their own, see `detailed_angles`; the log says so.
    """
    from hetdask.results.plots import plot, save_figure

    shown, count = len(detailed_angles(contents, most)), contents.sizes["phi"]
    if 0 < shown < count:
        logger.info("figures of %d of %d maps, evenly spread; result.zarr holds all of them", shown, count)
    return [
        save_figure(plot(contents, kind, angle), folder / f"{name}.png")
        for name, kind, angle in _wanted(contents, most, cuts=False)
    ]


def write_paper_figures(folder: Path, contents: Contents, kind: FigureFormat, most: int = ANGLE_FIGURES) -> list[Path]:
    """Draw a run's figures for papers, each for one column and for two columns of a journal; returns their paths.

    Parameters
    ----------
    folder : Path
        Made where it is missing.
    contents : Contents
    kind : {"pdf", "svg", "png"}
    most : int
        See `write_figures`.
    """
    from hetdask.results.plots import plot, save_figure

    folder.mkdir(parents=True, exist_ok=True)
    wanted = list(_wanted(contents, most, cuts=True))
    if not contents["fixed"].all():
        wanted.append(("correlations", "correlations", 0))
    return [
        save_figure(plot(contents, one, angle, width), folder / f"{name}-{text}.{kind}")
        for name, one, angle in wanted
        for width, text in COLUMNS.items()
    ]
