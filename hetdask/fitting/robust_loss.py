"""Fits that outliers cannot pull away: losses that grow slower than squares, by reweighted passes.

A pass weights each pixel by the derivative of its loss at the point of the pass. The loss is a concave function of the
square, so a small problem with the weighted sums as derivatives and the loss as its value exists, and scipy's trust
region works on that as it does on least squares. Contrasts and offsets are unknowns like the parameters. The scale of
the residuals of each angle follows from the residuals, in turns with the rest. A frame whose pixels have little weight
on average is left out altogether: where the model is low anyway, its pixels would not stand out one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from hetdask.fitting.methods import TRUST_REGION_ENDINGS, Ending, Outliers
from hetdask.fitting.normal_problem import small_problem
from hetdask.fitting.objective import Objective
from hetdask.fitting.outliers import Region, bad_frames, find_outliers
from hetdask.passes.normal import NormalSums, project
from hetdask.passes.weighted import HuberLoss, Loss, LossSums, StudentTLoss, Weighting

Array = NDArray[np.float64]

MOST_SCALES: Final = 60
"""Turns of scale and parameters."""

SCALE_FOUND: Final = 1e-4
"""Relative change of all scales at which they are found."""

MOST_CHOICES: Final = 6
"""Turns of frames to leave out and everything else."""

UNSETTLED: Final = f"the frames to leave out did not settle in {MOST_CHOICES} turns"
DONE: Final = "neither the loss nor the scales of the residuals nor the frames left out change within the tolerance"

ROUGH_TOLERANCE: Final = 1e-4
"""Tolerance of the loss while the scales are far off."""

ROUGHLY: Final = 1e-2
"""Above this change of a scale the parameters need not be exact."""


def loss_problem(sums: LossSums, contrast: Array, offset: Array, scale: Array) -> tuple[Array, Array]:
    """Small problem (q + 1,) and (q + 1, q) of a loss in parameters, contrasts and offsets, q = p + 2 n_phi."""
    n_phi, p = contrast.size, sums.weighted.shape[1] - 3
    gradient, curvature = np.zeros(p + 2 * n_phi), np.zeros((p + 2 * n_phi, p + 2 * n_phi))
    for m in range(n_phi):
        # The residual, and its derivatives by parameters, contrast and offset, in terms of (1, g, D, e).
        residual = np.zeros(p + 3)
        residual[0], residual[1], residual[-1] = -offset[m], -contrast[m], 1.0
        slopes = np.zeros((p + 3, p + 2))
        slopes[2:-1, :p] = -contrast[m] * np.eye(p)
        slopes[1, p] = slopes[0, p + 1] = -1.0
        place = np.array([*range(p), p + m, p + n_phi + m])
        products = slopes.T @ sums.weighted[m] / scale[m] ** 2
        gradient[place] += products @ residual
        curvature[np.ix_(place, place)] += products @ slopes
    return small_problem(float(sums.loss.sum()), gradient, curvature)


class _Minimiser:
    """The unknowns z = (parameters, contrasts, offsets) of an objective, its scales, and the frames left out."""

    def __init__(self, loss: Loss, objective: Objective, start: Array, limit: int, tolerance: float) -> None:
        plain = objective.evaluate(start)
        self.z = np.concatenate([start, plain.contrast, plain.offset])
        self.scale = np.sqrt(np.maximum(plain.sum_squares, np.finfo(np.float64).tiny) / plain.n_points)
        self.left_out: tuple[tuple[int, ...], ...] = ((),) * plain.contrast.size
        self.iterations = 0
        self._loss, self._objective, self._left, self._tolerance = loss, objective, limit, tolerance
        self._parts = np.array([start.size, start.size + plain.contrast.size])
        self._seen: dict[str, LossSums] = {}

    def split(self, z: Array) -> tuple[Array, Array, Array]:
        """Parameters, contrasts and offsets."""
        x, contrast, offset = np.split(z, self._parts)
        return x, contrast, offset

    def _weighting(self, z: Array) -> Weighting:
        _, contrast, offset = self.split(z)
        return Weighting(
            self._loss, tuple(contrast.tolist()), tuple(offset.tolist()), tuple(self.scale.tolist()), self.left_out
        )

    def sums(self, z: Array) -> LossSums:
        """Sums at z; the last two points are remembered."""
        key = repr((z.tobytes(), self.scale.tobytes(), self.left_out))
        if key not in self._seen:
            while len(self._seen) > 1:
                self._seen.pop(next(iter(self._seen)))
            self._seen[key] = self._objective.weighted(self.split(z)[0], self._weighting(z))
        return self._seen[key]

    def places(self) -> LossSums:
        """Sums by frames at the present point."""
        return self._objective.places(self.split(self.z)[0], self._weighting(self.z))

    def _problem(self, z: Array) -> tuple[Array, Array]:
        return loss_problem(self.sums(z), *self.split(z)[1:], self.scale)

    def minimise(self, bounds: tuple[Array, Array], accuracy: float) -> int:
        """Minimise the loss for the present scales; scipy's status."""
        solution = least_squares(
            lambda z: self._problem(z)[0],
            self.z,
            jac=lambda z: self._problem(z)[1],
            bounds=bounds,
            x_scale="jac",
            ftol=accuracy,
            xtol=accuracy,
            gtol=accuracy,
            max_nfev=self._left,
        )
        self.z = np.asarray(solution.x)
        self._left -= int(solution.nfev)
        self.iterations += int(solution.njev)
        return int(solution.status) if self._left > 0 else 0

    def settle(self, bounds: tuple[Array, Array]) -> str | None:
        """Minimise the loss and find the scales in turns until both hold; what is wrong if they do not."""
        rough = True
        for _ in range(MOST_SCALES):
            if self.minimise(bounds, ROUGH_TOLERANCE if rough else self._tolerance) <= 0:
                return TRUST_REGION_ENDINGS[0]
            ratio = np.sqrt(np.maximum(self._loss.rescaled(self.sums(self.z)), np.finfo(np.float64).tiny))
            change = float(np.abs(np.log(ratio)).max())
            if change <= SCALE_FOUND and not rough:
                return None
            rough = change > ROUGHLY
            if change > SCALE_FOUND:
                self.scale = self.scale * ratio
        return f"the scales of the residuals did not settle in {MOST_SCALES} turns"


def _minimise_loss(
    loss: Loss, objective: Objective, start: Array, lower: Array, upper: Array, limit: int, tolerance: float
) -> Ending:
    state = _Minimiser(loss, objective, start, limit, tolerance)
    free = np.full(state.z.size - start.size, np.inf)
    bounds = (np.concatenate([lower, -free]), np.concatenate([upper, free]))
    wrong = state.settle(bounds)
    places = state.places()
    for _ in range(MOST_CHOICES):
        frames = bad_frames(places)
        if wrong is not None or frames == state.left_out:
            break
        state.left_out = frames
        wrong, places = state.settle(bounds), state.places()
    else:
        wrong = UNSETTLED
    outliers = _outliers(state.sums(state.z), state.scale, find_outliers(places, objective.block))
    return Ending(state.split(state.z)[0], wrong is None, wrong or DONE, state.iterations, outliers=outliers)


def _outliers(sums: LossSums, scale: Array, regions: tuple[Region, ...]) -> Outliers:
    """Scaling, errors and regions of small weight at the end."""
    scaling = project(NormalSums(sums.weighted))
    # Influence over slope gives the errors of a location (doi:10.1214/aoms/1177703732); of slopes alike, for weights
    # that do not depend on what is fitted.
    variance = scale**2 * (sums.influence / sums.n_points) / (sums.slope / sums.n_points) ** 2
    sigma = np.sqrt(variance * sums.weight / sums.n_points)
    return Outliers(
        contrast=scaling.contrast,
        offset=scaling.offset,
        scale=scale,
        precision=scaling.weighted(sigma)[2],
        regions=regions,
    )


@dataclass(frozen=True, slots=True)
class Huber:
    """Squares for small residuals, absolute values beyond a threshold.

    Attributes
    ----------
    threshold : float
        In units of the scale; 1.345 gives errors within 5 % of those of least squares where noise is normal.
    max_evaluations : int
        Passes allowed.
    tolerance : float
        As of `TrustRegion`, of the loss.
    """

    name: ClassVar[str] = "huber"
    derivatives: ClassVar[bool] = True
    threshold: float = 1.345
    max_evaluations: int = 200
    tolerance: float = 1e-8

    def solve(self, objective: Objective, start: Array, lower: Array, upper: Array) -> Ending:
        """Minimise from `start` (p,) within bounds (p,)."""
        loss = HuberLoss(self.threshold)
        return _minimise_loss(loss, objective, start, lower, upper, self.max_evaluations, self.tolerance)


@dataclass(frozen=True, slots=True)
class StudentT:
    """Likelihood of Student's t: pixels far off have almost no weight.

    Attributes
    ----------
    degrees_of_freedom : float
        The fewer, the less weight.
    max_evaluations, tolerance
        As of `Huber`.
    """

    name: ClassVar[str] = "student-t"
    derivatives: ClassVar[bool] = True
    degrees_of_freedom: float = 4.0
    max_evaluations: int = 200
    tolerance: float = 1e-8

    def solve(self, objective: Objective, start: Array, lower: Array, upper: Array) -> Ending:
        """Minimise from `start` (p,) within bounds (p,)."""
        loss = StudentTLoss(self.degrees_of_freedom)
        return _minimise_loss(loss, objective, start, lower, upper, self.max_evaluations, self.tolerance)
