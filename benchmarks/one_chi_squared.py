"""One χ² of two 2000 × 2000 maps, against heterodyne-analysis 1.0.1 on the same numbers in the same run.

    python benchmarks/one_chi_squared.py --original-python PATH

Ours at full resolution with the best contrast and offset of each angle, from data that are in memory: in this process
on one thread, and through a local Dask cluster. The other package runs in an environment of its own with all cores. All
evaluate the same sequence of parameter vectors in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from common import (
    Contestant,
    Ratio,
    Timing,
    in_turns,
    mebibytes,
    parse_arguments,
    peer_python,
    show,
    show_ratios,
    write_result,
)
from maps import PARAMETERS, SCALING, simulated_maps
from processes import resident_bytes

from hetdask.data.store import Store
from hetdask.data.writers import write_store
from hetdask.diagnosis.environment import machine, versions
from hetdask.model import correlation
from hetdask.passes import Passes, project
from hetdask_cluster.local import open_runner

PEER: Final = Path(__file__).parent / "peers" / "evaluate_heterodyne_analysis.py"
Q: Final = 0.0054
DT: Final = 0.1
GOAL_IN_PROCESS: Final = 300.0
GOAL_CLUSTER: Final = 30.0


type Vector = Sequence[float] | np.ndarray


class Peer:
    """Another package in its own process, with `variables` added to its environment; use as a context manager."""

    def __init__(
        self,
        python: Path,
        data: Path,
        start: Sequence[float],
        variables: Mapping[str, str] | None = None,
        script: Path = PEER,
    ) -> None:
        self._script = script
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by __exit__)
        process = subprocess.Popen(
            [str(python), str(script), str(data)],
            env=os.environ | (variables or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        if process.stdin is None or process.stdout is None:  # which pipes are not
            raise OSError("no pipe to the other package")
        self._process, self._questions, self._answers = process, process.stdin, process.stdout
        self.version = str(self.ask(start)["version"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._questions.close()
        self._process.wait(timeout=60)
        self._answers.close()
        self._errors.close()

    @property
    def peak_bytes(self) -> int:
        """High-water mark of its resident memory."""
        return resident_bytes(self._process.pid)[1]

    def evaluate(self, parameters: Vector) -> float:
        """Seconds that one χ² took there."""
        return float(self.ask(parameters)["seconds"])

    def ask(self, question: Vector) -> dict[str, Any]:
        """What it answers to a parameter vector."""
        self._questions.write(json.dumps([float(x) for x in question]) + "\n")
        self._questions.flush()
        answer = self._answers.readline()
        if not answer:
            self._process.wait(timeout=60)
            self._errors.seek(0)
            raise RuntimeError(f"{self._script.name} gave up:\n{self._errors.read()[-4000:].decode(errors='replace')}")
        return dict(json.loads(answer))


class Evaluation:
    """χ² of a store through one runner."""

    def __init__(self, passes: Passes, sigma: float) -> None:
        self._passes = passes
        self._sigma = np.full(passes.series.n_phi, sigma)

    def __call__(self, parameters: np.ndarray) -> float:
        """Χ² with the best contrast and offset of each angle."""
        return project(self._passes(parameters, ())).weighted(self._sigma)[0]

    def timed(self, parameters: np.ndarray) -> float:
        """Seconds that one χ² takes."""
        start = time.perf_counter()
        self(parameters)
        return time.perf_counter() - start


def reference(store: Store, parameters: np.ndarray, sigma: float) -> float:
    """χ² as the definition has it, from whole maps in NumPy."""
    total = 0.0
    for m in range(store.n_phi):
        pairs = np.triu_indices(store.n_frames, 1)
        data = store.read_map(m)[pairs].astype(np.float64)
        model = correlation(parameters, store.time, store.phi[m], store.q[m])[0][pairs]
        data -= data.mean()
        model -= model.mean()
        total += float(data @ data - (data @ model) ** 2 / (model @ model))
    return total / sigma**2


def write_experiment(folder: Path, angles: int, frames: int) -> Store:
    """Simulated maps as a store, and as maps.npz for another package."""
    phi = np.linspace(0.0, 90.0, angles)
    maps = np.stack(list(simulated_maps(frames, phi, Q, DT)))
    np.savez(folder / "maps.npz", c2=maps, phi=phi, q=Q, dt=DT)
    return write_store(folder / "maps.zarr", maps, phi=phi, q=Q, dt=DT)


def parameter_vectors() -> Iterator[np.ndarray]:
    """Vectors around the true values, no two the same."""
    rng = np.random.default_rng(5)
    true = np.array(list(PARAMETERS.values()))
    while True:
        yield true * (1.0 + 1e-3 * rng.standard_normal(true.size))


@contextmanager
def cluster_passes(store: Store, workers: int) -> Iterator[Passes]:
    """Passes through a local cluster that holds the data."""
    with open_runner("local", workers=workers) as runner:
        yield Passes(store, runner)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    peer_python(parser, "--original-python", "heterodyne-analysis 1.0.1")
    parser.add_argument("--frames", type=int, default=2000, help="frames of each map")
    parser.add_argument("--angles", type=int, default=2, help="maps")
    parser.add_argument("--workers", type=int, default=2, help="workers of the local cluster")
    parser.add_argument("--turns", type=int, default=10, help="turns of each side")


def main() -> None:
    """Measure and record."""
    options = parse_arguments(__doc__, arguments)
    if options.original_python is None:
        raise SystemExit("--original-python is missing: the Python that has heterodyne-analysis, see peers/README.md")
    before = machine()
    sigma = SCALING["sigma"]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        store = write_experiment(folder, options.angles, options.frames)
        peer = stack.enter_context(Peer(options.original_python, folder / "maps.npz", list(PARAMETERS.values())))
        inline = Evaluation(Passes(store, stack.enter_context(open_runner("inline"))), sigma)
        cluster = Evaluation(stack.enter_context(cluster_passes(store, options.workers)), sigma)

        vector = next(parameter_vectors())
        exact = reference(store, vector, sigma)
        difference = max(abs(side(vector) / exact - 1.0) for side in (inline, cluster))

        sequences = [parameter_vectors() for _ in range(3)]
        timings = in_turns(
            {
                "heterodyne-analysis": Contestant(lambda _: peer.evaluate(next(sequences[0])), per_turn=1),
                "hetdask in process": Contestant(lambda _: inline.timed(next(sequences[1])), 20, threads=1),
                "hetdask on a cluster": Contestant(lambda _: cluster.timed(next(sequences[2])), per_turn=5),
            },
            options.turns,
        )
        peak = peer.peak_bytes
        peer_version = peer.version

    theirs = timings["heterodyne-analysis"].median
    text = f"heterodyne-analysis {peer_version}"
    ratios = {
        "in process, 1 thread": Ratio(theirs / timings["hetdask in process"].median, text, GOAL_IN_PROCESS),
        f"local cluster, {options.workers} workers": Ratio(
            theirs / timings["hetdask on a cluster"].median, text, GOAL_CLUSTER
        ),
    }
    report(timings, ratios, store, difference, peak)
    write_result(
        options.results,
        "one_chi_squared",
        settings={
            "frames": options.frames,
            "angles": options.angles,
            "pixels": store.n_points,
            "workers": options.workers,
            "turns": options.turns,
        },
        figures={
            **{name: {"seconds": timing.record()} for name, timing in timings.items()},
            "relative difference of hetdask from NumPy": float(f"{difference:.1e}"),
            "peak memory of heterodyne-analysis, MiB": round(peak / 2**20),
        },
        ratios=ratios,
        versions=versions({"heterodyne-analysis": peer_version}),
        machine=before,
        notes=[
            "Data resident; hetdask evaluates pairs i < j once, the other package whole maps.",
            "Ratios of medians, seconds of the reference to seconds of hetdask; all sides in turns in one run.",
        ],
    )


def report(timings: dict[str, Timing], ratios: dict[str, Ratio], store: Store, difference: float, peak: int) -> None:
    """Print what was measured."""
    title = f"One χ² of {store.n_phi} × {store.n_frames}² ({store.n_points:,} pixels)"
    rows = [(name, timing.spread(), f"{store.n_points / timing.median / 1e6:.1f}") for name, timing in timings.items()]
    show(title, ("", "median (min to max)", "million pixels/s"), rows)
    show_ratios(ratios)
    print(f"hetdask differs from plain NumPy by {difference:.1e}; the other package peaks at {mebibytes(peak)}")


if __name__ == "__main__":
    main()
