"""Simulated experiments to learn from: exact block means of the model, averaged over cells, with noise.

No map is ever made. Parameters are drawn in the coordinates of the search, within the given bounds: decays and fringes
per series, exponents, fractions at both ends. So one model serves every wavevector and frame time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from hetdask.data.reduction import Blocks, Reduced, blocks_of
from hetdask.fitting.coordinates import Coordinates, make_coordinates
from hetdask.fitting.problem import MARGIN, Problem
from hetdask.learn.features import (
    MIDDLE,
    N_CELLS,
    N_FINE,
    N_LAGS,
    WINDOWS,
    CellMeans,
    Cells,
    cell_means,
    cells_of,
    describe,
)
from hetdask.learn.history import Record
from hetdask.model.parameters import NAMES, PARAMETERS
from hetdask.passes.reduced import ReducedPasses
from hetdask.passes.tiles import Series

Array = NDArray[np.float64]

MOST_FRAMES: Final = 1000
"""Longer series are simulated with this many frames: the features tell no more apart."""

FRAMES: Final = (100, 160, 256, 400, 640, MOST_FRAMES)

VARIANTS: Final = 2
"""Selections of angles, with noise of their own, of each simulated parameter vector."""

BLOCKS_PER_CELL: Final = 12
"""Blocks that stand for all in a cell."""

PRIOR: Final = {
    "log_rate_flow": (np.log(0.05), np.log(60.0)),
    "log_rate": (np.log(0.1), np.log(60.0)),
    "exponent": (-0.9, 0.9),
    "offset_share": (-0.3, 0.8),
    "fraction": (-4.5, 4.5),
    "constant_share": (0.0, 0.95),
}
"""Ranges that are drawn from, by the beginning of a coordinate's name, as far as the bounds allow."""

FRINGES_PER_FRAME: Final = 0.25

AROUND: Final = {
    "log_rate": 0.7,
    "exponent": 0.2,
    "offset_share": 0.1,
    "fraction": 0.7,
    "constant_share": 0.1,
    "direction": 0.2,
}
"""Standard deviations of what is drawn around the user's own fits."""

OWN_SHARE: Final = 0.5
"""Of the experiments, where there is a history: those that are drawn around it."""

CONTRAST: Final = (0.05, 0.5)
NOISE_TO_SIGNAL: Final = (0.01, 0.3)
UNEVEN: Final = 0.1
"""Relative difference of contrast between angles."""

SPECKLES: Final = 12
STEPS: Final = 64
"""Of the correlated noise: random walks that are multiplied, and their time steps."""


@dataclass(frozen=True, slots=True, eq=False)
class Conditions:
    """Under which experiments are drawn.

    Attributes
    ----------
    problem : Problem
        Bounds, free parameters, and values of the others.
    frames : tuple of int
        Numbers of frames, at most `MOST_FRAMES`.
    q, length : (float, float)
        Ranges of the wavevector, 1/Å, and of the length of the series, s.
    origins : tuple of float
        First time over the length of the series.
    phi : tuple of float, optional
        Angles in degrees; by default two to eight, drawn.
    """

    problem: Problem
    frames: tuple[int, ...]
    q: tuple[float, float]
    length: tuple[float, float]
    origins: tuple[float, ...]
    phi: tuple[float, ...] | None = None

    @property
    def digest(self) -> str:
        """Short name of these conditions."""
        problem = self.problem
        numbers = [*problem.start, *problem.lower, *problem.upper, *problem.free, *self.frames, *self.q, *self.length]
        numbers += [*self.origins, *(self.phi or ())]
        return hashlib.sha256(" ".join(f"{x:.9g}" for x in numbers).encode()).hexdigest()[:12]


def usual_conditions() -> Conditions:
    """Any wavevector and length, all parameters free but f2, and no bounds but those of their meaning."""
    start = np.array([spec.start for spec in PARAMETERS])
    lower, upper = np.full(start.size, -1e15), np.full(start.size, 1e15)
    for k, spec in enumerate(PARAMETERS):
        if not spec.unit or spec.unit == "deg":
            lower[k], upper[k] = spec.lower, spec.upper
        if spec.name.startswith(("alpha", "beta")):
            lower[k] = MARGIN - 1.0
        if spec.name.startswith("D0"):
            lower[k] = 1e-15
    free = tuple(k for k, spec in enumerate(PARAMETERS) if not spec.fixed)
    return Conditions(
        problem=Problem(start, lower, upper, free, np.ones(1)),
        frames=FRAMES,
        q=(1e-3, 1e-1),
        length=(1.0, 1e4),
        origins=(0.0, 0.0, 0.0, 0.003, 0.03, 0.3),
    )


def conditions_of(problem: Problem, series: Series) -> Conditions:
    """The conditions of one experiment: its bounds, wavevector, frames and angles."""
    length = float(series.time[-1] - series.time[0])
    q = float(np.sqrt(np.mean(series.q**2)))
    return Conditions(
        problem=problem,
        frames=(min(series.time.size, MOST_FRAMES),),
        q=(q, q),
        length=(length, length),
        origins=(float(series.time[0]) / length,),
        phi=tuple(series.phi.tolist()),
    )


def targets(x: Array, names: Sequence[str], direction: float) -> Array:
    """What is learned: coordinates, with the flow direction as cosine and sine of twice its angle to `direction`."""
    if "direction" not in names:
        return x
    turn = 2.0 * (x[-1] - direction)
    return np.append(x[:-1], [np.cos(turn), np.sin(turn)])


def coordinates_from(y: Array, names: Sequence[str], direction: float) -> Array:
    """The coordinates that `targets` were made from, with the flow direction in [-π/2, π/2)."""
    if "direction" not in names:
        return y
    turned = direction + 0.5 * np.arctan2(y[-1], y[-2])
    return np.append(y[:-2], (turned + 0.5 * np.pi) % np.pi - 0.5 * np.pi)


def simulate(seed: Sequence[int], count: int, conditions: Conditions, history: Sequence[Record]) -> tuple[Array, Array]:
    """Features (rows, N_FEATURES) and targets of `count` experiments, of which each gives `VARIANTS` rows.

    With a history, `OWN_SHARE` of the experiments are drawn around it.
    """
    rng = np.random.default_rng(seed)
    features, wanted = [], []
    for _ in range(count):
        record = history[int(rng.integers(len(history)))] if history and rng.random() < OWN_SHARE else None
        series = _draw_series(rng, conditions, record)
        coordinates = make_coordinates(conditions.problem, series.time, series.q)
        x = _draw(rng, coordinates, series.time.size) if record is None else _draw_around(rng, coordinates, record)
        vector = coordinates.canonical(coordinates.decode(x))
        x = coordinates.encode(vector)
        sample = sample_of(series.time.size)
        reduced = sample.reduced(series.n_phi)
        means = ReducedPasses(series, reduced).model_means(vector)
        cells = cell_means(sample.cells, means, reduced.count, np.zeros(series.n_phi))
        for _ in range(VARIANTS):
            chosen = np.arange(series.n_phi)
            if conditions.phi is None and record is None:
                chosen = rng.permutation(series.n_phi)[: rng.integers(2, series.n_phi + 1)]
            noisy, white = _with_noise(rng, cells, chosen)
            row, direction = describe(noisy, _series(series.time, series.phi[chosen], series.q[chosen]), white)
            features.append(row)
            wanted.append(targets(x, coordinates.names, direction))
    return np.array(features), np.array(wanted)


def _series(time: Array, phi: Array, q: Array) -> Series:
    return Series(phi, q, time, np.zeros((phi.size, time.size), dtype=np.bool_), np.zeros(phi.size), STEPS)


def _log_uniform(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(limits))))


def _draw_series(rng: np.random.Generator, conditions: Conditions, record: Record | None) -> Series:
    """Frame times, angles and wavevectors of an experiment, drawn or as those of a record."""
    if record is not None:
        n = min(record.frames, MOST_FRAMES)
        length = record.dt * (record.frames - 1)
        phi = np.array(record.phi) if record.phi else _draw_angles(rng)
        q, first = record.q, record.time_origin
    else:
        n, length = int(rng.choice(conditions.frames)), _log_uniform(rng, conditions.length)
        phi = _draw_angles(rng) if conditions.phi is None else np.array(conditions.phi)
        q, first = _log_uniform(rng, conditions.q), length * float(rng.choice(conditions.origins))
    return _series(np.linspace(first, first + length, n), phi, np.full(phi.size, q))


def _draw_angles(rng: np.random.Generator, count: int = 8) -> Array:
    """Angles spread over half a turn, anywhere, or within a sector, degrees."""
    first, kind = rng.uniform(-90.0, 90.0), rng.random()
    if kind < 0.7:
        return np.asarray(first + (np.arange(count) + rng.uniform(-0.3, 0.3, count)) * 180.0 / count)
    if kind < 0.85:
        return rng.uniform(-180.0, 180.0, count)
    return np.asarray(first + np.arange(count) * rng.uniform(8.0, 45.0))


def _draw(rng: np.random.Generator, coordinates: Coordinates, n_frames: int) -> Array:
    """Coordinates from `PRIOR`, as far as they lie in the box, and from the box where they don't."""
    low, high = coordinates.lower.copy(), coordinates.upper.copy()
    for k, name in enumerate(coordinates.names):
        prefix = next((x for x in PRIOR if name.startswith(x)), None)
        if prefix is None:
            continue
        least, most = PRIOR[prefix]
        fastest = np.log(FRINGES_PER_FRAME * n_frames) if prefix == "log_rate_flow" else np.inf
        inside = max(least, low[k]), min(most, high[k], fastest)
        if inside[0] < inside[1]:
            low[k], high[k] = inside
    return rng.uniform(low, high)


def _draw_around(rng: np.random.Generator, coordinates: Coordinates, record: Record) -> Array:
    """Coordinates near those of a record."""
    x = coordinates.encode(np.array([record.parameters[name] for name in NAMES]))
    for k, name in enumerate(coordinates.names):
        width = next((AROUND[prefix] for prefix in AROUND if name.startswith(prefix)), 0.0)
        x[k] += width * rng.standard_normal()
    return np.clip(x, coordinates.lower, coordinates.upper)


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Some blocks of each cell of maps with that many frames, and their pixels (n,)."""

    blocks: Blocks
    pixels: Array
    cells: Cells

    def reduced(self, n_phi: int) -> Reduced:
        """These blocks without data."""
        nothing = np.zeros((n_phi, self.pixels.size))
        count = np.tile(self.pixels, (n_phi, 1))
        return Reduced(self.blocks, nothing, count, nothing, np.ones(n_phi), np.empty((0, 3), dtype=np.int64))


@lru_cache(maxsize=16)
def sample_of(n_frames: int) -> Sample:
    """Blocks that stand for all of those maps."""
    blocks = blocks_of(n_frames, 0)
    members = cells_of(blocks).members
    chosen = []
    for start, stop in zip(members.indptr[:-1], members.indptr[1:], strict=True):
        places = np.linspace(start, stop - 1, min(stop - start, BLOCKS_PER_CELL)).round().astype(np.int64)
        chosen.append(members.indices[places])
    kept = np.unique(np.concatenate(chosen))
    blocks = Blocks(n_frames, 0, blocks.first_row[kept], blocks.first_column[kept], blocks.size[kept])
    rows, columns = (
        np.minimum(first + blocks.size, n_frames) - first for first in (blocks.first_row, blocks.first_column)
    )
    return Sample(blocks, (rows * columns).astype(np.float64), cells_of(blocks))


def _cell_places(lag: Array) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """Time steps, out of `STEPS`, of the two frames in the middle of each cell, and how much of the series it spans."""
    middle = np.concatenate([np.repeat(0.5 * (WINDOWS[1:] + WINDOWS[:-1]), N_LAGS), np.full(N_FINE, np.mean(MIDDLE))])
    width = np.concatenate([np.repeat(np.diff(WINDOWS), N_LAGS), np.full(N_FINE, MIDDLE[1] - MIDDLE[0])])
    lag = np.nan_to_num(lag, nan=0.5)
    first = middle * (1.0 - lag)
    steps = np.stack([first, first + lag]) * STEPS
    row, column = np.clip(steps.astype(np.int64), 0, STEPS - 1)
    return row, column, width * (1.0 - lag)


def _with_noise(rng: np.random.Generator, cells: CellMeans, chosen: NDArray[np.int64]) -> tuple[CellMeans, Array]:
    """Some angles with contrast, offset and noise, and its white part (n_phi,) for one pixel.

    Half of the experiments have white noise only. In the others part of it is correlated over the map like that of few
    speckles: products of random walks in time, which forget within a hundredth of the series or never.
    """
    n_phi = chosen.size
    contrast = _log_uniform(rng, CONTRAST) * rng.uniform(1.0 - UNEVEN, 1.0 + UNEVEN, n_phi)
    sigma = _log_uniform(rng, NOISE_TO_SIGNAL) * contrast
    share = rng.uniform(0.3, 1.0) if rng.random() < 0.5 else 0.0
    white = sigma * np.sqrt(max(1.0 - share**2, 0.01))
    count = cells.count[chosen]
    mean = 1.0 + contrast[:, None] * cells.mean[chosen]
    mean += rng.standard_normal((n_phi, N_CELLS)) * white[:, None] / np.sqrt(np.maximum(count, 1.0))
    scatter = cells.scatter[chosen] * contrast[:, None] ** 2
    if share:
        memory = _log_uniform(rng, (0.01, 2.0))
        keep = np.exp(-1.0 / (STEPS * memory))
        kicks = rng.standard_normal((n_phi, SPECKLES, STEPS))
        kicks[..., 1:] *= np.sqrt(1.0 - keep**2)
        walks = lfilter([1.0], [1.0, -keep], kicks, axis=-1)
        row, column, span = _cell_places(cells.lag)
        speckle = share * sigma[:, None]
        mean += speckle * np.sum(walks[..., row] * walks[..., column], axis=1) / np.sqrt(SPECKLES)
        scatter += speckle**2 * -np.expm1(-span / memory)
    return CellMeans(mean, scatter, count, cells.lag), white
