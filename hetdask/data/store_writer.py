"""Writing a store: all of it or nothing.

Everything goes into a folder with a temporary name beside the store; the last step gives it its own name. What fails,
is interrupted or finds the disk full leaves nothing behind.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import zarr
from numpy.typing import ArrayLike, NDArray
from zarr.codecs import BloscCodec

from hetdask.data.maps import Findings
from hetdask.data.shardfile import CODEC, ShardWriter, checksum
from hetdask.data.store import METADATA, VERSION, is_store
from hetdask.data.tiling import SHARD_BYTES, ShardSpec, Tiling
from hetdask.errors import DataError

COMPRESSION_RATIO: Final = 1.3
"""What noisy maps compress by; a guess for the free space that is asked for before a store is begun."""

NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

type PreparedMap = tuple[NDArray[np.float32], NDArray[np.bool_], Findings]
"""What `hetdask.data.maps.prepare_map` returns."""


@dataclass(frozen=True, slots=True)
class WritePlan:
    """Where and how pixels are written: what a worker needs to know.

    Attributes
    ----------
    folder : str
        With the temporary name.
    store : str
        Name that it will have, for messages.
    tiling : Tiling
    """

    folder: str
    store: str
    tiling: Tiling

    @property
    def bytes_needed(self) -> int:
        """Space on disk that the store is expected to take."""
        return int(self.tiling.n_phi * self.tiling.map_bytes / COMPRESSION_RATIO)


@dataclass(frozen=True, slots=True, eq=False)
class MapRecord:
    """What is kept of a map beside its pixels.

    Attributes
    ----------
    index : int
        Place in the store.
    excluded : (N,) bool
        Frames without data.
    baseline : float
        Mean of the pixels.
    count, missing : (B, B) int64
        Pixels of each tile that are data, and those between good frames that are not.
    checksum : (B, B) uint32
        crc32c of each tile.
    findings : Findings
    """

    index: int
    excluded: NDArray[np.bool_]
    baseline: float
    count: NDArray[np.int64]
    missing: NDArray[np.int64]
    checksum: NDArray[np.uint32]
    findings: Findings


def write_group(plan: WritePlan, group: tuple[int, int], maps: Iterator[PreparedMap]) -> list[MapRecord]:
    """Write all shards of a group of angles. No other task may write any of them.

    Parameters
    ----------
    plan : WritePlan
    group : (int, int)
        One of ``plan.tiling.groups``.
    maps : iterator
        Prepared maps; as many are taken as the group has angles, and one is in memory at a time.

    Raises
    ------
    DataError
        If the disk is full.
    """
    tiling = plan.tiling
    specs = tiling.shards(plan.folder, group)
    records = []
    with _full_disk_explained(plan), ExitStack() as open_files:
        # Several angles share a shard only where one shard holds the whole map; otherwise shards follow each other.
        shared = len(specs) == 1
        writer = open_files.enter_context(_shard_writer(plan, specs[0])) if shared else None
        for angle, (c2, excluded, findings) in zip(range(*group), maps, strict=False):
            tally = _Tally.empty(tiling, excluded)
            for spec in specs:
                if writer is not None:
                    _write_tiles(writer, tiling, spec, angle, c2, tally)
                else:
                    with _shard_writer(plan, spec) as single:
                        _write_tiles(single, tiling, spec, angle, c2, tally)
            records.append(tally.record(angle, findings))
    return records


class StoreWriter:
    """A store in the making, for a ``with`` block: complete at its end, gone after an error.

    Parameters
    ----------
    path : str or Path
        Folder of the store.
    phi : (n_phi,) float
        Degrees.
    q : (n_phi,) float or float
        1/Å.
    n_frames : int
    dt, time_origin : float
        s.
    provenance : mapping, optional
        What can be written as JSON. Findings of the maps are added.
    overwrite : bool
        Replace a store of this name, once the new one is complete.
    tile : int, optional
        Frames along a tile.
    shard_bytes : int
        Size of a shard in memory.

    Raises
    ------
    DataError
        If the folder exists and is not to be replaced, cannot be written, or has not enough space.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        phi: ArrayLike,
        q: ArrayLike,
        n_frames: int,
        dt: float,
        time_origin: float = 0.0,
        provenance: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        tile: int | None = None,
        shard_bytes: int = SHARD_BYTES,
    ) -> None:
        self.path = Path(path).absolute()
        self.phi = np.atleast_1d(np.asarray(phi, dtype=np.float64))
        self.q = np.broadcast_to(np.asarray(q, dtype=np.float64), self.phi.shape).copy()
        self.dt, self.time_origin = float(dt), float(time_origin)
        self.provenance: dict[str, Any] = dict(provenance or {})
        self._overwrite = overwrite
        self._partial = self.path.with_name(f"{self.path.name}.partial-{secrets.token_hex(4)}")
        tiling = Tiling.plan(self.phi.size, n_frames, tile=tile, shard_bytes=shard_bytes)
        self.plan = WritePlan(str(self._partial), str(self.path), tiling)
        self._records: dict[int, MapRecord] = {}
        self._check_destination()

    def __enter__(self) -> Self:
        try:
            with _full_disk_explained(self.plan):
                self._create()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                with _full_disk_explained(self.plan):
                    self._finish()
        finally:
            self._remove()

    def write(self, maps: Iterable[PreparedMap]) -> None:
        """Write all maps in this process, in the order of `phi`."""
        source = iter(maps)
        for group in self.plan.tiling.groups:
            self.add(write_group(self.plan, group, source))

    def add(self, records: Iterable[MapRecord]) -> None:
        """Take what `write_group` returned, here or on a worker."""
        self._records.update((record.index, record) for record in records)

    def _check_destination(self) -> None:
        if self.path.exists():
            if not is_store(self.path):
                raise DataError(f"{self.path} exists and is not a hetdask store: choose another name for the store")
            if not self._overwrite:
                raise DataError(
                    f"the store {self.path} exists: use overwrite (--overwrite) to replace it, or another name"
                )
        parent = self.path.parent
        if not parent.is_dir():
            raise DataError(f"there is no folder {parent} to put the store into: make it, or choose another path")
        if not os.access(parent, os.W_OK):
            raise DataError(f"the folder {parent} is read-only: choose another path for the store {self.path.name}")
        if shutil.disk_usage(parent).free < self.plan.bytes_needed:
            raise DataError(_no_space(self.plan))

    def _create(self) -> None:
        tiling = self.plan.tiling
        try:
            group = zarr.open_group(self._partial, mode="w-")
        except PermissionError as error:
            raise DataError(
                f"{self._partial.parent} cannot be written ({error}): choose another path for the store"
            ) from error
        group.attrs.update({"hetdask_store": VERSION, "complete": False})
        group.create_array(
            "c2",
            shape=(tiling.n_phi, tiling.n_frames, tiling.n_frames),
            dtype="float32",
            chunks=(1, tiling.tile, tiling.tile),
            shards=tiling.shard,
            fill_value=np.nan,
            compressors=[BloscCodec(**CODEC, shuffle="shuffle", typesize=4)],
            dimension_names=("phi", "t1", "t2"),
        )
        # Made here once: a worker never makes a folder, so one that outlives its run cannot bring it back.
        for angles in tiling.groups:
            for spec in tiling.shards(str(self._partial), angles):
                (self._partial / tiling.shard_file(spec)).parent.mkdir(parents=True, exist_ok=True)

    def _finish(self) -> None:
        n_phi = self.plan.tiling.n_phi
        lost = set(range(n_phi)) - self._records.keys()
        if lost:
            raise RuntimeError(f"maps {sorted(lost)} were not written")
        records = [self._records[index] for index in range(n_phi)]
        values: dict[str, NDArray[Any]] = {
            "phi": self.phi,
            "q": self.q,
            "time": self.time_origin + self.dt * np.arange(self.plan.tiling.n_frames),
            "frame_mask": np.stack([record.excluded for record in records]),
            "noise": np.array([record.findings.noise for record in records]),
            "baseline": np.array([record.baseline for record in records], dtype=np.float32),
            "tile_count": np.stack([record.count for record in records]),
            "tile_missing": np.stack([record.missing for record in records]),
            "tile_checksum": np.stack([record.checksum for record in records]),
        }
        group = zarr.open_group(self._partial, mode="r+")
        for name, dimensions in METADATA.items():
            group.create_array(name, data=values[name], chunks=values[name].shape, dimension_names=dimensions)
        for leftover in self._partial.glob("c2/c/*/*/*.tmp-*"):
            leftover.unlink()
        findings = [record.findings.as_dict() for record in records]
        known = self.provenance.get("maps", [{} for _ in records])
        provenance = {**self.provenance, "maps": [{**a, **b} for a, b in zip(known, findings, strict=True)]}
        group.attrs.update(
            {
                "hetdask_store": VERSION,
                "dt": self.dt,
                "time_origin": self.time_origin,
                "tile": self.plan.tiling.tile,
                "provenance": provenance,
                "checksums": {name: checksum(values[name]) for name in METADATA},
                "complete": True,
            }
        )
        self._rename()

    def _rename(self) -> None:
        if not self.path.exists():
            self._partial.rename(self.path)
            return
        old = self.path.with_name(f"{self.path.name}.partial-{secrets.token_hex(4)}")
        self.path.rename(old)
        try:
            self._partial.rename(self.path)
        except BaseException:
            old.rename(self.path)
            raise
        shutil.rmtree(old)

    def _remove(self) -> None:
        """Remove the temporary folder, also from under a worker that still writes into it."""
        if not self._partial.exists():
            return
        gone = self._partial.with_name(f"{self._partial.name}-removed")
        self._partial.rename(gone)
        shutil.rmtree(gone)


@dataclass(frozen=True, slots=True, eq=False)
class _Tally:
    """Counts and checksums of a map while its tiles are written."""

    excluded: NDArray[np.bool_]
    count: NDArray[np.int64]
    missing: NDArray[np.int64]
    checksum: NDArray[np.uint32]
    total: NDArray[np.float64]

    @classmethod
    def empty(cls, tiling: Tiling, excluded: NDArray[np.bool_]) -> Self:
        square = (tiling.n_blocks, tiling.n_blocks)
        return cls(
            excluded,
            np.zeros(square, dtype=np.int64),
            np.zeros(square, dtype=np.int64),
            np.zeros(square, dtype=np.uint32),
            np.zeros(square),
        )

    def record(self, index: int, findings: Findings) -> MapRecord:
        mean = float(self.total.sum() / self.count.sum())
        return MapRecord(index, self.excluded, mean, self.count, self.missing, self.checksum, findings)


def _write_tiles(
    writer: ShardWriter, tiling: Tiling, spec: ShardSpec, angle: int, c2: NDArray[np.float32], tally: _Tally
) -> None:
    """Write the tiles of one map that lie in a shard."""
    size = tiling.tile
    good = np.zeros(tiling.n_blocks * size, dtype=np.bool_)
    good[: tiling.n_frames] = ~tally.excluded
    per_block = good.reshape(-1, size).sum(axis=1)
    for _, row, column in (place for place in spec.tiles() if place[0] == angle):
        part = c2[row * size : (row + 1) * size, column * size : (column + 1) * size]
        tile = np.full((size, size), np.nan, dtype=np.float32)
        tile[: part.shape[0], : part.shape[1]] = part
        finite = np.isfinite(part)
        count = int(np.count_nonzero(finite))
        pairs = per_block[row] * per_block[column] if row != column else per_block[row] * (per_block[row] - 1) // 2
        tally.count[row, column] = count
        tally.missing[row, column] = pairs - count
        tally.checksum[row, column] = checksum(tile)
        tally.total[row, column] = np.sum(part, where=finite, dtype=np.float64)
        if count:
            writer.add((angle - spec.angles[0], row - spec.rows[0], column - spec.columns[0]), tile)


def _shard_writer(plan: WritePlan, spec: ShardSpec) -> ShardWriter:
    return ShardWriter(Path(plan.folder) / plan.tiling.shard_file(spec), plan.tiling.shard_grid)


@contextmanager
def _full_disk_explained(plan: WritePlan) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            raise DataError(_no_space(plan)) from error
        raise


def _no_space(plan: WritePlan) -> str:
    folder = Path(plan.store).parent
    free = shutil.disk_usage(folder).free
    return (
        f"not enough space for the store {plan.store}: it needs about {plan.bytes_needed / 1e9:.3g} GB and {folder} "
        f"has {free / 1e9:.3g} GB free; nothing was kept. Make room, choose another folder, or select less "
        "(--q, --angles, --frames)"
    )
