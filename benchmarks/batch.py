"""Many parameter vectors in one pass over data that are read from disk, against a pass for one of them.

    python benchmarks/batch.py

A batch reads the data once and compresses them on the way, so that each further vector goes through fewer numbers. The
store is larger than what its workers may keep, and files are dropped from the system's cache before every pass. Plain
reading of the files takes its turns too.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from common import (
    Contestant,
    Ratio,
    console,
    in_turns,
    parse_arguments,
    show,
    show_ratios,
    significant,
    timed,
    write_result,
)
from large import FREE, WORKERS, files_of, forget, make, pass_over, read_over, vector_of
from pass_rate import size_of

from hetdask.compilation import KERNELS
from hetdask.data.store import Store
from hetdask.diagnosis.environment import machine, versions
from hetdask.passes import Passes
from hetdask.passes.run import WORTH_A_BATCH
from hetdask_cluster.local import open_runner

SIZES: Final = (4, 8, 32)
GOAL: Final = 8.0
BUDGET: Final = "4GiB"


def batch_over(passes: Passes, size: int, free: tuple[int, ...], files: Sequence[Path]) -> Callable[[int], float]:
    """Seconds of a batch of so many vectors, with files that are not in the cache."""

    def run(k: int) -> float:
        forget(files)
        vectors = np.array([vector_of(k + one) for one in range(size)])
        return timed(lambda: passes.batch(vectors, free))

    return run


def difference(passes: Passes) -> float:
    """Largest difference of a batch from passes of their own, relative to the sums of squares."""
    # Fewer are no batch, but passes of their own.
    vectors = np.array([vector_of(25 * k) for k in range(WORTH_A_BATCH)])
    worst = 0.0
    for vector, sums in zip(vectors, passes.batch(vectors, FREE), strict=True):
        alone = passes(vector, FREE).gram
        scale = np.sqrt(np.einsum("mkk->mk", alone))
        worst = max(worst, float(np.abs((sums.gram - alone) / (scale[:, :, None] * scale[:, None, :])).max()))
    return worst


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--size", default="30x4800", help="angles x frames")
    parser.add_argument("--turns", type=int, default=3, help="turns of all sides")
    parser.add_argument("--folder", type=Path, help="where the store is made; by default in a temporary folder")


def main() -> None:
    """Measure and record."""
    options = parse_arguments(__doc__, arguments)
    before = machine()
    angles, frames = size_of(options.size)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "maps.zarr"
        console.print("making the store ...")
        made = make(path, angles, frames, BUDGET)
        store = Store.open(path)
        files = files_of(store)
        with open_runner("local", WORKERS, memory_limit=BUDGET, prepare=KERNELS) as runner:
            passes = Passes(store, runner, resident_bytes=0)
            sides = {"plain reading": Contestant(read_over(files)), "one vector": Contestant(pass_over(passes, files))}
            for size in SIZES:
                sides[f"{size} vectors"] = Contestant(batch_over(passes, size, FREE, files))
            sides["32 vectors, χ² alone"] = Contestant(batch_over(passes, SIZES[-1], (), files))
            console.print("measuring ...")
            timings = in_turns(sides, options.turns)
            differs = difference(passes)
            peak = runner.peak_worker()
    one = timings["one vector"].median
    ratios = {
        name: Ratio(timing.median / one, "time of one vector", GOAL if "32" in name else None, at_least=False)
        for name, timing in timings.items()
        if "vectors" in name
    }
    show(
        f"A pass over {angles} × {frames}² from disk",
        ("", "median (min to max)", "in passes of one vector"),
        [(name, timing.spread(), f"{timing.median / one:.2f}") for name, timing in timings.items()],
    )
    show_ratios(ratios)
    write_result(
        options.results,
        "batch",
        settings={
            "angles": angles,
            "frames": frames,
            "pixels": made["pixels"],
            "bytes of the store": made["bytes"],
            "workers": WORKERS,
            "budget": BUDGET,
            "free parameters": len(FREE),
            "turns": options.turns,
        },
        figures={
            **{name: {"seconds": timing.record()} for name, timing in timings.items()},
            "relative difference of sums from single passes": significant(differs, 2),
            "peak of a worker, MiB": round(peak / 2**20),
        },
        ratios=ratios,
        versions=versions(),
        machine=before,
        notes=["Derivatives for all free parameters unless χ² alone is said. Ratios of medians, all sides in turns."],
    )


if __name__ == "__main__":
    main()
