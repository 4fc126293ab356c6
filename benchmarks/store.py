"""Writing and reading shards: tile by tile as the store does it, against `zarr.Array` on the same maps.

    python benchmarks/store.py

Both sides make the same format with the same codec. The store writes tiles on and above the diagonal straight into
shard files; `zarr.Array` is given whole maps whose lower triangle is empty, and gives whole maps back. That each reads
the other's files to the same pixels is checked. In turns; ours on one thread, Zarr on its own pool of threads. Files
stay in the cache of the system.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import zarr
from common import (
    Contestant,
    Ratio,
    in_turns,
    parse_arguments,
    show,
    show_ratios,
    significant,
    timed,
    write_result,
)
from maps import simulated_maps
from zarr.codecs import BloscCodec

from hetdask.data.shardfile import CODEC, ShardReader, ShardWriter
from hetdask.data.tiling import Tiling
from hetdask.diagnosis.environment import machine, versions


class Files:
    """The maps of one array, written and read both ways."""

    def __init__(self, folder: Path, c2: np.ndarray) -> None:
        self.c2 = c2
        self.tiling = Tiling.plan(c2.shape[0], c2.shape[1])
        self._folder = folder
        self._numbers = itertools.count()

    def create(self) -> Path:
        """An empty array, with the folders of its shards."""
        path = self._folder / f"{next(self._numbers)}"
        zarr.create_array(
            path / "c2",
            shape=self.c2.shape,
            dtype="float32",
            chunks=(1, self.tiling.tile, self.tiling.tile),
            shards=self.tiling.shard,
            fill_value=np.nan,
            compressors=[BloscCodec(**CODEC, shuffle="shuffle", typesize=4)],
        )
        for file, _ in self.shards(path):
            file.parent.mkdir(parents=True, exist_ok=True)
        return path

    def shards(self, path: Path) -> Iterator[tuple[Path, list[tuple[int, int, int]]]]:
        """File and tiles of each shard."""
        for group in self.tiling.groups:
            for spec in self.tiling.shards(str(path), group):
                yield path / self.tiling.shard_file(spec), list(spec.tiles())

    def place(self, tile: tuple[int, int, int]) -> tuple[int, int, int]:
        """Where a tile stands within its shard."""
        depth, step = self.tiling.shard[0], self.tiling.shard_blocks
        return tile[0] % depth, tile[1] % step, tile[2] % step

    def write_tiles(self, path: Path) -> None:
        """Tiles on and above the diagonal, straight into shard files."""
        size = self.tiling.tile
        for file, tiles in self.shards(path):
            with ShardWriter(file, self.tiling.shard_grid) as writer:
                for angle, row, column in tiles:
                    tile = np.full((size, size), np.nan, dtype=np.float32)
                    part = self.c2[angle, row * size : (row + 1) * size, column * size : (column + 1) * size]
                    tile[: part.shape[0], : part.shape[1]] = part
                    writer.add(self.place((angle, row, column)), tile)

    def read_tiles(self, path: Path) -> np.ndarray:
        """What `write_tiles` wrote, one tile after the other; the maps are put together for the check."""
        size = self.tiling.tile
        side = self.tiling.n_blocks * size
        c2 = np.full((self.c2.shape[0], side, side), np.nan, dtype=np.float32)
        tile = np.empty((size, size), dtype=np.float32)
        for file, tiles in self.shards(path):
            with ShardReader(file, self.tiling.shard_grid) as reader:
                for angle, row, column in tiles:
                    reader.read(self.place((angle, row, column)), tile)
                    c2[angle, row * size : (row + 1) * size, column * size : (column + 1) * size] = tile
        return c2[:, : self.c2.shape[1], : self.c2.shape[2]]

    def write_array(self, path: Path) -> None:
        """Whole maps through Zarr, a shard at a time."""
        array = zarr.open_array(path / "c2", mode="r+")
        for first, last in self.tiling.groups:
            array[first:last] = self.c2[first:last]

    def read_array(self, path: Path) -> np.ndarray:
        """Whole maps through Zarr."""
        return np.asarray(zarr.open_array(path / "c2", mode="r")[...])

    def timed_write(self, *, tiles: bool) -> float:
        """Seconds of writing a new array, which is removed again."""
        path = self.create()
        seconds = timed(lambda: (self.write_tiles if tiles else self.write_array)(path))
        shutil.rmtree(path)
        return seconds


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--frames", type=int, default=2000, help="frames of each map")
    parser.add_argument("--angles", type=int, default=4, help="maps")
    parser.add_argument("--turns", type=int, default=5, help="turns of each side")


def main() -> None:
    """Measure and record."""
    options = parse_arguments(__doc__, arguments)
    before = machine()
    phi = np.linspace(0.0, 90.0, options.angles)
    c2 = np.stack(list(simulated_maps(options.frames, phi, 0.0054, 0.1)))
    c2[:, *np.tril_indices(options.frames)] = np.nan
    with tempfile.TemporaryDirectory() as folder:
        files = Files(Path(folder), c2)
        ours, theirs = files.create(), files.create()
        files.write_tiles(ours)
        files.write_array(theirs)
        for read, path in itertools.product((files.read_tiles, files.read_array), (ours, theirs)):
            np.testing.assert_array_equal(read(path), c2)
        timings = in_turns(
            {
                "write, tile by tile": Contestant(lambda _: files.timed_write(tiles=True)),
                "write, zarr.Array": Contestant(lambda _: files.timed_write(tiles=False)),
                "read, tile by tile": Contestant(lambda _: timed(lambda: files.read_tiles(ours))),
                "read, zarr.Array": Contestant(lambda _: timed(lambda: files.read_array(ours))),
            },
            options.turns,
        )
    pixels = options.angles * options.frames * (options.frames - 1) // 2
    rates = {name: pixels / timing.median for name, timing in timings.items()}
    ratios = {
        kind: Ratio(rates[f"{kind}, tile by tile"] / rates[f"{kind}, zarr.Array"], "rate of zarr.Array")
        for kind in ("write", "read")
    }
    rows = [(name, timing.spread(), f"{rates[name] / 1e6:.0f}") for name, timing in timings.items()]
    show(f"{options.angles} × {options.frames}²", ("", "median (min to max)", "million pixels/s"), rows)
    show_ratios(ratios)
    write_result(
        options.results,
        "store",
        settings={"angles": options.angles, "frames": options.frames, "pixels": pixels, "turns": options.turns},
        figures={
            name: {"seconds": timing.record(), "pixels_per_second": significant(rates[name])}
            for name, timing in timings.items()
        },
        ratios=ratios,
        versions=versions(),
        machine=before,
        notes=["Pixels above the diagonal per second. Both sides write and read the same format."],
    )


if __name__ == "__main__":
    main()
