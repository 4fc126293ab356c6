"""How the time of a pass grows with frames, angles and parameters, and where it stands beside memory and arithmetic.

    python benchmarks/growth.py --figure docs/growth.png

Everything runs on one thread of this process, on data in memory, sizes in turns in one run. Exponents are slopes of
straight lines through the logarithms. The roofline has the speed at which memory is read and that of a matrix product
as roofs; beside them a product of BLAS with a vector (one multiply-add for each pixel), the kernel that goes through
the pixels (eight multiply-adds for each), and whole passes, counted as if they went through all pixels.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from common import (
    Contestant,
    Ratio,
    Timing,
    console,
    duration,
    in_turns,
    parse_arguments,
    plain_numbers,
    show,
    show_ratios,
    significant,
    timed,
    write_result,
)
from numpy.typing import ArrayLike, NDArray
from pass_rate import FREE, full_pass, pixel_matrix, store_of

from hetdask.data.tiling import PIXEL_BYTES
from hetdask.diagnosis.environment import machine, versions
from hetdask_cluster.runner import InlineRunner
from hetdask_kernels import contract_blocks

FRAMES: Final = (125, 250, 500, 1000, 2000, 4000)
ANGLES: Final = (1, 2, 4, 8, 16, 32)
FREE_COUNTS: Final = (1, 3, 5, 7, 9, 11, 13)

FEW_ANGLES: Final = 2
"""Beside many frames."""

SOME_FRAMES: Final = 500
"""Beside many angles."""

MANY_FRAMES: Final = 1000
"""From here on pixels should matter more than frames: exponents of the largest sizes are fitted from here."""

READ_BYTES: Final = 2**29
"""Of float32 that are added up to see how fast memory is read."""

PRODUCT_SIDE: Final = 1500

FLOPS: Final = 16
"""Floating-point operations for each pixel: eight multiply-adds, see `hetdask_kernels.contract`."""


class Spot(NamedTuple):
    """A place on the roofline: operations for each byte of pixels, and operations each second."""

    intensity: float
    speed: float


def memory_read() -> Callable[[int], float]:
    """Seconds in which memory is read once: the dot product of an array, far larger than any cache, with itself."""
    values = np.ones(READ_BYTES // 4, dtype=np.float32)
    return lambda _: timed(lambda: np.dot(values, values))


def matrix_product() -> Callable[[int], float]:
    """Seconds of a product of square matrices in float64, the numbers that passes compute in."""
    a, b = np.random.default_rng(0).standard_normal((2, PRODUCT_SIDE, PRODUCT_SIDE))
    return lambda _: timed(lambda: a @ b)


def pixel_kernel(blocks: int = 64, size: int = 480) -> tuple[Callable[[int], float], int]:
    """Seconds in which the kernel contracts so many blocks off the diagonal, and the pixels in them."""
    rng = np.random.default_rng(0)
    tiles = rng.standard_normal((blocks, size, size), dtype=np.float32)
    left, right = rng.uniform(0.5, 1.0, (2, 4, 2 * size))
    places = np.zeros((blocks, 3), dtype=np.int64)
    places[:, 0] = np.arange(blocks)
    where = np.tile(np.array([[0, 1]], dtype=np.int64), (blocks, 1))
    no = np.zeros(2, dtype=np.bool_)
    exponent, phase = np.zeros((2, 2 * size)), np.zeros(2 * size)
    rows, columns = np.zeros((2, 4, 2 * size))

    def run(_: int) -> float:
        return timed(
            lambda: contract_blocks(
                tiles, places, where, size, 0.0, True, left, right, no, no, no, exponent, phase, rows, columns
            )
        )

    return run, tiles.size


def roof(spots: Mapping[str, Spot], intensity: ArrayLike) -> NDArray[np.float64]:
    """Operations each second that memory and arithmetic allow at so many operations for each byte."""
    bandwidth = spots["memory"].speed / spots["memory"].intensity
    return np.minimum(bandwidth * np.asarray(intensity), spots["matrix product"].speed)


def exponent_of(sizes: Sequence[int], timings: Sequence[Timing], least: int = 0) -> float:
    """Slope of log time against log size, from the sizes that count."""
    kept = [(size, timing.median) for size, timing in zip(sizes, timings, strict=True) if size >= least]
    x, y = np.log(np.array(kept, dtype=np.float64)).T
    return float(np.polyfit(x, y, 1)[0])


def growth(folder: Path, turns: int) -> dict[str, dict[int, Timing]]:
    """Times by what grows and by its size."""
    by_frames = {frames: store_of(folder, FEW_ANGLES, frames) for frames in FRAMES}
    by_angles = {angles: store_of(folder, angles, SOME_FRAMES) for angles in ANGLES}
    here = InlineRunner()
    sides: dict[str, dict[int, Callable[[int], float]]] = {
        "frames": {frames: full_pass(store, here) for frames, store in by_frames.items()},
        "frames, value only": {frames: full_pass(store, here, ()) for frames, store in by_frames.items()},
        "angles": {angles: full_pass(store, here) for angles, store in by_angles.items()},
        "parameters": {count: full_pass(by_frames[2000], here, FREE[:count]) for count in FREE_COUNTS},
    }
    contestants = {
        f"{name}/{size}": Contestant(run, 3, threads=1) for name, runs in sides.items() for size, run in runs.items()
    }
    timings = in_turns(contestants, turns)
    return {name: {size: timings[f"{name}/{size}"] for size in runs} for name, runs in sides.items()}


def roofline(folder: Path, turns: int) -> tuple[dict[str, Spot], dict[str, Timing]]:
    """Roofs and what stands below them."""
    sizes = {"pass, 2 × 2000²": (2, 2000), "pass, 5 × 4000²": (5, 4000)}
    stores = {name: store_of(folder, *size) for name, size in sizes.items()}
    matrix = pixel_matrix(stores["pass, 2 × 2000²"])
    vector = np.ones(matrix.shape[1], dtype=np.float32)
    kernel, pixels = pixel_kernel()
    runs: dict[str, Callable[[int], float]] = {
        "memory": memory_read(),
        "matrix product": matrix_product(),
        "BLAS, matrix and vector": lambda _: timed(lambda: matrix @ vector),
        "kernel of the pixels": kernel,
        **{name: full_pass(store, InlineRunner()) for name, store in stores.items()},
    }
    timings = in_turns({name: Contestant(run, 3, threads=1) for name, run in runs.items()}, turns)
    best = {name: min(timing.times) for name, timing in timings.items()}
    spots = {
        "memory": Spot(0.5, 0.5 * READ_BYTES / best["memory"]),
        "matrix product": Spot(PRODUCT_SIDE / 12, 2 * PRODUCT_SIDE**3 / best["matrix product"]),
        "BLAS, matrix and vector": Spot(2 / PIXEL_BYTES, 2 * matrix.size / best["BLAS, matrix and vector"]),
        "kernel of the pixels": Spot(FLOPS / PIXEL_BYTES, FLOPS * pixels / best["kernel of the pixels"]),
    }
    for name, store in stores.items():
        spots[name] = Spot(FLOPS / PIXEL_BYTES, FLOPS * store.n_points / best[name])
    return spots, timings


def draw(path: Path, times: Mapping[str, Mapping[int, float]], spots: Mapping[str, Spot]) -> None:
    """Growth at the left, roofline at the right."""
    from hetdask.results.plots.style import MUTED, SERIES, new_figure, panel_title, save_figure, styled

    @styled
    def figure_of() -> Any:
        figure = new_figure(9.0, 3.6)
        left, right = figure.subplots(1, 2)
        names = {"frames": "χ² and derivatives", "frames, value only": "χ² alone"}
        for colour, (name, text) in zip(SERIES, names.items(), strict=False):
            sizes = np.array(list(times[name]))
            left.loglog(sizes, 1e3 * np.array(list(times[name].values())), "o-", color=colour, ms=4, label=text)
        sizes = np.array(FRAMES[-3:])
        last = 1e3 * times["frames"][FRAMES[-1]]
        left.loglog(sizes, 2.0 * last * (sizes / FRAMES[-1]) ** 2, "--", color=MUTED, lw=1.0, label="N²")
        left.set(xlabel=f"frames N of {FEW_ANGLES} maps", ylabel="one pass (ms)")
        left.legend()
        panel_title(left, "Growth")
        x = np.geomspace(0.1, 100.0, 200)
        right.loglog(x, roof(spots, x) / 1e9, color=MUTED, label="roofs: memory, matrix product")
        shown = [name for name in spots if name not in ("memory", "matrix product")]
        for marker, name in zip("osD^", shown, strict=True):
            right.loglog(*spots[name]._replace(speed=spots[name].speed / 1e9), marker, ms=5, label=name)
        right.set(xlabel="operations for each byte of pixels", ylabel="10⁹ operations per second")
        right.legend(fontsize=7)
        panel_title(right, "Roofline, one thread")
        left.set_xticks(FRAMES)
        plain_numbers(left, (1.0, 2.0, 5.0))
        plain_numbers(right, (1.0, 2.0, 5.0))
        return figure

    save_figure(figure_of(), path)
    console.print(f"drawn to {path}")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--turns", type=int, default=8, help="turns of all sizes, 3 passes each")
    parser.add_argument("--figure", type=Path, help="draw the figure into this file")


def table(times: Mapping[int, Timing]) -> dict[str, Any]:
    """Medians for the record."""
    return {str(size): significant(timing.median) for size, timing in times.items()}


def main() -> None:
    """Measure and record."""
    options = parse_arguments(__doc__, arguments)
    before = machine()
    with tempfile.TemporaryDirectory() as place:
        console.print("measuring growth ...")
        times = growth(Path(place), options.turns)
        console.print("measuring the roofline ...")
        spots, timings = roofline(Path(place), options.turns)
    exponents = {
        "frames, 1000 and more": exponent_of(FRAMES, list(times["frames"].values()), MANY_FRAMES),
        "frames, below": exponent_of(FRAMES[:4], list(times["frames"].values())[:4]),
        "frames, value only, 1000 and more": exponent_of(
            FRAMES, list(times["frames, value only"].values()), MANY_FRAMES
        ),
        "angles": exponent_of(ANGLES, list(times["angles"].values())),
        "parameters": exponent_of(FREE_COUNTS, list(times["parameters"].values())),
    }
    for name, sizes in times.items():
        show(f"Growth with {name}", ("", "median"), [(str(k), duration(v.median)) for k, v in sizes.items()])
    show("Exponents", ("", ""), [(name, f"{value:.2f}") for name, value in exponents.items()])
    show(
        "Roofline",
        ("", "operations per byte", "10⁹ operations/s", "GB/s of pixels"),
        [
            (name, f"{spot.intensity:.3g}", f"{spot.speed / 1e9:.1f}", f"{spot.speed / spot.intensity / 1e9:.1f}")
            for name, spot in spots.items()
        ],
    )
    kernel = spots["kernel of the pixels"]
    highest = float(roof(spots, kernel.intensity))
    ratios = {"kernel of the pixels": Ratio(kernel.speed / highest, "its roof")}
    ratios |= {name: Ratio(spots[name].speed / highest, "the roof of that kernel") for name in spots if "pass" in name}
    show_ratios(ratios)
    write_result(
        options.results,
        "growth",
        settings={"turns": options.turns, "frames beside angles": SOME_FRAMES, "angles beside frames": FEW_ANGLES},
        figures={
            "seconds": {name: table(sizes) for name, sizes in times.items()},
            "exponents": {name: significant(value, 3) for name, value in exponents.items()},
            "roofline": {
                name: {"operations per byte": spot.intensity, "operations per second": significant(spot.speed)}
                for name, spot in spots.items()
            },
            "roofline seconds": {name: timing.record() for name, timing in timings.items()},
        },
        ratios=ratios,
        versions=versions(),
        machine=before,
        notes=[
            "Growth from medians, roofline from the fastest runs: a roof is what can be reached.",
            "Passes are counted with 16 operations for each pixel, as if none were compressed.",
        ],
    )
    if options.figure is not None:
        medians = {name: {size: timing.median for size, timing in sizes.items()} for name, sizes in times.items()}
        draw(options.figure, medians, spots)


if __name__ == "__main__":
    main()
