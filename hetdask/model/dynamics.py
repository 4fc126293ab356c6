"""What the parameters mean at every frame: rates, integrals, fraction, and their derivatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hetdask.model.integrals import Curve, check_time, displacement_integral, transport_integral
from hetdask.model.parameters import as_vector

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Dynamics:
    """Transport, velocity and composition at the frames of a series.

    Attributes
    ----------
    time : (N,) float64
        s.
    vector : (14,) float64
        The parameters.
    reference, sample : Curve
        Integrals of the transport rates from the first frame, Å².
    motion : Curve
        Integral of the velocity from the first frame, Å.
    composition : Curve
        Sample fraction s, 0..1; the reference fraction is 1 - s.
    """

    time: Array
    vector: Array
    reference: Curve
    sample: Curve
    motion: Curve
    composition: Curve

    @property
    def fraction(self) -> Array:
        """Sample fraction (N,)."""
        return self.composition.value

    @property
    def c_ref(self) -> Array:
        """Integrated transport of the reference (N,), Å²."""
        return self.reference.value

    @property
    def c_sample(self) -> Array:
        """Integrated transport of the sample (N,), Å²."""
        return self.sample.value

    @property
    def displacement(self) -> Array:
        """Integrated velocity (N,), Å."""
        return self.motion.value

    @property
    def phi0(self) -> float:
        """Flow direction, degrees."""
        return float(self.vector[13])

    @property
    def intensity(self) -> Array:
        """Mean intensity (N,) relative to that of frames in which one component is alone."""
        return np.asarray((1.0 - self.fraction) ** 2 + self.fraction**2)

    @property
    def j_ref(self) -> Array:
        """Transport rate of the reference (N,), Å²/s; infinite at t = 0 where the exponent is negative."""
        return np.maximum(_power_law(self.time, *self.vector[0:3]), 0.0)

    @property
    def j_sample(self) -> Array:
        """Transport rate of the sample (N,), Å²/s."""
        return np.maximum(_power_law(self.time, *self.vector[3:6]), 0.0)

    @property
    def velocity(self) -> Array:
        """Velocity (N,), Å/s; infinite at t = 0 where β is negative."""
        return _power_law(self.time, *self.vector[6:9])

    def curve_gradients(self) -> dict[str, Array]:
        """Derivatives (14, N) of `j_ref`, `j_sample`, `velocity` and `fraction`; 0 where a rate is clipped."""
        out = {}
        for first, name in ((0, "j_ref"), (3, "j_sample"), (6, "velocity")):
            gradient = np.zeros((self.vector.size, self.time.size))
            amplitude, exponent, _ = self.vector[first : first + 3]
            with np.errstate(divide="ignore", invalid="ignore"):
                power = self.time**exponent
                gradient[first] = power
                gradient[first + 1] = np.where(self.time > 0.0, amplitude * power * np.log(self.time), np.nan)
            gradient[first + 2] = 1.0
            if name != "velocity":
                gradient[:, getattr(self, name) <= 0.0] = 0.0
            out[name] = gradient
        out["fraction"] = np.zeros((self.vector.size, self.time.size))
        out["fraction"][9:13] = self.composition.gradient
        return out


def _power_law(time: Array, amplitude: float, exponent: float, offset: float) -> Array:
    if amplitude == 0.0:
        return np.full_like(time, offset)
    with np.errstate(divide="ignore"):
        return np.asarray(amplitude * time**exponent + offset)


def fraction(time: Array, f0: float, f1: float, f2: float, f3: float) -> Curve:
    """Sample fraction clip(f0 e^(f1 (t - f2)) + f3, 0, 1), with derivatives: 0 where it is clipped."""
    growth = np.exp(np.minimum(f1 * (time - f2), 700.0))
    free = f0 * growth + f3

    def gradient() -> Array:
        inside = (free >= 0.0) & (free <= 1.0)
        slopes = np.stack([growth, f0 * growth * (time - f2), -f0 * f1 * growth, np.ones_like(time)])
        return np.where(inside, slopes, 0.0)

    return Curve(np.clip(free, 0.0, 1.0), gradient)


def dynamics(
    parameters: Mapping[str, float] | Sequence[float] | NDArray[np.float64], time: NDArray[np.float64]
) -> Dynamics:
    """Rates, integrals and fraction at each frame.

    Parameters
    ----------
    parameters : mapping or (14,) sequence
        Model parameters, see `hetdask.model.PARAMETERS`.
    time : (N,) float64
        Frame times, s; not negative, increasing. The integrals begin at time[0].

    Raises
    ------
    ConfigError
        For a bad time axis, or an exponent that makes an integral diverge at t = 0.
    """
    vector = as_vector(parameters)
    p = vector.tolist()
    time = np.asarray(time, dtype=np.float64)
    check_time(time)
    return Dynamics(
        time=time,
        vector=vector,
        reference=transport_integral(time, p[0], p[1], p[2], "ref"),
        sample=transport_integral(time, p[3], p[4], p[5], "sample"),
        motion=displacement_integral(time, p[6], p[7], p[8]),
        composition=fraction(time, p[9], p[10], p[11], p[12]),
    )
