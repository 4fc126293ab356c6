"""The Gauss-Newton problem of p rows that stands for all residuals, and the errors that follow from it."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

Array = NDArray[np.float64]

SINGULAR: Final = 1e-13
"""Eigenvalues of the scaled Gauss-Newton matrix below this, relative to the largest, count as zero."""

WEAK: Final = 1e-10
"""Directions with less relative curvature than this are not determined by the data."""

WEAK_SHARE: Final = 1e-2
"""A parameter with this share in such a direction is not determined either."""


def scaled_eigen(gauss_newton: Array) -> tuple[Array, Array, Array]:
    """Scale of each parameter (1 where it has no curvature), and eigenvalues and vectors of the scaled matrix."""
    scale = np.sqrt(np.maximum(np.diag(gauss_newton), 0.0))
    scale = np.where(scale > 0.0, scale, 1.0)
    values, vectors = np.linalg.eigh(gauss_newton / np.outer(scale, scale))
    return scale, values, vectors


def small_problem(chi_squared: float, gradient: Array, gauss_newton: Array) -> tuple[Array, Array]:
    """Residuals (p + 1,) and Jacobian (p + 1, p) with the given sum of squares, half gradient and half Hessian."""
    scale, values, vectors = scaled_eigen(gauss_newton)
    keep = values > SINGULAR * max(float(values[-1]), 0.0)
    root = np.sqrt(np.where(keep, values, 0.0))
    jacobian = root[:, None] * vectors.T * scale[None, :]
    projected = vectors.T @ (gradient / scale)
    residual = np.where(keep, projected / np.where(keep, root, 1.0), 0.0)
    rest = np.sqrt(max(chi_squared - float(residual @ residual), 0.0))
    return np.append(residual, rest), np.vstack([jacobian, np.zeros_like(gradient)])


def predicted_fall(residual: Array, jacobian: Array, lower: Array, upper: Array) -> float:
    """Share of χ² that the best Gauss-Newton step would take off, 0 at a minimum.

    Parameters
    ----------
    residual, jacobian : (p + 1,) and (p + 1, p) float64
        From `small_problem`.
    lower, upper : (p,) float64
        Bounds of the step.
    """
    step = lsq_linear(jacobian, -residual, bounds=(lower, upper), method="bvls")
    return 1.0 - 2.0 * float(step.cost) / max(float(residual @ residual), np.finfo(np.float64).tiny)


def iid_covariance(gauss_newton: Array) -> tuple[Array, tuple[bool, ...]]:
    """Inverse (p, p) of half a Hessian, and which parameters it determines.

    Parameters that take part in a direction without curvature are not determined: their rows are NaN.
    """
    scale, values, vectors = scaled_eigen(gauss_newton)
    moving = np.diag(gauss_newton) > 0.0
    keep = values > WEAK * max(float(values[-1]), 0.0)
    inverse = (vectors[:, keep] / values[keep]) @ vectors[:, keep].T / np.outer(scale, scale)
    loose = np.any(np.abs(vectors[:, ~keep]) > WEAK_SHARE, axis=1) | ~moving
    inverse[loose, :] = np.nan
    inverse[:, loose] = np.nan
    return inverse, tuple(bool(x) for x in ~loose)
