"""Noise of block means, drawn at random: that of white noise, and of speckles simulated from the model.

With the intensity I = ⟨I⟩(1 + δ) of one speckle, its influence on the map c2/offset = 1 + β g is
ψ(i, j) = δ_i δ_j - β g(i, j)(1 + δ_i + δ_j), see `hetdask.passes.speckle_scores`. Its mean over a block of pixels
needs the sums of δ over the row frames and over the column frames only (g enters by its mean): no map is made, at any
number of frames.

The noise of P speckles is the mean of P such influences. Where P is large fewer are simulated, and their mean is scaled
to the same variance: it is nearly normal in both cases. It has no bias, whatever their number.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hetdask.data.reduction import Blocks
from hetdask.passes.reduced import nodes_of
from hetdask.passes.speckle_fields import SpeckleFields
from hetdask.passes.speckle_scores import mode_shares
from hetdask.passes.tiles import Series
from hetdask_kernels.speckles import pair_products

Array = NDArray[np.float64]

SPECKLES: Final = 1024
"""Speckles that are simulated for a map of more."""

FIELDS: Final = 4 * SPECKLES
"""Speckles of many modes are nearly Gaussian, so fewer do: no more than so many modes in all are simulated."""

BATCH_VALUES: Final = 1 << 20
"""Intensities, of all frames, that are held at a time."""


class BlockNoise:
    """Noise of the block means of one angle.

    Parameters
    ----------
    series : Series
    angle : int
    vector : (14,) float64
        Parameters of the model that the speckles follow.
    blocks : Blocks
    means : (n,) float64
        Means of g over the blocks at these parameters.
    """

    def __init__(self, series: Series, angle: int, vector: Array, blocks: Blocks, means: Array) -> None:
        self._fields = SpeckleFields(series, angle, vector)
        self._keep = (~series.excluded[angle]).astype(np.float64)
        self._means = means
        nodes = nodes_of(blocks)
        self._rows, self._columns = nodes.rows, nodes.columns
        self._smallest, self._levels = nodes.size, nodes.offset.size - 1
        self._counts = self._over_nodes(self._keep[:, None])[:, 0]
        self._triangles = self._rows == self._columns
        rows, columns = self._counts[self._rows], self._counts[self._columns]
        self._pairs = np.maximum(np.where(self._triangles, 0.5 * rows * (rows - 1.0), rows * columns), 1.0)

    def _over_nodes(self, values: Array) -> Array:
        """Sums of `values` (N, S) over the frames of each node, (K, S)."""
        levels = [np.add.reduceat(values, np.arange(0, values.shape[0], self._smallest), axis=0)]
        for _ in range(self._levels - 1):
            below = levels[-1]
            levels.append(np.add.reduceat(below, np.arange(0, below.shape[0], 2), axis=0))
        return np.concatenate(levels)

    def influence(self, intensity: Array, contrast: float) -> Array:
        """Mean influence (n,) of speckles with intensities (N, S) of mean 1 and of this contrast."""
        deviation = (intensity - 1.0) * self._keep[:, None]
        sums = self._over_nodes(deviation)
        products = np.zeros(self._means.size)
        pair_products(sums, self._rows, self._columns, products)
        squares = self._over_nodes(np.sum(deviation**2, axis=1, keepdims=True))[:, 0]
        products[self._triangles] = 0.5 * (products - squares[self._rows])[self._triangles]
        frames = sums.mean(axis=1) / np.maximum(self._counts, 1.0)
        common = 1.0 + frames[self._rows] + frames[self._columns]
        return np.asarray(products / (intensity.shape[1] * self._pairs) - contrast * self._means * common)

    def speckle(self, contrast: float, speckles: float, rng: np.random.Generator, photons: float = math.inf) -> Array:
        """Noise (n,) of c2/offset of so many speckles with a contrast in [LEAST_CONTRAST, 1].

        Each has so many `photons` in a frame where one component is alone.
        """
        most = max(1, BATCH_VALUES // self._keep.size)
        noise = np.zeros(self._means.size)
        for modes, share in mode_shares(contrast).items():
            count = round(share * min(speckles, SPECKLES, FIELDS / modes))
            if count == 0:
                continue
            total = np.zeros_like(noise)
            for first in range(0, count, most):
                batch = min(most, count - first)
                total += batch * self.influence(self._fields.intensity(batch, modes, rng, photons), 1.0 / modes)
            noise += contrast * modes * np.sqrt(share / (count * speckles)) * total
        return noise
