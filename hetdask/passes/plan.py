"""What a fit needs, known before anything starts: shards, what stays in memory, and the peak of each worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from hetdask.data.store import ShardSpec
from hetdask.data.tiling import PIXEL_BYTES, TASK_BYTES, Tiling
from hetdask.passes.tiles import RESIDENT_BYTES

if TYPE_CHECKING:
    from hetdask_cluster.memory import MemoryPlan

MIB: Final = 2**20

IN_PROCESS_BYTES: Final = 64 * MIB
"""Pixels whose passes are not worth workers of their own."""

RESIDENT_UNIT: Final = 256 * MIB
STREAMED_UNIT: Final = 512 * MIB
"""Pixels that one task goes through, in memory and from disk: tenths of a second."""


def is_little(tiling: Tiling) -> bool:
    """Whether passes over such data are not worth workers of their own."""
    return tiling.n_pixels * PIXEL_BYTES <= IN_PROCESS_BYTES


def held_bytes(spec: ShardSpec, tile: int) -> int:
    """Memory of a shard that stays on a worker."""
    return int(spec.n_tiles * tile**2 * RESIDENT_BYTES)


def divide(
    specs: Sequence[ShardSpec], tile: int, resident_bytes: int | None
) -> tuple[list[ShardSpec], list[ShardSpec]]:
    """Shards that stay in memory, up to so many bytes in all (None: no limit), and those that are read every time."""
    resident, streamed = [], []
    left = resident_bytes
    for spec in specs:
        size = held_bytes(spec, tile)
        if left is None or size <= left:
            resident.append(spec)
            left = None if left is None else left - size
        else:
            streamed.append(spec)
    return resident, streamed


def units(specs: Sequence[ShardSpec], tiling: Tiling, workers: int, size: int) -> list[tuple[ShardSpec, ...]]:
    """Shards that one task goes through: neighbours, of about the same size.

    A task costs some milliseconds, so there are no more than keep all workers busy to the end, and as many for each
    worker.

    Parameters
    ----------
    specs : sequence of ShardSpec
    tiling : Tiling
    workers : int
        Tasks that run at the same time; 0 where all are just being started again counts as one.
    size : int
        Bytes of pixels in a task, about.
    """
    workers = max(1, workers)
    whole = sum(spec.n_tiles for spec in specs) * tiling.tile_bytes
    count = min(len(specs), workers * max(1, round(whole / (workers * size))))
    edges = [k * len(specs) // count for k in range(count + 1)] if count else []
    return [tuple(specs[first:stop]) for first, stop in pairwise(edges)]


@dataclass(frozen=True, slots=True)
class FitPlan:
    """A fit within a memory plan.

    Attributes
    ----------
    tiling : Tiling
        Of the store that is there, or will be made.
    memory : MemoryPlan or None
        None sets no limit.
    reading : int
        Bytes that reading one map of a source takes; 0 where the store is there.
    refits : int
        Bytes that a task of the bootstrap or of profiles allocates; 0 where none is asked for.
    limit : int or None
        Bytes of shards that may stay in memory at most, whatever the memory plan allows; None sets no limit.
    """

    tiling: Tiling
    memory: MemoryPlan | None
    reading: int = 0
    refits: int = 0
    limit: int | None = None

    def shards(self) -> list[ShardSpec]:
        """All shards, without the folder that holds them."""
        return [spec for group in self.tiling.groups for spec in self.tiling.shards("", group)]

    @property
    def held(self) -> int:
        """Bytes of all shards if they stay in memory."""
        return sum(held_bytes(spec, self.tiling.tile) for spec in self.shards())

    @property
    def shard(self) -> int:
        """Bytes of pixels in the largest shard."""
        return max(spec.n_tiles for spec in self.shards()) * self.tiling.tile_bytes

    @property
    def task(self) -> int:
        """Bytes of the largest task."""
        return max(TASK_BYTES + self.shard, self.refits)

    @property
    def resident_bytes(self) -> int | None:
        """Bytes of shards that may stay on the workers; None for no limit."""
        limits = [self.limit, None if self.memory is None else self.memory.resident(self.task)]
        return min((limit for limit in limits if limit is not None), default=None)

    @property
    def resident(self) -> int:
        """Shards that stay on the workers: the others are read in every pass."""
        return len(divide(self.shards(), self.tiling.tile, self.resident_bytes)[0])

    @property
    def projected_worker(self) -> int | None:
        """Expected peak of a worker, bytes."""
        if self.memory is None:
            return None
        held = self.held if self.limit is None else min(self.held, self.limit)
        fitting = self.memory.projected_worker(held, self.task)
        return max(fitting, self.memory.reader_base + self.reading) if self.reading else fitting

    @property
    def projected(self) -> int | None:
        """Expected peak of the whole run, bytes."""
        if self.memory is None or self.projected_worker is None:
            return None
        return self.memory.client + self.memory.places * self.projected_worker

    def require(self) -> None:
        """Refuse a fit that does not fit.

        Raises
        ------
        ClusterError
            With the memory limit or the number of workers that would do.
        """
        if self.memory is None:
            return
        if self.reading:
            self.memory.require_reading(self.reading, f"reading a map of {self.tiling.n_frames} frames")
        refits = self.task == self.refits
        what = "a refit of block means" if refits else f"a shard of {self.shard / MIB:.0f} MiB"
        self.memory.require(self.task, what)
