"""What a fit needs, known before anything starts: shards, what stays in memory, and the peak of each worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hetdask.data.store import ShardSpec
from hetdask.data.tiling import TASK_BYTES, Tiling
from hetdask.passes.tiles import RESIDENT_BYTES

if TYPE_CHECKING:
    from hetdask_cluster.memory import MemoryPlan

MIB: Final = 2**20


def held_bytes(spec: ShardSpec, tile: int) -> int:
    """Memory of a shard that stays on a worker."""
    return int(spec.n_tiles * tile**2 * RESIDENT_BYTES)


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
        left, count = self.resident_bytes, 0
        for spec in self.shards():
            size = held_bytes(spec, self.tiling.tile)
            if left is None or size <= left:
                count += 1
                left = None if left is None else left - size
        return count

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
