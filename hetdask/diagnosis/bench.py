"""Times of a kernel, a pass and a fit on this machine, beside a product of BLAS with the same pixels.

Each is repeated until its times agree (`adaptive_stable_benchmark`), at parameters that change from run to run, so that
nothing can be remembered.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from hetdask.compilation import warmup_numba_kernels
from hetdask.config import DEMO, Settings, load_settings
from hetdask.data.store import Store
from hetdask.data.writers import write_store
from hetdask.diagnosis.environment import machine, versions
from hetdask.fitting import Problem, TrustRegion, fit_store
from hetdask.model import simulate_gaussian
from hetdask.options import problem_of
from hetdask.passes.normal import project
from hetdask.passes.plan import FitPlan
from hetdask.passes.run import Passes, load_shard
from hetdask.passes.shard import evaluate_shard
from hetdask.profiling import AdaptiveBenchmarkResult, adaptive_stable_benchmark
from hetdask_cluster.threads import limited_threads

if TYPE_CHECKING:
    from hetdask_cluster.runner import Runner

SCHEMA: Final = "hetdask.bench/1"

EVALUATIONS: Final = 30
"""Passes that a fit may take: on data of any kind its time is then comparable, whether or not it has converged."""

STEP: Final = 1e-4
"""Relative change of the parameters from run to run."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement.

    Attributes
    ----------
    name : str
    pixels : int
        That one run sums, each pass counted.
    times : AdaptiveBenchmarkResult
        Seconds.
    note : str
        What a reader should know.
    """

    name: str
    pixels: int
    times: AdaptiveBenchmarkResult
    note: str = ""

    @property
    def rate(self) -> float:
        """Pixels per second at the median."""
        return self.pixels / self.times["median"]

    def record(self) -> dict[str, Any]:
        """As plain data."""
        percentiles = {str(percent): seconds for percent, seconds in self.times["percentiles"].items()}
        kept = {**self.times, "percentiles": percentiles}
        return {"pixels": self.pixels, "pixels_per_second": self.rate, "note": self.note, "seconds": kept}


@dataclass(frozen=True, slots=True)
class Patience:
    """When a measurement ends: at `target_cv`, or after `max_runs`."""

    target_cv: float = 0.10
    max_runs: int = 30

    def measure(self, run: Callable[[], object]) -> AdaptiveBenchmarkResult:
        """Times of a function."""
        least = min(5, self.max_runs)
        return adaptive_stable_benchmark(
            run, target_cv=self.target_cv, min_runs=least, max_runs=self.max_runs, warmup_runs=1
        )


@contextmanager
def synthetic_store(maps: int, frames: int) -> Iterator[tuple[Store, Settings]]:
    """A simulated experiment in a temporary folder, and settings that start a fit of it 20 % off.

    Parameters
    ----------
    maps, frames : int
        Maps of frames² pixels, at equally spaced φ.
    """
    settings = load_settings(DEMO)
    plan, rng = settings.experiment(), np.random.default_rng(1)
    phi = np.linspace(0.0, 180.0, maps, endpoint=False)
    # As long as that of the demo, however many frames.
    time, q = np.linspace(0.0, plan.dt * plan.frames, frames, endpoint=False), plan.q[0]
    scaling = {"contrast": plan.contrast, "offset": plan.offset, "sigma": plan.sigma}
    made = (simulate_gaussian(settings.true_values(), time, [angle], q, rng=rng, **scaling)[0] for angle in phi)
    with TemporaryDirectory(prefix="hetdask-bench-") as folder:
        yield write_store(Path(folder) / "data.zarr", made, phi, q, float(time[1])), settings


def measure(
    store: Store, settings: Settings, runner: Runner, patience: Patience, on_part: Callable[[str], None]
) -> Iterator[Figure]:
    """Measure BLAS, kernels, passes and a fit.

    Parameters
    ----------
    store : Store
    settings : Settings
        Start values and bounds.
    runner : Runner
        Of passes and fit; kernels and BLAS run in this process, on one thread unless others are exported.
    patience : Patience
    on_part : callable
        Told what is measured next.

    Raises
    ------
    ClusterError
        If the store does not fit into the memory of the runner.
    """
    problem = problem_of(settings, store)
    plan = FitPlan(store.tiling, runner.plan, limit=settings.compute.resident_limit)
    plan.require()
    on_part("kernels")
    warmup_numba_kernels()
    with limited_threads():
        yield from _in_process(store, problem, patience)
        on_part("passes")
        passes = Passes(store, runner, resident_bytes=plan.resident_bytes)
        vectors = _vectors(problem)
        times = patience.measure(lambda: project(passes(next(vectors), problem.free)))
        kept = (
            "" if plan.resident == len(plan.shards()) else f"{plan.resident} of {len(plan.shards())} shards in memory"
        )
        yield Figure("pass", passes.n_points, times, kept)
        on_part("a fit")
        yield _fit(passes, problem, patience)


def _in_process(store: Store, problem: Problem, patience: Patience) -> Iterator[Figure]:
    """BLAS and the kernels on the first shard."""
    spec = store.shards()[0]
    tiles = list(store.iter_shard(spec))
    values = np.concatenate([np.asarray(tile, dtype=np.float32).reshape(-1) for *_, tile in tiles])
    matrix = values[: values.size // store.tile * store.tile].reshape(-1, store.tile)
    vector, out = np.ones(store.tile, dtype=np.float32), np.empty(len(matrix), dtype=np.float32)
    times = patience.measure(lambda: np.matmul(matrix, vector, out=out))
    yield Figure("BLAS", matrix.size, times, "product of that shard with a vector, to compare with")
    pairs = sum(_pairs(store, row, column) for _, row, column, _ in tiles)
    shard, vectors = load_shard(store, spec), _vectors(problem)

    def run(free: tuple[int, ...]) -> None:
        evaluate_shard(shard, next(vectors), free)

    yield Figure("kernel, value", pairs, patience.measure(partial(run, ())), "one shard, in memory")
    yield Figure("kernel, derivatives", pairs, patience.measure(partial(run, problem.free)), "the same shard")


def _pairs(store: Store, row: int, column: int) -> int:
    """Pairs of frames in a tile, without the padding at the end of the series."""
    rows, columns = (min(store.tile, store.n_frames - place * store.tile) for place in (row, column))
    return rows * (rows - 1) // 2 if row == column else rows * columns


def _vectors(problem: Problem) -> Iterator[NDArray[np.float64]]:
    """Parameters (14,), others each time."""
    for k in count():
        yield np.clip(problem.start * (1.0 + STEP * (k % 100)), problem.lower, problem.upper)


def _fit(passes: Passes, problem: Problem, patience: Patience) -> Figure:
    method = TrustRegion(max_evaluations=EVALUATIONS)

    def run() -> str:
        return fit_store(passes, problem, [method], rounds=1)[0].status

    before = passes.count
    status = run()
    each = passes.count - before
    note = f"{each} passes, {'converged' if status == 'converged' else f'stopped after {EVALUATIONS} evaluations'}"
    return Figure("fit", each * passes.n_points, patience.measure(run), note)


def record(store: Store, runner: Runner, figures: list[Figure], *, synthetic: bool) -> dict[str, Any]:
    """What goes into the file: machine, versions, what was measured, figures."""
    return {
        "schema": SCHEMA,
        "recorded": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "versions": versions(),
        "settings": {
            "store": "synthetic" if synthetic else store.path.name,
            "maps": store.n_phi,
            "frames": store.n_frames,
            "pixels": int(store.n_points),
            "workers": runner.describe()["workers"],
        },
        "figures": {figure.name: figure.record() for figure in figures},
    }
