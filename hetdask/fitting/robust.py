"""Robust fits as min-max problems: the best parameters for the worst data within some reach.

Every method minimises

    max_k rms_k(θ) + penalty(y),    y = S (θ - θ0)

where rms_k is the root mean square of the weighted residuals of all data, or of one resampling of them, θ0 are the
start values of the fit and S the root mean square that a unit change of each parameter makes in the model, in units of
the noise. Around each point the residuals are linear, which leaves a cone program of p unknowns; this is solved and set
up anew until it leads nowhere else (composite Gauss-Newton in a trust region).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from hetdask.fitting.methods import LIMIT_REACHED, Ending
from hetdask.fitting.normal_problem import small_problem
from hetdask.fitting.objective import Objective
from hetdask.fitting.robust_cone import GOOD, Penalty, solve_min_max, worst

Array = NDArray[np.float64]
type Problems = list[tuple[Array, Array]]

FIRST_REACH: Final = 10.0
"""First bound of a step, as a change of the model in units of the noise."""

SMALLEST_REACH: Final = 1e-9
"""Where not even a step within this bound improves anything, linearising has failed."""

WITHIN_ERRORS: Final = 1e-3
"""A remaining fall below this, over the number of pixels, is far below one standard error."""

ROUNDING: Final = 1e-10
"""Smallest relative fall that the solver of the cone program can be trusted with."""

SETTLED: Final = "the linearised min-max problem has its solution here"


class MinMax(Protocol):
    """A robust method: its residuals and its penalty."""

    @property
    def penalty(self) -> Penalty:
        """What it adds to the worst root mean square."""

    @property
    def max_evaluations(self) -> int:
        """Passes allowed in each round."""

    @property
    def tolerance(self) -> float:
        """Relative fall of its value at which a round ends."""

    def problems(self, objective: Objective, x: Array) -> Problems:
        """Residuals (p + 1,) and Jacobians (p + 1, p) at `x` (p,), whose norms are root mean squares."""


def _of_all_data(objective: Objective, x: Array) -> Problems:
    root = np.sqrt(float(objective.evaluate(x).n_points.sum()))
    residual, jacobian = objective.small_problem(x)
    return [(residual / root, jacobian / root)]


def scales(objective: Objective, lower: Array, upper: Array) -> Array:
    """Root mean square (p,) of what a unit of each parameter changes in the model at the anchor, over the noise."""
    jacobian = _of_all_data(objective, objective.anchor)[0][1]
    norms = np.linalg.norm(jacobian, axis=0)
    return np.where(norms > 0.0, norms, 1.0 / (upper - lower))


def solve(method: MinMax, objective: Objective, start: Array, lower: Array, upper: Array) -> Ending:
    """Minimise what a robust method stands for, from `start` (p,) within bounds (p,)."""
    scale = scales(objective, lower, upper)
    x, reach, evaluations = start, FIRST_REACH, 1
    penalty = method.penalty
    problems = method.problems(objective, x)
    value = worst(problems, np.zeros(x.size)) + penalty.value(scale * (x - objective.anchor))
    n_points = float(objective.evaluate(x).n_points.sum())
    enough = max(min(method.tolerance, WITHIN_ERRORS / n_points), ROUNDING)
    iterations = 0

    def ending(converged: bool, message: str) -> Ending:
        return Ending(x, converged, message, iterations, value)

    def attempt(scaled: Problems, y: Array, reach: float) -> tuple[Array, float, str]:
        low, high = np.maximum(scale * (lower - x), -reach), np.minimum(scale * (upper - x), reach)
        return solve_min_max(scaled, penalty, y, low, high)

    while True:
        scaled = [(residual, jacobian / scale) for residual, jacobian in problems]
        y = scale * (x - objective.anchor)
        step, promised, status = attempt(scaled, y, reach)
        fall, largest = value - promised, float(np.abs(step).max())
        if status in GOOD and fall <= enough * value and largest > 0.9 * reach:
            # Small only because the step was held back.
            fall = value - attempt(scaled, y, FIRST_REACH)[1]
        if status not in GOOD:
            return ending(False, f"the solver of the cone program ended with {status}")
        if fall <= enough * value:
            return ending(True, SETTLED)
        if evaluations >= method.max_evaluations:
            return ending(False, LIMIT_REACHED.format("fit.max_evaluations"))
        new = np.clip(x + step / scale, lower, upper)
        there = method.problems(objective, new)
        evaluations += 1
        found = worst(there, np.zeros(x.size)) + penalty.value(scale * (new - objective.anchor))
        gain = (value - found) / (value - promised)
        if gain < 0.25:
            reach = 0.25 * largest
        elif gain > 0.75 and largest > 0.9 * reach:
            reach *= 2.0
        if gain > 1e-4:
            x, problems, value = new, there, found
            iterations += 1
        elif reach < SMALLEST_REACH:
            return ending(False, "no step lowers the value although the linearised problem promises one")


@dataclass(frozen=True, slots=True)
class _Ball(ABC):
    """Worst case within a ball around all data; what a ball is, and so the penalty, each method says itself.

    Attributes
    ----------
    radius : float
        In units of the noise.
    alpha, beta : float
        See `Penalty`.
    max_evaluations, tolerance
        See `MinMax`.
    """

    derivatives: ClassVar[bool] = True
    radius: float = 0.01
    alpha: float = 0.0
    beta: float = 0.0
    max_evaluations: int = 200
    tolerance: float = 1e-8

    @property
    @abstractmethod
    def penalty(self) -> Penalty:
        """What it adds to the root mean square."""

    def problems(self, objective: Objective, x: Array) -> Problems:
        """All data."""
        return _of_all_data(objective, x)

    def solve(self, objective: Objective, start: Array, lower: Array, upper: Array) -> Ending:
        """Minimise from `start` (p,) within bounds (p,)."""
        return solve(self, objective, start, lower, upper)


@dataclass(frozen=True, slots=True)
class Ellipsoidal(_Ball):
    """Worst case over one ball around all residuals and derivatives, ‖[ΔJ Δr]‖_F/√n <= radius.

    The inner maximum is rms + radius·√(1 + ‖y‖²) (doi:10.1137/S0895479896298130). Attributes as of `_Ball`.
    """

    name: ClassVar[str] = "ellipsoidal"

    @property
    def penalty(self) -> Penalty:
        """What it adds to the root mean square."""
        return Penalty(euclidean=self.radius, alpha=self.alpha, beta=self.beta)


@dataclass(frozen=True, slots=True)
class Wasserstein(_Ball):
    """Worst case over all distributions of pixels within a type-2 Wasserstein ball around the measured one.

    Moving a pixel costs the largest of the changes of its residual and its scaled derivatives. The root of the worst
    mean square is rms + radius·(1 + ‖y‖₁) (doi:10.1017/jpr.2019.49): a parameter leaves its start value only if the
    data ask for it. Attributes as of `_Ball`.
    """

    name: ClassVar[str] = "wasserstein"

    @property
    def penalty(self) -> Penalty:
        """What it adds to the root mean square."""
        return Penalty(absolute=self.radius, alpha=self.alpha, beta=self.beta)


@dataclass(frozen=True, slots=True)
class Scenario:
    """Worst case over scenarios: resamplings of the time segments of the series, with replacement.

    Attributes
    ----------
    scenarios : int
        Number K of resamplings.
    segments : int
        Number B of segments.
    seed : int
        Of the resampling.
    alpha, beta : float
        See `Penalty`.
    max_evaluations, tolerance
        See `MinMax`.
    """

    name: ClassVar[str] = "scenario"
    derivatives: ClassVar[bool] = True
    scenarios: int = 15
    segments: int = 8
    seed: int = 0
    alpha: float = 0.0
    beta: float = 0.0
    max_evaluations: int = 200
    tolerance: float = 1e-8

    @property
    def penalty(self) -> Penalty:
        """What it adds to the worst root mean square."""
        return Penalty(alpha=self.alpha, beta=self.beta)

    def problems(self, objective: Objective, x: Array) -> Problems:
        """One for each scenario."""
        n_frames = objective.n_frames
        count = min(self.segments, n_frames // 2)
        edges = tuple(int(edge) for edge in np.linspace(0, n_frames, count + 1).round())
        out = []
        for result in objective.resampled(x, edges, resamplings(self.scenarios, count, self.seed)):
            residual, jacobian = small_problem(*result.weighted(objective.sigma))
            root = np.sqrt(float(result.n_points.sum()))
            out.append((residual / root, jacobian / root))
        return out

    def solve(self, objective: Objective, start: Array, lower: Array, upper: Array) -> Ending:
        """Minimise from `start` (p,) within bounds (p,)."""
        return solve(self, objective, start, lower, upper)


def resamplings(scenarios: int, segments: int, seed: int) -> Array:
    """Weights (K, B, B) of the pixels between each pair of B segments drawn with replacement.

    m_I·m_J for segments drawn m_I and m_J times, and m_I within one, scaled so that each is 1 on average.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(segments, np.full(segments, 1.0 / segments), size=scenarios).astype(np.float64)
    weights = drawn[:, :, None] * drawn[:, None, :] * (segments / max(segments - 1.0, 1.0))
    index = np.arange(segments)
    weights[:, index, index] = drawn
    return weights
