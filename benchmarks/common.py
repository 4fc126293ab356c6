"""What the benchmarks share: machine and versions, timing in turns, result files and tables.

Every benchmark is one command, measures a reference in the same run, and writes ``results/NAME.json``: machine,
versions, settings, figures, ratios. No names of hosts or folders go into these files.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Table
from threadpoolctl import ThreadpoolController

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.progress import Progress

    from hetdask_cluster.runner import Runner

RESULTS: Final = Path(__file__).parent / "results"

SETTLE_SECONDS: Final = 0.05
"""Before each turn: threads of BLAS and OpenMP go on spinning for some 30 ms after their work is done."""

console: Final = Console(width=max(100, min(shutil.get_terminal_size().columns, 160)))


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of repeated runs."""

    times: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median of the runs, s: what ratios are made of."""
        return statistics.median(self.times)

    def spread(self) -> str:
        """Median with minimum and maximum, as text."""
        return f"{duration(self.median)} ({duration(min(self.times))} to {duration(max(self.times))})"

    def record(self) -> dict[str, float | int]:
        """What goes into the result file."""
        return {
            "runs": len(self.times),
            "min": significant(min(self.times)),
            "median": significant(self.median),
            "max": significant(max(self.times)),
        }


@dataclass(frozen=True, slots=True)
class Contestant:
    """One side of a comparison.

    Attributes
    ----------
    run : callable
        Called with the number of the run; returns the seconds it took.
    per_turn : int
        Runs in a row before the next side has its turn: more for the shorter ones.
    threads : int, optional
        Of BLAS in this process during its turn. Set once a turn: to set them empties caches that runs fill.
    """

    run: Callable[[int], float]
    per_turn: int = 1
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as fast, or as large, as the reference of the same run.

    Attributes
    ----------
    value : float
    reference : str
        What 1 stands for.
    goal : float, optional
    at_least : bool
        Whether the goal is a lower bound.
    """

    value: float
    reference: str
    goal: float | None = None
    at_least: bool = True

    @property
    def met(self) -> bool:
        """Whether the goal, if there is one, is reached."""
        if self.goal is None:
            return True
        return self.value >= self.goal if self.at_least else self.value <= self.goal

    def record(self) -> dict[str, Any]:
        """What goes into the result file."""
        entry: dict[str, Any] = {"ratio": significant(self.value), "reference": self.reference}
        if self.goal is not None:
            entry["goal"] = f"{'at least' if self.at_least else 'at most'} {self.goal:g}"
            entry["met"] = self.met
        return entry

    def row(self, name: str) -> tuple[str, ...]:
        """Line of a table: name, value, reference, goal, verdict."""
        if self.goal is None:
            return name, f"{self.value:.3g}", self.reference, "", ""
        sign = "≥" if self.at_least else "≤"
        return name, f"{self.value:.3g}", self.reference, f"{sign} {self.goal:g}", "met" if self.met else "MISSED"


def parse_arguments(description: str | None, add: Callable[[argparse.ArgumentParser], None]) -> argparse.Namespace:
    """Command line of a benchmark: what `add` adds, and where the result goes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add(parser)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the result file")
    return parser.parse_args()


def peer_python(parser: argparse.ArgumentParser, option: str, package: str) -> None:
    """Add the option that names the interpreter of a peer's environment; an environment variable serves as well."""
    variable = "HETDASK_BENCH_" + option.strip("-").replace("-", "_").upper()
    parser.add_argument(
        option,
        type=Path,
        default=os.environ.get(variable),
        metavar="PATH",
        help=f"Python that has {package} (see peers/README.md); or {variable}",
    )


def timed(function: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def in_turns(sides: Mapping[str, Contestant], turns: int) -> dict[str, Timing]:
    """Run all sides one after the other, `turns` times, so that a change of the machine's pace meets all of them.

    One turn before that warms up and does not count.
    """
    times: dict[str, list[float]] = {name: [] for name in sides}
    pools = ThreadpoolController()
    for turn in range(turns + 1):
        for name, side in sides.items():
            time.sleep(SETTLE_SECONDS)
            with pools.limit(limits=side.threads, user_api="blas"):
                seconds = [side.run(turn * side.per_turn + k) for k in range(side.per_turn)]
            if turn > 0:
                times[name].extend(seconds)
    return {name: Timing(tuple(values)) for name, values in times.items()}


def write_result(
    folder: Path,
    name: str,
    *,
    settings: Mapping[str, Any],
    figures: Mapping[str, Any],
    ratios: Mapping[str, Ratio],
    versions: Mapping[str, str],
    machine: Mapping[str, Any],
    notes: Sequence[str] = (),
) -> None:
    """Write ``NAME.json`` and say so."""
    content = {
        "benchmark": name,
        "recorded": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine,
        "versions": versions,
        "settings": settings,
        "figures": figures,
        "ratios": {key: ratio.record() for key, ratio in ratios.items()},
        "notes": list(notes),
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    console.print(f"written to {path}")


def kept_cases(path: Path | None) -> list[dict[str, Any]]:
    """Outcomes that earlier runs have kept, none without a file."""
    lines = path.read_text().splitlines() if path is not None and path.exists() else []
    return [json.loads(line) for line in lines]


def keep_case(path: Path | None, case: Mapping[str, Any]) -> None:
    """Add an outcome to those that are kept, if they are."""
    if path is not None:
        with path.open("a") as file:
            file.write(json.dumps(case) + "\n")


def outcomes(
    experiment: Callable[[int, str], dict[str, Any]],
    name: str,
    seeds: Sequence[int],
    runner: Runner,
    path: Path | None,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Outcomes of the experiments of a setting: those that `path` keeps, and others, which it then keeps too."""
    known = {case["seed"]: case for case in kept_cases(path) if case["setting"] == name}
    missing = [seed for seed in seeds if seed not in known]
    bar = progress.add_task(name, total=len(seeds), completed=len(seeds) - len(missing))

    def keep(place: int, found: dict[str, Any]) -> None:
        known[missing[place]] = found
        keep_case(path, {"setting": name, "seed": missing[place], **found})
        progress.advance(bar)

    runner.map(experiment, missing, name, on_done=keep)
    return [known[seed] for seed in seeds]


def show(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; the first column is text, the others are figures."""
    table = Table(title=title, title_justify="left")
    for k, column in enumerate(columns):
        table.add_column(column, justify="left" if k == 0 else "right")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def show_rows(title: str, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Print figures by row, and their messages below."""

    def text(value: Any) -> str:
        return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)

    columns = list(dict.fromkeys(key for row in rows.values() for key in row if key != "message"))
    show(title, ("", *columns), [(name, *(text(row.get(column)) for column in columns)) for name, row in rows.items()])
    for name, row in rows.items():
        if row.get("message"):
            console.print(f"{name}: {row['message']}")


def show_ratios(ratios: Mapping[str, Ratio]) -> None:
    """Print the ratios with their goals."""
    show("Ratios", ("", "ratio", "reference", "goal", ""), [ratio.row(name) for name, ratio in ratios.items()])


def plain_numbers(axes: Axes, subs: tuple[float, ...]) -> None:
    """Label logarithmic axes with plain numbers, the vertical one at these multiples of powers of ten."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.yaxis.set_major_locator(LogLocator(subs=subs))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_minor_formatter(NullFormatter())


def significant(value: float, digits: int = 4) -> float:
    """A value rounded to so many significant digits, for the record."""
    return float(f"{value:.{digits}g}") if math.isfinite(value) else value


def duration(seconds: float) -> str:
    """Seconds as text, in ms below one second."""
    return f"{seconds * 1e3:.3g} ms" if seconds < 1.0 else f"{seconds:.3g} s"


def mebibytes(size: float) -> str:
    """Bytes as text in MiB."""
    return f"{size / 2**20:.0f} MiB"
