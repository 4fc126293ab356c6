"""The scheduler's share of a pass: real tasks and results through a real scheduler, with workers that compute nothing.

    python benchmarks/many_workers.py

A task answers with what the sums of so many angles weigh, at once or after a pause. Scheduler, client and workers are
processes of their own; many workers share one. CPU times of the processes tell what a task costs each of them,
whatever else the machine does. From the smaller numbers of workers follows what the largest should cost: the check of
the model, which then says where the time of a fit of 18 scans of 300 maps on 1000 workers goes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import dask
import numpy as np
import psutil
from common import (
    RESULTS,
    Ratio,
    Timing,
    duration,
    keep_case,
    kept_cases,
    parse_arguments,
    show,
    show_ratios,
    significant,
    write_result,
)
from numpy.typing import NDArray

from hetdask.data.tiling import Tiling, choose_shard_bytes
from hetdask.diagnosis.environment import machine, versions
from hetdask.model import NAMES
from hetdask.passes.plan import RESIDENT_UNIT, FitPlan, held_bytes, units
from hetdask.passes.run import PassRequest
from hetdask_cluster.dask_runner import DaskRunner
from hetdask_cluster.memory import plan_cluster
from hetdask_cluster.settings import SETTINGS

PARAMETERS: Final = 13
HOSTS: Final = 2
"""Processes that the workers share."""

SCANS: Final = 18
ANGLES: Final = 300
FRAMES: Final = 4800
TARGET: Final = 1000
"""Workers of the fit that is foretold."""

CORES: Final = 40
"""Of a node."""

PASSES: Final = 40
"""Of a fit: evaluations at full resolution, errors and residuals."""

START_SECONDS: Final = 120.0


def answer(item: int, request: PassRequest, angles: int, pause: float) -> dict[int, NDArray[np.float64]]:
    """Task: sums of some angles, all zero."""
    time.sleep(pause)
    size = len(request.free) + 3
    return {item * angles + k: np.zeros((size, size)) for k in range(angles)}


async def host(scheduler: str, count: int) -> None:
    """Workers of one process, until the scheduler has gone."""
    from distributed import Worker

    workers = [Worker(scheduler, nthreads=1, dashboard_address=None) for _ in range(count)]
    await asyncio.gather(*workers)
    await asyncio.gather(*(worker.finished() for worker in workers))


@dataclass(frozen=True, slots=True)
class Cluster:
    """Processes of a cluster, and the address of its scheduler."""

    address: str
    scheduler: psutil.Process
    hosts: tuple[psutil.Process, ...]

    def cpu(self) -> tuple[float, float, float]:
        """CPU time so far, s: scheduler, this process, all workers."""
        return seconds_of(self.scheduler), seconds_of(psutil.Process()), sum(seconds_of(one) for one in self.hosts)

    def carried(self) -> int:
        """Bytes that the scheduler's connections have carried so far, both ways."""
        port = self.address.rpartition(":")[2]
        said = subprocess.run(
            ["ss", "-tinH", f"sport = :{port}"], capture_output=True, text=True, check=True, timeout=30
        ).stdout
        return sum(int(size) for size in re.findall(r"bytes_(?:acked|received):(\d+)", said))


def seconds_of(process: psutil.Process) -> float:
    """CPU time of a process, s."""
    times = process.cpu_times()
    return float(times.user + times.system)


@contextmanager
def cluster(workers: int) -> Iterator[Cluster]:
    """Scheduler and workers as processes of their own."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        file = folder / "scheduler.json"
        quiet: dict[str, Any] = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

        def start(*command: object) -> psutil.Process:
            words = [sys.executable, *(str(word) for word in command)]
            process = stack.enter_context(subprocess.Popen(words, **quiet))
            stack.callback(process.kill)
            return psutil.Process(process.pid)

        listening = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", file)
        scheduler = start("-m", "dask", "scheduler", *listening)
        deadline = time.monotonic() + START_SECONDS
        while not file.exists():
            if time.monotonic() > deadline:
                raise TimeoutError("the scheduler did not start")
            time.sleep(0.1)
        time.sleep(0.1)
        address = str(json.loads(file.read_text())["address"])
        counts = [len(part) for part in np.array_split(np.arange(workers), HOSTS)]
        hosts = tuple(start(Path(__file__).absolute(), "--host", address, "--workers", count) for count in counts)
        yield Cluster(address, scheduler, hosts)


def measure(workers: int, angles: int, pause: float, passes: int) -> dict[str, float]:
    """What a pass of one task for each worker takes, and a task costs each party."""
    from distributed import Client

    request = PassRequest((1.0,) * len(NAMES), tuple(range(PARAMETERS)))
    with cluster(workers) as found, Client(found.address, timeout=START_SECONDS) as client:
        client.wait_for_workers(workers, timeout=START_SECONDS)
        runner = DaskRunner(client, plan_cluster(None, [2**30] * workers))
        items = list(range(workers))
        for _ in range(3):
            runner.map(answer, items, request, angles, pause)
        cpu, carried, start = found.cpu(), found.carried(), time.perf_counter()
        times = []
        for _ in range(passes):
            begun = time.perf_counter()
            runner.map(answer, items, request, angles, pause)
            times.append(time.perf_counter() - begun)
        wall = time.perf_counter() - start
        spent = np.array(found.cpu()) - np.array(cpu)
        carried = found.carried() - carried
    tasks = workers * passes
    scheduler, client_seconds, hosts = (spent / tasks).tolist()
    return {
        "workers": workers,
        "pause": pause,
        "pass": Timing(tuple(times)).median,
        "tasks_per_second": tasks / wall,
        "scheduler_cpu_per_task": scheduler,
        "client_cpu_per_task": client_seconds,
        "worker_cpu_per_task": hosts,
        "scheduler_bytes_per_task": carried / tasks,
    }


def line(cases: Sequence[dict[str, float]], key: str) -> tuple[float, float]:
    """What a pass costs by itself and for each task, s: a line through some cases, each to the same relative error."""
    workers = np.array([case["workers"] for case in cases])
    cost = np.array([case[key] * case["workers"] for case in cases])
    design = np.stack([np.ones(workers.size), workers], axis=1) / cost[:, None]
    (fixed, each), *_ = np.linalg.lstsq(design, np.ones(workers.size))
    return float(fixed), float(each)


def forecast(scheduler: tuple[float, float], client: tuple[float, float], task_bytes: float) -> dict[str, Any]:
    """Where the time of a fit of `SCANS` scans on `TARGET` workers goes, from what a worker does here."""
    record = json.loads((RESULTS / "scale.json").read_text())["figures"][f"30x{FRAMES}"]
    rate = record["resident_pass"]["1 worker"]["pixels_per_second"]
    made = Tiling.plan(SCANS * ANGLES, FRAMES, shard_bytes=choose_shard_bytes(SCANS * ANGLES, FRAMES))
    shards = FitPlan(made, None).shards()
    tasks = units(shards, made, TARGET, RESIDENT_UNIT)
    pixels = SCANS * ANGLES * FRAMES * (FRAMES - 1) // 2
    largest = max(sum(spec.n_tiles for spec in unit) for unit in tasks) / sum(spec.n_tiles for spec in shards)
    computing = largest * pixels / rate

    def foretold(count: int) -> dict[str, float]:
        """A pass of so many tasks; they carry the same sums."""
        parties = {
            "computing": computing,
            "scheduler": scheduler[0] + scheduler[1] * count,
            "client": client[0] + client[1] * count,
        }
        # Tasks of the first workers are done while those of the last are still being sent.
        return {"tasks": count, **parties, "scheduler_bytes": task_bytes * len(tasks), "seconds": max(parties.values())}

    def rounded(one: dict[str, float]) -> dict[str, float]:
        return {key: significant(value) for key, value in one.items()}

    passing, by_node = foretold(len(tasks)), foretold(TARGET // CORES)
    return {
        "maps": SCANS * ANGLES,
        "pixels": pixels,
        "shards": len(shards),
        "stored_bytes_per_worker": record["store_bytes"] / record["pixels"] * pixels / TARGET,
        "resident_bytes_per_worker": largest * sum(held_bytes(spec, made.tile) for spec in shards),
        "pass": rounded(passing),
        "pass_with_a_task_for_each_node": rounded(by_node),
        "passes_of_a_fit": PASSES,
        "fit_seconds": significant(PASSES * passing["seconds"]),
        "fit_seconds_with_a_task_for_each_node": significant(PASSES * by_node["seconds"]),
    }


def draw(
    cases: Sequence[dict[str, float]], models: dict[str, tuple[float, float]], computing: float, path: Path
) -> None:
    """CPU time of a pass at scheduler and client, as measured and as foretold, and what a worker of many computes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    workers = np.array([case["workers"] for case in cases])
    foretold = np.geomspace(workers[0], TARGET, 50)
    for (key, (fixed, each)), colour in zip(models.items(), ("#0072b2", "#e69f00"), strict=True):
        name = key.partition("_")[0]
        axes.plot(
            workers, [case[key] * case["workers"] for case in cases], "o", color=colour, label=f"{name}, measured"
        )
        axes.plot(foretold, fixed + each * foretold, color=colour, lw=1.0, label=f"{name}, model")
    axes.plot(
        foretold, computing * TARGET / foretold, color="#555555", ls="--", label=f"computing, {SCANS} scans, model"
    )
    axes.set(xscale="log", yscale="log", xlabel="workers, a task for each", ylabel="time of a pass (s)")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=130)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--numbers", nargs="+", type=int, default=[4, 8, 16, 32, 64, 128], help="of workers")
    parser.add_argument("--angles", type=int, default=6, help="whose sums a task answers with")
    parser.add_argument("--passes", type=int, default=10)
    parser.add_argument("--figure", type=Path, help="draw the model to this file")
    parser.add_argument("--cases", type=Path, help="file that keeps what was measured: another run goes on from there")


def main() -> None:
    """Measure and record."""
    options = parse_arguments(__doc__, arguments)
    before = machine()
    known = {case["workers"]: case for case in kept_cases(options.cases)}
    for workers in options.numbers:
        if workers not in known:
            known[workers] = measure(workers, options.angles, 0.0, options.passes)
            keep_case(options.cases, known[workers])
    cases = [known[workers] for workers in options.numbers]
    largest = cases[-1]
    keys = ("scheduler_cpu_per_task", "client_cpu_per_task")
    models = {key: line(cases[:-1], key) for key in keys}
    ratios = {}
    for key, (fixed, each) in models.items():
        foretold = fixed / largest["workers"] + each
        name = f"{key.partition('_')[0]} at {largest['workers']} workers"
        ratios[name] = Ratio(foretold / largest[key], "CPU time measured")
    columns = ("workers", "pass", "tasks/s", "scheduler/task", "client/task", "worker/task", "bytes/task")
    rows = [
        (
            f"{case['workers']:.0f}",
            duration(case["pass"]),
            f"{case['tasks_per_second']:.0f}",
            *(duration(case[f"{who}_cpu_per_task"]) for who in ("scheduler", "client", "worker")),
            f"{case['scheduler_bytes_per_task']:.0f}",
        )
        for case in cases
    ]
    show("A task for each worker", columns, rows)
    scheduler, client = models.values()
    foreseen = forecast(scheduler, client, largest["scheduler_bytes_per_task"])
    show("Foretold", ("", ""), [(key, str(value)) for key, value in foreseen.items()])
    show_ratios(ratios)
    if options.figure is not None:
        draw(cases, models, foreseen["pass"]["computing"], options.figure)
    write_result(
        options.results,
        "many_workers",
        settings={"angles per task": options.angles, "passes": options.passes, "processes of the workers": HOSTS},
        figures={
            "measured": [{key: significant(value) for key, value in case.items()} for case in cases],
            "models": {key: [significant(x) for x in model] for key, model in models.items()},
            "forecast": foreseen,
        },
        ratios=ratios,
        versions=versions(),
        machine=before,
        notes=[
            "Scheduler, client and workers share the cores of one machine: the time of a pass is that of all together.",
            "Models: CPU seconds of a pass, and of each of its tasks, from all numbers of workers but the largest.",
        ],
    )


if __name__ == "__main__" and "--host" in sys.argv:
    with dask.config.set({**SETTINGS, "distributed.worker.preload": []}):
        asyncio.run(host(sys.argv[2], int(sys.argv[4])))
elif __name__ == "__main__":
    main()
