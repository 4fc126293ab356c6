"""Profiles: χ² of the best fit for every value of one parameter, and the intervals that follow.

For independent pixels χ² rises by 1 and 3.84 at the ends of a 68 % and a 95 % interval. Speckle noise makes χ² rise as
if there were far more data than there are: with the covariance V of `hetdask.fitting.uncertainty` and the Gauss-Newton
matrix H, the rise at the truth is distributed as λ χ²(1) with λ = V_kk / (H⁻¹)_kk (J. T. Kent, Biometrika 69, 19
(1982), doi:10.1093/biomet/69.1.19; R. E. Chandler and S. Bate, Biometrika 94, 167 (2007), doi:10.1093/biomet/asm015).
So the deviance is the rise over λ. Where the problem is linear the ends are those of the standard error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray

from hetdask.fitting.identifiability import natural_units
from hetdask.fitting.problem import Problem
from hetdask.fitting.refine import refine
from hetdask.fitting.refits import Refits
from hetdask.fitting.uncertainty import Uncertainty
from hetdask.model.parameters import NAMES
from hetdask.passes.normal import project
from hetdask.passes.reduced import ReducedPasses

if TYPE_CHECKING:
    from scipy.interpolate import PchipInterpolator

    from hetdask_cluster.runner import Runner

Array = NDArray[np.float64]
type _Steps = list[tuple[float, float]]
Ending = Literal["reached", "bound", "flat", "failed"]

LEVELS: Final = {"interval_68": 1.0, "interval_95": 3.841459}
"""Deviance at the ends of the intervals."""

REACH: Final = 2.1
"""Root of the deviance at which a walk ends: a little beyond the last level."""

PACE: Final = 0.5
"""Rise of this root in one step, as far as it can be foreseen."""

FAR: Final = 1.0
"""A step that raises it by more is halved."""

LONGER: Final = 3.0
"""Most by which a step grows from one to the next."""

MOST_STEPS: Final = 30
SHORTENED: Final = 4
"""Times that a step may be halved before a walk gives up."""

TOLERANCE: Final = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """Profile of one parameter.

    Attributes
    ----------
    name : str
    optimum : float
        Its value where χ² of the block means is lowest.
    scale : float
        λ.
    values, deviance : (n,) float64
        Of the parameter, growing, and rise of χ² over λ.
    endings : (Ending, Ending)
        Why the walks to lower and to higher values ended: both levels reached, at the bound, at the limit of steps, or
        where no fit converged.
    """

    name: str
    optimum: float
    scale: float
    values: Array
    deviance: Array
    endings: tuple[Ending, Ending]

    def ends(self, level: float) -> tuple[float | None, float | None]:
        """Outermost values at which the deviance is `level`; None where it stays below out there."""
        lowest, highest = self.deviance[[0, -1]] >= level
        low = self._crossings(-np.sqrt(level)).min() if lowest else None
        high = self._crossings(np.sqrt(level)).max() if highest else None
        return low, high

    def _crossings(self, root: float) -> Array:
        """Values (k,) at which the root of the deviance, negative on the lower side, is `root`."""
        return np.asarray(signed_root(self.values, self.deviance).solve(root, extrapolate=False))


def signed_root(values: Array, deviance: Array) -> PchipInterpolator:
    """Root of the deviance between two or more values (n,), negative below the lowest: there it is nearly straight."""
    from scipy.interpolate import PchipInterpolator

    side = np.sign(np.arange(values.size) - int(np.argmin(deviance)))
    return PchipInterpolator(values, np.sqrt(np.maximum(deviance, 0.0)) * side)


@dataclass(frozen=True, slots=True, eq=False)
class _Walk:
    """From the optimum along parameter `k`, in a direction, with a first step and the λ of its deviance."""

    k: int
    step: float
    scale: float


def profile(
    refits: Refits,
    uncertainty: Uncertainty,
    names: Sequence[str],
    runner: Runner,
    *,
    on_done: Callable[[int, int, str], None] | None = None,
) -> list[Profile]:
    """Profiles of some free parameters, each walked in two tasks.

    Parameters
    ----------
    refits : Refits
    uncertainty : Uncertainty
        Of the same fit.
    names : sequence of str
    runner : Runner
    on_done : callable, optional
        Called with the number of walks so far, their number in all, and what they are.
    """
    problem, passes = refits.problem, refits.passes
    best = refine(passes, problem, rounds=1, tolerance=TOLERANCE)
    problem = replace(problem, start=best.values)
    scales, units = _scales(uncertainty), natural_units(best.values, passes.series)
    walks = []
    for name in names:
        k = NAMES.index(name)
        place = problem.free.index(k)
        error = uncertainty.stderr[place]
        step = PACE * (error if np.isfinite(error) and error > 0.0 else units[k])
        walks += [_Walk(k, sign * min(step, problem.upper[k] - problem.lower[k]), scales[place]) for sign in (-1, 1)]
    done = 0

    def tell(_: int, __: object) -> None:
        nonlocal done
        done += 1
        if on_done is not None:
            on_done(done, len(walks), "walks along parameters")

    found = runner.map(_walk, walks, passes, problem, best.chi_squared, on_done=tell)
    profiles = []
    for index, name in enumerate(names):
        (down, low), (up, high) = found[2 * index : 2 * index + 2]
        middle = float(best.values[NAMES.index(name)])
        rows = np.array([*reversed(down), (middle, 0.0), *up])
        profiles.append(Profile(name, middle, walks[2 * index].scale, rows[:, 0], rows[:, 1], (low, high)))
    return profiles


def _scales(uncertainty: Uncertainty) -> Array:
    """λ (p,) of each free parameter; the largest of all where it has none of its own."""
    whole, iid = np.diagonal(uncertainty.covariance), np.diagonal(uncertainty.covariance_iid)
    with np.errstate(divide="ignore", invalid="ignore"):
        scales = np.where((iid > 0.0) & (whole > 0.0), whole / iid, np.nan)
    return np.where(np.isfinite(scales), scales, np.nanmax(scales, initial=1.0))


def _walk(walk: _Walk, passes: ReducedPasses, problem: Problem, lowest: float) -> tuple[_Steps, Ending]:
    """Task: values of the parameter and deviances away from the optimum, and why it ended."""
    k, step = walk.k, walk.step
    bound = problem.lower[k] if step < 0.0 else problem.upper[k]
    here, before = problem.start, problem.start
    steps: _Steps = []
    root, halved = 0.0, 0
    while len(steps) < MOST_STEPS:
        if here[k] == bound:
            return steps, "bound"
        value = min(max(here[k] + step, problem.lower[k]), problem.upper[k])
        # The others are expected to go on as they did.
        way = here[k] - before[k]
        ahead = here + (here - before) * ((value - here[k]) / way if way else 0.0)
        ahead = np.clip(ahead, problem.lower, problem.upper)
        ahead[k] = value
        found = _best_beside(passes, replace(problem, start=ahead), k)
        if found is None:
            if halved == SHORTENED:
                return steps, "failed"
            halved, step = halved + 1, 0.5 * step
            continue
        deviance = (found[1] - lowest) / walk.scale
        rise = np.sqrt(max(deviance, 0.0)) - root
        if rise > FAR and halved < SHORTENED:
            halved, step = halved + 1, 0.5 * step
            continue
        steps.append((value, deviance))
        before, here, root = here, found[0], root + rise
        if root >= REACH:
            return steps, "reached"
        step *= min(max(PACE / max(rise, 1e-3), 0.5), 1.0 if halved else LONGER)
        halved = 0
    return steps, "flat"


def _best_beside(passes: ReducedPasses, problem: Problem, k: int) -> tuple[Array, float] | None:
    """Best parameters (14,) with parameter `k` held, and their χ²; None where the fit did not converge."""
    others = tuple(x for x in problem.free if x != k)
    if not others:
        sums = project(passes(problem.start, ()))
        return problem.start, float(problem.sigma**-2.0 @ sums.sum_squares)
    fit = refine(passes, replace(problem, free=others), rounds=1, tolerance=TOLERANCE)
    return (fit.values, fit.chi_squared) if fit.status == "converged" else None
