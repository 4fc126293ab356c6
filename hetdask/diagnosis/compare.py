"""Whether this run of a benchmark differs from an earlier one by more than its times scatter."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from hetdask.diagnosis.bench import SCHEMA
from hetdask.errors import ConfigError

REACH: Final = 2.0
"""Times so many standard deviations apart are told as different."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure of two runs.

    Attributes
    ----------
    name : str
    ratio : float
        Median of this run over that of the earlier one: above 1 is slower.
    spread : float
        Standard deviation of the ratio's logarithm that the scatter of single runs explains.
    """

    name: str
    ratio: float
    spread: float

    @property
    def verdict(self) -> Literal["slower", "faster", "within the spread"]:
        """What the ratio says."""
        if abs(math.log(self.ratio)) <= REACH * self.spread:
            return "within the spread"
        return "slower" if self.ratio > 1.0 else "faster"


def read_record(path: Path) -> dict[str, Any]:
    """An earlier run.

    Raises
    ------
    ConfigError
        If the file is none.
    """
    expected = "expected a file that `hetdask bench --json FILE` has written"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"can't read {path} ({error.strerror}): {expected}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is no JSON: {expected}") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise ConfigError(f"{path} is no record of a benchmark ({SCHEMA}): {expected}")
    return content


def require_same_work(now: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    """Refuse runs that did not do the same.

    Raises
    ------
    ConfigError
    """
    others = [
        f"{key}: {value} here, {before['settings'].get(key)} there"
        for key, value in now["settings"].items()
        if before["settings"].get(key) != value
    ]
    if others:
        raise ConfigError(
            f"the runs did not do the same ({'; '.join(others)}): measure again with the options of the earlier one, "
            "for example --frames, --maps, --store, --scheduler or --workers"
        )


def differences(now: Mapping[str, Any], before: Mapping[str, Any]) -> Iterator[str]:
    """What else differs: machine and versions."""
    for part in ("machine", "versions"):
        for key, value in now[part].items():
            there = before[part].get(key)
            if there != value and key != "load_average":
                yield f"{key}: {value}, then {there}"


def compare(now: Mapping[str, Any], before: Mapping[str, Any]) -> list[Comparison]:
    """Figures that both runs have.

    Examples
    --------
    >>> def run(median):
    ...     return {"figures": {"pass": {"seconds": {"median": median, "cv": 0.1}}}}
    >>> [(one.ratio, one.verdict) for one in compare(run(1.2), run(1.0)) + compare(run(2.0), run(1.0))]
    [(1.2, 'within the spread'), (2.0, 'slower')]
    """
    found = []
    for name, figure in now["figures"].items():
        if name in before["figures"]:
            here, there = figure["seconds"], before["figures"][name]["seconds"]
            found.append(Comparison(name, here["median"] / there["median"], math.hypot(here["cv"], there["cv"])))
    return found
