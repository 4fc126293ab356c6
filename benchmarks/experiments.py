"""Random experiments from a wide distribution, for the benchmarks of cold starts.

What is drawn, independently unless stated:

=====================================  =====================================================================
frames, angles                         100..1000 (log-uniform), 2..8
phi                                    spread over 180°, each moved by up to 0.3 of their distance
q, length of the series                0.003..0.01 1/Å, 50..500 s (log-uniform); time begins at 0
decay of each component                q²J·T at mid-time 0.3..30 (log-uniform)
fringes                                q·|displacement|/2π 0.1..50 (log-uniform), at most 0.25 between two frames
exponents                              -0.8..0.8
offset over rate at mid-time           transport -0.2..0.8, velocity -0.3..0.6
sample fraction, first and last frame  0.02..0.98 (logit-uniform), constant part 0..0.9 of the smaller one
phi0                                   -90..90°
contrast, offset of each angle         0.05..0.5 (log-uniform) within 5 %, 0.98..1.02
noise over signal                      0.01..0.3 (log-uniform)
=====================================  =====================================================================

Even experiments have Gaussian noise; odd ones are averages over 1/(noise over signal)² speckles of one to three modes,
scaled to the contrast. Draws with a parameter outside the default bounds are repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from hetdask.model import NAMES, PARAMETERS, dynamics, simulate_gaussian, simulate_speckle

Array = NDArray[np.float64]

SEED: Final = 20_260_301


@dataclass(frozen=True, slots=True, eq=False)
class Experiment:
    """One experiment with its truth.

    Attributes
    ----------
    index : int
    noise : {"gaussian", "speckle"}
    vector : (14,) float64
        Parameters, in the order of `hetdask.model.NAMES`.
    time, phi : (N,), (n_phi,) float64
        s, degrees.
    q : float
        1/Å.
    contrast, offset : (n_phi,) float64
    noise_to_signal : float
        Standard deviation of the noise over the contrast.
    strata : dict of str to float
        What failures may depend on.
    """

    index: int
    noise: Literal["gaussian", "speckle"]
    vector: Array
    time: Array
    phi: Array
    q: float
    contrast: Array
    offset: Array
    noise_to_signal: float
    modes: int
    strata: dict[str, float]

    @property
    def dt(self) -> float:
        """Time between frames, s."""
        return float(self.time[1] - self.time[0])

    def maps(self) -> NDArray[np.float32]:
        """Simulated maps (n_phi, N, N); the same at every call."""
        rng = _generator(self.index, 1)
        if self.noise == "gaussian":
            c2 = simulate_gaussian(
                self.vector,
                self.time,
                self.phi,
                self.q,
                contrast=self.contrast,
                offset=self.offset,
                sigma=self.noise_to_signal * self.contrast,
                rng=rng,
            )
        else:
            speckles = max(2, round(self.noise_to_signal**-2.0))
            c2 = simulate_speckle(
                self.vector, self.time, self.phi, self.q, speckles=speckles, modes=self.modes, rng=rng
            )
            c2 -= 1.0
            c2 *= (self.modes * self.contrast)[:, None, None]
            c2 += self.offset[:, None, None]
        return c2.astype(np.float32)


def _generator(index: int, use: int) -> np.random.Generator:
    return np.random.default_rng([SEED, index, use])


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def draw(index: int, size: tuple[int, int] | None = None) -> Experiment:
    """Experiment number `index` of the distribution, with the given numbers of frames and angles if there are any."""
    rng = _generator(index, 0)
    while (found := _draw(index, rng, size)) is None:
        pass
    return found


def _draw(index: int, rng: np.random.Generator, size: tuple[int, int] | None) -> Experiment | None:
    """One draw; None if it lies outside the default bounds or turns too fast between frames."""
    drawn = round(_log_uniform(rng, 100.0, 1000.0)), int(rng.integers(2, 9))
    n, n_phi = size or drawn
    phi = (np.arange(n_phi) + rng.uniform(-0.3, 0.3, n_phi)) * 180.0 / n_phi + rng.uniform(-90.0, 90.0)
    q, length = _log_uniform(rng, 0.003, 0.01), _log_uniform(rng, 50.0, 500.0)
    time = np.linspace(0.0, length, n)
    middle = 0.5 * length
    values: list[float] = []
    decays = [_log_uniform(rng, 0.3, 30.0) for _ in range(2)]
    for decay in decays:
        values += _law(decay / (q * q * length), rng.uniform(-0.8, 0.8), rng.uniform(-0.2, 0.8), middle)
    fringes = _log_uniform(rng, 0.1, 50.0)
    values += _law(1.0, rng.uniform(-0.8, 0.8), rng.uniform(-0.3, 0.6), middle)
    start, end = expit(rng.uniform(logit(0.02), logit(0.98), 2))
    constant = rng.uniform(0.0, 0.9) * min(start, end)
    f1 = np.log((end - constant) / (start - constant)) / length
    values += [start - constant, f1, 0.0, constant, rng.uniform(-90.0, 90.0)]
    vector = np.array(values)
    turns = q * dynamics(vector, time).displacement / (2.0 * np.pi)
    scale = fringes / abs(float(turns[-1]))
    vector[[NAMES.index("v0"), NAMES.index("v_offset")]] *= scale
    fastest = float(np.max(np.abs(np.diff(turns)))) * scale
    lower, upper = np.array([(spec.lower, spec.upper) for spec in PARAMETERS]).T
    if fastest > 0.25 or np.any(vector < lower) or np.any(vector > upper):
        return None
    noise_to_signal, contrast = _log_uniform(rng, 0.01, 0.3), _log_uniform(rng, 0.05, 0.5)
    return Experiment(
        index=index,
        noise="speckle" if index % 2 else "gaussian",
        vector=vector,
        time=time,
        phi=(phi + 180.0) % 360.0 - 180.0,
        q=q,
        contrast=contrast * rng.uniform(0.95, 1.05, n_phi),
        offset=rng.uniform(0.98, 1.02, n_phi),
        noise_to_signal=noise_to_signal,
        modes=int(rng.integers(1, 4)),
        strata={
            "frames": n,
            "angles": n_phi,
            "slow_decay": min(decays),
            "fast_decay": max(decays),
            "fringes": fringes,
            "fringes_per_frame": fastest,
            "purest_fraction": float(min(start, end, 1.0 - start, 1.0 - end)),
            "steepest_exponent": float(np.max(np.abs(vector[[1, 4, 7]]))),
            "contrast": contrast,
            "noise_to_signal": noise_to_signal,
        },
    )


def _law(rate: float, exponent: float, share: float, middle: float) -> list[float]:
    """Amplitude, exponent and offset of a rate law with the given rate at mid-time."""
    return [(1.0 - share) * rate / middle**exponent, exponent, share * rate]
