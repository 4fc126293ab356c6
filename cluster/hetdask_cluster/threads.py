"""Threads of the numerical libraries on workers: decided here and nowhere else.

The parallelism is Dask's: kernels are serial, and a worker runs as many tasks at the same time as it has threads.
Libraries that start threads of their own would fight for its cores, so each gets one, unless the user has exported
another number; then as many fewer workers are started.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from hetdask.errors import ConfigError

THREAD_VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
"""Read once by OpenMP, OpenBLAS, MKL and Numba, when they are loaded."""

SPAWN_ENVIRONMENT: Final = "distributed.nanny.pre-spawn-environ"

ALLOCATOR: Final = {"MALLOC_TRIM_THRESHOLD_": 16 * 2**20, "MALLOC_MMAP_THRESHOLD_": 4 * 2**20}
"""Free memory beyond which the C library gives pages back, and the size of arrays that have pages of their own, bytes.
Dask's own number is 64 KiB: then the temporary arrays of each task are made of new pages, and a pass over resident data
takes twice as long."""

SET_BY_NANNIES: Final = (*THREAD_VARIABLES, *ALLOCATOR, "PYTHONHASHSEED")
"""What a nanny writes into the environment of its own process before it starts a worker."""


def worker_environment() -> dict[str, int]:
    """Dask settings that give each worker's libraries one thread, and its C library `ALLOCATOR`.

    Dotted keys, because setting the whole mapping would drop Dask's own entries. A variable that the user
    exported wins over these: that is how Dask reads them.

    Examples
    --------
    >>> worker_environment()["distributed.nanny.pre-spawn-environ.NUMBA_NUM_THREADS"]
    1
    """
    return {f"{SPAWN_ENVIRONMENT}.{name}": value for name, value in _variables().items()}


def _variables() -> dict[str, int]:
    return {**dict.fromkeys(THREAD_VARIABLES, 1), **ALLOCATOR}


@contextmanager
def preserved_environment(names: Iterable[str] = SET_BY_NANNIES) -> Iterator[None]:
    """Put the variables `names` back to what they were.

    Nannies live in the process that starts a local cluster, and what they set there would be taken for the user's
    wish by the next cluster.
    """
    before = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def default_exports() -> list[str]:
    """Shell lines for a job: the same as `worker_environment` for its workers, unless the user has said otherwise.

    Examples
    --------
    >>> default_exports()[3]
    'export NUMBA_NUM_THREADS=${NUMBA_NUM_THREADS:-1}'
    """
    return [f"export {name}=${{{name}:-{value}}}" for name, value in _variables().items()]


def library_threads() -> int:
    """Threads that libraries on workers start for one task: 1, or the most that the user has exported.

    Raises
    ------
    ConfigError
        If a variable is no number of threads.
    """
    found = 1
    for name in THREAD_VARIABLES:
        text = os.environ.get(name, "1").split(",")[0].strip()
        if not text.isdigit() or int(text) < 1:
            raise ConfigError(f"{name}: found {text!r}, expected a number of threads, for example {name}=1")
        found = max(found, int(text))
    return found


@contextmanager
def limited_threads() -> Iterator[None]:
    """Give BLAS and OpenMP in this process as many threads as on workers.

    Else sums would be rounded in another order here than there, and results would depend on where a task ran.

    Raises
    ------
    ConfigError
        If a variable is no number of threads.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(library_threads()):
        yield


def measured_threads() -> int:
    """Most threads that a numerical library of this process would start now, as the libraries themselves say."""
    from threadpoolctl import threadpool_info

    pools = [int(pool["num_threads"]) for pool in threadpool_info()]
    numba = sys.modules.get("numba")
    if numba is not None:
        # Not `get_num_threads`, which starts that many threads.
        pools.append(int(numba.config.NUMBA_NUM_THREADS))
    return max(pools, default=1)
