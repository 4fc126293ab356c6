"""A weighted fit of large data beside the plain one: 5 maps of 5000², from the store to the report.

    python benchmarks/weighted_large.py --folder SCRATCH

The maps are averages over simulated speckles, as in `weighted.py`, over as long a time, in more frames. Both fits run
by the command line on two workers within the same budget, all their processes watched, from start values that are a
few per cent off.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any, Final

import numpy as np
from common import Ratio, console, mebibytes, parse_arguments, show, show_ratios, significant, write_result
from large import fit
from weighted import DT, FIXED, PHI, SPECKLES, TRUTHS, Q
from weighted import FRAMES as USUAL_FRAMES

from hetdask.data.store import Store
from hetdask.data.writers import write_store
from hetdask.diagnosis.environment import machine, versions
from hetdask.model import simulate_speckle

FRAMES: Final = 5000
MODES: Final = 3
BUDGET: Final = "2GiB"
SECONDS: Final = 60.0
OFF: Final = 1.03
SPEED: Final = "slow"


def make(path: Path, frames: int) -> Store:
    """A store of simulated speckles."""
    time = DT * USUAL_FRAMES / frames * np.arange(frames)
    rng = np.random.default_rng(1)
    maps = simulate_speckle(TRUTHS[SPEED], time, PHI, Q, speckles=SPECKLES, modes=MODES, rng=rng)
    return write_store(path, maps, phi=PHI, q=Q, dt=float(time[1]))


def compare(store: Store, folder: Path) -> dict[str, dict[str, Any]]:
    """Plain and weighted fit."""
    start = {name: OFF * value for name, value in TRUTHS[SPEED].items()} | dict.fromkeys(FIXED, 0.0)
    return {weights: fit(store, folder, BUDGET, start, FIXED, weights) for weights in ("plain", "speckle")}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--folder", type=Path, required=True, help="for the store and the runs, some GB")
    parser.add_argument("--frames", type=int, default=FRAMES)


def main() -> None:
    """Measure and record."""
    options = parse_arguments(__doc__, arguments)
    path = options.folder / "weighted.zarr"
    before = machine()
    store = Store.open(path) if path.exists() else make(path, options.frames)
    found = compare(store, options.folder)
    show(
        f"{len(PHI)} × {options.frames}²",
        ("", "wall (s)", "CPU (s)", "peak (MiB)", "status", "weights used"),
        [
            (
                name,
                f"{one['wall']:.1f}",
                f"{one['cpu']:.1f}",
                mebibytes(one["peak"]),
                one["status"],
                (one["weighting"] or {}).get("used", "plain"),
            )
            for name, one in found.items()
        ],
    )
    weighted, plain = found["speckle"], found["plain"]
    ratios = {
        "weighted, from store to report": Ratio(weighted["wall"] / SECONDS, f"{SECONDS:g} s", 1.0, at_least=False),
        "weighted, wall": Ratio(weighted["wall"] / plain["wall"], "plain fit"),
        "weighted, peak": Ratio(weighted["peak"] / weighted["budget"], "budget", 1.0, at_least=False),
    }
    show_ratios(ratios)
    for name, one in found.items():
        pulls = [
            abs(one["values"][key] - value) / one["errors"][key]
            for key, value in TRUTHS[SPEED].items()
            if one["errors"][key]
        ]
        console.print(f"{name}: largest deviation from the truth {max(pulls):.1f} standard errors")
    write_result(
        options.results,
        "weighted_large",
        settings={"frames": options.frames, "phi": list(PHI), "speckles": SPECKLES, "modes": MODES, "budget": BUDGET},
        figures={
            name: {
                "status": one["status"],
                "wall_seconds": significant(one["wall"]),
                "cpu_seconds": significant(one["cpu"]),
                "peak_of_all_processes": one["peak"],
                "stages": {stage: significant(seconds) for stage, seconds in one["timings"].items()},
                "errors": {key: error and significant(error) for key, error in one["errors"].items()},
            }
            for name, one in found.items()
        },
        ratios=ratios,
        versions=versions(),
        machine=before,
    )
    shutil.rmtree(path)


if __name__ == "__main__":
    main()
