"""Passes over reduced data: exact block means of the model against block means of the maps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from hetdask.data.reduction import Blocks, Reduced
from hetdask.model.correlation import flow_wavevector
from hetdask.model.dynamics import Dynamics, dynamics
from hetdask.passes.normal import NormalSums, Projection
from hetdask_kernels import LANES
from hetdask_kernels.block_sums import weighted_products
from hetdask_kernels.blocks import Nodes, block_model

if TYPE_CHECKING:
    from hetdask.passes.tiles import Series

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

KINDS: Final = np.repeat(np.arange(5), (3, 3, 3, 4, 1))
"""What each parameter acts on: exponent of the reference, of the sample, displacement, fraction, flow direction."""


def nodes_of(blocks: Blocks) -> Nodes:
    """Blocks as pairs of nodes."""
    levels = range(blocks.level, int(blocks.size.max()).bit_length())
    sizes = np.array([1 << level for level in levels])
    lengths = -(-blocks.n_frames // sizes)
    offset = np.concatenate([[0], np.cumsum(lengths)])
    following = np.concatenate([np.arange(1, n + 1) * size for n, size in zip(lengths, sizes, strict=True)])
    first = offset[np.searchsorted(sizes, blocks.size)]
    rows, columns = first + blocks.first_row // blocks.size, first + blocks.first_column // blocks.size
    return Nodes(int(sizes[0]), offset, rows, columns, following)


def _gradient(d: Dynamics, free: tuple[int, ...]) -> Array:
    """Derivative of what each free parameter acts on, (N, LANES); (N, 0) without any."""
    if not free:
        return np.empty((d.time.size, 0))
    gradients = (d.reference.gradient, d.sample.gradient, d.motion.gradient, d.composition.gradient, d.displacement)
    out = np.zeros((d.time.size, LANES))
    out[:, : len(free)] = np.vstack(gradients)[list(free)].T
    return out


class ReducedPasses:
    """Sums over reduced data for any parameter vector, in this process.

    Stands in for `hetdask.passes.run.Passes`, with each pixel replaced by the mean of its block: the scatter inside
    the blocks is not in the sums of squares. Small, and pickles.

    Parameters
    ----------
    series : Series
        From `hetdask.passes.run.series_of`.
    reduced : Reduced
        Of the same store.

    Attributes
    ----------
    count : int
        Passes so far.
    n_points : int
        Pixels behind the block means.
    pixels_per_second : float
        Rate of the last pass.
    """

    def __init__(self, series: Series, reduced: Reduced) -> None:
        self.series = series
        self.reduced = reduced
        self.n_points = int(reduced.count.sum())
        self.count = 0
        self.pixels_per_second = 0.0
        self._nodes = nodes_of(reduced.blocks)
        self._data = reduced.mean - series.baseline[:, None]
        self._keep = (~series.excluded).astype(np.float64)
        lost = reduced.missing
        where = np.column_stack([reduced.blocks.find(lost[:, 1], lost[:, 2]), lost[:, 1:]])
        self._missing = [np.ascontiguousarray(where[lost[:, 0] == m]) for m in range(series.n_phi)]

    def at_angles(self, chosen: NDArray[np.intp]) -> ReducedPasses:
        """The same for some of the angles, (k,), in ascending order."""
        return ReducedPasses(self.series.at_angles(chosen), self.reduced.at_angles(chosen))

    def __call__(self, vector: Array, free: tuple[int, ...]) -> NormalSums:
        """Sums at `vector` (14,), with derivatives for the parameters `free`."""
        start = time.perf_counter()
        p = len(free)
        sums = NormalSums.zeros(self.series.n_phi, p)
        rows = np.ones((p + 3, self.reduced.blocks.n_blocks))
        for m, means in enumerate(self._means(vector, free)):
            rows[1:-1], rows[-1] = means.T, self._data[m]
            sums.gram[m] = weighted_products(rows, self.reduced.count[m])
        self.count += 1
        self.pixels_per_second = self.n_points / (time.perf_counter() - start)
        return sums

    def model_means(self, vector: Array) -> Array:
        """Means of the model g over the data of each block, (n_phi, n); 0 where there are none."""
        return np.stack([means[:, 0] for means in self._means(vector, ())])

    def model_slopes(self, vector: Array, free: tuple[int, ...]) -> Array:
        """Means of its derivatives with respect to the parameters `free`, (n_phi, n, p)."""
        return np.stack([means[:, 1:] for means in self._means(vector, free)])

    def _means(self, vector: Array, free: tuple[int, ...]) -> Iterator[Array]:
        """Means of the model and its derivatives over the blocks of each angle, (n, 1 + p)."""
        series = self.series
        d = dynamics(vector, series.time)
        kappa, kappa_slope = flow_wavevector(d.phi0, series.phi, series.q)
        gradient = _gradient(d, free)
        reference, sample, displacement, fraction, direction = KINDS[list(free)] == np.arange(5.0)[:, None]
        sign = np.where(fraction, 1.0, -1.0)
        for m in range(series.n_phi):
            q2 = series.q[m] ** 2
            flow = kappa[m] * displacement + kappa_slope[m] * direction
            yield block_model(
                (d.c_ref, d.c_sample, d.displacement),
                d.fraction,
                self._keep[m],
                float(series.q[m]),
                float(kappa[m]),
                (gradient, np.stack([q2 * reference, q2 * sample, flow, fraction]), sign),
                self._nodes,
                self._missing[m],
                self.reduced.count[m],
            )


def retained_information(reduced: Projection, full: Projection) -> float:
    """Share of the full data's Fisher information that reduced data keep, 0..1.

    Both projections are taken at the same parameters; the trace is that of the matrix scaled by the full data's
    diagonal, summed over the angles.
    """
    kept, whole = (np.einsum("mkk->k", x.gauss_newton) for x in (reduced, full))
    moving = whole > 0.0  # what no pixel depends on has nothing to keep
    return min(float(np.mean(kept[moving] / whole[moving])), 1.0)  # no more than all of it, rounding errors apart
