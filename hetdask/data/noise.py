"""White noise of a two-time correlation map, from the scatter of neighbouring pixels.

Neighbours along the diagonal have the same lag, so their difference holds the noise twice and hardly any signal. It
says nothing about speckle noise, which is correlated over the whole map.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

MOST_DIFFERENCES: Final = 500_000
"""More differences than this are not looked at: the estimate is then good to 0.12 %."""

LEAST_TO_CENTRE: Final = 16
"""Diagonals with fewer differences than this are not centred: that would take noise away."""

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
    First differences along the diagonal at constant lag, centred lag by lag so that a steady drift does not count;
    their median absolute deviation, then the standard deviation of what lies within four of it. Of large maps every
    n-th lag is used.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> round(white_noise(1.0 + 0.01 * rng.standard_normal((300, 300))), 4)
    0.01
    """
    lags = _differences(c2)
    if not lags:
        return math.nan
    centres = [np.median(steps) if steps.size >= LEAST_TO_CENTRE else 0.0 for steps in lags]
    centred = np.concatenate([steps - centre for steps, centre in zip(lags, centres, strict=True)])
    sigma = MAD_TO_SIGMA * float(np.median(np.abs(centred)))
    # The mean of differences is sharper than their median: noise cancels in their sum, and so do single outliers.
    reach = CLIP * sigma
    centred = np.concatenate([_centred(steps, centre, reach) for steps, centre in zip(lags, centres, strict=True)])
    squares = np.square(centred)
    for _ in range(CLIPPING_ROUNDS):
        inside = squares[squares <= (CLIP * sigma) ** 2]
        sigma = math.sqrt(float(np.mean(inside)) / CLIPPED_VARIANCE)
    return sigma / math.sqrt(2.0)


def _differences(c2: NDArray[np.floating]) -> list[NDArray[np.float64]]:
    """Differences of neighbours at constant lag, of each lag that has any."""
    n = c2.shape[0]
    total = (n - 1) * (n - 2) // 2
    step = max(1, math.ceil(total / MOST_DIFFERENCES))
    found = []
    for lag in range(1, n - 1, step):
        steps = np.diff(np.diagonal(c2, lag).astype(np.float64))
        steps = steps[np.isfinite(steps)]
        if steps.size:
            found.append(steps)
    return found


def _centred(steps: NDArray[np.float64], centre: float, reach: float) -> NDArray[np.float64]:
    """Differences of one lag less their mean, in which outliers count no more than `reach`."""
    if steps.size < LEAST_TO_CENTRE:
        return steps
    return steps - centre - np.mean(np.clip(steps - centre, -reach, reach))
