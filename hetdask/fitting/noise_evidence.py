"""What the residuals of a model say about the noise, angle by angle.

Block means of the residuals are turned into independent components: the eigenvectors of the speckle covariance that
the model predicts, after what contrast, offset and parameters can absorb is projected out. Component k has the variance
σ² + λ_k/P for white noise σ and P speckles. Where photons are counted, their noise is a part of that of the speckles.
Beside them stand the scatter of neighbouring pixels, which no model can spoil, and the scatter inside the blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hetdask.data.reduction import Blocks, Reduced, level_of_nodes
from hetdask.errors import FitError
from hetdask.fitting.noise_prediction import NEIGHBOURS, Partition, Prediction, sample
from hetdask.fitting.speckle_covariance import Fields
from hetdask.model.correlation import flow_wavevector
from hetdask.model.dynamics import dynamics
from hetdask.passes.reduced import ReducedPasses

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

FINE_NODES: Final = 128
"""Residuals are looked at on the finest level of the ladder with no more groups of frames than this."""

MOST_ANGLES: Final = 24
"""Of one wavevector that are asked how strong photon noise is: some 3 MiB each."""

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
class AngleBlocks:
    """Larger blocks of one angle, weighted with the root of their pixels: what `Evidence` follows from.

    `residual` (n,), `scaling` (n, s) for offset, contrast and perhaps a drift, `slopes` (n, p) of the model, and the
    noise that it predicts. The data were divided by 1 + ½ `drift` u of both frames, with the time u from -½ to ½.
    """

    held: NDArray[np.bool_]
    residual: Array
    scaling: Array
    slopes: Array
    drift: float
    rest: dict[str, float]
    signal: Array
    prediction: Prediction

    @classmethod
    def of(
        cls,
        reduced: Reduced,
        m: int,
        partition: Partition,
        means: Array,
        slopes: Array,
        fields: Fields,
        keep: Array,
        drifting: Array | None,
    ) -> AngleBlocks:
        """Blocks of angle `m`, from block means and derivatives of the model and the fields that it predicts.

        `keep` (N,) is 1 for frames that are data. The gain may drift over the times `drifting` (2, n) of the row and
        column frames.
        """
        weight = reduced.count[m]
        root = np.sqrt(weight)
        design, data, drift = np.stack([np.ones_like(means), means], axis=1), reduced.mean[m], 0.0
        if drifting is not None:
            data, design, drift = _without_drift(data, design, root, drifting)
        scales = np.linalg.lstsq(root[:, None] * design, root * data)[0]
        offset, contrast = scales[:2].tolist()
        residual = data - design @ scales
        prediction = Prediction(fields, partition, keep, weight, contrast, offset)
        held, total = prediction.held, prediction.total
        if total.size <= slopes.shape[1] + 2:
            raise FitError(
                f"found {total.size} blocks of data at one angle for {slopes.shape[1]} parameters: the noise can only "
                "be told from more; use more frames, for example 100"
            )

        def joined(values: Array) -> Array:
            return np.asarray(partition.sums(weight * values)[held] / np.sqrt(total))

        summed = joined(residual)
        return cls(
            held=held,
            residual=summed,
            scaling=np.stack([joined(column) for column in design.T], axis=1),
            slopes=np.stack([joined(slope) for slope in slopes.T], axis=1),
            drift=drift,
            rest={
                "contrast": contrast,
                "offset": offset,
                "n_points": float(weight.sum()),
                "scatter": float(reduced.white[m]) ** 2,
                "inside": float(weight @ residual**2 - summed @ summed),
                "inside_count": float(np.count_nonzero(weight) - total.size),
            },
            signal=contrast * (prediction.pairs @ NEIGHBOURS),
            prediction=prediction,
        )

    def without_fit(self) -> Unabsorbed:
        """What neither scaling nor parameters can absorb."""
        tangent = np.concatenate([self.scaling, self.slopes], axis=1)
        tangent /= np.maximum(np.linalg.norm(tangent, axis=0), np.finfo(np.float64).tiny)
        return Unabsorbed(self, np.linalg.qr(tangent, mode="complete")[0][:, tangent.shape[1] :])


class Unabsorbed:
    """Blocks of one angle along the directions `basis` (n, k) that a fit leaves alone."""

    def __init__(self, blocks: AngleBlocks, basis: Array) -> None:
        self.blocks, self._basis = blocks, basis
        self._residual = basis.T @ blocks.residual

    @cached_property
    def _speckle(self) -> Array:
        return np.asarray(self._basis.T @ self.blocks.prediction.speckle.covariance @ self._basis)

    @cached_property
    def _photon(self) -> Array:
        return np.asarray(self._basis.T @ self.blocks.prediction.photon.covariance @ self._basis)

    @cached_property
    def _without_photon_noise(self) -> tuple[Array, Array]:
        return np.linalg.eigh(self._speckle)

    def _independent(self, photons: float) -> tuple[Array, Array]:
        """Variances (k,), rising, and directions (k, k) of independent components."""
        if np.isfinite(photons):
            return np.linalg.eigh(self._speckle + self._photon / photons)
        return self._without_photon_noise

    def evidence(self, photons: float, after: tuple[float, float] | None = None) -> Evidence:
        """Independent components.

        `after` is what a joint fit leaves of the covariance, see `_after_fit`; without it, what follows from it is NaN,
        and there are no axes.
        """
        blocks = self.blocks
        variances, vectors = self._independent(photons)
        vectors = vectors[:, ::-1]
        predicted = blocks.prediction.of(photons)
        axes = np.zeros((blocks.held.size, variances.size if after else 0))
        if after:
            axes[blocks.held] = self._basis @ vectors
        remaining, fluctuation = after or (np.nan, np.nan)
        return Evidence(
            predicted=np.maximum(variances[::-1], 0.0),
            components=vectors.T @ self._residual,
            axes=axes,
            absorbed=float(np.trace(predicted.covariance)) - remaining,
            remaining=remaining,
            fluctuation=fluctuation,
            pixel=predicted.pixel,
            inside_predicted=predicted.inside,
            neighbours=predicted.neighbours,
            signal=blocks.signal,
            **blocks.rest,
        )


@dataclass(frozen=True, slots=True, eq=False)
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
    excess : float
        Mean of one over the relative intensity of the frames.
    """

    vector: Array
    angles: list[AngleBlocks]
    blocks: Blocks
    deviates: Array
    excess: float
    _known: dict[bytes, list[Evidence]] = field(default_factory=dict)
    _unabsorbed: dict[int, Unabsorbed] = field(default_factory=dict)

    def without_fit(self, m: int) -> Unabsorbed:
        """Blocks of angle `m` along what a fit leaves alone; kept for `evidence`, for `MOST_ANGLES` at most."""
        made = self.angles[m].without_fit()
        if len(self._unabsorbed) < MOST_ANGLES:
            self._unabsorbed[m] = made
        return made

    def evidence(self, photons: Array) -> list[Evidence]:
        """Evidence of every angle, for so many photons (n_phi,) of a speckle in a frame; kept for the next call."""
        if (key := photons.tobytes()) not in self._known:
            self._known[key] = self._evidence(photons)
        return self._known[key]

    def _evidence(self, photons: Array) -> list[Evidence]:
        counted = list(zip(self.angles, photons.tolist(), strict=True))
        after = _after_fit(self.angles, [angle.prediction.of(count).covariance for angle, count in counted])
        known = self._unabsorbed
        free = (known.pop(m) if m in known else angle.without_fit() for m, angle in enumerate(self.angles))
        return [one.evidence(count, rest) for one, (_, count), rest in zip(free, counted, after, strict=True)]


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
    partition = Partition.of(reduced.blocks)
    means, slopes = passes.model_means(vector), passes.model_slopes(vector, free)
    d = dynamics(vector, series.time)
    kappa, _ = flow_wavevector(d.phi0, series.phi, series.q)
    deviates = sample(series.time.size)[1]
    drifting = _times(reduced.blocks) if drift else None
    angles = []
    for m in range(series.n_phi):
        fields = Fields.of(d, float(series.q[m]), float(kappa[m]))
        keep = (~series.excluded[m]).astype(np.float64)
        angles.append(AngleBlocks.of(reduced, m, partition, means[m], slopes[m], fields, keep, drifting))
    excess = float(np.mean(1.0 / d.intensity))
    return Gathered(np.asarray(vector), angles, partition.larger, deviates, excess)


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


def _after_fit(angles: list[AngleBlocks], covariances: list[Array]) -> Iterator[tuple[float, float]]:
    """What a joint least-squares fit of scalings and parameters leaves of the covariance of each map.

    Its trace, and the sum of the squares of its entries, which is half the variance of the sum of squared residuals.
    """
    remaining, tangents, spreads = [], [], []
    for angle, whole in zip(angles, covariances, strict=True):
        basis = np.linalg.qr(angle.scaling)[0]
        rms = float(np.linalg.norm(angle.residual)) or 1.0
        inner = whole - basis @ (basis.T @ whole)
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
