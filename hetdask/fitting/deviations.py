"""Frames and regions of the maps whose residuals are far larger than those of the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hetdask.data.noise import MAD_TO_SIGMA
from hetdask.fitting.refine import Refinement
from hetdask.passes.residuals import ResidualSums, cell_size
from hetdask.passes.run import Passes

Array = NDArray[np.float64]

FAR: Final = 4.0
"""Residuals beyond so many times the usual root mean square of a frame are far out."""

MOST: Final = 0.5
"""Frames and cells with a larger share of such pixels are reported."""

SHIFTED: Final = 8.0
"""Robust standard deviations of the means of frames that are far out."""

SHIFT: Final = 4.0
"""Square of a mean over the usual mean square that is worth a word."""

LEAST_POINTS: Final = 16
"""Frames and cells with fewer pixels say little."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """Part of a map with large residuals; frames are counted from 0, ends excluded.

    Attributes
    ----------
    angle : int
    rows, columns : (int, int)
        Frames of the earlier and of the later time.
    excess : float
        Mean square residual over the usual one of the map.
    whole : bool
        All pixels of the frames `rows` deviate, whatever the other frame; `columns` is the whole map then.
    """

    angle: int
    rows: tuple[int, int]
    columns: tuple[int, int]
    excess: float
    whole: bool


def deviations_of(passes: Passes, fit: Refinement) -> tuple[Deviation, ...]:
    """Frames and regions that a fit does not describe, in two passes over the data.

    Parameters
    ----------
    passes : Passes
        At full resolution.
    fit : Refinement
    """
    contrast, offset, limit = (
        np.array([getattr(angle, name) for angle in fit.angles]) for name in ("contrast", "offset", "residual_rms")
    )
    if not np.all(np.isfinite(contrast) & np.isfinite(offset)):
        return ()
    # What is usual is not known before a first look, since outliers count in the root mean square of the fit.
    usual = _usual(passes.residuals(fit.values, contrast, offset, FAR * limit))
    return find_deviations(
        passes.residuals(fit.values, contrast, offset, FAR * np.sqrt(usual)), cell_size(passes.series)
    )


def find_deviations(sums: ResidualSums, cell: int) -> tuple[Deviation, ...]:
    """Runs of frames, then regions that those frames do not explain, in the order of the angles.

    Parameters
    ----------
    sums : ResidualSums
    cell : int
        Frames along a cell.
    """
    usual = _usual(sums)
    return tuple(found for m in range(usual.size) for found in _of_angle(sums, m, float(usual[m]), cell))


def _usual(sums: ResidualSums) -> Array:
    """Median of the mean squares of the frames, (n_phi,); 0 without any."""
    points, square = sums.frames[:, 0], sums.frames[:, 2]
    enough = points >= LEAST_POINTS
    mean = square / np.maximum(points, 1.0)
    return np.array([float(np.median(x[held])) if held.any() else 0.0 for x, held in zip(mean, enough, strict=True)])


def _of_angle(sums: ResidualSums, m: int, usual: float, cell: int) -> Iterator[Deviation]:
    if usual == 0.0:
        return
    points, total, square, beyond = sums.frames[m]
    n_frames = points.size
    mean = total / np.maximum(points, 1.0)
    far = (beyond > MOST * points) | _shifted(mean, usual, points >= LEAST_POINTS)
    far &= points >= LEAST_POINTS
    for _, (rows,) in _connected(far):
        excess = float(square[rows].sum() / points[rows].sum()) / usual
        yield Deviation(m, (rows.start, rows.stop), (0, n_frames), excess, whole=True)
    points, _, square, beyond = sums.cells[m]
    edges = np.minimum(np.arange(points.shape[0] + 1) * cell, n_frames)
    bad = np.diff(np.concatenate([[0], np.cumsum(far)])[edges]) > 0
    held = (points >= LEAST_POINTS) & ~(bad[:, None] | bad)
    for inside, (rows, columns) in _connected(held & (beyond > MOST * points)):
        excess = float(square[inside].sum() / points[inside].sum()) / usual
        first, second = ((int(edges[x.start]), int(edges[x.stop])) for x in (rows, columns))
        yield Deviation(m, first, second, excess, whole=False)


def _connected(marked: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.bool_], tuple[slice, ...]]]:
    """Connected regions of an array, each as an array of the same shape, and slices that enclose it."""
    if not marked.any():  # as in most fits, which need not load what finds them
        return
    from scipy.ndimage import find_objects, label

    regions, count = label(marked)
    for k, enclosing in enumerate(find_objects(regions, count)):
        yield regions == k + 1, enclosing


def _shifted(mean: Array, usual: float, held: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Frames whose mean is far from that of the others."""
    if not held.any():
        return held
    away = np.abs(mean - np.median(mean[held]))
    spread = MAD_TO_SIGMA * float(np.median(away[held]))
    return np.asarray((away > SHIFTED * spread) & (np.square(away) > SHIFT * usual))
