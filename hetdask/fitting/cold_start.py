"""Start values from the data alone, and what a search's second-best answers are worth after the fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from hetdask.data.reduction import choose_level, reduce_store
from hetdask.errors import FitError
from hetdask.fitting.coordinates import Coordinates, make_coordinates
from hetdask.fitting.goodness import Check, structure_of
from hetdask.fitting.likely import Likely, most_likely, weighted_sums
from hetdask.fitting.noise_model import NoiseModel
from hetdask.fitting.objective import DataPasses
from hetdask.fitting.optima import Verdict
from hetdask.fitting.problem import Problem
from hetdask.fitting.refine import Refinement
from hetdask.fitting.search import SearchResult, bottom, descend, search
from hetdask.passes.reduced import ReducedPasses
from hetdask.passes.run import series_of
from hetdask_cluster.runner import InlineRunner

if TYPE_CHECKING:
    from hetdask.data.store import Store
    from hetdask_cluster.runner import Runner

Array = NDArray[np.float64]

MOST_BLOCKS: Final = 15_000
"""Block means of each angle on which optima are compared, at most."""

MOST_ANGLES: Final = 16
"""Maps on which optima are searched, at most: more of them tell the same, and each costs as much as any other."""

CLOSE: Final = 0.05
"""Optima whose χ² on reduced data is within so much of the best one are fitted at full resolution too."""

DECISIVE: Final = 9.0
"""Difference of χ² in units of its variance per degree of freedom, or of twice the log-likelihood, that decides
between two optima: 3 sigma, or odds of 90."""


HOPELESS: Final = 4.0 * DECISIVE
"""Optima that are so much worse on reduced data already are not fitted again."""

DOUBTFUL: Final = 6.0
"""Excess of the residuals over noise from which on given start values are left: more than for an optimum of a search,
since a search takes longer than a fit."""


@dataclass(frozen=True, slots=True, eq=False)
class Near:
    """The most likely parameters near a fit, and what the residuals there tell.

    Attributes
    ----------
    likely : Likely
    structure : tuple of Check
        Whether the residuals have a structure that noise has not.
    information : (p, p) float64
        Of the free parameters there, if the covariance of the noise weights the data.
    """

    likely: Likely
    structure: tuple[Check, ...]
    information: Array

    @property
    def noise(self) -> NoiseModel:
        """What the residuals say about the noise."""
        return self.likely.noise


@dataclass(frozen=True, slots=True, eq=False)
class Rival:
    """Another optimum after a fit at full resolution.

    Attributes
    ----------
    refinement : Refinement
    excess : float
        Its χ² over that of the best fit, less one; angles weighted by the residuals of the latter.
    contender : bool
        Whether the data can't decide against it.
    """

    refinement: Refinement
    excess: float
    contender: bool


def reduced_passes(store: Store, runner: Runner) -> ReducedPasses:
    """Block means of a store, as many as a search needs."""
    level = choose_level(store, MOST_BLOCKS * store.n_phi)
    return ReducedPasses(series_of(store), reduce_store(store, runner, level=level))


def find_start(
    passes: ReducedPasses,
    problem: Problem,
    runner: Runner,
    *,
    seed: int,
    given: Array | None = None,
    on_round: Callable[[int, int, str], None] | None = None,
) -> SearchResult:
    """Search that ends early where one optimum is reached repeatedly and leaves nothing but noise.

    Parameters
    ----------
    passes : ReducedPasses
    problem : Problem
    runner : Runner
        Where starts run.
    seed : int
    given : (k, 14) float64, optional
        Parameter vectors to look at first.
    on_round : callable, optional
        Called after each round with its number, the number of rounds at most, and what it found in words.
    """

    def tell(number: int, most: int, chi_squared: float) -> None:
        if on_round is not None:
            on_round(number, most, f"rounds of starts, χ² = {chi_squared:.6g}")

    passes, problem = _some_angles(passes, problem)
    coordinates = make_coordinates(problem, passes.series.time, passes.series.q)

    def judge(position: Array) -> Verdict:
        # An optimum on few block means may lie far from that on all of them, compared with the errors of the latter.
        position = bottom(passes, coordinates, position)
        likely, _ = most_likely(passes, coordinates, position, until_noise=True)
        return Verdict(likely.noise.at_noise_level, likely.noise.is_unremarkable, likely.position)

    return search(passes, problem, seed=seed, runner=runner, judge=judge, given=given, on_round=tell)


def _some_angles(passes: ReducedPasses, problem: Problem) -> tuple[ReducedPasses, Problem]:
    """Maps among which the optima can be told apart: all, or `MOST_ANGLES` whose directions differ most evenly."""
    series = passes.series
    if series.n_phi <= MOST_ANGLES:
        return passes, problem
    by_direction = np.argsort(series.phi % 180.0, kind="stable")
    chosen = np.sort(by_direction[np.linspace(0, series.n_phi - 1, MOST_ANGLES).round().astype(np.intp)])
    return passes.at_angles(chosen), replace(problem, sigma=problem.sigma[chosen])


def leads_to_noise(passes: ReducedPasses, problem: Problem) -> bool:
    """Whether the start values of a problem lead to an optimum that leaves nothing but noise, or nobody can tell."""
    passes, problem = _some_angles(passes, problem)
    coordinates, position = descend(passes, problem)
    if not position.size:
        return True
    try:
        likely, _ = most_likely(passes, coordinates, position, until_noise=True)
    except FitError:
        return True
    return likely.noise.excess.largest < DOUBTFUL


def near_fit(passes: ReducedPasses, problem: Problem, fit: Refinement) -> Near | None:
    """The most likely parameters near a fit; None where the noise can't be told from its residuals."""
    near = _near_fits(passes, problem, [fit], InlineRunner())
    return near[0] if near else None


def _near_fits(passes: ReducedPasses, problem: Problem, fits: Sequence[Refinement], runner: Runner) -> list[Near]:
    """Most likely parameters near each fit; none at all where one failed or there are too few data to tell."""
    coordinates = make_coordinates(problem, passes.series.time, passes.series.q)
    if not coordinates.names or not all(angle.contrast > 0.0 for fit in fits for angle in fit.angles):
        return []
    try:
        return runner.map(_climb, [coordinates.encode(fit.values) for fit in fits], passes, coordinates)
    except FitError:
        return []


def _climb(position: Array, passes: ReducedPasses, coordinates: Coordinates) -> Near:
    """Task: climb from one fit."""
    likely, gathered = most_likely(passes, coordinates, position)
    information = weighted_sums(gathered, likely.noise, np.eye(len(coordinates.problem.free))).information
    return Near(likely, structure_of(gathered, likely.noise), information)


def settle(
    passes: DataPasses,
    reduced: ReducedPasses,
    problem: Problem,
    best: Refinement,
    found: SearchResult,
    runner: Runner,
    refit: Callable[[Problem], Refinement],
) -> tuple[Refinement, tuple[Rival, ...], Near | None]:
    """Fit the other optima of a search that come close, and compare them with the best.

    Another optimum is a rival if the most likely parameters near it are others than those near the best one. Data
    decide against a rival by χ² at full resolution or by the likelihood of its residuals.

    Parameters
    ----------
    passes : DataPasses
    reduced : ReducedPasses
        The same data.
    problem : Problem
    best : Refinement
        The fit from the best optimum of the search.
    found : SearchResult
    runner : Runner
    refit : callable
        Fits the problem from its start values, as `best` was fitted.

    Returns
    -------
    best : Refinement
        The given one, or another that turned out better.
    rivals : tuple of Rival
        The distinct others, best first.
    near : Near or None
        The most likely parameters near the best one; None where the noise can't be told.
    """
    near = _near_fits(reduced, problem, [best], runner)
    points = _effective_points(near[0].noise, passes.n_points) if near else 0.0
    fits = [best]
    for optimum in found.optima[1:]:
        behind = optimum.chi_squared - found.best.chi_squared
        if behind > CLOSE * found.best.chi_squared or behind * points > HOPELESS * best.chi_squared:
            break
        fits.append(refit(replace(problem, start=np.clip(optimum.vector, problem.lower, problem.upper))))
    fits = [one for one in fits if one.status == "converged"] or [best]
    weight = np.array([angle.residual_rms for angle in best.angles]) ** -2.0

    def level(fit: Refinement) -> float:
        return float(weight @ [angle.sum_squares for angle in fit.angles])

    fits.sort(key=level)
    winner = fits[0]
    others = [fit for fit in fits if fit is not best]
    found_near = [*near, *_near_fits(reduced, problem, others, runner)]
    if len(found_near) <= len(others):
        return winner, (), None
    by_fit = {id(fit): one for fit, one in zip([best, *others], found_near, strict=True)}
    near = [by_fit[id(fit)] for fit in fits]
    likely = [one.likely for one in near]
    points = _effective_points(near[0].noise, passes.n_points)
    rivals, seen = list[Rival](), [likely[0]]
    for fit, there in zip(fits[1:], likely[1:], strict=True):
        if not any(one.same(there) for one in seen):
            seen.append(there)
            excess = level(fit) / level(winner) - 1.0
            behind = likely[0].noise.log_likelihood - there.noise.log_likelihood
            undecided = abs(2.0 * behind) <= DECISIVE and excess * points <= DECISIVE
            rivals.append(Rival(fit, excess, undecided or 2.0 * behind < -DECISIVE))
    return winner, tuple(rivals), near[0]


def _effective_points(noise: NoiseModel, n_points: int) -> float:
    """Independent pixels with which χ² would scatter as much as it does; the variance of χ² of n of them is 2n."""
    if not noise.sees_speckles:
        return float(n_points)
    squares, spread = noise.expected_rms**2, 2.0 * noise.expected_rms * noise.expected_spread
    weight = squares**-1.0
    return 2.0 * float(weight @ squares) ** 2 / float((weight * spread) @ (weight * spread))
