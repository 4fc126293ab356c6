"""What a reader knows of a file before it reads any pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hetdask.errors import ConfigError, DataError

Array = NDArray[np.float64]

type Access = Literal["map", "in order", "whole"]


@dataclass(frozen=True, slots=True)
class MapEntry:
    """One two-time correlation map of a file.

    Attributes
    ----------
    key : str
        Path of the data set, or name of the array.
    index : int or None
        Place in the array, where it holds several maps.
    bin : int or None
        Number that the beamline gave this region of the detector.
    q : float
        1/Å; NaN where neither the file nor the caller says it.
    phi : float
        Degrees; NaN likewise.
    """

    key: str
    index: int | None = None
    bin: int | None = None
    q: float = math.nan
    phi: float = math.nan

    @property
    def name(self) -> str:
        """The map as messages name it."""
        return self.key if self.index is None else f"{self.key}[{self.index}]"


@dataclass(frozen=True, slots=True)
class Source:
    """A file of two-time correlation maps: small, and the same on every worker.

    Attributes
    ----------
    path : str
    layout : str
        One of `hetdask.data.readers.LAYOUTS`.
    entries : tuple of MapEntry
    n_frames : int
        Frames along the side of a map.
    pixel_bytes : int
        Size of a pixel in the file, without compression.
    dt : float
        Seconds between the frames of a map; NaN where neither the file nor the caller says it.
    notes : tuple of str
        What had to be assumed or was not as usual.
    axis : int
        Axis of an array of several maps that counts them.
    access : {"map", "in order", "whole"}
        How maps can be read: each on its own, or only one after the other from the beginning (a compressed array), or
        the array as a whole.
    q_in_file : bool
        Whether the file says q; otherwise the caller does.
    """

    path: str
    layout: str
    entries: tuple[MapEntry, ...]
    n_frames: int
    pixel_bytes: int
    dt: float = math.nan
    notes: tuple[str, ...] = ()
    axis: int = 0
    access: Access = "map"
    q_in_file: bool = True

    @property
    def q(self) -> Array:
        """Of each map, 1/Å."""
        return np.array([entry.q for entry in self.entries])

    @property
    def phi(self) -> Array:
        """Of each map, degrees."""
        return np.array([entry.phi for entry in self.entries])

    @property
    def map_bytes(self) -> int:
        """Bytes of one map as it is in the file, without compression."""
        return self.pixel_bytes * self.n_frames**2

    @property
    def missing(self) -> tuple[str, ...]:
        """Which of phi, q and dt nobody has said."""
        return tuple(
            name
            for name, known in (
                ("phi", bool(np.all(np.isfinite(self.phi)))),
                ("q", bool(np.all(np.isfinite(self.q)))),
                ("dt", math.isfinite(self.dt)),
            )
            if not known
        )

    def require_complete(self) -> None:
        """Check that phi, q and dt are known.

        Raises
        ------
        DataError
            If not; the message says which and how to give them.
        """
        if self.missing:
            examples = {"phi": "phi 0,45,90 (--phi)", "q": "q 0.0054 (--q)", "dt": "dt 0.1 (--dt)"}
            wanted = ", ".join(examples[name] for name in self.missing)
            raise DataError(
                f"{self.path} has {len(self.entries)} maps of {self.n_frames} × {self.n_frames} frames, "
                f"but does not say {' and '.join(self.missing)}: give {wanted}"
            )

    def with_phi(self, phi: ArrayLike | None) -> Self:
        """The same with angles that the caller gives, in degrees, where the file has none.

        Raises
        ------
        ConfigError
            If the file has its own.
        """
        if phi is None:
            return self
        if np.all(np.isfinite(self.phi)):
            raise ConfigError(f"phi was given, but {self.path} ({self.layout}) has its own: leave out phi (--phi)")
        values = given_values("phi", phi, len(self.entries), "0,45,90 (--phi)")
        entries = tuple(replace(entry, phi=float(value)) for entry, value in zip(self.entries, values, strict=True))
        return replace(self, entries=entries)

    def with_time_step(self, dt: float | None) -> Self:
        """The same with a time step that the caller gives, in s; None keeps that of the file."""
        if dt is None:
            return self
        if not (math.isfinite(dt) and dt > 0):
            raise ConfigError(f"dt is {dt:g} s, expected a positive number of seconds, for example 0.1")
        notes = self.notes
        if math.isfinite(self.dt) and not math.isclose(dt, self.dt, rel_tol=1e-6):
            notes = (*notes, f"dt = {dt:g} s was given; the file says {self.dt:g} s")
        return replace(self, dt=float(dt), notes=notes)


def given_values(name: str, values: ArrayLike, n_maps: int, example: str) -> Array:
    """A value for each map, from one or from as many as there are maps.

    Raises
    ------
    ConfigError
        If their number is another, or one is not a finite number.
    """
    array = np.atleast_1d(np.asarray(values, dtype=np.float64)).ravel()
    if array.size not in {1, n_maps}:
        raise ConfigError(
            f"found {array.size} values of {name}, expected {n_maps}, one for each map, for example {example}"
        )
    if not np.all(np.isfinite(array)):
        raise ConfigError(f"{name} holds values that are not finite numbers, expected for example {example}")
    return np.broadcast_to(array, n_maps).copy()


def square_frames(path: str, name: str, shape: tuple[int, ...]) -> int:
    """Frames of a square map.

    Raises
    ------
    DataError
        If it is not square.
    """
    if len(shape) != 2 or shape[0] != shape[1]:
        raise DataError(f"{path}: {name} has shape {tuple(shape)}, expected a square two-time correlation map (N, N)")
    return int(shape[0])
