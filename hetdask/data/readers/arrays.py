"""Arrays without a layout: ``.npy``, ``.npz``, ``.mat`` (also v7.3), plain HDF5 and text.

Of these the caller gives phi, q and dt. The original package's cache files are ``.npz`` with agreed names: they know
their own phi, mostly q, and times.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hetdask.data.readers import hdf5
from hetdask.data.readers.source import Access, MapEntry, Source, given_values, square_frames
from hetdask.errors import ConfigError, DataError

CACHE: Final = "npz"
PLAIN: Final = "plain"

TEXT_SUFFIXES: Final = (".txt", ".dat", ".csv")
SUFFIXES: Final = (".npy", ".npz", ".mat", *TEXT_SUFFIXES)

CACHE_MAPS: Final = ("c2_exp", "c2_data", "c2", "c2_experimental")
CACHE_PHI: Final = ("phi_angles_list", "phi_angles", "angles", "phi")
CACHE_Q: Final = ("wavevector_q_list", "wavevector_q", "q")
CACHE_TIME: Final = "t1"

MATLAB_NUMBERS: Final = {
    "double": 8,
    "single": 4,
    "int8": 1,
    "int16": 2,
    "int32": 4,
    "uint8": 1,
    "uint16": 2,
    "uint32": 4,
}


@dataclass(frozen=True, slots=True)
class _Stack:
    """An array of maps.

    Attributes
    ----------
    key : str
        Its name; empty where the file holds only one array.
    shape : tuple of int
    pixel_bytes : int
    last : bool
        Where both readings of the shape are possible, the last axis counts the maps.
    access : str
        See `Source.access`.
    """

    key: str
    shape: tuple[int, ...]
    pixel_bytes: int
    last: bool = False
    access: Access = "map"


def describe(
    path: Path,
    *,
    layout: str = "auto",
    key: str | None = None,
    phi: ArrayLike | None = None,
    q: ArrayLike | None = None,
    dt: float | None = None,
) -> Source:
    """Maps of an array file.

    Parameters
    ----------
    path : Path
    layout : {"auto", "npz", "plain"}
        "npz" is the original package's cache.
    key : str, optional
        Name of the array, where the file holds several.
    phi : (n,) float or float, optional
        Degrees.
    q : (n,) float or float, optional
        1/Å. Where the file has its own q, it is for the caller to choose among them.
    dt : float, optional
        s. With it the times in the file need not be valid.

    Raises
    ------
    DataError
        If no array of maps is found, or it is not clear which one is meant.
    ConfigError
        If the number of values of phi or q does not fit, or the file has its own phi.
    """
    stack = _find(path, key)
    named: dict[str, Any] = {}
    is_cache = path.suffix == ".npz" and layout != PLAIN and stack.key in CACHE_MAPS
    if layout == CACHE and not is_cache:
        raise DataError(
            f"{path} is not a cache of the original package, which has one of {', '.join(CACHE_MAPS)}: "
            "use layout plain (--layout plain)"
        )
    entries, n_frames, axis, notes = _entries(path, stack)
    if is_cache:
        named = _cache_values(path, dt, notes)
    if "phi" in named and phi is not None:
        raise ConfigError(f"phi was given, but {path} has its own, {_few(named['phi'])}: leave out phi (--phi)")
    angles = named.get("phi", phi)
    wavevectors = named.get("q", q)
    n = len(entries)
    phi_values = np.full(n, np.nan) if angles is None else given_values("phi", angles, n, "0,45,90 (--phi)")
    q_values = np.full(n, np.nan) if wavevectors is None else given_values("q", wavevectors, n, "0.0054 (--q)")
    return Source(
        path=str(path),
        layout=CACHE if is_cache else PLAIN,
        entries=tuple(
            MapEntry(entry.key, entry.index, None, float(q_), float(phi_))
            for entry, q_, phi_ in zip(entries, q_values, phi_values, strict=True)
        ),
        n_frames=n_frames,
        pixel_bytes=stack.pixel_bytes,
        dt=named.get("dt", math.nan),
        notes=tuple(notes),
        axis=axis,
        access=stack.access,
        q_in_file="q" in named,
    )


def read_maps(source: Source, entries: Sequence[MapEntry]) -> Iterator[NDArray[np.floating]]:
    """Pixels (N, N) of each entry, in their order.

    Raises
    ------
    DataError
        If the file is damaged.
    """
    path = Path(source.path)
    if source.access == "in order":
        yield from _stream(path, source.n_frames, entries)
        return
    if path.suffix not in SUFFIXES or (path.suffix == ".mat" and h5py.is_hdf5(path)):
        yield from hdf5.read_maps(source, entries)
        return
    array = _load(path, entries[0].key)
    for entry in entries:
        yield array if entry.index is None else np.take(array, entry.index, axis=source.axis)


def _find(path: Path, key: str | None) -> _Stack:
    """The array of maps in a file."""
    if key is not None and path.suffix in {".npy", *TEXT_SUFFIXES}:
        raise ConfigError(
            f"key is {key!r}, but a {path.suffix} file holds one array without a name: leave out key (--key)"
        )
    if path.suffix == ".npy":
        array = _load(path, "")
        return _checked(path, _Stack("", array.shape, array.dtype.itemsize), array.dtype)
    if path.suffix == ".npz":
        return _choose(path, key, _npz_arrays(path))
    if path.suffix in TEXT_SUFFIXES:
        array = _load(path, "")
        return _Stack("", array.shape, array.dtype.itemsize, access="whole")
    if path.suffix == ".mat" and not h5py.is_hdf5(path):
        return _choose(path, key, _matlab_arrays(path))
    with hdf5.open_hdf5(path) as file:
        return _choose(path, key, _hdf5_arrays(file, key))


def _choose(path: Path, key: str | None, stacks: list[_Stack]) -> _Stack:
    """The array of a name, or the only one that can hold maps."""
    names = ", ".join(f"{stack.key} {stack.shape}" for stack in stacks) or "no arrays of numbers"
    if key is not None:
        for stack in stacks:
            if stack.key == key:
                return stack
        raise DataError(f"{path} has no array {key!r}; it has {names}: change key (--key)")
    maps = [stack for stack in stacks if _map_axis(stack) is not None]
    agreed = [stack for stack in maps if stack.key in CACHE_MAPS]
    if len(agreed or maps) != 1:
        raise DataError(
            f"found {len(maps)} arrays that can hold two-time maps in {path}, expected one; it has {names}: "
            "name it with key (--key), for example c2"
        )
    return (agreed or maps)[0]


def _map_axis(stack: _Stack) -> int | None:
    """Axis that counts the maps: 0 also for a single map, None if the array cannot hold maps."""
    shape = stack.shape
    if len(shape) == 2:
        return 0 if shape[0] == shape[1] > 1 else None
    if len(shape) != 3:
        return None
    first, last = shape[1] == shape[2] > 1, shape[0] == shape[1] > 1
    if first and last:
        return 2 if stack.last else 0
    return 0 if first else 2 if last else None


def _entries(path: Path, stack: _Stack) -> tuple[list[MapEntry], int, int, list[str]]:
    """Entries without q and phi, frames, axis that counts the maps, notes."""
    notes: list[str] = []
    axis = _map_axis(stack)
    name = stack.key or "the array"
    if axis is None:
        if len(stack.shape) == 2:
            square_frames(str(path), name, stack.shape)
        raise DataError(
            f"{path}: {name} has shape {stack.shape}, expected two-time maps as (N, N), (n, N, N) or (N, N, n)"
        )
    if len(stack.shape) == 2:
        return [MapEntry(stack.key)], stack.shape[0], 0, notes
    if stack.shape[0] == stack.shape[2]:
        notes.append(f"{name} is a cube; its {'last' if axis else 'first'} axis was taken to count the maps")
    elif axis:
        notes.append(f"the last axis of {name} counts the maps, as old scikit-beam and MATLAB write them")
    return [MapEntry(stack.key, index) for index in range(stack.shape[axis])], stack.shape[1], axis, notes


def _checked(path: Path, stack: _Stack, dtype: np.dtype[Any]) -> _Stack:
    if not (np.issubdtype(dtype, np.floating) or np.issubdtype(dtype, np.integer)):
        raise DataError(f"{path}: {stack.key or 'the array'} holds {dtype}, expected real numbers")
    return stack


def _load(path: Path, key: str) -> NDArray[Any]:
    """A whole array; ``.npy`` stays on disk."""
    try:
        if path.suffix == ".mat":
            from scipy.io import loadmat

            return np.asarray(loadmat(path, variable_names=[key])[key])
        if path.suffix in TEXT_SUFFIXES:
            return np.loadtxt(path, delimiter="," if path.suffix == ".csv" else None, ndmin=2)
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return np.asarray(arrays[key])
        return np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"{path} cannot be read as {path.suffix[1:]} ({error}): "
            "expected numbers, saved without pickle, in a complete file"
        ) from error


def _npz_arrays(path: Path) -> list[_Stack]:
    """Arrays of an ``.npz`` file from their headers."""
    stacks = []
    with _open_zip(path) as archive:
        for member in archive.namelist():
            with archive.open(member) as file:
                shape, fortran, dtype = _header(path, file)
            if np.issubdtype(dtype, np.floating) or np.issubdtype(dtype, np.integer):
                streamed = not fortran and _map_axis(_Stack("", shape, 0)) == 0
                access: Access = "in order" if streamed else "whole"
                stacks.append(_Stack(member.removesuffix(".npy"), shape, dtype.itemsize, access=access))
    return stacks


def _matlab_arrays(path: Path) -> list[_Stack]:
    from scipy.io import whosmat
    from scipy.io.matlab import MatReadError

    try:
        found = whosmat(path)
    except (ValueError, OSError, MatReadError) as error:
        raise DataError(f"{path} cannot be read as a MATLAB file ({error})") from error
    return [
        _Stack(name, shape, MATLAB_NUMBERS[kind], last=True, access="whole")
        for name, shape, kind in found
        if kind in MATLAB_NUMBERS
    ]


def _hdf5_arrays(file: h5py.File, key: str | None) -> list[_Stack]:
    """Data sets at the top level, and the one named by `key` wherever it is."""
    names = list(file)
    if key is not None and key not in names and isinstance(file.get(key), h5py.Dataset):
        names.append(key)
    stacks = []
    for name in names:
        item = file.get(name)
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "fiu":
            access: Access = "map" if _map_axis(_Stack("", item.shape, 0)) == 0 else "whole"
            stacks.append(_Stack(name, item.shape, item.dtype.itemsize, access=access))
    return stacks


@contextmanager
def _open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path} is not a complete .npz file ({error})") from error


def _header(path: Path, file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, Fortran order and type of an array in the .npy format."""
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        return readers[np.lib.format.read_magic(file)](file)
    except (ValueError, KeyError) as error:
        raise DataError(f"{path} holds something else than arrays of numbers ({error})") from error


def _stream(path: Path, n_frames: int, entries: Sequence[MapEntry]) -> Iterator[NDArray[np.floating]]:
    """Maps of an array in an ``.npz`` file, without the whole array in memory."""
    with _open_zip(path) as archive, archive.open(f"{entries[0].key}.npy") as file:
        _, _, dtype = _header(path, file)
        start = file.tell()
        size = dtype.itemsize * n_frames**2
        for entry in entries:
            file.seek(start + (entry.index or 0) * size)
            data = file.read(size)
            if len(data) < size:
                raise DataError(f"{path}: {entry.name} is cut short")
            yield np.frombuffer(data, dtype=dtype).reshape(n_frames, n_frames)


def _cache_values(path: Path, given: float | None, notes: list[str]) -> dict[str, Any]:
    """What a cache file says of phi, q and dt."""
    values: dict[str, Any] = {}
    with np.load(path, allow_pickle=False) as arrays:
        for name, keys in (("phi", CACHE_PHI), ("q", CACHE_Q)):
            present = [key for key in keys if key in arrays]
            if present:
                values[name] = np.atleast_1d(arrays[present[0]]).ravel()
        if CACHE_TIME in arrays:
            times = _first_times(path)
            values["dt"] = float(times[1] - times[0])
            if times[0] != 0:
                notes.append(f"times in the file start at {times[0]:g} s; give time_origin to keep that")
        elif "dt" in arrays:
            values["dt"] = float(arrays["dt"])
    if given is None and "dt" in values and not (math.isfinite(values["dt"]) and values["dt"] > 0):
        raise DataError(
            f"{path}: the time step is {values['dt']:g} s, expected a positive number: give dt in seconds (--dt), "
            "for example 0.1"
        )
    return values


def _first_times(path: Path) -> NDArray[np.float64]:
    """First two times of a cache file, whose times are (N,) or a grid (N, N) of either orientation."""
    with _open_zip(path) as archive, archive.open(f"{CACHE_TIME}.npy") as file:
        shape, fortran, dtype = _header(path, file)
        columns = shape[0 if fortran else 1] if len(shape) == 2 else 0
        data = np.frombuffer(file.read(dtype.itemsize * (columns + 2)), dtype=dtype).astype(np.float64)
    if data.size != columns + 2:
        raise DataError(f"{path}: {CACHE_TIME} has shape {shape}, expected the times of at least two frames")
    return data[[0, columns]] if columns and data[columns] != data[0] else data[:2]


def _few(values: NDArray[np.float64], most: int = 6) -> str:
    return ", ".join(f"{value:g}" for value in values[:most]) + (", …" if len(values) > most else "")
