"""What noise the model predicts for the blocks of one angle: that of speckles, and that of their photons."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from hetdask.data.reduction import Blocks, level_of_nodes
from hetdask.fitting.speckle_covariance import Fields, first_nodes
from hetdask_kernels.speckles import (
    block_covariance,
    block_variance,
    photon_covariance,
    photon_variance,
    stencil_variance,
)

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

COARSE_NODES: Final = 64
"""The same for the larger blocks whose full covariance is predicted: a few hundred."""

WIDTH: Final = 3
"""These are so many of their sides away from the diagonal."""

SAMPLES: Final = 1024
"""Pixels that stand for all of a map."""

NEIGHBOURS: Final = np.array([1.0, -3.0, 3.0, -1.0]) / math.sqrt(20.0)
"""The differences along the diagonal of `hetdask.data.noise`, for a unit variance of a single pixel."""

ONE_PIXEL: Final = np.array([1.0, 0.0, 0.0, 0.0])
"""The first of the pixels of such a difference."""


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """Blocks of a ladder level joined to larger ones, and the nodes (groups of frames) of both.

    `into` (n_fine,) tells the larger block, of `larger`; `fine` and `coarse` are (row nodes, column nodes); `size`
    frames make a node of the first of `levels` levels.
    """

    larger: Blocks
    into: Indices
    fine: tuple[Indices, Indices]
    coarse: tuple[Indices, Indices]
    size: int
    levels: int

    @classmethod
    def of(cls, blocks: Blocks) -> Partition:
        """Larger blocks of a ladder level: the nearer to the diagonal, the smaller."""
        side = np.maximum(blocks.size, 1 << level_of_nodes(blocks.n_frames, COARSE_NODES, blocks.level))
        while np.any(wider := blocks.first_column // (2 * side) - blocks.first_row // (2 * side) >= WIDTH):
            side[wider] *= 2
        place = np.stack([side, blocks.first_row // side, blocks.first_column // side])
        coarse, into = np.unique(place, axis=1, return_inverse=True)
        levels = int(side.max() >> blocks.level).bit_length()
        first = first_nodes(blocks.n_frames, 1 << blocks.level, levels)

        def nodes(size: Indices, row: Indices, column: Indices) -> tuple[Indices, Indices]:
            start = first[np.log2(size >> blocks.level).astype(np.int64)]
            return start + row, start + column

        fine = nodes(blocks.size, blocks.first_row // blocks.size, blocks.first_column // blocks.size)
        larger = Blocks(blocks.n_frames, blocks.level, coarse[1] * coarse[0], coarse[2] * coarse[0], coarse[0])
        return cls(larger, into.ravel(), fine, nodes(*coarse), 1 << blocks.level, levels)

    def sums(self, values: Array) -> Array:
        """Sums of `values` (n_fine,) over the larger blocks."""
        return np.bincount(self.into, values, self.coarse[0].size)


@lru_cache(maxsize=2)
def sample(n_frames: int) -> tuple[Indices, Array]:
    """Four row and four column frames (S, 8) of differences all over the map, and normal deviates (S,)."""
    golden = 1.2207440846057596  # x⁴ = x + 1: its powers spread points evenly over three dimensions
    points = (0.5 + np.outer(np.arange(1, SAMPLES + 1), golden ** -np.arange(1.0, 4.0))) % 1.0
    pair = np.sort((points[:, :2] * max(n_frames - 3, 0)).astype(np.int64), axis=1)
    apart = pair[:, 0] < pair[:, 1]
    return (pair[apart, :, None] + np.arange(4)).reshape(-1, 8), ndtri(points[apart, 2])


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """Noise of one kind that the model predicts, of unit strength: what `Evidence` says of it.

    `covariance` (n, n) of the larger blocks, variance of a `pixel` and in all of what is `inside` the blocks, and
    variance of the differences of `neighbours` (S,).
    """

    covariance: Array
    pixel: float
    inside: float
    neighbours: Array

    def times(self, factor: float) -> Predicted:
        """Noise whose variance is so many times as large."""
        return Predicted(factor * self.covariance, factor * self.pixel, factor * self.inside, factor * self.neighbours)

    def plus(self, other: Predicted) -> Predicted:
        """Sum of two independent kinds of noise."""
        return Predicted(
            self.covariance + other.covariance,
            self.pixel + other.pixel,
            self.inside + other.inside,
            self.neighbours + other.neighbours,
        )


def predict(
    fields: Fields, partition: Partition, keep: Array, held: NDArray[np.bool_], weight: Array, beta: float
) -> tuple[Predicted, Predicted]:
    """Noise of speckles of contrast `beta` and of their photons, for an offset of 1.

    `keep` (N,) is 1 for frames that are data, `held` tells the larger blocks with data, `weight` (n_fine,) the pixels
    of the smaller ones.
    """
    total = partition.sums(weight)[held]
    rows, columns = (index[held] for index in partition.coarse)
    found = fields.between_nodes(keep, partition.size, partition.levels)
    nodes = fields.nodes(keep, partition.size, partition.levels)
    frames = sample(keep.size)[0]
    local = fields.between_frames(frames)

    def of(covariance: Array, fine: Array, single: Array, neighbours: Array) -> Predicted:
        return Predicted(
            covariance=covariance * np.sqrt(np.outer(total, total)),
            pixel=float(np.mean(single)),
            inside=float(weight @ fine - total @ np.diag(covariance)),
            neighbours=neighbours,
        )

    speckle = of(
        block_covariance(rows, columns, found.intensity, found.chain, beta),
        block_variance(*partition.fine, found.intensity, found.chain, beta),
        stencil_variance(ONE_PIXEL, local.intensity, local.chain, beta),
        stencil_variance(NEIGHBOURS, local.intensity, local.chain, beta),
    )
    # Pixels along the diagonal share no frames, so that their differences have the variance of one of them.
    b = beta * np.diagonal(local.intensity, 4, 1, 2)
    counted = (fields.excess[frames[:, :4]] + fields.excess[frames[:, 4:]]) * (beta + 2.0 * beta * b - b * b)
    photon = of(
        photon_covariance(rows, columns, nodes.frames, nodes.excess, found.intensity, found.chain, beta),
        photon_variance(*partition.fine, nodes.frames, nodes.excess, found.intensity, found.chain, beta),
        counted[:, 0],
        counted @ NEIGHBOURS**2,
    )
    return speckle, photon
