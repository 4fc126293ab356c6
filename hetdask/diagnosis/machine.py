"""Memory, disk, job queues and ports."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil

from hetdask.diagnosis.check import Check
from hetdask.diagnosis.software import file_system
from hetdask_cluster.local import LOCALHOST, plan_run
from hetdask_cluster.memory import MIB, format_bytes, machine_memory

TRIAL_BYTES: Final = 64 * MIB
"""Written and read to measure a disk: the size of a shard."""

SLOW_DISK: Final = 50 * MIB
"""Bytes per second below which reading in every pass takes longer than computing by two orders of magnitude."""

QUEUE_COMMANDS: Final = {
    "slurm": ("sbatch", ["sinfo", "--noheader", "--format=%P"]),
    "pbs": ("pbsnodes", ["qstat", "-Q"]),
    "lsf": ("bsub", ["bqueues"]),
    "sge": ("qconf", ["qconf", "-sql"]),
    "htcondor": ("condor_submit", ["condor_q"]),
    "oar": ("oarsub", ["oarnodes", "-s"]),
}
"""For each queueing system a command that only it has, and one that answers if the system does."""

QUEUE_SECONDS: Final = 10

PORTS: Final = {8787: "the dashboard of Dask", 8790: "`hetdask dashboard`"}


def memory() -> Iterator[Check]:
    """Memory that runs may use, and how the default budget is divided.

    Raises
    ------
    ClusterError
        If the workers of a local run do not fit.
    """
    total, allowed = int(psutil.virtual_memory().total), machine_memory()
    free = min(allowed, int(psutil.virtual_memory().available))
    who = "this machine" if allowed == total else f"the cgroup, of {format_bytes(total)} of the machine"
    plan = plan_run()
    found = f"{format_bytes(allowed)} ({who}), {format_bytes(free)} free"
    if plan is not None:
        found += f"; {plan.workers} workers get {format_bytes(plan.per_worker)} each"
        if free < plan.budget // 2:
            advice = f"other programs have most of it: give runs less, --memory-limit {free * 9 // 10 // MIB}MiB"
            yield Check("memory", "warn", found, advice)
            return
    yield Check("memory", "ok", found)


def disk(folder: Path) -> Iterator[Check]:
    """Speed of a folder, from writing and reading as much as a shard past the cache of the system."""
    kind = file_system(folder)
    where = f"{folder.resolve()}{f' ({kind})' if kind else ''}"
    try:
        free = shutil.disk_usage(folder).free
        write, read = disk_speed(folder)
    except OSError as error:
        advice = "name one that exists, can be written and has space left: --folder /scratch/me"
        yield Check("disk", "bad", f"{where} can't be used ({error.strerror})", advice)
        return
    found = f"{where}: writes {write / MIB:.0f} MiB/s, reads {read / MIB:.0f} MiB/s, {format_bytes(free)} free"
    if min(write, read) < SLOW_DISK:
        advice = "keep stores on a faster disk, or give runs enough memory for all data to stay (--memory-limit)"
        yield Check("disk", "warn", found, advice)
    else:
        yield Check("disk", "ok", found)


def disk_speed(folder: Path, size: int = TRIAL_BYTES) -> tuple[float, float]:
    """Bytes per second that a folder writes and reads, through to the disk where the system allows that.

    Raises
    ------
    OSError
        If the folder can't be written.
    """
    block = os.urandom(MIB)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".hetdask-doctor-", buffering=0) as file:
        start = time.perf_counter()
        for _ in range(size // MIB):
            file.write(block)
        os.fsync(file.fileno())
        written = time.perf_counter()
        os.posix_fadvise(file.fileno(), 0, size, os.POSIX_FADV_DONTNEED)
        file.seek(0)
        begin = time.perf_counter()
        while file.read(MIB):
            pass
        return size / (written - start), size / (time.perf_counter() - begin)


def queues() -> Iterator[Check]:
    """Job queues of this host, and whether they answer."""
    found = [name for name, (command, _) in QUEUE_COMMANDS.items() if shutil.which(command)]
    if not found:
        yield Check("queues", "ok", "none found here: fits run on this machine, or on a running Dask scheduler")
    for name in found:
        silent = _silence(QUEUE_COMMANDS[name][1])
        advice = f"describe a job of it in a site file such as configs/sites/{name}.yaml"
        if silent:
            yield Check("queues", "warn", f"{name} is installed and does not answer: {silent}", "ask who runs it")
        else:
            yield Check("queues", "ok", f"{name} answers; {advice}")


def _silence(command: list[str]) -> str:
    """Why a queueing system does not answer; empty where it does."""
    try:
        done = subprocess.run(  # noqa: S603 (the commands above)
            command, capture_output=True, text=True, timeout=QUEUE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"{command[0]} has said nothing for {QUEUE_SECONDS} s"
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    if done.returncode == 0:
        return ""
    return (done.stderr.strip().splitlines() or [f"{command[0]} ended with status {done.returncode}"])[-1]


def ports() -> Iterator[Check]:
    """Ports of the dashboards."""
    taken = [port for port in PORTS if not _is_free(port)]
    if taken:
        found = ", ".join(f"{port} ({PORTS[port]})" for port in taken)
        advice = 'another program has it: hetdask dashboard --port 0, or compute.dashboard: ":0", take any free one'
        yield Check("ports", "warn", f"{found} is taken", advice)
    else:
        yield Check("ports", "ok", " and ".join(f"{port} for {what}" for port, what in PORTS.items()) + " are free")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((LOCALHOST, port))
        except OSError:
            return False
    return True
