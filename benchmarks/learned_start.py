"""The three ways to start: default start values, search, and the learned start, on the same random experiments.

    python benchmarks/learned_start.py

A model is trained first, into a folder of this run, so that its training is timed and no fits of the user are in it.
Then every experiment of `experiments.py` is fitted by `hetdask.fit` three times, with default settings otherwise.
Success is what `cold_start.py` calls so.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from cold_start import read_cases, share, succeeded, sum_squares
from common import (
    Ratio,
    console,
    duration,
    keep_case,
    parse_arguments,
    show,
    show_ratios,
    significant,
    write_result,
)
from experiments import Experiment, draw
from rich.progress import track

import hetdask
from hetdask.data.store import Store
from hetdask.data.writers import write_store
from hetdask.diagnosis.environment import machine, versions
from hetdask.learn.model import StartModel
from hetdask.learn.simulated import usual_conditions
from hetdask.learn.start import train_and_keep
from hetdask.model import NAMES
from hetdask_cluster.local import open_runner
from hetdask_cluster.runner import Runner

STARTS: Final = {"default": "given", "search": "search", "learned": "learned"}
"""Sides of the comparison, and the setting `fit.start` of each."""

type Case = dict[str, Any]


def fit(store: Store, experiment: Experiment, start: str, runner: Runner) -> Case:
    """Fit one experiment from one kind of start and say what came out and what it cost."""
    began = time.perf_counter()
    result = hetdask.fit(store, {"fit": {"start": start, "seed": 1, "remember": False}}, client=runner)
    seconds = time.perf_counter() - began
    values = np.array([result.parameters[name].value for name in NAMES])
    case: Case = {
        "status": result.status,
        "excess": significant(sum_squares(store, values) / sum_squares(store, experiment.vector), 6),
        "passes": result.passes,
        "reduced": 0 if result.search is None else result.search.evaluations,
        "seconds": significant(seconds),
    }
    if result.learned is not None:
        case |= result.learned.model_dump(include={"distance", "outside", "evaluations", "sufficed", "winner"})
    return case


def compare(experiment: Experiment, runner: Runner, folder: Path) -> dict[str, Case]:
    """Fit one experiment from every kind of start."""
    path = folder / f"{experiment.index}.zarr"
    store = write_store(path, experiment.maps(), phi=experiment.phi, q=experiment.q, dt=experiment.dt)
    return {name: fit(store, experiment, start, runner) for name, start in STARTS.items()}


def median_ratio(cases: list[dict[str, Any]], key: str, above: str, below: str) -> float:
    """Median over experiments that both sides solve of what one side needs over what the other needs; 0 without any."""
    both = [case for case in cases if succeeded(case[above]) and succeeded(case[below])]
    return float(np.median([case[above][key] / case[below][key] for case in both])) if both else 0.0


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--experiments", type=int, default=60, help="drawn from the distribution")
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--workers", type=int, default=2, help="workers of the local cluster; 0: in this process")
    parser.add_argument("--cases", type=Path, help="keep outcomes in this file, and go on from those that are there")
    parser.add_argument("--note", help="what else there is to say about this run, for the record")


def train(runner: Runner) -> tuple[StartModel, float]:
    """The usual model, and the seconds that its training took."""
    began = time.perf_counter()
    model = train_and_keep(usual_conditions(), runner=runner)
    return model, time.perf_counter() - began


def main() -> None:
    """Measure and record."""
    options = parse_arguments(__doc__, arguments)
    before = machine()
    drawn = [draw(k) for k in range(options.first, options.first + options.experiments)]
    known, cases = read_cases(options.cases), []
    scheduler = ("local", options.workers) if options.workers else ("inline",)
    with tempfile.TemporaryDirectory() as cache, open_runner(*scheduler) as runner:
        os.environ["HETDASK_CACHE"] = cache
        model, training = train(runner)
        console.print(f"trained in {duration(training)}")
        with tempfile.TemporaryDirectory() as folder:
            compare(drawn[0], runner, Path(folder))  # what is compiled or cached at first use is not timed
        for experiment in track(drawn, description="learned starts", console=console):
            case = known.get(experiment.index)
            if case is None:
                with tempfile.TemporaryDirectory() as folder:
                    case = {"index": experiment.index, **compare(experiment, runner, Path(folder))}
                keep_case(options.cases, case)
            cases.append(case)
    sides: dict[str, dict[str, Any]] = {}
    for name in STARTS:
        side = [case[name] for case in cases]
        wrong = share(side, lambda case: case["status"] == "converged" and not succeeded(case))
        sides[name] = {
            "success": significant(share(side, succeeded)),
            "converged on a wrong optimum": significant(wrong),
            **{f"median {key}": significant(np.median([case[key] for case in side])) for key in ("reduced", "passes")},
            "median seconds": significant(np.median([case["seconds"] for case in side])),
        }
    show(
        f"{len(cases)} experiments",
        ("", *next(iter(sides.values()))),
        [(name, *(f"{value:.3g}" for value in side.values())) for name, side in sides.items()],
    )
    learned = [case["learned"] for case in cases]
    ratios = {
        "evaluations": Ratio(median_ratio(cases, "reduced", "search", "learned"), "learned start", 3.0),
        "success of the learned start": Ratio(
            sides["learned"]["success"] / max(sides["search"]["success"], 1e-9), "search", 1.0
        ),
        "time from default start values": Ratio(
            median_ratio(cases, "seconds", "default", "learned"), "learned start", 2.0
        ),
        "time of a search": Ratio(median_ratio(cases, "seconds", "search", "learned"), "learned start"),
        "training": Ratio(training / 60.0, "60 s", 1.0, at_least=False),
    }
    show_ratios(ratios)
    write_result(
        options.results,
        "learned_start",
        settings={"experiments": len(cases), "workers": options.workers},
        figures={
            "sides": sides,
            "learned alone sufficed": significant(share(learned, lambda case: case["sufficed"])),
            "outside": significant(share(learned, lambda case: case["outside"])),
            "training seconds": significant(training),
            "held-out errors": {
                row.name: [significant(row.median_error), significant(row.without_data)] for row in model.validation
            },
            "cases": cases,
        },
        ratios=ratios,
        versions=versions(),
        machine=before,
        notes=[
            "reduced: evaluations of the model on reduced data, finishing included; passes: over the data in full.",
            "Ratios of evaluations and times are medians over the experiments that both sides solve.",
            *([options.note] if options.note else []),
        ],
    )


if __name__ == "__main__":
    main()
