"""Bounded least squares from given start values.

Each pass over the data yields a Gauss-Newton problem of p rows; scipy's trust-region solver works on that
and takes the steps it would take with all residuals. `fit_with` runs any classical method the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from hetdask.fitting.checkpoint import Checkpoint
from hetdask.fitting.methods import Ending, Method, TrustRegion
from hetdask.fitting.normal_problem import iid_covariance, predicted_fall, small_problem
from hetdask.fitting.objective import DataPasses, HistoryEntry, Objective
from hetdask.fitting.outliers import Region
from hetdask.fitting.problem import Problem
from hetdask.model.parameters import NAMES
from hetdask.passes.normal import Projection, project
from hetdask.passes.tiles import Series

Array = NDArray[np.float64]
Status = Literal["converged", "not_converged", "interrupted"]

STALLED: Final = 1e-4
"""A method without derivatives did not end at a minimum if a Gauss-Newton step takes this share off χ²."""


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
    weighted_by : (n_phi,) float64
        Noise by which the angles were weighted in the last round.
    angles : tuple of AngleFit
    status, message, method : str
    iterations, evaluations, passes : int
    seconds : float
    history : tuple of HistoryEntry
    retained_information : float or None
        Share of the Fisher information that reduced data keep; None after a fit at full resolution. All else but the
        history is told of all pixels.
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
    weighted_by: Array
    angles: tuple[AngleFit, ...]
    status: Status
    message: str
    method: str
    iterations: int
    evaluations: int
    seconds: float
    passes: int
    history: tuple[HistoryEntry, ...]
    worst_case: float | None = None
    outliers: tuple[Region, ...] | None = None
    retained_information: float | None = None

    @property
    def robust(self) -> bool:
        """Whether something else than χ² was minimised."""
        return self.worst_case is not None or self.outliers is not None


def bound_flags(x: Array, lower: Array, upper: Array) -> tuple[str | None, ...]:
    """The bound (p,) at which each free parameter is, "min" or "max"; None elsewhere."""
    reach = 1e-6 * (upper - lower)
    near_lower, near_upper = x - lower <= reach, upper - x <= reach
    return tuple("min" if low else "max" if high else None for low, high in zip(near_lower, near_upper, strict=True))


def refine(
    passes: DataPasses,
    problem: Problem,
    *,
    max_evaluations: int = 200,
    tolerance: float = 1e-8,
    rounds: int = 2,
    checkpoint: Checkpoint | None = None,
    on_entry: Callable[[HistoryEntry], None] | None = None,
) -> Refinement:
    """Fit the free parameters by the bounded trust region; see `TrustRegion` for its options and `fit_with`."""
    method = TrustRegion(max_evaluations, tolerance)
    return fit_with(method, passes, problem, rounds=rounds, checkpoint=checkpoint, on_entry=on_entry)


def fit_with(
    method: Method,
    passes: DataPasses,
    problem: Problem,
    *,
    rounds: int = 2,
    checkpoint: Checkpoint | None = None,
    on_entry: Callable[[HistoryEntry], None] | None = None,
) -> Refinement:
    """Fit the free parameters from their start values.

    The angles are weighted by their white noise first, and by the rms of their residuals in the rounds after, each
    of which starts where the one before ended.

    Parameters
    ----------
    method : Method
        From `hetdask.fitting.methods`.
    passes : DataPasses
        The data.
    problem : Problem
    rounds : int
    checkpoint : Checkpoint, optional
        Made for the derivatives that the method asks for.
    on_entry : callable, optional
        Called with a `HistoryEntry` after each evaluation.

    Returns
    -------
    Refinement
        Status "converged" only if the last round met its tolerance, at a minimum, and every contrast is positive.
    """
    if checkpoint is None:
        checkpoint = Checkpoint(None, "")
    objective = Objective(
        passes, problem, method.name, derivatives=method.derivatives, checkpoint=checkpoint, on_entry=on_entry
    )
    earlier = passes.count
    lower, upper = problem.bounds()

    def solve(start: Array, sigma: Array) -> Ending:
        objective.begin_round(sigma)
        return method.solve(objective, start, lower, upper)

    ending = solve(problem.start[list(problem.free)], problem.sigma)
    iterations = ending.iterations
    # A loss that resists outliers finds the scales of the residuals by itself.
    for _ in range(rounds - 1 if ending.outliers is None else 0):
        ending = solve(ending.x, residual_rms(objective.evaluate(ending.x), len(problem.free)))
        iterations += ending.iterations
    x, converged, message = ending.x, ending.converged, ending.message
    result = objective.evaluate(x)
    sigma = residual_rms(result, len(problem.free))
    if not method.derivatives:
        # Only a pass with derivatives tells a minimum from a simplex that has collapsed.
        result = project(passes(problem.vector(x), problem.free))
        fall = predicted_fall(*small_problem(*result.weighted(objective.sigma)), lower - x, upper - x)
        if converged and fall > STALLED:
            converged = False
            message = f"stopped where a Gauss-Newton step would still lower chi-squared by {fall:.1%}"
    contrast = result.contrast if ending.outliers is None else ending.outliers.contrast
    failed = np.flatnonzero(contrast <= 0.0)
    if failed.size:
        converged = False
        where = ", ".join(f"{passes.series.phi[m]:g}°" for m in failed)
        message = f"the contrast is not positive at {where}: the model does not describe these maps"
    robust = ending.outliers
    covariance, identified = iid_covariance(result.weighted(sigma)[2] if robust is None else robust.precision)
    angles = angle_fits(passes.series, problem, result)
    if robust is not None:
        angles = tuple(
            replace(angle, contrast=float(contrast), offset=float(offset + baseline))
            for angle, contrast, offset, baseline in zip(
                angles, robust.contrast, robust.offset, passes.series.baseline, strict=True
            )
        )
    return Refinement(
        values=problem.vector(x),
        start=problem.start,
        lower=problem.lower,
        upper=problem.upper,
        free=tuple(NAMES[k] for k in problem.free),
        covariance=covariance,
        identified=identified,
        at_bound=bound_flags(x, lower, upper),
        chi_squared=float(problem.sigma**-2.0 @ result.sum_squares),
        n_points=passes.n_points,
        dof=passes.n_points - len(problem.free) - 2 * passes.series.n_phi,
        weighted_by=objective.sigma,
        angles=angles,
        status="converged" if converged else "not_converged",
        message=message,
        method=method.name,
        iterations=iterations,
        evaluations=len(objective.history),
        seconds=objective.seconds,
        passes=passes.count - earlier,
        history=tuple(objective.history),
        worst_case=ending.worst_case,
        outliers=None if robust is None else robust.regions,
    )


def best_of(tried: Sequence[Refinement]) -> Refinement:
    """The fit whose values count, of those that converged, or of all where none did.

    The lowest χ² of the methods that minimise it; of robust methods, which mean something else, the first.
    """
    pool = [one for one in tried if one.status == "converged"] or tried
    classical = [one for one in pool if not one.robust]
    return min(classical, key=lambda one: one.chi_squared) if classical else pool[0]


def residual_rms(result: Projection, n_free: int) -> Array:
    """Root mean square of the residuals per angle, (n_phi,), in units of c2; never exactly 0."""
    dof = np.maximum(result.n_points - 2.0 - n_free / result.n_points.size, 1.0)
    return np.sqrt(np.maximum(result.sum_squares, np.finfo(np.float64).tiny) / dof)


def angle_fits(series: Series, problem: Problem, result: Projection) -> tuple[AngleFit, ...]:
    """Scaling and residuals of each angle."""
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
