"""Search for the global optimum on reduced data, from the bounds alone.

Many independent starts: each looks at a few dozen random points and polishes the best of them with exact derivatives.
Local minima differ from the global one mostly in one respect: a fringe more or less, the wrong direction of flow, a
rate that hides behind the other component, or both components exchanged. So, after a first round from anywhere, most
starts take an optimum of the rounds before and draw one group of its coordinates anew. Start values from elsewhere have
rounds of their own before these.

Starts come in rounds of fixed size, each with random numbers of its own: the seed alone decides what is found, not the
number of workers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import batched
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from hetdask.errors import ConfigError
from hetdask.fitting.coordinates import Coordinates, make_coordinates
from hetdask.fitting.motion import Motion
from hetdask.fitting.normal_problem import small_problem
from hetdask.fitting.problem import Problem
from hetdask.passes.normal import project
from hetdask.passes.reduced import ReducedPasses
from hetdask_cluster.runner import InlineRunner

if TYPE_CHECKING:
    from hetdask_cluster.runner import Runner

Array = NDArray[np.float64]

STARTS: Final = 16
"""Starts in a round: what can run at the same time."""

GIVEN_STARTS: Final = 6
GIVEN_ROUNDS: Final = 4
"""Starts in a round from given start values, and such rounds. The first start values are polished as they are: since
they resemble each other, most of them must agree. The starts of later rounds share out the rest."""

MAX_ROUNDS: Final = 8

FRESH: Final = 2
"""Every so many starts of the later rounds begin anywhere."""

CANDIDATES: Final = 60
"""Random points that a start looks at."""

COARSE_BLOCKS: Final = 2000
"""Block means of each angle on which starts run, at most."""

AGREED: Final = 3
"""Starts that must reach the best optimum before a search may end early."""

MANY: Final = 12
NEARLY_ALL: Final = 0.75
"""Where this share of so many starts, or more, has reached the best optimum, nothing else will be found."""

KEPT: Final = 6
"""Distinct optima that are remembered."""

SAME_LEVEL: Final = 1e-4
"""Relative fall of χ² within an optimum that does not change the verdict on it."""

POLISH: Final = {"ftol": 1e-5, "xtol": 1e-6, "gtol": 1e-9, "max_nfev": 60}
FINISH: Final = {"ftol": 1e-8, "xtol": 1e-7, "gtol": 1e-10, "max_nfev": 100}
COMPARE: Final = {**POLISH, "max_nfev": 6}
"""On the finer data, for optima that are far worse than the best one: enough to tell how much worse."""

NEAR: Final = 0.2
"""Optima whose χ² is so much larger than that of the best one, relative, are compared but not finished."""

GROUPS: Final = {
    "reference": ("log_rate_ref", "exponent_ref", "offset_share_ref", "offset_ref"),
    "sample": ("log_rate_sample", "exponent_sample", "offset_share_sample", "offset_sample"),
    "flow": ("log_rate_flow", "exponent_flow", "offset_share_flow", "offset_flow", "direction"),
    "velocity": ("log_rate_flow", "direction"),
    "composition": ("fraction_start", "fraction_end", "constant_share", "f0", "f1", "f3"),
}
"""Coordinates that are drawn anew together."""


@dataclass(frozen=True, slots=True, eq=False)
class Optimum:
    """A minimum of χ².

    Attributes
    ----------
    vector : (14,) float64
        The canonical one of its parameter vectors.
    position : (n,) float64
        Its coordinates.
    chi_squared : float
        In units of the white noise.
    reached : int
        Starts that ended here.
    motion : Motion
        What it means, as far as the data tell.
    """

    vector: Array
    position: Array
    chi_squared: float
    reached: int
    motion: Motion

    def same(self, other: Optimum) -> bool:
        """Whether both describe the same motion, as far as data tell."""
        better, worse = (self, other) if self.chi_squared <= other.chi_squared else (other, self)
        return better.motion.same(worse.motion)


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """What a judge says of an optimum.

    Attributes
    ----------
    believed : bool
    at_once : bool
        Whether it is believed without another round of random points, or nearly all starts that agree.
    position : (n,) float64
        Coordinates that the judge came to, which may lead to a better optimum.
    """

    believed: bool
    at_once: bool
    position: Array


@dataclass(frozen=True, slots=True, eq=False)
class GivenStarts:
    """What became of given start values.

    Attributes
    ----------
    polished : int
        How many were polished: the best of the share of each start that ran.
    evaluations : int
    sufficed : bool
        Whether no other starts were needed.
    winner : int or None
        Which of the given start values led to the best optimum; None if a later round found a better one.
    """

    polished: int
    evaluations: int
    sufficed: bool
    winner: int | None


@dataclass(frozen=True, slots=True, eq=False)
class SearchResult:
    """What a search has found.

    Attributes
    ----------
    optima : tuple of Optimum
        Distinct ones, best first.
    starts : int
        Starts in all, of which `optima[0].reached` agree.
    believed : bool or None
        Whether the residuals of the best optimum are at the noise level; None if nobody could tell.
    level : int
        Of the reduced data on which the optima were finished.
    evaluations : int
        Of the model on reduced data.
    seconds : float
    given : GivenStarts or None
        What became of the start values that were given.
    """

    optima: tuple[Optimum, ...]
    starts: int
    believed: bool | None
    level: int
    evaluations: int
    seconds: float
    given: GivenStarts | None = None

    @property
    def best(self) -> Optimum:
        """The optimum with the least χ²."""
        return self.optima[0]

    @property
    def gap(self) -> float:
        """Relative distance in χ² to the second-best distinct optimum; infinite if there is only one."""
        if len(self.optima) == 1:
            return float("inf")
        return self.optima[1].chi_squared / self.best.chi_squared - 1.0


@dataclass(frozen=True, slots=True, eq=False)
class _Start:
    """Seed of a start, and the coordinates around which it looks at random points, None anywhere."""

    seed: tuple[int, ...]
    base: Array | None


@dataclass(frozen=True, slots=True, eq=False)
class _Share:
    """Given points (k, n) that a start looks at, and which ones of all these are, (k,)."""

    points: Array
    places: NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """Where a start ended: coordinates (n,), χ², half its Hessian (n, n), evaluations, and which point was polished."""

    position: Array
    chi_squared: float
    hessian: Array
    evaluations: int
    place: int = 0


class _Target:
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


def search(
    passes: ReducedPasses,
    problem: Problem,
    *,
    seed: int,
    runner: Runner | None = None,
    judge: Callable[[Array], Verdict] | None = None,
    given: Array | None = None,
    max_rounds: int = MAX_ROUNDS,
    on_round: Callable[[int, int, float], None] | None = None,
) -> SearchResult:
    """Find the global optimum on reduced data.

    Parameters
    ----------
    passes : ReducedPasses
        The finest level on which optima are compared; starts run on a coarser one.
    problem : Problem
        Its start values serve for fixed parameters only.
    seed : int
    runner : Runner, optional
        Where starts run; default in this process.
    judge : callable, optional
        Says of the coordinates (n,) of an optimum whether to believe it. Without it no search ends early.
    given : (k, 14) float64, optional
        Parameter vectors from which starts begin before any begin at random points, the most promising first.
    max_rounds : int
        Of starts from random points.
    on_round : callable, optional
        Called after each round with its number, that of the last one at most, and the least χ² so far.

    Returns
    -------
    SearchResult

    Raises
    ------
    ConfigError
        If nothing but f2 is free.
    """
    began = time.perf_counter()
    runner = runner or InlineRunner()
    coordinates = make_coordinates(problem, passes.series.time, passes.series.q)
    if not coordinates.names:
        raise ConfigError("only f2 is free, which repeats f0: there is nothing to search; free f0, for example")
    coarse = _coarse(passes)
    pool = _Pool(coarse, coordinates)
    evaluations = starts = 0
    rounds = _given_rounds(given, coordinates)
    of_given: list[_Found] = []
    for number in range(len(rounds) + max_rounds):
        if number < len(rounds):
            found = runner.map(_look, rounds[number], coarse, coordinates)
            of_given += found
        else:
            found = runner.map(_attempt, _round(seed, number, pool.optima), coarse, coordinates)
        starts += len(found)
        pool.add(found)
        evaluations += sum(x.evaluations for x in found)
        needed = max(AGREED, starts // 2 + 1) if rounds and number == 0 else AGREED
        looked_around = number >= max(len(rounds), 1)
        done = judge is not None and _suffices(pool, judge, starts, needed, looked_around=looked_around)
        if on_round is not None:
            on_round(number + 1, len(rounds) + max_rounds, pool.optima[0].chi_squared)
        if done:
            break
    limit = (1.0 + NEAR) * pool.optima[0].chi_squared
    ends = [(x.position, FINISH if x.chi_squared <= limit else COMPARE) for x in pool.optima]
    finished = runner.map(_finish, ends, passes, coordinates)
    final = _Pool(passes, coordinates)
    final.add(finished, [x.reached for x in pool.optima])
    believed = None if judge is None else _judged(final, judge).believed
    return SearchResult(
        optima=tuple(final.optima),
        starts=starts,
        believed=believed,
        level=passes.reduced.level,
        evaluations=evaluations + sum(x.evaluations for x in finished),
        seconds=time.perf_counter() - began,
        given=_became(of_given, starts, final.optima[0], pool) if of_given else None,
    )


def descend(passes: ReducedPasses, problem: Problem) -> tuple[Coordinates, Array]:
    """Coordinates (n,) of the optimum on reduced data that the start values of a problem lead to.

    Returns
    -------
    coordinates : Coordinates
    position : (n,) float64
        Empty where nothing but f2 is free.
    """
    coordinates = make_coordinates(problem, passes.series.time, passes.series.q)
    if not coordinates.names:
        return coordinates, np.empty(0)
    start = np.clip(coordinates.encode(problem.start), coordinates.lower, coordinates.upper)
    return coordinates, bottom(passes, coordinates, start)


def bottom(passes: ReducedPasses, coordinates: Coordinates, position: Array) -> Array:
    """Coordinates (n,) of the optimum on reduced data that a position (n,) leads to."""
    return _finish((position, FINISH), passes, coordinates).position


def _given_rounds(given: Array | None, coordinates: Coordinates) -> list[list[_Share]]:
    """What the starts of each round look at, of given parameter vectors (k, 14)."""
    if given is None:
        return []
    points = np.clip([coordinates.encode(vector) for vector in given], coordinates.lower, coordinates.upper)
    first, rest = np.split(np.arange(len(points)), [GIVEN_STARTS])
    count = min(GIVEN_STARTS * (GIVEN_ROUNDS - 1), rest.size)
    shares = [_Share(points[places], places) for places in [*first[:, None], *(rest[k::count] for k in range(count))]]
    return [list(some) for some in batched(shares, GIVEN_STARTS)]


def _became(found: Sequence[_Found], starts: int, best: Optimum, pool: _Pool) -> GivenStarts:
    """What came of given start values from where they led, after `starts` starts in all."""
    best_given = min(found, key=lambda x: x.chi_squared)
    return GivenStarts(
        polished=len(found),
        evaluations=sum(x.evaluations for x in found),
        sufficed=starts == len(found),
        winner=best_given.place if pool.optimum(best_given).same(best) else None,
    )


def _judged(pool: _Pool, judge: Callable[[Array], Verdict]) -> Verdict:
    """The verdict on the best optimum of a pool, after those that judging it has led to have joined the pool."""
    while (verdict := pool.verdict()) is None:
        best = pool.optima[0]
        verdict = judge(best.position)
        pool.judged = best, verdict
        if not np.array_equal(verdict.position, best.position):
            pool.follow(verdict.position)
    return verdict


def _suffices(pool: _Pool, judge: Callable[[Array], Verdict], starts: int, needed: int, *, looked_around: bool) -> bool:
    """Whether a search may end after so many starts, of which some are needed to agree.

    What the judge has doubts about must also be what remains after a round from random points at and around the optima,
    or what nearly all starts lead to.
    """
    if pool.optima[0].reached < needed:
        return False
    verdict = _judged(pool, judge)
    reached = pool.optima[0].reached
    nearly_all = starts >= MANY and reached >= NEARLY_ALL * starts
    return reached >= needed and verdict.believed and (verdict.at_once or looked_around or nearly_all)


def _coarse(passes: ReducedPasses) -> ReducedPasses:
    """The same data with at most `COARSE_BLOCKS` block means for each angle."""
    reduced = passes.reduced
    while reduced.blocks.n_blocks > COARSE_BLOCKS:
        reduced = reduced.coarsen(reduced.level + 1)
    return ReducedPasses(passes.series, reduced)


def _round(seed: int, number: int, optima: Sequence[Optimum]) -> list[_Start]:
    """Starts of a round; after the first one, most begin at the optima found so far, the best ones more often."""
    starts = []
    for index in range(STARTS):
        base = None
        if number > 0 and index % FRESH:
            rank = int(np.random.default_rng((seed, number, index, 1)).exponential(1.5))
            base = optima[min(rank, len(optima) - 1)].position
        starts.append(_Start((seed, number, index), base))
    return starts


def _attempt(start: _Start, passes: ReducedPasses, coordinates: Coordinates) -> _Found:
    """Task of a search: look at random points and polish the best."""
    return _polish_best(_candidates(np.random.default_rng(start.seed), coordinates, start.base), passes, coordinates)


def _look(share: _Share, passes: ReducedPasses, coordinates: Coordinates) -> _Found:
    """Task of a search: polish the best of some given points."""
    found = _polish_best(share.points, passes, coordinates)
    return replace(found, place=int(share.places[found.place]))


def _polish_best(points: Array, passes: ReducedPasses, coordinates: Coordinates) -> _Found:
    """Where the best of some points (k, n) leads."""
    target = _Target(passes, coordinates)
    best = 0 if len(points) == 1 else int(np.argmin([target.chi_squared(x) for x in points]))
    return replace(_polish(target, points[best], coordinates, POLISH), place=best)


def _finish(end: tuple[Array, dict[str, float]], passes: ReducedPasses, coordinates: Coordinates) -> _Found:
    """Task of a search: polish an optimum on finer data, with these tolerances."""
    position, tolerances = end
    return _polish(_Target(passes, coordinates), position, coordinates, tolerances)


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


def _polish(target: _Target, start: Array, coordinates: Coordinates, tolerances: dict[str, float]) -> _Found:
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
    return _Found(solution.x, 2.0 * float(solution.cost), hessian, target.evaluations)


class _Pool:
    """Distinct optima, best first."""

    def __init__(self, passes: ReducedPasses, coordinates: Coordinates) -> None:
        self.optima: list[Optimum] = []
        self.judged: tuple[Optimum, Verdict] | None = None
        self._passes = passes
        self._n_points = int(np.count_nonzero(passes.reduced.count))
        self._coordinates = coordinates

    def add(self, found: Sequence[_Found], reached: Sequence[int] | None = None) -> None:
        """Take in where starts ended, in their order."""
        for x, count in zip(found, reached or [1] * len(found), strict=True):
            self._add(self.optimum(x, count))
        self.optima = sorted(self.optima, key=lambda x: x.chi_squared)[:KEPT]

    def follow(self, position: Array) -> None:
        """Take in the optimum that is reached from the coordinates `position` (n,); it is no start of its own."""
        target = _Target(self._passes, self._coordinates)
        self.add([_polish(target, position, self._coordinates, FINISH)], [0])

    def verdict(self) -> Verdict | None:
        """That on the best optimum, or on one so near that it would be the same; None before it has been judged."""
        if self.judged is None:
            return None
        best, (judged, verdict) = self.optima[0], self.judged
        near = best.same(judged) and best.chi_squared > (1.0 - SAME_LEVEL) * judged.chi_squared
        return verdict if near else None

    def _add(self, new: Optimum) -> None:
        for k, old in enumerate(self.optima):
            if old.same(new):
                better = new if new.chi_squared < old.chi_squared else old
                self.optima[k] = replace(better, reached=old.reached + new.reached)
                return
        self.optima.append(new)

    def optimum(self, found: _Found, reached: int = 1) -> Optimum:
        """Where a start ended as an optimum."""
        vector = self._coordinates.canonical(self._coordinates.decode(found.position))
        information = found.hessian * (self._n_points / found.chi_squared)
        return Optimum(
            vector=vector,
            position=self._coordinates.encode(vector),
            chi_squared=found.chi_squared,
            reached=reached,
            motion=Motion.of(self._coordinates, found.position, information, self._passes.series),
        )
