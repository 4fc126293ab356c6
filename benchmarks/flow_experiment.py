"""The experiment that the peers and hetdask fit: maps after the peers' conventions, and the yardstick for all outcomes.

heterodyne 2.0.1 and xpcsjax 0.1.8 put the first frame at t = dt, integrate rates by the trapezoidal rule, and count the
flow angle the other way round: cos(φ + φ0). So a parameter set of theirs is one of ours with phi0 of the other sign and
``time_origin`` = dt, up to the error of the trapezoidal rule. Everything here is in our sign.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from hetdask.model import NAMES, correlation

Array = NDArray[np.float64]
Model = Callable[[Mapping[str, float], "Experiment", float], Array]
"""Values of one angle at the pairs i < j, from parameters, the experiment and phi in degrees."""

TRUTH: Final = {
    "D0_ref": 400.0,
    "alpha_ref": -0.2,
    "D_offset_ref": 10.0,
    "D0_sample": 1500.0,
    "alpha_sample": -0.1,
    "D_offset_sample": 20.0,
    "v0": 40.0,
    "beta": 0.15,
    "v_offset": 2.0,
    "f0": 0.35,
    "f1": -0.015,
    "f2": 0.0,
    "f3": 0.15,
    "phi0": 3.0,
}
FREE: Final = ("D0_ref", "alpha_ref", "D0_sample", "alpha_sample", "v0", "beta", "f0", "f1", "f3", "phi0")
"""The others are degenerate with these or nearly so; they are held at the truth in all engines."""

BOUNDS: Final = {
    "D0_ref": (100.0, 1e6),
    "alpha_ref": (-2.0, 2.0),
    "D_offset_ref": (-1e4, 1e4),
    "D0_sample": (100.0, 1e6),
    "alpha_sample": (-2.0, 2.0),
    "D_offset_sample": (-1e4, 1e4),
    "v0": (1e-6, 1e4),
    "beta": (-2.0, 2.0),
    "v_offset": (-100.0, 100.0),
    "f0": (0.0, 1.0),
    "f1": (-1.0, 1.0),
    "f2": (-1e3, 1e3),
    "f3": (0.0, 1.0),
    "phi0": (-10.0, 10.0),
}
"""Accepted by all engines; those of phi0 are the same with either sign."""

SECONDS: Final = 100.0
Q: Final = 0.0054
CONTRAST: Final = 0.3
OFFSET: Final = 1.0
NOISE: Final = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Experiment:
    """Simulated maps.

    Attributes
    ----------
    c2 : (n_phi, N, N) float64
        Symmetric.
    phi : (n_phi,) float64
        Degrees.
    dt : float
        s; the frames are at dt, 2 dt, ..., N dt.
    """

    c2: Array
    phi: Array
    dt: float

    @property
    def time(self) -> Array:
        """Frame times, s."""
        return self.dt * np.arange(1, self.c2.shape[-1] + 1)

    @property
    def pairs(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Indices of the pairs i < j."""
        return np.triu_indices(self.c2.shape[-1], 1)


def peers_model(parameters: Mapping[str, float], experiment: Experiment, phi: float) -> Array:
    """The model as the peers compute it, without their smooth clips: the one that made the data."""
    p, t, (i, j) = parameters, experiment.time, experiment.pairs

    def integral(rate: Array) -> Array:
        return np.concatenate([[0.0], np.cumsum(0.5 * (rate[1:] + rate[:-1])) * experiment.dt])

    def field(name: str) -> Array:
        rate = np.maximum(p[f"D0_{name}"] * t ** p[f"alpha_{name}"] + p[f"D_offset_{name}"], 0.0)
        total = integral(rate)
        return np.exp(-0.5 * Q**2 * (total[j] - total[i]))

    ref, sample = field("ref"), field("sample")
    way = integral(p["v0"] * t ** p["beta"] + p["v_offset"])
    phase = Q * np.cos(np.deg2rad(phi - p["phi0"])) * (way[j] - way[i])
    s = np.clip(p["f0"] * np.exp(p["f1"] * (t - p["f2"])) + p["f3"], 0.0, 1.0)
    r = 1.0 - s
    norm = s**2 + r**2
    a, b = r[i] * r[j] * ref, s[i] * s[j] * sample
    return np.asarray((a**2 + b**2 + 2.0 * a * b * np.cos(phase)) / (norm[i] * norm[j]))


def exact_model(parameters: Mapping[str, float], experiment: Experiment, phi: float) -> Array:
    """The model as hetdask computes it, with exact integrals."""
    return np.asarray(correlation(parameters, experiment.time, phi, Q)[0][experiment.pairs])


MODELS: Final[dict[str, Model]] = {"trapezoidal (made the data)": peers_model, "exact (hetdask)": exact_model}


def simulate(frames: int, n_phi: int, seed: int) -> Experiment:
    """Maps of the true parameters with white Gaussian noise."""
    phi = np.linspace(0.0, 90.0, n_phi)
    rng = np.random.default_rng(seed)
    experiment = Experiment(np.empty((n_phi, frames, frames)), phi, SECONDS / frames)
    for m, angle in enumerate(phi):
        upper = np.triu(rng.normal(0.0, NOISE, (frames, frames)))
        upper[experiment.pairs] += CONTRAST * peers_model(TRUTH, experiment, angle)
        upper[np.diag_indices(frames)] += CONTRAST
        experiment.c2[m] = OFFSET + upper + np.triu(upper, 1).T
    return experiment


def start_values(error: float, seed: int) -> dict[str, float]:
    """Start values off by up to `error`, relative; exponents by a quarter of it and phi0 by five degrees times it."""
    rng = np.random.default_rng(seed)
    start = dict(TRUTH)
    for name in ("D0_ref", "D0_sample", "v0", "f0", "f1", "f3"):
        start[name] *= 1.0 + error * rng.uniform(-1.0, 1.0)
    for name in ("alpha_ref", "alpha_sample", "beta"):
        start[name] += 0.25 * error * rng.uniform(-1.0, 1.0)
    start["phi0"] -= 5.0 * error * rng.uniform(-1.0, 1.0)
    return start


def flipped(parameters: Mapping[str, float]) -> dict[str, float]:
    """Parameters with phi0 counted the other way round."""
    return {**parameters, "phi0": -parameters["phi0"]}


def residuals(parameters: Mapping[str, float], experiment: Experiment, model: Model) -> Array:
    """Residuals of all pairs i < j with the best contrast and offset of each angle, (n_points,)."""
    parts = []
    for c2, phi in zip(experiment.c2, experiment.phi, strict=True):
        data, g = c2[experiment.pairs], model(parameters, experiment, float(phi))
        data -= data.mean()
        g -= g.mean()
        parts.append(data - (data @ g) / (g @ g) * g)
    return np.concatenate(parts)


def sum_squares(parameters: Mapping[str, float], experiment: Experiment, model: Model) -> float:
    """Sum of squared residuals, each pair i < j once, with the best contrast and offset of each angle."""
    r = residuals(parameters, experiment, model)
    return float(r @ r)


def minimum(start: Mapping[str, float], experiment: Experiment, model: Model) -> float:
    """Least sum of squares near `start`, by SciPy on all residuals with numerical derivatives."""
    free = [name for name in NAMES if name in FREE]

    def at(x: Array) -> Array:
        return residuals({**start, **dict(zip(free, x, strict=True))}, experiment, model)

    x = np.array([start[name] for name in free])
    lower, upper = np.array([BOUNDS[name] for name in free]).T
    solution = least_squares(
        at, x, bounds=(lower, upper), x_scale="jac", jac="3-point", ftol=1e-14, xtol=1e-12, gtol=1e-12
    )
    return float(2.0 * solution.cost)
