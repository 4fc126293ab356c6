"""Bounded least squares at full resolution.

Each pass over the data yields a Gauss-Newton problem of p rows; scipy's trust-region solver works on that
and takes the steps it would take with all residuals.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult, least_squares

from hetdask.errors import ConfigError
from hetdask.fitting.checkpoint import Checkpoint
from hetdask.model.parameters import NAMES
from hetdask.passes.normal import Projection, project
from hetdask.passes.run import Passes

Array = NDArray[np.float64]
Status = Literal["converged", "not_converged", "interrupted"]

SINGULAR: Final = 1e-13
"""Eigenvalues of the scaled Gauss-Newton matrix below this, relative to the largest, count as zero."""

ENDINGS: Final = {
    0: "stopped at the limit of evaluations (fit.max_evaluations) before the tolerance was met",
    1: "the gradient vanishes within the tolerance",
    2: "chi-squared no longer changes within the tolerance",
    3: "the parameters no longer change within the tolerance",
    4: "neither chi-squared nor the parameters change within the tolerance",
}
"""What scipy's trust-region solver says by number."""

WEAK: Final = 1e-10
"""Directions with less relative curvature than this are not determined by the data."""

WEAK_SHARE: Final = 1e-2
"""A parameter with this share in such a direction is not determined either."""

MARGIN: Final = 1e-3
"""Distance from -1 that exponents keep where the time axis begins at 0."""


@dataclass(frozen=True, slots=True)
class AngleFit:
    """Scaling and residuals of one angle.

    `phi` in degrees, `q` in 1/Å; `contrast`, `offset`, `sigma` and `residual_rms` in units of c2, `sum_squares`
    in c2 squared. `sigma` is the white noise, estimated or given.
    """

    phi: float
    q: float
    contrast: float
    offset: float
    sigma: float
    n_points: int
    sum_squares: float
    residual_rms: float


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One evaluation of the fit: χ² in units of sigma², all 14 values, seconds since the start."""

    iteration: int
    evaluation: int
    round: int
    chi_squared: float
    values: dict[str, float]
    seconds: float
    pixels_per_second: float
    improved: bool


@dataclass(frozen=True, slots=True, eq=False)
class Refinement:
    """Outcome of a fit.

    Attributes
    ----------
    values, start, lower, upper : (14,) float64
        In the order of `hetdask.model.NAMES`.
    free : tuple of str
        The p parameters that were fitted.
    covariance : (p, p) float64
        For independent noise of each angle's residual rms; NaN for parameters that the data do not determine.
    identified : tuple of bool
    at_bound : tuple of {None, "min", "max"}
    chi_squared : float
        Σ over angles of sum_squares/sigma².
    n_points, dof : int
    angles : tuple of AngleFit
    status, message, method : str
    iterations, evaluations, passes : int
    seconds : float
    history : tuple of HistoryEntry
    """

    values: Array
    start: Array
    lower: Array
    upper: Array
    free: tuple[str, ...]
    covariance: Array
    identified: tuple[bool, ...]
    at_bound: tuple[str | None, ...]
    chi_squared: float
    n_points: int
    dof: int
    angles: tuple[AngleFit, ...]
    status: Status
    message: str
    method: str
    iterations: int
    evaluations: int
    seconds: float
    passes: int
    history: tuple[HistoryEntry, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """What is fitted: start values and bounds of all parameters, and which of them move.

    Attributes
    ----------
    start, lower, upper : (14,) float64
    free : tuple of int
        Indices of the parameters that move.
    sigma : (n_phi,) float64
        White noise of each angle.
    """

    start: Array
    lower: Array
    upper: Array
    free: tuple[int, ...]
    sigma: Array

    def __post_init__(self) -> None:
        if not self.free:
            raise ConfigError("no parameter is free: name some in fit.active_parameters or set fixed: false")
        for k in self.free:
            if not self.lower[k] < self.upper[k]:
                raise ConfigError(
                    f"{NAMES[k]}: min {self.lower[k]:g} is not below max {self.upper[k]:g}; "
                    "widen the bounds or set fixed: true"
                )
        outside = [k for k in self.free if not self.lower[k] <= self.start[k] <= self.upper[k]]
        if outside:
            k = outside[0]
            raise ConfigError(
                f"{NAMES[k]}: start value {self.start[k]:g} lies outside its bounds "
                f"[{self.lower[k]:g}, {self.upper[k]:g}]; change value, min or max"
            )

    def vector(self, x: Array) -> Array:
        """All parameters (14,) with the free ones set to `x` (p,)."""
        vector = self.start.copy()
        vector[list(self.free)] = x
        return vector


def integrable_bounds(lower: Array, time_origin: float) -> Array:
    """Lower bounds (14,) under which every integral exists: exponents above -1 where the time axis begins at 0."""
    lower = lower.copy()
    if time_origin <= 0.0:
        for name in ("alpha_ref", "alpha_sample", "beta"):
            k = NAMES.index(name)
            lower[k] = max(lower[k], -1.0 + MARGIN)
    return lower


def _scaled_eigen(gauss_newton: Array) -> tuple[Array, Array, Array]:
    """Scale of each parameter (1 where it has no curvature), and eigenvalues and vectors of the scaled matrix."""
    scale = np.sqrt(np.maximum(np.diag(gauss_newton), 0.0))
    scale = np.where(scale > 0.0, scale, 1.0)
    values, vectors = np.linalg.eigh(gauss_newton / np.outer(scale, scale))
    return scale, values, vectors


def small_problem(chi_squared: float, gradient: Array, gauss_newton: Array) -> tuple[Array, Array]:
    """Residuals (p + 1,) and Jacobian (p + 1, p) with the given sum of squares, half gradient and half Hessian."""
    scale, values, vectors = _scaled_eigen(gauss_newton)
    keep = values > SINGULAR * max(float(values[-1]), 0.0)
    root = np.sqrt(np.where(keep, values, 0.0))
    jacobian = root[:, None] * vectors.T * scale[None, :]
    projected = vectors.T @ (gradient / scale)
    residual = np.where(keep, projected / np.where(keep, root, 1.0), 0.0)
    rest = np.sqrt(max(chi_squared - float(residual @ residual), 0.0))
    return np.append(residual, rest), np.vstack([jacobian, np.zeros_like(gradient)])


class _Objective:
    """χ² of the free parameters, with a record of every evaluation."""

    def __init__(
        self,
        passes: Passes,
        problem: Problem,
        checkpoint: Checkpoint,
        on_entry: Callable[[HistoryEntry], None] | None,
    ) -> None:
        self.history: list[HistoryEntry] = []
        self.round = 0
        self.sigma = problem.sigma
        self._passes = passes
        self._problem = problem
        self._checkpoint = checkpoint
        self._on_entry = on_entry
        self._began = time.perf_counter()
        self._best = np.inf
        self._iteration = 0
        self._last: tuple[bytes, Projection] | None = None

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began

    def begin_round(self, sigma: Array) -> None:
        """Weight the angles with `sigma` (n_phi,) from now on."""
        self.round += 1
        self.sigma = sigma
        self._best = np.inf
        self._last = None

    def evaluate(self, x: Array) -> Projection:
        """Sums at the free parameters `x` (p,); the last point is remembered."""
        x = np.asarray(x, dtype=np.float64)
        if self._last is not None and self._last[0] == x.tobytes():
            return self._last[1]
        vector = self._problem.vector(x)
        result = self._checkpoint.recall(vector)
        if result is None:
            result = project(self._passes(vector, self._problem.free))
            self._checkpoint.record(vector, result)
        self._last = (x.tobytes(), result)
        self._enter(vector, result)
        return result

    def _enter(self, vector: Array, result: Projection) -> None:
        weighted = float(self.sigma**-2.0 @ result.sum_squares)
        improved = weighted < self._best
        self._best = min(self._best, weighted)
        self._iteration += improved
        entry = HistoryEntry(
            iteration=self._iteration,
            evaluation=len(self.history) + 1,
            round=self.round,
            chi_squared=float(self._problem.sigma**-2.0 @ result.sum_squares),
            values=dict(zip(NAMES, vector.tolist(), strict=True)),
            seconds=self.seconds,
            pixels_per_second=self._passes.pixels_per_second,
            improved=improved,
        )
        self.history.append(entry)
        if self._on_entry is not None:
            self._on_entry(entry)

    def residuals(self, x: Array) -> Array:
        return small_problem(*self.evaluate(x).weighted(self.sigma))[0]

    def jacobian(self, x: Array) -> Array:
        return small_problem(*self.evaluate(x).weighted(self.sigma))[1]


def iid_covariance(gauss_newton: Array) -> tuple[Array, tuple[bool, ...]]:
    """Inverse (p, p) of half a Hessian, and which parameters it determines.

    Parameters that take part in a direction without curvature are not determined: their rows are NaN.
    """
    scale, values, vectors = _scaled_eigen(gauss_newton)
    moving = np.diag(gauss_newton) > 0.0
    keep = values > WEAK * max(float(values[-1]), 0.0)
    inverse = (vectors[:, keep] / values[keep]) @ vectors[:, keep].T / np.outer(scale, scale)
    loose = np.any(np.abs(vectors[:, ~keep]) > WEAK_SHARE, axis=1) | ~moving
    inverse[loose, :] = np.nan
    inverse[:, loose] = np.nan
    return inverse, tuple(bool(x) for x in ~loose)


def _bound_flags(x: Array, lower: Array, upper: Array) -> tuple[str | None, ...]:
    reach = 1e-6 * (upper - lower)
    near_lower, near_upper = x - lower <= reach, upper - x <= reach
    return tuple("min" if low else "max" if high else None for low, high in zip(near_lower, near_upper, strict=True))


def refine(
    passes: Passes,
    problem: Problem,
    *,
    max_evaluations: int = 200,
    tolerance: float = 1e-8,
    rounds: int = 2,
    checkpoint: Checkpoint | None = None,
    on_entry: Callable[[HistoryEntry], None] | None = None,
) -> Refinement:
    """Fit the free parameters at full resolution from their start values.

    The angles are weighted by their white noise first, and by the rms of their residuals in the rounds after.

    Parameters
    ----------
    passes : Passes
        The data.
    problem : Problem
    max_evaluations : int
        Passes allowed in each round.
    tolerance : float
        Relative change of χ² and of the parameters, and size of the scaled gradient, at which a round ends.
    rounds : int
    checkpoint : Checkpoint, optional
    on_entry : callable
        Called with a `HistoryEntry` after each evaluation.

    Returns
    -------
    Refinement
        Status "converged" only if the last round met its tolerance and every contrast is positive.
    """
    if checkpoint is None:
        checkpoint = Checkpoint(None, "", passes.series.n_phi, len(problem.free))
    free = list(problem.free)
    lower, upper = problem.lower[free], problem.upper[free]
    objective = _Objective(passes, problem, checkpoint, on_entry)

    def solve(start: Array, sigma: Array) -> OptimizeResult:
        objective.begin_round(sigma)
        return least_squares(
            objective.residuals,
            start,
            jac=objective.jacobian,
            bounds=(lower, upper),
            x_scale="jac",
            method="trf",
            ftol=tolerance,
            xtol=tolerance,
            gtol=tolerance,
            max_nfev=max_evaluations,
        )

    solution = solve(problem.start[free], problem.sigma)
    iterations = int(solution.njev)
    for _ in range(rounds - 1):
        solution = solve(solution.x, residual_rms(objective.evaluate(solution.x), len(free)))
        iterations += int(solution.njev)
    x = np.asarray(solution.x)
    result = objective.evaluate(x)
    sigma = residual_rms(result, len(free))
    status: Status = "converged" if solution.status > 0 else "not_converged"
    message = ENDINGS[int(solution.status)]
    failed = np.flatnonzero(result.contrast <= 0.0)
    if failed.size:
        status = "not_converged"
        angles = ", ".join(f"{passes.series.phi[m]:g}°" for m in failed)
        message = f"the contrast is not positive at {angles}: the model does not describe these maps"
    covariance, identified = iid_covariance(result.weighted(sigma)[2])
    n_phi = passes.series.n_phi
    return Refinement(
        values=problem.vector(x),
        start=problem.start,
        lower=problem.lower,
        upper=problem.upper,
        free=tuple(NAMES[k] for k in free),
        covariance=covariance,
        identified=identified,
        at_bound=_bound_flags(x, lower, upper),
        chi_squared=float(problem.sigma**-2.0 @ result.sum_squares),
        n_points=passes.n_points,
        dof=passes.n_points - len(free) - 2 * n_phi,
        angles=_angle_fits(passes, problem, result),
        status=status,
        message=message,
        method="trust-region",
        iterations=iterations,
        evaluations=len(objective.history),
        seconds=objective.seconds,
        passes=passes.count,
        history=tuple(objective.history),
    )


def residual_rms(result: Projection, n_free: int) -> Array:
    """Root mean square of the residuals per angle, (n_phi,), in units of c2; never exactly 0."""
    dof = np.maximum(result.n_points - 2.0 - n_free / result.n_points.size, 1.0)
    return np.sqrt(np.maximum(result.sum_squares, np.finfo(np.float64).tiny) / dof)


def _angle_fits(passes: Passes, problem: Problem, result: Projection) -> tuple[AngleFit, ...]:
    series = passes.series
    rms = residual_rms(result, len(problem.free))
    return tuple(
        AngleFit(
            phi=float(series.phi[m]),
            q=float(series.q[m]),
            contrast=float(result.contrast[m]),
            offset=float(result.offset[m] + series.baseline[m]),
            sigma=float(problem.sigma[m]),
            n_points=int(result.n_points[m]),
            sum_squares=float(result.sum_squares[m]),
            residual_rms=float(rms[m]),
        )
        for m in range(series.n_phi)
    )
