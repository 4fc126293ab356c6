"""Results of the former APS 8-ID-I: ``/exchange/C2T_all``, with lists of q and phi for all bins.

The number in a map's name is either its bin or a running number; ``/xpcs/qphi_bin_to_process`` tells which.
"""

from __future__ import annotations

from typing import Final

import h5py
import numpy as np
from numpy.typing import NDArray

from hetdask.data.readers.hdf5 import common_shape, has, integers, numbered_maps, time_step, vector
from hetdask.data.readers.source import MapEntry, Source
from hetdask.errors import DataError

LAYOUT: Final = "aps-old"

MAPS: Final = "/exchange/C2T_all"
Q_LIST: Final = "/xpcs/dqlist"
PHI_LIST: Final = "/xpcs/dphilist"
PROCESSED: Final = "/xpcs/qphi_bin_to_process"


def recognise(file: h5py.File) -> bool:
    """Whether the file has maps in this layout."""
    return has(file, MAPS)


def multitau_only(file: h5py.File) -> bool:
    """Whether the file is of this beamline and holds g2 curves but no maps."""
    return not has(file, MAPS) and (has(file, "/exchange/norm-0-g2") or has(file, Q_LIST))


def describe(file: h5py.File, dt: float | None) -> Source:
    """Maps of the file with their q and phi.

    Raises
    ------
    DataError
        If the lists of the file contradict each other.
    """
    notes: list[str] = []
    maps = numbered_maps(file, MAPS)
    q, phi = vector(file, Q_LIST), vector(file, PHI_LIST)
    if q.size != phi.size:
        raise DataError(
            f"{file.filename}: {Q_LIST} has {q.size} values and {PHI_LIST} has {phi.size}, expected as many"
        )
    bins, places = _bins(file, np.array([number for number, _ in maps]), q.size, notes)
    keys = [key for _, key in maps]
    n_frames, pixel_bytes = common_shape(file, keys)
    entries = tuple(
        MapEntry(key, bin=int(number), q=float(q[place]), phi=float(phi[place]))
        for key, number, place in zip(keys, bins, places, strict=True)
    )
    step = time_step(
        file,
        "/measurement/instrument/detector/exposure_period",
        "/xpcs/stride_frames",
        "/xpcs/avg_frames",
        dt,
        notes,
    )
    return Source(str(file.filename), LAYOUT, entries, n_frames, pixel_bytes, step, tuple(notes))


def _bins(
    file: h5py.File, numbers: NDArray[np.int64], n_listed: int, notes: list[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Bin of each map, from 1, and its place in the lists of q and phi, from 0.

    Parameters
    ----------
    numbers : (n,) int64
        In the names of the maps, ascending.
    n_listed : int
        Length of the lists.
    """
    running = bool(np.array_equal(numbers, np.arange(1, numbers.size + 1)))
    if not has(file, PROCESSED):
        if n_listed == numbers.size:
            return numbers, np.arange(numbers.size)
        notes.append(f"{PROCESSED} is not in the file; the numbers in the maps' names were taken for bins")
        return numbers, _places(file, numbers, n_listed)
    processed = integers(file, PROCESSED)
    by_bin = bool(np.array_equal(np.sort(processed), numbers))
    if by_bin and running and not np.array_equal(processed, numbers):
        raise DataError(
            f"{file.filename}: maps 1 to {numbers.size} may be numbered by bin or in the order of {PROCESSED}, "
            f"which differ ({_start(processed)}): write the maps as .npy and give phi, q and dt"
        )
    if by_bin:
        bins = numbers
    elif running and processed.size == numbers.size:
        bins = processed
    else:
        raise DataError(
            f"{file.filename}: the maps are numbered {_start(numbers)} and {PROCESSED} holds {_start(processed)}, "
            "expected the same numbers, or running numbers of as many: the file is incomplete"
        )
    if n_listed == processed.size and processed.max() > n_listed:
        return bins, np.array([np.flatnonzero(processed == number)[0] for number in bins])
    return bins, _places(file, bins, n_listed)


def _places(file: h5py.File, bins: NDArray[np.int64], n_listed: int) -> NDArray[np.int64]:
    if bins.min() < 1 or bins.max() > n_listed:
        raise DataError(
            f"{file.filename}: there is a map of bin {bins.max() if bins.max() > n_listed else bins.min()}, "
            f"expected 1 to {n_listed}, the length of {Q_LIST}"
        )
    return bins - 1


def _start(numbers: NDArray[np.int64], most: int = 8) -> str:
    return ", ".join(str(number) for number in numbers[:most]) + (", …" if numbers.size > most else "")
