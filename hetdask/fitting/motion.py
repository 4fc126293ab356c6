"""What a parameter vector means over the series, and when two of them mean the same.

Different parameters can describe the same motion, nearly or exactly: the reference may be called the sample, exponent
and offset trade against each other, a velocity may have either sign. So optima are compared by what moves how far.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from hetdask.fitting.coordinates import F0, FLOW, PHI0, Coordinates
from hetdask.fitting.normal_problem import WEAK, scaled_eigen
from hetdask.model.dynamics import dynamics
from hetdask.model.parameters import NAMES

if TYPE_CHECKING:
    from hetdask.passes.tiles import Series

Array = NDArray[np.float64]

TIMES: Final = 4
"""Times, evenly spread over the series, at and between which motions are compared."""

APART: Final = 4.0
"""Standard errors by which distinct motions differ somewhere, at least."""

ALIKE: Final = 0.02
"""Curves that differ by less, absolutely and relatively, are the same whatever their errors."""

FLOW_CURVES: Final = slice(2 * (TIMES - 1), 4 * (TIMES - 1))
FRACTION_CURVES: Final = slice(4 * (TIMES - 1), None)
EXCHANGED: Final = np.r_[TIMES - 1 : 2 * (TIMES - 1), : TIMES - 1, 2 * (TIMES - 1) : 5 * TIMES - 4]
"""Where the curves are when reference and sample are exchanged."""


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """Motion over the series.

    Attributes
    ----------
    curves : (m,) float64
        Between `TIMES` times the decays q²ΔC of reference and sample, and the displacement of one against the other
        in fringes along both axes; at these times the sample fraction.
    errors : (m,) float64
        Their standard errors.
    """

    curves: Array
    errors: Array

    @classmethod
    def of(cls, coordinates: Coordinates, position: Array, information: Array, series: Series) -> Motion:
        """Motion at the coordinates `position` (n,), of which a fit tells `information` (n, n)."""
        vector, slope = coordinates.linearise(position)
        curves, curves_slope = _curves(vector, series)
        scale, values, vectors = scaled_eigen(information)
        # Along directions without curvature the errors are as good as infinite.
        spread = vectors / np.sqrt(np.maximum(values, WEAK))
        return cls(curves, np.linalg.norm(curves_slope @ slope @ (spread / scale[:, None]), axis=1))

    def same(self, other: Motion) -> bool:
        """Whether `other` is the same motion within the errors of this one; which component is which does not count."""
        return self._agrees(other.curves) or self._agrees(other.exchanged().curves)

    def exchanged(self) -> Motion:
        """The same with reference and sample exchanged."""
        curves = self.curves[EXCHANGED]
        curves[FRACTION_CURVES] = 1.0 - curves[FRACTION_CURVES]
        return Motion(curves, self.errors[EXCHANGED])

    def _agrees(self, curves: Array) -> bool:
        limit = APART * self.errors + ALIKE * (1.0 + np.maximum(np.abs(self.curves), np.abs(curves)))
        difference = np.abs(self.curves - curves)
        # The flow is known up to its sign.
        turned = np.abs(self.curves[FLOW_CURVES] + curves[FLOW_CURVES])
        if np.all(turned <= limit[FLOW_CURVES]):
            difference[FLOW_CURVES] = turned
        return bool(np.all(difference <= limit))


def _curves(vector: Array, series: Series) -> tuple[Array, Array]:
    """Curves of a `Motion` and their derivatives with respect to the parameters, (m,) and (m, 14)."""
    q = float(np.sqrt(np.mean(series.q**2)))
    d = dynamics(vector, np.linspace(series.time[0], series.time[-1], TIMES))
    angle, turns = np.deg2rad(d.phi0), q / (2.0 * np.pi)
    parts: list[Array] = []
    slopes: list[Array] = []

    def enter(values: Array, derivatives: Array, first: int) -> Array:
        rows = np.zeros((values.size, len(NAMES)))
        rows[:, first : first + len(derivatives)] = derivatives.T
        parts.append(values)
        slopes.append(rows)
        return rows

    enter(q * q * np.diff(d.c_ref), q * q * np.diff(d.reference.gradient), 0)
    enter(q * q * np.diff(d.c_sample), q * q * np.diff(d.sample.gradient), 3)
    moved, moved_slope = turns * np.diff(d.displacement), turns * np.diff(d.motion.gradient)
    for along, across in ((np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))):
        enter(along * moved, along * moved_slope, FLOW)[:, PHI0] = across * moved * np.deg2rad(1.0)
    enter(d.fraction, d.composition.gradient, F0)
    return np.concatenate(parts), np.concatenate(slopes)
