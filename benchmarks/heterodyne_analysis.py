"""What the guide of heterodyne-analysis 1.0.1 promises, measured there and here on the same data in one run.

    python benchmarks/heterodyne_analysis.py --original-python PATH

Thinning: rates fitted to every n-th frame there, and to means over blocks of n × n pixels here, against the truth.
Compiled kernels: one χ² with and without Numba, there and here. Start values: fits of random experiments from the same
default start values there and here, and here from a search and from the learned start. Large data: fits of 8 million
pixels within limits of time and memory.
"""

from __future__ import annotations

import argparse
import json
import os
import sysconfig
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from cold_start import SUCCESS, share, succeeded
from common import (
    Contestant,
    Ratio,
    Timing,
    in_turns,
    parse_arguments,
    peer_python,
    show_ratios,
    show_rows,
    significant,
    timed,
    write_result,
)
from experiments import Experiment, draw
from learned_start import STARTS, fit, median_ratio, train
from maps import PARAMETERS, SCALING, simulated_maps
from numpy.typing import NDArray
from one_chi_squared import Peer, parameter_vectors
from processes import run_process

import hetdask
from hetdask.config import load_settings
from hetdask.data.writers import write_store
from hetdask.diagnosis.environment import machine, versions
from hetdask.model import NAMES, simulate_gaussian
from hetdask.passes import Passes
from hetdask_cluster.runner import InlineRunner

Array = NDArray[np.float64]
Case = dict[str, Any]

FIT: Final = Path(__file__).parent / "peers" / "fit_heterodyne_analysis.py"
Q: Final = 0.0054
DT: Final = 0.1

CONSTANT: Final = {
    **dict.fromkeys(NAMES, 0.0),
    "D0_ref": 200.0,
    "D0_sample": 1500.0,
    "v0": 40.0,
    "f0": 0.35,
    "f1": -0.015,
    "f3": 0.15,
    "phi0": 10.0,
}
"""Rates that do not change: sums over frames and exact integrals agree, so nothing but thinning makes a difference."""
RATES: Final = {"reference": slice(0, 3), "sample": slice(3, 6), "velocity": slice(6, 9)}
STRIDES: Final = (1, 2, 4)
THINNED: Final = (3, 128, 0.5)
"""Angles, frames and dt (s) of the experiment that is thinned."""

FREE: Final = tuple(k for k, name in enumerate(NAMES) if name != "f2")

EVALUATED: Final = (100, 500, 1000)
"""Frames of the two maps on which one χ² is timed: sizes of the guide's table."""

STARTED: Final = (120, 3)
"""Frames and angles of the random experiments."""
COSTS: Final = ("evaluations", "cpu_seconds")

LARGE: Final = (2, 2829)
"""Angles and frames: 8 million pairs of frames."""
LARGE_TRUTH: Final = {**PARAMETERS, "v0": 60.0}
LARGE_ERROR: Final = 0.1
"""Of the start values there, relative, at most."""
GUIDE: Final = {"max_data_points": 100_000, "time_subsample_factor": 4, "angle_subsample_factor": 2}
"""Subsampling as the guide shows it."""

NOTES: Final = (
    (
        "Pixels and start values are the same for both packages. All 14 parameters are free there; here f2 is held, as "
        "always."
    ),
    (
        "Thinning: rates at mid-time over the true ones; fits begin at the truth. There by Nelder-Mead on every n-th "
        "frame, here by the trust region on means over blocks of pixels."
    ),
    (
        "One χ², data in memory, one process each. A fit needs values only there, here 13 derivatives "
        "too. Without Numba there: NUMBA_DISABLE_JIT=1."
    ),
    (
        f"Starts: a fit succeeds if its sum of squares is at most {SUCCESS} times that of the truth, for the other "
        "package by its own model and sum. It goes by Nelder-Mead from the start values that are the default here, and "
        "is stopped at the limit of CPU time. Evaluations are of all pixels there, here of reduced data and of all "
        "pixels; all in one process, with Gaussian noise. The training of the learned start is not counted."
    ),
    (
        "8 million pixels: there Nelder-Mead on all pixels and with the guide's subsampling, and the ellipsoidal fit "
        "with memory_limit 0.9, within limits of CPU time and address space; here `hetdask fit`, from the file of maps "
        "to the report, within a budget of 1 GiB. Rates at mid-time over the true ones."
    ),
)


@dataclass(frozen=True, slots=True)
class Original:
    """Fits by the other package, each in a process of its own.

    Attributes
    ----------
    python : Path
    folder : Path
        For the files that are exchanged.
    memory : int
        Address space that it may take, bytes.
    """

    python: Path
    folder: Path
    memory: int

    def fit(self, maps: Path, start: Sequence[float], **problem: Any) -> Case:
        """What one fit came to; `problem` as in `peers/fit_heterodyne_analysis.py`, without what is usual."""
        usual = {"method": "Nelder-Mead", "max_iterations": 15_000, "subsampling": None, "truth": None}
        content = usual | {"start": list(start), "memory": self.memory} | problem
        (self.folder / "problem.json").write_text(json.dumps(content))
        outcome = self.folder / "outcome.json"
        outcome.unlink(missing_ok=True)
        run = run_process([self.python, FIT, self.folder / "problem.json", maps, outcome], folder=self.folder)
        return {**json.loads(outcome.read_text()), "peak_mib": round(run.peak_bytes / 2**20)}


def write_maps(path: Path, c2: Array | NDArray[np.float32], phi: Array, q: float, dt: float) -> Path:
    """The file of maps that the other package's scripts read."""
    np.savez(path, c2=c2, phi=phi, q=q, dt=dt)
    return path


def rates(values: Sequence[float], time: float) -> Array:
    """Both transport rates and the velocity at a time."""
    laws = (values[part] for part in RATES.values())
    return np.array([amplitude * time**exponent + offset for amplitude, exponent, offset in laws])


def thinning(original: Original) -> dict[str, Any]:
    """Fitted rates over the true ones, by how much the data are thinned."""
    n_phi, frames, dt = THINNED
    phi, time, truth = np.linspace(0.0, 90.0, n_phi), dt * np.arange(frames), list(CONSTANT.values())
    c2 = simulate_gaussian(CONSTANT, time, phi, Q, rng=np.random.default_rng(3), **SCALING)
    maps = write_maps(original.folder / "thinned.npz", c2, phi, Q, dt)
    store = write_store(original.folder / "thinned.zarr", c2, phi=phi, q=Q, dt=dt)
    middle = time[-1] / 2.0
    start = {name: {"value": value} for name, value in CONSTANT.items()}
    found: dict[str, Any] = {}
    for stride in STRIDES:
        points = n_phi * (frames // stride) ** 2
        thinned = {"enabled": True, "max_data_points": points, "time_subsample_factor": stride}
        theirs = original.fit(maps, truth, seconds=120.0, subsampling=thinned if stride > 1 else None)
        blocks = {"max_points": points // 2, "time_factor": stride}
        settings = {"fit": {"reduction": blocks if stride > 1 else None}, "parameters": start}
        ours = hetdask.fit(store, settings, client=InlineRunner())
        values = [ours.parameters[name].value for name in NAMES]
        for name, fitted in (("heterodyne-analysis", theirs["values"]), ("hetdask", values)):
            part = rates(fitted, middle) / rates(truth, middle)
            row = dict(zip(RATES, map(significant, part.tolist()), strict=True))
            found[f"{name}, every frame" if stride == 1 else f"{name}, thinned by {stride}"] = row
    return found


def kernels(python: Path, folder: Path, turns: int) -> tuple[dict[str, Any], dict[str, Ratio]]:
    """Seconds of one χ² with and without Numba, by size."""
    figures: dict[str, Any] = {}
    ratios: dict[str, Ratio] = {}
    for frames in EVALUATED:
        timings = with_and_without(python, folder, frames, turns)
        size, median = f"2 × {frames}²", {name: timing.median for name, timing in timings.items()}
        figures[size] = {name: {"seconds": timing.record()} for name, timing in timings.items()}
        theirs = median["heterodyne-analysis"]
        ratios |= {
            f"Numba here, {size}": Ratio(median["hetdask, NumPy"] / median["hetdask"], "plain NumPy"),
            f"Numba here, {size}, derivatives": Ratio(
                median["hetdask, NumPy, derivatives"] / median["hetdask, derivatives"], "plain NumPy", 3.0
            ),
            f"Numba there, {size}": Ratio(median["heterodyne-analysis, no Numba"] / theirs, "no Numba"),
            f"one χ², {size}": Ratio(theirs / median["hetdask"], "heterodyne-analysis with Numba"),
        }
    return figures, ratios


def with_and_without(python: Path, folder: Path, frames: int, turns: int) -> dict[str, Timing]:
    """Seconds of one χ² of both packages with and without Numba."""
    phi = np.linspace(0.0, 90.0, 2)
    c2 = np.stack(list(simulated_maps(frames, phi, Q, DT)))
    maps = write_maps(folder / f"{frames}.npz", c2, phi, Q, DT)
    store = write_store(folder / f"{frames}.zarr", c2, phi=phi, q=Q, dt=DT)
    vectors, start = parameter_vectors(), list(PARAMETERS.values())
    here, reference = (Passes(store, InlineRunner(), numba=numba) for numba in (True, False))
    with (
        Peer(python, maps, start, {"NUMBA_DISABLE_JIT": "0"}) as there,
        Peer(python, maps, start, {"NUMBA_DISABLE_JIT": "1"}) as interpreted,
    ):
        sides = {
            "heterodyne-analysis": Contestant(lambda _: there.evaluate(next(vectors)), 3),
            "heterodyne-analysis, no Numba": Contestant(lambda _: interpreted.evaluate(next(vectors))),
            "hetdask": Contestant(lambda _: timed(lambda: here(next(vectors), ())), 10),
            "hetdask, NumPy": Contestant(lambda _: timed(lambda: reference(next(vectors), ())), 3),
            "hetdask, derivatives": Contestant(lambda _: timed(lambda: here(next(vectors), FREE)), 10),
            "hetdask, NumPy, derivatives": Contestant(lambda _: timed(lambda: reference(next(vectors), FREE))),
        }
        return in_turns(sides, turns)


def starts(original: Original, experiments: int, seconds: float) -> tuple[dict[str, Any], list[Case]]:
    """What each kind of start came to, as a table and experiment by experiment."""
    cases: list[Case] = []
    default = [row.value for row in load_settings({}).parameter_table()]
    with tempfile.TemporaryDirectory() as cache:
        os.environ["HETDASK_CACHE"] = cache
        train(InlineRunner())
        # What is compiled or cached at first use is not timed.
        first = draw(0, STARTED)
        fits_here(first, first.maps(), original.folder / "first.zarr")
        for index in range(0, 2 * experiments, 2):  # odd ones have speckle noise, which moves the optimum off the truth
            experiment = draw(index, STARTED)
            c2 = experiment.maps()
            case = fits_here(experiment, c2, original.folder / f"{index}.zarr")
            maps = write_maps(original.folder / "start.npz", c2, experiment.phi, experiment.q, experiment.dt)
            theirs = original.fit(maps, default, seconds=seconds, truth=experiment.vector.tolist())
            case["original"] = {
                "ended": theirs["ended"],
                "excess": significant(theirs["excess"], 6),
                "evaluations": theirs["evaluations"],
                "cpu_seconds": significant(theirs["cpu_seconds"]),
            }
            cases.append({"index": index, **case})
    return {name: start_row([case[name] for case in cases]) for name in ("original", *STARTS)}, cases


def fits_here(experiment: Experiment, c2: NDArray[np.float32], path: Path) -> dict[str, Case]:
    """Fits of one experiment from every kind of start, with the CPU time of this process."""
    store = write_store(path, c2, phi=experiment.phi, q=experiment.q, dt=experiment.dt)
    cases: dict[str, Case] = {}
    for name, start in STARTS.items():
        began = time.process_time()
        found = fit(store, experiment, start, InlineRunner(), None)
        cases[name] = {
            "status": found["status"],
            "excess": found["excess"],
            "evaluations": found["reduced"] + found["passes"],
            "cpu_seconds": significant(time.process_time() - began),
        }
    return cases


def start_row(side: list[Case]) -> Case:
    """Line of the table of starts."""
    return {
        "success": significant(share(side, succeeded)),
        **{f"median {key}": significant(float(np.median([case[key] for case in side]))) for key in COSTS},
    }


def large(original: Original, seconds: float) -> dict[str, Case]:
    """Fits of 8 million pixels."""
    n_phi, frames = LARGE
    phi, time = np.linspace(0.0, 90.0, n_phi), DT * np.arange(frames)
    rng = np.random.default_rng(7)
    start = {name: value * (1.0 + LARGE_ERROR * rng.uniform(-1.0, 1.0)) for name, value in LARGE_TRUTH.items()}
    middle = time[-1] / 2.0
    truth = rates(list(LARGE_TRUTH.values()), middle)
    c2 = simulate_gaussian(LARGE_TRUTH, time, phi, Q, rng=rng, **SCALING).astype(np.float32)
    maps = write_maps(original.folder / "large.npz", c2, phi, Q, DT)
    del c2

    def theirs(**problem: Any) -> Case:
        case = original.fit(maps, list(start.values()), seconds=seconds, **problem)
        return outcome(case["ended"], case["values"], case, case["message"])

    def ours(method: str, *options: str) -> Case:
        content = {
            "data": {"source": str(maps), "q": Q, "dt": DT},
            "parameters": {name: {"value": value} for name, value in start.items()},
            "fit": {"start": "checked", "robust": "ellipsoidal", "remember": False},
        }
        (original.folder / "large.json").write_text(json.dumps(content))
        folder = original.folder / f"run-{method}"
        program = Path(sysconfig.get_path("scripts")) / "hetdask"
        words = ["fit", "large.json", "--method", method, "--memory-limit", "1GiB", "-o", str(folder), *options]
        run = run_process([program, *words], folder=original.folder)
        result = json.loads((folder / "result.json").read_text())
        values = [result["parameters"][name]["value"] for name in NAMES]
        used = {"seconds": run.wall, "cpu_seconds": run.cpu, "peak_mib": round(run.peak_bytes / 2**20)}
        evaluations = sum(one["evaluations"] for one in result["methods"].values())
        return outcome(result["status"], values, {**used, "evaluations": evaluations})

    def outcome(ended: str, values: Sequence[float] | None, case: Mapping[str, Any], message: str = "") -> Case:
        part = [None] * len(RATES) if values is None else map(significant, (rates(values, middle) / truth).tolist())
        return {
            "ended": ended,
            **({"message": message[:200]} if message else {}),
            "evaluations": case["evaluations"],
            "seconds": significant(case["seconds"]),
            "CPU seconds": significant(case["cpu_seconds"]),
            "peak MiB": case["peak_mib"],
            **{f"{name} / truth": one for name, one in zip(RATES, part, strict=True) if one is not None},
        }

    return {
        "heterodyne-analysis, all pixels": theirs(),
        "heterodyne-analysis, subsampling": theirs(subsampling={"enabled": True, **GUIDE}),
        "heterodyne-analysis, ellipsoidal": theirs(method="ellipsoidal"),
        "hetdask, all pixels": ours("classical"),
        "hetdask, ellipsoidal": ours("robust"),
    }


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    peer_python(parser, "--original-python", "heterodyne-analysis 1.0.1")
    parser.add_argument("--turns", type=int, default=3, help="turns of each side where one χ² is timed")
    parser.add_argument("--experiments", type=int, default=5, help="random experiments for the start values")
    parser.add_argument("--seconds", type=float, default=45.0, help="CPU s of each fit of 8 million pixels there")
    parser.add_argument(
        "--start-seconds", type=float, default=15.0, help="CPU s of each fit of a random experiment there"
    )
    parser.add_argument("--memory", type=int, default=8, help="address space of the other package, GiB")
    parser.add_argument("--note", help="what else there is to say about this run, for the record")


def main() -> None:
    """Measure and record."""
    options = parse_arguments(__doc__, arguments)
    if options.original_python is None:
        raise SystemExit("--original-python is missing: the Python that has heterodyne-analysis, see peers/README.md")
    before = machine()
    with tempfile.TemporaryDirectory() as place:
        original = Original(options.original_python, Path(place), options.memory * 2**30)
        thinned = thinning(original)
        show_rows("Fitted rates over the true ones", thinned)
        times, ratios = kernels(options.original_python, Path(place), options.turns)
        fits = large(original, options.seconds)
        show_rows(f"{LARGE[0]} × {LARGE[1]}²", fits)
        sides, cases = starts(original, options.experiments, options.start_seconds)
        show_rows(f"{options.experiments} experiments", sides)
    stride = STRIDES[-1]
    worst = max(abs(one - 1.0) for one in thinned[f"hetdask, thinned by {stride}"].values())
    ratios |= {
        f"largest error of a rate, thinned by {stride}": Ratio(worst, "the truth", 0.1, at_least=False),
        f"velocity there, thinned by {stride}": Ratio(
            thinned[f"heterodyne-analysis, thinned by {stride}"]["velocity"], "the truth"
        ),
        "CPU time from default start values": Ratio(
            median_ratio(cases, "cpu_seconds", "default", "learned"), "learned start"
        ),
        "CPU time of a search": Ratio(median_ratio(cases, "cpu_seconds", "search", "learned"), "learned start"),
        "evaluations of a search": Ratio(median_ratio(cases, "evaluations", "search", "learned"), "learned start", 2.0),
        "success of the learned start": Ratio(sides["learned"]["success"], "all experiments"),
    }
    show_ratios(ratios)
    write_result(
        options.results,
        "heterodyne_analysis",
        settings={
            "thinned": dict(zip(("angles", "frames", "dt"), THINNED, strict=True)),
            "evaluated frames": list(EVALUATED),
            "started frames, angles": list(STARTED),
            "large angles, frames": list(LARGE),
            **{name: getattr(options, name) for name in ("turns", "experiments", "seconds", "start_seconds")},
            "memory GiB": options.memory,
        },
        figures={"thinning": thinned, "one χ²": times, "8 million pixels": fits, "starts": sides, "cases": cases},
        ratios=ratios,
        versions=versions({"heterodyne-analysis": "1.0.1"}),
        machine=before,
        notes=[*NOTES, *([options.note] if options.note else [])],
    )


if __name__ == "__main__":
    main()
