"""The classical methods by name, each with its options.

`TrustRegion` takes Gauss-Newton steps from exact derivatives: tens of passes to the optimum. `NelderMead` compares
values only and so needs thousands, but no derivatives: an independent check of the answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, least_squares, minimize

from hetdask.fitting.objective import Objective
from hetdask.fitting.outliers import Region

Array = NDArray[np.float64]

LIMIT_REACHED: Final = "stopped at the limit of evaluations ({}) before the tolerance was met"

TRUST_REGION_ENDINGS: Final = {
    0: LIMIT_REACHED.format("fit.max_evaluations"),
    1: "the gradient vanishes within the tolerance",
    2: "chi-squared no longer changes within the tolerance",
    3: "the parameters no longer change within the tolerance",
    4: "neither chi-squared nor the parameters change within the tolerance",
}
"""What scipy's trust-region solver says by number."""

NELDER_MEAD_ENDINGS: Final = {
    0: "chi-squared differs by less than the tolerance over the whole simplex",
    1: LIMIT_REACHED.format("fit.nelder_mead.max_evaluations"),
}
"""What scipy's Nelder-Mead solver says by number."""

SIMPLEX_SHARE: Final = 0.1
"""First step of each parameter, relative to its value."""

SIMPLEX_END: Final = 1e-2
"""A simplex may end when it has shrunk to this share of its first size; how near χ² must agree decides the rest."""

SIMPLEX_FLOOR: Final = 1e-3
"""Smallest first step relative to the width of the bounds, for parameters to which zero is a value like any other."""


@dataclass(frozen=True, slots=True, eq=False)
class Outliers:
    """What a loss that resists outliers makes of the data.

    Attributes
    ----------
    contrast, offset, scale : (n_phi,) float64
        Scaling of each angle and scale of its residuals, in units of c2; the offset is relative to the baseline.
    precision : (p, p) float64
        Inverse of the covariance of the parameters, for independent noise.
    regions : tuple of Region
        Parts of the maps that had little weight.
    """

    contrast: Array
    offset: Array
    scale: Array
    precision: Array
    regions: tuple[Region, ...]


@dataclass(frozen=True, slots=True)
class Ending:
    """Where a solver stopped.

    Attributes
    ----------
    x : (p,) float64
    converged : bool
        Whether its tolerance was met.
    message : str
        Why it stopped.
    iterations : int
        Steps that were taken.
    worst_case : float, optional
        Value of a min-max problem, see `hetdask.fitting.robust`.
    outliers : Outliers, optional
        From a loss that resists them.
    """

    x: Array
    converged: bool
    message: str
    iterations: int
    worst_case: float | None = None
    outliers: Outliers | None = None


class Method(Protocol):
    """A local method that starts at given values and stays within bounds."""

    name: ClassVar[str]
    derivatives: ClassVar[bool]

    def solve(self, objective: Objective, start: Array, lower: Array, upper: Array) -> Ending:
        """Minimise the objective from `start` (p,) within bounds (p,), for its present weights."""


@dataclass(frozen=True, slots=True)
class TrustRegion:
    """Bounded trust region on the small problem, with exact derivatives.

    Attributes
    ----------
    max_evaluations : int
        Passes allowed in each round.
    tolerance : float
        Relative change of χ² and of the parameters, and size of the scaled gradient, at which a round ends.
    """

    name: ClassVar[str] = "trust-region"
    derivatives: ClassVar[bool] = True
    max_evaluations: int = 200
    tolerance: float = 1e-8

    def solve(self, objective: Objective, start: Array, lower: Array, upper: Array) -> Ending:
        """Minimise the objective from `start` (p,) within bounds (p,), for its present weights."""
        solution = least_squares(
            lambda x: objective.small_problem(x)[0],
            start,
            jac=lambda x: objective.small_problem(x)[1],
            bounds=(lower, upper),
            x_scale="jac",
            method="trf",
            ftol=self.tolerance,
            xtol=self.tolerance,
            gtol=self.tolerance,
            max_nfev=self.max_evaluations,
        )
        status = int(solution.status)
        return Ending(np.asarray(solution.x), status > 0, TRUST_REGION_ENDINGS[status], int(solution.njev))


@dataclass(frozen=True, slots=True)
class NelderMead:
    """Simplex of Nelder and Mead, on values alone.

    Attributes
    ----------
    max_evaluations : int
        Passes allowed in each round.
    tolerance : float
        Relative difference of χ² over the simplex at which a round ends.
    adaptive : bool
        Reflect and contract according to the number of parameters, which helps when there are many
        (doi:10.1007/s10589-010-9329-3).
    """

    name: ClassVar[str] = "nelder-mead"
    derivatives: ClassVar[bool] = False
    max_evaluations: int = 10_000
    tolerance: float = 1e-8
    adaptive: bool = True

    def solve(self, objective: Objective, start: Array, lower: Array, upper: Array) -> Ending:
        """Minimise the objective from `start` (p,) within bounds (p,), for its present weights."""
        steps = first_steps(start, lower, upper)

        def point(scaled: Array) -> Array:
            return np.clip(start + steps * scaled, lower, upper)

        # The simplex compares values only, so the logarithm changes no step and makes the tolerance a relative one.
        def level(scaled: Array) -> float:
            return float(np.log(max(objective.chi_squared(point(scaled)), np.finfo(np.float64).tiny)))

        edges = np.sort([(lower - start) / steps, (upper - start) / steps], axis=0)
        origin = np.zeros(start.size)
        solution = minimize(
            level,
            origin,
            method="Nelder-Mead",
            bounds=Bounds(*edges),
            options={
                "initial_simplex": np.vstack([origin, np.eye(start.size)]),
                "maxfev": self.max_evaluations,
                "fatol": self.tolerance,
                "xatol": SIMPLEX_END,
                "adaptive": self.adaptive,
            },
        )
        status = int(solution.status)
        return Ending(point(solution.x), status == 0, NELDER_MEAD_ENDINGS[status], int(solution.nit))


def first_steps(start: Array, lower: Array, upper: Array) -> Array:
    """Signed edges (p,) of a first simplex at `start` (p,) that stays within bounds (p,).

    A share of each value. Where zero is a value like any other (an exponent, an offset, an angle), or the value is
    zero, at least a small share of the width of the bounds.
    """
    width = upper - lower
    floor = np.where(((lower < 0.0) & (upper > 0.0)) | (start == 0.0), SIMPLEX_FLOOR * width, 0.0)
    steps = np.minimum(np.maximum(SIMPLEX_SHARE * np.abs(start), floor), 0.5 * width)
    return np.where(start + steps > upper, -steps, steps)
