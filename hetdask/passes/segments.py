"""Sums of a pass by pairs of time segments, from which any resampling of the segments follows.

Segments resampled with multiplicities m weight a pixel between segments I and J with m_I·m_J: so the sums of each pair
of segments are enough for any number of resamplings, and the data are gone through once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hetdask.passes.normal import NormalSums
from hetdask.passes.shard import Shard, evaluate_shard
from hetdask.passes.tiles import AngleTiles, Series, single_blocks

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class SegmentSums:
    """Gram matrices of (1, g, D_1..D_p, e) by pairs of segments.

    Attributes
    ----------
    gram : (B, B, n_phi, p + 3, p + 3) float64
        Over pixels whose earlier frame lies in the first segment and whose later one in the second; 0 below the
        diagonal.
    """

    gram: Array

    def merge(self, other: SegmentSums) -> SegmentSums:
        """Sums over the pixels of both; they must be disjoint."""
        return SegmentSums(self.gram + other.gram)

    def total(self) -> NormalSums:
        """Sums over all pixels."""
        return NormalSums(self.gram.sum(axis=(0, 1)))

    def resampled(self, weights: Array) -> NormalSums:
        """Sums with a weight for each pair of segments, (B, B)."""
        return NormalSums(np.einsum("ij,ijmkl->mkl", weights, self.gram))


def restricted(shard: Shard, inside: NDArray[np.bool_]) -> Shard:
    """The pixels of a shard between the frames `inside` (N,), as if the others were no data."""
    series = replace(shard.series, excluded=shard.series.excluded | ~inside)
    padded = np.zeros(series.padded_time.size, dtype=np.bool_)
    padded[: inside.size] = inside
    cut = (_restricted_tiles(series, tiles, padded.reshape(-1, series.block)) for tiles in shard.angles)
    return Shard(series, tuple(tiles for tiles in cut if tiles.blocks.size), shard.owned)


def _restricted_tiles(series: Series, tiles: AngleTiles, inside: NDArray[np.bool_]) -> AngleTiles:
    """Copy of the tiles that hold pixels between frames `inside` (n_blocks, block), not compressed."""
    touched = inside.any(axis=1)
    chosen = np.flatnonzero(touched[tiles.blocks].all(axis=1))
    baseline = float(series.baseline[tiles.angle])
    stack = np.array([tiles.block(k) for k in chosen.tolist()])
    missing: dict[int, NDArray[np.bool_]] = {}
    total = square = 0.0
    for k, old in enumerate(chosen.tolist()):
        row, column = tiles.blocks[old]
        pixels = np.outer(inside[row], inside[column])
        stack[k][~pixels] = baseline
        centred = stack[k].astype(np.float64) - baseline
        total, square = total + float(centred.sum()), square + float(np.vdot(centred, centred))
        if old in tiles.missing and (lost := tiles.missing[old] & pixels).any():
            missing[k] = lost
    no_values, no_panels = np.empty(0), np.empty((0, 3), dtype=np.int64)
    return replace(
        tiles,
        blocks=tiles.blocks[chosen],
        tiles=stack,
        places=single_blocks(chosen.size),
        compressed=no_values,
        panels=no_panels,
        first_row=no_values,
        first_panels=no_panels,
        degrees=0,
        missing=missing,
        total=total,
        square=square,
    )


def evaluate_segments(shard: Shard, vector: Array, free: tuple[int, ...], edges: tuple[int, ...]) -> dict[int, Array]:
    """Gram matrices (B, B, p + 3, p + 3) of a shard by pairs of segments, for each angle.

    Parameters
    ----------
    shard, vector, free
        As in `evaluate_shard`.
    edges : tuple of B + 1 int
        First frame of each segment, and the end of the last one.
    """
    count = len(edges) - 1
    frame = np.arange(shard.series.time.size)
    segment = [(frame >= first) & (frame < stop) for first, stop in pairwise(edges)]
    angles = {tiles.angle for tiles in shard.angles} | set(shard.owned)
    out = {angle: np.zeros((count, count, len(free) + 3, len(free) + 3)) for angle in angles}

    def add(i: int, j: int, inside: NDArray[np.bool_]) -> None:
        part = restricted(shard, inside)
        if part.angles or part.owned:
            for angle, gram in evaluate_shard(part, vector, free).items():
                out[angle][i, j] = gram

    for i in range(count):
        add(i, i, segment[i])
    for i in range(count):
        for j in range(i + 1, count):
            # All pixels between frames of either, less those within each.
            add(i, j, segment[i] | segment[j])
            for sums in out.values():
                sums[i, j] -= sums[i, i] + sums[j, j]
    return out


def merge_segments(count: int, n_phi: int, n_free: int, parts: Sequence[Mapping[int, Array]]) -> SegmentSums:
    """Sums of disjoint shards as one."""
    total = np.zeros((count, count, n_phi, n_free + 3, n_free + 3))
    for part in parts:
        for angle, gram in part.items():
            total[:, :, angle] += gram
    return SegmentSums(total)
