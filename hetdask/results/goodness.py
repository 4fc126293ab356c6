"""The verdict on the residuals of a fit, as it stands in result.json and result.zarr."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from pydantic import Field

from hetdask.results.part import Part

if TYPE_CHECKING:
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
