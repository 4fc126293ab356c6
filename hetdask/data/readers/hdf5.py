"""Reading HDF5 files: scalars and lists of any shape, numbered maps, one map at a time."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import h5py
import hdf5plugin  # noqa: F401  registers the filters that detectors compress with
import numpy as np
from numpy.typing import NDArray

from hetdask.data.readers.source import MapEntry, Source, square_frames
from hetdask.errors import DataError

INSTRUMENT: Final = "/entry/instrument"
MAP_KEY: Final = re.compile(r"(?:g2|c2)_(\d+)")


@contextmanager
def open_hdf5(path: str | Path) -> Iterator[h5py.File]:
    """The file, open for reading.

    Raises
    ------
    DataError
        If it is not HDF5, cut short, or being written.
    """
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DataError(
            f"{path} cannot be opened as HDF5 ({_one_line(error)}): check that it is complete and not being written"
        ) from error
    with file:
        yield file


def has(file: h5py.File, *paths: str) -> bool:
    """Whether all of these groups or data sets exist."""
    return all(path in file for path in paths)


def scalar(file: h5py.File, path: str) -> float:
    """Number at `path`, stored with any number of axes of length 1.

    Raises
    ------
    DataError
        If it is not there or not one number.
    """
    values = vector(file, path)
    if values.size != 1:
        raise DataError(f"{file.filename}: {path} holds {values.size} values, expected one number")
    return float(values[0])


def optional_scalar(file: h5py.File, path: str, default: float, notes: list[str]) -> float:
    """Number at `path`, or `default` with a note where it is not there."""
    if path not in file:
        notes.append(f"{path} is not in the file; {default:g} was assumed")
        return default
    return scalar(file, path)


def vector(file: h5py.File, path: str) -> NDArray[np.float64]:
    """Numbers at `path` as one list, stored as (n,), (1, n) or (n, 1).

    Raises
    ------
    DataError
        If they are not there or not numbers.
    """
    item = file.get(path)
    if not isinstance(item, h5py.Dataset):
        raise DataError(f"{file.filename}: {path} is missing; this layout needs it")
    if not np.issubdtype(item.dtype, np.number):
        raise DataError(f"{file.filename}: {path} holds {item.dtype}, expected numbers")
    return np.asarray(item[()], dtype=np.float64).ravel()


def integers(file: h5py.File, path: str) -> NDArray[np.int64]:
    """Whole numbers at `path` as one list.

    Raises
    ------
    DataError
        If they are not there or not whole numbers.
    """
    values = vector(file, path)
    if not np.all(values == np.round(values)):
        raise DataError(f"{file.filename}: {path} holds fractions, expected whole numbers")
    return values.astype(np.int64)


def texts(file: h5py.File, path: str) -> list[str] | None:
    """Strings at `path`, None where it is not there."""
    if path not in file:
        return None
    return [_text(value) for value in np.ravel(file[path][()])]


def attribute(item: h5py.HLObject, name: str) -> str | None:
    """Text of an attribute, None where it is not there."""
    return _text(np.ravel(item.attrs[name])[0]) if name in item.attrs else None


def frame_time_path(file: h5py.File, given: float | None) -> str | None:
    """Path of the frame time below ``/entry/instrument``; None where there is none, or several and a `given` time step.

    Raises
    ------
    DataError
        If several detectors differ and there is no `given`.
    """
    instrument = file.get(INSTRUMENT)
    if not isinstance(instrument, h5py.Group):
        return None
    found = [f"{INSTRUMENT}/{name}/frame_time" for name in instrument]
    found = [path for path in found if path in file]
    if len({scalar(file, path) for path in found}) > 1:
        if given is not None:
            return None
        raise DataError(
            f"{file.filename}: detectors have different frame times, {', '.join(found)}: give dt in seconds (--dt)"
        )
    return found[0] if found else None


def time_step(
    file: h5py.File,
    frame_time: str | None,
    stride: str | None,
    average: str | None,
    given: float | None,
    notes: list[str],
) -> float:
    """Seconds between the frames of a map, as the file says.

    Parameters
    ----------
    frame_time : str or None
        Path of the seconds between detector frames; None where the file has no such data set.
    stride, average : str or None
        Paths of the numbers of detector frames skipped and averaged for each frame of a map; None for layouts without
        them.
    given : float, optional
        Time step that the caller gives: with it the file need not know better.
    notes : list of str
        What had to be assumed is added here.

    Returns
    -------
    float
        NaN where the file does not say and `given` does.

    Raises
    ------
    DataError
        If a number is missing or not positive and there is no `given`.
    """
    if frame_time is None or frame_time not in file:
        if given is not None:
            return math.nan
        raise DataError(
            f"{file.filename} does not say the time between frames: give dt in seconds (--dt), for example 0.1"
        )
    factors = (
        scalar(file, frame_time),
        1.0 if stride is None else optional_scalar(file, stride, 1.0, notes),
        1.0 if average is None else optional_scalar(file, average, 1.0, notes),
    )
    if all(math.isfinite(factor) and factor > 0 for factor in factors):
        return math.prod(factors)
    if given is not None:
        return math.nan
    raise DataError(
        f"{file.filename}: the time step is {factors[0]:g} s ({frame_time}) × {factors[1]:g} (stride) × {factors[2]:g} "
        "(average), expected positive numbers: give dt in seconds (--dt), for example 0.1"
    )


def numbered_maps(file: h5py.File, path: str) -> list[tuple[int, str]]:
    """Numbers and paths of the maps ``c2_00001…`` or ``g2_00001…`` in a group, sorted by number.

    Raises
    ------
    DataError
        If there are none, or two with the same number.
    """
    found = []
    for key in file[path]:
        match = MAP_KEY.fullmatch(key)
        if match:
            found.append((int(match[1]), f"{path}/{key}"))
    if not found:
        raise DataError(
            f"{file.filename}: {path} holds no maps named c2_00001… or g2_00001…; it has {listing(file[path])}"
        )
    found.sort()
    numbers = [number for number, _ in found]
    twice = {number for number in numbers if numbers.count(number) > 1} if len(set(numbers)) < len(numbers) else None
    if twice:
        raise DataError(f"{file.filename}: {path} has more than one map numbered {min(twice)}: remove one of them")
    return found


def common_shape(file: h5py.File, paths: Sequence[str]) -> tuple[int, int]:
    """Frames and bytes per pixel that all maps share.

    Raises
    ------
    DataError
        If a map is not square or its size differs from the first one's.
    """
    frames = size = 0
    for path in paths:
        item = file[path]
        if not isinstance(item, h5py.Dataset) or not np.issubdtype(item.dtype, np.number):
            raise DataError(f"{file.filename}: {path} is no data set of numbers, expected a two-time correlation map")
        n = square_frames(file.filename, path, item.shape)
        if frames and n != frames:
            raise DataError(
                f"{file.filename}: {path} has {n} frames, expected {frames} as in {paths[0]}: "
                "the maps of a file must be of one series"
            )
        frames, size = n, max(size, item.dtype.itemsize)
    return frames, size


def read_maps(source: Source, entries: Sequence[MapEntry]) -> Iterator[NDArray[np.floating]]:
    """Pixels (N, N) of each entry, in their order.

    Raises
    ------
    DataError
        If a map cannot be read.
    """
    with open_hdf5(source.path) as file:
        whole: NDArray[np.floating] | None = None
        for entry in entries:
            try:
                item = file[entry.key]
                if source.access == "whole":
                    # With the maps along its last axis a single one would be read pixel by pixel.
                    whole = item[()] if whole is None else whole
                    item = whole
                pixels = item[()] if entry.index is None else item[_place(source.axis, entry.index)]
            except (OSError, KeyError) as error:
                raise DataError(
                    f"{source.path}: {entry.name} cannot be read ({_one_line(error)}): "
                    "the file is damaged or incomplete; copy it again from where it was written"
                ) from error
            yield pixels


def listing(group: h5py.Group, most: int = 12) -> str:
    """Names in a group, for messages."""
    names = list(group)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "") or "nothing"


def _place(axis: int, index: int) -> tuple[Any, ...]:
    return (index,) if axis == 0 else (Ellipsis, index)


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
