"""Threads of the numerical libraries on workers: set here and nowhere else.

A worker is one process with one thread of Python; libraries that start threads of their own would fight for its core.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

THREAD_VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
"""Read once by OpenMP, OpenBLAS, MKL and Numba, when they are loaded."""

SPAWN_ENVIRONMENT: Final = "distributed.nanny.pre-spawn-environ"

SET_BY_NANNIES: Final = (*THREAD_VARIABLES, "MALLOC_TRIM_THRESHOLD_", "PYTHONHASHSEED")
"""What a nanny writes into the environment of its own process before it starts a worker."""


def worker_environment(threads: int = 1) -> dict[str, int]:
    """Dask settings that give each worker's libraries this many threads.

    Dotted keys, because setting the whole mapping would drop Dask's own entries. A variable that the user
    exported wins over these: that is how Dask reads them.

    Parameters
    ----------
    threads : int
        Threads of each library in each worker process.

    Examples
    --------
    >>> worker_environment()["distributed.nanny.pre-spawn-environ.NUMBA_NUM_THREADS"]
    1
    """
    return {f"{SPAWN_ENVIRONMENT}.{name}": threads for name in THREAD_VARIABLES}


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
