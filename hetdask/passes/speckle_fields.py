"""Speckles of one angle as the model predicts them, simulated a batch at a time."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hetdask.model.correlation import flow_wavevector
from hetdask.model.dynamics import dynamics
from hetdask.passes.tiles import Series
from hetdask_kernels.fields import field_intensity

Array = NDArray[np.float64]

DRAWS: Final = 1 << 16
"""Random numbers that are drawn at a time: 1 MiB stays in the cache."""


class SpeckleFields:
    """Speckles of one angle for parameters (14,): the fast path of `hetdask.model.simulation.speckle_intensity`."""

    def __init__(self, series: Series, angle: int, vector: Array) -> None:
        d = dynamics(vector, series.time)
        one, s = slice(angle, angle + 1), d.fraction
        kappa, _ = flow_wavevector(d.phi0, series.phi[one], series.q[one])
        gone = float(series.q[angle]) ** 2 * np.diff(np.stack([d.c_ref, d.c_sample], axis=1), axis=0)
        first = np.zeros((1, 2))
        self._decay = np.concatenate([first, np.exp(-0.5 * gone)])
        self._fresh = np.concatenate([first + 1.0, np.sqrt(-np.expm1(-gone))])
        self._mean = d.intensity
        amplitude = np.stack([1.0 - s, s * np.exp(1j * kappa[0] * d.displacement)], axis=1)
        self._weight = np.asarray(amplitude / np.sqrt(self._mean)[:, None], dtype=np.complex128)

    def intensity(self, count: int, modes: int, rng: np.random.Generator, photons: float = math.inf) -> Array:
        """Intensities (N, count) of speckles of `modes` modes, relative to the mean of each frame.

        Photons are counted: so many are expected in frames whose fraction is 0 or 1. Infinitely many add no noise.
        """
        n, components = self._weight.shape
        out = np.empty((n, count))
        field = np.zeros((components, count * modes), dtype=np.complex128)
        most = max(1, DRAWS // field.size)
        for first in range(0, n, most):
            frames = slice(first, min(first + most, n))
            normal = rng.standard_normal((frames.stop - first, *field.shape, 2)).view(np.complex128)[..., 0]
            field_intensity(normal, self._decay[frames], self._fresh[frames], self._weight[frames], field, out[frames])
        if math.isinf(photons):
            return out
        expected = photons * self._mean[:, None]
        return np.asarray(rng.poisson(expected * out) / expected)
