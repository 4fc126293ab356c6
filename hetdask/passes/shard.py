"""One shard of a store in memory, and the sums over it for one parameter vector."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from dask.sizeof import sizeof
from numpy.typing import NDArray

from hetdask.errors import DataError
from hetdask.model.dynamics import Dynamics, dynamics
from hetdask.passes.factors import AngleFactors, angle_factors
from hetdask_kernels import contract_tiles, model_gram, prepare_tile, slope_products, weighted_gram

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """What the model needs to know of a data set.

    Attributes
    ----------
    phi : (n_phi,) float64
        Degrees.
    q : (n_phi,) float64
        1/Å.
    time : (N,) float64
        s.
    excluded : (n_phi, N) bool
        Frames that are no data.
    baseline : (n_phi,) float64
        Subtracted from the data before summing; each exactly a float32.
    tile : int
        Frames in a block.
    """

    phi: Array
    q: Array
    time: Array
    excluded: NDArray[np.bool_]
    baseline: Array
    tile: int

    @property
    def n_phi(self) -> int:
        """Number of maps."""
        return int(self.phi.size)


@dataclass(frozen=True, slots=True, eq=False)
class AngleTiles:
    """Tiles of one angle, filled with the baseline where a pixel is no data.

    Attributes
    ----------
    angle : int
    blocks : (n, 2) int64
        Row and column block of each tile.
    tiles : (n, size, size) float32
    missing : dict of int to (size, size) bool
        For tiles with single missing pixels between valid frames: where they are.
    total, square : float
        Σe and Σe² of the centred pixels.
    """

    angle: int
    blocks: NDArray[np.int64]
    tiles: NDArray[np.float32]
    missing: dict[int, NDArray[np.bool_]]
    total: float
    square: float

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.tiles.nbytes + sum(mask.nbytes for mask in self.missing.values())


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


def missing_pixels(
    finite: NDArray[np.bool_], row: int, column: int, excluded: NDArray[np.bool_], size: int
) -> NDArray[np.bool_]:
    """Pixels of a tile that lie above the diagonal, between valid frames, and are no data."""
    n = excluded.size
    rows, columns = row * size + np.arange(size), column * size + np.arange(size)
    valid = np.zeros((size, size), dtype=np.bool_)
    inside = np.ix_(rows < n, columns < n)
    valid[inside] = ~excluded[rows[rows < n], None] & ~excluded[None, columns[columns < n]]
    return np.asarray(valid & (rows[:, None] < columns[None, :]) & ~finite)


def collect_tiles(
    series: Series, angle: int, tiles: Iterable[tuple[int, int, NDArray[np.float32]]], count: int
) -> AngleTiles:
    """Prepare the tiles of one angle, one after the other.

    Parameters
    ----------
    series : Series
    angle : int
    tiles : iterable of (row block, column block, (size, size) float32)
        NaN where a pixel is no data. Copied.
    count : int
        Number of tiles.
    """
    size = series.tile
    stack = np.empty((count, size, size), dtype=np.float32)
    blocks = np.empty((count, 2), dtype=np.int64)
    missing: dict[int, NDArray[np.bool_]] = {}
    total = square = 0.0
    baseline = float(series.baseline[angle])
    for k, (row, column, tile) in enumerate(tiles):
        stack[k], blocks[k] = tile, (row, column)
        found, tile_total, tile_square = prepare_tile(stack[k], baseline)
        total += tile_total
        square += tile_square
        if found != _full_count(series.excluded[angle], row, column, size):
            gaps = missing_pixels(np.isfinite(tile), row, column, series.excluded[angle], size)
            missing[k] = gaps
    return AngleTiles(angle, blocks, stack, missing, total, square)


def _full_count(excluded: NDArray[np.bool_], row: int, column: int, size: int) -> int:
    """Pixels that a tile holds if none is missing."""
    rows = int(np.count_nonzero(~excluded[row * size : (row + 1) * size]))
    if row == column:
        return rows * (rows - 1) // 2
    return rows * int(np.count_nonzero(~excluded[column * size : (column + 1) * size]))


@lru_cache(maxsize=2)
def _dynamics(vector: bytes, time: bytes) -> Dynamics:
    """Dynamics at the frames, kept for the other shards of the same pass in this process."""
    return dynamics(np.frombuffer(vector), np.frombuffer(time))


def _complex_product(a: Array, b: Array) -> Array:
    """Product of factors (4, ...) whose last two rows are real and imaginary part."""
    return np.stack([a[0] * b[0], a[1] * b[1], a[2] * b[2] - a[3] * b[3], a[2] * b[3] + a[3] * b[2]])


def _data_sums(factors: AngleFactors, tiles: AngleTiles, baseline: float, n_free: int) -> Array:
    """Sums of e·(g, D_1..D_p) over the tiles, (p + 1,)."""
    rows, columns, extra = contract_tiles(
        tiles.tiles,
        tiles.blocks,
        baseline,
        factors.left,
        factors.right,
        factors.coupling(tiles.blocks),
        factors.steep,
        factors.weight,
        factors.step,
        n_free > 0,
    )
    rows = _complex_product(rows, factors.to_last) + extra[0]
    model = np.array([np.sum(factors.weight * rows[:3])])
    if n_free == 0:
        return model
    columns = _complex_product(columns, factors.from_first) + extra[1]
    return np.concatenate([model, slope_products(rows, columns, factors.slope, factors.sign)[:n_free]])


def _missing_gram(factors: AngleFactors, tiles: AngleTiles, baseline: float, n_free: int) -> Array:
    """Gram matrix over the missing pixels, (p + 3, p + 3); the data count as 0 there."""
    gram = np.zeros((n_free + 3, n_free + 3))
    coupling = factors.coupling(tiles.blocks)
    size = factors.tile
    for k, mask in tiles.missing.items():
        row, column = (int(b) for b in tiles.blocks[k])
        r = slice(row * size, (row + 1) * size)
        c = slice(column * size, (column + 1) * size)
        weighted_gram(
            tiles.tiles[k],
            mask,
            row == column,
            bool(row == column and factors.steep[row]),
            baseline,
            np.ascontiguousarray(factors.to_last[:, r]),
            np.ascontiguousarray(factors.from_first[:, c]),
            coupling[k],
            np.ascontiguousarray(factors.step[:, c]),
            np.ascontiguousarray(factors.weight[:, r]),
            np.ascontiguousarray(factors.weight[:, c]),
            factors.slope[r],
            factors.slope[c],
            factors.sign,
            gram,
        )
    return gram


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
    d = _dynamics(vector.tobytes(), series.time.tobytes())
    p = len(free)
    held = {tiles.angle: tiles for tiles in shard.angles}
    sums: dict[int, Array] = {}
    for angle in sorted(held.keys() | set(shard.owned)):
        factors = angle_factors(
            d, float(series.phi[angle]), float(series.q[angle]), series.excluded[angle], series.tile, free
        )
        gram = np.zeros((p + 3, p + 3))
        if angle in shard.owned:
            gram[:-1, :-1] = model_gram(factors.step, factors.weight, factors.valid, factors.slope, factors.sign, p)
        if angle in held:
            baseline = float(series.baseline[angle])
            tiles = held[angle]
            if tiles.missing:
                gram -= _missing_gram(factors, tiles, baseline, p)
            products = np.concatenate([[tiles.total], _data_sums(factors, tiles, baseline, p)])
            gram[-1, :-1] += products
            gram[:-1, -1] += products
            gram[-1, -1] += tiles.square
        if not np.all(np.isfinite(gram)):
            raise DataError(f"the sums of the angle at {series.phi[angle]:g}° are not finite for {vector.tolist()}")
        sums[angle] = gram
    return sums
