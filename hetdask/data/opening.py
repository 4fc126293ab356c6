"""Open a file and select what of it is wanted, without reading any map."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from hetdask.data.maps import AsymmetryOption
from hetdask.data.readers import MapEntry, Source, open_source
from hetdask.data.selection import (
    Q_TOLERANCE,
    AngleRanges,
    NoAngleError,
    QSelection,
    select_angles,
    select_frames,
    select_q,
)
from hetdask.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True)
class Selection:
    """What of a file is ingested.

    Attributes
    ----------
    entries : tuple of MapEntry
    frames : tuple of int
        Half-open range, from 0.
    asymmetry : {"error", "average"}
    angles : sequence of (float, float), optional
        Ranges of phi that were asked for and hold the entries.
    """

    entries: tuple[MapEntry, ...]
    frames: tuple[int, int]
    asymmetry: AsymmetryOption
    angles: AngleRanges = None

    @property
    def n_frames(self) -> int:
        """Frames selected."""
        return self.frames[1] - self.frames[0]


def open_selection(
    source: str | Path,
    *,
    layout: str = "auto",
    q: QSelection = None,
    q_tolerance: float = Q_TOLERANCE,
    frames: tuple[int, int] | None = None,
    angles: AngleRanges = None,
    angle_fallback: bool = False,
    phi: ArrayLike | None = None,
    dt: float | None = None,
    key: str | None = None,
    asymmetry: AsymmetryOption = "error",
) -> tuple[Source, Selection]:
    """A file and what of it is wanted, without reading any map; see `ingest`."""
    given_q = None if isinstance(q, str) else q
    opened = open_source(source, layout=layout, key=key, phi=phi, q=given_q, dt=dt)
    try:
        selection = select(opened, q=q, q_tolerance=q_tolerance, frames=frames, angles=angles, asymmetry=asymmetry)
    except NoAngleError as error:
        if not angle_fallback:
            raise
        warnings.warn(f"{error}. All angles are taken, as fallback_to_all_angles asks for", stacklevel=3)
        selection = select(opened, q=q, q_tolerance=q_tolerance, frames=frames, asymmetry=asymmetry)
    return opened, selection


def select(
    source: Source,
    *,
    q: QSelection = None,
    q_tolerance: float = Q_TOLERANCE,
    frames: tuple[int, int] | None = None,
    angles: AngleRanges = None,
    asymmetry: AsymmetryOption = "error",
) -> Selection:
    """Maps and frames of a file that are wanted; see `ingest`.

    Raises
    ------
    DataError
        If nothing is left, or q, phi or dt are not known or not valid.
    """
    source.require_complete()
    if asymmetry not in {"error", "average"}:
        raise ConfigError(f"asymmetry is {asymmetry!r}, expected error or average")
    indices = np.arange(len(source.entries))
    if source.q_in_file:
        indices = select_q(source.q, source.phi, q, q_tolerance)
    indices = indices[select_angles(source.phi[indices], angles)]
    entries = tuple(source.entries[index] for index in indices)
    for entry in entries:
        if not entry.q > 0:
            raise DataError(
                f"{source.path}: {entry.name} has q = {entry.q:g} 1/Å, expected a positive value, for example 0.0054: "
                + ("choose others with q (--q)" if source.q_in_file else "change q (--q)")
            )
    chosen = select_frames(source.n_frames, frames)
    return Selection(entries, (chosen.start, chosen.stop), asymmetry, angles)
