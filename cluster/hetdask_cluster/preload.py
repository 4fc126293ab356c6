"""Run by every worker process of a local cluster before its first task (`distributed.worker.preload`)."""

from __future__ import annotations

import signal


def dask_setup(worker: object) -> None:  # noqa: ARG001 (Dask passes the worker)
    """Leave Ctrl-C to the process that started the cluster: it closes the workers in good order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
