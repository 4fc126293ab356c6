"""Start values from the data alone, and what a search's second-best answers are worth after the fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from hetdask.data.reduction import choose_level, reduce_store
from hetdask.errors import FitError
from hetdask.fitting.coordinates import Coordinates, make_coordinates
from hetdask.fitting.noise_model import NoiseModel, estimate_noise
from hetdask.fitting.problem import Problem
from hetdask.fitting.refine import Refinement, refine
from hetdask.fitting.search import SearchResult, search
from hetdask.model.parameters import NAMES
from hetdask.passes.reduced import ReducedPasses
from hetdask.passes.run import Passes, series_of

if TYPE_CHECKING:
    from hetdask.data.store import Store
    from hetdask_cluster.runner import Runner

Array = NDArray[np.float64]

MOST_BLOCKS: Final = 15_000
"""Block means of each angle on which optima are compared, at most."""

CLOSE: Final = 0.05
"""Optima whose χ² on reduced data is within so much of the best one are fitted at full resolution too."""

DECISIVE: Final = 25.0
"""Difference of χ², in units of its variance per degree of freedom, that decides between two optima: 5 sigma."""

APART: Final = 1.0
"""Standard errors (of independent pixels) by which some parameter must differ for two fits not to be the same."""


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

    def believable(vector: Array) -> bool:
        return estimate_noise(passes, vector, problem.free).at_noise_level

    return search(passes, problem, seed=seed, runner=runner, believable=believable, given=given, on_round=tell)


def noise_of(passes: ReducedPasses, fit: Refinement) -> NoiseModel | None:
    """Noise that the residuals of a fit show; None where it failed or there are too few data to tell."""
    if not all(angle.contrast > 0.0 for angle in fit.angles):
        return None
    try:
        return estimate_noise(passes, fit.values, tuple(NAMES.index(name) for name in fit.free))
    except FitError:
        return None


def settle(
    passes: Passes,
    problem: Problem,
    best: Refinement,
    found: SearchResult,
    *,
    rounds: int,
    tolerance: float,
    noise: NoiseModel | None = None,
) -> tuple[Refinement, tuple[Rival, ...]]:
    """Fit the other optima of a search that come close, and compare them at full resolution.

    Parameters
    ----------
    passes : Passes
    problem : Problem
    best : Refinement
        The fit from the best optimum of the search.
    found : SearchResult
    rounds, tolerance
        As in `refine`.
    noise : NoiseModel, optional
        Says by how much χ² scatters; by default as for white noise.

    Returns
    -------
    best : Refinement
        The given one, or another that turned out better.
    rivals : tuple of Rival
        The distinct others, best first.
    """
    effective_points = float(passes.n_points)
    if noise is not None:
        # The variance of χ² of n independent pixels is 2n.
        squares, spread = noise.expected_rms**2, 2.0 * noise.expected_rms * noise.expected_spread
        weight = squares**-1.0
        effective_points = 2.0 * float(weight @ squares) ** 2 / float((weight * spread) @ (weight * spread))
    fits = [best]
    for optimum in found.optima[1:]:
        if optimum.chi_squared > (1.0 + CLOSE) * found.best.chi_squared:
            break
        start = replace(problem, start=np.clip(optimum.vector, problem.lower, problem.upper))
        fits.append(refine(passes, start, rounds=rounds, tolerance=tolerance))
    fits = [one for one in fits if one.status == "converged"] or [best]
    weight = np.array([angle.residual_rms for angle in best.angles]) ** -2.0
    values = [float(weight @ [angle.sum_squares for angle in one.angles]) for one in fits]
    order = np.argsort(values, kind="stable")
    coordinates = make_coordinates(problem, passes.series.time, passes.series.q)
    winner, rivals = fits[int(order[0])], list[Rival]()
    for k in order[1:]:
        if all(_distinct(coordinates, fits[k], one) for one in (winner, *(rival.refinement for rival in rivals))):
            excess = values[k] / values[order[0]] - 1.0
            rivals.append(Rival(fits[k], excess, excess * effective_points <= DECISIVE))
    return winner, tuple(rivals)


def _distinct(coordinates: Coordinates, one: Refinement, other: Refinement) -> bool:
    """Whether two fits differ by more than their errors in a parameter that both determine."""
    step = coordinates.canonical(one.values) - coordinates.canonical(other.values)
    errors = np.sqrt(np.diagonal(one.covariance) + np.diagonal(other.covariance))
    free = list(coordinates.problem.free)
    return bool(np.any(np.abs(step[free]) > APART * np.where(np.isfinite(errors), errors, np.inf)))
