"""Maps of a file or a store at a glance, through the reduction ladder: before anything is ingested or fitted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hetdask.data.maps import prepare_map
from hetdask.data.readers import open_source, read_maps
from hetdask.data.reduction import Blocks, Reduced, level_of_nodes, reduce_maps, reduce_store
from hetdask.data.selection import evenly_spread
from hetdask.data.store import Store, is_store
from hetdask.errors import DataError

Array = NDArray[np.float64]

SIDE: Final = 256
"""Cells along one side of a preview, at most."""

CUTS: Final = (0.05, 0.35, 0.65)
"""Waiting times of the one-time cuts, as parts of the series."""


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """One-time cut: block means at a waiting time, in s, against their lag (n,), in s."""

    waiting: float
    lag: Array
    mean: Array


@dataclass(frozen=True, slots=True, eq=False)
class Preview:
    """One map as block means.

    Attributes
    ----------
    phi, q : float
        Degrees and 1/Å; NaN where the file does not say.
    cells : (K, K) float64
        On and above the diagonal the mean of the block that a cell lies in, NaN elsewhere and where there are no data.
    step, begin : float
        Width of a cell and time of the first frame, s.
    cuts : tuple of Cut
    """

    phi: float
    q: float
    cells: Array
    step: float
    begin: float
    cuts: tuple[Cut, ...]


def preview(
    path: str | Path,
    *,
    layout: str = "auto",
    key: str | None = None,
    phi: ArrayLike | None = None,
    q: ArrayLike | None = None,
    dt: float | None = None,
    most: int = 6,
) -> list[Preview]:
    """Block means of the maps in a file or a store, of more than `most` an even selection.

    Parameters
    ----------
    path : str or Path
    layout, key, phi, q, dt
        As for `hetdask.ingest`.
    most : int

    Raises
    ------
    DataError
        If it can't be read, or neither the file nor `dt` tells the time between frames.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/maps.npy", np.random.default_rng(1).normal(1.0, 0.1, (2, 50, 50)).round(6))
    ...     found = preview(f"{folder}/maps.npy", phi=[0, 90], q=0.0054, dt=0.1)
    >>> len(found), found[0].cells.shape
    (2, (50, 50))
    """
    folder = Path(path)
    if folder.is_dir() and is_store(folder):
        store = Store.open(folder)
        reduced = reduce_store(store, level=level_of_nodes(store.n_frames, SIDE))
        return [
            _preview(reduced, m, float(store.phi[m]), float(store.q[m]), store.dt, store.time_origin)
            for m in evenly_spread(store.n_phi, most)
        ]
    source = open_source(path, layout=layout, key=key, phi=phi, q=q, dt=dt)
    if not np.isfinite(source.dt):
        raise DataError(f"{path} does not say how far its frames are apart: give the time, for example --dt 0.1")
    entries = [source.entries[m] for m in evenly_spread(len(source.entries), most)]
    previews = []
    for entry, pixels in zip(entries, read_maps(source, entries), strict=True):
        c2, excluded, findings = prepare_map(pixels, entry.name, asymmetry="average")
        reduced = reduce_maps(
            c2[None], level_of_nodes(source.n_frames, SIDE), np.array([findings.noise]), excluded[None]
        )
        previews.append(_preview(reduced, 0, entry.phi, entry.q, source.dt, 0.0))
    return previews


def _preview(reduced: Reduced, m: int, phi: float, q: float, dt: float, begin: float) -> Preview:
    blocks = reduced.blocks
    side = 1 << blocks.level
    count = -(-blocks.n_frames // side)
    row, column = np.triu_indices(count, 0 if blocks.level else 1)
    mean = np.where(reduced.count[m] > 0.0, reduced.mean[m], np.nan)
    cells = np.full((count, count), np.nan)
    cells[row, column] = mean[blocks.find(row * side, column * side)]
    cuts = tuple(_cut(blocks, mean, int(part * blocks.n_frames) // side * side, dt, begin) for part in CUTS)
    return Preview(phi, q, cells, side * dt, begin, cuts)


def _cut(blocks: Blocks, mean: Array, frame: int, dt: float, begin: float) -> Cut:
    """The blocks that hold a row of pixels, without the triangle on the diagonal, by the lag of their centres."""
    later = np.arange(frame + (1 << blocks.level), blocks.n_frames, 1 << blocks.level)
    held = np.unique(blocks.find(np.full(later.shape, frame), later))
    held = held[np.isfinite(mean[held])]
    lag = np.asarray((blocks.first_column[held] - blocks.first_row[held]) * dt, dtype=np.float64)
    order = np.argsort(lag, kind="stable")
    return Cut(begin + frame * dt, lag[order], mean[held][order])
