"""The three ways to start: default start values, search, and the learned start, on the same random experiments.

    python benchmarks/learned_start.py

A model is trained first, into a folder of this run, so that its training is timed and no fits of the user are in it.
Then every experiment of `experiments.py` is fitted by `hetdask.fit` three times, with default settings otherwise.
Success is what `cold_start.py` calls so. How long default start values take is also compared on larger maps with
Gaussian noise that are read from disk in every pass: a pass over pixels that stay in memory takes no longer than a few
evaluations on block means.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from cold_start import share, succeeded, sum_squares
from common import (
    Ratio,
    console,
    duration,
    keep_case,
    kept_cases,
    parse_arguments,
    show,
    show_ratios,
    significant,
    write_result,
)
from experiments import Experiment, draw
from maps import Scan, write_scan
from rich.progress import track

import hetdask
from hetdask.data.store import Store
from hetdask.data.writers import write_store
from hetdask.diagnosis.environment import machine, versions
from hetdask.fitting.cold_start import reduced_passes
from hetdask.learn.model import StartModel
from hetdask.learn.simulated import usual_conditions
from hetdask.learn.start import train_and_keep
from hetdask.model import NAMES
from hetdask_cluster.local import open_runner
from hetdask_cluster.runner import Runner

STARTS: Final = {"default": "given", "search": "search", "learned": "learned"}
"""Sides of the comparison, and the setting `fit.start` of each."""

LARGE: Final = (4800, 12)
"""Frames and angles of the larger experiments, of which nothing stays in memory between passes."""

BEFORE: Final = ("reduce", "learn", "search", "load")
"""Stages before the fit at full resolution, whose own time is added; noise, errors and figures, alike for all starts,
come after it."""

type Case = dict[str, Any]


def fit(store: Store, experiment: Experiment, start: str, runner: Runner, resident: int | None) -> Case:
    """Fit one experiment from one kind of start and say what came out and what it cost."""
    settings = {"fit": {"start": start, "seed": 1, "remember": False}}
    result = hetdask.fit(store, settings, client=runner, resident_bytes=resident)
    values = np.array([result.parameters[name].value for name in NAMES])
    reached, best = (sum_squares(store, vector) for vector in (values, experiment.vector))
    before = sum(result.timings.get(stage, 0.0) for stage in BEFORE)
    case: Case = {
        "status": result.status,
        "excess": significant(reached / best, 6),
        "passes": result.passes,
        "reduced": 0 if result.search is None else result.search.evaluations,
        "seconds": significant(before + result.methods[result.best_method].seconds),
    }
    if result.learned is not None:
        case |= result.learned.model_dump(include={"distance", "outside", "evaluations", "sufficed", "winner"})
    return case


def compare(experiment: Experiment, runner: Runner, folder: Path, *, large: bool = False) -> dict[str, Case]:
    """Fit one experiment from every kind of start."""
    path = folder / f"{experiment.index}.zarr"
    if large:
        store = write_scan(path, scan_of(experiment), runner)
    else:
        store = write_store(path, experiment.maps(), phi=experiment.phi, q=experiment.q, dt=experiment.dt)
    reduced_passes(store, runner)  # kept with the store: the first side would make them for all
    return {name: fit(store, experiment, start, runner, 0 if large else None) for name, start in STARTS.items()}


def scan_of(experiment: Experiment) -> Scan:
    """An experiment with Gaussian noise, to be made tile by tile."""
    sigma = experiment.noise_to_signal * experiment.contrast
    vector, phi, contrast, offset, noise = (
        tuple(x.tolist()) for x in (experiment.vector, experiment.phi, experiment.contrast, experiment.offset, sigma)
    )
    axes = experiment.time.size, experiment.dt, experiment.q
    return Scan(vector, *axes, phi, contrast, offset, noise, seed=experiment.index)


def median_ratio(cases: list[dict[str, Any]], key: str, above: str, below: str) -> float:
    """Median over experiments that both sides solve of what one side needs over what the other needs; 0 without any."""
    both = [case for case in cases if succeeded(case[above]) and succeeded(case[below])]
    return float(np.median([case[above][key] / case[below][key] for case in both])) if both else 0.0


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--experiments", type=int, default=60, help="drawn from the distribution")
    parser.add_argument("--large", type=int, default=12, help="larger ones with Gaussian noise")
    parser.add_argument("--workers", type=int, default=2, help="workers of the local cluster; 0: in this process")
    parser.add_argument("--cases", type=Path, help="keep outcomes in this file, and go on from those that are there")
    parser.add_argument("--note", help="what else there is to say about this run, for the record")


def train(runner: Runner) -> tuple[StartModel, float]:
    """The usual model, and the seconds that its training took."""
    began = time.perf_counter()
    model = train_and_keep(usual_conditions(), runner=runner)
    return model, time.perf_counter() - began


def sides_of(cases: Sequence[Case]) -> dict[str, dict[str, Any]]:
    """What came out and what it cost, by kind of start."""
    sides: dict[str, dict[str, Any]] = {}
    for name in STARTS:
        side = [case[name] for case in cases]
        wrong = share(side, lambda case: case["status"] == "converged" and not succeeded(case))
        sides[name] = {
            "success": significant(share(side, succeeded)),
            "converged on a wrong optimum": significant(wrong),
            **{
                f"median {key}": significant(np.median([case[key] for case in side]))
                for key in ("reduced", "passes", "seconds")
            },
        }
    return sides


def main() -> None:
    """Measure and record."""
    options = parse_arguments(__doc__, arguments)
    before = machine()
    sets = {
        "wide": [draw(k) for k in range(options.experiments)],
        "large": [draw(k, LARGE) for k in range(0, 2 * options.large, 2)],  # even ones have Gaussian noise
    }
    known = {(case["set"], case["index"]): case for case in kept_cases(options.cases)}
    cases: dict[str, list[Case]] = {name: [] for name in sets}
    scheduler = ("local", options.workers) if options.workers else ("inline",)
    with tempfile.TemporaryDirectory() as cache, open_runner(*scheduler) as runner:
        os.environ["HETDASK_CACHE"] = cache
        model, training = train(runner)
        console.print(f"trained in {duration(training)}")
        with tempfile.TemporaryDirectory() as folder:
            compare(draw(0), runner, Path(folder))  # what is compiled or cached at first use is not timed
        for name, drawn in sets.items():
            for experiment in track(drawn, description=f"{name}: three fits each", console=console):
                case = known.get((name, experiment.index))
                if case is None:
                    with tempfile.TemporaryDirectory() as folder:
                        found = compare(experiment, runner, Path(folder), large=name == "large")
                    case = {"set": name, "index": experiment.index, **found}
                    keep_case(options.cases, case)
                cases[name].append(case)
    sides = {name: sides_of(some) for name, some in cases.items()}
    for name, rows in sides.items():
        show(
            f"{name}: {len(cases[name])} experiments",
            ("", *next(iter(rows.values()))),
            [(start, *(f"{value:.3g}" for value in row.values())) for start, row in rows.items()],
        )
    wide, large = cases["wide"], cases["large"]
    success = {start: row["success"] for start, row in sides["wide"].items()}
    time_to = "time to the optimum, default start values"
    ratios = {
        "evaluations": Ratio(median_ratio(wide, "reduced", "search", "learned"), "learned start", 3.0),
        "success of the learned start": Ratio(success["learned"] / max(success["search"], 1e-9), "search", 1.0),
        f"{time_to}, large": Ratio(median_ratio(large, "seconds", "default", "learned"), "learned start", 2.0),
        f"{time_to}, wide": Ratio(median_ratio(wide, "seconds", "default", "learned"), "learned start"),
        "passes from default start values, large": Ratio(
            median_ratio(large, "passes", "default", "learned"), "learned start"
        ),
        "passes from default start values, wide": Ratio(
            median_ratio(wide, "passes", "default", "learned"), "learned start"
        ),
        "time of a search, wide": Ratio(median_ratio(wide, "seconds", "search", "learned"), "learned start"),
        "time of a search, large": Ratio(median_ratio(large, "seconds", "search", "learned"), "learned start"),
        "training": Ratio(training / 60.0, "60 s", 1.0, at_least=False),
    }
    show_ratios(ratios)
    learned = [case["learned"] for case in wide]
    write_result(
        options.results,
        "learned_start",
        settings={
            "experiments": len(wide),
            "large": len(large),
            "large frames, angles": list(LARGE),
            "workers": options.workers,
        },
        figures={
            "sides": sides,
            "learned alone sufficed": significant(share(learned, lambda case: case["sufficed"])),
            "outside": significant(share(learned, lambda case: case["outside"])),
            "default start succeeds, large": sum(succeeded(case["default"]) for case in large),
            "training seconds": significant(training),
            "held-out errors": {
                row.name: [significant(row.median_error), significant(row.without_data)] for row in model.validation
            },
            "cases": [*wide, *large],
        },
        ratios=ratios,
        versions=versions(),
        machine=before,
        notes=[
            "reduced: evaluations of the model on reduced data, finishing included; passes: over the data in full.",
            "Ratios of evaluations and times are medians over the experiments that both sides solve.",
            "seconds: until the optimum at full resolution; errors and figures, the same for all, come after it.",
            *([options.note] if options.note else []),
        ],
    )


if __name__ == "__main__":
    main()
