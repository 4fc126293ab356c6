"""Python, packages, threads, BLAS and compiled kernels."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import hetdask
from hetdask.diagnosis.check import Check

if TYPE_CHECKING:
    from packaging.requirements import Requirement

LOCK: Final = Path(hetdask.__file__).parents[1] / "requirements.lock"
"""The versions that are tested; a checkout has them, an installed wheel has not."""

PINNED: Final = re.compile(r"^([\w.-]+)==([^\s;]+)(?:\s*;\s*(.*?))?\s*\\?$", re.MULTILINE)

OLDEST: Final = (3, 12)

COMPILING_SECONDS: Final = 5.0
"""Kernels that take longer than this to be ready were not in Numba's cache."""

SHARED_SYSTEMS: Final = ("nfs", "nfs4", "lustre", "gpfs", "beegfs", "cifs", "smb3", "ceph", "fuse.sshfs", "afs")


def python() -> Iterator[Check]:
    """Version of Python."""
    found = f"Python {platform.python_version()}, {sys.executable}"
    if sys.version_info < OLDEST:
        yield Check("python", "bad", found, "install Python 3.12 or newer")
    else:
        yield Check("python", "ok", found)


def packages(lock: Path = LOCK) -> Iterator[Check]:
    """Versions of what hetdask needs, against its bounds and against those that are tested.

    Parameters
    ----------
    lock : path
        File with the tested versions.
    """
    wanted = _requirements()
    missing, wrong = [], []
    for requirement in wanted:
        try:
            here = version(requirement.name)
        except PackageNotFoundError:
            missing.append(str(requirement))
            continue
        if here not in requirement.specifier:
            wrong.append(f"{requirement.name} {here} (expected {requirement.specifier})")
    if missing or wrong:
        found = "; ".join([*(f"{name} is missing" for name in missing), *wrong])
        yield Check("packages", "bad", found, "pip install --upgrade hetdask, in an environment of its own")
        return
    tested = _tested(lock)
    if not tested:
        yield Check("packages", "ok", f"{len(wanted)} packages within the bounds of hetdask {hetdask.__version__}")
        return
    others = [
        f"{name} {version(name)} ({tested[name]} is tested)"
        for name in (requirement.name for requirement in wanted)
        if name in tested and version(name) != tested[name]
    ]
    if others:
        advice = f"if something goes wrong, install the tested ones: pip install -r {lock.name}"
        yield Check(
            "packages", "warn", f"{len(others)} of {len(wanted)} are others than tested: {'; '.join(others)}", advice
        )
    else:
        yield Check("packages", "ok", f"all {len(wanted)} in the versions that are tested ({lock.name})")


def _requirements() -> list[Requirement]:
    from packaging.requirements import Requirement

    found = [Requirement(text) for text in requires("hetdask") or []]
    return [each for each in found if each.marker is None or each.marker.evaluate({"extra": ""})]


def _tested(lock: Path) -> dict[str, str]:
    """Versions of a lock file by name; empty where there is none."""
    from packaging.markers import Marker

    if not lock.is_file():
        return {}
    found = PINNED.findall(lock.read_text(encoding="utf-8"))
    return {name: number for name, number, marker in found if not marker or Marker(marker).evaluate()}


def threads() -> Iterator[Check]:
    """Threads of the numerical libraries, and who decided how many.

    Raises
    ------
    ConfigError
        If an exported number is none.
    """
    from hetdask_cluster.local import available_cores
    from hetdask_cluster.threads import THREAD_VARIABLES, library_threads

    cores, each = available_cores(), library_threads()
    exported = [f"{name}={os.environ[name]}" for name in THREAD_VARIABLES if name in os.environ]
    who = f"{', '.join(exported)} exported" if exported else "hetdask decides, no variable is exported"
    workers = max(1, cores // each)
    noun = "worker" if workers == 1 else "workers"
    found = f"{cores} cores: {workers} {noun}, libraries take {each} thread{'s' if each > 1 else ''} each ({who})"
    if each > cores:
        yield Check("threads", "warn", found, f"they fight for the cores: unset {' '.join(THREAD_VARIABLES)}")
    elif each > 1:
        advice = f"kernels are serial, so one thread and more workers are faster: unset {' '.join(THREAD_VARIABLES)}"
        yield Check("threads", "warn", found, advice)
    else:
        yield Check("threads", "ok", found)


def blas() -> Iterator[Check]:
    """Linear algebra libraries that NumPy and SciPy have loaded."""
    import scipy.linalg  # noqa: F401 (loads the library that threadpoolctl looks at)
    from threadpoolctl import threadpool_info

    pools: list[dict[str, Any]] = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    found = "; ".join(dict.fromkeys(_library(pool) for pool in pools))
    if not found:
        advice = (
            "passes over the data use it: install the NumPy of PyPI or conda-forge, which comes with OpenBLAS or MKL"
        )
        yield Check("blas", "warn", "no OpenBLAS, MKL or BLIS is loaded", advice)
    else:
        yield Check("blas", "ok", found)


def _library(pool: dict[str, Any]) -> str:
    kind = pool.get("architecture")
    return f"{pool['internal_api']} {pool['version']}{f' for {kind}' if kind else ''}"


def kernels() -> Iterator[Check]:
    """Compile or load every kernel, and tell from where.

    Raises
    ------
    KernelError
        If Numba can't.
    """
    from hetdask.compilation import explained, warmup_numba_kernels

    with explained():
        import hetdask_kernels
    seconds = warmup_numba_kernels()
    total, count = seconds["total_warmup_time"], len(seconds) - 1
    stats = getattr(hetdask_kernels.contract_blocks, "stats", None)
    if stats is None:
        found = f"{count} kernels run as plain Python (NUMBA_DISABLE_JIT)"
        yield Check("kernels", "warn", found, "unset NUMBA_DISABLE_JIT: compiled ones are hundreds of times faster")
        return
    folder = Path(stats.cache_path)
    found = f"{count} kernels ready after {total:.1f} s, cache in {folder}"
    system = file_system(folder)
    if system in SHARED_SYSTEMS:
        advice = "all workers read it at once: export NUMBA_CACHE_DIR=/tmp/numba-$USER, on the node's own disk"
        yield Check("kernels", "warn", f"{found}, on a shared file system ({system})", advice)
    elif total > COMPILING_SECONDS:
        yield Check("kernels", "ok", f"{found}; they were compiled now and are loaded next time")
    else:
        yield Check("kernels", "ok", found)


def file_system(folder: Path) -> str:
    """Kind of the file system that a folder is on: "ext4", "nfs"; "" where that can't be told."""
    import psutil

    place = folder.resolve()
    mounts = {Path(disk.mountpoint): str(disk.fstype) for disk in psutil.disk_partitions(all=True)}
    return next((mounts[parent] for parent in (place, *place.parents) if parent in mounts), "")
