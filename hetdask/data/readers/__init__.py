"""Readers of beamline files, one module for each layout.

`open_source` finds out which layout a file has and what maps are in it; `read_maps` reads their pixels as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hetdask.data.readers import aps_old, aps_u, arrays, hdf5, nxxpcs, others, pychx
from hetdask.data.readers.source import MapEntry, Source
from hetdask.errors import ConfigError, DataError

__all__ = ["LAYOUTS", "MapEntry", "Source", "open_source", "read_maps"]


class Layout(Protocol):
    """What a module for a layout of HDF5 files offers."""

    LAYOUT: str
    MAPS: str

    def recognise(self, file: h5py.File) -> bool:
        """Whether the file has maps in this layout."""

    def multitau_only(self, file: h5py.File) -> bool:
        """Whether the file is of this beamline and holds g2 curves but no maps."""

    def describe(self, file: h5py.File, dt: float | None) -> Source:
        """Maps of the file with their q and phi."""


HDF5_LAYOUTS: Final[Mapping[str, Layout]] = {module.LAYOUT: module for module in (aps_u, aps_old, nxxpcs, pychx)}

LAYOUTS: Final = ("auto", *HDF5_LAYOUTS, arrays.CACHE, arrays.PLAIN)
"""Names of layouts: of files of beamlines, of the original package's cache (npz), and of arrays without one (plain)."""


def open_source(
    path: str | Path,
    *,
    layout: str = "auto",
    key: str | None = None,
    phi: ArrayLike | None = None,
    q: ArrayLike | None = None,
    dt: float | None = None,
) -> Source:
    """What is in a file of two-time correlation maps.

    Parameters
    ----------
    path : str or Path
    layout : str
        One of `LAYOUTS`; "auto" finds out.
    key : str, optional
        Name of the array of maps in files without a layout.
    phi : (n,) float or float, optional
        Degrees, for files that do not say it.
    q : (n,) float or float, optional
        1/Å, for files that do not say it; ignored for others.
    dt : float, optional
        Seconds between frames; takes precedence over the file's.

    Returns
    -------
    Source
        Without phi, q or dt where nobody says them: see `Source.missing`.

    Raises
    ------
    DataError
        If there is no such file, its layout is not known or not supported, or it holds no maps.
    ConfigError
        If an option does not go with this file.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/maps.npy", np.ones((2, 50, 50)))
    ...     source = open_source(f"{folder}/maps.npy", phi=[0, 90], q=0.0054, dt=0.1)
    >>> source.layout, source.n_frames, source.phi
    ('plain', 50, array([ 0., 90.]))
    """
    file = Path(path).absolute()  # workers may run elsewhere
    if layout not in LAYOUTS:
        raise ConfigError(f"layout is {layout!r}, expected one of {', '.join(LAYOUTS)}")
    if not file.exists():
        raise DataError(f"there is no file {file}: check the path of the data (source)")
    if file.is_dir():
        raise DataError(
            f"{file} is a folder, expected a file of two-time maps; a store needs no ingest, use it as it is"
        )
    if layout in {arrays.CACHE, arrays.PLAIN} or file.suffix in arrays.SUFFIXES:
        if layout in HDF5_LAYOUTS:
            raise ConfigError(f"layout is {layout}, but {file} is a {file.suffix} file: use --layout plain")
        source = arrays.describe(file, layout=layout, key=key, phi=phi, q=q, dt=dt)
        return source.with_time_step(dt)
    if not h5py.is_hdf5(file):
        raise DataError(
            f"{file} is not an HDF5 file, nor one of {', '.join(arrays.SUFFIXES)}: check that it is complete, "
            "or convert the maps to .npy and give phi, q and dt"
        )
    if key is not None:
        raise ConfigError(f"key is {key!r}, but only files without a layout need it: use layout plain (--layout plain)")
    with hdf5.open_hdf5(file) as opened:
        name = _recognise(opened) if layout == "auto" else layout
        if not HDF5_LAYOUTS[name].recognise(opened):
            raise DataError(_no_maps(opened, name))
        try:
            source = HDF5_LAYOUTS[name].describe(opened, dt)
        except (OSError, RuntimeError) as error:
            raise DataError(f"{file} is damaged ({error}): copy it again from where it was written") from error
    return source.with_phi(phi).with_time_step(dt)


def read_maps(source: Source, entries: Sequence[MapEntry]) -> Iterator[NDArray[np.floating]]:
    """Pixels (N, N) of each entry as they are in the file, one map in memory at a time.

    Raises
    ------
    DataError
        If the file has changed or is damaged.
    """
    reader = arrays.read_maps if source.layout in {arrays.CACHE, arrays.PLAIN} else hdf5.read_maps
    for entry, pixels in zip(entries, reader(source, entries), strict=True):
        if pixels.shape != (source.n_frames, source.n_frames):
            raise DataError(
                f"{source.path}: {entry.name} has shape {pixels.shape}, expected {source.n_frames} frames: "
                "the file was changed while it was read"
            )
        yield pixels


def _recognise(file: h5py.File) -> str:
    """Layout of an HDF5 file."""
    for name, module in HDF5_LAYOUTS.items():
        if module.recognise(file):
            return name
    for name, module in HDF5_LAYOUTS.items():
        if module.multitau_only(file):
            raise DataError(_no_maps(file, name))
    others.refuse(file)
    raise DataError(
        f"{file.filename} has none of the known layouts ({', '.join(HDF5_LAYOUTS)}); at its top level it has "
        f"{hdf5.listing(file)}. Name the data set of the maps with key (--layout plain --key …), and give phi, q and dt"
    )


def _no_maps(file: h5py.File, name: str) -> str:
    module = HDF5_LAYOUTS[name]
    if module.multitau_only(file):
        return (
            f"{file.filename} ({name}) holds multitau results only (g2 curves), no two-time maps at {module.MAPS}: "
            "run the correlation again with two-time analysis, or choose another file"
        )
    return f"{file.filename} has no two-time maps at {module.MAPS}, where layout {name} has them: use --layout auto"
