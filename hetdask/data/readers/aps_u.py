"""Results of APS-U 8-ID: ``/xpcs/twotime/correlation_map``, one chunk for each map.

The k-th map belongs to the k-th entry of ``processed_bins``; the number in its name is not the bin. A bin is a cell of
a grid of q and phi, numbered without the cells that hold no pixels: ``dynamic_index_mapping`` leads from bin to cell.
"""

from __future__ import annotations

from typing import Final

import h5py
import numpy as np
from numpy.typing import NDArray

from hetdask.data.readers.hdf5 import (
    common_shape,
    frame_time_path,
    has,
    integers,
    numbered_maps,
    texts,
    time_step,
    vector,
)
from hetdask.data.readers.source import MapEntry, Source
from hetdask.data.readers.units import conversion
from hetdask.errors import DataError

LAYOUT: Final = "aps-u"

MAPS: Final = "/xpcs/twotime/correlation_map"
BINS: Final = "/xpcs/twotime/processed_bins"
QMAP: Final = "/xpcs/qmap"
CONFIG: Final = "/xpcs/twotime/config"


def recognise(file: h5py.File) -> bool:
    """Whether the file has maps in this layout."""
    return has(file, MAPS)


def multitau_only(file: h5py.File) -> bool:
    """Whether the file is of this beamline and holds g2 curves but no maps."""
    return not has(file, MAPS) and (has(file, "/xpcs/multitau") or has(file, QMAP))


def describe(file: h5py.File, dt: float | None) -> Source:
    """Maps of the file with their q and phi.

    Raises
    ------
    DataError
        If the lists of the file contradict each other, or its maps are not bins in q and phi.
    """
    notes: list[str] = []
    keys = [key for _, key in numbered_maps(file, MAPS)]
    bins = _bins(file, len(keys), notes)
    cells = _cells(file, bins)
    q, phi = _grid(file, notes)
    if cells.min() < 0 or cells.max() >= q.size:
        raise DataError(
            f"{file.filename}: {BINS} leads to cells {cells.min()} to {cells.max()}, expected 0 to {q.size - 1} "
            "(dynamic_num_pts: q × phi)"
        )
    n_frames, pixel_bytes = common_shape(file, keys)
    entries = tuple(
        MapEntry(key, bin=int(number), q=float(q[cell]), phi=float(phi[cell]))
        for key, number, cell in zip(keys, bins, cells, strict=True)
    )
    step = time_step(file, frame_time_path(file, dt), f"{CONFIG}/stride_frame", f"{CONFIG}/avg_frame", dt, notes)
    return Source(str(file.filename), LAYOUT, entries, n_frames, pixel_bytes, step, tuple(notes))


def _bins(file: h5py.File, n_maps: int, notes: list[str]) -> NDArray[np.int64]:
    """Bin of each map, counted from 1."""
    if not has(file, BINS):
        known = integers(file, f"{QMAP}/dynamic_index_mapping").size if _maps_cells(file) else -1
        if known != n_maps:
            raise DataError(
                f"{file.filename}: {BINS} is missing, so that nobody knows which of its {n_maps} maps is which bin; "
                "write them as .npy and give phi, q and dt"
            )
        notes.append(
            f"{BINS} is not in the file; there is a map for each bin, and their order was taken for that of the bins"
        )
        return np.arange(1, n_maps + 1)
    bins = integers(file, BINS)
    if bins.size != n_maps:
        raise DataError(
            f"{file.filename}: found {n_maps} maps and {bins.size} entries of {BINS}, expected as many: "
            "the file is incomplete"
        )
    return bins


def _maps_cells(file: h5py.File) -> bool:
    return has(file, f"{QMAP}/dynamic_index_mapping")


def _cells(file: h5py.File, bins: NDArray[np.int64]) -> NDArray[np.int64]:
    """Cell of the grid of each bin, counted from 0."""
    if bins.min() < 1:
        raise DataError(f"{file.filename}: {BINS} holds {bins.min()}, expected numbers from 1")
    if not _maps_cells(file):
        return bins - 1
    mapping = integers(file, f"{QMAP}/dynamic_index_mapping")
    if bins.max() > mapping.size:
        raise DataError(
            f"{file.filename}: {BINS} holds bin {bins.max()}, but dynamic_index_mapping has {mapping.size} bins"
        )
    return mapping[bins - 1]


def _grid(file: h5py.File, notes: list[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values of q in 1/Å and phi in degrees of every cell; the second axis of the grid runs fastest."""
    axes = [vector(file, f"{QMAP}/dynamic_v_list_dim{k}") for k in (0, 1)]
    if has(file, f"{QMAP}/dynamic_num_pts"):
        counts = integers(file, f"{QMAP}/dynamic_num_pts")
        if counts.size != 2 or counts.tolist() != [axes[0].size, axes[1].size]:
            raise DataError(
                f"{file.filename}: dynamic_num_pts is {counts.tolist()}, but the lists of the two axes hold "
                f"{axes[0].size} and {axes[1].size} values"
            )
    names = texts(file, f"{QMAP}/map_names")
    if names is None:
        notes.append("map_names is not in the file; the axes were taken for q and phi")
        names = ["q", "phi"]
    names = [name.strip().lower() for name in names]
    if sorted(names) != ["phi", "q"]:
        raise DataError(
            f"{file.filename}: the maps are bins in {', '.join(names)} (map_names), expected q and phi: "
            "write the maps as .npy and give phi, q and dt"
        )
    units = texts(file, f"{QMAP}/map_units")
    if units is None:
        notes.append("map_units is not in the file; q was taken to be in 1/Å and phi in degrees")
        units = ["1/Å" if name == "q" else "deg" for name in names]
    if len(units) != 2:
        raise DataError(f"{file.filename}: map_units holds {len(units)} units, expected one for each of q and phi")
    factors = {
        "q": conversion(f"{file.filename} (map_units)", "q", units[names.index("q")], notes),
        "phi": conversion(f"{file.filename} (map_units)", "phi", units[names.index("phi")], notes),
    }
    cells = dict(zip(names, np.meshgrid(*axes, indexing="ij"), strict=True))
    return cells["q"].ravel() * factors["q"], cells["phi"].ravel() * factors["phi"]
