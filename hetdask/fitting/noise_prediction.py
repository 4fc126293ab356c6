"""What noise the model predicts for the blocks of one angle: that of speckles, and that of their photons."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from hetdask.data.reduction import Blocks, level_of_nodes
from hetdask.fitting.speckle_covariance import Coherence, Fields, first_nodes
from hetdask.passes.speckle_scores import contrast_of_speckles
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
"""Groups of frames, at most, of the larger blocks whose full covariance is predicted: a few hundred blocks."""

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


class Prediction:
    """Noise that the model predicts for one angle, computed when it is asked for.

    Parameters
    ----------
    fields : Fields
    partition : Partition
    keep : (N,) float64
        1 for frames that are data.
    weight : (n_fine,) float64
        Pixels of the smaller blocks.
    contrast, offset : float
        Of c2; the noise is that of c2 too.

    Attributes
    ----------
    held : (n,) bool
        Larger blocks with data.
    total : (n_held,) float64
        Their pixels.
    """

    def __init__(
        self, fields: Fields, partition: Partition, keep: Array, weight: Array, contrast: float, offset: float
    ) -> None:
        self._fields, self._partition, self._keep, self._weight = fields, partition, keep, weight
        self._beta, self._square = contrast_of_speckles(contrast / offset), offset**2
        total = partition.sums(weight)
        self.held = total > 0.0
        self.total = total[self.held]

    @cached_property
    def speckle(self) -> Predicted:
        """Noise of one speckle."""
        rows, columns = self._larger
        nodes, beta = self._nodes(), self._beta
        pixels = self._fields.between_frames(sample(self._keep.size)[0])
        return self._of(
            block_covariance(rows, columns, nodes.intensity, nodes.chain, beta),
            block_variance(*self._partition.fine, nodes.intensity, nodes.chain, beta),
            stencil_variance(ONE_PIXEL, pixels.intensity, pixels.chain, beta),
            stencil_variance(NEIGHBOURS, pixels.intensity, pixels.chain, beta),
        )

    @cached_property
    def photon(self) -> Predicted:
        """Noise of one photon of it in each frame."""
        rows, columns = self._larger
        found, beta, excess = self._nodes(), self._beta, self._fields.excess
        nodes = self._fields.nodes(self._keep, self._partition.size, self._partition.levels)
        frames, b = sample(self._keep.size)[0], beta * self.pairs
        counted = (excess[frames[:, :4]] + excess[frames[:, 4:]]) * (beta + 2.0 * beta * b - b * b)
        # Pixels along the diagonal share no frames, so that their differences have the variance of one of them.
        return self._of(
            photon_covariance(rows, columns, nodes.frames, nodes.excess, found.intensity, found.chain, beta),
            photon_variance(*self._partition.fine, nodes.frames, nodes.excess, found.intensity, found.chain, beta),
            counted[:, 0],
            counted @ NEIGHBOURS**2,
        )

    @cached_property
    def pairs(self) -> Array:
        """|G|² at the pixels of the differences between neighbours, (S, 4)."""
        frames = sample(self._keep.size)[0].reshape(-1, 2, 4).swapaxes(1, 2)
        return self._fields.between_frames(frames).intensity[..., 0, 1]

    def of(self, photons: float) -> Predicted:
        """Noise of one speckle with so many photons in each frame; infinitely many add none."""
        return self.speckle.plus(self.photon.times(1.0 / photons)) if np.isfinite(photons) else self.speckle

    @property
    def _larger(self) -> tuple[Indices, Indices]:
        rows, columns = self._partition.coarse
        return rows[self.held], columns[self.held]

    def _nodes(self) -> Coherence:
        return self._fields.between_nodes(self._keep, self._partition.size, self._partition.levels)

    def _of(self, covariance: Array, fine: Array, single: Array, neighbours: Array) -> Predicted:
        found = Predicted(
            covariance=covariance * np.sqrt(np.outer(self.total, self.total)),
            pixel=float(np.mean(single)),
            inside=float(self._weight @ fine - self.total @ np.diag(covariance)),
            neighbours=neighbours,
        )
        return found.times(self._square)
