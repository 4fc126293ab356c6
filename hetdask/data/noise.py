"""White noise of a two-time correlation map, from the scatter of neighbouring pixels.

Neighbours along the diagonal have the same lag, so their third differences hold noise and hardly any signal: even an
accelerating flow, whose fringes drift by a tenth of a radian per frame at constant lag, leaves a thousandth of its
contrast. They say nothing about speckle noise, which is correlated over the whole map.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

MOST_DIFFERENCES: Final = 500_000
"""More differences than this are not looked at: the estimate is then good to 0.12 %."""

ORDER: Final = 3
"""Of the differences; diagonals with fewer pixels give lower orders."""

MAD_TO_SIGMA: Final = 1.482602218505602
"""Standard deviation of a normal distribution over its median absolute deviation."""

CLIP: Final = 4.0
"""Differences beyond this many standard deviations are outliers."""

CLIPPED_VARIANCE: Final = 1.0 - 2.0 * CLIP * math.exp(-0.5 * CLIP**2) / (
    math.sqrt(2.0 * math.pi) * math.erf(CLIP / math.sqrt(2.0))
)
"""Variance of a unit normal distribution cut at `CLIP`."""

CLIPPING_ROUNDS: Final = 3


def white_noise(c2: NDArray[np.floating]) -> float:
    """Standard deviation of the white noise of a map.

    Parameters
    ----------
    c2 : (N, N) float
        Two-time correlation; pixels above the diagonal count, NaN where a pixel is no data.

    Returns
    -------
    float
        In units of c2. NaN if there are no two neighbouring pixels.

    Notes
    -----
    Third differences along the diagonal at constant lag, scaled to the noise of one pixel; their median absolute
    deviation, then the standard deviation of what lies within four of it. Of large maps every n-th lag is used.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> round(white_noise(1.0 + 0.01 * rng.standard_normal((300, 300))), 4)
    0.01
    """
    return robust_scatter(_differences(c2))


def robust_scatter(values: NDArray[np.float64]) -> float:
    """Standard deviation about 0, outliers left out: the median absolute value, then what lies within four of it.

    NaN without values.
    """
    if values.size == 0:
        return math.nan
    sigma = MAD_TO_SIGMA * float(np.median(np.abs(values)))
    squares = np.square(values)
    for _ in range(CLIPPING_ROUNDS):
        inside = squares[squares <= (CLIP * sigma) ** 2]
        sigma = math.sqrt(float(np.mean(inside)) / CLIPPED_VARIANCE)
    return sigma


def _differences(c2: NDArray[np.floating]) -> NDArray[np.float64]:
    """Differences of neighbours at constant lag with the standard deviation of one pixel's noise."""
    n = c2.shape[0]
    total = (n - 1) * (n - 2) // 2
    step = max(1, math.ceil(total / MOST_DIFFERENCES))
    found = []
    for lag in range(1, n - 1, step):
        order = min(ORDER, n - lag - 1)
        found.append(np.diff(np.diagonal(c2, lag).astype(np.float64), order) / math.sqrt(math.comb(2 * order, order)))
    differences = np.concatenate(found)
    return differences[np.isfinite(differences)]
