"""Passes over a store: shard tasks on a runner, partial sums merged on the client."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hetdask.data.store import ShardSpec, Store
from hetdask.errors import DataError
from hetdask.passes.normal import NormalSums
from hetdask.passes.plan import held_bytes
from hetdask.passes.shard import Shard, evaluate_shard
from hetdask.passes.tiles import Series, collect_tiles

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


def load_shard(spec: ShardSpec, *, compress: bool = True) -> Shard:
    """Read and prepare one shard, on the worker that will hold it; compressed only if several passes will use it.

    Raises
    ------
    DataError
        If the store was changed or damaged since it was written.
    """
    store = Store.open(spec.path)
    series = series_of(store)
    count = spec.n_tiles // (spec.angles[1] - spec.angles[0])
    angles = tuple(
        collect_tiles(series, angle, (entry[1:] for entry in group), count, compress=compress)
        for angle, group in groupby(store.iter_shard(spec), itemgetter(0))
    )
    first = spec.rows[0] == 0 and spec.columns[0] == 0
    return Shard(series, angles, tuple(range(*spec.angles)) if first else ())


def evaluate(source: Shard | ShardSpec, request: PassRequest) -> dict[int, Array]:
    """Task of a pass: sums over one shard, resident (`Shard`) or streamed from the store (`ShardSpec`)."""
    shard = load_shard(source, compress=False) if isinstance(source, ShardSpec) else source
    return evaluate_shard(shard, np.array(request.vector), request.free)


def merge(n_phi: int, n_free: int, parts: Sequence[Mapping[int, Array]]) -> NormalSums:
    """Partial sums of disjoint shards as one."""
    total = NormalSums.zeros(n_phi, n_free)
    for part in parts:
        for angle, gram in part.items():
            total.gram[angle] += gram
    return total


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

    Attributes
    ----------
    count : int
        Passes so far.
    n_points : int
        Pixels in one pass.
    pixels_per_second : float
        Rate of the last pass.
    """

    def __init__(self, store: Store, runner: Runner, *, resident_bytes: int | None = None) -> None:
        self.store = store
        self.series = series_of(store)
        self.n_points = int(store.n_points)
        self.count = 0
        self.pixels_per_second = 0.0
        self._runner = runner
        self._sources: list[Any] = []
        free = np.inf if resident_bytes is None else float(resident_bytes)
        for spec in store.shards():
            size = held_bytes(spec, store.tile)
            if size <= free:
                free -= size
                self._sources.append(runner.put(load_shard, spec))
            else:
                self._sources.append(spec)

    def __call__(self, vector: Array, free: tuple[int, ...]) -> NormalSums:
        """Sums at `vector` (14,), with derivatives for the parameters `free`.

        Raises
        ------
        DataError
            If the pixels that were summed are not those of the store.
        """
        start = time.perf_counter()
        request = PassRequest(tuple(float(x) for x in vector), free)
        sums = merge(self.series.n_phi, len(free), self._runner.map(evaluate, self._sources, request))
        found = float(sums.gram[:, 0, 0].sum())
        if found != self.n_points:
            raise DataError(
                f"a pass summed {found:.0f} pixels, expected {self.n_points}: "
                f"{self.store.path} does not match its own counts; ingest again"
            )
        self.count += 1
        self.pixels_per_second = self.n_points / (time.perf_counter() - start)
        return sums
