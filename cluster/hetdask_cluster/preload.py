"""Run by every worker process before its first task and after its last one (`distributed.worker.preload`)."""

from __future__ import annotations

import gc
import logging
import signal
from typing import TYPE_CHECKING, Final

from hetdask_cluster.pages import keep_few_file_pages

if TYPE_CHECKING:
    from distributed import Worker

LOOK_MILLISECONDS: Final = 100


def dask_setup(worker: Worker) -> None:
    """Leave Ctrl-C to the process that started the cluster: it closes the workers in good order.

    The limit of a worker is on its resident size: what is no memory of its own must not count as such. A heartbeat that
    finds the scheduler gone is no error: the cluster is closing, or the worker notices by itself that it is lost.
    """
    from tornado.ioloop import PeriodicCallback

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger("distributed.worker").addFilter(is_no_heartbeat)
    worker.periodic_callbacks["file-pages"] = PeriodicCallback(keep_few_file_pages, LOOK_MILLISECONDS)


def is_no_heartbeat(record: logging.LogRecord) -> bool:
    """Whether a record is to be shown: all but those of heartbeats that did not arrive."""
    return not record.getMessage().startswith("Failed to communicate with scheduler during heartbeat")


def dask_teardown(worker: Worker) -> None:  # noqa: ARG001 (Dask passes it)
    """Leave without looking everything through for cycles, which takes most of a second."""
    gc.freeze()
