"""The fit of `peer_fits.py` over sizes, from 20 % off or without start values, beside the same peers.

    python benchmarks/peer_sizes.py --heterodyne-python PATH --xpcsjax-python PATH --figure docs/peers.png

Without start values hetdask searches; the peers, which must be given some, get the middle of the bounds (the geometric
one where they span decades). Everybody gets the same numbers, in turns. What a peer can't do is recorded as such.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
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
    peer_python,
    plain_numbers,
    show,
    show_ratios,
    significant,
    write_result,
)
from engines import Outcome, Peer, measure, peers_of
from flow_experiment import BOUNDS, FREE, TRUTH, simulate, start_values, sum_squares
from flow_experiment import MODELS as SAME_MODELS
from pass_rate import size_of

from hetdask.diagnosis.environment import machine, versions

SIZES: Final = ("3x100", "3x200", "3x400", "3x1000", "3x2000", "8x400", "23x400")

SAME: Final = 1e-6
"""Relative excess of a sum of squares up to which two minima are the same."""

type Case = dict[str, Any]


def middle() -> dict[str, float]:
    """The middle of the bounds of the free parameters, and the truth of the others."""
    start = dict(TRUTH)
    for name in FREE:
        low, high = BOUNDS[name]
        start[name] = float(np.sqrt(low * high)) if low > 0.0 else 0.5 * (low + high)
    return start


def case_of(size: str, start: str, seed: int, turns: int, warm: int, peers: Mapping[str, Peer]) -> Case:
    """Fits of all engines at one size from one kind of start."""
    angles, frames = size_of(size)
    experiment = simulate(frames, angles, seed)
    values = start_values(0.2, seed + 1) if start == "20 % off" else middle()
    search = {"start": "search", "seed": 1} if start == "cold" else {}
    outcomes = measure(experiment, values, peers, turns, warm, search)
    model = list(SAME_MODELS.values())[-1]
    return {
        "size": size,
        "start": start,
        "engines": {name: row_of(one, sum_squares(one.details["values"], experiment, model)) if one.details else None
                    for name, one in outcomes.items()},
        "failures": {name: one.failure for name, one in outcomes.items() if not one.details},
    }  # fmt: skip


def row_of(outcome: Outcome, total: float) -> dict[str, Any]:
    """What one engine needed and came to."""
    row: dict[str, Any] = {
        "fit_alone": significant(outcome.fit.median),
        "sum_squares": total,
        "largest_error": significant(largest_error(outcome.details["values"])),
        "evaluations": outcome.details["evaluations"],
    }
    if outcome.analyses:
        row["analysis"] = significant(outcome.analysis.median)
    if outcome.processes:
        row |= {
            "process": significant(outcome.wall.median),
            "cpu": significant(outcome.cpu.median),
            "peak_mib": outcome.peak_mib,
        }
    return row


def largest_error(values: Mapping[str, float]) -> float:
    """Of the free parameters, relative to the truth."""
    return max(abs(values[name] / TRUTH[name] - 1.0) for name in FREE)


def ratios_of(cases: list[Case], peers: list[str]) -> Iterator[tuple[str, Ratio]]:
    """Of hetdask against each peer, case by case."""
    for case in cases:
        engines, where = case["engines"], f"{case['size']}, {case['start']}"
        warm, lean = engines["hetdask, warm process"], engines["hetdask fit --no-plots"]
        for name in peers:
            peer = engines.get(name)
            if peer is None:
                continue
            large = case["size"] == "3x1000" and case["start"] == "20 % off"
            goals = (200.0, 0.1) if large else (None, None)
            yield f"{where}: fit alone, {name}", Ratio(peer["fit_alone"] / warm["fit_alone"], name, goals[0])
            yield f"{where}: process, {name}", Ratio(peer["process"] / lean["process"], name)
            memory = lean["peak_mib"] / peer["peak_mib"]
            yield f"{where}: peak memory, {name}", Ratio(memory, name, goals[1], at_least=False)
            excess = warm["sum_squares"] / peer["sum_squares"] - 1.0
            yield f"{where}: sum of squares, {name}", Ratio(excess, f"{name}, less 1", SAME, at_least=False)


def draw(path: Path, cases: list[Case], peers: list[str]) -> None:
    """Time of a fit, of a process, and memory, against the pixels of three maps."""
    from hetdask.results.plots.style import SERIES, new_figure, panel_title, save_figure, styled

    lines = [case for case in cases if case["start"] == "20 % off" and case["size"].startswith("3x")]
    panels = (("fit_alone", "Fit alone", "s"), ("process", "Whole process", "s"), ("peak_mib", "Peak memory", "MiB"))
    sources = {"fit_alone": "hetdask, warm process", "process": "hetdask fit --no-plots"}

    @styled
    def figure_of() -> Any:
        figure = new_figure(9.0, 3.2)
        for axes, (key, title, unit) in zip(figure.subplots(1, 3), panels, strict=True):
            ours = sources.get(key, "hetdask fit --no-plots")
            for colour, name in zip(SERIES, (ours, *peers), strict=False):
                found = [(size_of(case["size"])[1], case["engines"].get(name)) for case in lines]
                shown = np.array([(frames, row[key]) for frames, row in found if row is not None])
                axes.loglog(*shown.T, "o-", color=colour, ms=4, label=name.split(" ")[0].rstrip(","))
            axes.set(xlabel="frames of three maps", ylabel=unit)
            plain_numbers(axes, (1.0, 3.0))
            panel_title(axes, title)
        figure.axes[0].legend()
        return figure

    save_figure(figure_of(), path)
    console.print(f"drawn to {path}")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    peer_python(parser, "--heterodyne-python", "heterodyne 2.0.1")
    peer_python(parser, "--xpcsjax-python", "xpcsjax 0.1.8")
    parser.add_argument("--sizes", nargs="+", default=SIZES, help="angles x frames, from 20 %% off")
    parser.add_argument("--cold-sizes", nargs="*", default=(), help="without start values: a peer may take very long")
    parser.add_argument("--seed", type=int, default=0, help="of the noise; start values take the next one")
    parser.add_argument("--turns", type=int, default=1, help="turns of each engine")
    parser.add_argument("--warm-fits", type=int, default=5, help="fits of hetdask in this process in each turn")
    parser.add_argument("--cases", type=Path, help="keep outcomes in this file, and go on from those that are there")
    parser.add_argument("--figure", type=Path, help="draw the figure into this file")


def main() -> None:
    """Measure and record."""
    options = parse_arguments(__doc__, arguments)
    peers = peers_of(options)
    before = machine()
    known = {(case["size"], case["start"]): case for case in kept_cases(options.cases)}
    wanted = [(size, "20 % off") for size in options.sizes] + [(size, "cold") for size in options.cold_sizes]
    cases = []
    for size, start in wanted:
        console.print(f"{size}, {start}")
        case = known.get((size, start))
        if case is None:
            case = case_of(size, start, options.seed, options.turns, options.warm_fits, peers)
            keep_case(options.cases, case)
        cases.append(case)
        show(
            f"{size}, {start}",
            ("", "fit alone", "process", "CPU", "peak (MiB)", "sum of squares", "largest error"),
            [
                (
                    name,
                    *(duration(row[key]) if key in row else "" for key in ("fit_alone", "process", "cpu")),
                    str(row.get("peak_mib", "")),
                    f"{row['sum_squares']:.9g}",
                    f"{100.0 * row['largest_error']:.3g} %",
                )
                if row is not None
                else (name, case["failures"][name], "", "", "", "", "")
                for name, row in case["engines"].items()
            ],
        )
    ratios = dict(ratios_of(cases, list(peers)))
    show_ratios(ratios)
    write_result(
        options.results,
        "peer_sizes",
        settings={"seed": options.seed, "turns": options.turns, "free parameters": list(FREE), "truth": TRUTH},
        figures={f"{case['size']}, {case['start']}": case["engines"] for case in cases},
        ratios=ratios,
        versions=versions(),
        machine=before,
        notes=[
            "peer_fits.json says what the columns mean; seconds are medians, sums of squares are of the exact model.",
            "cold: the peers start in the middle of the bounds, hetdask searches; sums of squares tell who got there.",
            *(
                f"{case['size']}, {case['start']}: {name} failed: {why}"
                for case in cases
                for name, why in case["failures"].items()
            ),
        ],
    )
    if options.figure is not None:
        draw(options.figure, cases, list(peers))


if __name__ == "__main__":
    main()
