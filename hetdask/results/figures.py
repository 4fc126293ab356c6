"""The figures of a run folder: which ones, under which names, with which descriptions."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hetdask.results.summary import shown_angles

if TYPE_CHECKING:
    import xarray as xr

logger = logging.getLogger(__name__)

ANGLE_FIGURES: Final = 12
"""Maps that get figures of their own; of more maps an even selection does."""

FIGURE_PATTERNS: Final = ("overview.png", "dynamics.png", "history.png", "map-*.png", "cuts-*.png")


@dataclass(frozen=True, slots=True)
class FigureFile:
    """A PNG in a run folder.

    Attributes
    ----------
    path : Path
    title : str
        Heading in the report.
    description : str
        What is to be seen, for readers who can't see it.
    """

    path: Path
    title: str
    description: str


def write_figures(folder: Path, dataset: xr.Dataset, most: int = ANGLE_FIGURES) -> list[FigureFile]:
    """Draw a run's figures into its folder.

    Parameters
    ----------
    folder : Path
    dataset : xarray.Dataset
        Of the run; maps and cuts are drawn if it has them.
    most : int
        Most maps that get figures of their own: evenly spread over all maps, and the log says so.
    """
    from hetdask.results.plots import (
        cuts_figure,
        dynamics_figure,
        history_figure,
        maps_figure,
        overview_figure,
        save_figure,
    )

    count = dataset.sizes["phi"]
    files = [
        FigureFile(
            save_figure(dynamics_figure(dataset), folder / "dynamics.png"),
            "Dynamics",
            "Four panels against time in seconds: transport rates of reference and sample, velocity, sample fraction.",
        )
    ]
    if count > 1:
        files.append(
            FigureFile(
                save_figure(overview_figure(dataset), folder / "overview.png"),
                "All maps",
                f"Contrast, offset and root mean square residual of {count} maps against azimuth.",
            )
        )
    shown = shown_angles(count, most) if "data" in dataset else []
    if 0 < len(shown) < count:
        logger.info("figures of %d of %d maps, evenly spread; result.zarr holds all of them", len(shown), count)
    for index in shown:
        phi = f"{float(dataset['phi'][index]):.4g}°"
        files.append(
            FigureFile(
                save_figure(maps_figure(dataset, index), folder / f"map-{index:03d}.png"),
                f"Map at φ = {phi}",
                f"Two-time correlation at azimuth {phi}: data, model and residual side by side, axes in seconds.",
            )
        )
        files.append(
            FigureFile(
                save_figure(cuts_figure(dataset, index), folder / f"cuts-{index:03d}.png"),
                f"Cuts at φ = {phi}",
                f"Correlation against lag at azimuth {phi} for three waiting times, data as points and model as lines.",
            )
        )
    if dataset.sizes["evaluation"]:
        files.append(
            FigureFile(
                save_figure(history_figure(dataset), folder / "history.png"),
                "Way of the fit",
                f"Chi-squared per degree of freedom of {dataset.sizes['evaluation']} evaluations.",
            )
        )
    return files
