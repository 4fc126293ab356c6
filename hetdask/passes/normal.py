"""Partial sums of a least-squares pass, how they merge, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class NormalSums:
    """Gram matrices of (1, g, D_1..D_p, e) over pixels, one per angle.

    Here g is the model, D_k its derivatives with respect to the free parameters and e the centred
    data. Sums over disjoint pixels add, so any chunking and any order give the same answer.

    Attributes
    ----------
    gram : (n_phi, p + 3, p + 3) float64
    """

    gram: Array

    def merge(self, other: NormalSums) -> NormalSums:
        """Sums over the pixels of both; they must be disjoint."""
        return NormalSums(self.gram + other.gram)

    @classmethod
    def zeros(cls, n_phi: int, n_free: int) -> NormalSums:
        """Sums over no pixels."""
        return cls(np.zeros((n_phi, n_free + 3, n_free + 3)))


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """Least squares of each angle with its contrast and offset eliminated.

    Attributes
    ----------
    n_points : (n_phi,) float64
    contrast, offset : (n_phi,) float64
        Best linear scaling for this model; the offset is relative to the baseline.
    sum_squares : (n_phi,) float64
        Sum of squared residuals, in units of c2 squared.
    gradient : (n_phi, p) float64
        Half the derivative of `sum_squares` with respect to the free parameters.
    gauss_newton : (n_phi, p, p) float64
        Half the Gauss-Newton Hessian of `sum_squares`.
    """

    n_points: Array
    contrast: Array
    offset: Array
    sum_squares: Array
    gradient: Array
    gauss_newton: Array

    def weighted(self, sigma: Array) -> tuple[float, Array, Array]:
        """χ², half its gradient (p,) and half its Gauss-Newton Hessian (p, p) for noise `sigma` (n_phi,)."""
        weight = sigma**-2.0
        return (
            float(weight @ self.sum_squares),
            weight @ self.gradient,
            np.einsum("m,mkl->kl", weight, self.gauss_newton),
        )


def project(sums: NormalSums) -> Projection:
    """Eliminate contrast and offset of every angle (variable projection, Kaufman's approximation).

    With everything centred, contrast = Σĝê/Σĝ²; the derivatives are projected orthogonally to {1, g}.
    An angle whose model is constant has contrast 0.
    """
    gram = sums.gram
    n = gram[:, 0, 0]
    mean = gram[:, 0, :] / n[:, None]
    centred = gram - gram[:, :, :1] * mean[:, None, :]
    spread = centred[:, 1, 1]
    regular = spread > 1e-14 * np.maximum(gram[:, 1, 1], 1e-300)
    safe = np.where(regular, spread, 1.0)
    contrast = np.where(regular, centred[:, 1, -1] / safe, 0.0)
    slopes = slice(2, -1)
    to_model = centred[:, slopes, 1]
    gradient = -contrast[:, None] * (centred[:, slopes, -1] - contrast[:, None] * to_model)
    projected = centred[:, slopes, slopes] - to_model[:, :, None] * to_model[:, None, :] / safe[:, None, None]
    return Projection(
        n_points=n,
        contrast=contrast,
        offset=mean[:, -1] - contrast * mean[:, 1],
        sum_squares=np.maximum(centred[:, -1, -1] - contrast * centred[:, 1, -1], 0.0),
        gradient=gradient,
        gauss_newton=contrast[:, None, None] ** 2 * projected,
    )
