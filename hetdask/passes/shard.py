"""One shard of a store in memory, and the sums over it for one parameter vector."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hetdask.errors import DataError
from hetdask.model.parameters import as_vector
from hetdask.passes.factors import (
    LANE,
    AngleFactors,
    CompressedFactors,
    SeriesFactors,
    angle_factors,
    compressed_factors,
    series_factors,
)
from hetdask.passes.tiles import AngleTiles, Series
from hetdask_kernels import (
    COMPRESSED,
    FIRST_ROW,
    LANES,
    contract_blocks,
    contract_panels,
    contract_steep_blocks,
    data_product,
    data_products,
    model_grams,
    weighted_gram,
)

Array = NDArray[np.float64]
JOINED_FRAMES: Final = 8192
"""Frames of all angles that are summed over together: fewer calls of kernels, and factors that stay in the cache."""

type PixelWeights = NDArray[np.float64] | NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """Some tiles of some angles.

    Attributes
    ----------
    series : Series
        Of the whole data set.
    angles : tuple of AngleTiles
    owned : tuple of int
        Angles whose sums without data this shard contributes: each angle belongs to one shard.
    """

    series: Series
    angles: tuple[AngleTiles, ...]
    owned: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of pixels held."""
        return sum(angle.nbytes for angle in self.angles)

    @property
    def pieces(self) -> dict[int, tuple[AngleTiles]]:
        """Tiles by angle, as those that come one after the other."""
        return {tiles.angle: (tiles,) for tiles in self.angles}

    def may_join(self, other: Shard) -> bool:
        """Whether both are better summed over together: they share no angle, and have few frames."""
        angles = [tiles.angle for tiles in (*self.angles, *other.angles)]
        return len(set(angles)) == len(angles) and len(angles) * self.series.time.size <= JOINED_FRAMES

    def join(self, other: Shard) -> Shard:
        """Both as one."""
        return Shard(self.series, self.angles + other.angles, self.owned + other.owned)

    def __sizeof__(self) -> int:
        """What Dask takes for its size."""
        return self.nbytes + 4096


@lru_cache(maxsize=2)
def cached_factors(vector: bytes, time: bytes, block: int) -> SeriesFactors:
    """Factors at the frames, kept for the other shards of the same pass in this process."""
    return series_factors(as_vector(np.frombuffer(vector)), _frames(time), block)


@lru_cache(maxsize=2)
def _frames(time: bytes) -> Array:
    # A copy can be written to, as other arrays can: a kernel is compiled for each kind.
    return np.frombuffer(time).copy()


def factors_at(series: Series, angles: Sequence[int], vector: Array) -> AngleFactors:
    """Factors of some angles for the parameters `vector` (14,)."""
    shared = cached_factors(vector.tobytes(), series.time_bytes, series.block)
    chosen = list(angles)
    return angle_factors(shared, series.phi[chosen], series.q[chosen], series.excluded[chosen])


def _add_data(
    factors: AngleFactors,
    pieces: Mapping[int, Iterable[AngleTiles]],
    baseline: Mapping[int, float],
    degrees: int,
    both: bool,
    grams: Array,
) -> None:
    """Add what the pixels contribute to the Gram matrices (M, LANES + 3, LANES + 3), before scaling.

    Row and column sums of compressed tiles are right in their products with smooth functions, which is all that is
    asked of them. The sums with the derivatives are right only with `both`.
    """
    shared = factors.series
    size = shared.block
    few = compressed_factors(factors, degrees, both=both)
    rows, columns = np.zeros((2, *factors.left.shape))
    few_rows, few_columns = np.zeros((2, *few.left.shape))
    products = np.zeros((rows.shape[0], LANES + 1))
    quiet, any_steep = few.smooth & factors.gentle, factors.steep.any(axis=1).tolist()
    for m, some in pieces.items():
        left, right, few_left, few_right = factors.left[m], factors.right[m], few.left[m], few.right[m]
        which = (few.smooth[m], quiet[m], factors.steep[m])
        place = (factors.exponent[m], factors.phase[m])
        sums, few_sums, mixed_sums = (rows[m], columns[m]), (few_rows[m], few_columns[m]), (rows[m], few_columns[m])
        for tiles in some:
            blocks = (tiles.tiles, tiles.places, tiles.blocks, size, baseline[m])
            contract_blocks(*blocks, both, left, right, *which, *place, *sums)
            if tiles.degrees:
                degree = (degrees, few.used[m])
                whole, first_row = (
                    (tiles.compressed, tiles.panels, degrees),
                    (tiles.first_row, tiles.first_panels, size),
                )
                sides = (both, few_left, few_right, *which, size, *place)
                contract_panels(*whole, *degree, COMPRESSED, *sides, *few_sums)
                sides = (both, left, few_right, *which, size, *place)
                contract_panels(*first_row, *degree, FIRST_ROW, *sides, *mixed_sums)
            if any_steep[m]:
                products[m] += _steep_sums(factors, few, m, tiles, baseline[m])
            if tiles.missing:
                grams[m] -= pixel_gram(factors, m, tiles, tiles.missing.items(), baseline[m])
            grams[m, -1, 0] += tiles.total
            grams[m, 0, -1] += tiles.total
            grams[m, -1, -1] += tiles.square
    if degrees:
        few.add_rows(few_rows, rows)
        if both:
            few.add_columns(few_columns, columns)
    held = np.array(list(pieces), dtype=np.int64)
    if both:
        decays = (factors.to_last, factors.from_first)
        data_products(rows, columns, *decays, shared.amplitude, shared.gain, held, products)
    else:
        data_product(rows, factors.to_last, shared.amplitude, held, products)
    grams[:, -1, 1:-1] += products
    grams[:, 1:-1, -1] += products


def _steep_sums(factors: AngleFactors, few: CompressedFactors, m: int, tiles: AngleTiles, baseline: float) -> Array:
    """What the steep blocks on the diagonal add to the sums of e·(g, D), (LANES + 1,)."""
    shared, smooth = factors.series, few.smooth[m]
    rows, columns = np.zeros((2, *factors.left[m].shape))
    contract_steep_blocks(
        tiles.tiles, tiles.places, tiles.blocks, tiles.size, baseline,
        smooth, smooth & factors.gentle[m], factors.steep[m], shared.amplitude, factors.step[m], rows, columns,
    )  # fmt: skip
    complete = np.ones((1, *rows.shape))
    complete[:, 3] = 0.0
    out, only = np.zeros((1, LANES + 1)), np.zeros(1, dtype=np.int64)
    data_products(rows[None], columns[None], complete, complete, shared.amplitude, shared.gain, only, out)
    return np.asarray(out[0])


def pixel_gram(
    factors: AngleFactors, m: int, tiles: AngleTiles, weights: Iterable[tuple[int, PixelWeights]], baseline: float
) -> Array:
    """Weighted Gram matrix over single pixels, (LANES + 3, LANES + 3), before scaling.

    Parameters
    ----------
    factors : AngleFactors
    m : int
        Place of the angle in `factors`.
    tiles : AngleTiles
    weights : iterable of (int, (block, block) bool or float64)
        Tiles by their number, with the weight of each pixel; missing pixels count as data of value 0.
    baseline : float
    """
    gram = np.zeros((LANES + 3, LANES + 3))
    series, size = factors.series, factors.series.block
    for k, weight in weights:
        # One kernel for both kinds.
        pixel_weight = np.asarray(weight, dtype=np.float64)
        row, column = (int(b) for b in tiles.blocks[k])
        r, c = slice(row * size, (row + 1) * size), slice(column * size, (column + 1) * size)
        weighted_gram(
            tiles.block(k), pixel_weight, row == column, bool(row == column and factors.steep[m, row]), baseline,
            *place_of(factors, m, row, column), series.gain[r], series.gain[c], gram,
        )  # fmt: skip
    return gram


def place_of(factors: AngleFactors, m: int, row: int, column: int) -> tuple[Any, ...]:
    """What the kernels for single pixels need to know of a tile, from `exponent` to `amplitude_column`."""
    size = factors.series.block
    r, c = slice(row * size, (row + 1) * size), slice(column * size, (column + 1) * size)
    return (
        factors.exponent[m], factors.phase[m], row, column,
        np.ascontiguousarray(factors.to_last[m, :, r]), np.ascontiguousarray(factors.from_first[m, :, c]),
        factors.step[m, c], factors.series.amplitude[r], factors.series.amplitude[c],
    )  # fmt: skip


def chosen_entries(gram: Array, scale: Array, free: tuple[int, ...]) -> Array:
    """Gram matrices (M, p + 3, p + 3) of (1, g, D_1..D_p, e) from those of all lanes, of the given scale (M, LANES)."""
    chosen, lanes = _places(free)
    factor = np.ones((len(gram), len(free) + 3))
    factor[:, 2:-1] = scale[:, lanes]
    out = gram.reshape(len(gram), -1).take(chosen, axis=1)
    out *= factor[:, :, None]
    out *= factor[:, None, :]
    return np.asarray(out)


@lru_cache
def _places(free: tuple[int, ...]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Where products of (1, g, D_1..D_p, e) are among those of all lanes, (p + 3, p + 3), and the lanes, (p,)."""
    lanes = LANE[list(free)].astype(np.intp)
    rows = np.concatenate([[0, 1], 2 + lanes, [LANES + 2]])
    return (LANES + 3) * rows[:, None] + rows, lanes


def evaluate_shard(shard: Shard, vector: Array, free: tuple[int, ...]) -> dict[int, Array]:
    """Gram matrices of (1, g, D_1..D_p, e) over the pixels of a shard.

    Parameters
    ----------
    shard : Shard
    vector : (14,) float64
        Model parameters.
    free : tuple of int
        Indices of the p parameters whose derivatives are wanted.

    Returns
    -------
    dict of int to (p + 3, p + 3) float64
        By angle. Sums without data stand in the shard that owns the angle.

    Raises
    ------
    DataError
        If the sums are not finite.
    """
    degrees = max((tiles.degrees for tiles in shard.angles), default=0)
    return evaluate_pieces(shard.series, shard.pieces, shard.owned, vector, free, degrees=degrees)


def evaluate_pieces(
    series: Series,
    pieces: Mapping[int, Iterable[AngleTiles]],
    owned: Collection[int],
    vector: Array,
    free: tuple[int, ...],
    *,
    degrees: int = 0,
) -> dict[int, Array]:
    """The same for tiles that come one after the other.

    Parameters
    ----------
    series : Series
    pieces : mapping of int to iterable of AngleTiles
        Of each angle, gone through once and angle by angle in ascending order.
    owned : collection of int
        As in `Shard`.
    vector, free
        As in `evaluate_shard`.
    degrees : int
        Of the tiles that are compressed.

    Raises
    ------
    DataError
        If the sums are not finite.
    """
    angles = sorted(pieces.keys() | set(owned))
    factors = factors_at(series, angles, vector)
    shared = factors.series
    held = {m: pieces[angle] for m, angle in enumerate(angles) if angle in pieces}
    grams = np.zeros((len(angles), LANES + 3, LANES + 3))
    own = np.array([m for m, angle in enumerate(angles) if angle in owned], dtype=np.int64)
    gain = shared.gain if free else np.empty((0, LANES))
    model_grams(factors.step, shared.amplitude, factors.keep, gain, own, grams)
    baseline = {m: float(series.baseline[angles[m]]) for m in held}
    _add_data(factors, held, baseline, degrees, bool(free), grams)
    grams = chosen_entries(grams, factors.scale, free)
    if not np.isfinite(grams).all():
        angle = angles[int(np.argmin(np.isfinite(grams).all(axis=(1, 2))))]
        raise DataError(f"the sums of the angle at {series.phi[angle]:g}° are not finite for {vector.tolist()}")
    return dict(zip(angles, grams, strict=True))
