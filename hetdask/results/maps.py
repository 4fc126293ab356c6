"""Block-averaged maps and one-time cuts of data, model and residual, gathered tile by tile from the store.

The model of a tile off the diagonal is a product of four columns from each side (the factorisation of `docs/speed.md`),
so a map costs about as much as reading it and never needs more memory than a few tiles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hetdask.data.store import Store
from hetdask.model.correlation import amplitudes, flow_wavevector
from hetdask.model.dynamics import Dynamics, dynamics

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]
Ints = NDArray[np.int64]

LIMIT: Final = 256
"""Most blocks along one side of a map."""

CUT_POSITIONS: Final = (0.05, 0.35, 0.65)
"""Waiting times of the one-time cuts, as parts of the series."""

CUT_WIDTH: Final = 0.02
"""Each cut is the mean over this part of the series, at constant lag."""

SMALL: Final = 64
"""Triangles on the diagonal of at most this many frames are evaluated pixel by pixel; larger ones are divided."""


@dataclass(frozen=True, slots=True, eq=False)
class AngleMaps:
    """Reduced data and model of one map.

    Attributes
    ----------
    data, model, residual : (K, K) float32
        Block means over the pixels that are data, in units of c2; on and above the diagonal, NaN elsewhere and where a
        block holds no data. Model means run over the same pixels.
    cut_data, cut_model : (W, N) float32
        Means at waiting time and lag (frames), NaN where there are no data or not all frames of the cut reach.
    cut_pixels : (W, N) int32
        Pixels in these means.
    """

    data: Float32
    model: Float32
    residual: Float32
    cut_data: Float32
    cut_model: Float32
    cut_pixels: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class AngleTask:
    """One map to reduce, with its scaling."""

    angle: int
    contrast: float
    offset: float


def block_size(n_frames: int, limit: int = LIMIT) -> int:
    """Frames per block such that a side has at most `limit` blocks."""
    return math.ceil(n_frames / limit)


def block_times(time: Array, block: int) -> Array:
    """Mean time of each block of frames, (K,)."""
    edges = np.arange(0, time.size, block)
    return np.asarray(np.add.reduceat(time, edges) / np.diff(np.append(edges, time.size)))


def cut_frames(n_frames: int) -> list[tuple[int, int]]:
    """First frame and one past the last of the waiting times that each cut averages."""
    width = max(1, round(CUT_WIDTH * n_frames))
    starts = (min(round(position * n_frames), n_frames - 1) for position in CUT_POSITIONS)
    return [(start, min(start + width, n_frames)) for start in starts]


def model_tile(d: Dynamics, phi: float, q: float, rows: slice, columns: slice) -> Array:
    """Normalised correlation g of one tile, (rows, columns) float64; meaningful above the diagonal only.

    Parameters
    ----------
    d : Dynamics
    phi : float
        Degrees.
    q : float
        1/Å.
    rows, columns : slice
        Frames, with rows.stop <= columns.start or the same frames.
    """
    (kappa,), _ = flow_wavevector(d.phi0, np.array([phi]), np.array([q]))
    left, right = amplitudes(d.fraction[rows])[0], amplitudes(d.fraction[columns])[0]
    if rows.stop <= columns.start:
        base = columns.start
        before, after = (
            _factors(d, kappa, q, frames, base, side, weight)
            for frames, side, weight in ((rows, -1.0, left), (columns, 1.0, right))
        )
        return np.asarray(before.T @ after)
    size = rows.stop - rows.start
    if size > SMALL:
        middle = rows.start + size // 2
        early, late = slice(rows.start, middle), slice(middle, rows.stop)
        g = np.zeros((size, size))
        g[: size // 2, : size // 2] = model_tile(d, phi, q, early, early)
        g[: size // 2, size // 2 :] = model_tile(d, phi, q, early, late)
        g[size // 2 :, size // 2 :] = model_tile(d, phi, q, late, late)
        return g
    ref = q * q * np.abs(np.subtract.outer(d.c_ref[rows], d.c_ref[columns]))
    sample = q * q * np.abs(np.subtract.outer(d.c_sample[rows], d.c_sample[columns]))
    phase = kappa * np.subtract.outer(d.displacement[rows], d.displacement[columns])
    cross = 2.0 * np.outer(left[2], right[2]) * np.exp(-0.5 * (ref + sample)) * np.cos(phase)
    return np.asarray(
        np.outer(left[0], right[0]) * np.exp(-ref) + np.outer(left[1], right[1]) * np.exp(-sample) + cross
    )


def _factors(d: Dynamics, kappa: float, q: float, frames: slice, base: int, side: float, weight: Array) -> Array:
    """Factors of T1, T2 and of the real and imaginary part of T3, (4, frames); side is -1 before `base`, 1 after."""
    ref = side * q * q * (d.c_ref[frames] - d.c_ref[base])
    sample = side * q * q * (d.c_sample[frames] - d.c_sample[base])
    phase = kappa * (d.displacement[frames] - d.displacement[base])
    cross = math.sqrt(2.0) * weight[2] * np.exp(-0.5 * (ref + sample))
    return np.stack(
        [weight[0] * np.exp(-ref), weight[1] * np.exp(-sample), cross * np.cos(phase), cross * np.sin(phase)]
    )


class _BlockSums:
    """Sums and counts of one map by block, and of its cuts by lag."""

    def __init__(self, n_frames: int, limit: int) -> None:
        self.block = block_size(n_frames, limit)
        side = math.ceil(n_frames / self.block)
        self.cuts = cut_frames(n_frames)
        self.sums = np.zeros((3, side, side))
        self.cut_sums = np.zeros((3, len(self.cuts), n_frames))

    def add(self, data: Array, model: Array, present: Array, rows: slice, columns: slice) -> None:
        """Add one tile: `present` is 1 where a pixel is data, and 0, as `data` and `model` are, elsewhere."""
        row_edges, row_blocks = self._edges(rows)
        column_edges, column_blocks = self._edges(columns)
        for target, values in zip(self.sums, (data, model, present), strict=True):
            sums = np.add.reduceat(np.add.reduceat(values, column_edges, axis=1), row_edges, axis=0)
            target[row_blocks, column_blocks] += sums
        for index, (first, stop) in enumerate(self.cuts):
            for frame in range(max(first, rows.start), min(stop, rows.stop)):
                begin = max(columns.start, frame)
                lags = slice(begin - frame, columns.stop - frame)
                line = (frame - rows.start, slice(begin - columns.start, None))
                for cut, part in zip(self.cut_sums, (data, model, present), strict=True):
                    cut[index, lags] += part[line]

    def _edges(self, frames: slice) -> tuple[Ints, slice]:
        """Where blocks begin within a tile, and which blocks they are."""
        first, last = frames.start // self.block, (frames.stop - 1) // self.block
        edges = np.maximum(np.arange(first, last + 1, dtype=np.int64) * self.block - frames.start, 0)
        return edges, slice(first, last + 1)

    def finish(self) -> AngleMaps:
        """Means, NaN where the count is 0."""
        for index, (_, stop) in enumerate(self.cuts):
            # Beyond this lag the later frames of the cut have no partner, and the mean would be one of fewer frames.
            self.cut_sums[2, index, self.cut_sums.shape[2] - stop + 1 :] = 0.0
        (data, model), (cut_data, cut_model) = _means(self.sums), _means(self.cut_sums)
        return AngleMaps(
            data=data.astype(np.float32),
            model=model.astype(np.float32),
            residual=(data - model).astype(np.float32),
            cut_data=cut_data.astype(np.float32),
            cut_model=cut_model.astype(np.float32),
            cut_pixels=self.cut_sums[2].astype(np.int32),
        )


def _means(sums: Array) -> tuple[Array, Array]:
    count = np.where(sums[2] > 0.0, sums[2], np.nan)
    return np.asarray(sums[0] / count), np.asarray(sums[1] / count)


def reduce_angle(task: AngleTask, store_path: str | Path, values: Array, limit: int = LIMIT) -> AngleMaps:
    """Reduce one map of a store together with its model; small arguments, so that it can run on a worker.

    Parameters
    ----------
    task : AngleTask
    store_path : str or Path
    values : (14,) float64
        Model parameters.
    limit : int
        Most blocks along one side.

    Raises
    ------
    DataError
        If the store is damaged.
    """
    store = Store.open(store_path)
    d = dynamics(values, store.time)
    phi, q = float(store.phi[task.angle]), float(store.q[task.angle])
    sums = _BlockSums(store.n_frames, limit)
    frames = [slice(k * store.tile, min((k + 1) * store.tile, store.n_frames)) for k in range(store.n_blocks)]
    for row, column, pixels in store.tiles(task.angle):
        rows, columns = frames[row], frames[column]
        tile = pixels[: rows.stop - rows.start, : columns.stop - columns.start]
        present = np.isfinite(tile)
        model = task.offset + task.contrast * model_tile(d, phi, q, rows, columns)
        sums.add(
            np.where(present, tile, 0.0).astype(np.float64),
            np.where(present, model, 0.0),
            present,
            rows,
            columns,
        )
    return sums.finish()


def symmetric(upper: Array | Float32) -> Array:
    """Full map for display from its upper triangle, (K, K) float64.

    An empty diagonal (shot noise is never data) becomes the mean of its neighbours on the diagonals beside it.
    """
    full = np.array(upper, dtype=np.float64)
    lower = np.tril_indices_from(full, -1)
    full[lower] = full.T[lower]
    side = full.shape[0]
    beside = np.full((2, side), np.nan)
    next_diagonal = np.diagonal(full, 1)
    beside[0, :-1], beside[1, 1:] = next_diagonal, next_diagonal
    known = np.isfinite(beside)
    count = known.sum(axis=0)
    mean = np.where(known, beside, 0.0).sum(axis=0) / np.where(count > 0, count, np.nan)
    diagonal = np.diagonal(full)
    np.fill_diagonal(full, np.where(np.isfinite(diagonal), diagonal, mean))
    return full
