"""What all parts of the JSON contract have in common."""

from __future__ import annotations

import math

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """Part of a result: immutable, without NaN, and with no other fields than its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)


def finite(value: float) -> float | None:
    """`value` as a plain float, None where it is not finite: how numbers enter the JSON contract."""
    value = float(value)
    return value if math.isfinite(value) else None
