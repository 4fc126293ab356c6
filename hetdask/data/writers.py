"""Writing two-time maps in the layouts that can be read, for simulated experiments and tests."""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Final, Literal

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hetdask.data.maps import prepare_map
from hetdask.data.readers import aps_old, aps_u
from hetdask.data.readers.hdf5 import INSTRUMENT
from hetdask.data.readers.source import given_values
from hetdask.data.store import Store
from hetdask.data.store_writer import PreparedMap, StoreWriter
from hetdask.data.tiling import SHARD_BYTES
from hetdask.errors import ConfigError, DataError

type Maps = Iterable[NDArray[np.floating] | None]
"""Full symmetric maps (N, N), or upper triangles, in order; None where a bin of the detector is empty."""

STRINGS: Final = h5py.string_dtype()


def write_aps_u(
    path: str | Path, maps: Maps, phi: ArrayLike, q: ArrayLike, dt: float, *, overwrite: bool = False
) -> Path:
    """Write maps in the layout of APS-U 8-ID.

    The bins form a grid of all q and phi. Cells that no map fills hold no pixels, and `dynamic_index_mapping` leaves
    them out.

    Parameters
    ----------
    path : str or Path
    maps : iterable of (N, N) float or None
        None for an empty bin.
    phi, q : (n,) float or float
        Degrees and 1/Å of each map.
    dt : float
        s.
    overwrite : bool
        Replace a file of this name.

    Raises
    ------
    DataError
        If the file exists, or two maps have the same q and phi.
    """
    phi_values, q_values = _coordinates(phi, q, dt)
    q_axis, q_place = np.unique(q_values, return_inverse=True)
    phi_axis, phi_place = np.unique(phi_values, return_inverse=True)
    cells = q_place * phi_axis.size + phi_place
    if np.unique(cells).size < cells.size:
        raise DataError("two of the maps have the same q and phi, expected one map for each: change phi or q")
    with _new_file(path, overwrite) as partial, h5py.File(partial, "w") as file:
        filled = []
        # Maps in the order of their cells, since a bin's number counts the filled cells.
        for place, pixels in _in_order(maps, cells):
            filled.append(int(cells[place]))
            _write_map(file, f"{aps_u.MAPS}/c2_{len(filled):05d}", pixels, compression="lzf")
        file[f"{aps_u.QMAP}/dynamic_index_mapping"] = np.array(
            filled, dtype=np.uint16 if max(filled) < 2**16 else np.uint32
        )
        file[aps_u.BINS] = np.arange(1, len(filled) + 1, dtype=np.int32)
        file[f"{aps_u.QMAP}/dynamic_num_pts"] = np.array([q_axis.size, phi_axis.size])
        file[f"{aps_u.QMAP}/dynamic_v_list_dim0"] = q_axis
        file[f"{aps_u.QMAP}/dynamic_v_list_dim1"] = phi_axis
        file.create_dataset(f"{aps_u.QMAP}/map_names", data=["q", "phi"], dtype=STRINGS)
        file.create_dataset(f"{aps_u.QMAP}/map_units", data=["1/A", "deg"], dtype=STRINGS)
        file[f"{INSTRUMENT}/detector_1/frame_time"] = np.array([[dt]])
        file[f"{aps_u.CONFIG}/stride_frame"] = 1
        file[f"{aps_u.CONFIG}/avg_frame"] = 1
    return Path(path)


def write_aps_old(
    path: str | Path,
    maps: Maps,
    phi: ArrayLike,
    q: ArrayLike,
    dt: float,
    *,
    numbering: Literal["bin", "running"] = "bin",
    overwrite: bool = False,
) -> Path:
    """Write maps in the layout of the former APS 8-ID-I.

    Parameters
    ----------
    path : str or Path
    maps : iterable of (N, N) float or None
        None for a bin without a map; it keeps its place in the lists of q and phi.
    phi, q : (n,) float or float
        Degrees and 1/Å of each bin.
    dt : float
        s.
    numbering : {"bin", "running"}
        What the numbers in the names of the maps are.
    overwrite : bool
        Replace a file of this name.

    Raises
    ------
    DataError
        If the file exists.
    """
    phi_values, q_values = _coordinates(phi, q, dt)
    with _new_file(path, overwrite) as partial, h5py.File(partial, "w") as file:
        processed: list[int] = []
        for place, pixels in _in_order(maps, np.arange(phi_values.size)):
            processed.append(place + 1)
            number = place + 1 if numbering == "bin" else len(processed)
            _write_map(file, f"{aps_old.MAPS}/g2_{number:05d}", pixels, compression="gzip")
        file[aps_old.PROCESSED] = np.array([processed])
        file[aps_old.Q_LIST] = q_values[None, :]
        file[aps_old.PHI_LIST] = phi_values[None, :]
        file["/measurement/instrument/detector/exposure_period"] = np.array([[dt]])
        file["/xpcs/stride_frames"] = np.array([[1]])
        file["/xpcs/avg_frames"] = np.array([[1]])
    return Path(path)


def write_npz(
    path: str | Path, maps: Maps, phi: ArrayLike, q: ArrayLike, dt: float, *, overwrite: bool = False
) -> Path:
    """Write maps as the original package caches them: full symmetric float64 maps in a compressed ``.npz`` file.

    Parameters
    ----------
    path : str or Path
    maps : iterable of (N, N) float or None
        None for an empty bin, which is left out.
    phi, q : (n,) float or float
        Degrees and 1/Å of each map.
    dt : float
        s.
    overwrite : bool
        Replace a file of this name.

    Raises
    ------
    DataError
        If the file exists.
    """
    phi_values, q_values = _coordinates(phi, q, dt)
    found = list(_in_order(maps, np.arange(phi_values.size)))
    places = [place for place, _ in found]
    full = np.stack([np.triu(pixels) + np.triu(pixels, 1).T for _, pixels in found]).astype(np.float64)
    time = dt * np.arange(full.shape[1])
    t1, t2 = np.meshgrid(time, time, indexing="ij")
    with _new_file(path, overwrite) as partial, partial.open("wb") as file:
        np.savez_compressed(
            file,
            c2_exp=full,
            phi_angles_list=phi_values[places],
            wavevector_q_list=q_values[places],
            t1=t1,
            t2=t2,
        )
    return Path(path)


def write_store(
    path: str | Path,
    maps: Iterable[NDArray[np.floating]],
    phi: ArrayLike,
    q: ArrayLike,
    dt: float,
    *,
    time_origin: float = 0.0,
    provenance: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    tile: int | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> Store:
    """Write maps straight into a store.

    Parameters
    ----------
    path : str or Path
    maps : iterable of (N, N) float
        Upper triangles or full symmetric maps, NaN where a pixel or frame is no data. One is in memory at a time.
    phi, q : (n,) float or float
        Degrees and 1/Å of each map.
    dt, time_origin : float
        s.
    provenance : mapping, optional
        What can be written as JSON.
    overwrite : bool
        Replace a store of this name.
    tile : int, optional
        Frames along a tile.
    shard_bytes : int
        Size of a shard in memory.

    Raises
    ------
    DataError
        If a map has no data or the store cannot be written.
    """
    phi_values, q_values = _coordinates(phi, q, dt)
    source = iter(maps)
    first = next(source, None)
    if first is None:
        raise DataError("there are no maps to write, expected one for each phi")

    def prepared() -> Iterator[PreparedMap]:
        number = 0
        for number, pixels in enumerate(chain([first], source), start=1):
            yield prepare_map(pixels, f"map {number}")
        if number != phi_values.size:
            raise DataError(f"found {number} maps, expected {phi_values.size}, one for each phi")

    with StoreWriter(
        path,
        phi=phi_values,
        q=q_values,
        n_frames=first.shape[0],
        dt=dt,
        time_origin=time_origin,
        provenance=provenance,
        overwrite=overwrite,
        tile=tile,
        shard_bytes=shard_bytes,
    ) as writer:
        writer.write(prepared())
        if next(source, None) is not None:
            raise DataError(f"found more than {phi_values.size} maps, expected one for each phi")
    return Store.open(path)


def _coordinates(phi: ArrayLike, q: ArrayLike, dt: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    n = max(np.size(phi), np.size(q))
    phi_values = given_values("phi", phi, n, "0,45,90")
    q_values = given_values("q", q, n, "0.0054")
    if not np.all(q_values > 0):
        raise ConfigError(f"q holds {q_values.min():g} 1/Å, expected positive values, for example 0.0054")
    if not (math.isfinite(dt) and dt > 0):
        raise ConfigError(f"dt is {dt:g} s, expected a positive number of seconds, for example 0.1")
    return phi_values, q_values


def _in_order(maps: Maps, keys: NDArray[np.intp]) -> Iterator[tuple[int, NDArray[np.floating]]]:
    """Place and pixels of the maps that are not empty, in ascending order of their keys."""
    ascending = bool(np.all(np.diff(keys) > 0))
    source: Iterable[tuple[int, NDArray[np.floating] | None]] = enumerate(maps)
    if not ascending:
        held = list(maps)
        source = ((int(place), held[place]) for place in np.argsort(keys))
    count = filled = 0
    for place, pixels in source:
        count += 1
        if pixels is not None:
            filled += 1
            yield place, pixels
    if count != keys.size or not filled:
        raise DataError(f"found {count} maps, {filled} of them not empty, expected {keys.size}, one for each phi and q")


def _write_map(file: h5py.File, name: str, pixels: NDArray[np.floating], *, compression: str) -> None:
    upper = np.triu(pixels).astype(np.float32)
    file.create_dataset(name, data=upper, chunks=upper.shape, compression=compression)


@contextmanager
def _new_file(path: str | Path, overwrite: bool) -> Iterator[Path]:
    """Name to write under; the file gets its own name when the block ends well, and is removed when it does not."""
    target = Path(path)
    if target.exists() and not overwrite:
        raise DataError(f"{target} exists: use overwrite (--overwrite) to replace it, or another name")
    if not target.absolute().parent.is_dir():
        raise DataError(f"there is no folder {target.absolute().parent} to write {target.name} into: make it first")
    partial = target.with_name(f"{target.name}.partial-{secrets.token_hex(4)}")
    try:
        yield partial
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
