"""The reduction ladder: exact block means of the maps, with blocks that grow with the lag.

The pixels i < j of a map are cut into squares of 2^l frames: as large as they can be while at least `WIDTH` squares
away from the diagonal, and never smaller than 2^level. A coarser level of the ladder merges small squares only, so it
follows from any finer one. There are about 3·WIDTH·N/2^level blocks for N²/2 pixels.

The model's mean over the same pixels is known exactly (`hetdask.passes.reduced`), so a fit of any level is unbiased.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from hetdask.data.derived import keep, recall
from hetdask.data.store import ShardSpec, Store
from hetdask.errors import DataError
from hetdask_cluster.runner import InlineRunner
from hetdask_kernels.block_sums import block_sums

if TYPE_CHECKING:
    from hetdask_cluster.runner import Runner

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

WIDTH: Final = 16
"""Squares between a block and the diagonal: a block covers at most a sixteenth of its lag. For a given number of blocks
this keeps more Fisher information than 2, 4 or 8, and as much as 32."""

MOST_KEPT: Final = 2**22
"""Block means that are kept with a store, 100 MB: the finest level with no more is, and gives the coarser ones."""

WHOLE_ANGLES: Final = 4
"""Fewer angles than this are not reduced any further because of their number."""

BLOCK_BYTES: Final = 200
"""Memory of a block mean on the way from the workers to the store, with copies."""

RECIPE: Final = {"version": 1, "width": WIDTH}
"""Reductions that were kept by another version of this module do not serve."""

ARRAYS: Final = {
    "mean": ("phi", "block"),
    "count": ("phi", "block"),
    "variance": ("phi", "block"),
    "missing": ("pixel", "place"),
}
"""Arrays that are kept, with their dimensions."""


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """Partition of the pixels i < j of a map, the same for all angles.

    Blocks are sorted by size, row and column. Those on the diagonal are triangles.

    Attributes
    ----------
    n_frames, level : int
    first_row, first_column : (n,) int64
        First frames.
    size : (n,) int64
        Frames along the side, 2^level or more; the end of the map cuts the last ones short.
    """

    n_frames: int
    level: int
    first_row: Indices
    first_column: Indices
    size: Indices

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return int(self.size.size)

    def find(self, row: Indices, column: Indices) -> Indices:
        """Blocks (m,) of the pixels at frames `row` and `column`, (m,) int64 each; no row above its column."""
        size = np.full(row.shape, 1 << self.level)
        while np.any(wider := column // (2 * size) - row // (2 * size) >= WIDTH):
            size[wider] *= 2
        found = (size * self.n_frames + row // size * size) * self.n_frames + column // size * size
        sorted_keys = (self.size * self.n_frames + self.first_row) * self.n_frames + self.first_column
        return np.asarray(np.searchsorted(sorted_keys, found))


@lru_cache(maxsize=8)
def blocks_of(n_frames: int, level: int) -> Blocks:
    """Blocks of a level of the ladder.

    Parameters
    ----------
    n_frames : int
    level : int
        The smallest blocks have 2^level frames along the side; at level 0 they are pixels.

    Examples
    --------
    >>> [blocks_of(1000, level).n_blocks for level in range(5)]
    [43254, 21114, 9724, 4209, 1640]
    """
    parts = []
    finest = size = 1 << level
    while size == finest or -(-n_frames // size) > WIDTH:
        n = -(-n_frames // size)
        row, lag = np.indices((n, 2 * WIDTH))
        column = row + lag
        nearest = WIDTH if size > finest else 0 if level > 0 else 1
        used = (lag >= nearest) & (column < n) & (column // 2 - row // 2 < WIDTH)
        parts.append(np.stack([row[used] * size, column[used] * size, np.full(np.count_nonzero(used), size)]))
        size *= 2
    return Blocks(n_frames, level, *np.concatenate(parts, axis=1))


@dataclass(frozen=True, slots=True, eq=False)
class Reduced:
    """Block means of all maps.

    Attributes
    ----------
    blocks : Blocks
    mean : (n_phi, n) float64
        In units of c2; 0 where a block has no data.
    count : (n_phi, n) float64
        Pixels that are data.
    variance : (n_phi, n) float64
        Scatter of the pixels inside each block, in units of c2 squared.
    white : (n_phi,) float64
        White noise of a single pixel, in units of c2.
    missing : (m, 3) int64
        Angle, row and column of single pixels between valid frames that are no data.
    """

    blocks: Blocks
    mean: Array
    count: Array
    variance: Array
    white: Array
    missing: Indices

    @property
    def level(self) -> int:
        """Level of the ladder."""
        return self.blocks.level

    def at_angles(self, chosen: NDArray[np.intp]) -> Reduced:
        """The same for some of the angles, (k,), in ascending order."""
        of_maps = {name: getattr(self, name)[chosen] for name in ("mean", "count", "variance", "white")}
        missing = self.missing[np.isin(self.missing[:, 0], chosen)]
        missing[:, 0] = np.searchsorted(chosen, missing[:, 0])
        return replace(self, missing=missing, **of_maps)

    def coarsen(self, level: int) -> Reduced:
        """The same data at a coarser level of the ladder.

        Raises
        ------
        DataError
            If the level is finer.
        """
        if level == self.level:
            return self
        if level < self.level:
            raise DataError(f"found level {level}, expected {self.level} or more: reduce the store to level {level}")
        coarse = blocks_of(self.blocks.n_frames, level)
        into = coarse.find(self.blocks.first_row, self.blocks.first_column)
        # About the mean of each angle, so that small variances survive.
        baseline = np.average(self.mean, axis=1, weights=self.count)
        mean = self.mean - baseline[:, None]
        fine = self.count * np.stack([np.ones_like(mean), mean, self.variance + mean**2])
        sums = np.apply_along_axis(lambda values: np.bincount(into, values, coarse.n_blocks), 2, fine)
        return _from_sums(coarse, sums, baseline, self.white, self.missing)


def _from_sums(blocks: Blocks, sums: Array, baseline: Array, white: Array, missing: Indices) -> Reduced:
    """Means and variances from counts, Σe and Σe², (3, n_phi, n), of pixels with the baseline (n_phi,) subtracted."""
    count, total, square = sums
    pixels = np.maximum(count, 1.0)
    mean = total / pixels
    return Reduced(
        blocks=blocks,
        mean=np.where(count > 0.0, baseline[:, None] + mean, 0.0),
        count=count,
        variance=np.maximum(square / pixels - mean**2, 0.0),
        white=white,
        missing=missing,
    )


def reduce_maps(
    maps: NDArray[np.floating], level: int, white: Array, excluded: NDArray[np.bool_] | None = None
) -> Reduced:
    """Reduce maps in memory.

    Parameters
    ----------
    maps : (n_phi, N, N) float
        Pixels above the diagonal count; not finite where a pixel is no data.
    level : int
    white : (n_phi,) float64
        White noise of a single pixel.
    excluded : (n_phi, N) bool, optional
        Frames that are no data; default none.
    """
    n_phi, n, _ = maps.shape
    excluded = np.zeros((n_phi, n), dtype=np.bool_) if excluded is None else excluded
    blocks = blocks_of(n, level)
    sums = np.zeros((3, n_phi, blocks.n_blocks))
    baseline, missing = np.zeros(n_phi), []
    for m in range(n_phi):
        keep = np.triu(np.outer(~excluded[m], ~excluded[m]), 1)
        c2 = np.where(keep & np.isfinite(maps[m]), maps[m], np.nan)
        baseline[m] = np.nanmean(c2)
        block_sums(c2, 0, 0, baseline[m], blocks.first_row, blocks.first_column, blocks.size, sums[:, m])
        missing.append(_with_angle(m, np.argwhere(keep & np.isnan(c2))))
    return _from_sums(blocks, sums, baseline, white, np.concatenate(missing))


def choose_level(store: Store, max_points: int) -> int:
    """Finest level of the ladder with at most `max_points` block means over all angles.

    The coarsest level where none has so few: angles are always kept whole.
    """
    return level_within(store.n_phi, store.n_frames, max_points)


def level_within(n_phi: int, n_frames: int, max_points: int) -> int:
    """The same for so many maps of so many frames."""
    coarsest = max(n_frames // WIDTH, 1).bit_length() - 1
    sizes = (n_phi * blocks_of(n_frames, level).n_blocks for level in range(coarsest))
    return next((level for level, size in enumerate(sizes) if size <= max_points), coarsest)


def level_of_nodes(n_frames: int, nodes: int, least: int = 0) -> int:
    """First level from `least` on whose smallest blocks are no more than so many along one side.

    Examples
    --------
    >>> level_of_nodes(300, 128), level_of_nodes(128, 128), level_of_nodes(128, 128, least=1)
    (2, 0, 1)
    """
    return max(least, (-(-n_frames // nodes) - 1).bit_length())


def level_to_fit(store: Store, max_points: int, time_factor: int = 1, angle_factor: int = 1) -> int | None:
    """Finest level of the ladder for a fit of no more than `max_points` block means; None if there are no more pixels.

    Parameters
    ----------
    store : Store
    max_points : int
        Over all angles.
    time_factor, angle_factor : int
        There are fewer means than pixels by at least time_factor², and by angle_factor as well if there are
        `WHOLE_ANGLES` angles or more, unless the ladder ends before. No frame and no angle is left out.
    """
    if store.n_points <= max_points:
        return None
    factor = time_factor**2 * (angle_factor if store.n_phi >= WHOLE_ANGLES else 1)
    return choose_level(store, max(min(max_points, store.n_points // factor), 1))


def reduce_store(store: Store, runner: Runner | None = None, *, level: int) -> Reduced:
    """Reduce a store, in one pass over its pixels or from what an earlier pass has left in it.

    The finest level that is not too large is kept in the store, where that can be written, and gives the coarser ones.

    Parameters
    ----------
    store : Store
    runner : Runner, optional
        Where shards are reduced; default in this process.
    level : int
        See `choose_level`.

    Raises
    ------
    DataError
        If a shard is missing or damaged.
    """
    runner = runner or InlineRunner()
    finest = choose_level(store, MOST_KEPT if runner.plan is None else min(MOST_KEPT, runner.plan.share // BLOCK_BYTES))
    if level < finest:
        return _reduce(store, level, runner)
    name = f"reduced/{finest}"
    arrays = recall(store, name, RECIPE)
    if arrays is not None:
        reduced = Reduced(blocks_of(store.n_frames, finest), white=store.noise, **arrays)
    else:
        reduced = _reduce(store, finest, runner)
        keep(store, name, RECIPE, {key: (dimensions, getattr(reduced, key)) for key, dimensions in ARRAYS.items()})
    return reduced.coarsen(level)


def _reduce(store: Store, level: int, runner: Runner) -> Reduced:
    """Reduce all shards of a store."""
    blocks = blocks_of(store.n_frames, level)
    sums = np.zeros((3, store.n_phi, blocks.n_blocks))
    missing = []
    for part in runner.map(_reduce_shard, store.shards(), level):
        for angle, touched, values, lost in part:
            sums[:, angle, touched] += values
            missing.append(_with_angle(angle, lost))
    lost = np.concatenate(missing)
    lost = lost[np.lexsort(lost.T[::-1])]
    return _from_sums(blocks, sums, store.baseline.astype(np.float64), store.noise, lost)


def _reduce_shard(spec: ShardSpec, level: int) -> list[tuple[int, Indices, Array, Indices]]:
    """Task of a reduction: of each angle of a shard the blocks (k,), their sums (3, k) and missing pixels (m, 2)."""
    store = Store.open(spec.path)
    blocks = blocks_of(store.n_frames, level)
    size = store.tile
    parts = []
    for angle, tiles in groupby(store.iter_shard(spec), itemgetter(0)):
        sums, missing = np.zeros((3, blocks.n_blocks)), [np.empty((0, 2), dtype=np.int64)]
        good = np.zeros(store.n_blocks * size, dtype=np.bool_)
        good[: store.n_frames] = ~store.frame_mask[angle]
        baseline = float(store.baseline[angle])
        for _, row, column, tile in tiles:
            first = row * size, column * size
            block_sums(tile, *first, baseline, blocks.first_row, blocks.first_column, blocks.size, sums)
            if store.tile_missing[angle, row, column]:
                expected = np.outer(good[first[0] :][:size], good[first[1] :][:size])
                lost = np.triu(expected & ~np.isfinite(tile), 1 if row == column else -size)
                missing.append(np.argwhere(lost) + first)
        touched = np.flatnonzero(sums[0])
        parts.append((angle, touched, sums[:, touched], np.concatenate(missing)))
    return parts


def _with_angle(angle: int, pixels: Indices) -> Indices:
    """Pixels (m, 2) with their angle in front, (m, 3)."""
    return np.column_stack([np.full(len(pixels), angle), pixels])
