"""Results of pyCHX (NSLS-II 11-ID): ``g12b`` with the regions along its last axis, q and angle as attributes."""

from __future__ import annotations

import math
from typing import Final

import h5py
import numpy as np

from hetdask.data.readers.hdf5 import has
from hetdask.data.readers.source import MapEntry, Source
from hetdask.errors import DataError

LAYOUT: Final = "pychx"

MAPS: Final = "/g12b"
REGIONS: Final = "/qval_dict"
METADATA: Final = "/md"

FRAME_TIMES: Final = ("frame_time", "exposure time")
"""Attributes with the time between frames; the second one leaves out the dead time of the detector."""


def recognise(file: h5py.File) -> bool:
    """Whether the file has maps in this layout."""
    return has(file, MAPS)


def multitau_only(file: h5py.File) -> bool:
    """Whether the file is of this beamline and holds g2 curves but no maps."""
    return not has(file, MAPS) and has(file, REGIONS)


def describe(file: h5py.File, dt: float | None) -> Source:
    """Maps of the file with their q and angle.

    Raises
    ------
    DataError
        If the regions do not fit the maps.
    """
    notes: list[str] = []
    item = file[MAPS]
    if not isinstance(item, h5py.Dataset) or item.ndim != 3 or item.shape[0] != item.shape[1]:
        raise DataError(f"{file.filename}: {MAPS} is {item}, expected maps as (N, N, regions)")
    n_maps = item.shape[2]
    regions = file[REGIONS].attrs if has(file, REGIONS) else {}
    missing = [str(number) for number in range(n_maps) if str(number) not in regions]
    if missing:
        raise DataError(
            f"{file.filename}: {REGIONS} lacks region {missing[0]} of {n_maps}: "
            "use layout plain with key g12b (--layout plain --key g12b) and give phi, q and dt"
        )
    entries = []
    for number in range(n_maps):
        values = np.atleast_1d(np.asarray(regions[str(number)], dtype=np.float64))
        phi = float(values[1]) if values.size > 1 else math.nan
        entries.append(MapEntry(MAPS, number, number, float(values[0]), phi))
    return Source(
        path=str(file.filename),
        layout=LAYOUT,
        entries=tuple(entries),
        n_frames=item.shape[0],
        pixel_bytes=item.dtype.itemsize,
        dt=_time_step(file, dt, notes),
        notes=tuple(notes),
        axis=2,
        access="whole",
    )


def _time_step(file: h5py.File, given: float | None, notes: list[str]) -> float:
    """Seconds between frames; NaN where the file does not say and the caller does."""
    attributes = file[METADATA].attrs if has(file, METADATA) else {}
    for name in FRAME_TIMES:
        if name in attributes:
            dt = float(attributes[name])
            if math.isfinite(dt) and dt > 0:
                if name != FRAME_TIMES[0]:
                    notes.append(f"the time between frames was taken from {name!r}, which may leave out a dead time")
                return dt
            break
    if given is not None:
        return math.nan
    raise DataError(
        f"{file.filename} does not say the time between frames ({METADATA}, {FRAME_TIMES[0]}): "
        "give dt in seconds (--dt), for example 0.1"
    )
