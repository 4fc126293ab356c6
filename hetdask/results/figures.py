"""The figures of a run as files: which ones, and under which names."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from hetdask.results.summary import shown_angles

if TYPE_CHECKING:
    import xarray as xr

    from hetdask.results.plots import FigureFormat, PlotKind, Width

logger = logging.getLogger(__name__)

ANGLE_FIGURES: Final = 4
"""Maps that get figures of their own; of more maps an even selection, and the worst of all."""

FIGURE_PATTERNS: Final = ("overview.png", "dynamics.png", "history.png", "map-*.png", "profile_*.png")

COLUMNS: Final[dict[Width, str]] = {"single": "1-column", "double": "2-columns"}


def detailed_angles(dataset: xr.Dataset, most: int = ANGLE_FIGURES) -> list[int]:
    """Indices of the maps that are shown in detail: all, or evenly spread ones and the one that fits worst.

    The worst is the one whose residual is largest beside the expected one, or beside σ where none was predicted.
    Empty where the dataset has no maps.
    """
    if "data" not in dataset:
        return []
    count = dataset.sizes["phi"]
    spread, worst = shown_angles(count, most), worst_angle(dataset)
    if worst is None or worst in spread or most < 2:
        return spread
    others = [index for index in range(count) if index != worst]
    return sorted([*(others[place] for place in shown_angles(count - 1, most - 1)), worst])


def worst_angle(dataset: xr.Dataset) -> int | None:
    """Index of the map whose residual is largest beside the expected one; None where no residual is known."""
    residual = dataset["residual_rms"].to_numpy()
    expected, sigma = dataset["expected_rms"].to_numpy(), dataset["sigma"].to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = residual / np.where(np.isfinite(expected), expected, sigma)
    return int(np.nanargmax(ratio)) if np.isfinite(ratio).any() else None


def _wanted(dataset: xr.Dataset, most: int, *, cuts: bool) -> Iterator[tuple[str, PlotKind, int]]:
    """Name, kind and angle of every figure that this dataset has, with the cuts or without."""
    yield "dynamics", "dynamics", 0
    if dataset.sizes["phi"] > 1:
        yield "overview", "overview", 0
    for index in detailed_angles(dataset, most):
        yield f"map-{index:03d}", "maps", index
        if cuts:
            yield f"cuts-{index:03d}", "cuts", index
    if dataset.sizes["evaluation"]:
        yield "history", "history", 0
    for index, name in enumerate(dataset["profiled"].to_numpy() if "profiled" in dataset else ()):
        yield f"profile_{name}", "profile", index


def write_figures(folder: Path, dataset: xr.Dataset, most: int = ANGLE_FIGURES) -> list[Path]:
    """Draw a run's figures as PNG into its folder; returns their paths. The report has cuts too.

    Parameters
    ----------
    folder : Path
    dataset : xarray.Dataset
        Of the run; maps and cuts are drawn if it has them.
    most : int
        Most maps that get figures of their own, see `detailed_angles`; the log says so.
    """
    from hetdask.results.plots import plot, save_figure

    shown, count = len(detailed_angles(dataset, most)), dataset.sizes["phi"]
    if 0 < shown < count:
        logger.info("figures of %d of %d maps, evenly spread; result.zarr holds all of them", shown, count)
    return [
        save_figure(plot(dataset, kind, angle), folder / f"{name}.png")
        for name, kind, angle in _wanted(dataset, most, cuts=False)
    ]


def write_paper_figures(folder: Path, dataset: xr.Dataset, kind: FigureFormat, most: int = ANGLE_FIGURES) -> list[Path]:
    """Draw a run's figures for papers, each for one column and for two columns of a journal; returns their paths.

    Parameters
    ----------
    folder : Path
        Made where it is missing.
    dataset : xarray.Dataset
    kind : {"pdf", "svg", "png"}
    most : int
        See `write_figures`.
    """
    from hetdask.results.plots import plot, save_figure

    folder.mkdir(parents=True, exist_ok=True)
    wanted = list(_wanted(dataset, most, cuts=True))
    if not dataset["fixed"].to_numpy().all():
        wanted.append(("correlations", "correlations", 0))
    return [
        save_figure(plot(dataset, one, angle, width), folder / f"{name}-{text}.{kind}")
        for name, one, angle in wanted
        for width, text in COLUMNS.items()
    ]
