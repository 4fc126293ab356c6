"""The verdict on a fit: a level of quality, and what it means and asks for in words.

Levels have the names of the package heterodyne-analysis. They are told by a reduced χ² that means something, the mean
square residual over that of white and speckle noise; residuals that noise does not leave are never excellent, and those
with a structure that noise does not have are a warning at best.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np

from hetdask.fitting.goodness import CheckName, Goodness

type Quality = Literal["excellent", "acceptable", "warning", "poor", "critical"]
QUALITIES: Final[tuple[Quality, ...]] = get_args(Quality.__value__)
"""The best first."""

SHOWN_ANGLES: Final = 8
"""Angles that are named."""

CERTAIN: Final = 1e-6
"""Smaller probabilities are not told apart."""

STRUCTURE: Final[dict[CheckName, str]] = {
    "lag": "parts of the maps that are neighbours along the lag deviate together",
    "time": "deviations persist over time at the same lag",
    "angles": "broad patterns over lag and time stand out from the noise",
    "common": "the maps of all angles deviate in the same way",
}
"""What a check has found, in words."""

GOOD: Final = "The residuals are what noise leaves: nothing in them speaks against the model"
LARGE: Final = "The residuals are larger than noise leaves"
SYSTEMATIC: Final = "The residuals are not noise: the model does not describe these data"


@dataclass(frozen=True, slots=True)
class QualityLevels:
    """When a fit is good.

    Attributes
    ----------
    significance : float
        Residuals that noise leaves with a smaller probability speak against the model.
    overall : 4 floats
        Highest level of an excellent, acceptable, doubtful and poor fit, for the mean of all angles.
    per_angle : 3 floats
        Highest level of an excellent, acceptable and doubtful angle.
    outlier_multiplier : float
        An angle so many standard deviations above the mean is an outlier.
    max_outlier_fraction : float
        Share of outliers, or of poor angles, that a good fit may have.
    min_good_angles : int
        Acceptable angles that it needs, if there are so many.
    """

    significance: float = 0.01
    overall: tuple[float, ...] = (2.0, 5.0, 10.0, 20.0)
    per_angle: tuple[float, ...] = (2.0, 5.0, 10.0)
    outlier_multiplier: float = 2.5
    max_outlier_fraction: float = 0.25
    min_good_angles: int = 2


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the residuals say about a fit.

    Attributes
    ----------
    quality : str
        One of `QUALITIES`, of the whole fit.
    angles : tuple of str
        The same of each angle.
    consistent : bool
        Whether the residuals are what noise leaves.
    text : str
    recommendations : tuple of str
        Sentences.
    """

    quality: Quality
    angles: tuple[Quality, ...]
    consistent: bool
    text: str
    recommendations: tuple[str, ...]


def judge(goodness: Goodness, phi: Sequence[float], levels: QualityLevels) -> Verdict:
    """Verdict on residuals, of maps at the angles `phi` (n_phi,) in degrees."""
    count, mean = goodness.level.size, float(np.mean(goodness.level))
    limit = levels.significance
    clear = goodness.level_p_value < limit / count
    angles = tuple(
        _worst(_level(float(level), levels.per_angle), "acceptable" if far else "excellent")
        for level, far in zip(goodness.level, clear, strict=True)
    )
    found = tuple(one.name for one in goodness.checks if one.p_value * len(goodness.checks) < limit)
    structure = [name for name in found if name in STRUCTURE]
    outliers = goodness.level > mean + levels.outlier_multiplier * np.std(goodness.level)
    most = levels.max_outlier_fraction * count
    good = sum(one in {"excellent", "acceptable"} for one in angles)
    quality = _worst(
        _level(mean, levels.overall),
        "acceptable" if found or clear.any() else "excellent",
        "warning" if structure or np.count_nonzero(outliers) > most else "excellent",
        "poor" if good < min(levels.min_good_angles, count) or angles.count("poor") > most else "excellent",
    )
    consistent = goodness.p_value >= limit
    if consistent:
        text = f"{GOOD}. Noise alone would look as bad as this or worse {odds(goodness.p_value)}."
    else:
        text = f"{SYSTEMATIC if structure else LARGE}. Noise alone would look as bad {odds(goodness.p_value)}"
        text += f": {'; '.join(STRUCTURE[name] for name in structure)}." if structure else "."
    far = [(angle, float(goodness.level[m])) for m, angle in enumerate(phi) if clear[m] or angles[m] == "poor"]
    return Verdict(quality, angles, consistent, text, tuple(_recommendations(bool(structure), found, far, count)))


def odds(p_value: float) -> str:
    """A probability in words.

    Examples
    --------
    >>> odds(0.43), odds(0.0003), odds(1e-30)
    ('in 43 of 100 experiments', 'in 1 of 3,300 experiments', 'in fewer than one of a million experiments')
    """
    if p_value < CERTAIN:
        return "in fewer than one of a million experiments"
    if p_value >= 0.01:
        return f"in {100.0 * p_value:.0f} of 100 experiments"
    return f"in 1 of {float(f'{1.0 / p_value:.2g}'):,.0f} experiments"


def _level(value: float, limits: Sequence[float]) -> Quality:
    return QUALITIES[int(np.searchsorted(limits, value))]


def _worst(*qualities: Quality) -> Quality:
    return max(qualities, key=QUALITIES.index)


def _recommendations(
    structure: bool, found: Sequence[CheckName], far: Sequence[tuple[float, float]], count: int
) -> Iterator[str]:
    """What to do about it."""
    if structure or "level" in found:
        yield (
            "Look at the residual maps for bands and fringes. A further component, a beam or sample that drifts, or "
            "rates that follow no power law of time leave them: free parameters that are fixed, or fit fewer frames "
            "(data.frames) over which the model may hold."
        )
        yield (
            "Do not quote the parameters with their errors: they describe a model that these data do not follow. If "
            "the maps were smoothed or averaged, fit them as they were measured."
        )
    if far:
        named = ", ".join(f"{angle:g}° ({level:.1f} times)" for angle, level in far[:SHOWN_ANGLES])
        more = f" and {len(far) - SHOWN_ANGLES} more" if len(far) > SHOWN_ANGLES else ""
        yield (
            f"The mean square residual is above that of noise at {named}{more}, {len(far)} of {count} maps: look at "
            "their data, and leave them out (data.angles) where something other than the sample changed."
        )
