"""χ² of the free parameters, as the solvers see it, with a record of every evaluation."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hetdask.fitting.checkpoint import Checkpoint
from hetdask.fitting.normal_problem import small_problem
from hetdask.fitting.problem import Problem
from hetdask.model.parameters import NAMES
from hetdask.passes.normal import NormalSums, Projection, project
from hetdask.passes.tiles import Series

Array = NDArray[np.float64]
type _Point = tuple[bytes, Projection]


class DataPasses(Protocol):
    """What a fit needs of its data: `hetdask.passes.Passes` at full resolution, or the like on reduced data."""

    @property
    def series(self) -> Series:
        """Angles, times and baselines."""

    @property
    def n_points(self) -> int:
        """Pixels in one pass."""

    @property
    def count(self) -> int:
        """Passes so far."""

    @property
    def pixels_per_second(self) -> float:
        """Rate of the last pass."""

    def __call__(self, vector: Array, free: tuple[int, ...], /) -> NormalSums:
        """Sums at `vector` (14,), with derivatives for the parameters `free`."""


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One evaluation of a fit: χ² in units of sigma², all 14 values, seconds since the method began."""

    method: str
    iteration: int
    evaluation: int
    round: int
    chi_squared: float
    values: dict[str, float]
    seconds: float
    pixels_per_second: float
    improved: bool


class Objective:
    """χ² of the free parameters, with a record of every evaluation.

    Parameters
    ----------
    passes : DataPasses
    problem : Problem
    method : str
        Name for the history.
    derivatives : bool
        Whether the method asks for `small_problem`; without it the passes yield values only.
    checkpoint : Checkpoint
    on_entry : callable, optional
        Called with a `HistoryEntry` after each evaluation.

    Attributes
    ----------
    history : list of HistoryEntry
    sigma : (n_phi,) float64
        Present weight of the angles.
    """

    def __init__(
        self,
        passes: DataPasses,
        problem: Problem,
        method: str,
        *,
        derivatives: bool,
        checkpoint: Checkpoint,
        on_entry: Callable[[HistoryEntry], None] | None = None,
    ) -> None:
        self.history: list[HistoryEntry] = []
        self.sigma = problem.sigma
        self._passes = passes
        self._problem = problem
        self._method = method
        self._free = problem.free if derivatives else ()
        self._checkpoint = checkpoint
        self._on_entry = on_entry
        self._began = time.perf_counter()
        self._round = 0
        self._iteration = 0
        self._best = np.inf
        self._last_point: _Point | None = None
        self._best_point: _Point | None = None
        self._small: tuple[bytes, tuple[Array, Array]] | None = None

    @property
    def seconds(self) -> float:
        """Time since this was made."""
        return time.perf_counter() - self._began

    def begin_round(self, sigma: Array) -> None:
        """Weight the angles with `sigma` (n_phi,) from now on."""
        self._round += 1
        self.sigma = sigma
        self._best = np.inf
        self._last_point = self._best_point = self._small = None

    def evaluate(self, x: Array) -> Projection:
        """Sums at the free parameters `x` (p,); the last and the best point of a round are remembered."""
        key = np.asarray(x, dtype=np.float64).tobytes()
        for point in (self._last_point, self._best_point):
            if point is not None and point[0] == key:
                return point[1]
        vector = self._problem.vector(x)
        result = self._checkpoint.recall(vector)
        if result is None:
            result = project(self._passes(vector, self._free))
            self._checkpoint.record(vector, result)
        self._last_point = (key, result)
        self._enter(vector, result)
        return result

    def chi_squared(self, x: Array) -> float:
        """χ² at `x` (p,) with the present weights."""
        return float(self.sigma**-2.0 @ self.evaluate(x).sum_squares)

    def small_problem(self, x: Array) -> tuple[Array, Array]:
        """Residuals (p + 1,) and Jacobian (p + 1, p) that stand for all residuals at `x` (p,); built once for each."""
        key = np.asarray(x, dtype=np.float64).tobytes()
        if self._small is None or self._small[0] != key:
            self._small = (key, small_problem(*self.evaluate(x).weighted(self.sigma)))
        return self._small[1]

    def _enter(self, vector: Array, result: Projection) -> None:
        weighted = float(self.sigma**-2.0 @ result.sum_squares)
        improved = weighted < self._best
        if improved:
            self._best, self._best_point = weighted, self._last_point
            self._iteration += 1
        entry = HistoryEntry(
            method=self._method,
            iteration=self._iteration,
            evaluation=len(self.history) + 1,
            round=self._round,
            chi_squared=float(self._problem.sigma**-2.0 @ result.sum_squares),
            values=dict(zip(NAMES, vector.tolist(), strict=True)),
            seconds=self.seconds,
            pixels_per_second=self._passes.pixels_per_second,
            improved=improved,
        )
        self.history.append(entry)
        if self._on_entry is not None:
            self._on_entry(entry)
