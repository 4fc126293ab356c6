"""One shard of a store in memory, and the sums over it for one parameter vector."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from dask.sizeof import sizeof
from numpy.typing import NDArray

from hetdask.errors import DataError
from hetdask.model.dynamics import dynamics
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
    contract_panels,
    contract_steep_tiles,
    contract_tiles,
    data_products,
    expand,
    model_gram,
    model_sums,
    weighted_gram,
)

Array = NDArray[np.float64]
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


@sizeof.register(Shard)  # type: ignore[no-untyped-call, untyped-decorator]
def _sizeof_shard(shard: Shard) -> int:
    return shard.nbytes + 4096


@lru_cache(maxsize=2)
def cached_factors(vector: bytes, time: bytes, block: int) -> SeriesFactors:
    """Factors at the frames, kept for the other shards of the same pass in this process."""
    return series_factors(dynamics(np.frombuffer(vector), np.frombuffer(time)), block)


def _data_sums(factors: AngleFactors, held: Mapping[int, AngleTiles], series: Series, both: bool) -> Array:
    """Sums of e·(g, D) over the tiles, (M, LANES + 1), before scaling; those of D are right only with `both`.

    Row and column sums of compressed tiles are right in their products with smooth functions, which is all that is
    asked of them.
    """
    shared = factors.series
    degrees = max((tiles.degrees for tiles in held.values()), default=0)
    few = compressed_factors(factors, degrees)
    rows, columns = np.zeros((2, *factors.left.shape))
    few_rows, few_columns = np.zeros((2, *few.left.shape))
    out = np.zeros((rows.shape[0], LANES + 1))
    for m, tiles in held.items():
        left, right, few_left, few_right = factors.left[m], factors.right[m], few.left[m], few.right[m]
        which = (few.smooth[m], few.smooth[m] & factors.gentle[m], factors.steep[m])
        place = (factors.exponent[m], factors.phase[m])
        baseline = float(series.baseline[tiles.angle])
        contract_tiles(tiles.tiles, tiles.blocks, baseline, both, left, right, *which, *place, rows[m], columns[m])
        if degrees:
            size = shared.block
            compressed, first_row = (tiles.compressed, tiles.panels), (tiles.first_row, tiles.first_panels)
            sums = (few_rows[m], few_columns[m])
            contract_panels(
                *compressed,
                degrees,
                degrees,
                few.used[m],
                COMPRESSED,
                both,
                few_left,
                few_right,
                *which,
                size,
                *place,
                *sums,
            )
            sums = (rows[m], few_columns[m])
            contract_panels(
                *first_row, size, degrees, few.used[m], FIRST_ROW, both, left, few_right, *which, size, *place, *sums
            )
    if degrees:
        rows += expand(few_rows, few.basis)
        columns += expand(few_columns, few.basis)
    for m, tiles in held.items():
        data_products(
            rows[m], columns[m], factors.to_last[m], factors.from_first[m], shared.amplitude, shared.gain, out[m]
        )
        if factors.steep[m].any():
            out[m] += _steep_sums(factors, few, m, tiles, float(series.baseline[tiles.angle]))
    return out


def _steep_sums(factors: AngleFactors, few: CompressedFactors, m: int, tiles: AngleTiles, baseline: float) -> Array:
    """What the steep tiles on the diagonal add to the sums of e·(g, D), (LANES + 1,)."""
    shared, smooth = factors.series, few.smooth[m]
    rows, columns = np.zeros((2, *factors.left[m].shape))
    contract_steep_tiles(
        tiles.tiles, tiles.blocks, baseline, smooth, smooth & factors.gentle[m], factors.steep[m],
        shared.amplitude, factors.step[m], rows, columns,
    )  # fmt: skip
    complete = np.ones_like(rows)
    complete[3] = 0.0
    out = np.zeros(LANES + 1)
    data_products(rows, columns, complete, complete, shared.amplitude, shared.gain, out)
    return out


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
        row, column = (int(b) for b in tiles.blocks[k])
        r, c = slice(row * size, (row + 1) * size), slice(column * size, (column + 1) * size)
        weighted_gram(
            tiles.tiles[k], weight, row == column, bool(row == column and factors.steep[m, row]), baseline,
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
    whole = np.ones((gram.shape[0], LANES + 3))
    whole[:, 2:-1] = scale
    chosen = np.concatenate([[0, 1], 2 + LANE[list(free)], [LANES + 2]]).astype(np.intp)
    return (gram * (whole[:, :, None] * whole[:, None, :]))[:, chosen[:, None], chosen]


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
    series = shard.series
    shared = cached_factors(vector.tobytes(), series.padded_time.tobytes(), series.block)
    by_angle = {tiles.angle: tiles for tiles in shard.angles}
    angles = sorted(by_angle.keys() | set(shard.owned))
    factors = angle_factors(shared, series.phi[angles], series.q[angles], series.excluded[angles])
    held = {m: by_angle[angle] for m, angle in enumerate(angles) if angle in by_angle}
    grams = np.zeros((len(angles), LANES + 3, LANES + 3))
    for m, angle in enumerate(angles):
        if angle in shard.owned:
            # Contiguous: kernels are compiled for such arrays before workers start.
            model, gram = (factors.step[m], shared.amplitude, factors.keep[m]), np.zeros((LANES + 2, LANES + 2))
            if free:
                model_gram(*model, shared.gain, gram)
            else:
                model_sums(*model, gram)
            grams[m, :-1, :-1] = gram
    products = _data_sums(factors, held, series, bool(free))
    for m, tiles in held.items():
        if tiles.missing:
            grams[m] -= pixel_gram(factors, m, tiles, tiles.missing.items(), float(series.baseline[tiles.angle]))
        grams[m, -1, 1:-1] += products[m]
        grams[m, 1:-1, -1] += products[m]
        grams[m, -1, 0] += tiles.total
        grams[m, 0, -1] += tiles.total
        grams[m, -1, -1] += tiles.square
    grams = chosen_entries(grams, factors.scale, free)
    if not np.all(np.isfinite(grams)):
        angle = angles[int(np.argmin(np.isfinite(grams).all(axis=(1, 2))))]
        raise DataError(f"the sums of the angle at {series.phi[angle]:g}° are not finite for {vector.tolist()}")
    return dict(zip(angles, grams, strict=True))
