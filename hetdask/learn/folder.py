"""Where the learned start keeps its models and the user's history."""

from __future__ import annotations

import os
from pathlib import Path


def user_folder() -> Path:
    """The user's hetdask folder: HETDASK_CACHE, else hetdask under XDG_CACHE_HOME or ~/.cache. It may not exist yet."""
    given = os.environ.get("HETDASK_CACHE")
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "hetdask"
