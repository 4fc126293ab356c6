"""One-time cuts as points: means over lags of about equal distance on a logarithmic axis, and their errors."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hetdask.results.dataset import Contents

Array = NDArray[np.float64]

POINTS: Final = 40
"""Most points of a cut: as many as an eye can tell apart."""


class CutNoise(NamedTuple):
    """Noise of one pixel of a map, in two parts.

    Attributes
    ----------
    white : float
        Independent from pixel to pixel: averages out. NaN where unknown.
    speckle : float
        Common to neighbouring pixels: no mean over lags takes it away. 0 where it was not estimated.
    """

    white: float
    speckle: float


def cut_noise(contents: Contents, angle: int) -> CutNoise:
    """Noise of one map: rms of the white and of the speckle part."""
    white, expected = (float(contents[name][angle]) for name in ("sigma_white", "expected_rms"))
    if not np.isfinite(expected):
        return CutNoise(white, 0.0)
    return CutNoise(white, float(np.sqrt(max(expected**2 - white**2, 0.0))))


def thin(lag: Array, values: Array, pixels: Array, noise: CutNoise, points: int = POINTS) -> tuple[Array, Array, Array]:
    """Means over at most `points` lag bins of equal width in log(lag), with standard errors.

    Parameters
    ----------
    lag, values, pixels : (N,) float64
        Lag in s; mean at each lag, NaN where there is none; pixels in that mean.
    noise : CutNoise
    points : int

    Returns
    -------
    lag, mean, stderr : (n,) float64
        The standard error is √(white² / pixels + speckle²); NaN where the white noise is unknown.
    """
    known = np.isfinite(values) & (lag > 0.0)
    if not known.any():
        return np.empty(0), np.empty(0), np.empty(0)
    position = np.log(lag[known])
    edges = np.linspace(position[0], position[-1], points + 1)
    index = np.clip(np.searchsorted(edges, position, side="right") - 1, 0, points - 1)
    weight = pixels[known]
    total = np.bincount(index, weights=weight, minlength=points)
    filled = total > 0.0
    means = [
        np.bincount(index, weights=weight * column, minlength=points)[filled] / total[filled]
        for column in (lag[known], values[known])
    ]
    return means[0], means[1], np.sqrt(noise.white**2 / total[filled] + noise.speckle**2)


def spread(count: int, most: int = 240) -> NDArray[np.int64]:
    """Indices from 1 to count - 1, all of the first and evenly spread on a logarithmic scale after."""
    return np.unique(np.geomspace(1.0, max(count - 1, 1), most).round().astype(np.int64))
