"""Errors by refits, beside the standard errors: bootstrap and profiles in the JSON contract and in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from pydantic import Field

from hetdask.fitting.profile import LEVELS, Ending
from hetdask.results.formatting import sentence
from hetdask.results.part import Part

if TYPE_CHECKING:
    from hetdask.fitting import Refinement
    from hetdask.fitting.bootstrap import Bootstrap
    from hetdask.fitting.profile import Profile
    from hetdask.fitting.refits import Refits
    from hetdask.fitting.uncertainty import Uncertainty

INTERVALS: Final = {"interval_68": (100.0 * 0.158655, 100.0 * 0.841345), "interval_95": (2.5, 97.5)}
"""Percentiles at both ends: one and 1.96 standard deviations of a normal distribution."""

MANY_FAILED: Final = 0.05
"""Share of refits that did not converge, or ended at a bound, from which on a reader should know of it."""

BETTER: Final = 0.05
"""Fall of the deviance along a profile that is more than rounding."""

DIFFERS: Final = 0.25
"""Relative difference between the scatter of the refits and the standard error that is worth a word."""


class BootstrapParameter(Part):
    """One parameter over the refits, in its unit."""

    stderr: float = Field(description="Standard deviation of the refits.")
    bias: float = Field(description="Median of the refits less the value of the fit, from which they are simulated.")
    interval_68: tuple[float, float] = Field(description="Percentiles 15.9 and 84.1 of the refits.")
    interval_95: tuple[float, float] = Field(description="Percentiles 2.5 and 97.5 of the refits.")


class BootstrapResult(Part):
    """Scatter of refits of experiments simulated from the fit."""

    experiments: int = Field(description="That were simulated; 0 where there was no bootstrap, see note.")
    failed: int = Field(description="Refits that did not converge; they are left out.")
    level: int | None = Field(description="Level of the reduction ladder on which the refits ran; null without any.")
    retained_information: float | None = Field(
        description="Share of the Fisher information of the pixels that block means of this level keep."
    )
    seconds: float
    note: str = Field(description="What was done, or why nothing was.")
    at_bound: dict[str, float] = Field(
        description="Share of the refits that ended at a bound of a parameter; those with none are left out."
    )
    parameters: dict[str, BootstrapParameter] = Field(description="Those that the data determine.")


class ProfileParameter(Part):
    """Profile of one parameter, in its unit."""

    optimum: float = Field(description="Where chi-squared of the block means is lowest; near the value of the fit.")
    scale: float = Field(
        description="Rise of chi-squared that stands for a deviance of 1: variance of the parameter over its variance "
        "for independent pixels."
    )
    interval_68: tuple[float | None, float | None] = Field(
        description="Where the deviance is 1; null where it stays below: the interval is open there."
    )
    interval_95: tuple[float | None, float | None] = Field(description="The same where it is 3.84.")
    endings: tuple[Ending, Ending] = Field(
        description="Why the profile ends, to lower and to higher values. reached: the deviance is beyond 3.84. bound: "
        "of the parameter. flat: it hardly rises. failed: no fit converged further on."
    )
    values: list[float] = Field(description="Values at which the parameter was held, growing.")
    deviance: list[float] = Field(description="Rise of chi-squared of the best fit with this value, over the scale.")


class ProfilesResult(Part):
    """Profiles of the parameters for which they were asked."""

    level: int | None = Field(description="Level of the reduction ladder on which the fits ran; null without any.")
    retained_information: float | None = Field(
        description="Share of the Fisher information of the pixels that block means of this level keep."
    )
    seconds: float
    note: str = Field(description="What was done, or why nothing was.")
    parameters: dict[str, ProfileParameter]


def no_profiles(reason: str) -> ProfilesResult:
    """Result of profiles that were asked for and can't be made."""
    note = f"no profiles: {reason}"
    return ProfilesResult(level=None, retained_information=None, seconds=0.0, note=note, parameters={})


def profiles_result(
    found: Sequence[Profile], refits: Refits, uncertainty: Uncertainty, seconds: float
) -> ProfilesResult:
    """Intervals and points of profiles."""
    noise = {
        "speckle": "the rise of chi-squared is measured in units that speckle noise sets",
        "iid": "pixels count as independent, so intervals are too narrow where speckle noise counts",
    }[uncertainty.kind]
    return ProfilesResult(
        level=refits.level,
        retained_information=refits.retained,
        seconds=seconds,
        note=(
            "the other parameters fitted anew at every value, on block means that keep "
            f"{retained_text(refits.retained)} of the information in the pixels; {noise}"
        ),
        parameters={
            one.name: ProfileParameter(
                optimum=one.optimum,
                scale=one.scale,
                interval_68=one.ends(LEVELS["interval_68"]),
                interval_95=one.ends(LEVELS["interval_95"]),
                endings=one.endings,
                values=one.values.tolist(),
                deviance=one.deviance.tolist(),
            )
            for one in found
        },
    )


def no_bootstrap(reason: str) -> BootstrapResult:
    """Result of a bootstrap that was asked for and can't be done."""
    return BootstrapResult(
        experiments=0,
        failed=0,
        level=None,
        retained_information=None,
        seconds=0.0,
        note=f"no bootstrap: {reason}",
        at_bound={},
        parameters={},
    )


def bootstrap_result(found: Bootstrap, fit: Refinement, uncertainty: Uncertainty) -> BootstrapResult:
    """Standard deviations and intervals of the refits."""
    experiments, values = len(found.estimates) + found.failed, dict(zip(fit.free, found.estimates.T, strict=True))
    start = dict(zip(fit.free, found.start.tolist(), strict=True))
    known = [name for name, one in zip(fit.free, uncertainty.identifiability.identified, strict=True) if one]
    parameters = {}
    if len(found.estimates) > 1:
        for name in known:
            ends = {key: tuple(np.percentile(values[name], levels).tolist()) for key, levels in INTERVALS.items()}
            parameters[name] = BootstrapParameter(
                stderr=float(np.std(values[name], ddof=1)),
                bias=float(np.median(values[name])) - start[name],
                **ends,
            )
    return BootstrapResult(
        experiments=experiments,
        failed=found.failed,
        level=found.level,
        retained_information=found.retained,
        seconds=found.seconds,
        note=(
            f"{experiments} experiments simulated from the fit, with white and speckle noise of the strengths that the "
            f"residuals show, and fitted again on block means that keep {retained_text(found.retained)} of the "
            "information in the pixels"
        ),
        at_bound={name: share for name, share in zip(fit.free, found.at_bound.tolist(), strict=True) if share > 0.0},
        parameters=parameters,
    )


def retained_text(share: float) -> str:
    """Share of the information in per cent, never rounded up to all of it.

    Examples
    --------
    >>> retained_text(0.99981), retained_text(0.912), retained_text(1.0)
    ('99.9 %', '91.2 %', '100 %')
    """
    return "100 %" if share >= 1.0 - 1e-9 else f"{math.floor(1000.0 * share) / 10.0:.1f} %"


def bootstrap_concerns(bootstrap: BootstrapResult, stderr: dict[str, float | None]) -> Iterator[str]:
    """What a reader must know of a bootstrap, in sentences.

    Parameters
    ----------
    bootstrap : BootstrapResult
    stderr : dict of str to float or None
        Standard errors of the parameters.
    """
    if not bootstrap.experiments:
        yield sentence(bootstrap.note)
        return
    if bootstrap.failed > MANY_FAILED * bootstrap.experiments:
        failed = f"{bootstrap.failed} of {bootstrap.experiments} refits"
        yield f"{failed} of the bootstrap did not converge and are left out."
    held = [f"{name} ({share:.0%})" for name, share in bootstrap.at_bound.items() if share > MANY_FAILED]
    if held:
        yield (
            f"Refits of the bootstrap ended at a bound of {', '.join(held)}: intervals are cut short by it, those of "
            "other parameters too, and standard errors do not know of it."
        )
    # The standard deviation of B refits is itself known to 1/√(2B).
    chance = 2.0 / math.sqrt(2.0 * max(bootstrap.experiments - bootstrap.failed, 1))
    apart = [
        name
        for name, one in bootstrap.parameters.items()
        if (error := stderr.get(name)) and abs(one.stderr / error - 1.0) > DIFFERS + chance
    ]
    if apart:
        yield (
            f"The scatter of the bootstrap's refits differs from the standard error of {', '.join(apart)} by more than "
            f"{DIFFERS:.0%}: the problem is not linear over these errors; take the intervals of the bootstrap."
        )


def profile_concerns(profiles: ProfilesResult) -> Iterator[str]:
    """What a reader must know of profiles, in sentences."""
    if not profiles.parameters:
        yield f"{profiles.note[:1].upper()}{profiles.note[1:]}."
    for name, one in profiles.parameters.items():
        sides = [
            open_end(one, side, f"{name} is open {way}")
            for side, way in enumerate(("below", "above"))
            if one.interval_95[side] is None
        ]
        yield from sides
        lowest = min(one.deviance)
        if lowest < -BETTER:
            value = one.values[one.deviance.index(lowest)]
            yield (
                f"The profile of {name} found a lower chi-squared at {name} = {value:.6g}, by {-lowest:.2g} in units "
                "of its noise: the fit stopped at a local minimum; start there, or search (--start search)."
            )


def open_end(profile: ProfileParameter, side: int, what: str) -> str:
    """Why an interval of 95 % has no end on a side, 0 below and 1 above, in a sentence that begins with `what`."""
    reached, last = max(profile.deviance[-side], 0.0), profile.values[-side]
    limit = {
        "bound": f"its bound {last:.6g} lies within",
        "flat": f"chi-squared hardly rises as far as {last:.6g}",
        "failed": f"no fit converged beyond {last:.6g}",
        "reached": f"chi-squared falls again towards {last:.6g}",
    }[profile.endings[side]]
    return f"The 95 % interval of {what}: {limit} (deviance {reached:.2g} there, 3.84 at its end)."
