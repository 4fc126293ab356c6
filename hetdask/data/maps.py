"""One map as it came from a file, turned into what the store holds, and what was found on the way."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from hetdask.data.noise import white_noise
from hetdask.data.selection import LEAST_FRAMES
from hetdask.errors import DataError

Map = NDArray[np.float32]

SYMMETRIC: Final = 1e-3
"""Triangles that differ by less than this fraction of the map's standard deviation are the same up to rounding."""

ROWS_AT_ONCE: Final = 128
"""Rows compared at a time: what is compared stays in the cache."""

type Triangle = Literal["upper", "lower", "full"]
type AsymmetryOption = Literal["error", "average"]


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found in a map.

    Attributes
    ----------
    triangle : {"upper", "lower", "full"}
        Where the file has it.
    asymmetry : float or None
        Root mean square difference of the two triangles over the standard deviation of the map; None unless it is full.
    averaged : bool
        Whether the triangles differed and were averaged.
    diagonal : str
        "kept", "halved", "constant", "interpolated" (mean of its neighbours) or "absent".
    level : float
        Median of the quarter with the longest lags.
    baseline : int or None
        1 for c2, 0 where c2 − 1 is stored, None if it is neither.
    noise : float
        White noise, in units of c2.
    bad_frames : tuple of int
        Frames without data (NaN, zero or constant), as the file counts them, from 1.
    missing : int
        Pixels above the diagonal, between good frames, that are not finite.
    pixels : int
        Pixels that are data.
    """

    triangle: Triangle
    asymmetry: float | None
    averaged: bool
    diagonal: str
    level: float
    baseline: int | None
    noise: float
    bad_frames: tuple[int, ...]
    missing: int
    pixels: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON: a noise that could not be estimated is None."""
        return {
            "triangle": self.triangle,
            "asymmetry": self.asymmetry,
            "averaged": self.averaged,
            "diagonal": self.diagonal,
            "level": self.level,
            "baseline": self.baseline,
            "noise": self.noise if math.isfinite(self.noise) else None,
            "bad_frames": list(self.bad_frames),
            "missing": self.missing,
            "pixels": self.pixels,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Findings:
        """The reverse of `as_dict`."""
        noise = math.nan if values["noise"] is None else values["noise"]
        return cls(**{**values, "noise": noise, "bad_frames": tuple(values["bad_frames"])})


def prepare_map(
    pixels: NDArray[np.floating], name: str, *, asymmetry: AsymmetryOption = "error", first_frame: int = 1
) -> tuple[Map, NDArray[np.bool_], Findings]:
    """A map as the store holds it.

    Parameters
    ----------
    pixels : (N, N) float
        As in the file, selected frames only. Not changed.
    name : str
        For messages.
    asymmetry : {"error", "average"}
        What to do with a map whose triangles differ.
    first_frame : int
        Number of the first frame, for the findings.

    Returns
    -------
    c2 : (N, N) float32
        Finite exactly where a pixel is data: above the diagonal, between good frames, finite in the file.
    excluded : (N,) bool
        Frames without data.
    findings : Findings

    Raises
    ------
    DataError
        If there are no data, fewer than three good frames, or the triangles differ and `asymmetry` is "error".
    """
    with np.errstate(over="ignore"):  # too large for float32: not finite, so missing
        c2 = pixels.astype(np.float32)
    c2[~np.isfinite(c2)] = np.nan
    triangle = _triangle(c2, name)
    difference: float | None = None
    averaged = False
    if triangle == "lower":
        c2 = np.ascontiguousarray(c2.T)
    elif triangle == "full":
        difference = _asymmetry(c2)
        averaged = difference > SYMMETRIC
        if averaged and asymmetry == "error":
            raise DataError(
                f"{name} is not symmetric: its triangles differ by {difference:.3g} standard deviations of the map, "
                f"expected less than {SYMMETRIC:g}. Average them with asymmetry average (--asymmetry average)"
            )
        _merge_lower(c2, averaged=averaged)
    diagonal = _diagonal(c2)
    for row in range(c2.shape[0]):
        c2[row, : row + 1] = np.nan
    excluded = _exclude_dead_frames(c2)
    good = int(np.count_nonzero(~excluded))
    if good < LEAST_FRAMES:
        raise DataError(
            f"{name} has no data: {c2.shape[0] - good} of its {c2.shape[0]} frames are NaN, zero or constant. "
            "Leave this map out with angles (--angles) or choose other frames (--frames)"
        )
    count = int(np.count_nonzero(np.isfinite(c2)))
    level = _level(c2)
    findings = Findings(
        triangle=triangle,
        asymmetry=difference,
        averaged=averaged,
        diagonal=diagonal,
        level=level,
        baseline=round(level) if round(level) in {0, 1} else None,
        noise=white_noise(c2),
        bad_frames=tuple(int(frame) + first_frame for frame in np.flatnonzero(excluded)),
        missing=good * (good - 1) // 2 - count,
        pixels=count,
    )
    return c2, excluded, findings


def _strips(n: int) -> Iterator[tuple[int, int]]:
    for first in range(0, n, ROWS_AT_ONCE):
        yield first, min(first + ROWS_AT_ONCE, n)


def _triangle(c2: Map, name: str) -> Triangle:
    """Which sides of the diagonal hold something else than one value."""
    upper = _varies(c2)
    lower = _varies(c2.T)
    if not (upper or lower):
        raise DataError(
            f"{name} has no data: all its pixels are NaN, zero or constant. Leave this map out with angles (--angles)"
        )
    return "full" if upper and lower else "upper" if upper else "lower"


def _varies(c2: Map) -> bool:
    """Whether the pixels above the diagonal have more than one value, NaN aside."""
    low, high = np.float32(np.nan), np.float32(np.nan)
    for first, last in _strips(c2.shape[0]):
        corner = c2[first:last, first:last][np.triu_indices(last - first, 1)]
        for part in (corner, c2[first:last, last:]):
            if part.size:
                low = np.fmin(low, np.fmin.reduce(part, axis=None))
                high = np.fmax(high, np.fmax.reduce(part, axis=None))
        if high > low:
            return True
    return False


def _asymmetry(c2: Map) -> float:
    """Root mean square difference of the triangles over the standard deviation of the upper one."""
    count = 0
    total = square = difference = 0.0
    for first, last in _strips(c2.shape[0]):
        upper = c2[first:last, first:].astype(np.float64)
        lower = c2[first:, first:last].T
        both = np.isfinite(upper) & np.isfinite(lower)
        both[:, : last - first] &= np.triu(np.ones((last - first, last - first), dtype=np.bool_), 1)
        values = upper[both]
        count += values.size
        total += float(values.sum())
        square += float(np.square(values).sum())
        difference += float(np.square(values - lower[both]).sum())
    if difference == 0:
        return 0.0
    variance = square / count - (total / count) ** 2
    return math.sqrt(difference / count / variance) if variance > 0 else math.inf


def _merge_lower(c2: Map, *, averaged: bool) -> None:
    """Put into the upper triangle what only the lower one has, or the mean of both."""
    for first, last in _strips(c2.shape[0]):
        upper, lower = c2[first:last, first:], c2[first:, first:last].T
        fill = np.isnan(upper)
        if averaged:
            mean = 0.5 * (upper + lower)
            np.copyto(upper, mean, where=np.isfinite(mean))
        np.copyto(upper, lower, where=fill)


def _diagonal(c2: Map) -> str:
    """What the file did with the shot noise on the diagonal."""
    diagonal = np.diagonal(c2).astype(np.float64)
    beside = np.diagonal(c2, 1).astype(np.float64)
    both = np.isfinite(diagonal[1:-1]) & np.isfinite(beside[:-1]) & np.isfinite(beside[1:])
    inner, mean = diagonal[1:-1][both], 0.5 * (beside[:-1] + beside[1:])[both]
    if inner.size == 0:
        return "absent"
    if np.ptp(inner) == 0:
        return "constant" if np.ptp(mean) > 0 or inner[0] != mean[0] else "interpolated"
    if np.allclose(inner, mean, rtol=1e-5, atol=1e-6):
        return "interpolated"
    typical = float(np.median(mean))
    return "halved" if typical > 0 and abs(float(np.median(inner)) / typical - 0.5) < 0.1 else "kept"


def _exclude_dead_frames(c2: Map) -> NDArray[np.bool_]:
    """Put NaN into the rows and columns of frames without data; (N,) bool, True for those."""
    excluded = np.zeros(c2.shape[0], dtype=np.bool_)
    # A frame that only has pairs with dead frames is dead itself, so look again after each round.
    while np.any(found := _dead_frames(c2) & ~excluded):
        c2[found] = np.nan
        c2[:, found] = np.nan
        excluded |= found
    return excluded


def _dead_frames(c2: Map) -> NDArray[np.bool_]:
    """Frames all of whose pairs are NaN or have one value; (N,) bool for a map with NaN below its diagonal."""
    low = np.fmin(np.fmin.reduce(c2, axis=0), np.fmin.reduce(c2, axis=1))
    high = np.fmax(np.fmax.reduce(c2, axis=0), np.fmax.reduce(c2, axis=1))
    return np.asarray(~(high > low))


def _level(c2: Map) -> float:
    """Median of the longest lags, where the correlation has decayed furthest; of all pixels if there are none."""
    n = c2.shape[0]
    far = c2[: n // 4, n - n // 4 :]
    values = far[np.isfinite(far)]
    if values.size == 0:
        values = c2[np.isfinite(c2)]
    return float(np.median(values))
