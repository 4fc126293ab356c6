"""run.log: everything that a run said, with times."""

from __future__ import annotations

import logging
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import override

from hetdask import __version__

LOG_FILE = "run.log"

NOTE = "written to "
"""Begins the note that an error carries out of `run_log`, with the path of the log."""


def log_of(error: BaseException) -> str | None:
    """Path of the log that has an error's traceback, if a run was going on."""
    notes = [note for note in getattr(error, "__notes__", []) if note.startswith(NOTE)]
    return notes[-1].removeprefix(NOTE) if notes else None


class _LogFile(logging.FileHandler):
    """Log that a full disk leaves incomplete: the run says by itself what it could not write."""

    @override
    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handleError(record)


@contextmanager
def run_log(folder: Path) -> Iterator[logging.Logger]:
    """Write all log records into run.log while the block runs, and how it ended.

    Parameters
    ----------
    folder : Path
        Existing run folder; records are appended.

    Yields
    ------
    logging.Logger
    """
    path = folder / LOG_FILE
    handler = _LogFile(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root, ours = logging.getLogger(), logging.getLogger("hetdask")
    ours.setLevel(logging.INFO)
    root.addHandler(handler)
    _to_root("distributed")
    ours.info("hetdask %s, Python %s: %s", __version__, platform.python_version(), " ".join(sys.argv))
    try:
        yield ours
    except BaseException as error:
        ours.exception("the run ended with an error")
        error.add_note(f"{NOTE}{path}")
        raise
    finally:
        root.removeHandler(handler)
        with suppress(OSError):
            handler.close()


def _to_root(package: str) -> None:
    """Let the loggers of a package write into the log instead of between our own lines on the terminal."""
    for name in (package, *(name for name in logging.root.manager.loggerDict if name.startswith(f"{package}."))):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
