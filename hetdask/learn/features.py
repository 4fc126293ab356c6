"""What the reduced maps of any number of frames and angles look like, as one vector of fixed length.

Each map becomes a table of means over cells of lag (logarithmic) and time window, taken between its own lowest and
highest value, so that contrast and offset drop out. Time counts in units of the series: the model knows no other
scale. The tables of all angles are pooled, because their number and place vary: mean, lowest, highest, and the part
that varies as cos 2(φ - ψ) around the apparent flow direction ψ, from which a prediction of phi0 counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from hetdask.data.reduction import Blocks, Reduced
from hetdask.passes.tiles import Series

Array = NDArray[np.float64]

VERSION: Final = 1
"""Of the features; models and stored features of another version do not serve."""

OCTAVES: Final = 9
"""The shortest lag is 2^-9 of the series; what is shorter counts as that."""

LAG_STEPS: Final = 2
FINE_STEPS: Final = 4
"""Cells per octave of lag: in each time window, and in the middle of the series, where fringes are regular."""

WINDOWS: Final = np.array([0.0, 0.1, 0.3, 0.6, 1.0])
"""Edges of the time windows, between the earliest and the latest pixel at a lag; power laws change most early on."""

MIDDLE: Final = (0.3, 0.7)

N_WINDOWS: Final = WINDOWS.size - 1
N_LAGS: Final = OCTAVES * LAG_STEPS
N_COARSE: Final = N_WINDOWS * N_LAGS
N_FINE: Final = OCTAVES * FINE_STEPS
N_CELLS: Final = N_COARSE + N_FINE
N_CONDITIONS: Final = 9
N_FEATURES: Final = 5 * N_CELLS + N_COARSE + N_CONDITIONS
"""The last `N_CONDITIONS` say how the maps were measured, the others what they look like."""

RIDGE: Final = 0.1
"""Keeps the pooled cosine small where the angles hardly tell it from the mean."""

CLEANEST: Final = 1e4
"""Largest ratio of signal to noise that is told apart."""


@dataclass(frozen=True, slots=True, eq=False)
class CellMeans:
    """Means over cells: the time windows one after the other, each by lag, then the finer cells of the middle.

    Attributes
    ----------
    mean : (n_phi, N_CELLS) float64
        In units of c2; NaN where a cell is empty.
    scatter : (n_phi, N_CELLS) float64
        Variance of the block means in the cell, without that of white noise.
    count : (n_phi, N_CELLS) float64
        Pixels.
    lag : (N_CELLS,) float64
        Mean lag over the length of the series; NaN where a cell is empty.
    """

    mean: Array
    scatter: Array
    count: Array
    lag: Array


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Which blocks lie in which cell: `members` (N_CELLS, n) of 0 and 1, and the lags (n,) of the blocks."""

    members: csr_array
    lag: Array


def cells_of(blocks: Blocks) -> Cells:
    """Sort blocks, any part of those of a map, into cells."""
    lag, place = _places(blocks)
    n = np.arange(blocks.n_blocks)
    window = np.clip(np.searchsorted(WINDOWS, place, side="right") - 1, 0, N_WINDOWS - 1)
    central = (place > MIDDLE[0]) & (place < MIDDLE[1])
    cells = np.concatenate([window * N_LAGS + _step(lag, LAG_STEPS), N_COARSE + _step(lag[central], FINE_STEPS)])
    members = csr_array((np.ones(cells.size), (cells, np.concatenate([n, n[central]]))), (N_CELLS, n.size))
    return Cells(members, lag)


def _step(lag: Array, steps: int) -> NDArray[np.int64]:
    """Cell of each lag within its window."""
    return np.clip(np.floor((np.log2(lag) + OCTAVES) * steps), 0, OCTAVES * steps - 1).astype(np.int64)


def _places(blocks: Blocks) -> tuple[Array, Array]:
    """Lag of each block over the length of the series, and where it lies among the pixels of that lag, 0..1."""
    whole = blocks.n_frames - 1.0
    row, column = (
        0.5 * (first + np.minimum(first + blocks.size, blocks.n_frames) - 1)
        for first in (blocks.first_row, blocks.first_column)
    )
    inside = (blocks.size + 1) / 3.0  # the mean lag of a triangle on the diagonal
    lag = np.where(blocks.first_row == blocks.first_column, inside, column - row) / whole
    middle = (row + column) / (2.0 * whole)
    return lag, (middle - 0.5 * lag) / np.maximum(1.0 - lag, 1.0 / whole)


def cell_means(cells: Cells, mean: Array, count: Array, white: Array) -> CellMeans:
    """Average block means, of data or of a model, over the cells.

    Parameters
    ----------
    cells : Cells
    mean, count : (n_phi, n) float64
        Mean and number of pixels of each block.
    white : (n_phi,) float64
        White noise of a pixel, whose part in the scatter of the block means is taken off.
    """
    shift = np.average(mean, axis=1, weights=count)[:, None]
    centred = mean - shift
    total = (cells.members @ count.T).T
    with np.errstate(invalid="ignore", divide="ignore"):  # 0/0 is NaN: an empty cell
        average = (cells.members @ (count * centred).T).T / total
        square = (cells.members @ (count * centred**2).T).T / total
        noise = white[:, None] ** 2 * (cells.members @ (count.T > 0.0)).T / total
        lag = cells.members @ (count.sum(axis=0) * cells.lag) / total.sum(axis=0)
    return CellMeans(average + shift, np.maximum(square - average**2 - noise, 0.0), total, lag)


def _resampled(values: Array, lag: Array, steps: int) -> Array:
    """Cells (n_phi, n) of a window at the lags of a full one, interpolated over log lag; constant beyond the ends."""
    full = np.flatnonzero(np.isfinite(values).all(axis=0))
    nodes = (np.arange(OCTAVES * steps) + 0.5) / steps - OCTAVES
    place = np.interp(nodes, np.log2(lag[full]), np.arange(full.size))
    before = np.minimum(place.astype(np.int64), max(full.size - 2, 0))
    weight = place - before
    found = values[:, full]
    return np.asarray((1.0 - weight) * found[:, before] + weight * found[:, np.minimum(before + 1, full.size - 1)])


def _profiles(cells: CellMeans) -> tuple[Array, Array, Array]:
    """Each angle between 0 and 1, (n_phi, N_CELLS); scatter in these units, (n_phi, N_COARSE); heights, (n_phi,)."""
    windows = [slice(k * N_LAGS, (k + 1) * N_LAGS) for k in range(N_WINDOWS)]
    parts = [_resampled(cells.mean[:, window], cells.lag[window], LAG_STEPS) for window in windows]
    parts.append(_resampled(cells.mean[:, N_COARSE:], cells.lag[N_COARSE:], FINE_STEPS))
    profile = np.concatenate(parts, axis=1)
    scatter = [_resampled(cells.scatter[:, window], cells.lag[window], LAG_STEPS) for window in windows]
    bottom = profile.min(axis=1)
    height = np.maximum(profile.max(axis=1) - bottom, np.finfo(np.float64).tiny)
    return (
        (profile - bottom[:, None]) / height[:, None],
        np.sqrt(np.concatenate(scatter, axis=1)) / height[:, None],
        height,
    )


def describe(cells: CellMeans, series: Series, white: Array) -> tuple[Array, float]:
    """Feature vector of a series, and its apparent flow direction in radians.

    Parameters
    ----------
    cells : CellMeans
    series : Series
        Angles, wavevectors and frame times.
    white : (n_phi,) float64
        White noise of a pixel, in units of c2.

    Returns
    -------
    features : (N_FEATURES,) float64
    direction : float
        In [-π/2, π/2]; a prediction of phi0 counts from here.
    """
    profile, scatter, height = _profiles(cells)
    mean = profile.mean(axis=0)
    angle = 2.0 * np.deg2rad(series.phi)
    basis = np.stack([np.ones_like(angle), np.cos(angle), np.sin(angle)], axis=1)
    pooled = np.linalg.solve(basis.T @ basis + np.diag([0.0, RIDGE, RIDGE]), basis.T @ profile)
    wave = pooled[1] + 1j * pooled[2]
    # Along the flow the fringes take the map down first: the weight ends the sum where most of it is gone.
    towards = -np.sum((wave * mean)[N_COARSE:])
    direction = 0.5 * float(np.angle(towards))
    n = series.time.size
    length = float(series.time[-1] - series.time[0])
    conditions = [
        np.log(n),
        -np.log(max(float(np.median(white / height)), 1.0 / CLEANEST)),
        np.log(height.max() / height.min()),
        float(series.n_phi),
        abs(np.mean(np.exp(1j * angle))),
        abs(towards),
        np.log(np.mean(series.q**2) * length),
        np.log(length / (n - 1)),
        series.time[0] / (series.time[0] + length),
    ]
    turned = wave * np.exp(-2j * direction)
    parts = (mean, profile.min(axis=0), profile.max(axis=0), turned.real, turned.imag, scatter.mean(axis=0))
    return np.concatenate([*parts, conditions]), direction


def features_of(series: Series, reduced: Reduced) -> tuple[Array, float]:
    """Feature vector of reduced data, the finer the better, and the apparent flow direction, as from `describe`."""
    white = np.nan_to_num(reduced.white)  # NaN where maps are too small to tell
    return describe(cell_means(cells_of(reduced.blocks), reduced.mean, reduced.count, white), series, white)
