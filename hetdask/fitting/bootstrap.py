"""Parametric bootstrap: experiments simulated from a fit and fitted again.

Each has the maps of the fit, white noise and speckle noise of the strengths that `hetdask.fitting.noise_model` found,
and the frames and pixels of the data. The scatter of the refits is that of repeated experiments, to all orders, where
standard errors hold to first order only. What no refit can show are errors of the noise model, and other optima.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import batched
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from hetdask.fitting.block_noise import BlockNoise
from hetdask.fitting.noise_model import NoiseModel, NoiseStrength, white_beside_counting
from hetdask.fitting.problem import Problem
from hetdask.fitting.refine import Refinement, refine
from hetdask.fitting.refits import Refits
from hetdask.passes.reduced import ReducedPasses
from hetdask.passes.speckle_scores import contrast_of_speckles

if TYPE_CHECKING:
    from hetdask_cluster.runner import Runner

Array = NDArray[np.float64]

TASKS_PER_WORKER: Final = 8
"""Tasks of several refits each: every task brings the block counts along."""

TOLERANCE: Final = 1e-6
"""Relative change at which a refit ends: far below its scatter."""

USE: Final = 1
"""Keeps these random numbers apart from all others of the same seed."""


@dataclass(frozen=True, slots=True, eq=False)
class Bootstrap:
    """Refits of simulated experiments.

    Attributes
    ----------
    start : (p,) float64
        Free parameters of the fit.
    estimates : (B, p) float64
        The same of the refits that converged.
    failed : int
        Refits that did not converge.
    at_bound : (p,) float64
        Share of the refits that ended at a bound of each parameter.
    level : int
        Of the reduction ladder, on which the refits ran.
    retained : float
        Share of the Fisher information that block means of this level keep.
    seconds : float
    """

    start: Array
    estimates: Array
    failed: int
    at_bound: Array
    level: int
    retained: float
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class _Experiment:
    """What experiments are simulated from: noise, `contrast` and `offset` (n_phi,), in units of c2."""

    problem: Problem
    noise: NoiseStrength
    contrast: Array
    offset: Array
    seed: int


def bootstrap(
    refits: Refits,
    fit: Refinement,
    noise: NoiseModel,
    runner: Runner,
    *,
    count: int,
    seed: int,
    on_done: Callable[[int, int, str], None] | None = None,
) -> Bootstrap:
    """Simulate and refit `count` experiments.

    Parameters
    ----------
    refits : Refits
    fit : Refinement
        From which they are simulated.
    noise : NoiseModel
        Their noise.
    runner : Runner
        Where they are refitted.
    count : int
    seed : int
        Decides alone what comes out, not the number of workers.
    on_done : callable, optional
        Called with the number of refits so far, their number in all, and what they are.
    """
    began = time.perf_counter()
    experiment = _Experiment(
        refits.problem,
        noise,
        np.array([angle.contrast for angle in fit.angles]),
        np.array([angle.offset for angle in fit.angles]),
        seed,
    )
    size = -(-count // (TASKS_PER_WORKER * runner.n_workers))
    tasks = list(batched(range(count), size))
    done = 0

    def tell(index: int, _: object) -> None:
        nonlocal done
        done += len(tasks[index])
        if on_done is not None:
            on_done(done, count, "refits of simulated experiments")

    found = runner.map(_refit, tasks, refits.passes, experiment, on_done=tell)
    rows = [row for part in found for row in part]
    kept = [(values, at_bound) for values, converged, at_bound in rows if converged]
    p = len(refits.problem.free)
    return Bootstrap(
        start=refits.problem.start[list(refits.problem.free)],
        estimates=np.array([values for values, _ in kept]).reshape(-1, p),
        failed=count - len(kept),
        at_bound=np.array([at_bound for _, at_bound in kept]).reshape(-1, p).mean(axis=0) if kept else np.zeros(p),
        level=refits.level,
        retained=refits.retained,
        seconds=time.perf_counter() - began,
    )


def _refit(
    indices: tuple[int, ...], passes: ReducedPasses, experiment: _Experiment
) -> list[tuple[Array, bool, NDArray[np.bool_]]]:
    """Task: of some experiments the fitted parameters (p,), whether the fit converged, and which are at a bound."""
    problem, series, reduced = experiment.problem, passes.series, passes.reduced
    means = passes.model_means(problem.start)
    noise = [BlockNoise(series, m, problem.start, reduced.blocks, means[m]) for m in range(series.n_phi)]
    strength = experiment.noise
    rest = np.sqrt(white_beside_counting(series, problem.start, experiment.offset, strength))
    speckles, photons = strength.speckles.tolist(), strength.photons.tolist()
    ratio = [contrast_of_speckles(x) for x in (experiment.contrast / experiment.offset).tolist()]
    found = []
    for index in indices:
        simulated = experiment.offset[:, None] + experiment.contrast[:, None] * means
        for m in range(series.n_phi):
            rng = np.random.default_rng((experiment.seed, index, m, USE))
            simulated[m] += experiment.offset[m] * noise[m].speckle(ratio[m], speckles[m], rng, photons[m])
            white = rest[m] / np.sqrt(np.maximum(reduced.count[m], 1.0))
            simulated[m] += white * rng.standard_normal(white.size)
        again = ReducedPasses(series, replace(reduced, mean=simulated))
        fit = refine(again, problem, rounds=1, tolerance=TOLERANCE)
        bounds = np.array([flag is not None for flag in fit.at_bound])
        found.append((fit.values[list(problem.free)], fit.status == "converged", bounds))
    return found
