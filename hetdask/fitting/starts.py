"""Starts of a search: each looks at some points and polishes the best of them with exact derivatives.

Random points are anywhere, or have one group of the coordinates of an optimum drawn anew: local minima differ from the
global one mostly in one respect, a fringe more or less, the wrong direction of flow, a rate that hides behind the other
component, or both components exchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from hetdask.fitting.coordinates import Coordinates
from hetdask.fitting.normal_problem import small_problem
from hetdask.passes.normal import project
from hetdask.passes.reduced import ReducedPasses

Array = NDArray[np.float64]

CANDIDATES: Final = 60
"""Random points that a start looks at."""

POLISH: Final = {"ftol": 1e-5, "xtol": 1e-6, "gtol": 1e-9, "max_nfev": 60}
FINISH: Final = {"ftol": 1e-8, "xtol": 1e-7, "gtol": 1e-10, "max_nfev": 100}
COMPARE: Final = {**POLISH, "max_nfev": 6}
"""On the finer data, for optima that are far worse than the best one: enough to tell how much worse."""

GROUPS: Final = {
    "reference": ("log_rate_ref", "exponent_ref", "offset_share_ref", "offset_ref"),
    "sample": ("log_rate_sample", "exponent_sample", "offset_share_sample", "offset_sample"),
    "flow": ("log_rate_flow", "exponent_flow", "offset_share_flow", "offset_flow", "direction"),
    "velocity": ("log_rate_flow", "direction"),
    "composition": ("fraction_start", "fraction_end", "constant_share", "f0", "f1", "f3"),
}
"""Coordinates that are drawn anew together."""


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """Seed of a start, and the coordinates around which it looks at random points, None anywhere."""

    seed: tuple[int, ...]
    base: Array | None


@dataclass(frozen=True, slots=True, eq=False)
class Share:
    """Given points (k, n) that a start looks at, and which ones of all these are, (k,)."""

    points: Array
    places: NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Where a start ended: coordinates (n,), χ², half its Hessian (n, n), evaluations, and which point was polished."""

    position: Array
    chi_squared: float
    hessian: Array
    evaluations: int
    place: int = 0


class Target:
    """χ² of reduced data as a function of the coordinates; the last point is remembered."""

    def __init__(self, passes: ReducedPasses, coordinates: Coordinates) -> None:
        self.evaluations = 0
        self._passes = passes
        self._coordinates = coordinates
        self._sigma = coordinates.problem.sigma
        self._last: tuple[bytes, tuple[Array, Array]] = (b"", (np.empty(0), np.empty(0)))

    def chi_squared(self, x: Array) -> float:
        """χ² at the coordinates `x` (n,)."""
        self.evaluations += 1
        sums = self._passes(self._coordinates.decode(x), ())
        return float(self._sigma**-2.0 @ project(sums).sum_squares)

    def small_problem(self, x: Array) -> tuple[Array, Array]:
        """Residuals (n + 1,) and Jacobian (n + 1, n) that stand for all residuals."""
        if self._last[0] != x.tobytes():
            self.evaluations += 1
            vector, slope = self._coordinates.linearise(x)
            free = self._coordinates.problem.free
            chi_squared, gradient, gauss_newton = project(self._passes(vector, free)).weighted(self._sigma)
            slope = slope[list(free)]
            self._last = (x.tobytes(), small_problem(chi_squared, slope.T @ gradient, slope.T @ gauss_newton @ slope))
        return self._last[1]


def attempt(start: Start, passes: ReducedPasses, coordinates: Coordinates) -> Found:
    """Task of a search: look at random points and polish the best."""
    return _polish_best(_candidates(np.random.default_rng(start.seed), coordinates, start.base), passes, coordinates)


def look(share: Share, passes: ReducedPasses, coordinates: Coordinates) -> Found:
    """Task of a search: polish the best of some given points."""
    found = _polish_best(share.points, passes, coordinates)
    return replace(found, place=int(share.places[found.place]))


def _polish_best(points: Array, passes: ReducedPasses, coordinates: Coordinates) -> Found:
    """Where the best of some points (k, n) leads."""
    target = Target(passes, coordinates)
    best = 0 if len(points) == 1 else int(np.argmin([target.chi_squared(x) for x in points]))
    return replace(polish(target, points[best], coordinates, POLISH), place=best)


def finish(end: tuple[Array, dict[str, float]], passes: ReducedPasses, coordinates: Coordinates) -> Found:
    """Task of a search: polish an optimum on finer data, with these tolerances."""
    position, tolerances = end
    return polish(Target(passes, coordinates), position, coordinates, tolerances)


def _candidates(rng: np.random.Generator, coordinates: Coordinates, base: Array | None) -> Array:
    """Random points (CANDIDATES, n): anywhere, or with one group of the coordinates `base` (n,) drawn anew."""
    points = rng.uniform(coordinates.lower, coordinates.upper, (CANDIDATES, coordinates.lower.size))
    if base is None:
        return points
    names = coordinates.names
    groups = [group for name in GROUPS if (group := [k for k, x in enumerate(names) if x in GROUPS[name]])]
    exchanged = _exchanged(base, names)
    choice = int(rng.integers(len(groups) + (exchanged is not None)))
    if exchanged is not None and choice == len(groups):
        base, drawn = exchanged, [names.index("constant_share")]
    else:
        drawn = groups[choice]
    kept = [k for k in range(len(names)) if k not in drawn]
    points[:, kept] = base[kept]
    return points


def _exchanged(base: Array, names: Sequence[str]) -> Array | None:
    """The coordinates with reference and sample exchanged, if both and the fraction have the same ones."""
    reference = [k for k, name in enumerate(names) if name.endswith("_ref")]
    sample = [k for k, name in enumerate(names) if name.endswith("_sample")]
    same = [names[k].removesuffix("_ref") for k in reference] == [names[k].removesuffix("_sample") for k in sample]
    if not (same and reference and "constant_share" in names):
        return None
    exchanged = base.copy()
    exchanged[reference], exchanged[sample] = base[sample], base[reference]
    ends = [names.index("fraction_start"), names.index("fraction_end")]
    exchanged[ends] = -base[ends]
    return exchanged


def polish(target: Target, start: Array, coordinates: Coordinates, tolerances: dict[str, float]) -> Found:
    """Least squares inside the box, with exact derivatives; the flow may turn freely."""
    lower, upper = coordinates.lower.copy(), coordinates.upper.copy()
    turning = np.array([name == "direction" for name in coordinates.names])
    lower[turning], upper[turning] = -np.inf, np.inf
    inside = 1e-9 * (coordinates.upper - coordinates.lower)
    solution = least_squares(
        lambda x: target.small_problem(x)[0],
        np.clip(start, lower + inside, upper - inside),
        jac=lambda x: target.small_problem(x)[1],
        bounds=(lower, upper),
        x_scale=coordinates.upper - coordinates.lower,
        method="trf",
        **tolerances,
    )
    hessian = solution.jac.T @ solution.jac
    return Found(solution.x, 2.0 * float(solution.cost), hessian, target.evaluations)
