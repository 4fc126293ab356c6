"""Noise that the model predicts: covariance of block means and of single pixels, for one speckle and one photon.

P independent speckles have a P-th of the speckle noise; of k photons a frame each, a kP-th of the photon noise. The
formulas are those of `hetdask_kernels.speckles`; here frames are grouped into nodes, between which decays and phases
are averaged exactly, so that the cost is O(N) and nothing is simulated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hetdask.model.dynamics import Dynamics
from hetdask_kernels.speckles import mean_decay

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]
Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Coherence:
    """Field correlations between K nodes (frames or groups of frames), see `hetdask_kernels.speckles`.

    Attributes
    ----------
    intensity : (..., K, K) float64
        Mean of |G|².
    chain : (..., K, K, 2, 2) complex128
        Links of the chains of G.
    """

    intensity: Array
    chain: Complex


@dataclass(frozen=True, slots=True, eq=False)
class Nodes:
    """What photon noise needs to know of K nodes, see `hetdask_kernels.speckles.photon_covariance`.

    Attributes
    ----------
    frames : (K, 3) int64
        First frame, the one after the last, and how many are data.
    excess : (K,) float64
        Mean of one over the relative intensity.
    """

    frames: Indices
    excess: Array


@dataclass(frozen=True, slots=True, eq=False)
class Fields:
    """The fields of one angle at the frames of a series.

    Attributes
    ----------
    component : (N, 2) complex128
        Amplitude and phase of reference and sample; unit mean intensity.
    exponent : (N, 2) float64
        Minus the logarithm of the decay of both fields since the first frame.
    excess : (N,) float64
        One over the mean intensity, relative to that of frames with one component only.
    """

    component: Complex
    exponent: Array
    excess: Array

    @classmethod
    def of(cls, d: Dynamics, q: float, kappa: float) -> Fields:
        """Fields at wavevector `q` with the component `kappa` along the flow, 1/Å."""
        s = d.fraction
        amplitude = np.stack([1.0 - s, s], axis=1) / np.sqrt(d.intensity)[:, None]
        phase = np.stack([np.zeros_like(s), kappa * d.displacement], axis=1)
        component = np.asarray(amplitude * np.exp(1j * phase), dtype=np.complex128)
        return cls(component, 0.5 * q * q * np.stack([d.c_ref, d.c_sample], axis=1), 1.0 / d.intensity)

    def between_frames(self, frames: Indices) -> Coherence:
        """Coherence among sets of single frames, (..., K) int64."""
        u, z = self.component[frames], self.exponent[frames]
        decay = np.exp(-np.abs(z[..., None, :, :] - z[..., :, None, :]))
        return _coherence(u[..., :, None] * u[..., None, :].conj(), decay, decay[..., :, None] * decay[..., None, :])

    def between_nodes(self, keep: Array, size: int, levels: int) -> Coherence:
        """Coherence among groups of `size` frames, and of twice as many, up to `levels` times doubled.

        Parameters
        ----------
        keep : (N,) float64
            1 for frames that are data.
        size, levels : int

        Returns
        -------
        Coherence
            Nodes of all levels one after the other, see `first_nodes`.
        """
        n = keep.size
        merge = _merge(keep, size, levels)
        first = np.arange(0, n, size)
        weight = np.maximum(np.add.reduceat(keep, first), 1.0)
        u = self.component * keep[:, None]
        density = np.add.reduceat(u[:, :, None] * u[:, None, :].conj(), first) / weight[:, None, None]

        def decay(exponent: Array) -> Array:
            return merge @ mean_decay(exponent, keep, size) @ merge.T

        z = self.exponent
        single = np.stack([decay(z[:, 0].copy()), decay(z[:, 1].copy())], axis=-1)
        cross = decay(z.sum(axis=1))
        pair = np.stack([decay(2.0 * z[:, 0]), cross, cross, decay(2.0 * z[:, 1])], axis=-1)
        merged = np.einsum("kn,nab->kab", merge, density)
        return _coherence(merged, single, pair.reshape(*cross.shape, 2, 2))

    def nodes(self, keep: Array, size: int, levels: int) -> Nodes:
        """The nodes of `between_nodes`, which has the same arguments."""
        n = keep.size
        frames, excess = [], []
        for side in (size << level for level in range(levels)):
            first = np.arange(0, n, side)
            held = np.add.reduceat(keep, first)
            frames.append(np.stack([first, np.minimum(first + side, n), held.astype(np.int64)], axis=1))
            excess.append(np.add.reduceat(keep * self.excess, first) / np.maximum(held, 1.0))
        return Nodes(np.concatenate(frames), np.concatenate(excess))


def first_nodes(n_frames: int, size: int, levels: int) -> Indices:
    """Index (levels + 1,) of the first node of each level."""
    counts = [-(-n_frames // (size << level)) for level in range(levels)]
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])


def _merge(keep: Array, size: int, levels: int) -> Array:
    """Weights (K, nodes of the first level) with which nodes of all levels are means over those of the first."""
    counts = np.add.reduceat(keep, np.arange(0, keep.size, size))
    first = first_nodes(keep.size, size, levels)
    merge = np.zeros((first[-1], counts.size))
    for level in range(levels):
        merge[first[level] + (np.arange(counts.size) >> level), np.arange(counts.size)] = counts
    return np.asarray(merge / np.maximum(merge.sum(axis=1, keepdims=True), 1.0))


def _coherence(density: Complex, decay: Array, pair: Array) -> Coherence:
    """From outer products u u† (..., K, 2, 2), decays (..., K, K, 2) and means of their products (..., K, K, 2, 2)."""
    intensity = np.einsum("...iab,...jba,...ijab->...ij", density, density, pair).real
    return Coherence(
        np.ascontiguousarray(intensity), np.ascontiguousarray(density[..., :, None, :, :] * decay[..., None, :])
    )
