"""The store: upper triangles of two-time maps in tiles, one Zarr v3 group.

A store is written once (`hetdask.data.store_writer`) and read tile by tile or shard by shard. Every tile that is read
is compared with its count and checksum, so that a damaged file is an error, never a number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import zarr
from numpy.typing import NDArray

from hetdask.data.shardfile import DamagedShardError, ShardReader, checksum, read_ahead
from hetdask.data.tiling import ShardSpec, Tiling
from hetdask.errors import DataError

__all__ = ["VERSION", "ShardSpec", "Store", "is_store"]

VERSION: Final = 1
"""Of the format of the store."""

METADATA: Final = {
    "phi": ("phi",),
    "q": ("phi",),
    "time": ("time",),
    "frame_mask": ("phi", "time"),
    "noise": ("phi",),
    "baseline": ("phi",),
    "tile_count": ("phi", "row_block", "column_block"),
    "tile_missing": ("phi", "row_block", "column_block"),
    "tile_checksum": ("phi", "row_block", "column_block"),
}
"""Arrays beside the pixels, with their dimensions."""


@dataclass(frozen=True, slots=True, eq=False)
class Store:
    """A store, open for reading: metadata in memory, pixels on disk.

    Open one with `Store.open`. Pickles, and holds no open files.

    Attributes
    ----------
    path : Path
    phi : (n_phi,) float64
        Degrees.
    q : (n_phi,) float64
        1/Å.
    time : (N,) float64
        s.
    dt, time_origin : float
        s; time = time_origin + k dt.
    frame_mask : (n_phi, N) bool
        True where a frame holds no data.
    noise : (n_phi,) float64
        White noise in units of c2; NaN where it cannot be estimated.
    baseline : (n_phi,) float32
        Mean of the pixels.
    tile_count, tile_missing : (n_phi, B, B) int64
        Pixels of each tile that are data, and those between good frames that are not.
    tile_checksum : (n_phi, B, B) uint32
        crc32c of the float32 bytes of each tile in C order.
    tiling : Tiling
    provenance : dict
        Source, selection, versions, and findings for each map.

    Examples
    --------
    >>> import tempfile
    >>> from hetdask.data.writers import write_store
    >>> rng = np.random.default_rng(1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     maps = 1 + np.triu(0.1 * rng.standard_normal((2, 20, 20)))
    ...     store = write_store(f"{folder}/scan.zarr", maps, phi=[0, 90], q=0.0054, dt=0.1)
    >>> store.n_phi, store.n_frames, store.n_points
    (2, 20, 380)
    """

    path: Path
    phi: NDArray[np.float64]
    q: NDArray[np.float64]
    time: NDArray[np.float64]
    dt: float
    time_origin: float
    frame_mask: NDArray[np.bool_]
    noise: NDArray[np.float64]
    baseline: NDArray[np.float32]
    tile_count: NDArray[np.int64]
    tile_missing: NDArray[np.int64]
    tile_checksum: NDArray[np.uint32]
    tiling: Tiling
    provenance: dict[str, Any]

    @staticmethod
    def open(path: str | Path, *, verify: Literal["shape", "full"] = "shape") -> Store:
        """Open a store.

        Parameters
        ----------
        path : str or Path
        verify : {"shape", "full"}
            "shape" checks the metadata; "full" also reads every tile.

        Raises
        ------
        DataError
            If it is not a store, not complete, of another version, or damaged.
        """
        folder = Path(path).absolute()  # workers may run elsewhere
        store = _open(folder, _signature(folder))
        if verify == "full":
            for spec in store.shards():
                for _ in store.iter_shard(spec):
                    pass
        return store

    @property
    def n_phi(self) -> int:
        """Number of maps."""
        return self.tiling.n_phi

    @property
    def n_frames(self) -> int:
        """Frames along the side of a map."""
        return self.tiling.n_frames

    @property
    def tile(self) -> int:
        """Frames along the side of a tile."""
        return self.tiling.tile

    @property
    def n_blocks(self) -> int:
        """Tiles along the side of a map."""
        return self.tiling.n_blocks

    @property
    def shard_shape(self) -> tuple[int, int, int]:
        """Angles, rows and columns of a shard."""
        return self.tiling.shard

    @property
    def n_points(self) -> int:
        """Pixels that are data."""
        return int(self.tile_count.sum())

    def shards(self) -> list[ShardSpec]:
        """All shards that hold tiles."""
        return [spec for group in self.tiling.groups for spec in self.tiling.shards(str(self.path), group)]

    def iter_shard(
        self, spec: ShardSpec, *, reuse: bool = False
    ) -> Iterator[tuple[int, int, int, NDArray[np.float32]]]:
        """Tiles of a shard one by one: angle, row block, column block and (T, T) pixels, NaN where a pixel is no data.

        Parameters
        ----------
        spec : ShardSpec
        reuse : bool
            All tiles are the same array, which is overwritten: for those who are done with one before the next. New
            memory for each would take as long as reading.

        Raises
        ------
        DataError
            If the shard is missing or damaged.
        """
        yield from self._read(spec, spec.tiles(), reuse=reuse)

    def read_ahead(self, spec: ShardSpec) -> None:
        """Have the operating system read a shard, in a thread beside the one that computes."""
        read_ahead(self.path / self.tiling.shard_file(spec))

    def read_shard(self, spec: ShardSpec) -> list[tuple[int, int, int, NDArray[np.float32]]]:
        """All tiles of a shard, as from `iter_shard`."""
        return list(self.iter_shard(spec))

    def tiles(self, angle: int) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
        """Tiles of one map: row block, column block and (T, T) pixels.

        Raises
        ------
        DataError
            If a shard is missing or damaged.
        """
        for spec in self.tiling.shards(str(self.path), self._group(angle)):
            wanted = (place for place in spec.tiles() if place[0] == angle)
            for _, row, column, tile in self._read(spec, wanted):
                yield row, column, tile

    def read_tile(self, angle: int, row_block: int, column_block: int) -> NDArray[np.float32]:
        """One tile (T, T), padded with NaN.

        Raises
        ------
        DataError
            If its shard is missing or damaged.
        IndexError
            If it lies below the diagonal or outside the map.
        """
        if not 0 <= row_block <= column_block < self.n_blocks:
            raise IndexError(f"no tile ({row_block}, {column_block}): expected 0 ≤ row ≤ column < {self.n_blocks}")
        for spec in self.tiling.shards(str(self.path), self._group(angle)):
            if spec.rows[0] <= row_block < spec.rows[1] and spec.columns[0] <= column_block < spec.columns[1]:
                return next(self._read(spec, iter([(angle, row_block, column_block)])))[3]
        raise AssertionError("every upper tile lies in a shard")

    def read_map(self, angle: int) -> NDArray[np.float32]:
        """One map (N, N): NaN on and below the diagonal, and where a pixel is no data.

        Raises
        ------
        DataError
            If a shard is missing or damaged.
        """
        side = self.n_blocks * self.tile
        c2 = np.full((side, side), np.nan, dtype=np.float32)
        for row, column, tile in self.tiles(angle):
            rows = slice(row * self.tile, (row + 1) * self.tile)
            c2[rows, column * self.tile : (column + 1) * self.tile] = tile
        return c2[: self.n_frames, : self.n_frames]

    def __repr__(self) -> str:
        return (
            f"Store({str(self.path)!r}: {self.n_phi} maps of {self.n_frames} frames, dt = {self.dt:g} s, "
            f"{self.n_points:,} pixels, tiles of {self.tile} frames in {len(self.shards())} shards)"
        )

    def _group(self, angle: int) -> tuple[int, int]:
        if not 0 <= angle < self.n_phi:
            raise IndexError(f"no map {angle}: expected 0 to {self.n_phi - 1}")
        return self.tiling.groups[angle // self.tiling.shard[0]]

    def _read(
        self, spec: ShardSpec, places: Iterator[tuple[int, int, int]], *, reuse: bool = False
    ) -> Iterator[tuple[int, int, int, NDArray[np.float32]]]:
        file = self.path / self.tiling.shard_file(spec)
        try:
            with ShardReader(file, self.tiling.shard_grid) as reader:
                tile = np.empty((self.tile, self.tile), dtype=np.float32)
                for angle, row, column in places:
                    if not reuse:
                        tile = np.empty_like(tile)
                    try:
                        reader.read((angle - spec.angles[0], row - spec.rows[0], column - spec.columns[0]), tile)
                    except DamagedShardError as error:
                        raise DataError(self._damaged_tile(file, angle, row, column, str(error))) from error
                    self._check(file, angle, row, column, tile)
                    yield angle, row, column, tile
        except DamagedShardError as error:
            first, last = self.phi[spec.angles[0]], self.phi[spec.angles[1] - 1]
            which = f"phi = {first:g}°" if spec.angles[1] - spec.angles[0] == 1 else f"phi = {first:g}° to {last:g}°"
            raise DataError(_damaged(self.path, f"the shard {file} ({which}) {error}")) from error

    def _check(self, file: Path, angle: int, row: int, column: int, tile: NDArray[np.float32]) -> None:
        if checksum(tile) == int(self.tile_checksum[angle, row, column]):
            return
        count = int(np.count_nonzero(np.isfinite(tile)))
        expected = int(self.tile_count[angle, row, column])
        differs = "does not match its checksum" if count == expected else f"holds {count} pixels, expected {expected}"
        raise DataError(self._damaged_tile(file, angle, row, column, differs))

    def _damaged_tile(self, file: Path, angle: int, row: int, column: int, reason: str) -> str:
        return _damaged(self.path, f"tile ({row}, {column}) of the map at phi = {self.phi[angle]:g}° ({file}) {reason}")

    def _check_shapes(self, chunks: tuple[int, ...]) -> None:
        """Compare all shapes with that of the pixels."""
        sizes = {
            "phi": self.n_phi,
            "time": self.n_frames,
            "row_block": self.n_blocks,
            "column_block": self.n_blocks,
        }
        for name, dimensions in METADATA.items():
            expected = tuple(sizes[dimension] for dimension in dimensions)
            found = getattr(self, name).shape
            if found != expected:
                raise DataError(_damaged(self.path, f"{name} has shape {found}, expected {expected}"))
        if chunks != (1, self.tile, self.tile) or not self.dt > 0:
            raise DataError(
                _damaged(self.path, f"its chunks are {chunks}, its tile {self.tile} and its dt {self.dt:g} s")
            )


def is_store(path: str | Path) -> bool:
    """Whether a folder is a store, be it complete or not."""
    try:
        return "hetdask_store" in zarr.open_group(Path(path), mode="r").attrs
    except (OSError, ValueError, KeyError):
        return False


def _signature(folder: Path) -> tuple[tuple[int, int, int], ...]:
    """What changes when the metadata of a store change: inode, time and size of their files."""
    files = [folder / "zarr.json", folder / "c2" / "zarr.json"]
    for name, dimensions in METADATA.items():
        files += [folder / name / "zarr.json", folder / name / "/".join(["c", *["0"] * len(dimensions)])]
    found = [file.stat() for file in files if file.exists()]
    return tuple((status.st_ino, status.st_mtime_ns, status.st_size) for status in found)


@lru_cache(maxsize=4)
def _open(folder: Path, signature: tuple[tuple[int, int, int], ...]) -> Store:  # noqa: ARG001  part of the cache's key
    """Open a store; a worker that reads shard after shard reads the metadata once."""
    group = _open_group(folder)
    attributes: dict[str, Any] = dict(group.attrs)
    try:
        tile = int(attributes["tile"])
        c2 = _array(group, "c2")
        n_phi, n_frames, _ = c2.shape
        depth, height, width = c2.shards or (0, 0, 0)
        tiling = Tiling(n_phi, n_frames, tile, (depth, height, width))
        arrays = {name: np.asarray(_array(group, name)[...]) for name in METADATA}
        checksums = dict(attributes["checksums"])
        dt, origin = float(attributes["dt"]), float(attributes["time_origin"])
        provenance = dict(attributes["provenance"])
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise DataError(_damaged(folder, f"its metadata cannot be read ({error})")) from error
    store = Store(folder, dt=dt, time_origin=origin, tiling=tiling, provenance=provenance, **arrays)
    store._check_shapes(c2.chunks)
    for name, values in arrays.items():
        if checksum(values) != checksums.get(name):
            raise DataError(_damaged(folder, f"{name} does not match its checksum"))
    return store


def _open_group(folder: Path) -> zarr.Group:
    """The group of a complete store of this version."""
    if not folder.exists():
        raise DataError(f"there is no store {folder}: check the path (store), or make it with hetdask ingest")
    if not is_store(folder):
        raise DataError(
            f"{folder} is not a hetdask store, expected a folder made by hetdask ingest: "
            "ingest the file first, for example hetdask ingest scan.hdf scan.zarr"
        )
    group = zarr.open_group(folder, mode="r")
    version = group.attrs["hetdask_store"]
    if version != VERSION:
        raise DataError(
            f"{folder} has version {version} of the store format, expected {VERSION}: "
            "ingest again with this version of hetdask"
        )
    if group.attrs.get("complete") is not True:
        raise DataError(f"{folder} is not complete: its ingest did not finish. Remove it and ingest again")
    return group


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise KeyError(name)
    return array


def _damaged(folder: Path, reason: str) -> str:
    return f"{folder} is damaged: {reason}. Ingest it again from its source (--overwrite)"
