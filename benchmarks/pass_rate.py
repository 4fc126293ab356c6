"""Rate of a pass (χ², gradient and Gauss-Newton matrix) against a BLAS product of the same pixels with one vector.

    python benchmarks/pass_rate.py

The matrix holds the pixels above the diagonal, the same that the pass sums, as float32, and is multiplied with a
vector through NumPy: one multiply-add per pixel, as fast as memory and cache deliver. In this process the pass runs on
one thread and so does BLAS; a local cluster of W workers is set against BLAS with W threads. BLAS takes the maps as
files have them too, whole squares in which each pair of frames stands twice: there times are compared. All sides take
turns in one run.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
from common import (
    Contestant,
    Ratio,
    Timing,
    console,
    duration,
    in_turns,
    parse_arguments,
    show,
    show_ratios,
    significant,
    timed,
    write_result,
)
from maps import PARAMETERS, simulated_maps
from threadpoolctl import threadpool_info

from hetdask.data.store import Store
from hetdask.data.writers import write_store
from hetdask.diagnosis.environment import machine, versions
from hetdask.model import NAMES
from hetdask.passes import Passes, project
from hetdask.results.maps import symmetric
from hetdask_cluster.local import open_runner
from hetdask_cluster.runner import Runner

Q: Final = 0.0054
DT: Final = 0.1
GOAL: Final = 0.5
FREE: Final = tuple(k for k, name in enumerate(NAMES) if name != "f2")
"""All parameters but f2, which is fixed by default."""

WHOLE: Final = "BLAS over whole maps, 1 thread"

SIZES: Final = ("2x2000", "23x1001", "5x4000")


def size_of(text: str) -> tuple[int, int]:
    """Angles and frames of "2x2000"."""
    angles, _, frames = text.partition("x")
    return int(angles), int(frames)


def bytes_needed(angles: int, frames: int) -> int:
    """Memory of a measurement: pixels three times (BLAS, here, on workers), whole maps, and one in the making."""
    return (3 * 2 + 4) * angles * frames**2 + 12 * 8 * frames**2


def pixel_matrix(store: Store) -> np.ndarray:
    """The pixels of a store as (rows, n_frames) float32; less than one row is left over."""
    pairs = np.triu_indices(store.n_frames, 1)
    pixels = np.concatenate([store.read_map(m)[pairs] for m in range(store.n_phi)])
    rows = pixels.size // store.n_frames
    return pixels[: rows * store.n_frames].reshape(rows, store.n_frames)


def whole_maps(store: Store) -> np.ndarray:
    """The maps of a store one below the other, (n_phi·n_frames, n_frames) float32, with both triangles."""
    maps = [symmetric(store.read_map(angle)).astype(np.float32) for angle in range(store.n_phi)]
    return np.concatenate(maps)


def blas_product(matrix: np.ndarray) -> Callable[[int], float]:
    """Seconds of one product with a vector."""
    vector = np.random.default_rng(1).standard_normal(matrix.shape[1:], dtype=np.float32)
    out = np.empty(matrix.shape[0], dtype=np.float32)
    return lambda _: timed(lambda: np.matmul(matrix, vector, out=out))


def store_of(folder: Path, angles: int, frames: int) -> Store:
    """Simulated maps of one size, made once."""
    path = folder / f"{angles}x{frames}.zarr"
    if path.exists():
        return Store.open(path)
    phi = np.linspace(0.0, 180.0, angles, endpoint=False)
    return write_store(path, simulated_maps(frames, phi, Q, DT), phi=phi, q=Q, dt=DT)


def full_pass(store: Store, runner: Runner, free: tuple[int, ...] = FREE) -> Callable[[int], float]:
    """Seconds of one pass over resident data, each at parameters of its own; of χ² alone with no parameter `free`."""
    passes = Passes(store, runner)
    true = np.array(list(PARAMETERS.values()))
    passes(true, free)  # loads the libraries whose threads are set before each turn

    def run(k: int) -> float:
        vector = true * (1.0 + 1e-4 * (k % 100))
        start = time.perf_counter()
        project(passes(vector, free))
        return time.perf_counter() - start

    return run


def measure(size: str, store: Store, workers: int, turns: int) -> tuple[dict[str, Timing], dict[str, float]]:
    """Timings of all sides, and the pixels that each goes through."""
    matrix = pixel_matrix(store)
    threads = f"{workers} threads"
    names = ("BLAS, 1 thread", "pass in process", f"BLAS, {threads}", f"pass, {workers} workers", WHOLE)
    with open_runner("inline") as inline, open_runner("local", workers=workers) as cluster:
        console.print(f"measuring {size} ...")
        product = blas_product(matrix)
        here, there = full_pass(store, inline), full_pass(store, cluster)
        sides = ((product, 1), (here, 1), (product, workers), (there, 1), (blas_product(whole_maps(store)), 1))
        contestants = {name: Contestant(run, 5, blas) for name, (run, blas) in zip(names, sides, strict=True)}
        timings = in_turns(contestants, turns)
    pixels = {name: float(matrix.size if name.startswith("BLAS") else store.n_points) for name in names}
    pixels[WHOLE] = float(store.n_phi * store.n_frames**2)
    return timings, pixels


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--sizes", nargs="+", default=SIZES, help="angles x frames")
    parser.add_argument("--workers", type=int, default=2, help="workers of the local cluster, and threads of BLAS")
    parser.add_argument("--turns", type=int, default=10, help="turns of each side, 5 passes each")


def main() -> None:
    """Measure and record."""
    options = parse_arguments(__doc__, arguments)
    before = machine()
    figures: dict[str, Any] = {}
    ratios: dict[str, Ratio] = {}
    for size in options.sizes:
        angles, frames = size_of(size)
        if bytes_needed(angles, frames) > psutil.virtual_memory().available:
            console.print(f"{size} left out: it needs {bytes_needed(angles, frames) / 2**30:.1f} GiB")
            continue
        with tempfile.TemporaryDirectory() as folder:
            store = store_of(Path(folder), angles, frames)
            timings, pixels = measure(size, store, options.workers, options.turns)
        rates = {name: pixels[name] / timing.median for name, timing in timings.items()}
        rows = [
            (name, timing.spread(), f"{rates[name] / 1e6:.0f}", f"{duration(timing.median / angles)}")
            for name, timing in timings.items()
        ]
        show(f"{angles} × {frames}²", ("", "median (min to max)", "million pixels/s", "per angle"), rows)
        one, inline, many, cluster, _ = rates
        ratios[f"{size}, in process"] = Ratio(rates[inline] / rates[one], f"rate of {one}", GOAL)
        speed = timings[WHOLE].median / timings[inline].median
        ratios[f"{size}, in process, whole maps"] = Ratio(speed, f"speed of {WHOLE}", GOAL)
        ratios[f"{size}, {options.workers} workers"] = Ratio(rates[cluster] / rates[many], f"rate of {many}")
        figures[size] = {
            name: {"seconds": timing.record(), "pixels_per_second": significant(rates[name])}
            for name, timing in timings.items()
        }
    show_ratios(ratios)
    (blas,) = [lib for lib in threadpool_info() if "numpy" in lib["filepath"]] or [
        {"internal_api": "BLAS", "version": "?"}
    ]
    write_result(
        options.results,
        "pass_rate",
        settings={"free parameters": len(FREE), "workers": options.workers, "turns": options.turns},
        figures=figures,
        ratios=ratios,
        versions=versions({f"{blas['internal_api']} of NumPy": str(blas["version"])}),
        machine=before,
        notes=[
            (
                "Ratios of pixels per second, from medians; all sides in turns in one run. Those to whole maps are of "
                "times: each pair of frames stands twice in them, and counts once in a pass."
            ),
            "A pass is χ², gradient and Gauss-Newton matrix of all free parameters, with the small problem solved for.",
        ],
    )


if __name__ == "__main__":
    main()
