"""Which maps and frames of a file are wanted: by q, by angle, by frame number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from hetdask.errors import ConfigError, DataError

Array = NDArray[np.float64]

Q_TOLERANCE: Final = 0.02
"""Maps whose q differs by less than this fraction count as one q: old files have a q that varies a little with phi."""

LEAST_FRAMES: Final = 3
"""Fewer frames than this have no two lags."""

ANGLE_ROUNDING: Final = 1e-9
"""Degrees by which a range of angles is wider than given, so that its ends are in it."""

type QSelection = float | Sequence[float] | Literal["all"] | None
"""Which q of a file: a value in 1/Å, several, "all", or None where the file has one."""

type AngleRanges = Sequence[tuple[float, float]] | None
"""Ranges of phi in degrees, each from its first to its second value in the direction of growing phi."""


class NoAngleError(DataError):
    """No angle lies within the ranges that were asked for."""


def evenly_spread(count: int, most: int) -> list[int]:
    """Indices of at most `most` of `count` maps, evenly spread, first and last among them.

    Examples
    --------
    >>> evenly_spread(300, 4), evenly_spread(3, 20)
    ([0, 100, 199, 299], [0, 1, 2])
    """
    if count <= most:
        return list(range(count))
    return [int(index) for index in np.unique(np.linspace(0, count - 1, most).round())]


def q_values(q: Array, tolerance: float = Q_TOLERANCE) -> list[tuple[float, int]]:
    """The distinct q of a file and the number of maps of each.

    Parameters
    ----------
    q : (n,) float64
        1/Å, one for each map.
    tolerance : float
        Largest distance from the mean of a group, as a fraction of it.

    Returns
    -------
    list of (float, int)
        Mean q of each group and its size, in ascending order.

    Examples
    --------
    >>> q_values(np.array([0.0100, 0.0054, 0.0101, 0.0054]))
    [(0.0054, 2), (0.01005, 2)]
    """
    return [(float(np.mean(q[group])), len(group)) for group in _groups(q, tolerance)]


def select_q(q: Array, phi: Array, wanted: QSelection, tolerance: float = Q_TOLERANCE) -> NDArray[np.intp]:
    """Indices of the maps with the wanted q.

    Parameters
    ----------
    q, phi : (n,) float64
        1/Å and degrees, one for each map of the file.
    wanted : float, sequence of float, "all" or None
        None takes everything if the file has one q.
    tolerance : float
        Relative.

    Raises
    ------
    DataError
        If the file has several q and none is chosen, lacks a wanted one, or has two maps at the same angle within the
        tolerance of one. The message lists what is there.
    ConfigError
        If a wanted q or the tolerance is not a positive number.
    """
    if not (np.isfinite(tolerance) and 0 <= tolerance < 1):
        raise ConfigError(f"q_tolerance is {tolerance:g}, expected a fraction from 0 to 1, for example 0.02")
    if isinstance(wanted, str):
        if wanted != "all":
            raise ConfigError(f'q is {wanted!r}, expected values in 1/Å or "all", for example 0.0054')
        return np.arange(q.size)
    if wanted is None:
        if len(_groups(q, tolerance)) > 1:
            first = q_values(q, tolerance)[0][0]
            raise DataError(
                f"the file has several q and none was chosen; it has {_listing(q, tolerance)}: "
                f'choose with q (--q), for example {first:.5g}, or "all" for a joint fit'
            )
        return _distinct_angles(np.arange(q.size), q, phi, tolerance)
    values = np.atleast_1d(np.asarray(wanted, dtype=np.float64))
    if values.size == 0 or not np.all(np.isfinite(values) & (values > 0)):
        raise ConfigError(f"q is {wanted}, expected positive values in 1/Å, for example 0.0054")
    found: set[int] = set()
    for value in values:
        near = np.flatnonzero(np.abs(q - value) <= tolerance * value * (1 + 1e-9))
        if near.size == 0:
            raise DataError(
                f"no map has q = {value:.5g} 1/Å within {100 * tolerance:g} %; the file has {_listing(q, tolerance)}: "
                "change q (--q) or q_tolerance"
            )
        found.update(_distinct_angles(near, q, phi, tolerance).tolist())
    return np.array(sorted(found), dtype=np.intp)


def select_angles(phi: Array, ranges: AngleRanges) -> NDArray[np.intp]:
    """Indices of the angles within any of the ranges, which may wrap around.

    Parameters
    ----------
    phi : (n,) float64
        Degrees.
    ranges : sequence of (float, float), optional
        Degrees. None selects all angles.

    Raises
    ------
    NoAngleError
        If no angle is left; the message lists the angles.
    ConfigError
        If a limit is not a number.

    Examples
    --------
    >>> select_angles(np.array([0.0, 90.0, 180.0, 350.0]), [(-10, 10), (170, 190)])
    array([0, 2, 3])
    """
    if ranges is None:
        return np.arange(phi.size)
    inside = np.zeros(phi.size, dtype=np.bool_)
    for low, high in ranges:
        if not np.isfinite(low + high):
            raise ConfigError(f"found angles from {low} to {high}, expected degrees, for example -10:10")
        width = high - low if abs(high - low) >= 360 else (high - low) % 360
        inside |= (phi - low + ANGLE_ROUNDING) % 360 <= width + 2 * ANGLE_ROUNDING
    if not inside.any():
        wanted = ", ".join(f"{low:g}:{high:g}" for low, high in ranges) or "none"
        raise NoAngleError(
            f"no angle lies within {wanted} (degrees); there are {_numbers(phi)}: "
            "widen the ranges of angles (--angles), for example -10:10, or leave them out"
        )
    return np.flatnonzero(inside)


def select_frames(n_frames: int, frames: tuple[int, int] | None) -> slice:
    """Frames as beamlines number them, from the first to the last one inclusive, counted from 1.

    Parameters
    ----------
    n_frames : int
        Frames in the file.
    frames : (int, int), optional
        None selects all.

    Raises
    ------
    DataError
        If they lie outside the series or are fewer than three.

    Examples
    --------
    >>> select_frames(100, (1, 50))
    slice(0, 50, None)
    """
    first, last = (1, n_frames) if frames is None else frames
    if not 1 <= first <= last <= n_frames:
        raise DataError(
            f"frames {first} to {last} were asked for, but the file has frames 1 to {n_frames}: "
            f"change frames (--frames), for example 1:{n_frames}"
        )
    if last - first + 1 < LEAST_FRAMES:
        raise DataError(
            f"found {last - first + 1} frames, expected at least {LEAST_FRAMES}: "
            + ("the file is too short" if frames is None else "change frames (--frames), for example 1:100")
        )
    return slice(first - 1, last)


def _groups(q: Array, tolerance: float) -> list[NDArray[np.intp]]:
    """Indices of the maps of each distinct q."""
    order = np.argsort(q, kind="stable")
    groups: list[list[int]] = []
    for index in order:
        members = [*groups[-1], int(index)] if groups else []
        if members and q[index] - q[members[0]] <= 2 * tolerance * abs(float(np.mean(q[members]))):
            groups[-1] = members
        else:
            groups.append([int(index)])
    return [np.array(group, dtype=np.intp) for group in groups]


def _distinct_angles(indices: NDArray[np.intp], q: Array, phi: Array, tolerance: float) -> NDArray[np.intp]:
    """The same indices, if no two of these maps have the same angle."""
    angles = np.round(phi[indices] % 360, 6)
    if np.unique(angles).size < indices.size:
        twice = next(angle for angle in angles if np.count_nonzero(angles == angle) > 1)
        rings = ", ".join(f"{value:.5g}" for value in np.unique(q[indices]))
        raise DataError(
            f"several maps at phi = {twice:g}° have a q within {100 * tolerance:g} % of each other ({rings} 1/Å): "
            f'choose one with q (--q) and a smaller q_tolerance, for example {tolerance / 10:g}, or q "all"'
        )
    return indices


def _listing(q: Array, tolerance: float) -> str:
    groups = q_values(q, tolerance)
    return "q = " + ", ".join(f"{value:.5g} ({count} maps)" for value, count in groups) + " 1/Å"


def _numbers(values: Array) -> str:
    return ", ".join(f"{value:.6g}" for value in values)
