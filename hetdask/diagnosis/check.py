"""One line of the doctor's report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from hetdask.errors import HetdaskError

type Level = Literal["ok", "warn", "bad"]

LEVELS: Final[tuple[Level, ...]] = ("ok", "warn", "bad")
"""From the best to the worst. warn: fits run, but slower or otherwise than they could; bad: some can't run."""


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at.

    Attributes
    ----------
    name : str
        What: "memory".
    level : {"ok", "warn", "bad"}
    found : str
        What there is.
    advice : str
        What to change; empty where nothing has to be.
    """

    name: str
    level: Level
    found: str
    advice: str = ""


def worst(checks: Iterable[Check]) -> Level:
    """The worst level of some checks."""
    return max((check.level for check in checks), key=LEVELS.index, default="ok")


def guarded(name: str, look: Callable[[], Iterable[Check]]) -> Iterator[Check]:
    """Checks of `look`; an error of ours says what is bad, and in the lines after the first what helps."""
    try:
        yield from look()
    except HetdaskError as error:
        found, *advice = (line.strip() for line in str(error).splitlines())
        yield Check(name, "bad", found, "; ".join(advice))


def record(checks: Iterable[Check]) -> list[dict[str, Any]]:
    """Checks as plain data."""
    return [asdict(check) for check in checks]
