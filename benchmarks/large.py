"""Steps of the benchmark of large data: make a store, read it, pass over it, fit it."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
import yaml
from common import Contestant, in_turns, timed
from maps import PARAMETERS, write_tiled_store
from numpy.typing import NDArray
from processes import run_process
from threadpoolctl import threadpool_limits

from hetdask.compilation import KERNELS
from hetdask.data.store import Store
from hetdask.data.tiling import choose_shard_bytes
from hetdask.model import NAMES
from hetdask.passes import Passes, project
from hetdask.passes.run import PassRequest, evaluate, load_shard
from hetdask_cluster.local import open_runner, plan_run
from hetdask_cluster.memory import parse_memory

Q: Final = 0.0054
SECONDS: Final = 100.0
"""Of every series: more frames are shorter ones."""

FREE: Final = tuple(k for k, name in enumerate(NAMES) if name != "f2")
TRUE: Final = np.array(list(PARAMETERS.values()))
WORKERS: Final = 2
BLOCK: Final = 4 * 2**20

START: Final = {
    **{name: 1.02 * PARAMETERS[name] for name in ("D0_ref", "D_offset_ref", "D0_sample", "f0", "f3")},
    **{name: 0.98 * PARAMETERS[name] for name in ("alpha_ref", "alpha_sample", "D_offset_sample", "f1")},
    **{name: 1.002 * PARAMETERS[name] for name in ("v0", "beta", "v_offset")},
    "f2": PARAMETERS["f2"],
    "phi0": PARAMETERS["phi0"] + 0.2,
}
"""Near enough for plain least squares to find the optimum: what is measured is its pace."""


def files_of(store: Store) -> list[Path]:
    """Shards of a store."""
    return [store.path / store.tiling.shard_file(spec) for spec in store.shards()]


def forget(files: Sequence[Path]) -> None:
    """Let the system drop what it keeps of some files."""
    for file in files:
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_file(path: Path) -> None:
    """Read a file to nowhere."""
    buffer = bytearray(BLOCK)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def read_plainly(files: Sequence[Path]) -> None:
    """Read some files, as many at the same time as there are workers."""
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(read_file, files))


def read_over(files: Sequence[Path]) -> Callable[[int], float]:
    """Seconds of plain reading, of files that are not in the cache."""

    def run(_: int) -> float:
        forget(files)
        return timed(lambda: read_plainly(files))

    return run


def vector_of(k: int) -> NDArray[np.float64]:
    """Parameters of the k-th evaluation."""
    return np.asarray(TRUE * (1.0 + 1e-4 * (k % 100)))


def pass_over(passes: Passes, files: Sequence[Path] = ()) -> Callable[[int], float]:
    """Seconds of a pass, with files that are not in the cache if some are given."""

    def run(k: int) -> float:
        forget(files)
        with threadpool_limits(1, user_api="blas"):
            return timed(lambda: project(passes(vector_of(k), FREE)))

    return run


def make(path: Path, angles: int, frames: int, budget: str) -> dict[str, Any]:
    """Make a store as ingest would cut it within the budget."""
    plan = plan_run("local", WORKERS, memory_limit=budget)
    assert plan is not None
    shard_bytes = choose_shard_bytes(angles, frames, plan.task_room)
    with open_runner("local", WORKERS) as runner:
        start = time.perf_counter()
        store = write_tiled_store(path, angles, frames, Q, SECONDS / frames, runner, shard_bytes=shard_bytes)
        seconds = time.perf_counter() - start
        peak = runner.peak_worker()
    return {
        "seconds": seconds,
        "pixels": store.n_points,
        "shards": len(store.shards()),
        "bytes": sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
        "tile_bytes": sum(spec.n_tiles for spec in store.shards()) * store.tiling.tile_bytes,
        "peak_worker": peak,
    }


def stream(store: Store, turns: int) -> dict[str, Any]:
    """Plain reading against a pass that reads, in turns."""
    files = files_of(store)
    with open_runner("local", WORKERS, prepare=KERNELS) as runner:
        passes = Passes(store, runner, resident_bytes=0)
        sides = {"read": Contestant(read_over(files)), "pass": Contestant(pass_over(passes, files))}
        timings = in_turns(sides, turns)
    return {name: list(timing.times) for name, timing in timings.items()}


def stay(store: Store, turns: int) -> dict[str, Any]:
    """Passes over resident data on one and two workers, and in two threads of this process, in turns."""
    shards = [[load_shard(store, spec)] for spec in store.shards()]
    pool = ThreadPoolExecutor(WORKERS)

    def here(k: int) -> float:
        request = PassRequest(tuple(vector_of(k).tolist()), FREE)
        with threadpool_limits(1, user_api="blas"):
            return timed(lambda: list(pool.map(lambda shard: evaluate(shard, request), shards)))

    def alone(k: int) -> float:
        request = PassRequest(tuple(vector_of(k).tolist()), FREE)
        with threadpool_limits(1, user_api="blas"):
            return timed(lambda: [evaluate(shard, request) for shard in shards])

    with (
        pool,
        open_runner("local", 1, prepare=KERNELS) as one,
        open_runner("local", WORKERS, prepare=KERNELS) as two,
    ):
        sides = {
            "1 thread": Contestant(alone, 3),
            "2 threads": Contestant(here, 3),
            "1 worker": Contestant(pass_over(Passes(store, one)), 3),
            "2 workers": Contestant(pass_over(Passes(store, two)), 3),
        }
        timings = in_turns(sides, turns)
    return {name: list(timing.times) for name, timing in timings.items()}


@dataclass(slots=True)
class Workers:
    """Worker processes that a run has started, and files that they have spilled."""

    scratch: Path
    started: set[int] = field(default_factory=set)
    spilled: set[str] = field(default_factory=set)

    def look(self, pid: int) -> None:
        """Look at a run that is going on."""
        with suppress(psutil.Error):
            for child in psutil.Process(pid).children():
                # Until it runs, what a worker forks looks like one.
                if child.pid not in self.started and "spawn_main" in " ".join(child.cmdline()):
                    self.started.add(child.pid)
        self.spilled.update(str(path) for path in self.scratch.glob("**/storage/*"))


def fit(
    store: Store,
    folder: Path,
    limit: str | float,
    start: Mapping[str, float] | None = START,
    fixed: Sequence[str] = (),
    weights: str = "plain",
) -> dict[str, Any]:
    """Fit by the command line, with all its processes watched; from the bounds alone if there are no start values."""
    scratch, run = folder / "dask", folder / "run"
    for old in (scratch, run):
        shutil.rmtree(old, ignore_errors=True)
    scratch.mkdir()
    settings = {
        "data": {"store": str(store.path)},
        "parameters": {name: {"value": value, "fixed": name in fixed} for name, value in (start or {}).items()},
        "fit": {"start": "search" if start is None else "given", "seed": 1, "remember": False, "weights": weights},
    }
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(settings))
    forget(files_of(store))
    command: list[str | Path] = [sys.executable, "-m", "hetdask.cli.main", "fit", config, "-q", "-o", run]
    command += ["--workers", str(WORKERS), "--memory-limit", str(limit)]
    workers = Workers(scratch)
    variables = {"DASK_TEMPORARY_DIRECTORY": str(scratch)}
    done = run_process(command, folder=folder, variables=variables, look=workers.look)
    result = json.loads((run / "result.json").read_text())
    method = result["methods"][result["best_method"]]
    return {
        "budget": parse_memory(limit),
        "status": result["status"],
        "wall": done.wall,
        "cpu": done.cpu,
        "peak": done.peak_bytes,
        "workers_started": len(workers.started),
        "spilled_files": len(workers.spilled),
        "memory": result["memory"],
        "timings": result["timings"],
        "evaluations": method["evaluations"],
        "refine_seconds": method["seconds"],
        "weighting": result["weighting"],
        "chi_squared": result["chi_squared"],
        "values": {name: parameter["value"] for name, parameter in result["parameters"].items()},
        "errors": {name: parameter["stderr"] for name, parameter in result["parameters"].items()},
    }


def one_pass(store: Store, workers: int, resident_bytes: int) -> dict[str, Any]:
    """A single pass at the true parameters: χ² of each angle and its time."""
    with open_runner("local", workers, prepare=KERNELS) as runner:
        passes = Passes(store, runner, resident_bytes=resident_bytes)
        start = time.perf_counter()
        found = project(passes(TRUE, FREE))
        seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "sum_squares": found.sum_squares.tolist(),
        "gradient": found.gradient.sum(axis=0).tolist(),
    }


def difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, float]:
    """Relative difference of χ², and of parameters in units of themselves and of their standard errors."""
    pairs = [(first["values"][name], second["values"][name], second["errors"][name]) for name in first["values"]]
    return {
        "chi_squared": abs(first["chi_squared"] / second["chi_squared"] - 1.0),
        "parameters": max(abs(a / b - 1.0) for a, b, _ in pairs if b),
        "parameters_in_errors": max(abs(a - b) / error for a, b, error in pairs if error),
    }
