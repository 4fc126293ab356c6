"""Coordinates in which a search can move: all of order one, and each with a meaning in the data.

The parameters themselves are correlated and span decades. Searched instead are

- for each component, and for the flow: the logarithm of the rate at mid-time, the exponent, and the share of the
  constant offset in that rate;
- the sample fraction at the first and the last frame (logit), and the share of its constant part f3;
- the flow direction in radians, period π.

Rates are counted over the whole series: ln(q²J T) and ln(q|v| T / 2π), decay times and fringes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from hetdask.fitting.problem import Problem
from hetdask.model.dynamics import dynamics, fraction
from hetdask.model.parameters import NAMES

Array = NDArray[np.float64]

F0, F1, F2, F3, PHI0 = (NAMES.index(name) for name in ("f0", "f1", "f2", "f3", "phi0"))

FLOW: Final = 6
"""Index of v0; the rate laws begin at 0 (reference), 3 (sample) and here, each with amplitude, exponent, offset."""

LAWS: Final = {0: "ref", 3: "sample", FLOW: "flow"}

SLOWEST: Final = 0.01
"""Decay over the whole series below which a component counts as static."""

FASTEST: Final = 5.0
"""Decay per frame above which nothing of a component is left between frames."""

FEWEST_FRINGES: Final = 0.03
MOST_FRINGES: Final = 0.5
"""Fringes of the whole series, and per frame (beyond which they are aliased)."""

NO_RATE: Final = 1e-9
"""Stands for a rate at mid-time that is not positive."""

SHARES: Final = {0: (-1.0, 0.98), 3: (-1.0, 0.98), FLOW: (-1.0, 2.0)}
"""Offset over rate at mid-time; a transport rate keeps a positive power law."""

PUREST: Final = 0.002
"""Distance of a fraction from 0 and 1."""

MOST_CONSTANT: Final = 0.98
"""Largest share of f3 in the smaller of both end fractions."""


@dataclass(frozen=True, slots=True, eq=False)
class Coordinates:
    """Coordinates of the free parameters of a problem, inside its bounds.

    Parameters that are fixed keep their values. Where f0, f1, f3 are not all free, or only the offset of a rate law is,
    those parameters are their own coordinates. f2 has none: it only repeats f0.

    Attributes
    ----------
    problem : Problem
    span : tuple of 3 floats
        First, middle and last time, s.
    units : tuple of 3 floats
        Rates of one decay or one fringe per series: Å²/s, Å²/s, Å/s.
    names : tuple of str
        What each of the n coordinates is.
    lower, upper : (n,) float64
        Box to search: what the bounds allow and data of that length can tell apart.

    Examples
    --------
    >>> from hetdask.model import PARAMETERS
    >>> bounds = np.array([(p.lower, p.upper, p.start) for p in PARAMETERS]).T
    >>> problem = Problem(bounds[2], bounds[0], bounds[1], (0, 1, 2), np.ones(1))
    >>> coordinates = make_coordinates(problem, np.arange(1.0, 101.0), 0.005)
    >>> coordinates.names
    ('log_rate_ref', 'exponent_ref', 'offset_share_ref')
    >>> bool(np.allclose(coordinates.decode(coordinates.encode(problem.start)), problem.start))
    True
    """

    problem: Problem
    span: tuple[float, float, float]
    units: tuple[float, float, float]
    names: tuple[str, ...]
    lower: Array
    upper: Array

    def encode(self, vector: Array) -> Array:
        """Coordinates (n,) of a parameter vector (14,).

        They are not clipped to the box. Vectors whose rate at mid-time is not positive, or whose fraction is clipped,
        have no coordinates; those of a neighbour are returned.
        """
        values: list[float] = []
        for (first, free), unit in zip(self._laws(), self.units, strict=True):
            values += _encode_law(vector[first : first + 3], free, self.span[1], unit, signed=first == FLOW)
        values += self._encode_fraction(vector)
        if PHI0 in self.problem.free:
            values.append(_half_turn(float(np.deg2rad(vector[PHI0])), np.pi))
        return np.array(values)

    def decode(self, x: Array) -> Array:
        """Parameter vector (14,) at the coordinates `x` (n,), inside the bounds of the problem."""
        return self.linearise(x)[0]

    def linearise(self, x: Array) -> tuple[Array, Array]:
        """Parameter vector (14,) at the coordinates `x` (n,), and its derivatives (14, n).

        Derivatives are 0 for parameters that the bounds hold back.
        """
        vector = self.problem.start.copy()
        slope = np.zeros((len(NAMES), x.size))
        at = 0
        for (first, free), unit in zip(self._laws(), self.units, strict=True):
            sign = -1.0 if first == FLOW and self._flows_back() else 1.0
            used = slice(at, at + sum(free))
            rows = slice(first, first + 3)
            vector[rows], slope[rows, used] = _decode_law(x[used], vector[rows], free, self.span[1], unit * sign)
            at = used.stop
        used = slice(at, at + len(self._composition()))
        self._decode_fraction(x[used], vector, slope[:, used])
        if PHI0 in self.problem.free:
            vector[PHI0] = self._direction(float(np.rad2deg(x[-1])))
            slope[PHI0, -1] = np.rad2deg(1.0)
        free_rows = list(self.problem.free)
        clipped = vector.copy()
        clipped[free_rows] = np.clip(vector, self.problem.lower, self.problem.upper)[free_rows]
        slope[clipped != vector] = 0.0
        return clipped, slope

    def canonical(self, vector: Array) -> Array:
        """The one of all parameter vectors (14,) with the same model that results show, as far as bounds allow.

        The velocity is positive at mid-time, phi0 in [-90°, 90°), f2 at its start value, and the reference is the
        component that is slower at mid-time.
        """
        candidate = self._at_gauge(vector)
        for choose in (self._forward, self._turned, self._slower_reference):
            chosen = choose(candidate)
            free = list(self.problem.free)
            moved = np.flatnonzero(chosen != candidate)
            inside = (chosen >= self.problem.lower) & (chosen <= self.problem.upper)
            if np.all(inside[moved]) and set(moved) <= set(free):
                candidate = chosen
        return candidate

    def _laws(self) -> tuple[tuple[int, tuple[bool, bool, bool]], ...]:
        """First index of each rate law and which of its three parameters are free."""
        free = self.problem.free
        return tuple((first, (first in free, first + 1 in free, first + 2 in free)) for first in LAWS)

    def _composition(self) -> tuple[int, ...]:
        return tuple(k for k in (F0, F1, F3) if k in self.problem.free)

    def _flows_back(self) -> bool:
        """Whether the bounds leave more room to negative velocities."""
        rows = [k for k in (FLOW, FLOW + 2) if k in self.problem.free][:1]
        return any(self.problem.upper[k] < -self.problem.lower[k] for k in rows)

    def _encode_fraction(self, vector: Array) -> list[float]:
        parts = self._composition()
        if len(parts) < 3:
            return [float(vector[k]) for k in parts]
        ends = np.array([self.span[0], self.span[2]])
        f0, f1, f2, f3 = vector[[F0, F1, F2, F3]].tolist()
        start, end = np.clip(fraction(ends, f0, f1, f2, f3).value, PUREST, 1.0 - PUREST).tolist()
        constant = min(max(f3 / min(start, end), 0.0), MOST_CONSTANT)
        return [float(logit(start)), float(logit(end)), constant]

    def _decode_fraction(self, x: Array, vector: Array, slope: Array) -> None:
        """Write f0, f1, f3 and their derivatives, (14, n) with n the coordinates of the fraction."""
        parts = self._composition()
        if len(parts) < 3:
            vector[list(parts)] = x
            slope[list(parts), range(len(parts))] = 1.0
            return
        first, last = self.span[0], self.span[2]
        ends = expit(x[:2])
        smaller = int(ends[1] < ends[0])
        ends_slope = np.array([[ends[0] * (1.0 - ends[0]), 0.0, 0.0], [0.0, ends[1] * (1.0 - ends[1]), 0.0]])
        f3 = x[2] * ends[smaller]
        f3_slope = x[2] * ends_slope[smaller] + np.array([0.0, 0.0, ends[smaller]])
        moving, moving_slope = ends - f3, ends_slope - f3_slope
        f1 = np.log(moving[1] / moving[0]) / (last - first)
        f1_slope = (moving_slope[1] / moving[1] - moving_slope[0] / moving[0]) / (last - first)
        growth = np.exp(-f1 * (first - vector[F2]))
        f0 = moving[0] * growth
        vector[[F0, F1, F3]] = f0, f1, f3
        slope[F0] = growth * moving_slope[0] - f0 * (first - vector[F2]) * f1_slope
        slope[F1], slope[F3] = f1_slope, f3_slope

    def _direction(self, degrees: float) -> float:
        """The equivalent of a flow direction that lies within the bounds, if there is one."""
        degrees = _half_turn(degrees, 180.0)
        low, high = self.problem.lower[PHI0], self.problem.upper[PHI0]
        if degrees < low or degrees > high:
            shifted = low + (degrees - low) % 180.0
            return float(shifted if shifted <= high else degrees)
        return degrees

    def _at_gauge(self, vector: Array) -> Array:
        """The same fraction with f2 at its start value, where that moves nothing out of its bounds."""
        if F2 not in self.problem.free:
            return vector
        moved = vector.copy()
        moved[F2] = self.problem.start[F2]
        moved[F0] *= np.exp(np.clip(vector[F1] * (moved[F2] - vector[F2]), -700.0, 700.0))
        inside = self.problem.lower[F0] <= moved[F0] <= self.problem.upper[F0]
        return moved if inside and F0 in self.problem.free else vector

    def _forward(self, vector: Array) -> Array:
        amplitude, exponent, offset = vector[FLOW : FLOW + 3].tolist()
        flipped = vector.copy()
        if amplitude * self.span[1] ** exponent + offset < 0.0:
            flipped[[FLOW, FLOW + 2]] = -amplitude, -offset
        return flipped

    def _turned(self, vector: Array) -> Array:
        turned = vector.copy()
        turned[PHI0] = _half_turn(float(vector[PHI0]), 180.0)
        return turned

    def _slower_reference(self, vector: Array) -> Array:
        """Components exchanged, s → 1 - s, where the sample is the slower one."""
        at_middle = dynamics(vector, np.array([self.span[1]]))
        if at_middle.j_ref[0] <= at_middle.j_sample[0]:
            return vector
        swapped = vector.copy()
        swapped[:6] = np.concatenate([vector[3:6], vector[:3]])
        constant = vector[F0] == 0.0 or vector[F1] == 0.0
        if constant:
            # A constant fraction: f3 keeps what f0 cannot take.
            whole = 1.0 - (vector[F0] + vector[F3])
            swapped[F0] = min(vector[F0], max(whole, 0.0))
            swapped[F3] = whole - swapped[F0]
        else:
            swapped[[F0, F3]] = -vector[F0], 1.0 - vector[F3]
        return swapped


def make_coordinates(problem: Problem, time: Array, q: float | Array) -> Coordinates:
    """Coordinates for a problem.

    Parameters
    ----------
    problem : Problem
    time : (N,) float64
        Frame times, s.
    q : float or (n_phi,) float64
        Wavevectors, 1/Å.
    """
    first, last = float(time[0]), float(time[-1])
    length = last - first
    squared = float(np.mean(np.square(q)))
    decay, fringe = 1.0 / (squared * length), 2.0 * np.pi / (np.sqrt(squared) * length)
    span, units = (first, 0.5 * (first + last), last), (decay, decay, fringe)
    names: list[str] = []
    boxes: list[tuple[float, float]] = []
    free = problem.free
    for (start, label), unit in zip(LAWS.items(), units, strict=True):
        fastest = (MOST_FRINGES if start == FLOW else FASTEST) * (time.size - 1)
        slowest = FEWEST_FRINGES if start == FLOW else SLOWEST
        found = _law_box(problem, start, span[1], unit, (slowest, fastest))
        names += [f"{name}_{label}" for name in found]
        boxes += found.values()
    composition = [k for k in (F0, F1, F3) if k in free]
    if len(composition) == 3:
        ends = float(logit(PUREST))
        names += ["fraction_start", "fraction_end", "constant_share"]
        boxes += [(ends, -ends), (ends, -ends), (0.0, MOST_CONSTANT)]
    else:
        names += [NAMES[k] for k in composition]
        boxes += [(problem.lower[k], problem.upper[k]) for k in composition]
    if PHI0 in free:
        names.append("direction")
        boxes.append((-0.5 * np.pi, 0.5 * np.pi))
    lower, upper = np.array(boxes, dtype=np.float64).reshape(-1, 2).T
    return Coordinates(problem, span, units, tuple(names), lower.copy(), upper.copy())


def _law_box(
    problem: Problem, first: int, middle: float, unit: float, resolved: tuple[float, float]
) -> dict[str, tuple[float, float]]:
    """Coordinates of a rate law with their ranges: the images of the bounds' corners, within what data resolve."""
    rows = range(first, first + 3)
    free = tuple(k in problem.free for k in rows)
    corners = product(*(_extremes(problem, k, signed=first == FLOW) for k in rows))
    images = np.array([_encode_law(np.array(x), free, middle, unit, signed=first == FLOW) for x in corners])
    box = dict(zip(_law_names(free), np.stack([images.min(axis=0), images.max(axis=0)]).T.tolist(), strict=True))
    if "log_rate" in box:
        box["log_rate"] = _overlap(box["log_rate"], (float(np.log(resolved[0])), float(np.log(resolved[1]))))
    if "offset_share" in box:
        # Opposite amplitude and offset cancel at mid-time, so that the bounds' corners say nothing about their share.
        box["offset_share"] = SHARES[first]
    if "offset" in box:
        box["offset"] = _overlap(box["offset"], (-resolved[1], resolved[1]))
    return box


def _extremes(problem: Problem, k: int, *, signed: bool) -> set[float]:
    """Bounds of a parameter, and 0 where its size is what counts; its value where it is fixed."""
    if k not in problem.free:
        return {float(problem.start[k])}
    low, high = float(problem.lower[k]), float(problem.upper[k])
    return {low, high, 0.0} if signed and low < 0.0 < high else {low, high}


def _overlap(bounds: tuple[float, float], resolved: tuple[float, float]) -> tuple[float, float]:
    """Part of `resolved` within `bounds`; the bounds themselves where both are apart."""
    low, high = max(bounds[0], resolved[0]), min(bounds[1], resolved[1])
    return (low, high) if low < high else bounds


def _law_names(free: tuple[bool, ...]) -> tuple[str, ...]:
    amplitude, exponent, offset = free
    rate = ("log_rate",) if amplitude else ()
    rest = ("offset_share",) if amplitude and offset else ("offset",) if offset else ()
    return (*rate, *(("exponent",) if exponent else ()), *rest)


def _encode_law(law: Array, free: tuple[bool, ...], middle: float, unit: float, *, signed: bool) -> list[float]:
    amplitude, exponent, offset = law.tolist()
    power = amplitude * middle**exponent
    total = power + offset if free[0] and free[2] else power
    if signed:
        total, offset = abs(total), offset * np.sign(total or 1.0)
    total = max(total, NO_RATE * unit)
    values = {
        "log_rate": float(np.log(total / unit)),
        "exponent": exponent,
        "offset_share": offset / total,
        "offset": law[2] / unit,
    }
    return [float(values[name]) for name in _law_names(free)]


def _decode_law(x: Array, law: Array, free: tuple[bool, ...], middle: float, unit: float) -> tuple[Array, Array]:
    """Amplitude, exponent and offset (3,) of a rate law at its coordinates `x` (n,), and their derivatives (3, n)."""
    at = {name: k for k, name in enumerate(_law_names(free))}
    values, slope = law.copy(), np.zeros((3, x.size))
    if "exponent" in at:
        values[1] = x[at["exponent"]]
        slope[1, at["exponent"]] = 1.0
    if "log_rate" in at:
        total = unit * np.exp(x[at["log_rate"]])
        scale = middle ** values[1]
        share = x[at["offset_share"]] if "offset_share" in at else 0.0
        values[0] = (1.0 - share) * total / scale
        slope[0, at["log_rate"]] = values[0]
        if "exponent" in at:
            slope[0, at["exponent"]] = -values[0] * np.log(middle)
        if "offset_share" in at:
            values[2] = share * total
            slope[0, at["offset_share"]] = -total / scale
            slope[2, at["log_rate"]], slope[2, at["offset_share"]] = values[2], total
    elif "offset" in at:
        values[2] = abs(unit) * x[at["offset"]]
        slope[2, at["offset"]] = abs(unit)
    return values, slope


def _half_turn(angle: float, period: float) -> float:
    """`angle` in [-period/2, period/2)."""
    return (angle + 0.5 * period) % period - 0.5 * period
