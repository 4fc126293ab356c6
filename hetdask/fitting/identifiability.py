"""What data determine of the parameters, and in words what they leave open.

Every parameter has a unit of its own in which an error of 1 means that nothing is known: half the mean rate for
amplitudes of rates, half a power for exponents, and so on (`natural_units`). Directions in these units without
curvature are open whatever the noise; those with a standard error above 1 are open at the present noise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr

from hetdask.fitting.normal_problem import WEAK
from hetdask.model.correlation import flow_wavevector
from hetdask.model.dynamics import dynamics
from hetdask.model.parameters import NAMES
from hetdask.passes.tiles import Series

Array = NDArray[np.float64]

TAKES_PART: Final = 0.1
"""Share of the largest component of a direction from which on a parameter is named."""

SIGNIFICANT: Final = 2.0
"""Standard errors by which an exponent differs from 0 at least, if it is to tell an amplitude from a constant."""

NEGLIGIBLE: Final = 1e-6
"""The same below which it is left out of the direction."""

NOTHING: Final = 0.02
"""Share in a direction without curvature below which a parameter counts as determined."""

HALF_TURN_IN_TWO_FRAMES: Final = np.pi / 2.0
"""Phase between two frames from which on flow may be aliased."""

ROUNDING: Final = 1e-12
"""Shares of parameters in a direction without curvature that are smaller than this are rounding errors."""

MANY: Final = 0.5
"""Share of frames with a clipped fraction that a reader should know of."""

SUMS: Final = (
    ("D0_ref", "D_offset_ref", "alpha_ref"),
    ("D0_sample", "D_offset_sample", "alpha_sample"),
    ("v0", "v_offset", "beta"),
    ("f0", "f3", "f1"),
)
"""Amplitude and constant that can't be told apart where the exponent is near 0."""

WITHOUT_EFFECT: Final = {
    "alpha_ref": "D0_ref",
    "alpha_sample": "D0_sample",
    "beta": "v0",
    "f1": "f0",
    "f2": "f1",
}
"""Parameters that mean nothing where another one vanishes."""


@dataclass(frozen=True, slots=True)
class Weak:
    """A direction that the data leave open.

    Attributes
    ----------
    text : str
        In words, without a full stop.
    direction : dict of str to float
        Change of each parameter along it, in its own unit; the one that changes most, in natural units, comes first.
    open : bool
        Whether it has no curvature at all.
    """

    text: str
    direction: dict[str, float]
    open: bool


@dataclass(frozen=True, slots=True, eq=False)
class Determined:
    """What the data determine.

    Attributes
    ----------
    identified : tuple of bool
        For each of the p free parameters.
    rank : int
        Directions that are determined.
    weak : tuple of Weak
        The p - rank others.
    """

    identified: tuple[bool, ...]
    rank: int
    weak: tuple[Weak, ...]


def natural_units(vector: Array, series: Series) -> Array:
    """Error (14,) of each parameter at which nothing is known about it, in its own unit.

    Amplitudes and offsets of rates: half the mean rate; amplitudes count at the middle of the series. Exponents: 1/2.
    Fractions: 1/4, where they are largest. f1: a factor e over the series. phi0: 30 degrees.
    """
    d = dynamics(vector, series.time)
    duration = float(series.time[-1] - series.time[0])
    middle = float(series.time[0]) + 0.5 * duration
    growth = float(np.exp(np.max(vector[10] * (series.time - vector[11])).clip(-50.0, 50.0)))
    speed = float(np.mean(np.abs(np.diff(d.displacement)))) * (series.time.size - 1) / duration
    units = np.ones(len(NAMES))
    for first, rate in ((0, d.c_ref[-1] / duration), (3, d.c_sample[-1] / duration), (6, speed)):
        half = 0.5 * max(float(rate), np.finfo(np.float64).tiny ** 0.5)
        units[first : first + 3] = half / middle ** vector[first + 1], 0.5, half
    units[9:] = 0.25 / growth, 1.0 / duration, duration, 0.25, 30.0
    return units


def identify(
    gauss_newton: Array, covariance: Array, vector: Array, free: tuple[int, ...], series: Series
) -> Determined:
    """Find what is determined.

    Parameters
    ----------
    gauss_newton : (p, p) float64
        Half the Gauss-Newton Hessian of χ².
    covariance : (p, p) float64
        Of the estimates, without the directions of `null_directions`.
    vector : (14,) float64
    free : tuple of int
    series : Series
    """
    names = [NAMES[k] for k in free]
    unit = natural_units(vector, series)[list(free)]
    null = null_directions(gauss_newton, unit)
    values, vectors = np.linalg.eigh(covariance / np.outer(unit, unit))
    weak = [_weak(direction, unit, names, is_open=True) for direction in _sparse(null)]
    weak += [_weak(direction, unit, names, is_open=False) for direction in vectors[:, values > 1.0].T]
    errors = np.sqrt(np.maximum(np.diagonal(covariance), 0.0)) / unit
    known = (errors <= 1.0) & (np.linalg.norm(null, axis=1) <= NOTHING)
    unknown = {name for name, is_known in zip(names, known, strict=True) if not is_known}
    for ridge in _ridges(
        vector, dict(zip(names, errors * unit, strict=True)), unknown, dict(zip(names, unit, strict=True))
    ):
        unknown |= set(list(ridge.direction)[:3])
        weak = [one for one in weak if one.open or next(iter(one.direction)) not in ridge.direction]
        if all(one.text != ridge.text for one in weak):
            weak.append(ridge)
    return Determined(
        identified=tuple(name not in unknown for name in names),
        rank=len(names) - len(weak),
        weak=tuple(weak),
    )


def _ridges(
    vector: Array, errors: Mapping[str, float], unknown: Collection[str], unit: Mapping[str, float]
) -> Iterator[Weak]:
    """Amplitudes and constants between which the exponent does not decide, since it may be 0.

    To first order they may look well known anywhere along the ridge that connects them.
    """
    value = dict(zip(NAMES, vector.tolist(), strict=True))
    for amplitude, constant, exponent in SUMS:
        if {amplitude, constant, exponent} <= errors.keys() and (
            exponent in unknown or abs(value[exponent]) < SIGNIFICANT * errors[exponent]
        ):
            step = unit[constant]
            turn = -value[exponent] * step / value[amplitude] if value[amplitude] else 0.0
            yield Weak(
                _sum_in_words(amplitude, constant, exponent),
                {amplitude: step, constant: -step, exponent: turn},
                open=False,
            )


def _sum_in_words(amplitude: str, constant: str, exponent: str) -> str:
    return f"only {amplitude} + {constant} and {amplitude}·{exponent} are determined: {exponent} can't be told from 0"


def _weak(direction: Array, unit: Array, names: Sequence[str], *, is_open: bool) -> Weak:
    strength = np.abs(direction) / np.max(np.abs(direction))
    order = [int(k) for k in np.argsort(-strength, kind="stable") if strength[k] > NEGLIGIBLE]
    text = _in_words([names[k] for k in order if strength[k] >= TAKES_PART])
    return Weak(text, {names[k]: float(direction[k] * unit[k]) for k in order}, is_open)


def null_directions(gauss_newton: Array, unit: Array) -> Array:
    """Orthonormal directions (p, k) without curvature, in natural units (p,)."""
    return _curvature(gauss_newton, unit)[0]


def inverse_without_null(gauss_newton: Array, unit: Array) -> Array:
    """Inverse (p, p) without the directions that have no curvature, with the units (p,) of the parameters.

    What an inverse of the rest says of directions without curvature is arbitrary, and is projected out.
    """
    null, root = _curvature(gauss_newton, unit)
    root = (root - null @ (null.T @ root)) * unit[:, None]
    return np.asarray(root @ root.T)


def _curvature(gauss_newton: Array, unit: Array) -> tuple[Array, Array]:
    """Directions without curvature (p, k), and a root (p, p - k) of an inverse for the others, in natural units.

    Curvatures of the parameters may differ by 10²⁰ and more, so nothing mixes them before each is scaled to 1.
    """
    scaled = gauss_newton * np.outer(unit, unit)
    size = np.sqrt(np.maximum(np.diagonal(scaled), 0.0))
    moves = size > np.sqrt(WEAK) * 1e-6 * max(float(size.max()), np.finfo(np.float64).tiny)
    size = size[moves]
    values, vectors = np.linalg.eigh(scaled[np.ix_(moves, moves)] / np.outer(size, size))
    flat = values <= WEAK * max(values, default=0.0)
    rows = _sparse(vectors[:, flat])
    rows = np.where(np.abs(rows) > ROUNDING, rows, 0.0) / size
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    still = np.count_nonzero(~moves)
    null = np.zeros((unit.size, still + len(rows)))
    null[~moves, :still] = np.eye(still)
    null[moves, still:] = rows.T
    root = np.zeros((unit.size, np.count_nonzero(~flat)))
    root[moves] = vectors[:, ~flat] / np.sqrt(values[~flat]) / size[:, None]
    return np.asarray(np.linalg.qr(null)[0]), root


def _sparse(directions: Array) -> Array:
    """A basis (k, p) of the same space as the columns (p, k), as few parameters as possible in each of its rows."""
    if directions.shape[1] == 0:
        return np.empty((0, directions.shape[0]))
    order = qr(directions.T, mode="r", pivoting=True)[1][: directions.shape[1]]
    return np.asarray(np.linalg.solve(directions[order].T, directions.T))


def _in_words(names: Sequence[str]) -> str:
    """What a direction means; `names` are the parameters that take part in it."""
    found = set(names)
    for amplitude, constant, exponent in SUMS:
        if {amplitude, constant} <= found <= {amplitude, constant, exponent, "f2"}:
            return _sum_in_words(amplitude, constant, exponent)
    if {"f0", "f2"} <= found <= {"f0", "f1", "f2"}:
        return "only f0·exp(-f1·f2) is determined"
    if len(found) == 1:
        name = names[0]
        if name == "phi0":
            return "phi0 is not determined: these maps see too little flow, or one direction only"
        if name in WITHOUT_EFFECT:
            return f"{name} is not determined: {WITHOUT_EFFECT[name]} is too close to 0, or the series too short"
        return f"{name} is not determined by these data"
    listed = ", ".join(names[:-1])
    return f"only a combination of {listed} and {names[-1]} is determined"


def cautions(vector: Array, free: tuple[int, ...], series: Series) -> tuple[str, ...]:
    """What else a reader of the values must know, in sentences without a full stop: aliased flow, clipped fractions.

    Parameters
    ----------
    vector : (14,) float64
    free : tuple of int
    series : Series
    """
    d = dynamics(vector, series.time)
    kappa, _ = flow_wavevector(d.phi0, series.phi, series.q)
    found = []
    step = float(np.max(np.abs(np.diff(d.displacement)))) * np.abs(kappa)
    worst = int(np.argmax(step))
    if step[worst] > HALF_TURN_IN_TWO_FRAMES:
        found.append(
            f"the flow turns the phase by up to {np.degrees(step[worst]):.0f}° from frame to frame at "
            f"phi = {series.phi[worst]:g}°: above 90° fringes may be aliased, above 180° they are; measure faster"
        )
    for edge, text in ((0.0, "0: there the sample"), (1.0, "1: there the reference")):
        share = float(np.mean(d.fraction == edge))
        if share > MANY and any(NAMES[k].startswith("f") for k in free):
            found.append(
                f"the sample fraction is clipped on {share:.0%} of the frames to {text} is not seen, and these frames "
                "say nothing about f0 to f3"
            )
    return tuple(found)
