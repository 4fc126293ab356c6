"""The same fit by heterodyne 2.0.1, xpcsjax 0.1.8 and hetdask: time, memory, and how good a minimum each finds.

    python benchmarks/peer_fits.py --heterodyne-python PATH --xpcsjax-python PATH

Three maps of 400 × 400 after the peers' conventions, ten free parameters with start values up to 20 % off. Everybody
gets the same numbers. Each fit is a process of its own, from its start to its end; in turns. Within it, "fit alone" is
for the peers what remains of the call that fits when compilation is taken off, and for hetdask, in a warm process,
reading the store and the fit. What else hetdask does before it gives a result (block means, the noise and what it means
for errors and goodness), which the peers do not, stands beside it as "analysis".
"""

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
from common import (
    ProcessRun,
    Ratio,
    Timing,
    console,
    duration,
    mebibytes,
    parse_arguments,
    peer_python,
    run_process,
    show,
    show_ratios,
    significant,
    write_result,
)
from flow_experiment import (
    BOUNDS,
    CONTRAST,
    FREE,
    MODELS,
    NOISE,
    OFFSET,
    TRUTH,
    Experiment,
    Q,
    flipped,
    minimum,
    simulate,
    start_values,
    sum_squares,
)

import hetdask
from hetdask.data.writers import write_store
from hetdask.diagnosis.environment import machine, versions
from hetdask.model import NAMES

PEERS: Final = Path(__file__).parent / "peers"
TOLERANCE: Final = 1e-8
PEER_MEMORY: Final = int(0.85 * psutil.virtual_memory().total)
"""Bytes at which a peer is stopped, before the system stops anything else."""
CONTRAST_START: Final = 0.25
OFFSET_START: Final = 1.02

FITTING: Final = ("search", "load", "refine")
"""Stages of ours that the call of a peer corresponds to."""

GOAL_FIT: Final = 100.0
GOAL_ANALYSIS: Final = 20.0
GOAL_PROCESS: Final = 5.0
GOAL_MEMORY: Final = 1.0
GOAL_EXCESS: Final = 1e-6


NOTES: Final = (
    (
        "Sums of squares count each pair i < j once, with the best contrast and offset of each angle, by the same "
        "functions for the parameters of every engine; the engines' own sums stand beside them."
    ),
    (
        "The peers fit one contrast and one offset to all angles, leave out the first frame, count both triangles and "
        "clip smoothly."
    ),
    "Parameters in our sign of phi0, with time_origin = dt.",
    (
        "Peak memory: resident size of the whole process tree, the larger of the sum over processes sampled every "
        "50 ms and the kernel's high-water mark of each."
    ),
    "Kernels of hetdask come from Numba's cache on disk; the peers compile in every process.",
    "second_fit_seconds: another fit in the same process of a peer, compilation taken off.",
)


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


def compare(outcomes: Mapping[str, Outcome], experiment: Experiment) -> tuple[dict[str, Any], dict[str, float]]:
    """Sums of squares of all engines by the same functions, and the least ones that SciPy finds on all residuals."""
    best = next(iter(outcomes.values())).details["values"]
    least = {name: minimum(best, experiment, model) for name, model in MODELS.items()}
    sums = {
        engine: {name: sum_squares(outcome.details["values"], experiment, model) for name, model in MODELS.items()}
        for engine, outcome in outcomes.items()
    }
    return sums, least


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    peer_python(parser, "--heterodyne-python", "heterodyne 2.0.1")
    peer_python(parser, "--xpcsjax-python", "xpcsjax 0.1.8")
    parser.add_argument("--frames", type=int, default=400, help="frames of each map")
    parser.add_argument("--angles", type=int, default=3, help="maps, between 0° and 90°")
    parser.add_argument("--error", type=float, default=0.2, help="largest relative error of the start values")
    parser.add_argument("--seed", type=int, default=0, help="of the noise; start values take the next one")
    parser.add_argument("--turns", type=int, default=3, help="turns of each engine")
    parser.add_argument("--warm-fits", type=int, default=5, help="fits of hetdask in this process in each turn")


def main() -> None:
    """Measure and record."""
    options = parse_arguments(__doc__, arguments)
    peers = peers_of(options)
    before = machine()
    experiment = simulate(options.frames, options.angles, options.seed)
    start = start_values(options.error, options.seed + 1)
    outcomes = measure(experiment, start, peers, options.turns, options.warm_fits)
    if failed := [name for name, outcome in outcomes.items() if not outcome.details]:
        raise SystemExit(f"{', '.join(failed)} failed")
    with tempfile.TemporaryDirectory() as place:
        write_problem(Path(place), experiment, start, settings(experiment, start))
        for name, peer in peers.items():
            outcomes[name].details["second_fit_seconds"] = significant(peer.second_fit(Path(place)))
    sums, least = compare(outcomes, experiment)
    ratios = ratios_of(outcomes, sums, least, list(peers))
    report(outcomes, sums, least, ratios)
    record(options, experiment, start, outcomes, sums, least, ratios, before)


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


def ratios_of(
    outcomes: Mapping[str, Outcome],
    sums: Mapping[str, Mapping[str, float]],
    least: Mapping[str, float],
    peers: list[str],
) -> dict[str, Ratio]:
    """Of hetdask against each peer, and against the least sum of squares there is."""
    warm, whole, lean = (outcomes[name] for name in ("hetdask, warm process", "hetdask fit", "hetdask fit --no-plots"))
    exact = list(MODELS)[-1]
    ours = sums["hetdask fit"]
    ratios = {
        "excess over the minimum, exact model": Ratio(
            abs(ours[exact] / least[exact] - 1.0),
            "least squares on all residuals by SciPy",
            GOAL_EXCESS,
            at_least=False,
        )
    }
    for name in peers:
        peer = outcomes[name]
        text = f"{name} {peer.details['version']}"
        ratios |= {
            f"fit alone, {name}": Ratio(peer.fit.median / warm.fit.median, f"{text}, without compilation", GOAL_FIT),
            f"analysis, {name}": Ratio(peer.fit.median / warm.analysis.median, f"fit alone of {text}", GOAL_ANALYSIS),
            f"whole process, {name}": Ratio(peer.wall.median / whole.wall.median, text),
            f"whole process without plots, {name}": Ratio(peer.wall.median / lean.wall.median, text, GOAL_PROCESS),
            f"CPU time of the process, {name}": Ratio(peer.cpu.median / whole.cpu.median, text),
            f"peak memory, {name}": Ratio(whole.peak_bytes / peer.peak_bytes, text, GOAL_MEMORY, at_least=False),
        }
        for model in MODELS:
            ratios[f"sum of squares / that of {name} - 1, {model}"] = Ratio(
                ours[model] / sums[name][model] - 1.0, text, GOAL_EXCESS, at_least=False
            )
    return ratios


def report(
    outcomes: Mapping[str, Outcome],
    sums: Mapping[str, Mapping[str, float]],
    least: Mapping[str, float],
    ratios: Mapping[str, Ratio],
) -> None:
    """Print what was measured."""
    rows = []
    for name, outcome in outcomes.items():
        process = ("", "", "")
        if outcome.processes:
            process = (duration(outcome.wall.median), duration(outcome.cpu.median), mebibytes(outcome.peak_bytes))
        rows.append((name, outcome.fit.spread(), *process, str(outcome.details["evaluations"])))
    show("The fit", ("", "fit alone (min to max)", "process", "CPU", "peak", "evaluations"), rows)
    show(
        "Sum of squares over pairs i < j, with the best contrast and offset of each angle",
        ("", *MODELS),
        [
            ("least that SciPy finds", *(f"{least[model]:.9f}" for model in MODELS)),
            *((name, *(f"{found[model]:.9f}" for model in MODELS)) for name, found in sums.items()),
        ],
    )
    show(
        "Free parameters",
        ("", "truth", *outcomes),
        [
            (name, f"{TRUTH[name]:.6g}", *(f"{outcome.details['values'][name]:.6g}" for outcome in outcomes.values()))
            for name in NAMES
            if name in FREE
        ],
    )
    show_ratios(ratios)


def record(
    options: argparse.Namespace,
    experiment: Experiment,
    start: Mapping[str, float],
    outcomes: Mapping[str, Outcome],
    sums: Mapping[str, Mapping[str, float]],
    least: Mapping[str, float],
    ratios: Mapping[str, Ratio],
    before: Mapping[str, Any],
) -> None:
    """Write the result file."""
    figures: dict[str, Any] = {}
    extra: dict[str, str] = {}
    for name, outcome in outcomes.items():
        details = dict(outcome.details)
        if "version" in details:
            extra |= {name: details.pop("version"), f"jax of {name}": details.pop("jax")}
        entry: dict[str, Any] = {"fit_alone_seconds": outcome.fit.record()}
        if outcome.analyses:
            entry["analysis_seconds"] = outcome.analysis.record()
        if outcome.processes:
            entry |= {
                "process_seconds": outcome.wall.record(),
                "process_cpu_seconds": outcome.cpu.record(),
                "peak_mib": outcome.peak_mib,
            }
        figures[name] = {**entry, "sum_squares": sums[name], **details}
    write_result(
        options.results,
        "peer_fits",
        settings={
            "angles": options.angles,
            "frames": options.frames,
            "pixels": options.angles * options.frames * (options.frames - 1) // 2,
            "start_error": options.error,
            "seed": options.seed,
            "turns": options.turns,
            "tolerance": TOLERANCE,
            "truth": TRUTH,
            "start": start,
            "contrast": CONTRAST,
            "offset": OFFSET,
            "noise": NOISE,
            "dt": experiment.dt,
        },
        figures={"least_sum_squares": least, **figures},
        ratios=ratios,
        versions=versions(extra),
        machine=before,
        notes=NOTES,
    )


if __name__ == "__main__":
    main()
