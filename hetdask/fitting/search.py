"""Search for the global optimum on reduced data, from the bounds alone.

Many independent starts (`hetdask.fitting.starts`): each looks at a few dozen random points and polishes the best of
them. After a first round from anywhere, most starts take an optimum of the rounds before and draw one group of its
coordinates anew. Start values from elsewhere have rounds of their own before these.

Starts come in rounds of fixed size, each with random numbers of its own: the seed alone decides what is found, not the
number of workers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import batched
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from hetdask.errors import ConfigError
from hetdask.fitting.coordinates import Coordinates, make_coordinates
from hetdask.fitting.optima import Optimum, Pool, Verdict
from hetdask.fitting.problem import Problem
from hetdask.fitting.starts import COMPARE, FINISH, Found, Share, Start, attempt, finish, look
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

COARSE_BLOCKS: Final = 2000
"""Block means of each angle on which starts run, at most."""

AGREED: Final = 3
"""Starts that must reach the best optimum before a search may end early."""

MANY: Final = 12
NEARLY_ALL: Final = 0.75
"""Where this share of so many starts, or more, has reached the best optimum, nothing else will be found."""

NEAR: Final = 0.2
"""Optima whose χ² is so much larger than that of the best one, relative, are compared but not finished."""


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
    pool = Pool(coarse, coordinates)
    evaluations = starts = 0
    rounds = _given_rounds(given, coordinates)
    of_given: list[Found] = []
    for number in range(len(rounds) + max_rounds):
        if number < len(rounds):
            found = runner.map(look, rounds[number], coarse, coordinates)
            of_given += found
        else:
            found = runner.map(attempt, _round(seed, number, pool.optima), coarse, coordinates)
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
    finished = runner.map(finish, ends, passes, coordinates)
    final = Pool(passes, coordinates)
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
    return finish((position, FINISH), passes, coordinates).position


def _given_rounds(given: Array | None, coordinates: Coordinates) -> list[list[Share]]:
    """What the starts of each round look at, of given parameter vectors (k, 14)."""
    if given is None:
        return []
    points = np.clip([coordinates.encode(vector) for vector in given], coordinates.lower, coordinates.upper)
    first, rest = np.split(np.arange(len(points)), [GIVEN_STARTS])
    count = min(GIVEN_STARTS * (GIVEN_ROUNDS - 1), rest.size)
    shares = [Share(points[places], places) for places in [*first[:, None], *(rest[k::count] for k in range(count))]]
    return [list(some) for some in batched(shares, GIVEN_STARTS)]


def _became(found: Sequence[Found], starts: int, best: Optimum, pool: Pool) -> GivenStarts:
    """What came of given start values from where they led, after `starts` starts in all."""
    best_given = min(found, key=lambda x: x.chi_squared)
    return GivenStarts(
        polished=len(found),
        evaluations=sum(x.evaluations for x in found),
        sufficed=starts == len(found),
        winner=best_given.place if pool.optimum(best_given).same(best) else None,
    )


def _judged(pool: Pool, judge: Callable[[Array], Verdict]) -> Verdict:
    """The verdict on the best optimum of a pool, after those that judging it has led to have joined the pool."""
    while (verdict := pool.verdict()) is None:
        best = pool.optima[0]
        verdict = judge(best.position)
        pool.judged = best, verdict
        if not np.array_equal(verdict.position, best.position):
            pool.follow(verdict.position)
    return verdict


def _suffices(pool: Pool, judge: Callable[[Array], Verdict], starts: int, needed: int, *, looked_around: bool) -> bool:
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


def _round(seed: int, number: int, optima: Sequence[Optimum]) -> list[Start]:
    """Starts of a round; after the first one, most begin at the optima found so far, the best ones more often."""
    starts = []
    for index in range(STARTS):
        base = None
        if number > 0 and index % FRESH:
            rank = int(np.random.default_rng((seed, number, index, 1)).exponential(1.5))
            base = optima[min(rank, len(optima) - 1)].position
        starts.append(Start((seed, number, index), base))
    return starts
