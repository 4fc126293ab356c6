"""Between arrays of maps, as scripts hold them, and stores, as passes need them."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import warnings
import weakref
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hetdask.config import DataSettings
from hetdask.data.selection import NoAngleError, select_angles
from hetdask.data.store import Store
from hetdask.data.writers import write_store
from hetdask.errors import ConfigError, DataError
from hetdask.results.maps import symmetric

Array = NDArray[np.float64]

AXIS_ROUNDING: Final = 1e-6
"""Times that differ by less than this fraction of a frame are the same."""


class Folder:
    """Where stores go that nobody has named: a temporary folder of one owner, which lasts as long as it does."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._arrays: tuple[str, Store] | None = None

    @property
    def path(self) -> Path:
        """The folder; made when it is first used, where `tempfile` makes them (TMPDIR)."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="hetdask-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder

    def store_of(self, c2: ArrayLike, phi: ArrayLike | None, data: DataSettings) -> Store:
        """Store of maps in memory; the one that was written last, if it was written from the same.

        Parameters
        ----------
        c2 : (n_phi, N, N) or (N, N) float
            Symmetric, or upper triangles; NaN where a pixel is no data. The diagonal is not used.
        phi : (n_phi,) float
            Degrees.
        data : DataSettings
            Gives `dt`, `q`, `time_origin` and ranges of angles; the first frame of `c2` is at `time_origin`.

        Raises
        ------
        ConfigError
            If the settings have no dt or not the q of these maps.
        DataError
            If the shapes do not fit, or no angle lies within the ranges.
        """
        maps, angles = _checked(c2, phi)
        dt, q = _scalars(data, len(angles))
        chosen = _chosen(angles, data)
        key = hashlib.blake2b(np.ascontiguousarray(maps))
        key.update(repr((maps.shape, maps.dtype, angles.tolist(), chosen.tolist(), dt, q.tolist())).encode())
        key.update(repr(data.time_origin).encode())
        if self._arrays is None or self._arrays[0] != key.hexdigest():
            store = write_store(
                self.path / "arrays.zarr",
                (maps[k] for k in chosen),
                angles[chosen],
                q[chosen],
                dt,
                time_origin=data.time_origin,
                provenance={"source": "arrays in memory"},
                overwrite=True,
            )
            self._arrays = key.hexdigest(), store
        return self._arrays[1]


def maps_of(store: Store) -> Array:
    """All maps of a store, (n_phi, N, N) float64: symmetric, the diagonal from its neighbours, NaN without data."""
    return np.stack([symmetric(store.read_map(k)) for k in range(store.n_phi)])


def check_axis(name: str, times: ArrayLike | None, dt: float, origin: float) -> None:
    """Refuse times, (N,) or (N, N) in s, that are not those of the configuration.

    Raises
    ------
    ConfigError
    """
    if times is None:
        return
    axis = np.unique(np.asarray(times, dtype=np.float64))
    expected = origin + dt * np.arange(axis.size)
    if np.any(np.abs(axis - expected) > AXIS_ROUNDING * dt):
        raise ConfigError(
            f"{name} goes from {axis[0]:g} to {axis[-1]:g} s in {axis.size} frames, but dt = {dt:g} s and "
            f"time_origin = {origin:g} s of the configuration make that {expected[0]:g} to {expected[-1]:g} s: "
            f"change these, or leave {name} out"
        )


def _checked(c2: ArrayLike, phi: ArrayLike | None) -> tuple[NDArray[Any], Array]:
    maps = np.asarray(c2)
    maps = maps[None] if maps.ndim == 2 else maps
    if maps.ndim != 3 or maps.shape[1] != maps.shape[2]:
        raise DataError(f"c2_experimental has shape {maps.shape}, expected (n_phi, N, N)")
    if phi is None:
        raise DataError("c2_experimental came without phi_angles, expected degrees, one for each of its maps")
    angles = np.atleast_1d(np.asarray(phi, dtype=np.float64))
    if angles.shape != maps.shape[:1]:
        raise DataError(f"found {angles.size} phi_angles for {maps.shape[0]} maps of c2_experimental, expected as many")
    return maps, angles


def _scalars(data: DataSettings, n_phi: int) -> tuple[float, Array]:
    if data.dt is None:
        raise ConfigError("arrays say no time between frames: give data.dt, for example dt: 0.1")
    if data.q is None or isinstance(data.q, str):
        raise ConfigError("arrays say no wavevector: give data.q in 1/Å, for example q: 0.0054")
    q = np.atleast_1d(np.asarray(data.q, dtype=np.float64))
    if q.size not in {1, n_phi}:
        raise ConfigError(f"data.q has {q.size} values for {n_phi} maps in memory, expected one, or one for each map")
    return data.dt, np.broadcast_to(q, n_phi).copy()


def _chosen(phi: Array, data: DataSettings) -> NDArray[np.intp]:
    try:
        return select_angles(phi, data.angles)
    except NoAngleError as error:
        if not data.angle_fallback:
            raise
        warnings.warn(f"{error}. All angles are taken, as fallback_to_all_angles asks for", stacklevel=3)
        return np.arange(phi.size)
