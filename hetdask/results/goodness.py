"""The verdict on the residuals of a fit, as it stands in result.json and result.zarr."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from pydantic import Field

from hetdask.results.formatting import frames_text
from hetdask.results.part import Part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hetdask.fitting import AngleFit
    from hetdask.fitting.deviations import Deviation
    from hetdask.fitting.goodness import Goodness
    from hetdask.fitting.quality import Verdict

CHECKS: Final = {
    "level": "size of the residuals, all maps together",
    "lag": "deviations that neighbouring lags share",
    "time": "deviations that last over time",
    "angles": "broad patterns over lag and time, map by map",
    "common": "broad patterns that all maps share",
}
"""What each check of the residuals looks at."""


class CheckResult(Part):
    """One way to look at the residuals."""

    name: Literal["level", "lag", "time", "angles", "common"] = Field(
        description="level: mean square residual of all maps. lag, time: correlation of neighbouring parts of the maps "
        "along the lag and along time. angles, common: smooth patterns over lag and time, of each map, of all alike; "
        "all but the level after the noise has been made independent."
    )
    p_value: float = Field(description="Probability that noise alone looks as bad or worse.")


class GoodnessResult(Part):
    """Whether the residuals are what white and speckle noise leave."""

    quality: Literal["excellent", "acceptable", "warning", "poor", "critical"]
    consistent: bool = Field(description="Whether p_value is at least the significance that was asked for.")
    p_value: float = Field(description="Probability that any of the checks is as bad as the worst of them by chance.")
    checks: list[CheckResult]
    text: str = Field(description="The verdict in words.")
    recommendations: list[str] = Field(description="What to do, in words; empty where nothing needs to be done.")


class OutlierResult(Part):
    """Part of a map with large residuals; frames are counted from 1, both ends included."""

    phi: float = Field(description="Azimuth of the map, degrees.")
    q: float = Field(description="Wavevector of the map, 1/Å.")
    frames: tuple[int, int] = Field(description="First and last frame of the earlier time.")
    other_frames: tuple[int, int] | None = Field(
        description="First and last frame of the later time; null where these frames deviate from all others."
    )
    excess: float = Field(description="Mean square residual over the usual one of the map.")

    def __str__(self) -> str:
        """In words."""
        where = f"{frames_text(self.frames, self.other_frames)} at {self.phi:g}°"
        return f"{where} ({self.excess:.3g} times the usual mean square)"


def outlier_result(found: Deviation, angle: AngleFit) -> OutlierResult:
    """What is recorded of a deviation."""
    (first, stop), (left, right) = found.rows, found.columns
    return OutlierResult(
        phi=angle.phi,
        q=angle.q,
        frames=(first + 1, stop),
        other_frames=None if found.whole else (left + 1, right),
        excess=float(found.excess),
    )


def outlier_line(found: Sequence[OutlierResult], most: int) -> str | None:
    """What to know of outliers, and what to do, in a sentence; None without any."""
    if not found:
        return None
    more = f" and {len(found) - most} more (result.json has all)" if len(found) > most else ""
    where = ", ".join(map(str, found[:most]))
    return (
        f"Residuals are far larger in {where}{more} than in the rest of their maps: look at these data. `--method "
        "robust` tells how far they move the parameters; its methods huber and student-t leave bad frames out."
    )


def goodness_result(goodness: Goodness, verdict: Verdict) -> GoodnessResult:
    """What is recorded of a verdict."""
    return GoodnessResult(
        quality=verdict.quality,
        consistent=verdict.consistent,
        p_value=goodness.p_value,
        checks=[CheckResult(name=check.name, p_value=check.p_value) for check in goodness.checks],
        text=verdict.text,
        recommendations=list(verdict.recommendations),
    )
