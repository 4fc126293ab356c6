"""NeXus files of the definition NXxpcs (https://manual.nexusformat.org/classes/contributed_definitions/NXxpcs.html).

The maps are one array, with the regions along its first or last axis, or a group with one data set for each region of
the detector. Regions are numbered from 1, and so are the entries of the lists of q and phi.
"""

from __future__ import annotations

from typing import Final, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from hetdask.data.readers.hdf5 import (
    attribute,
    common_shape,
    frame_time_path,
    has,
    listing,
    time_step,
    vector,
)
from hetdask.data.readers.source import Access, MapEntry, Source
from hetdask.data.readers.units import conversion
from hetdask.errors import DataError

LAYOUT: Final = "nxxpcs"

MAPS: Final = "/entry/twotime/two_time_corr_func"
LISTS: Final = "/entry/instrument/masks"
EXPORT: Final = "write the maps as .npy and give phi, q and dt"


def recognise(file: h5py.File) -> bool:
    """Whether the file has maps in this layout."""
    return has(file, MAPS)


def multitau_only(file: h5py.File) -> bool:
    """Whether the file follows the definition and holds g2 curves but no maps."""
    if has(file, MAPS) or not isinstance(file.get("/entry/definition"), h5py.Dataset):
        return False
    definition = file["/entry/definition"].asstr()[()]
    return str(definition) == "NXxpcs"


def describe(file: h5py.File, dt: float | None) -> Source:
    """Maps of the file with their q and phi.

    Raises
    ------
    DataError
        If the maps are stored in a way that the definition does not prefer, or the lists do not fit them.
    """
    notes: list[str] = []
    origin = attribute(file[MAPS], "time_origin_location")
    if origin not in {None, "upper_left"}:
        raise DataError(
            f"{file.filename}: time_origin_location of {MAPS} is {origin!r}, expected upper_left: "
            f"turn the maps so that time grows with both indices, and {EXPORT}"
        )
    q = _list(file, "q", "1/Å", notes)
    phi = _list(file, "phi", "deg", notes) if has(file, f"{LISTS}/dynamic_phi_list") else np.full(q.size, np.nan)
    if phi.size != q.size:
        raise DataError(
            f"{file.filename}: found {q.size} values of dynamic_q_list and {phi.size} of dynamic_phi_list, "
            f"expected one of each for each region: {EXPORT}"
        )
    item = file[MAPS]
    access: Access = "map"
    axis = 0
    if isinstance(item, h5py.Group):
        places = _regions(file, item, q.size)
        n_frames, pixel_bytes = common_shape(file, list(places))
        located: list[tuple[str, int | None, int]] = [(path, None, place) for path, place in places.items()]
    else:
        axis, n_frames = _axis(file, item, q.size)
        pixel_bytes = item.dtype.itemsize
        access = "whole" if axis == 2 else "map"
        located = [(MAPS, None if item.ndim == 2 else place, place) for place in range(q.size)]
    entries = tuple(MapEntry(path, index, p + 1, float(q[p]), float(phi[p])) for path, index, p in located)
    step = time_step(file, frame_time_path(file, dt), None, None, dt, notes)
    return Source(
        str(file.filename), LAYOUT, entries, n_frames, pixel_bytes, step, tuple(notes), axis=axis, access=access
    )


def _list(file: h5py.File, name: Literal["q", "phi"], unit: str, notes: list[str]) -> NDArray[np.float64]:
    """Values of q in 1/Å or phi in degrees, one for each region."""
    path = f"{LISTS}/dynamic_{name}_list"
    values = vector(file, path)
    if file[path].ndim > 1 and max(file[path].shape) != values.size:
        raise DataError(
            f"{file.filename}: {path} has shape {file[path].shape}, expected one number for each region: {EXPORT}"
        )
    found = attribute(file[path], "units")
    if found is None:
        notes.append(f"{path} has no units; {unit} was taken")
        found = unit
    return values * conversion(f"{file.filename} ({path})", name, found, notes)


def _regions(file: h5py.File, group: h5py.Group, n_regions: int) -> dict[str, int]:
    """Path of each map in a group, and its place in the lists."""
    numbers = {}
    for key in group:
        digits = "".join(character for character in key if character.isdigit())
        if digits:
            numbers[f"{MAPS}/{key}"] = int(digits) - 1
    places = set(numbers.values())
    if not numbers or len(places) < len(numbers) or min(places) < 0 or max(places) >= n_regions:
        raise DataError(
            f"{file.filename}: {MAPS} has {listing(group)}, expected one key for each region, numbered 1 to "
            f"{n_regions} (the length of dynamic_q_list): {EXPORT}"
        )
    return dict(sorted(numbers.items(), key=lambda found: found[1]))


def _axis(file: h5py.File, item: h5py.Dataset, n_regions: int) -> tuple[int, int]:
    """Axis that counts the regions, and the number of frames."""
    mode = attribute(item, "storage_mode")
    shape = item.shape
    if len(shape) == 2 and shape[0] == shape[1] and n_regions == 1:
        return 0, shape[0]
    fits = {
        0: len(shape) == 3 and shape[0] == n_regions and shape[1] == shape[2],
        2: len(shape) == 3 and shape[2] == n_regions and shape[0] == shape[1],
    }
    named = {"one_array_q_first": [0], "one_array_q_last": [2]}.get(mode or "", [0, 2])
    possible = [axis for axis in named if fits[axis]]
    if len(possible) != 1:
        raise DataError(
            f"{file.filename}: {MAPS} has shape {shape} and storage_mode {mode!r}, expected ({n_regions}, N, N) as "
            f"one_array_q_first or (N, N, {n_regions}) as one_array_q_last: {EXPORT}"
        )
    return possible[0], shape[1]
