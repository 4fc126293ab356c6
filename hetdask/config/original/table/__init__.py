"""Every key of heterodyne-analysis 1.0, and what becomes of it here; translation, warnings and docs read this alone."""

from __future__ import annotations

from typing import Final

from hetdask.config.original.key import ANYTHING, Key
from hetdask.config.original.table import experiment, optimization, output, performance

TABLE: Final[dict[str, Key]] = {
    key.path: key for part in (experiment, optimization, performance, output) for key in part.KEYS
}
"""By path, in the order of the templates; where several keys set the same native key, the later one counts."""


def find(path: str) -> Key | None:
    """Entry of a key, or of the nearest section around it that has one."""
    if path in TABLE:
        return TABLE[path]
    while "." in path:
        path = path.rpartition(".")[0]
        if (section := TABLE.get(f"{path}.{ANYTHING}")) is not None:
            return section
    return None
