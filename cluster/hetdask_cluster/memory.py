"""The memory budget of a run: read from an option, divided among processes, checked before anything starts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from hetdask.errors import ClusterError, ConfigError

MIB: Final = 2**20
GIB: Final = 2**30

DEFAULT_LIMIT: Final = 0.9
"""Budget when none is given: this fraction of the machine or cgroup."""

WORKER_BASE: Final = 256 * MIB
"""An idle worker with NumPy, Numba and Zarr loaded, with some air."""

CLIENT_BASE: Final = 384 * MIB
"""The process that runs the optimiser, the scheduler and its dashboard."""

RESIDENT_FRACTION: Final = 0.5
"""Part of a worker's limit that data held between tasks may take; the rest is for what tasks allocate."""

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
    match = SIZE.fullmatch(str(limit))
    unit = match.group(2).lower() if match else None
    if match is None or (unit not in {"", "%"} and unit not in UNITS):
        raise ConfigError(
            f"memory limit {limit!r} is neither a fraction nor a size: write a fraction of the machine such as 0.9, "
            "or a size such as 8GiB"
        )
    number = float(match.group(1))
    if unit == "%":
        size = number / 100.0 * whole
    elif unit == "":
        size = number * whole if number <= 1.0 else number
    else:
        size = number * UNITS[unit or ""]
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
    total : int
        Bytes of the machine or cgroup.
    budget : int
        Bytes of the whole run.
    workers : int
    per_worker : int
        Limit of each worker process, bytes.
    """

    total: int
    budget: int
    workers: int
    per_worker: int

    @property
    def resident(self) -> int:
        """Bytes of data that all workers together may hold between tasks."""
        return self.workers * max(0, int(RESIDENT_FRACTION * self.per_worker) - WORKER_BASE // 2)

    @property
    def tasks(self) -> int:
        """Bytes that the tasks that run at the same time may allocate together while no data are held."""
        return self.workers * (self.per_worker - WORKER_BASE // 2)

    def projected(self, data: int, task: int) -> int:
        """Expected peak of the run, bytes, for `data` bytes in all and tasks that allocate `task` bytes each."""
        return CLIENT_BASE + self.workers * (WORKER_BASE + task) + min(data, self.resident)

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
        room = self.per_worker - (self.resident // self.workers) - WORKER_BASE // 2
        if task <= room:
            return
        needed = CLIENT_BASE + self.workers * int((task + WORKER_BASE // 2) / (1.0 - RESIDENT_FRACTION) + WORKER_BASE)
        advice = f"raise the memory limit to {format_bytes(needed)}"
        if self.workers > 1:
            advice += f" or use fewer workers than {self.workers}"
        raise ClusterError(
            f"{what} needs {format_bytes(task)} on a worker, but {format_bytes(self.budget)} divided among "
            f"{self.workers} workers leave {format_bytes(max(room, 0))} for it: {advice} (--memory-limit, --workers)"
        )


def peak_memory() -> int:
    """Largest resident size of this process so far, bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return int(psutil.Process().memory_info().rss)


def plan_memory(limit: str | float | None, workers: int, total: int | None = None) -> MemoryPlan:
    """Divide the budget of a run among its workers.

    Parameters
    ----------
    limit : str or float, optional
        As in `parse_memory`; None takes 90 % of the machine.
    workers : int
    total : int, optional
        Bytes of the machine; found out when it is not given.

    Raises
    ------
    ConfigError
        If the limit cannot be read.
    ClusterError
        If the workers could not even start in it.

    Examples
    --------
    >>> plan_memory("8GiB", workers=2, total=16 * 2**30).per_worker // 2**20
    3904
    """
    whole = machine_memory() if total is None else total
    budget = parse_memory(DEFAULT_LIMIT if limit is None else limit, whole)
    per_worker = (budget - CLIENT_BASE) // workers
    if per_worker < WORKER_BASE:
        fitting = (budget - CLIENT_BASE) // WORKER_BASE
        needed = format_bytes(CLIENT_BASE + workers * WORKER_BASE)
        fewer = f"at most {fitting} workers" if fitting > 0 else "the in-process runner (--scheduler inline)"
        raise ClusterError(
            f"{format_bytes(budget)} are too little for {workers} workers, which need {format_bytes(WORKER_BASE)} each "
            f"beside {format_bytes(CLIENT_BASE)} for the client: use {fewer} (--workers) or a memory limit of at least "
            f"{needed} (--memory-limit)"
        )
    return MemoryPlan(total=whole, budget=budget, workers=workers, per_worker=per_worker)
