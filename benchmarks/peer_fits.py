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
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from common import (
    Ratio,
    duration,
    mebibytes,
    parse_arguments,
    peer_python,
    show,
    show_ratios,
    significant,
    write_result,
)
from engines import TOLERANCE, Outcome, measure, peers_of, settings, write_problem
from flow_experiment import (
    CONTRAST,
    FREE,
    MODELS,
    NOISE,
    OFFSET,
    TRUTH,
    Experiment,
    minimum,
    simulate,
    start_values,
    sum_squares,
)

from hetdask.diagnosis.environment import machine, versions
from hetdask.model import NAMES

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
