"""All maps at a glance: data and residual of each, a few dozen pixels wide, on scales that all of them share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_hex
from numpy.typing import NDArray

from hetdask.results.dataset import Contents
from hetdask.results.maps import symmetric
from hetdask.results.plots.palette import indexed_png
from hetdask.results.plots.style import MAP_COLOURS, RESIDUAL_COLOURS

Array = NDArray[np.float64]

SIDE: Final = 64
"""Most pixels along one side."""


class Thumbnail(NamedTuple):
    """Data and residual of one map as PNG files."""

    data: bytes
    residual: bytes


class Thumbnails(NamedTuple):
    """Thumbnails, and the scale of their residuals.

    Attributes
    ----------
    images : list of Thumbnail
        Data are (c2 − offset) / contrast from 0 to 1.
    span : float
        The residuals' colours run from -span to span, in units of c2.
    """

    images: list[Thumbnail]
    span: float


def block_means(values: Array, side: int = SIDE) -> Array:
    """Means over square blocks such that at most `side` remain; NaN are left out. The last block may be smaller."""
    step = math.ceil(values.shape[0] / side)
    if step == 1:
        return values
    edges = np.arange(0, values.shape[0], step)
    known = np.isfinite(values)
    total, count = (
        np.add.reduceat(np.add.reduceat(part, edges, axis=0), edges, axis=1)
        for part in (np.where(known, values, 0.0), known.astype(np.float64))
    )
    return np.asarray(total / np.where(count > 0.0, count, np.nan))


def thumbnails(contents: Contents, angles: Sequence[int]) -> Thumbnails:
    """Thumbnails of some maps.

    Parameters
    ----------
    contents : Contents
        With maps.
    angles : sequence of int
        Indices of the maps.
    """
    data, residuals = [], []
    for angle in angles:
        values = block_means(symmetric(contents["data"][angle]))
        contrast, offset = float(contents["contrast"][angle]), float(contents["offset"][angle])
        if not (np.isfinite(contrast) and contrast > 0.0):
            known = values[np.isfinite(values)]
            offset, contrast = (float(known.min()), float(np.ptp(known)) or 1.0) if known.size else (0.0, 1.0)
        data.append((values - offset) / contrast)
        residuals.append(block_means(symmetric(contents["residual"][angle])))
    sizes = np.abs(np.concatenate([residual[np.isfinite(residual)] for residual in residuals] or [np.empty(0)]))
    span = float(np.percentile(sizes, 99.0)) if sizes.size else 0.0
    span = span or 1.0
    images = [
        Thumbnail(
            indexed_png(values[::-1], MAP_COLOURS), indexed_png(0.5 + 0.5 * residual[::-1] / span, RESIDUAL_COLOURS)
        )
        for values, residual in zip(data, residuals, strict=True)
    ]
    return Thumbnails(images, span)


def gradient(colours: str, steps: int = 9) -> str:
    """Colours of a colour map for a CSS gradient."""
    return ", ".join(to_hex(colour) for colour in mpl.colormaps[colours](np.linspace(0.0, 1.0, steps)))
