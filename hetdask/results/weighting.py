"""Weights of a fit, and what ordinary least squares would say, as they stand in result.json."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from hetdask.model.parameters import NAMES
from hetdask.results.part import Part, finite

if TYPE_CHECKING:
    from hetdask.fitting import Refinement
    from hetdask.fitting.uncertainty import Uncertainty
    from hetdask.fitting.weighted import Weighted


class PlainEstimate(Part):
    """One parameter by ordinary least squares."""

    value: float
    stderr: float | None = Field(description="Standard error; null where the data do not determine it.")


class WeightingResult(Part):
    """Weights that were asked for, and what came of it."""

    used: Literal["speckle", "plain"] = Field(
        description="speckle: parameters and errors are those of a fit weighted with the covariance of white and "
        "speckle noise. plain: ordinary least squares stands, see note."
    )
    note: str = Field(description="Why these weights.")
    drift: list[float] = Field(
        [], description="Relative change of c2 over the series that the weighted fit took out, for each map."
    )
    blocks: int | None = Field(description="Block means of all maps that were weighted; null for plain weights.")
    plain: dict[str, PlainEstimate] = Field(
        description="Free parameters by ordinary least squares, for comparison; empty where that is the result."
    )


def weighting_result(found: Weighted | str, plain: Refinement, uncertainty: Uncertainty) -> WeightingResult:
    """What is recorded of a weighted fit, or of the reason why there is none."""
    if isinstance(found, str):
        return WeightingResult(used="plain", note=found, blocks=None, plain={})
    values = dict(zip(NAMES, plain.values.tolist(), strict=True))
    errors = zip(plain.free, uncertainty.stderr.tolist(), strict=True)
    return WeightingResult(
        used="speckle",
        note=found.uncertainty.reason,
        drift=found.drift,
        blocks=found.blocks,
        plain={name: PlainEstimate(value=values[name], stderr=finite(error)) for name, error in errors},
    )
