"""Names of the models that came before the one with 14 parameters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hetdask.model.parameters import NAMES

ELEVEN: Final = ("D0", "alpha", "D_offset", "v0", "beta", "v_offset", "f0", "f1", "f2", "f3", "phi0")
"""One transport coefficient for reference and sample."""

SHEAR: Final = {"gamma_dot_t0": "v0", "gamma_dot_t_offset": "v_offset"}
"""Shear rates, 1/s, and the velocities that stand in their place."""

SEVEN: Final = ("D0", "alpha", "D_offset", "gamma_dot_t0", "beta", "gamma_dot_t_offset", "phi0")
"""One component in laminar shear."""

BY_COUNT: Final = {len(names): names for names in (NAMES, ELEVEN, SEVEN)}
"""Names of start values where a file has none."""

COMMON: Final = ("D0", "alpha", "D_offset")

FRACTIONS: Final = ("f0", "f1", "f3")
"""Parameters that a file without them cannot have meant to hold."""


def present(name: str) -> tuple[str, ...]:
    """Parameters that have the value and bounds of an earlier one; none for shear rates, which are no velocities."""
    if name in COMMON:
        return f"{name}_ref", f"{name}_sample"
    return () if name in SHEAR else (name,)


def free(names: Iterable[str]) -> list[str]:
    """Parameters that move where these earlier ones did."""
    given = list(names)
    moving = [one for name in given for one in ((SHEAR[name],) if name in SHEAR else present(name))]
    return [*moving, *(FRACTIONS if not SHEAR.keys().isdisjoint(given) else ())]


def explain(names: Iterable[str]) -> str | None:
    """What becomes of start values and bounds of earlier models; None where there are none."""
    given = set(names)
    if not given.isdisjoint(SHEAR):
        return (
            "of a model with one component in shear: D0, alpha and D_offset count for reference and sample, shear "
            "rates are no velocities, and the fit begins with a search within the bounds"
        )
    if not given.isdisjoint(COMMON):
        return (
            "of a model with one transport coefficient: D0, alpha and D_offset count for reference and sample, which "
            "start as one"
        )
    return None
