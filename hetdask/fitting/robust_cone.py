"""One linearised min-max problem as a cone program, solved by Clarabel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import clarabel
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix, diags_array

Array = NDArray[np.float64]

GOOD: Final = frozenset({"Solved", "AlmostSolved"})
ACCURACY: Final = 1e-12
"""Gap and feasibility that the solver aims at; when rounding stops it before, "AlmostSolved" comes within 1e-8."""


@dataclass(frozen=True, slots=True)
class Penalty:
    """What a robust method adds to the worst root mean square: a convex function of the way from the anchor.

    Attributes
    ----------
    euclidean : float
        Times √(1 + ‖y‖²).
    absolute : float
        Times 1 + ‖y‖₁.
    alpha, beta : float
        Times ‖y‖², times ‖y‖₁.
    """

    euclidean: float = 0.0
    absolute: float = 0.0
    alpha: float = 0.0
    beta: float = 0.0

    def value(self, y: Array) -> float:
        """The penalty at `y` (p,)."""
        squares, size = float(y @ y), float(np.abs(y).sum())
        return (
            self.euclidean * float(np.sqrt(1.0 + squares))
            + self.absolute * (1.0 + size)
            + self.alpha * squares
            + self.beta * size
        )


def solve_min_max(
    problems: Sequence[tuple[Array, Array]], penalty: Penalty, y: Array, lower: Array, upper: Array
) -> tuple[Array, float, str]:
    """Step that minimises max_k ‖r_k + J_k d‖ + penalty(y + d) within bounds.

    Parameters
    ----------
    problems : sequence of ((n,) float64, (n, p) float64)
        Residuals r_k and Jacobians J_k.
    penalty : Penalty
    y : (p,) float64
        Where the step begins.
    lower, upper : (p,) float64
        Bounds of the step, lower <= 0 <= upper.

    Returns
    -------
    step : (p,) float64
    value : float
        Of the problem at the step.
    status : str
        The solver's; see `GOOD`.
    """
    p = y.size
    radius = penalty.euclidean > 0.0
    absolute = penalty.absolute + penalty.beta
    sizes = absolute > 0.0
    # Variables: d, t (the largest norm), s (√(1 + ‖y + d‖²)), u (|y + d|).
    n = p + 1 + radius + p * sizes
    cost = np.zeros(n)
    cost[p] = 1.0
    blocks: list[tuple[Array, Array]] = []
    cones = []
    box = np.zeros((2 * p, n))
    box[:p, :p], box[p:, :p] = np.eye(p), -np.eye(p)
    blocks.append((box, np.concatenate([upper, -lower])))
    if sizes:
        cost[n - p :] = absolute
        bound = np.zeros((2 * p, n))
        bound[:p, :p], bound[p:, :p] = np.eye(p), -np.eye(p)
        bound[:p, n - p :] = bound[p:, n - p :] = -np.eye(p)
        blocks.append((bound, np.concatenate([-y, y])))
    cones.append(clarabel.NonnegativeConeT(sum(right.size for _, right in blocks)))
    for residual, jacobian in problems:
        rows = np.zeros((residual.size + 1, n))
        rows[0, p] = -1.0
        rows[1:, :p] = -jacobian
        blocks.append((rows, np.concatenate([[0.0], residual])))
        cones.append(clarabel.SecondOrderConeT(residual.size + 1))
    if radius:
        cost[p + 1] = penalty.euclidean
        rows = np.zeros((p + 2, n))
        rows[0, p + 1] = -1.0
        rows[2:, :p] = -np.eye(p)
        blocks.append((rows, np.concatenate([[0.0, 1.0], y])))
        cones.append(clarabel.SecondOrderConeT(p + 2))
    curvature = np.zeros(n)
    curvature[:p] = 2.0 * penalty.alpha
    cost[:p] += 2.0 * penalty.alpha * y
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = ACCURACY
    solver = clarabel.DefaultSolver(
        csc_matrix(diags_array(curvature)),
        cost,
        csc_matrix(np.vstack([rows for rows, _ in blocks])),
        np.concatenate([right for _, right in blocks]),
        cones,
        settings,
    )
    solution = solver.solve()
    step = np.clip(np.asarray(solution.x)[:p], lower, upper)
    return step, worst(problems, step) + penalty.value(y + step), str(solution.status)


def worst(problems: Sequence[tuple[Array, Array]], step: Array) -> float:
    """Largest norm max_k ‖r_k + J_k d‖ after a step (p,)."""
    return max(float(np.linalg.norm(residual + jacobian @ step)) for residual, jacobian in problems)
