"""Dask settings that every cluster of ours runs with, and how they reach workers that other hosts start."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any, Final

from hetdask_cluster.memory import PAUSE, TERMINATE

CONNECT_SECONDS: Final = 15
START_SECONDS: Final = 60
SILENT_SECONDS: Final = 60

SETTINGS: Final[Mapping[str, Any]] = {
    # Data held on workers is planned to fit: spilling it to disk while memory is free would only cost time.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": PAUSE,
    "distributed.worker.memory.terminate": TERMINATE,
    # A task that finds no worker for so long fails instead of hanging; nannies restart workers within seconds.
    "distributed.scheduler.no-workers-timeout": f"{START_SECONDS}s",
    # A worker that has said nothing for so long is started again: it may have been stopped, or its network lost.
    "distributed.scheduler.worker-ttl": f"{SILENT_SECONDS}s",
    # A task during which two workers died would kill more of them.
    "distributed.scheduler.allowed-failures": 1,
    "distributed.worker.preload": ["hetdask_cluster.preload"],
    # Numerical tasks hold no references for the collector, and profiling costs a thread per worker.
    "distributed.worker.profile.enabled": False,
}


def exports(settings: Mapping[str, Any] = SETTINGS) -> list[str]:
    """Shell lines that give the processes of a job these settings: `dask.config.set` does not reach them.

    Examples
    --------
    >>> exports({"distributed.worker.memory.pause": 0.9})
    ['export DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=0.9']
    """
    return [f"export {_variable(key)}={_literal(value)}" for key, value in settings.items()]


def _variable(key: str) -> str:
    return "DASK_" + key.upper().replace(".", "__").replace("-", "_")


def _literal(value: Any) -> str:
    """What Dask reads from a variable: a Python literal, or text."""
    return shlex.quote(json.dumps(value) if isinstance(value, list) else str(value))
