"""What the residuals of a model say about the noise, angle by angle.

Block means of the residuals are turned into independent components: the eigenvectors of the speckle covariance that
the model predicts, after what contrast, offset and parameters can absorb is projected out. Component k has the variance
σ² + λ_k/P for white noise σ and P speckles. Beside them stand the scatter of neighbouring pixels, which no model can
spoil, and the scatter inside the blocks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from hetdask.data.reduction import Blocks, Reduced, level_of_nodes
from hetdask.errors import FitError
from hetdask.fitting.speckle_covariance import Coherence, Fields, first_nodes
from hetdask.model.correlation import flow_wavevector
from hetdask.model.dynamics import dynamics
from hetdask.passes.reduced import ReducedPasses
from hetdask_kernels.speckles import block_covariance, block_variance, stencil_variance

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

FINE_NODES: Final = 128
"""Residuals are looked at on the finest level of the ladder with no more groups of frames than this."""

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

LEAST_CONTRAST: Final = 0.01
"""Speckle statistics of a contrast that is not positive would have no meaning."""


DRIFT_ROUNDS: Final = 3
"""Rounds in which a drift is found: it changes what offset and contrast are."""


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Squared residuals and predicted variances of one angle, in units of c2 squared; predictions for one speckle.

    Attributes
    ----------
    contrast, offset : float
    n_points : float
        Pixels.
    predicted, components : (k,) float64
        Speckle variance of each component, largest first, and its value.
    axes : (n, k) float64
        Components in terms of the n blocks; 0 for blocks without data.
    absorbed : float
        Part of the summed speckle variance of the map that a fit absorbs.
    remaining, fluctuation : float
        Of the speckle covariance of the blocks after a fit: the trace, and the sum of its squares.
    pixel : float
        Mean speckle variance of a pixel.
    scatter : float
        Variance of neighbour differences, measured; NaN if unknown.
    neighbours, signal : (S,) float64
        Speckle variance of neighbour differences at sample pixels, and the differences of the model there.
    inside, inside_predicted, inside_count : float
        Squared residuals inside the blocks, their speckle variance, and how many they are.
    """

    contrast: float
    offset: float
    n_points: float
    predicted: Array
    components: Array
    axes: Array
    absorbed: float
    remaining: float
    fluctuation: float
    pixel: float
    scatter: float
    neighbours: Array
    signal: Array
    inside: float
    inside_predicted: float
    inside_count: float


@dataclass(frozen=True, slots=True, eq=False)
class _Partition:
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
    def of(cls, blocks: Blocks) -> _Partition:
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


def _sample(n_frames: int) -> tuple[Indices, Array]:
    """Four row and four column frames (S, 8) of differences all over the map, and normal deviates (S,)."""
    golden = 1.2207440846057596  # x⁴ = x + 1: its powers spread points evenly over three dimensions
    points = (0.5 + np.outer(np.arange(1, SAMPLES + 1), golden ** -np.arange(1.0, 4.0))) % 1.0
    pair = np.sort((points[:, :2] * max(n_frames - 3, 0)).astype(np.int64), axis=1)
    apart = pair[:, 0] < pair[:, 1]
    return (pair[apart, :, None] + np.arange(4)).reshape(-1, 8), ndtri(points[apart, 2])


@dataclass(frozen=True, slots=True, eq=False)
class AngleBlocks:
    """Larger blocks of one angle, weighted with the root of their pixels: what `Evidence` follows from.

    `residual` (n,), `scaling` (n, s) for offset, contrast and perhaps a drift, `slopes` (n, p) of the model, speckle
    covariance (n, n). The data were divided by 1 + ½ `drift` u of both frames, with the time u from -½ to ½.
    """

    held: NDArray[np.bool_]
    residual: Array
    scaling: Array
    slopes: Array
    covariance: Array
    drift: float
    rest: dict[str, float]
    neighbours: Array
    signal: Array

    @classmethod
    def of(
        cls,
        reduced: Reduced,
        m: int,
        partition: _Partition,
        means: Array,
        slopes: Array,
        nodes: Coherence,
        local: Coherence,
        drifting: Array | None,
    ) -> AngleBlocks:
        """Blocks of angle `m`, from block means and derivatives of the model and the coherence that it predicts.

        The gain may drift over the times `drifting` (2, n) of the row and column frames.
        """
        weight = reduced.count[m]
        root = np.sqrt(weight)
        design, data, drift = np.stack([np.ones_like(means), means], axis=1), reduced.mean[m], 0.0
        if drifting is not None:
            data, design, drift = _without_drift(data, design, root, drifting)
        scales = np.linalg.lstsq(root[:, None] * design, root * data)[0]
        offset, contrast = scales[:2].tolist()
        residual = data - design @ scales
        total = partition.sums(weight)
        held = total > 0.0
        total = total[held]
        if total.size <= slopes.shape[1] + 2:
            raise FitError(
                f"found {total.size} blocks of data at one angle for {slopes.shape[1]} parameters: the noise can only "
                "be told from more; use more frames, for example 100"
            )

        def joined(values: Array) -> Array:
            return np.asarray(partition.sums(weight * values)[held] / np.sqrt(total))

        rows, columns = (index[held] for index in partition.coarse)
        beta = min(max(contrast / offset, LEAST_CONTRAST), 1.0)
        square = offset**2
        speckle = square * block_covariance(rows, columns, nodes.intensity, nodes.chain, beta)
        fine = square * block_variance(*partition.fine, nodes.intensity, nodes.chain, beta)
        summed = joined(residual)
        return cls(
            held=held,
            residual=summed,
            scaling=np.stack([joined(column) for column in design.T], axis=1),
            slopes=np.stack([joined(slope) for slope in slopes.T], axis=1),
            covariance=speckle * np.sqrt(np.outer(total, total)),
            drift=drift,
            rest={
                "contrast": contrast,
                "offset": offset,
                "n_points": float(weight.sum()),
                "pixel": square * float(np.mean(stencil_variance(ONE_PIXEL, local.intensity, local.chain, beta))),
                "scatter": float(reduced.white[m]) ** 2,
                "inside": float(weight @ residual**2 - summed @ summed),
                "inside_predicted": float(weight @ fine - total @ np.diag(speckle)),
                "inside_count": float(np.count_nonzero(weight) - total.size),
            },
            neighbours=square * stencil_variance(NEIGHBOURS, local.intensity, local.chain, beta),
            signal=contrast * (np.diagonal(local.intensity, 4, 1, 2) @ NEIGHBOURS),
        )

    def evidence(self, remaining: float, fluctuation: float) -> Evidence:
        """Independent components of what neither scaling nor parameters can absorb."""
        tangent = np.concatenate([self.scaling, self.slopes], axis=1)
        tangent /= np.maximum(np.linalg.norm(tangent, axis=0), np.finfo(np.float64).tiny)
        basis = np.linalg.qr(tangent, mode="complete")[0][:, tangent.shape[1] :]
        predicted, vectors = np.linalg.eigh(basis.T @ self.covariance @ basis)
        inner = basis @ vectors[:, ::-1]
        axes = np.zeros((self.held.size, predicted.size))
        axes[self.held] = inner
        return Evidence(
            predicted=np.maximum(predicted[::-1], 0.0),
            components=inner.T @ self.residual,
            axes=axes,
            absorbed=float(np.trace(self.covariance)) - remaining,
            remaining=remaining,
            fluctuation=fluctuation,
            neighbours=self.neighbours,
            signal=self.signal,
            **self.rest,
        )


@dataclass(frozen=True, eq=False)
class Gathered:
    """Blocks of residuals of a model.

    Attributes
    ----------
    vector : (14,) float64
        Its parameters.
    angles : list of AngleBlocks
    blocks : Blocks
        Where the blocks of all angles lie.
    deviates : (S,) float64
        Normal deviates that go with the sample pixels.
    """

    vector: Array
    angles: list[AngleBlocks]
    blocks: Blocks
    deviates: Array

    @cached_property
    def evidence(self) -> list[Evidence]:
        """Evidence of every angle."""
        return [angle.evidence(*left) for angle, left in zip(self.angles, _after_fit(self.angles), strict=True)]


def gather(passes: ReducedPasses, vector: Array, free: tuple[int, ...], *, drift: bool = False) -> Gathered:
    """Blocks of every angle for the model at `vector` (14,) with the parameters `free` fitted.

    With `drift` the gain of each angle may change linearly over the series.

    Raises
    ------
    FitError
        If there are fewer blocks than parameters.
    """
    series = passes.series
    reduced = passes.reduced
    reduced = reduced.coarsen(level_of_nodes(series.time.size, FINE_NODES, reduced.level))
    passes = ReducedPasses(series, reduced)
    partition = _Partition.of(reduced.blocks)
    means, slopes = passes.model_means(vector), passes.model_slopes(vector, free)
    d = dynamics(vector, series.time)
    kappa, _ = flow_wavevector(d.phi0, series.phi, series.q)
    frames, deviates = _sample(series.time.size)
    drifting = _times(reduced.blocks) if drift else None
    angles = []
    for m in range(series.n_phi):
        fields = Fields.of(d, float(series.q[m]), float(kappa[m]))
        keep = (~series.excluded[m]).astype(np.float64)
        nodes = fields.between_nodes(keep, partition.size, partition.levels)
        local = fields.between_frames(frames)
        angles.append(AngleBlocks.of(reduced, m, partition, means[m], slopes[m], nodes, local, drifting))
    return Gathered(np.asarray(vector), angles, partition.larger, deviates)


def _times(blocks: Blocks) -> Array:
    """Mean times of the row and the column frames of each block (2, n), from -1/2 to 1/2 over the series."""
    first = np.stack([blocks.first_row, blocks.first_column])
    last = np.minimum(first + blocks.size, blocks.n_frames)
    return np.asarray(0.5 * (first + last) / blocks.n_frames - 0.5)


def _without_drift(data: Array, design: Array, root: Array, times: Array) -> tuple[Array, Array, float]:
    """Data (n,) over the gain that least squares find, with columns for what remains of it, and its change."""

    def columns() -> Array:
        model = design @ np.linalg.lstsq(root[:, None] * design, root * steady)[0]
        return np.column_stack([design, times.mean(axis=0) * model, times.prod(axis=0) * model])

    drift, steady = 0.0, data
    for _ in range(DRIFT_ROUNDS):
        drift += float(np.linalg.lstsq(root[:, None] * columns(), root * steady)[0][2])
        steady = data / np.prod(1.0 + 0.5 * drift * times, axis=0)
    return steady, columns(), drift


def _after_fit(angles: list[AngleBlocks]) -> Iterator[tuple[float, float]]:
    """What a joint least-squares fit of scalings and parameters leaves of the speckle covariance of each map.

    Its trace, and the sum of the squares of its entries, which is half the variance of the sum of squared residuals.
    """
    remaining, tangents, spreads = [], [], []
    for angle in angles:
        basis = np.linalg.qr(angle.scaling)[0]
        rms = float(np.linalg.norm(angle.residual)) or 1.0
        inner = angle.covariance - basis @ (basis.T @ angle.covariance)
        remaining.append((inner - (inner @ basis) @ basis.T) / rms**2)
        tangents.append((angle.slopes - basis @ (basis.T @ angle.slopes)) / rms)
        spreads.append(rms**2)
    stacked = np.concatenate(tangents)
    norms = np.linalg.norm(stacked, axis=0)
    joint = np.linalg.qr(stacked / np.where(norms > 0.0, norms, 1.0))[0]
    parts = np.split(joint, np.cumsum([len(tangent) for tangent in tangents])[:-1])
    shared = np.sum([part.T @ covariance @ part for part, covariance in zip(parts, remaining, strict=True)], axis=0)
    for spread, covariance, part in zip(spreads, remaining, parts, strict=True):
        taken = part @ (part.T @ covariance)
        left = spread * (covariance - taken - taken.T + part @ shared @ part.T)
        yield float(np.trace(left)), float(np.sum(left**2))
