"""Fits from the bounds alone: how often the optimum of random experiments is found, how often claimed, how fast.

    python benchmarks/cold_start.py

Every experiment of `experiments.py` goes the whole way of `hetdask.fit` with default settings: search on reduced data,
fit at full resolution. It succeeds if its sum of squared residuals is at most 1.003 times that of the truth, with the
best contrast and offset of each angle. With speckle noise the optimum lies well below the truth.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
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
from numpy.typing import NDArray
from rich.progress import track

import hetdask
from hetdask.data.store import Store
from hetdask.data.writers import write_store
from hetdask.diagnosis.environment import machine, versions
from hetdask.model import NAMES
from hetdask.passes import Passes, project
from hetdask_cluster.local import open_runner
from hetdask_cluster.runner import InlineRunner, Runner

SUCCESS: Final = 1.003
"""Sum of squares, over the truth's, up to which a fit has found the optimum."""

TIMED: Final = (1000, 5)
"""Frames and angles of the experiments that are timed."""

STRATA: Final[dict[str, Sequence[float]]] = {
    "frames": (100, 200, 400, 1001),
    "angles": (2, 3, 5, 9),
    "slow_decay": (0.3, 0.6, 1.5, 30.0),
    "fast_decay": (0.3, 3.0, 10.0, 30.0),
    "fringes": (0.1, 0.5, 5.0, 50.0),
    "fringes_per_frame": (0.0, 0.01, 0.05, 0.25),
    "purest_fraction": (0.0, 0.04, 0.1, 0.5),
    "steepest_exponent": (0.0, 0.5, 0.7, 0.8),
    "contrast": (0.05, 0.1, 0.25, 0.5),
    "noise_to_signal": (0.01, 0.03, 0.1, 0.3),
}
"""Edges of the strata."""

STATUSES: Final = ("converged", "ambiguous", "not_converged")

OUTCOMES: Final = ("found, converged", "found, ambiguous", "found, not converged", "not found")
COLORS: Final = ("#0072b2", "#e69f00", "#999999", "#d55e00")


def sum_squares(store: Store, vector: NDArray[np.float64]) -> float:
    """Sum of squared residuals at full resolution."""
    return float(project(Passes(store, InlineRunner(), resident_bytes=0)(vector, ())).sum_squares.sum())


def cold_start(experiment: Experiment, runner: Runner, folder: Path) -> dict[str, Any]:
    """Fit one experiment and say what came out."""
    path = folder / f"{experiment.index}.zarr"
    store = write_store(path, experiment.maps(), phi=experiment.phi, q=experiment.q, dt=experiment.dt)
    began = time.perf_counter()
    result = hetdask.fit(store, {"fit": {"start": "search", "seed": 1}}, client=runner)
    seconds = time.perf_counter() - began
    values = np.array([result.parameters[name].value for name in NAMES])
    if result.search is None:
        raise RuntimeError("the fit reports no search")
    return {
        "index": experiment.index,
        "noise": experiment.noise,
        **{name: significant(value) for name, value in experiment.strata.items()},
        "status": result.status,
        "excess": significant(sum_squares(store, values) / sum_squares(store, experiment.vector), 6),
        "starts": result.search.starts,
        "agreed": result.search.agreed,
        "believed": result.search.believed,
        "rivals": [significant(one.excess) for one in result.search.optima if one.contender],
        "evaluations": result.search.evaluations,
        "search_seconds": significant(result.search.seconds),
        "seconds": significant(seconds),
    }


def read_cases(path: Path | None) -> dict[int, dict[str, Any]]:
    """Outcomes that an earlier run has kept, by the number of the experiment."""
    return {case["index"]: case for case in kept_cases(path)}


def succeeded(case: dict[str, Any]) -> bool:
    """Whether a fit found the optimum."""
    return bool(case["excess"] <= SUCCESS)


def share(cases: Sequence[dict[str, Any]], true: Callable[[dict[str, Any]], bool]) -> float:
    """Share of the cases for which something is true; 0 without cases."""
    return sum(map(true, cases)) / len(cases) if cases else 0.0


def outcome(case: dict[str, Any]) -> str:
    """One of `OUTCOMES`."""
    return OUTCOMES[-1] if not succeeded(case) else f"found, {case['status'].replace('_', ' ')}"


def ended(status: str, case: dict[str, Any]) -> bool:
    """Whether a fit ended in this way."""
    return bool(case["status"] == status)


def came_out(kind: str, case: dict[str, Any]) -> bool:
    """Whether this one of `OUTCOMES` is what a case came to."""
    return outcome(case) == kind


def groups_of(cases: Sequence[dict[str, Any]]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """The cases of each stratum that has any, by what they are grouped by and by the stratum's name."""
    groups: dict[str, dict[str, list[dict[str, Any]]]] = {
        "noise": {noise: [case for case in cases if case["noise"] == noise] for noise in ("gaussian", "speckle")}
    }
    for name, edges in STRATA.items():
        groups[name.replace("_", " ")] = {
            f"{low:g} to {high:g}": [case for case in cases if low <= case[name] < high]
            for low, high in pairwise(edges)
        }
    return {name: {key: group for key, group in strata.items() if group} for name, strata in groups.items()}


def by_stratum(cases: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Number of cases, share of successes and share of verdicts in each stratum."""
    return {
        f"{name} {key}": {
            "experiments": len(group),
            "success": significant(share(group, succeeded)),
            **{status: significant(share(group, partial(ended, status))) for status in STATUSES},
        }
        for name, strata in groups_of(cases).items()
        for key, group in strata.items()
    }


def draw_figure(cases: Sequence[dict[str, Any]], path: Path) -> None:
    """What came out in each stratum, as shares of its cases."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    groups = groups_of(cases)
    mpl.rcParams.update({"svg.hashsalt": "hetdask", "svg.fonttype": "none", "font.size": 8.0})
    figure = Figure(figsize=(10.0, 6.0), layout="constrained")
    panels = figure.subplots(3, 4).ravel()
    for ax, (name, strata) in zip(panels, groups.items(), strict=False):
        labels = [f"{key} ({len(group)})" for key, group in strata.items()]
        left = np.zeros(len(labels))
        for kind, color in zip(OUTCOMES, COLORS, strict=True):
            part = np.array([share(group, partial(came_out, kind)) for group in strata.values()])
            ax.barh(labels, part, left=left, color=color, label=kind)
            left += part
        ax.set(title=name, xlim=(0.0, 1.0))
        ax.invert_yaxis()
    for ax in panels[len(groups) :]:
        ax.set_axis_off()
    panels[-1].legend(*panels[0].get_legend_handles_labels(), loc="center", frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    console.print(f"drawn to {path}")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--experiments", type=int, default=120, help="drawn from the distribution")
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--timed", type=int, default=12, help="more of 1000 frames and 5 angles, for the times")
    parser.add_argument("--workers", type=int, default=2, help="workers of the local cluster; 0: in this process")
    parser.add_argument("--cases", type=Path, help="keep outcomes in this file, and go on from those that are there")
    parser.add_argument("--figure", type=Path, help="draw the outcomes to this file")
    parser.add_argument("--note", help="what else there is to say about this run, for the record")
    parser.add_argument("--recorded", type=Path, help="run nothing: draw the outcomes in this record")


def main() -> None:
    """Measure and record."""
    options = parse_arguments(__doc__, arguments)
    if options.recorded is not None:
        record = json.loads(options.recorded.read_text())
        counted = record["figures"]["cases"][: record["settings"]["experiments"]]
        draw_figure(counted, options.figure or Path("cold_start.svg"))
        return
    before = machine()
    drawn = [draw(k) for k in range(options.first, options.first + options.experiments)]
    large = [draw(k, TIMED) for k in range(10_000, 10_000 + options.timed)]
    known = read_cases(options.cases)
    cases = []
    scheduler = ("local", options.workers) if options.workers else ("inline",)
    with tempfile.TemporaryDirectory() as name, open_runner(*scheduler) as runner:
        if large:
            cold_start(draw(0), runner, Path(name))  # what is compiled or cached at first use is not timed
        for experiment in track([*drawn, *large], description="cold starts", console=console):
            case = known.get(experiment.index)
            if case is None:
                with tempfile.TemporaryDirectory() as folder:
                    case = cold_start(experiment, runner, Path(folder))
                keep_case(options.cases, case)
            cases.append(case)
            if not succeeded(case):
                console.print(f"not found: {case}")
    counted, timed = cases[: len(drawn)], cases[len(drawn) :]
    strata = by_stratum(counted)
    show(
        f"{len(counted)} cold starts",
        ("", "experiments", "success"),
        [(name, f"{row['experiments']}", f"{row['success']:.1%}") for name, row in strata.items()],
    )
    wrong = share(counted, lambda case: case["status"] == "converged" and not succeeded(case))
    statuses = sorted({case["status"] for case in counted})
    ratios = {
        "success": Ratio(share(counted, succeeded), "all experiments", 0.95),
        "converged on a wrong optimum": Ratio(wrong, "all experiments", 0.01, at_least=False),
    }
    figures: dict[str, Any] = {
        "strata": strata,
        "statuses": {status: sum(case["status"] == status for case in counted) for status in statuses},
        "evaluations, median": float(np.median([case["evaluations"] for case in counted])) if counted else 0.0,
        "failures": [case for case in counted if not succeeded(case)],
        "cases": cases,
    }
    if timed:
        seconds = sorted(case["seconds"] for case in timed)
        median, worst = float(np.median(seconds)), seconds[-1]
        console.print(f"{TIMED[1]} × {TIMED[0]}²: median {duration(median)}, worst {duration(worst)}")
        figures["seconds"] = {"experiments": len(seconds), "median": significant(median), "worst": significant(worst)}
        ratios["median time"] = Ratio(median / 30.0, "30 s", 1.0, at_least=False)
        ratios["worst time"] = Ratio(worst / 120.0, "120 s", 1.0, at_least=False)
    show_ratios(ratios)
    write_result(
        options.results,
        "cold_start",
        settings={"experiments": len(counted), "workers": options.workers, "success": SUCCESS, "timed": list(TIMED)},
        figures=figures,
        ratios=ratios,
        versions=versions(),
        machine=before,
        notes=[
            "Seconds from an existing store to the result, by hetdask.fit on workers that are running.",
            *([options.note] if options.note else []),
        ],
    )
    if options.figure is not None:
        draw_figure(counted, options.figure)


if __name__ == "__main__":
    main()
