"""The engines of `peer_fits.py`: how each fits the same problem, in a process of its own or in this one."""

from __future__ import annotations

import argparse
import json
import sysconfig
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
from common import Timing, console, significant
from flow_experiment import BOUNDS, FREE, Experiment, Q, flipped
from processes import ProcessRun, run_process

import hetdask
from hetdask.data.writers import write_store
from hetdask.model import NAMES

PEERS: Final = Path(__file__).parent / "peers"
TOLERANCE: Final = 1e-8
PEER_MEMORY: Final = int(0.85 * psutil.virtual_memory().total)
"""Bytes at which a peer is stopped, before the system stops anything else."""
CONTRAST_START: Final = 0.25
OFFSET_START: Final = 1.02

FITTING: Final = ("search", "load", "refine")
"""Stages of ours that the call of a peer corresponds to."""


@dataclass(slots=True)
class Outcome:
    """What one engine did.

    Attributes
    ----------
    processes : list of ProcessRun
    fits, analyses : list of float
        Seconds of the fit alone, and with all that it takes to a result of ours.
    details : dict
        Of the last fit: values (our sign of phi0), whether it succeeded, evaluations, and what else it tells.
    failure : str
        Why there is no fit.
    """

    processes: list[ProcessRun]
    fits: list[float]
    analyses: list[float]
    details: dict[str, Any]
    failure: str = ""

    @classmethod
    def empty(cls, failure: str = "") -> Outcome:
        """Before the first run, or after one that failed."""
        return cls([], [], [], {}, failure)

    @property
    def wall(self) -> Timing:
        """Of the whole processes."""
        return Timing(tuple(run.wall for run in self.processes))

    @property
    def cpu(self) -> Timing:
        """Of the whole processes."""
        return Timing(tuple(run.cpu for run in self.processes))

    @property
    def fit(self) -> Timing:
        """Of the fits alone."""
        return Timing(tuple(self.fits))

    @property
    def analysis(self) -> Timing:
        """Of what takes a warm process to a result."""
        return Timing(tuple(self.analyses))

    @property
    def peak_mib(self) -> int:
        """Largest of the processes' peaks, MiB."""
        return round(self.peak_bytes / 2**20)

    @property
    def peak_bytes(self) -> int:
        """Largest of the processes' peaks."""
        return max(run.peak_bytes for run in self.processes)


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer's script and where it runs."""

    python: Path
    script: str

    def run(self, folder: Path, outcome: Outcome) -> None:
        """One process that fits once."""
        run, record = self._process(folder, 1)
        (only,) = record["fits"]
        outcome.processes.append(run)
        outcome.fits.append(only["fit"])
        outcome.details |= {
            "version": record["version"],
            "jax": record["jax"],
            "success": only["success"],
            "message": only["message"],
            "evaluations": only["evaluations"],
            "import_seconds": significant(record["import"]),
            "compile_seconds": significant(only["compile"]),
            "compilations": only["compilations"],
            "own_sum_squares": only["sum_squares"],
            "values": flipped(only["values"]),
        }

    def second_fit(self, folder: Path) -> float:
        """Seconds of a second fit in one process, compilation taken off: whether the first one was not yet warm."""
        _, record = self._process(folder, 2)
        return float(record["fits"][1]["fit"])

    def _process(self, folder: Path, fits: int) -> tuple[ProcessRun, dict[str, Any]]:
        result = folder / "outcome.json"
        command = [self.python, PEERS / self.script, folder / "problem.json", folder / "maps.npz", result]
        run = run_process([*command, "--fits", str(fits)], folder=folder, most=PEER_MEMORY)
        return run, json.loads(result.read_text())


def write_problem(folder: Path, experiment: Experiment, start: Mapping[str, float], config: Mapping[str, Any]) -> None:
    """Maps, the peers' problem and our configuration, with the same numbers."""
    np.savez(folder / "maps.npz", c2=experiment.c2, phi=experiment.phi)
    problem = {
        "names": NAMES,
        "free": FREE,
        "start": flipped(start),
        "bounds": BOUNDS,
        "contrast": CONTRAST_START,
        "offset": OFFSET_START,
        "tolerance": TOLERANCE,
        "dt": experiment.dt,
        "q": Q,
    }
    (folder / "problem.json").write_text(json.dumps(problem))
    (folder / "settings.json").write_text(json.dumps(config))


def settings(experiment: Experiment, start: Mapping[str, float]) -> dict[str, Any]:
    """Our configuration: equal weights in one round, as the peers have it."""
    return {
        "data": {"source": "maps.npz", "q": Q, "dt": experiment.dt, "time_origin": experiment.dt},
        "parameters": {name: {"value": start[name], "min": BOUNDS[name][0], "max": BOUNDS[name][1]} for name in NAMES},
        "fit": {"active_parameters": list(FREE), "sigma": 1.0, "rounds": 1, "tolerance": TOLERANCE},
    }


def fitting_seconds(timings: Mapping[str, float]) -> float:
    """Of the stages of ours that the call of a peer corresponds to."""
    return sum(timings.get(stage, 0.0) for stage in FITTING)


def run_hetdask(folder: Path, outcome: Outcome, *options: str) -> None:
    """One `hetdask fit` in a process of its own."""
    run_folder = folder / f"run-{time.monotonic_ns()}"
    program = Path(sysconfig.get_path("scripts")) / "hetdask"
    words = ["fit", "settings.json", "-o", str(run_folder), *options]
    outcome.processes.append(run_process([program, *words], folder=folder))
    result = json.loads((run_folder / "result.json").read_text())
    outcome.fits.append(fitting_seconds(result["timings"]))
    (method,) = result["methods"].values()
    outcome.details = {
        "success": result["status"] == "converged",
        "message": method["message"],
        "evaluations": method["evaluations"],
        "stage_seconds": {name: significant(seconds) for name, seconds in result["timings"].items()},
        "own_sum_squares": result["chi_squared"],
        "values": {name: result["parameters"][name]["value"] for name in NAMES},
    }


def run_warm(store: hetdask.Store, config: Mapping[str, Any], outcome: Outcome) -> None:
    """One fit in this process: from an open store to a result, shards read from disk on the way."""
    start = time.perf_counter()
    result = hetdask.fit(store, config)
    outcome.analyses.append(time.perf_counter() - start)
    outcome.fits.append(fitting_seconds(result.timings))
    (method,) = result.methods.values()
    outcome.details = {
        "success": result.status == "converged",
        "evaluations": method.evaluations,
        "own_sum_squares": result.chi_squared,
        "values": {name: result.parameters[name].value for name in NAMES},
    }


def peers_of(options: argparse.Namespace) -> dict[str, Peer]:
    """The peers whose interpreters are named."""
    given = {
        "heterodyne": (options.heterodyne_python, "fit_heterodyne.py"),
        "xpcsjax": (options.xpcsjax_python, "fit_xpcsjax.py"),
    }
    peers = {name: Peer(python, script) for name, (python, script) in given.items() if python is not None}
    if not peers:
        raise SystemExit("give --heterodyne-python, --xpcsjax-python or both, see peers/README.md")
    return peers


def measure(
    experiment: Experiment,
    start: Mapping[str, float],
    peers: Mapping[str, Peer],
    turns: int,
    warm_fits: int,
    ours: Mapping[str, Any] | None = None,
) -> dict[str, Outcome]:
    """Fits of all engines in turns, by name, empty for peers that fail; `ours` are more settings of our fits."""
    names = ("hetdask, warm process", "hetdask fit", "hetdask fit --no-plots", *peers)
    outcomes = {name: Outcome.empty() for name in names}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        config = settings(experiment, start)
        config["fit"] |= ours or {}
        write_problem(folder, experiment, start, config)
        store = write_store(
            folder / "maps.zarr",
            experiment.c2,
            phi=experiment.phi,
            q=Q,
            dt=experiment.dt,
            time_origin=experiment.dt,
        )
        warm_up(folder, store, config)
        for turn in range(turns):
            console.print(f"turn {turn + 1} of {turns} ...")
            run_hetdask(folder, outcomes["hetdask fit"])
            run_hetdask(folder, outcomes["hetdask fit --no-plots"], "--no-plots")
            for _ in range(warm_fits):
                run_warm(store, config, outcomes["hetdask, warm process"])
            for name, peer in peers.items():
                try:
                    peer.run(folder, outcomes[name])
                except RuntimeError as error:
                    console.print(f"{name} failed: {error}", markup=False)
                    outcomes[name] = Outcome.empty(str(error).partition("\n")[0])
    return outcomes


def warm_up(folder: Path, store: hetdask.Store, config: Mapping[str, Any]) -> None:
    """Everything of ours once: compiled kernels, byte code, file caches."""
    scratch = Outcome.empty()
    run_warm(store, config, scratch)
    run_hetdask(folder, scratch)
