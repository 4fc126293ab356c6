"""The two-time correlation in plain NumPy: the oracle of the fast kernels.

Source: equation S-95 of the supporting information of doi:10.1073/pnas.2401162121,
extended in doi:10.1073/pnas.2514216122.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hetdask.errors import ConfigError
from hetdask.model.dynamics import Dynamics, dynamics

Array = NDArray[np.float64]
Parameters = Mapping[str, float] | Sequence[float] | NDArray[np.float64]


def angle_axes(phi: ArrayLike, q: ArrayLike) -> tuple[Array, Array]:
    """`phi` in degrees and `q` in 1/Å as two (n_phi,) arrays; a scalar q serves every angle."""
    phi = np.atleast_1d(np.asarray(phi, dtype=np.float64))
    q = np.atleast_1d(np.asarray(q, dtype=np.float64))
    if phi.ndim != 1 or q.ndim != 1 or q.size not in (1, phi.size):
        raise ConfigError(f"found {q.size} values of q for {phi.size} angles, expected one for all or one per angle")
    if not np.all(np.isfinite(phi)):
        raise ConfigError("phi must be finite numbers in degrees")
    if not (np.all(np.isfinite(q)) and np.all(q > 0.0)):
        raise ConfigError(f"q must be positive, in 1/Å; found {q.min():g}; an example is q: 0.0054")
    return phi, np.broadcast_to(q, phi.shape).copy()


def flow_wavevector(phi0: float, phi: Array, q: Array) -> tuple[Array, Array]:
    """κ = q cos(φ0 - φ), 1/Å, and its derivative with respect to phi0, 1/(Å deg), both (n_phi,)."""
    angle = np.deg2rad(phi0 - phi)
    return q * np.cos(angle), -q * np.sin(angle) * np.pi / 180.0


def amplitudes(fraction: Array) -> tuple[Array, Array]:
    """Amplitudes r²/n, s²/n, rs/n of the three terms, (3, N), and their derivatives with respect to s, (3, N)."""
    s = fraction
    r = 1.0 - s
    n = r * r + s * s
    weight = np.stack([r * r, s * s, r * s]) / n
    slope = np.stack([-2.0 * r * s, 2.0 * r * s, r - s]) / n**2
    return weight, slope


def _terms(d: Dynamics, kappa: float, q: float) -> tuple[Array, Array, Array, Array]:
    """Decays of both components and of the cross term with its phase, each (N, N), without amplitudes."""
    step_ref = q * q * np.abs(d.c_ref[None, :] - d.c_ref[:, None])
    step_sample = q * q * np.abs(d.c_sample[None, :] - d.c_sample[:, None])
    phase = kappa * (d.displacement[None, :] - d.displacement[:, None])
    cross = np.exp(-0.5 * (step_ref + step_sample))
    return np.exp(-step_ref), np.exp(-step_sample), cross * np.cos(phase), cross * np.sin(phase)


def correlation(parameters: Parameters, time: ArrayLike, phi: ArrayLike, q: ArrayLike) -> Array:
    """Normalised two-time correlation g of every angle.

    Parameters
    ----------
    parameters : mapping or (14,) sequence
        Model parameters, see `hetdask.model.PARAMETERS`.
    time : (N,) float64
        Frame times, s.
    phi : (n_phi,) float64
        Azimuth of each map, degrees.
    q : float or (n_phi,) float64
        Wavevector, 1/Å.

    Returns
    -------
    (n_phi, N, N) float64
        Symmetric, 1 on the diagonal. The measured map is offset + contrast·g.

    Raises
    ------
    ConfigError
        For bad axes or parameters.

    Examples
    --------
    >>> g = correlation({"D0_ref": 300.0, "v0": 20.0}, [0.0, 1.0, 2.0], [0.0, 90.0], 0.0054)
    >>> g.shape, float(g[0, 0, 0])
    ((2, 3, 3), 1.0)
    """
    d = dynamics(parameters, np.asarray(time, dtype=np.float64))
    phi, q = angle_axes(phi, q)
    kappa, _ = flow_wavevector(d.phi0, phi, q)
    (w1, w2, w3), _ = amplitudes(d.fraction)
    g = np.empty((phi.size, d.time.size, d.time.size))
    for m in range(phi.size):
        ref, sample, cosine, _ = _terms(d, kappa[m], q[m])
        g[m] = np.outer(w1, w1) * ref + np.outer(w2, w2) * sample + 2.0 * np.outer(w3, w3) * cosine
    return g


def correlation_gradient(parameters: Parameters, time: ArrayLike, phi: ArrayLike, q: ArrayLike) -> Array:
    """Derivatives of `correlation` with respect to every parameter, above the diagonal.

    Parameters are those of `correlation`.

    Returns
    -------
    (n_phi, 14, N, N) float64
        Zero on and below the diagonal. Memory is 14 times that of `correlation`: for tests and small maps.
    """
    d = dynamics(parameters, np.asarray(time, dtype=np.float64))
    phi, q = angle_axes(phi, q)
    kappa, kappa_slope = flow_wavevector(d.phi0, phi, q)
    weight, slope = amplitudes(d.fraction)
    n = d.time.size
    upper = np.triu(np.ones((n, n)), 1)
    out = np.zeros((phi.size, 14, n, n))

    def step(x: Array) -> Array:
        return np.asarray(x[None, :] - x[:, None])

    for m in range(phi.size):
        ref, sample, cosine, sine = _terms(d, kappa[m], q[m])
        t1, t2 = np.outer(weight[0], weight[0]) * ref, np.outer(weight[1], weight[1]) * sample
        cross = 2.0 * np.outer(weight[2], weight[2])
        t3c, t3s = cross * cosine, cross * sine
        for k in range(3):
            out[m, k] = -(q[m] ** 2) * step(d.reference.gradient[k]) * (t1 + 0.5 * t3c)
            out[m, 3 + k] = -(q[m] ** 2) * step(d.sample.gradient[k]) * (t2 + 0.5 * t3c)
            out[m, 6 + k] = -kappa[m] * step(d.motion.gradient[k]) * t3s
        for k in range(4):
            s = d.composition.gradient[k]
            for term, factor, decay in ((0, 1.0, ref), (1, 1.0, sample), (2, 2.0, cosine)):
                w, dw = weight[term], slope[term] * s
                out[m, 9 + k] += factor * (np.outer(dw, w) + np.outer(w, dw)) * decay
        out[m, 13] = -kappa_slope[m] * step(d.displacement) * t3s
    out *= upper
    return out
