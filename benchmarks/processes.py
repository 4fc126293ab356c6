"""Time and memory of commands and all their children."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import psutil

SAMPLE_SECONDS: Final = 0.05
"""Between two looks at the memory of a process tree."""


@dataclass(frozen=True, slots=True)
class ProcessRun:
    """One process with its children, from start to end.

    Attributes
    ----------
    wall, cpu : float
        s; cpu counts user and system time of the process and of all children that it waited for.
    peak_bytes : int
        Largest resident size of the whole tree: the larger of the sum over its processes, sampled every
        `SAMPLE_SECONDS`, and the high-water mark that the kernel keeps of each. Pages shared by several
        processes count once for each, so that a tree is rather shown too large.
    """

    wall: float
    cpu: float
    peak_bytes: int


def run_process(
    command: Sequence[str | Path],
    *,
    folder: Path,
    variables: Mapping[str, str] | None = None,
    look: Callable[[int], None] | None = None,
    most: int | None = None,
) -> ProcessRun:
    """Run a command to its end in `folder`, and measure its whole process tree.

    It may keep byte code, whatever this process was told: imports would be compiled anew in every run otherwise.

    Parameters
    ----------
    command : sequence of str or Path
    folder : Path
    variables : mapping of str to str, optional
        Added to the environment.
    look : callable, optional
        Called with the id of the process whenever its memory is looked at.
    most : int, optional
        Bytes that the tree may take: it is killed where it takes more.

    Raises
    ------
    RuntimeError
        If it fails, with the end of what it wrote, or takes more than it may.
    """
    words = [str(part) for part in command]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment.update(variables or {})
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        process = subprocess.Popen(words, cwd=folder, env=environment, stdout=output, stderr=output)
        watch = TreeMemory(process.pid, look, most)
        try:
            with watch:
                _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if watch.exceeded:
            raise RuntimeError(f"stopped at {watch.peak_bytes / 2**30:.1f} GiB of memory")
        if process.returncode != 0:
            output.seek(0)
            tail = output.read()[-4000:].decode(errors="replace")
            raise RuntimeError(f"{' '.join(words)} ended with status {process.returncode}:\n{tail}")
    return ProcessRun(wall, usage.ru_utime + usage.ru_stime, watch.peak_bytes)


@dataclass(slots=True)
class TreeMemory:
    """Peak resident memory of a process and its children while a ``with`` block runs; see `ProcessRun`.

    With a `most`, they are killed where they take more.
    """

    pid: int
    look: Callable[[int], None] | None = None
    most: int | None = None
    peak_bytes: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    @property
    def exceeded(self) -> bool:
        """Whether they have taken more than they may."""
        return self.most is not None and self.peak_bytes > self.most

    def _watch(self) -> None:
        while not self._stop.is_set():
            self.peak_bytes = max(self.peak_bytes, tree_bytes(self.pid))
            if self.look is not None:
                self.look(self.pid)
            if self.exceeded:
                for process in process_tree(self.pid):
                    with suppress(psutil.NoSuchProcess):
                        process.kill()
            self._stop.wait(SAMPLE_SECONDS)


def process_tree(pid: int) -> list[psutil.Process]:
    """A process and its children; none where it is gone."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def tree_bytes(pid: int) -> int:
    """Sum of the resident sizes of a process and its children, or the largest high-water mark if that is more."""
    sizes = [resident_bytes(process.pid) for process in process_tree(pid)]
    return max([sum(now for now, _ in sizes), *(peak for _, peak in sizes)])


def resident_bytes(pid: int) -> tuple[int, int]:
    """Resident size of a process now and at most, bytes; 0 where it is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0, 0
    found = {"VmRSS": 0, "VmHWM": 0}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name in found:
            found[name] = int(value.split()[0]) * 1024
    return found["VmRSS"], found["VmHWM"]
