"""χ² of the free parameters, as the solvers see it, with a record of every evaluation."""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hetdask.errors import FitError
from hetdask.fitting.checkpoint import Checkpoint
from hetdask.fitting.normal_problem import iid_covariance, small_problem
from hetdask.fitting.problem import Problem
from hetdask.model.parameters import NAMES
from hetdask.passes.normal import NormalSums, Projection, project
from hetdask.passes.run import Passes
from hetdask.passes.tiles import Series
from hetdask.passes.weighted import LossSums, Weighting

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
    """One evaluation of a fit: χ² in units of sigma², all 14 values, seconds since the method began.

    `errors` are standard errors of the free parameters if pixels were independent, without those that the data do not
    determine, and none for methods without derivatives; `angles` is χ² over the number of pixels of each angle.
    """

    method: str
    iteration: int
    evaluation: int
    round: int
    chi_squared: float
    values: dict[str, float]
    seconds: float
    pixels_per_second: float
    improved: bool
    errors: dict[str, float] = field(default_factory=dict)
    angles: tuple[float, ...] = ()


def projection_shapes(n_phi: int, n_free: int) -> list[tuple[int, ...]]:
    """Shapes of the arrays of a `Projection`."""
    return [(n_phi,)] * 4 + [(n_phi, n_free), (n_phi, n_free, n_free)]


def arrays_of(result: Projection) -> list[Array]:
    """Arrays of a `Projection`, in their order."""
    return [getattr(result, entry.name) for entry in fields(result)]


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
    anchor : (p,) float64
        Start values of the problem, whatever the round.
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
        self.anchor = problem.start[list(problem.free)]
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
    def n_frames(self) -> int:
        """Frames of the series."""
        return int(self._passes.series.time.size)

    @property
    def block(self) -> int:
        """Frames in a block of the passes."""
        return self._passes.series.block

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
        shapes = projection_shapes(self._passes.series.n_phi, len(self._free))
        result = Projection(
            *self._recorded(vector, shapes, lambda: arrays_of(project(self._passes(vector, self._free))))
        )
        self._last_point = (key, result)
        self._enter(vector, result)
        return result

    def weighted(self, x: Array, weighting: Weighting) -> LossSums:
        """Sums with pixel weights at the free parameters `x` (p,), without those by frames and tiles.

        Raises
        ------
        FitError
            If the data have no pixels.
        """
        passes = self._full()
        vector = self._problem.vector(x)
        code = zlib.crc32(repr((weighting.loss, weighting.left_out)).encode())
        key = np.concatenate([vector, weighting.contrast, weighting.offset, weighting.scale, [code]])
        none = LossSums.zeros(passes.series.n_phi, len(self._free), 0, 0)
        names = [entry.name for entry in fields(none)]
        shapes = [getattr(none, name).shape for name in names]

        def evaluate() -> list[Array]:
            found = passes.weighted(vector, self._free, weighting)
            return [
                getattr(found, name)[tuple(slice(n) for n in shape)] for name, shape in zip(names, shapes, strict=True)
            ]

        sums = LossSums(*self._recorded(key, shapes, evaluate))
        self._enter(vector, project(NormalSums(sums.plain)))
        return sums

    def places(self, x: Array, weighting: Weighting) -> LossSums:
        """The same with the sums by frames and tiles; in one more pass, which is not recorded."""
        return self._full().weighted(self._problem.vector(x), (), weighting)

    def resampled(self, x: Array, edges: tuple[int, ...], weights: Array) -> tuple[Projection, ...]:
        """Sums at `x` (p,) for each of K resamplings of the time segments between `edges`.

        Parameters
        ----------
        x : (p,) float64
        edges : tuple of B + 1 int
        weights : (K, B, B) float64
            Of the pixels between each pair of segments.

        Raises
        ------
        FitError
            If the data have no pixels.
        """
        passes, count = self._full(), weights.shape[0] + 1
        vector = self._problem.vector(x)
        key = np.concatenate([vector, edges, weights.ravel()])
        n_phi = passes.series.n_phi
        shapes = [(count, *shape) for shape in projection_shapes(n_phi, len(self._free))]

        def evaluate() -> list[Array]:
            segments = passes.by_segments(vector, self._free, edges)
            sums = [segments.total(), *(segments.resampled(weight) for weight in weights)]
            return [np.stack(arrays) for arrays in zip(*(arrays_of(project(one)) for one in sums), strict=True)]

        every = [Projection(*arrays) for arrays in zip(*self._recorded(key, shapes, evaluate), strict=True)]
        self._enter(vector, every[0])
        return tuple(every[1:])

    def _full(self) -> Passes:
        if not isinstance(self._passes, Passes):
            raise FitError(f"{self._method} weights pixels: it needs the data at full resolution, not reduced data")
        return self._passes

    def _recorded(
        self, key: Array, shapes: Sequence[tuple[int, ...]], evaluate: Callable[[], Sequence[Array]]
    ) -> list[Array]:
        """Arrays as recorded for a key, or as evaluated now."""
        values = self._checkpoint.recall(key)
        if values is None:
            values = np.concatenate([array.ravel() for array in evaluate()])
            self._checkpoint.record(key, values)
        ends = np.cumsum([math.prod(shape) for shape in shapes])
        return [part.reshape(shape) for part, shape in zip(np.split(values, ends[:-1]), shapes, strict=True)]

    def chi_squared(self, x: Array) -> float:
        """χ² at `x` (p,) with the present weights."""
        return float(self.sigma**-2.0 @ self.evaluate(x).sum_squares)

    def small_problem(self, x: Array) -> tuple[Array, Array]:
        """Residuals (p + 1,) and Jacobian (p + 1, p) that stand for all residuals at `x` (p,); built once for each."""
        key = np.asarray(x, dtype=np.float64).tobytes()
        if self._small is None or self._small[0] != key:
            self._small = (key, small_problem(*self.evaluate(x).weighted(self.sigma)))
        return self._small[1]

    def _errors(self, result: Projection) -> dict[str, float]:
        if not self._free:
            return {}
        variance = np.diagonal(iid_covariance(result.weighted(self.sigma)[2])[0])
        return {
            NAMES[k]: math.sqrt(value) for k, value in zip(self._free, variance.tolist(), strict=True) if value > 0.0
        }

    def _enter(self, vector: Array, result: Projection) -> None:
        sum_squares = result.sum_squares
        weighted = float(self.sigma**-2.0 @ sum_squares)
        improved = weighted < self._best
        if improved:
            self._best, self._best_point = weighted, self._last_point
            self._iteration += 1
        entry = HistoryEntry(
            method=self._method,
            iteration=self._iteration,
            evaluation=len(self.history) + 1,
            round=self._round,
            chi_squared=float(self._problem.sigma**-2.0 @ sum_squares),
            values=dict(zip(NAMES, vector.tolist(), strict=True)),
            seconds=self.seconds,
            pixels_per_second=self._passes.pixels_per_second,
            improved=improved,
            errors=self._errors(result),
            angles=tuple((self._problem.sigma**-2.0 * sum_squares / np.maximum(result.n_points, 1.0)).tolist()),
        )
        self.history.append(entry)
        if self._on_entry is not None:
            self._on_entry(entry)
