"""The memory budget of a run: read from an option, divided among processes, checked before anything starts."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from hetdask.errors import ClusterError, ConfigError

MIB: Final = 2**20
GIB: Final = 2**30

DEFAULT_LIMIT: Final = 0.9
"""Budget when none is given: this fraction of the machine or cgroup."""

CLIENT_BASE: Final = 320 * MIB
"""The process that runs the optimiser, the scheduler, its nannies and its dashboard."""

CLIENT_SHARE: Final = 1 / 16
"""Part of the budget that the client may take for block means and other reduced data, beside `CLIENT_BASE`."""

WORKER_BASE: Final = 256 * MIB
"""A worker with NumPy, Numba, Zarr and compiled kernels loaded; two fifths of it are pages that all workers share."""

READER_BASE: Final = 128 * MIB
"""A worker that has only read files, before it loads Numba."""

RESIDENT_FRACTION: Final = 0.5
"""Part of a worker's limit that data held between tasks may take at most."""

PAUSE: Final = 0.9
"""Part of its limit at which a worker takes no more tasks: plans stay below. Data that were planned to stay never make
room, so an earlier pause would be for ever."""

LEAST_ROOM: Final = 16 * MIB
"""A worker with less than this beside its libraries can do nothing."""

TERMINATE: Final = 0.95
"""Part of its limit at which a nanny restarts a worker."""

SIZE: Final = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([a-zA-Z%]*)\s*")
UNITS: Final = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": MIB,
    "gib": GIB,
    "tib": 2**40,
}


def machine_memory() -> int:
    """Bytes that this process and its children may use: the machine's, or less where a cgroup says so."""
    limits = _cgroup_limits(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
    return min([int(psutil.virtual_memory().total), *limits])


def _cgroup_limits(membership: Path, root: Path) -> list[int]:
    """Limits of the cgroups of this process and of all their parents, in bytes."""
    limits: list[int] = []
    if not membership.is_file():
        return limits
    for line in membership.read_text().splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            base, name = root, "memory.max"
        elif "memory" in controllers.split(","):
            base, name = root / "memory", "memory.limit_in_bytes"
        else:
            continue
        folder = base / group.lstrip("/")
        for place in (folder, *folder.parents):
            if not place.is_relative_to(base):
                break
            file = place / name
            if file.is_file() and (text := file.read_text().strip()).isdigit():
                limits.append(int(text))
    return limits


def format_bytes(size: float) -> str:
    """Bytes as people read them.

    Examples
    --------
    >>> format_bytes(8 * 2**30), format_bytes(300 * 2**20)
    ('8.0 GiB', '300 MiB')
    """
    return f"{size / GIB:.1f} GiB" if size >= GIB else f"{size / MIB:.0f} MiB"


def _amount(limit: str | float) -> tuple[float, bool]:
    """Number that a limit stands for, and whether it is a fraction; else it is bytes."""
    match = SIZE.fullmatch(str(limit))
    unit = match.group(2).lower() if match else None
    if match is None or (unit not in {"", "%"} and unit not in UNITS):
        raise ConfigError(
            f"memory limit {limit!r} is neither a fraction nor a size: write a fraction of the machine such as 0.9, "
            "or a size such as 8GiB"
        )
    number = float(match.group(1))
    if unit == "%":
        return number / 100.0, True
    return number * UNITS[unit or "b"], unit == "" and number <= 1.0


def parse_memory(limit: str | float, total: int | None = None) -> int:
    """Bytes that a memory limit stands for.

    Parameters
    ----------
    limit : str or float
        A fraction of the machine ("0.9", 0.9 or "90%"), or a size ("8GiB", "500 MB"), or bytes (any number above 1).
    total : int, optional
        Bytes of the machine; found out when it is not given.

    Raises
    ------
    ConfigError
        If it is none of these, or not positive, or more than the machine has.

    Examples
    --------
    >>> parse_memory("0.5", total=2**30), parse_memory("1 KiB", total=2**30)
    (536870912, 1024)
    """
    whole = machine_memory() if total is None else total
    number, is_fraction = _amount(limit)
    size = number * whole if is_fraction else number
    if not 0 < size <= whole:
        raise ConfigError(
            f"memory limit {limit!r} is {format_bytes(size)}, but this machine gives {format_bytes(whole)}: "
            f"choose more than 0 and at most that, for example 0.9 or {format_bytes(0.9 * whole).replace(' ', '')}"
        )
    return int(size)


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """How a budget is divided.

    Attributes
    ----------
    budget : int
        Bytes of the whole run.
    client : int
        Bytes of this process and what it starts beside workers.
    workers : int
        Worker processes; 0 where tasks run in this process.
    per_worker : int
        Limit of each worker process, bytes; what is left for tasks where they run in this process.
    threads : int
        Tasks that a worker runs at the same time.
    """

    budget: int
    client: int
    workers: int
    per_worker: int
    threads: int = 1

    @property
    def places(self) -> int:
        """Processes that run tasks."""
        return max(1, self.workers)

    @property
    def share(self) -> int:
        """Bytes of reduced data that the client may hold."""
        return self.client - CLIENT_BASE

    @property
    def base(self) -> int:
        """Bytes of a worker without data."""
        return WORKER_BASE if self.workers else 0

    @property
    def reader_base(self) -> int:
        """Bytes of a worker that has only read files."""
        return READER_BASE if self.workers else 0

    @property
    def room(self) -> int:
        """Bytes of a worker that data and tasks may take together."""
        return max(0, int(PAUSE * self.per_worker) - self.base)

    @property
    def task_room(self) -> int:
        """Bytes that a task on new shards may allocate: with so much, the other half is left for what stays."""
        return self.room // (2 * self.threads)

    def resident(self, task: int) -> int:
        """Bytes of data that all workers together may hold beside tasks that allocate `task` bytes each."""
        each = min(int(RESIDENT_FRACTION * self.per_worker), self.room - self.threads * task)
        return self.places * max(0, each)

    @property
    def reading(self) -> int:
        """Bytes that all tasks together may allocate that only read files, before kernels are loaded."""
        return self.places * max(0, int(PAUSE * self.per_worker) - self.reader_base)

    def projected_worker(self, data: int, task: int) -> int:
        """Expected peak of a worker, bytes: `data` bytes in all, as far as they stay, and `task` bytes a task."""
        return self.base + self.threads * task + math.ceil(min(data, self.resident(task)) / self.places)

    def projected(self, data: int, task: int) -> int:
        """Expected peak of the run, bytes; arguments as in `projected_worker`."""
        return self.client + self.places * self.projected_worker(data, task)

    def require(self, task: int, what: str) -> None:
        """Refuse a run whose single tasks do not fit.

        Parameters
        ----------
        task : int
            Bytes that a task allocates at its peak.
        what : str
            The task, for the message: "a shard of 256 MiB".

        Raises
        ------
        ClusterError
            With the limit or the number of workers that would do.
        """
        self._require(task, what, self.base, self.room)

    def require_reading(self, task: int, what: str) -> None:
        """The same for tasks that only read files, one at a time on a worker."""
        self._require(task, what, self.reader_base, self.reading // self.places, 1)

    def _require(self, task: int, what: str, base: int, room: int, threads: int | None = None) -> None:
        together = (threads or self.threads) * task
        if together <= room:
            return
        least = math.ceil((base + together) / PAUSE)
        fewer = [n for n in range(1, self.workers) if (self.budget - self.client) // n >= least]
        needed = math.ceil((self.places * least + CLIENT_BASE) / (1.0 - CLIENT_SHARE) / (GIB / 10)) / 10
        advice = f"raise the memory limit to {needed:.1f}GiB (--memory-limit)"
        if fewer:
            advice += f", or use {fewer[-1]} workers (--workers {fewer[-1]})"
        among = f"divided among {self.workers} workers " if self.workers > 1 else ""
        raise ClusterError(
            f"{what} needs {format_bytes(together)}, but {format_bytes(self.budget)} {among}"
            f"leave {format_bytes(room)} for it: {advice}"
        )


def peak_memory() -> int:
    """Largest resident size of this process so far, bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return int(psutil.Process().memory_info().rss)


def plan_memory(limit: str | float | None, workers: int, *, threads: int = 1, total: int | None = None) -> MemoryPlan:
    """Divide the budget of a run on this machine between the client and its workers.

    Parameters
    ----------
    limit : str or float, optional
        Budget of the whole run, as in `parse_memory`; None takes `DEFAULT_LIMIT`.
    workers : int
        Worker processes; 0 to run tasks in this process.
    threads : int
        Tasks that each runs at the same time.
    total : int, optional
        Bytes of the machine; found out when it is not given.

    Raises
    ------
    ConfigError
        If the limit makes no sense.
    ClusterError
        If the workers could not even start in it.

    Examples
    --------
    >>> plan_memory("8GiB", workers=2, total=16 * 2**30).per_worker // 2**20
    3680
    """
    whole = machine_memory() if total is None else total
    budget = parse_memory(DEFAULT_LIMIT if limit is None else limit, whole)
    client = CLIENT_BASE + int(CLIENT_SHARE * budget)
    plan = MemoryPlan(budget, client, workers, (budget - client) // max(1, workers), threads)
    if plan.room < LEAST_ROOM:
        each = math.ceil((plan.base + LEAST_ROOM) / PAUSE)
        fitting = max(0, (budget - client) // each) if workers else 0
        needed = math.ceil((CLIENT_BASE + plan.places * each) / (1.0 - CLIENT_SHARE) / MIB / 10) * 10
        fewer = f"use at most {fitting} workers (--workers {fitting}), or " if fitting else ""
        inline = "" if fitting or not workers else "run in this process (--scheduler inline), or "
        what = f"{workers} workers, which need" if workers else "a run in this process, whose tasks need"
        raise ClusterError(
            f"{format_bytes(budget)} are too little for {what} {format_bytes(each)} each "
            f"beside {format_bytes(client)} for the client: {fewer}{inline}give a memory limit of at least "
            f"{needed}MiB (--memory-limit)"
        )
    return plan


def plan_cluster(limit: str | float | None, limits: Sequence[int], threads: int = 1) -> MemoryPlan:
    """The same for workers that somebody else has given their limits.

    Parameters
    ----------
    limit : str or float, optional
        A fraction of what the workers have, or the size of the whole run; workers never get more than their own limits.
    limits : sequence of int
        Of each worker, bytes.
    threads : int
        Tasks that each runs at the same time.

    Raises
    ------
    ConfigError
        If the limit makes no sense.
    ClusterError
        If a worker has too little.

    Examples
    --------
    >>> plan_cluster("0.5", [8 * 2**30] * 3).per_worker // 2**20
    4096
    """
    number, is_fraction = _amount(DEFAULT_LIMIT if limit is None else limit)
    own, workers = min(limits), len(limits)
    client = CLIENT_BASE + int(CLIENT_SHARE * sum(limits))
    per_worker = int(number * own) if is_fraction else min(own, int(number - client) // workers)
    plan = MemoryPlan(client + workers * per_worker, client, workers, per_worker, threads)
    if not per_worker <= own or plan.room < LEAST_ROOM:
        each = math.ceil((plan.base + LEAST_ROOM) / PAUSE)
        raise ClusterError(
            f"{workers} workers with {format_bytes(own)} each have {format_bytes(max(0, per_worker))} within the "
            f"memory limit {limit}, expected {format_bytes(each)} or more: give the workers more memory, or choose a "
            "limit such as 0.9 (--memory-limit)"
        )
    return plan
