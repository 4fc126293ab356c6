"""Passes over a store: shard tasks on a runner, partial sums merged on the client."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import groupby, islice, zip_longest
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, override

import numpy as np
from numpy.typing import NDArray

from hetdask.data.store import ShardSpec, Store
from hetdask.errors import DataError
from hetdask.passes.normal import NormalSums
from hetdask.passes.plan import RESIDENT_UNIT, STREAMED_UNIT, divide, units
from hetdask.passes.reference import evaluate_reference
from hetdask.passes.residuals import ResidualSums, evaluate_residuals, merge_residuals
from hetdask.passes.segments import SegmentSums, evaluate_segments, merge_segments
from hetdask.passes.shard import Shard, evaluate_pieces, evaluate_shard
from hetdask.passes.tiles import AngleTiles, Series, TileSums, collect_tiles, stream_tiles
from hetdask.passes.weighted import LossSums, Weighting, evaluate_weighted, merge_weighted

if TYPE_CHECKING:
    from hetdask_cluster.runner import Runner

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PassRequest:
    """What a shard task is asked for: the model's sums at a parameter vector.

    Attributes
    ----------
    vector : tuple of 14 floats
    free : tuple of int
        Parameters whose derivatives are wanted.
    """

    vector: tuple[float, ...]
    free: tuple[int, ...]

    def evaluate(self, shard: Shard) -> dict[int, Any]:
        """Sums over a shard, by angle."""
        return evaluate_shard(shard, np.array(self.vector), self.free)

    def stream(self, store: Store, spec: ShardSpec) -> dict[int, Any]:
        """The same while a shard of a store is read; it is never in memory as a whole."""
        series, pieces = stream_shard(store, spec)
        return evaluate_pieces(series, pieces, owned_angles(spec), np.array(self.vector), self.free)

    @staticmethod
    def add(first: Any, second: Any) -> Any:
        """Sums over two shards of the same angle."""
        if isinstance(first, tuple):
            return tuple(a + b for a, b in zip(first, second, strict=True))
        return first + second


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """The same at several parameter vectors: sums (K, p + 3, p + 3) of each angle.

    Data that are read for it are compressed first, angle by angle: further vectors go through fewer numbers.
    """

    vectors: tuple[tuple[float, ...], ...]
    free: tuple[int, ...]

    def evaluate(self, shard: Shard) -> dict[int, Array]:
        """Sums over a shard, by angle."""
        found = [evaluate_shard(shard, np.array(vector), self.free) for vector in self.vectors]
        return {angle: np.stack([sums[angle] for sums in found]) for angle in found[0]}

    def stream(self, store: Store, spec: ShardSpec) -> dict[int, Array]:
        """The same while a shard of a store is read; one angle of it is in memory."""
        series, owned = series_of(store), set(owned_angles(spec))
        total: dict[int, Array] = {}
        for tiles in load_angles(store, spec):
            total |= self.evaluate(Shard(series, (tiles,), tuple(owned & {tiles.angle})))
        return total

    add = staticmethod(PassRequest.add)


WORTH_A_BATCH: Final = 3
"""Vectors from which on a batch is faster than passes of their own, where data are read from disk."""


class _WholeShards(PassRequest):
    """Sums that need a shard in memory."""

    __slots__ = ()

    @override
    def stream(self, store: Store, spec: ShardSpec) -> dict[int, Any]:
        """Sums over a shard that is read for it."""
        return self.evaluate(load_shard(store, spec, compress=False))


@dataclass(frozen=True, slots=True)
class ReferenceRequest(_WholeShards):
    """The same sums in plain NumPy."""

    @override
    def evaluate(self, shard: Shard) -> dict[int, Any]:
        """Sums over a shard, by angle."""
        return evaluate_reference(shard, np.array(self.vector), self.free)


@dataclass(frozen=True, slots=True)
class WeightedRequest(_WholeShards):
    """The same with pixel weights."""

    weighting: Weighting

    @override
    def evaluate(self, shard: Shard) -> dict[int, Any]:
        """Sums over a shard, by angle."""
        return evaluate_weighted(shard, np.array(self.vector), self.free, self.weighting)


@dataclass(frozen=True, slots=True)
class SegmentRequest(_WholeShards):
    """The same by pairs of time segments, with the frames at their `edges`."""

    edges: tuple[int, ...]

    @override
    def evaluate(self, shard: Shard) -> dict[int, Any]:
        """Sums over a shard, by angle."""
        return evaluate_segments(shard, np.array(self.vector), self.free, self.edges)


@dataclass(frozen=True, slots=True)
class ResidualRequest(PassRequest):
    """Sums of residuals, with contrast, offset and a limit of each angle, in units of c2."""

    contrast: tuple[float, ...]
    offset: tuple[float, ...]
    limit: tuple[float, ...]

    @override
    def evaluate(self, shard: Shard) -> dict[int, Any]:
        """Sums over a shard, by angle."""
        return self._sums(shard.series, shard.pieces)

    @override
    def stream(self, store: Store, spec: ShardSpec) -> dict[int, Any]:
        """The same while the shard is read."""
        return self._sums(*stream_shard(store, spec))

    def _sums(self, series: Series, pieces: Mapping[int, Iterable[AngleTiles]]) -> dict[int, Any]:
        return evaluate_residuals(series, pieces, np.array(self.vector), self.contrast, self.offset, self.limit)


def series_of(store: Store) -> Series:
    """What the model needs to know of a store."""
    return Series(
        phi=store.phi,
        q=store.q,
        time=store.time,
        excluded=store.frame_mask,
        baseline=store.baseline.astype(np.float64),
        tile=store.tile,
    )


def load_angles(store: Store, spec: ShardSpec, *, compress: bool = True) -> Iterator[AngleTiles]:
    """Read and prepare one shard, angle by angle; compressed only if it will be summed more than once.

    Raises
    ------
    DataError
        If the store was changed or damaged since it was written.
    """
    series = series_of(store)
    count = spec.n_tiles // (spec.angles[1] - spec.angles[0])
    for angle, group in groupby(store.iter_shard(spec, reuse=True), itemgetter(0)):
        yield collect_tiles(series, angle, (entry[1:] for entry in group), count, compress=compress)


def load_shard(store: Store, spec: ShardSpec, *, compress: bool = True) -> Shard:
    """The whole shard, on the worker that will hold it."""
    return Shard(series_of(store), tuple(load_angles(store, spec, compress=compress)), owned_angles(spec))


def owned_angles(spec: ShardSpec) -> tuple[int, ...]:
    """Angles whose sums without data a shard contributes: those that begin in it."""
    return tuple(range(*spec.angles)) if spec.rows[0] == 0 and spec.columns[0] == 0 else ()


def load_shards(specs: Sequence[ShardSpec]) -> tuple[Shard, ...]:
    """Task that makes shards resident."""
    joined: list[Shard] = []
    for spec in specs:
        shard = load_shard(Store.open(spec.path), spec)
        if joined and joined[-1].may_join(shard):
            joined[-1] = joined[-1].join(shard)
        else:
            joined.append(shard)
    return tuple(joined)


@lru_cache(maxsize=1024)
def known_sums(*map_of_store: object) -> dict[tuple[int, int], TileSums]:  # noqa: ARG001 - the key of the cache
    """What earlier passes of this process have summed up in a map, by where it is and what it holds."""
    return {}


def stream_shard(store: Store, spec: ShardSpec) -> tuple[Series, dict[int, Iterator[AngleTiles]]]:
    """Pieces of a shard by angle, to be gone through in ascending order, as each is read."""
    series = series_of(store)
    tiles = store.iter_shard(spec, reuse=True)
    count = spec.n_tiles // (spec.angles[1] - spec.angles[0])

    def pieces(angle: int) -> Iterator[AngleTiles]:
        map_of_store = (store.tile_checksum[angle], store.baseline[angle], store.frame_mask[angle])
        known = known_sums(spec.path, angle, *(x.tobytes() for x in map_of_store))
        return stream_tiles(series, angle, (entry[1:] for entry in islice(tiles, count)), known)

    return series, {angle: pieces(angle) for angle in range(*spec.angles)}


def evaluate(unit: Sequence[Shard | ShardSpec], request: PassRequest | BatchRequest) -> dict[int, Any]:
    """Task of a pass: sums over some shards, resident (`Shard`) or streamed from the store (`ShardSpec`)."""
    total: dict[int, Any] = {}
    for part in _parts(unit, request):
        for angle, sums in part.items():
            total[angle] = request.add(total[angle], sums) if angle in total else sums
    return total


def _parts(unit: Sequence[Shard | ShardSpec], request: PassRequest | BatchRequest) -> Iterator[dict[int, Any]]:
    """Sums over one shard after the other; while one is read from the store, the next one is read ahead."""
    yield from (request.evaluate(shard) for shard in unit if isinstance(shard, Shard))
    specs = [spec for spec in unit if isinstance(spec, ShardSpec)]
    if not specs:
        return
    open_store = cache(Store.open)
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as reader:
        for spec, following in zip_longest(specs, specs[1:]):
            if following is not None:
                reader.submit(open_store(following.path).read_ahead, following)
            yield request.stream(open_store(spec.path), spec)


def merge(n_phi: int, n_free: int, parts: Sequence[Mapping[int, Array]]) -> NormalSums:
    """Partial sums of disjoint shards as one."""
    total = NormalSums.zeros(n_phi, n_free)
    for part in parts:
        for angle, gram in part.items():
            total.gram[angle] += gram
    return total


def _plain(vector: Array) -> tuple[float, ...]:
    """A parameter vector that travels in few bytes."""
    return tuple(float(x) for x in vector)


class Passes:
    """Full-resolution sums of a store for any parameter vector.

    Parameters
    ----------
    store : Store
    runner : Runner
        Where shards are loaded and summed.
    resident_bytes : int, optional
        Shards are kept on the workers up to this size in all; the rest is read from disk in every pass.
        None keeps all.
    numba : bool
        False sums in plain NumPy what a call asks for: slow, for comparison. The other methods have kernels only.

    Attributes
    ----------
    count : int
        Passes so far.
    n_points : int
        Pixels in one pass.
    pixels_per_second : float
        Rate of the last pass.
    """

    def __init__(self, store: Store, runner: Runner, *, resident_bytes: int | None = None, numba: bool = True) -> None:
        self.store = store
        self.series = series_of(store)
        self.n_points = int(store.n_points)
        self.count = 0
        self.pixels_per_second = 0.0
        self._runner = runner
        self._request = PassRequest if numba else ReferenceRequest
        resident, streamed = divide(store.shards(), store.tile, resident_bytes)
        workers = runner.n_workers
        kept = [runner.put(load_shards, unit) for unit in units(resident, store.tiling, workers, RESIDENT_UNIT)]
        self._sources = [*kept, *units(streamed, store.tiling, workers, STREAMED_UNIT)]

    def __call__(self, vector: Array, free: tuple[int, ...]) -> NormalSums:
        """Sums at `vector` (14,), with derivatives for the parameters `free`.

        Raises
        ------
        DataError
            If the pixels that were summed are not those of the store.
        """
        with self._pass():
            parts = self._map(self._request(_plain(vector), free))
            sums = merge(self.series.n_phi, len(free), parts)
            self._check(sums.gram)
        return sums

    def batch(self, vectors: Array, free: tuple[int, ...]) -> list[NormalSums]:
        """Sums at each of `vectors` (K, 14) in one pass: data that do not stay in memory are read once.

        Raises
        ------
        DataError
            If the pixels that were summed are not those of the store.
        """
        if self._request is not PassRequest or len(vectors) < WORTH_A_BATCH:
            return [self(vector, free) for vector in vectors]
        with self._pass():
            parts = self._map(BatchRequest(tuple(map(_plain, vectors)), free))
            batch = []
            for k in range(len(vectors)):
                of_vector = [{angle: sums[k] for angle, sums in part.items()} for part in parts]
                batch.append(merge(self.series.n_phi, len(free), of_vector))
                self._check(batch[-1].gram)
        return batch

    def weighted(self, vector: Array, free: tuple[int, ...], weighting: Weighting) -> LossSums:
        """The same sums with and without a weight for each pixel, that of its residual at `vector`.

        Raises
        ------
        DataError
            If the pixels that were summed are not those of the store.
        """
        series = self.series
        with self._pass():
            zeros = LossSums.zeros(series.n_phi, len(free), series.time.size, series.padded_time.size // series.block)
            sums = merge_weighted(zeros, self._map(WeightedRequest(_plain(vector), free, weighting)))
            self._check(sums.plain)
        return sums

    def by_segments(self, vector: Array, free: tuple[int, ...], edges: tuple[int, ...]) -> SegmentSums:
        """The same sums by pairs of the time segments between frames `edges`, the first 0 and the last N.

        Raises
        ------
        DataError
            If the pixels that were summed are not those of the store.
        """
        with self._pass():
            parts = self._map(SegmentRequest(_plain(vector), free, edges))
            sums = merge_segments(len(edges) - 1, self.series.n_phi, len(free), parts)
            self._check(sums.total().gram)
        return sums

    def residuals(self, vector: Array, contrast: Array, offset: Array, limit: Array) -> ResidualSums:
        """Sums of the residuals at `vector` (14,) by frames and cells.

        `contrast`, `offset` and `limit` (n_phi,), beyond which residuals are counted, in units of c2.
        """
        with self._pass():
            scaling = (tuple(x.tolist()) for x in (contrast, offset, limit))
            parts = self._map(ResidualRequest(_plain(vector), (), *scaling))
            return merge_residuals(ResidualSums.zeros(self.series.n_phi, self.series), parts)

    def _map(self, request: PassRequest | BatchRequest) -> list[dict[int, Any]]:
        return self._runner.map(evaluate, self._sources, request)

    @contextmanager
    def _pass(self) -> Iterator[None]:
        """Count and time a pass."""
        start = time.perf_counter()
        yield
        self.count += 1
        self.pixels_per_second = self.n_points / (time.perf_counter() - start)

    def _check(self, gram: Array) -> None:
        found = round(float(gram[:, 0, 0].sum()))
        if found != self.n_points:
            raise DataError(
                f"a pass summed {found} pixels, expected {self.n_points}: "
                f"{self.store.path} does not match its own counts; ingest again"
            )
