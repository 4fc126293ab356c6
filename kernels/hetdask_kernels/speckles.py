"""Covariance of the speckle noise of two-time correlations, in closed form.

The intensity of a speckle is the sum of |E|² of modes with circular Gaussian fields, so its cumulants follow from the
field correlation G. With a mean of 1, contrast β (modes of weight w with Σ w² = β) and c = β |G|²,

    κ(i, j) = c_ij,   κ(i, j, k) = 2β² Re G_ij G_jk G_ki,   κ(i, j, k, l) = 2β³ Re (ijkl + ijlk + ikjl)

where ijkl is the chain G_ij G_jk G_kl G_li. What one speckle adds to the noise of c2(i, j), normalised by the mean
intensities of both frames, is ψ(i, j) = δ_i δ_j - c_ij (1 + δ_i + δ_j), δ = I/⟨I⟩ - 1.

Counted photons add noise ε of their own to every frame, with the variance I/k for k photons in a frame of mean
intensity. To ψ(i, j) it adds ε_i (I_j - ⟨I_i I_j⟩) + ε_j (I_i - ⟨I_i I_j⟩), which pixels share that share a frame:
with c = β |G|² the covariance of those of frame i with j and l is (c_jl + κ(i, j, l) - c_ij c_il)/k. The rest, ε_i ε_j,
is white.

G_ij = u_i† E_ij u_j for two components with amplitudes and phases u and decays E (a diagonal). So a chain is the trace
of a product of 2×2 matrices F_ij = u_i u_i† E_ij. Averages over frames of nodes put their mean into F.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hetdask_kernels._jit import JIT, PART, REORDER

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]
Indices = NDArray[np.int64]


@njit(**PART)
def _link(chain, i, j):  # type: ignore[no-untyped-def]
    return chain[i, j, 0, 0], chain[i, j, 0, 1], chain[i, j, 1, 0], chain[i, j, 1, 1]


@njit(**PART)
def _times(x, y):  # type: ignore[no-untyped-def]
    return (
        x[0] * y[0] + x[1] * y[2],
        x[0] * y[1] + x[1] * y[3],
        x[2] * y[0] + x[3] * y[2],
        x[2] * y[1] + x[3] * y[3],
    )


@njit(**PART)
def _trace(x, y):  # type: ignore[no-untyped-def]
    """Real part of the trace of the product."""
    return (x[0] * y[0] + x[1] * y[2] + x[2] * y[1] + x[3] * y[3]).real


@njit(**PART)
def _covariance(i, j, k, l, coherence, chain, contrast):  # type: ignore[no-untyped-def]  # noqa: E741
    """Covariance of ψ(i, j) and ψ(k, l)."""
    c_ij, c_kl = contrast * coherence[i, j], contrast * coherence[k, l]
    c_ik, c_jl = contrast * coherence[i, k], contrast * coherence[j, l]
    c_il, c_jk = contrast * coherence[i, l], contrast * coherence[j, k]
    ij, jk, kl, li = _link(chain, i, j), _link(chain, j, k), _link(chain, k, l), _link(chain, l, i)
    ik, ki, jl, lj = _link(chain, i, k), _link(chain, k, i), _link(chain, j, l), _link(chain, l, j)
    ijk, ijl, kli = _times(ij, jk), _times(ij, jl), _times(kl, li)
    third = 2.0 * contrast * contrast
    fourth = (
        _trace(ijk, kli)
        + _trace(ijl, _times(_link(chain, l, k), ki))
        + _trace(_times(ik, _link(chain, k, j)), _times(jl, li))
    )
    with_ij = third * (_trace(ijk, ki) + _trace(ijl, li))
    with_kl = third * (_trace(ik, kli) + _trace(jk, _times(kl, lj)))
    return (
        c_ik * c_jl
        + c_il * c_jk
        + third * contrast * fourth
        - c_kl * with_ij
        - c_ij * with_kl
        + c_ij * c_kl * (c_ik + c_il + c_jk + c_jl)
    )


@njit(**JIT)
def _block_covariance(rows, columns, coherence, chain, contrast, out):  # type: ignore[no-untyped-def]
    for a in range(rows.shape[0]):
        for b in range(a + 1):
            value = _covariance(rows[a], columns[a], rows[b], columns[b], coherence, chain, contrast)
            out[a, b] = out[b, a] = value


def block_covariance(rows: Indices, columns: Indices, coherence: Array, chain: Complex, contrast: float) -> Array:
    """Covariance matrix (n, n) of ψ, averaged over blocks of pixels.

    Parameters
    ----------
    rows, columns : (n,) int64
        Row and column node of each block.
    coherence : (K, K) float64
        |G|² between nodes.
    chain : (K, K, 2, 2) complex128
        F between nodes.
    contrast : float
    """
    out = np.empty((rows.size, rows.size))
    _block_covariance(rows, columns, coherence, chain, contrast, out)
    return out


@njit(**JIT)
def _block_variance(rows, columns, coherence, chain, contrast, out):  # type: ignore[no-untyped-def]
    for a in range(rows.shape[0]):
        i, j = rows[a], columns[a]
        out[a] = _covariance(i, j, i, j, coherence, chain, contrast)


def block_variance(rows: Indices, columns: Indices, coherence: Array, chain: Complex, contrast: float) -> Array:
    """Diagonal (n,) of `block_covariance`."""
    out = np.empty(rows.size)
    _block_variance(rows, columns, coherence, chain, contrast, out)
    return out


@njit(**PART)
def _with_frame(i, j, l, coherence, chain, contrast):  # type: ignore[no-untyped-def]  # noqa: E741
    """Covariance of the photon noise of frame i in the pixels (i, j) and (i, l), for one photon."""
    ijl = _times(_link(chain, i, j), _link(chain, j, l))
    third = 2.0 * contrast * contrast * _trace(ijl, _link(chain, l, i))
    return contrast * coherence[j, l] + third - contrast * contrast * coherence[i, j] * coherence[i, l]


@njit(**PART)
def _shared_frames(i, j, k, l, nodes, excess, coherence, chain, contrast):  # type: ignore[no-untyped-def]  # noqa: E741
    """What frames that the nodes i and k share add to the covariance of the blocks (i, j) and (k, l)."""
    if nodes[i, 0] >= nodes[k, 1] or nodes[k, 0] >= nodes[i, 1]:
        return 0.0
    small, large = (i, k) if nodes[i, 1] - nodes[i, 0] <= nodes[k, 1] - nodes[k, 0] else (k, i)
    return excess[small] / max(nodes[large, 2], 1) * _with_frame(small, j, l, coherence, chain, contrast)


@njit(**PART)
def _photon_covariance_of(i, j, k, l, nodes, excess, coherence, chain, contrast):  # type: ignore[no-untyped-def]  # noqa: E741
    return (
        _shared_frames(i, j, k, l, nodes, excess, coherence, chain, contrast)
        + _shared_frames(i, j, l, k, nodes, excess, coherence, chain, contrast)
        + _shared_frames(j, i, k, l, nodes, excess, coherence, chain, contrast)
        + _shared_frames(j, i, l, k, nodes, excess, coherence, chain, contrast)
    )


@njit(**JIT)
def _photon_covariance(rows, columns, nodes, excess, coherence, chain, contrast, out):  # type: ignore[no-untyped-def]
    for a in range(rows.shape[0]):
        for b in range(a + 1):
            out[a, b] = out[b, a] = _photon_covariance_of(
                rows[a], columns[a], rows[b], columns[b], nodes, excess, coherence, chain, contrast
            )


def photon_covariance(
    rows: Indices, columns: Indices, nodes: Indices, excess: Array, coherence: Array, chain: Complex, contrast: float
) -> Array:
    """Covariance matrix (n, n) of what counting one photon a frame adds to ψ, averaged over blocks of pixels.

    Parameters
    ----------
    rows, columns : (n,) int64
        Row and column node of each block.
    nodes : (K, 3) int64
        First frame of each node, the one after the last, and how many between them are data. Nodes are the same, or one
        is a part of the other, or they share no frame.
    excess : (K,) float64
        Mean of one over the relative intensity of the frames.
    coherence, chain, contrast
        As in `block_covariance`.
    """
    out = np.empty((rows.size, rows.size))
    _photon_covariance(rows, columns, nodes, excess, coherence, chain, contrast, out)
    return out


@njit(**JIT)
def _photon_variance(rows, columns, nodes, excess, coherence, chain, contrast, out):  # type: ignore[no-untyped-def]
    for a in range(rows.shape[0]):
        i, j = rows[a], columns[a]
        out[a] = _photon_covariance_of(i, j, i, j, nodes, excess, coherence, chain, contrast)


def photon_variance(
    rows: Indices, columns: Indices, nodes: Indices, excess: Array, coherence: Array, chain: Complex, contrast: float
) -> Array:
    """Diagonal (n,) of `photon_covariance`."""
    out = np.empty(rows.size)
    _photon_variance(rows, columns, nodes, excess, coherence, chain, contrast, out)
    return out


@njit(**JIT)
def _stencil_variance(weights, coherence, chain, contrast, out):  # type: ignore[no-untyped-def]
    n = weights.shape[0]
    for s in range(out.shape[0]):
        total = 0.0
        for a in range(n):
            for b in range(n):
                weight = weights[a] * weights[b]
                if weight != 0.0:
                    total += weight * _covariance(a, n + a, b, n + b, coherence[s], chain[s], contrast)
        out[s] = max(total, 0.0)


def stencil_variance(weights: Array, coherence: Array, chain: Complex, contrast: float) -> Array:
    """Variance (S,) of weighted sums of ψ over pixels along the diagonal.

    Parameters
    ----------
    weights : (n,) float64
        Of the pixels (i, j), (i + 1, j + 1) and so on.
    coherence : (S, 2n, 2n) float64
        |G|² between the row frames and column frames, in this order.
    chain : (S, 2n, 2n, 2, 2) complex128
    contrast : float
    """
    out = np.empty(coherence.shape[0])
    _stencil_variance(weights, coherence, chain, contrast, out)
    return out


@njit(**JIT)
def _mean_decay(exponent, keep, size, out):  # type: ignore[no-untyped-def]
    n, nodes = exponent.shape[0], out.shape[0]
    left, right, weight = np.zeros(nodes), np.zeros(nodes), np.zeros(nodes)
    for node in range(nodes):
        first, last = node * size, min((node + 1) * size, n) - 1
        running = pairs = 0.0
        for i in range(first, last + 1):
            if i > first:
                running *= math.exp(exponent[i - 1] - exponent[i])
            pairs += keep[i] * (2.0 * running + keep[i])
            running += keep[i]
            right[node] += keep[i] * math.exp(exponent[first] - exponent[i])
            weight[node] += keep[i]
        left[node] = running
        out[node, node] = pairs / max(weight[node], 1.0) ** 2
        for before in range(node):
            decay = math.exp(exponent[(before + 1) * size - 1] - exponent[first])
            mean = left[before] * decay * right[node] / max(weight[before] * weight[node], 1.0)
            out[before, node] = out[node, before] = mean


def mean_decay(exponent: Array, keep: Array, size: int) -> Array:
    """Means of exp(-|exponent_j - exponent_i|) over the frames of pairs of nodes, (K, K).

    Parameters
    ----------
    exponent : (N,) float64
        Not decreasing.
    keep : (N,) float64
        1 for frames that count, 0 for others.
    size : int
        Frames in a node.
    """
    nodes = -(-exponent.size // size)
    out = np.zeros((nodes, nodes))
    _mean_decay(exponent, keep, size, out)
    return out


@njit(fastmath=REORDER, **JIT)
def _pair_products(sums, rows, columns, out):  # type: ignore[no-untyped-def]
    for b in range(rows.shape[0]):
        one, other = sums[rows[b]], sums[columns[b]]
        total = 0.0
        for s in range(one.shape[0]):
            total += one[s] * other[s]
        out[b] += total


def pair_products(sums: Array, rows: Indices, columns: Indices, out: Array) -> None:
    """Add Σ_s x(row, s) x(column, s) of each block to `out` (n,).

    Parameters
    ----------
    sums : (K, S) float64
        Sums of the deviations of S speckles over the frames of each node.
    rows, columns : (n,) int64
        Row and column node of each block.
    out : (n,) float64
    """
    _pair_products(sums, rows, columns, out)
