"""What a run shows while it goes on: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from hetdask.fitting import HistoryEntry

STAGES: Final = {
    "ingest": "ingest",
    "reduce": "reduce",
    "learn": "learned start",
    "search": "search",
    "load": "load",
    "refine": "fit",
    "noise": "noise",
    "errors": "errors",
    "weigh": "weights",
    "residuals": "residuals",
    "bootstrap": "bootstrap",
    "profile": "profiles",
    "results": "results",
    "report": "report",
}
"""Stages of an analysis, and what they are called here."""

PLAIN_SECONDS: Final = 5.0
"""At least this long between two plain lines of one stage."""

log = logging.getLogger("hetdask.progress")


class PlainProgress:
    """A line now and then, for files and pipes.

    Parameters
    ----------
    quiet : bool
        Only the log.
    verbose : bool
        Every line, not one now and then.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self._quiet = quiet
        self._pause = 0.0 if verbose else PLAIN_SECONDS
        self._shown = 0.0
        self._began = time.perf_counter()
        self._memory = ""

    def say(self, text: str) -> None:
        """Something that is no progress."""
        self._tell(text)

    def stage(self, name: str) -> None:
        """A stage begins."""
        self._shown = 0.0
        self._tell(f"{STAGES.get(name, name)} …")

    def advance(self, done: int, total: int, text: str) -> None:
        """So many steps of a stage are done."""
        self._now_and_then(f"{text}: {done} of {total}", last=done == total)

    def evaluation(self, entry: HistoryEntry) -> None:
        """The fit has evaluated the model once more."""
        self._now_and_then(describe(entry) + self._memory, last=False)

    def memory(self, used: int, limit: int | None) -> None:
        """What the largest worker takes now."""
        self._memory = f", {describe_memory(used, limit)}"

    def _now_and_then(self, text: str, *, last: bool) -> None:
        log.info("%s", text)
        now = time.perf_counter()
        if not self._quiet and (last or now - self._shown >= self._pause):
            self._shown = now
            self._tell(f"  {text}", logged=True)

    def _tell(self, text: str, *, logged: bool = False) -> None:
        if not logged:
            log.info("%s", text)
        if not self._quiet:
            click.echo(f"[{time.perf_counter() - self._began:7.1f} s] {text}", err=True)


class LiveProgress:
    """A bar for each stage, for terminals."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID | None = None

    def say(self, text: str) -> None:
        """Something that is no progress."""
        log.info("%s", text)
        self._progress.console.print(text)

    def stage(self, name: str) -> None:
        """A stage begins: the one before is complete."""
        log.info("%s …", STAGES.get(name, name))
        self.finish()
        self._task = self._progress.add_task(STAGES.get(name, name), total=None, text="", memory="")

    def advance(self, done: int, total: int, text: str) -> None:
        """So many steps of a stage are done."""
        log.info("%s: %d of %d", text, done, total)
        if self._task is not None:
            self._progress.update(self._task, completed=done, total=total, text=f"{text}, {done} of {total}")

    def evaluation(self, entry: HistoryEntry) -> None:
        """The fit has evaluated the model once more."""
        log.info("%s", describe(entry))
        if self._task is not None:
            self._progress.update(self._task, text=describe(entry))

    def memory(self, used: int, limit: int | None) -> None:
        """What the largest worker takes now."""
        if self._task is not None:
            self._progress.update(self._task, memory=describe_memory(used, limit))

    def finish(self) -> None:
        """The last stage is complete."""
        if self._task is not None:
            total = self._progress.tasks[self._task].total or 1.0
            self._progress.update(self._task, total=total, completed=total)
            self._task = None


@contextmanager
def show_progress(*, quiet: bool = False, verbose: bool = False) -> Iterator[PlainProgress | LiveProgress]:
    """Progress for a ``with`` block: live on a terminal, plain elsewhere and where every line is asked for."""
    if quiet or verbose or not sys.stderr.isatty():
        yield PlainProgress(quiet=quiet, verbose=verbose)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:13}"),
        BarColumn(24),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[memory]}"),
        TextColumn("{task.fields[text]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        live = LiveProgress(progress)
        yield live
        live.finish()


def describe_memory(used: int, limit: int | None) -> str:
    """Size of the largest worker, beside its limit.

    Examples
    --------
    >>> describe_memory(300 * 2**20, 2 * 2**30)
    '300 MiB of 2.0 GiB'
    """
    from hetdask_cluster.memory import format_bytes

    return format_bytes(used) if limit is None else f"{format_bytes(used)} of {format_bytes(limit)}"


def describe(entry: HistoryEntry) -> str:
    """One evaluation of a fit in a few words."""
    better = "" if entry.improved else ", no better"
    return (
        f"{entry.method}, round {entry.round}, evaluation {entry.evaluation}: χ² = {entry.chi_squared:.6g}{better}, "
        f"{entry.pixels_per_second / 1e6:.0f} Mpixel/s"
    )
