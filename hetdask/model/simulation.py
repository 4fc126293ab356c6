"""Simulated two-time correlation maps: Gaussian noise on the formula, or speckle fields that know nothing of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hetdask.errors import ConfigError
from hetdask.model.correlation import Parameters, angle_axes, correlation, flow_wavevector
from hetdask.model.dynamics import Dynamics, dynamics

Array = NDArray[np.float64]

_BATCH_VALUES = 1 << 22


def simulate_gaussian(
    parameters: Parameters,
    time: ArrayLike,
    phi: ArrayLike,
    q: ArrayLike,
    *,
    contrast: ArrayLike = 0.3,
    offset: ArrayLike = 1.0,
    sigma: ArrayLike = 0.01,
    rng: np.random.Generator,
) -> Array:
    """Maps offset + contrast·g plus independent Gaussian noise.

    Parameters
    ----------
    parameters, time, phi, q
        As in `hetdask.model.correlation`.
    contrast, offset, sigma : float or (n_phi,) float64
        Scaling and noise of each angle, in units of c2.
    rng : numpy.random.Generator
        Source of the noise.

    Returns
    -------
    (n_phi, N, N) float64
        Symmetric maps, noise included.
    """
    maps = correlation(parameters, time, phi, q)
    shape = (maps.shape[0], 1, 1)
    scale, base, noise = (
        np.broadcast_to(np.asarray(x, dtype=np.float64), maps.shape[:1]).reshape(shape)
        for x in (contrast, offset, sigma)
    )
    maps *= scale
    maps += base
    for m in range(maps.shape[0]):
        upper = np.triu(rng.standard_normal(maps.shape[1:]))
        maps[m] += noise[m] * (upper + np.triu(upper, 1).T)
    return maps


def _complex_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.complex128]:
    """Circular complex Gaussian values with unit mean square."""
    parts = rng.standard_normal((*shape, 2))
    return np.asarray(parts.view(np.complex128)[..., 0] * np.sqrt(0.5))


@dataclass(frozen=True, slots=True)
class ThirdComponent:
    """A component that the two-component model does not have, to see whether a fit tells.

    Attributes
    ----------
    share : float
        Of the field, 0..1; reference and sample share the rest.
    rate : float
        Constant transport rate, Å²/s.
    velocity : float
        Constant velocity relative to the reference, in the direction of the flow, Å/s.
    """

    share: float
    rate: float
    velocity: float = 0.0


def speckle_intensity(
    d: Dynamics,
    kappa: float,
    q: float,
    pixels: int,
    modes: int,
    rng: np.random.Generator,
    third: ThirdComponent | None = None,
) -> Array:
    """Intensities of independent speckles of one angle.

    Each mode of each pixel holds two complex Gaussian fields, or three, Markov chains whose frame-to-frame
    correlation is e^(-½q²ΔC) of its component. They interfere with the phase κV of the flow.

    Returns
    -------
    (N, pixels) float64
        Mean over the modes of |E|².
    """
    n = d.time.size
    shape = (pixels, modes)
    rates = [d.c_ref, d.c_sample]
    weights = [1.0 - d.fraction, d.fraction * np.exp(1j * kappa * d.displacement)]
    if third is not None:
        elapsed = d.time - d.time[0]
        rates.append(third.rate * elapsed)
        weights = [(1.0 - third.share) * weight for weight in weights]
        weights.append(third.share * np.exp(1j * kappa * third.velocity * elapsed))
    keep = [np.exp(-0.5 * q * q * np.diff(c)) for c in rates]
    renew = [np.sqrt(-np.expm1(-q * q * np.diff(c))) for c in rates]
    field = [_complex_normal(rng, shape) for _ in rates]
    intensity = np.empty((n, pixels))
    for i in range(n):
        if i:
            for x in range(len(rates)):
                field[x] = keep[x][i - 1] * field[x] + renew[x][i - 1] * _complex_normal(rng, shape)
        total = sum(
            (weight[i] * one for weight, one in zip(weights[1:], field[1:], strict=True)), weights[0][i] * field[0]
        )
        intensity[i] = np.mean(total.real**2 + total.imag**2, axis=1)
    return intensity


def simulate_speckle(
    parameters: Parameters,
    time: ArrayLike,
    phi: ArrayLike,
    q: ArrayLike,
    *,
    speckles: int = 3000,
    modes: int = 3,
    photons: float | None = None,
    third: ThirdComponent | None = None,
    rng: np.random.Generator,
) -> Array:
    """Maps computed from simulated speckles, as a detector would give them.

    Parameters
    ----------
    parameters, time, phi, q
        As in `hetdask.model.correlation`.
    speckles : int
        Independent speckles (pixels) per angle; the noise of c2 falls as 1/sqrt(speckles).
    modes : int
        Coherent modes added in intensity; the contrast is 1/modes.
    photons : float, optional
        Mean count per pixel and frame at fraction 0 or 1. Poisson counts are drawn; the diagonal then holds shot noise.
    third : ThirdComponent, optional
        Another component in the fields: the maps then follow no two-component model.
    rng : numpy.random.Generator

    Returns
    -------
    (n_phi, N, N) float64
        c2(i, j) = ⟨I_i I_j⟩ / (⟨I_i⟩⟨I_j⟩), averages over speckles; expectation 1 + g/modes off the diagonal.
    """
    if speckles < 2 or modes < 1 or (photons is not None and not photons > 0.0):
        raise ConfigError(
            f"found speckles = {speckles}, modes = {modes}, photons = {photons}: expected speckles >= 2, modes >= 1, "
            "photons > 0 or none; for example speckles: 3000, modes: 3"
        )
    d = dynamics(parameters, np.asarray(time, dtype=np.float64))
    phi, q = angle_axes(phi, q)
    kappa, _ = flow_wavevector(d.phi0, phi, q)
    n = d.time.size
    batch = max(1, min(speckles, _BATCH_VALUES // max(n, modes)))
    maps = np.empty((phi.size, n, n))
    for m in range(phi.size):
        products, means = np.zeros((n, n)), np.zeros(n)
        for first in range(0, speckles, batch):
            count = min(batch, speckles - first)
            intensity = speckle_intensity(d, kappa[m], q[m], count, modes, rng, third)
            if photons is not None:
                intensity = rng.poisson(intensity * photons).astype(np.float64)
            products += intensity @ intensity.T
            means += intensity.sum(axis=1)
        if np.any(means == 0.0):
            raise ConfigError("a simulated frame holds no photons: raise photons or speckles")
        maps[m] = speckles * products / np.outer(means, means)
    return maps
