"""Large data within a memory budget: made, read, passed over and fitted, with the operating system's count of memory.

    python benchmarks/scale.py --folder SCRATCH --cases scale.jsonl

Each store is made tile by tile, so that no whole map is ever in memory, and fitted by the command line with two
workers within its budget. Before that: the plain rate of reading its files, which are not in the system's cache, and
of a pass that streams them; and of passes over resident data on one and two workers against the same kernels in two
threads of this process. One size is also fitted from the bounds alone. A second fit without the limit tells whether
the answer is the same; for the largest data it is a single pass that is compared, streamed against partly resident
and two workers against one.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from common import (
    Ratio,
    Timing,
    duration,
    keep_case,
    kept_cases,
    mebibytes,
    parse_arguments,
    show,
    show_ratios,
    significant,
    write_result,
)
from large import FREE, WORKERS, difference, fit, make, one_pass, stay, stream

from hetdask.data.store import Store
from hetdask.diagnosis.environment import machine, versions
from hetdask.passes.plan import held_bytes

UNLIMITED: Final = 0.9
"""Of the machine's memory: the budget of the fit that is compared with."""

SAME: Final = 1e-10
COLD: Final = 60.0
"""Seconds that a cold start may take."""

LARGE: Final = 2**29


@dataclass(frozen=True, slots=True)
class Size:
    """One data set and its budget.

    Attributes
    ----------
    angles, frames : int
    budget : str
        Of the whole run.
    resident : bool
        Whether passes over resident data are timed, for which all of it has to fit into memory twice.
    refit : bool
        Whether the fit is repeated without the limit.
    cold : bool
        Whether it is fitted from the bounds alone too.
    """

    angles: int
    frames: int
    budget: str
    resident: bool = True
    refit: bool = True
    cold: bool = False

    @property
    def name(self) -> str:
        """As in file names: "30x4800"."""
        return f"{self.angles}x{self.frames}"


SIZES: Final = (
    Size(2, 2000, "1GiB"),
    Size(23, 1001, "1.5GiB", cold=True),
    Size(30, 4800, "2GiB"),
    Size(300, 4800, "4GiB", resident=False, refit=False),
)


class Kept:
    """Outcomes of steps, measured once and kept in a file."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._known = {(case["size"], case["step"]): case for case in kept_cases(path)}

    def __call__(self, size: str, step: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What is known of a step, else what `measure` finds."""
        if (size, step) not in self._known:
            case = {"size": size, "step": step, "load": machine()["load_average"], **measure()}
            keep_case(self._path, case)
            self._known[size, step] = case
        return self._known[size, step]


def measure(size: Size, folder: Path, kept: Kept, turns: int) -> dict[str, dict[str, Any]]:
    """All steps of one size; its store goes when they are done."""
    path = folder / f"{size.name}.zarr"

    def store() -> Store:
        if not path.exists():
            make(path, size.angles, size.frames, size.budget)
        return Store.open(path)

    found = {"make": kept(size.name, "make", lambda: make(path, size.angles, size.frames, size.budget))}
    found["stream"] = kept(size.name, "stream", lambda: stream(store(), turns))
    if size.resident:
        found["stay"] = kept(size.name, "stay", lambda: stay(store(), turns))
    found["fit"] = kept(size.name, "fit", lambda: fit(store(), folder, size.budget))
    if size.cold:
        found["cold"] = kept(size.name, "cold", lambda: fit(store(), folder, size.budget, None))
    if size.refit:
        found["unlimited"] = kept(size.name, "unlimited", lambda: fit(store(), folder, UNLIMITED))
    else:

        def single(workers: int, resident: int) -> dict[str, Any]:
            """A pass with so many shards in memory."""
            return one_pass(store(), workers, resident * held_bytes(store().shards()[0], store().tile))

        for name, workers, resident in (("streamed", WORKERS, 0), ("partly resident", WORKERS, 20), ("alone", 1, 0)):
            found[name] = kept(size.name, name, partial(single, workers, resident))
    shutil.rmtree(path, ignore_errors=True)
    return found


def same_pass(first: Mapping[str, Any], second: Mapping[str, Any]) -> float:
    """Largest relative difference of the sums of squares of the angles."""
    a, b = np.array(first["sum_squares"]), np.array(second["sum_squares"])
    return float(np.abs(a / b - 1.0).max())


def median(times: Sequence[float]) -> float:
    """Median, s."""
    return Timing(tuple(times)).median


def summary(size: Size, found: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, Ratio]]:
    """Figures and ratios of one size."""
    made, streamed, fitted = found["make"], found["stream"], found["fit"]
    pixels, on_disk = made["pixels"], made["bytes"]
    read, passed = median(streamed["read"]), median(streamed["pass"])
    figures: dict[str, Any] = {
        "pixels": pixels,
        "full_maps_bytes": 4 * size.angles * size.frames**2,
        "tile_bytes": made["tile_bytes"],
        "store_bytes": on_disk,
        "shards": made["shards"],
        "made": {"seconds": significant(made["seconds"]), "pixels_per_second": significant(pixels / made["seconds"])},
        "read": {
            "seconds": Timing(tuple(streamed["read"])).record(),
            "bytes_per_second": significant(on_disk / read),
            "pixels_per_second": significant(pixels / read),
        },
        "streamed_pass": {
            "seconds": Timing(tuple(streamed["pass"])).record(),
            "pixels_per_second": significant(pixels / passed),
        },
        "fit": {
            "budget": fitted["budget"],
            "peak_of_all_processes": fitted["peak"],
            "projected": fitted["memory"]["projected"],
            "peak_worker": fitted["memory"]["peak_worker"],
            "workers_started": fitted["workers_started"],
            "spilled_files": fitted["spilled_files"],
            "wall_seconds": significant(fitted["wall"]),
            "cpu_seconds": significant(fitted["cpu"]),
            "evaluations": fitted["evaluations"],
            "seconds_per_evaluation": significant(fitted["refine_seconds"] / fitted["evaluations"]),
            "stages": {name: significant(seconds) for name, seconds in fitted["timings"].items()},
            "load_before": fitted["load"],
        },
    }
    # Less than this is read in the time that Dask takes for its tasks.
    streaming = 1.3 if on_disk > LARGE else None
    ratios = {
        f"{size.name}, peak": Ratio(fitted["peak"] / fitted["budget"], "budget", 1.0, at_least=False),
        f"{size.name}, streamed pass": Ratio(passed / read, "time of plain reading", streaming, at_least=False),
    }
    if size.resident:
        stayed = found["stay"]
        times = {name: median(stayed[name]) for name in ("1 thread", "2 threads", "1 worker", "2 workers")}
        figures["resident_pass"] = {
            name: {
                "seconds": Timing(tuple(stayed[name])).record(),
                "pixels_per_second": significant(pixels / times[name]),
            }
            for name in times
        }
        goal = 1.5 if size.name == "23x1001" else None
        reference = "time of the kernels in 2 threads of one process"
        ratios[f"{size.name}, resident pass"] = Ratio(
            times["2 workers"] / times["2 threads"], reference, goal, at_least=False
        )
        ratios[f"{size.name}, two workers"] = Ratio(times["1 worker"] / times["2 workers"], "rate of one")
    if size.cold:
        cold = found["cold"]
        figures["cold_start"] = {
            "status": cold["status"],
            "budget": cold["budget"],
            "peak_of_all_processes": cold["peak"],
            "wall_seconds": significant(cold["wall"]),
            "stages": {name: significant(seconds) for name, seconds in cold["timings"].items()},
        }
        lower = cold["chi_squared"] / fitted["chi_squared"] - 1.0
        ratios |= {
            f"{size.name}, cold start to report": Ratio(cold["wall"] / COLD, f"{COLD:g} s", 1.0, at_least=False),
            f"{size.name}, cold start, peak": Ratio(cold["peak"] / cold["budget"], "budget", 1.0, at_least=False),
            f"{size.name}, cold start, χ² above that from start values": Ratio(lower, "χ²", 1e-6, at_least=False),
        }
    if size.refit:
        apart = difference(fitted, found["unlimited"])
        figures["difference_to_unlimited"] = {key: significant(value) for key, value in apart.items()}
        largest = apart["chi_squared"]
    else:
        others = {name: found[name] for name in ("streamed", "partly resident", "alone")}
        figures["single_passes"] = {name: significant(other["seconds"]) for name, other in others.items()}
        largest = max(same_pass(other, others["streamed"]) for other in others.values())
    ratios[f"{size.name}, difference of χ²"] = Ratio(largest, "χ²", SAME, at_least=False)
    return figures, ratios


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--sizes", nargs="+", default=[size.name for size in SIZES], help="angles x frames")
    parser.add_argument("--folder", type=Path, required=True, help="for stores and runs: the largest takes 15 GB")
    parser.add_argument("--cases", type=Path, help="file that keeps what was measured: another run goes on from there")
    parser.add_argument("--turns", type=int, default=5, help="turns of each side")


def main() -> None:
    """Measure and record."""
    options = parse_arguments(__doc__, arguments)
    before, kept = machine(), Kept(options.cases)
    options.folder.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Any] = {}
    ratios: dict[str, Ratio] = {}
    rows = []
    for size in (size for size in SIZES if size.name in options.sizes):
        found = measure(size, options.folder, kept, options.turns)
        figures[size.name], some = summary(size, found)
        ratios |= some
        own = figures[size.name]
        rows.append(
            (
                size.name,
                f"{own['store_bytes'] / 1e9:.3g} GB",
                f"{own['read']['pixels_per_second'] / 1e6:.0f}",
                f"{own['streamed_pass']['pixels_per_second'] / 1e6:.0f}",
                duration(own["fit"]["seconds_per_evaluation"]),
                duration(own["fit"]["wall_seconds"]),
                f"{mebibytes(own['fit']['peak_of_all_processes'])} of {mebibytes(own['fit']['budget'])}",
            )
        )
    columns = ("", "store", "read, million pixels/s", "pass", "evaluation", "fit with report", "peak memory")
    show("Scale", columns, rows)
    show_ratios(ratios)
    write_result(
        options.results,
        "scale",
        settings={"workers": WORKERS, "free parameters": len(FREE)},
        figures=figures,
        ratios=ratios,
        versions=versions(),
        machine=before,
        notes=[
            "Reading and streamed passes begin with no file in this system's cache; its host may have some in its own.",
            "Peak memory is the sum of the resident sizes of all processes of the run, shared pages counted in each.",
            "χ² within and without the limit; where there is one fit, sums of squares of passes cut in other ways.",
        ],
    )


if __name__ == "__main__":
    main()
