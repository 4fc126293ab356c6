"""What is fitted: start values, bounds, free parameters and the noise of the angles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hetdask.errors import ConfigError
from hetdask.model.parameters import NAMES

Array = NDArray[np.float64]

MARGIN: Final = 1e-3
"""Distance from -1 that exponents keep where the time axis begins at 0."""


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """What is fitted: start values and bounds of all parameters, and which of them move.

    Attributes
    ----------
    start, lower, upper : (14,) float64
    free : tuple of int
        Indices of the p parameters that move.
    sigma : (n_phi,) float64
        White noise of each angle.
    """

    start: Array
    lower: Array
    upper: Array
    free: tuple[int, ...]
    sigma: Array

    def __post_init__(self) -> None:
        if not self.free:
            raise ConfigError("no parameter is free: name some in fit.active_parameters or set fixed: false")
        for k in self.free:
            if not self.lower[k] < self.upper[k]:
                raise ConfigError(
                    f"{NAMES[k]}: min {self.lower[k]:g} is not below max {self.upper[k]:g}; "
                    "widen the bounds or set fixed: true"
                )
        outside = [k for k in self.free if not self.lower[k] <= self.start[k] <= self.upper[k]]
        if outside:
            k = outside[0]
            raise ConfigError(
                f"{NAMES[k]}: start value {self.start[k]:g} lies outside its bounds "
                f"[{self.lower[k]:g}, {self.upper[k]:g}]; change value, min or max"
            )

    def vector(self, x: Array) -> Array:
        """All parameters (14,) with the free ones set to `x` (p,)."""
        vector = self.start.copy()
        vector[list(self.free)] = x
        return vector

    def bounds(self) -> tuple[Array, Array]:
        """Lower and upper bounds (p,) of the free parameters."""
        free = list(self.free)
        return self.lower[free], self.upper[free]


def integrable_bounds(lower: Array, time_origin: float) -> Array:
    """Lower bounds (14,) under which every integral exists: exponents above -1 where the time axis begins at 0."""
    lower = lower.copy()
    if time_origin <= 0.0:
        for name in ("alpha_ref", "alpha_sample", "beta"):
            k = NAMES.index(name)
            lower[k] = max(lower[k], -1.0 + MARGIN)
    return lower
