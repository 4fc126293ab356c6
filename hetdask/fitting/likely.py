"""The most likely parameters near an optimum of least squares.

Where components are slow, speckle noise is correlated over whole maps, and least squares follows it: its residuals at
the optimum are then no longer what the model predicts for the noise, although nothing better is to be found. The most
likely parameters, those of generalised least squares with the covariance of `hetdask.fitting.noise_model`, lie nearby;
there the residuals of a right optimum are noise. Those of a wrong one are not, or the way leads to a better one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.optimize import lsq_linear

from hetdask.fitting.coordinates import Coordinates
from hetdask.fitting.motion import Motion
from hetdask.fitting.noise_evidence import Gathered, gather
from hetdask.fitting.noise_model import NoiseModel, NoiseStrength, noise_in
from hetdask.fitting.normal_problem import small_problem
from hetdask.passes.reduced import ReducedPasses

Array = NDArray[np.float64]

STEPS: Final = 8
"""Gauss-Newton steps at most, each with the covariance of the point before it."""

SHORTER: Final = (1.0, 1.0 / 3.0, 1.0 / 9.0, 1.0 / 27.0)
"""Parts of a step that are tried until the likelihood rises."""

LONGEST: Final = 1.0
"""Change of any coordinate in one step, at most."""

RISE: Final = 0.5
"""Log-likelihood that a step must gain to be followed by another."""


@dataclass(frozen=True, slots=True, eq=False)
class Likely:
    """A point of high likelihood.

    Attributes
    ----------
    position : (n,) float64
        Its coordinates.
    noise : NoiseModel
        What the residuals there say about the noise.
    motion : Motion
        What it means, as far as the residuals tell.
    """

    position: Array
    noise: NoiseModel
    motion: Motion

    def same(self, other: Likely) -> bool:
        """Whether both describe the same motion within the larger errors."""
        return self.motion.same(other.motion) or other.motion.same(self.motion)


def most_likely(
    passes: ReducedPasses,
    coordinates: Coordinates,
    position: Array,
    *,
    until_noise: bool = False,
    steps: int = STEPS,
    least_rise: float = RISE,
    drift: bool = False,
    photons: Array | None = None,
) -> tuple[Likely, Gathered]:
    """Climb from an optimum of least squares to the most likely parameters near it.

    Without speckle noise the optimum is that already.

    Parameters
    ----------
    passes : ReducedPasses
        Any level of the ladder that the noise can be estimated from.
    coordinates : Coordinates
    position : (n,) float64
        Coordinates of the optimum.
    until_noise : bool
        Stop as soon as the residuals are at the noise level.
    steps : int
        At most.
    least_rise : float
        Log-likelihood that a step must gain to be followed by another.
    drift : bool
        Let the gain of each angle change linearly over the series.
    photons : (n_phi,) float64, optional
        Of a speckle in a frame, where they are known.

    Returns
    -------
    Likely
    Gathered
        The blocks of residuals there.

    Raises
    ------
    FitError
        If there are fewer blocks of data than parameters.
    """
    free, q = coordinates.problem.free, passes.series.q

    def look(x: Array, photons: Array | None = None) -> tuple[Gathered, NoiseModel]:
        gathered = gather(passes, coordinates.decode(x), free, drift=drift)
        return gathered, noise_in(gathered, q, len(free), photons)

    def canonical(x: Array) -> Array:
        return coordinates.encode(coordinates.canonical(coordinates.decode(x)))

    position = canonical(position)
    gathered, noise = look(position, photons)
    sums = _weighted_at(gathered, noise, coordinates, position)
    for _ in range(steps):
        if not noise.sees_speckles or (until_noise and noise.at_noise_level):
            break
        low = np.clip(coordinates.lower - position, -LONGEST, -1e-9)
        high = np.clip(coordinates.upper - position, 1e-9, LONGEST)
        turning = np.array([name == "direction" for name in coordinates.names])
        low[turning], high[turning] = -LONGEST, LONGEST
        residual, jacobian = small_problem(sums.squares, sums.gradient, sums.information)
        step = lsq_linear(jacobian, -residual, bounds=(low, high), method="bvls").x
        for part in SHORTER:
            ahead = position + part * step
            blocks, there = look(ahead, noise.photons)
            sums_there = _weighted_at(blocks, there, coordinates, ahead)
            if (rise := sums_there.log_likelihood - sums.log_likelihood) > 0.0:
                break
        else:
            break
        position, gathered, noise, sums = ahead, blocks, there, sums_there
        if rise < least_rise:
            break
    if not np.allclose(shown := canonical(position), position, rtol=1e-9, atol=1e-9):
        position, gathered = shown, gather(passes, coordinates.decode(shown), free, drift=drift)
        sums = _weighted_at(gathered, noise, coordinates, position)
    return Likely(position, noise, Motion.of(coordinates, position, sums.information, passes.series)), gathered


def _weighted_at(gathered: Gathered, noise: NoiseModel, coordinates: Coordinates, position: Array) -> WeightedSums:
    """Sums with derivatives with respect to the coordinates."""
    return weighted_sums(gathered, noise, coordinates.linearise(position)[1][list(coordinates.problem.free)])


class WeightedSums(NamedTuple):
    """χ² in which the covariance of the noise weights the blocks, after offset and contrast of each angle.

    Attributes
    ----------
    squares : float
        χ².
    gradient : (n,) float64
        Half of its derivatives.
    information : (n, n) float64
        Fisher information: the inverse of the covariance of the estimates.
    log_likelihood : float
        Of all residuals, those included that parameters could absorb: what a step must raise. That of the noise model
        leaves them out, so that it hardly changes along a step.
    """

    squares: float
    gradient: Array
    information: Array
    log_likelihood: float


def weighted_sums(gathered: Gathered, noise: NoiseStrength, slope: Array) -> WeightedSums:
    """Sums over the blocks, weighted with the covariance of the noise.

    Parameters
    ----------
    gathered : Gathered
    noise : NoiseStrength
    slope : (p, n) float64
        Derivatives of the free parameters with respect to the coordinates.
    """
    squares, gradient, information = 0.0, np.zeros(slope.shape[1]), np.zeros((slope.shape[1],) * 2)
    spread = 0.0
    for m, angle in enumerate(gathered.angles):
        covariance = angle.prediction.of(float(noise.photons[m])).covariance / noise.speckles[m]
        covariance[np.diag_indices_from(covariance)] += noise.sigma_white[m] ** 2
        columns = np.column_stack([angle.scaling, angle.rest["contrast"] * (angle.slopes @ slope), angle.residual])
        root = np.linalg.cholesky(covariance)
        whitened = solve_triangular(root, columns, lower=True, check_finite=False)
        scales = angle.scaling.shape[1]
        basis = np.linalg.qr(whitened[:, :scales])[0]
        whitened = whitened[:, scales:] - basis @ (basis.T @ whitened[:, scales:])
        jacobian, residual = whitened[:, :-1], whitened[:, -1]
        squares += float(residual @ residual)
        gradient -= jacobian.T @ residual
        information += jacobian.T @ jacobian
        spread += float(np.sum(np.log(np.diagonal(root))))
    return WeightedSums(squares, gradient, information, -0.5 * squares - spread)
