"""Sums in which pixels far off the model count less: what losses that resist outliers need of a pass.

Everything that separates is summed as ever; then what a pixel counts less than one is taken off again, pixel by pixel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hetdask.passes.factors import AngleFactors
from hetdask.passes.residuals import residuals_of
from hetdask.passes.shard import Shard, chosen_entries, evaluate_shard, factors_at, pixel_gram
from hetdask.passes.tiles import AngleTiles

Array = NDArray[np.float64]


class Loss(Protocol):
    """Loss of a residual, as a concave function of its square u², where u is in units of the scale."""

    def terms(self, squares: Array, /) -> tuple[Array, Array, Array]:
        """Loss, its derivative by u² (the weight of the pixel), and half its second derivative by u, at u²."""

    def rescaled(self, sums: LossSums, /) -> Array:
        """Squared scales (n_phi,) that the residuals ask for, relative to those the sums were taken with."""


@dataclass(frozen=True, slots=True)
class HuberLoss:
    """u² up to a threshold, then growing linearly (doi:10.1214/aoms/1177703732)."""

    threshold: float

    def terms(self, squares: Array, /) -> tuple[Array, Array, Array]:
        """Loss, weight and half the second derivative at u²."""
        k = self.threshold
        size = np.sqrt(squares)
        inside = size <= k
        weight = k / np.maximum(size, k)
        return np.where(inside, squares, 2.0 * k * size - k * k), weight, inside.astype(np.float64)

    def rescaled(self, sums: LossSums, /) -> Array:
        """Make the mean of the squared influence what it is for normal noise (Huber's second proposal)."""
        k = self.threshold
        tail = 1.0 - math.erf(k / math.sqrt(2.0))
        density = math.exp(-0.5 * k * k) / math.sqrt(2.0 * math.pi)
        expected = float(1.0 - tail - 2.0 * k * density + k * k * tail)
        return sums.influence / (sums.n_points * expected)


@dataclass(frozen=True, slots=True)
class StudentTLoss:
    """(ν + 1) log(1 + u²/ν), from the likelihood of Student's t (doi:10.1080/01621459.1989.10478852)."""

    degrees_of_freedom: float

    def terms(self, squares: Array, /) -> tuple[Array, Array, Array]:
        """Loss, weight and half the second derivative at u²."""
        nu = self.degrees_of_freedom
        weight = (nu + 1.0) / (nu + squares)
        return (nu + 1.0) * np.log1p(squares / nu), weight, weight * (nu - squares) / (nu + squares)

    def rescaled(self, sums: LossSums, /) -> Array:
        """Step of expectation and maximisation towards the most likely scale."""
        return sums.weighted_squares / sums.n_points


@dataclass(frozen=True, slots=True)
class Weighting:
    """How pixels are weighted: by the loss of their residual at the parameters of the pass.

    Attributes
    ----------
    loss : Loss
    contrast, offset, scale : tuple of n_phi floats
        Of each angle; the offset is relative to the baseline, the scale in units of c2.
    left_out : tuple of n_phi tuples of int
        Frames of each angle whose pixels have no weight at all.
    """

    loss: Loss
    contrast: tuple[float, ...]
    offset: tuple[float, ...]
    scale: tuple[float, ...]
    left_out: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class LossSums:
    """Sums over pixels with weights; those over disjoint pixels add.

    Attributes
    ----------
    plain, weighted : (n_phi, p + 3, p + 3) float64
        Gram matrices of (1, g, D_1..D_p, e), see `NormalSums`.
    n_points, loss, weight, influence, weighted_squares, slope : (n_phi,) float64
        Pixels of frames that are not left out, and sums of loss, weight w, w²u², wu² and half the second derivative of
        the loss.
    frame_weight, frame_points : (n_phi, N) float64
        Sum of weights and number of the pixels that each frame takes part in, as if no frame were left out.
    tile_weight, tile_points : (n_phi, B, B) float64
        The same by blocks of frames.
    """

    plain: Array
    weighted: Array
    n_points: Array
    loss: Array
    weight: Array
    influence: Array
    weighted_squares: Array
    slope: Array
    frame_weight: Array
    frame_points: Array
    tile_weight: Array
    tile_points: Array

    @classmethod
    def zeros(cls, n_phi: int, n_free: int, n_frames: int, n_blocks: int) -> LossSums:
        """Sums over no pixels."""
        grams = [np.zeros((n_phi, n_free + 3, n_free + 3)) for _ in range(2)]
        sums = [np.zeros(n_phi) for _ in range(6)]
        frames = [np.zeros((n_phi, n_frames)) for _ in range(2)]
        tiles = [np.zeros((n_phi, n_blocks, n_blocks)) for _ in range(2)]
        return cls(*grams, *sums, *frames, *tiles)

    def angle(self, m: int) -> tuple[Array, ...]:
        """Views of what belongs to one angle, as arrays that can be added to."""
        return tuple(getattr(self, entry.name)[m : m + 1] for entry in fields(self))


def evaluate_weighted(
    shard: Shard, vector: Array, free: tuple[int, ...], weighting: Weighting
) -> dict[int, tuple[Array, ...]]:
    """Sums of a shard with pixel weights, by angle in the order of the fields of `LossSums`.

    Raises
    ------
    DataError
        If the sums are not finite.
    """
    series = shard.series
    plain = evaluate_shard(shard, vector, free)
    n_blocks = series.padded_time.size // series.block
    parts = {angle: LossSums.zeros(1, len(free), series.time.size, n_blocks) for angle in plain}
    for angle, gram in plain.items():
        parts[angle].plain[0] = parts[angle].weighted[0] = gram
    factors = factors_at(series, [tiles.angle for tiles in shard.angles], vector)
    for m, tiles in enumerate(shard.angles):
        sums, baseline = parts[tiles.angle], float(series.baseline[tiles.angle])
        less = pixel_gram(factors, m, tiles, _shortfalls(factors, m, tiles, weighting, baseline, sums), baseline)
        sums.weighted[0] -= chosen_entries(less[None], factors.scale[m : m + 1], free)[0]
    return {angle: sums.angle(0) for angle, sums in parts.items()}


def _shortfalls(
    factors: AngleFactors, m: int, tiles: AngleTiles, weighting: Weighting, baseline: float, sums: LossSums
) -> Iterator[tuple[int, Array]]:
    """What each pixel counts less than one, tile by tile; adds to everything of `sums` but the Gram matrices."""
    size, keep, angle = factors.series.block, factors.keep[m] > 0.0, tiles.angle
    counted = keep.copy()
    counted[list(weighting.left_out[angle])] = False
    scaling = weighting.contrast[angle], baseline + weighting.offset[angle]
    for k, row, column, valid, deviation in residuals_of(factors, m, tiles, *scaling):
        r, c = slice(row * size, (row + 1) * size), slice(column * size, (column + 1) * size)
        residual = deviation / weighting.scale[angle]
        squares = residual * residual
        loss, weight, slope = weighting.loss.terms(squares)
        _count(sums, row, column, size, valid, np.where(valid, weight, 0.0))
        counts = valid & np.outer(counted[r], counted[c])
        loss, weight, slope = (np.where(counts, term, 0.0) for term in (loss, weight, slope))
        sums.n_points[0] += np.count_nonzero(counts)
        sums.loss[0] += loss.sum()
        sums.weight[0] += weight.sum()
        sums.slope[0] += slope.sum()
        sums.weighted_squares[0] += (weight * squares).sum()
        sums.influence[0] += (weight * weight * squares).sum()
        yield k, np.where(valid, 1.0 - weight, 0.0)


def _count(sums: LossSums, row: int, column: int, size: int, valid: NDArray[np.bool_], weight: Array) -> None:
    """Add the weights of a tile to those of its frames and of the map."""
    n_frames = sums.frame_weight.shape[1]
    for target, values in ((sums.frame_weight, weight), (sums.frame_points, valid)):
        for block, axis in ((row, 1), (column, 0)):
            place = target[0, block * size : min((block + 1) * size, n_frames)]
            place += values.sum(axis=axis)[: place.size]
    sums.tile_weight[0, row, column] += weight.sum()
    sums.tile_points[0, row, column] += np.count_nonzero(valid)


def merge_weighted(zeros: LossSums, parts: Sequence[Mapping[int, tuple[Array, ...]]]) -> LossSums:
    """Add the sums of disjoint shards to `zeros`, which is returned."""
    for part in parts:
        for angle, arrays in part.items():
            for total, array in zip(zeros.angle(angle), arrays, strict=True):
                np.add(total, array, out=total)
    return zeros
