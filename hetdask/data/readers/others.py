"""Layouts that are known and not read: refused by name, with what to do instead."""

from __future__ import annotations

import h5py

from hetdask.data.readers.hdf5 import has
from hetdask.errors import DataError


def refuse(file: h5py.File) -> None:
    """Raise if the file has one of these layouts.

    Raises
    ------
    DataError
    """
    if has(file, "/entry_0000/correlations"):
        raise DataError(
            f"{file.filename} has the layout of ESRF ID02 (dahu), with the maps as (q, age, lag), not as two times; "
            "it is not read directly. Turn them into two-time maps (n, N, N), write those with numpy.save and give "
            "phi, q and dt, for example hetdask ingest maps.npy scan.zarr --phi 0,45,90 --q 0.0054 --dt 0.1"
        )
