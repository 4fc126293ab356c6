"""What all parts of the JSON contract have in common."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, JsonValue


class Part(BaseModel):
    """Part of a result: immutable, without NaN, and with no other fields than its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)


def finite(value: float) -> float | None:
    """`value` as a plain float, None where it is not finite: how numbers enter the JSON contract."""
    value = float(value)
    return value if math.isfinite(value) else None


def json_clean(value: object) -> JsonValue:
    """`value` as plain JSON: arrays become lists, NaN and infinities null, anything else its text."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return finite(value)
    if isinstance(value, Mapping):
        return {str(key): json_clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [json_clean(item) for item in value]
    if hasattr(value, "tolist"):
        return json_clean(value.tolist())
    return str(value)


def dump_json(value: object) -> str:
    """`value` as indented JSON text without NaN."""
    return json.dumps(json_clean(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
