"""Kernels that Numba can't compile, or whose compiled code it can't load: told from other errors, with what helps.

`python -m hetdask.compilation` compiles every kernel into Numba's cache, several at a time, so that workers only load
them.
"""

from __future__ import annotations

import gc
import importlib
import os
import pkgutil
import platform
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from threading import Event
from traceback import walk_tb
from typing import TYPE_CHECKING, Final

import numpy as np

from hetdask.errors import KernelError
from hetdask.stack import roomy

if TYPE_CHECKING:
    from numba.core.dispatcher import Dispatcher

KERNELS: Final = "hetdask.compilation"
"""This module, to be run once before workers start: it compiles what they would all compile at the same time."""

COMPILER: Final = f"{os.sep}numba{os.sep}core{os.sep}"
"""Folder of Numba's compiler and of its cache: no frame of a kernel that runs is from there."""

MOST_COMPILERS: Final = 4
"""Processes that compile at the same time: each takes some 400 MiB, and the largest kernel a sixth of all time."""

CACHE: Final = f"{COMPILER}caching.py"

_COMPILED: Final = Event()
"""Set when every kernel was found: looking for them takes as long as a small fit."""


def kernel_error(error: BaseException) -> KernelError | None:
    """What an error of Numba's compiler or cache means and what helps; None for any other error.

    Parameters
    ----------
    error : BaseException
        As it was raised, or as a worker sent it: with its traceback.
    """
    files = [frame.f_code.co_filename for frame, _ in walk_tb(error.__traceback__)]
    if not any(COMPILER in file for file in files) or isinstance(error, MemoryError):
        return None
    said = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    if any(CACHE in file for file in files):
        folder = os.environ.get("NUMBA_CACHE_DIR")
        where = "its cache" if folder is None else f"its cache in {folder} (NUMBA_CACHE_DIR)"
        found = f"Numba can't read or write {where}: {said}"
        first = (
            "expected a folder of this machine that can be written, has space left and holds nothing damaged: "
            f"export NUMBA_CACHE_DIR=/tmp/numba-{os.environ.get('USER', 'cache')}, an empty one"
        )
    else:
        found = f"Numba can't compile the kernels: {said}"
        first = "expected a Numba that knows this Python: pip install --upgrade numba"
    return KernelError(
        f"{found}\n  {first}\n"
        f"  here are Python {platform.python_version()} (3.12 or newer is needed) and Numba {version('numba')}\n"
        "  `hetdask doctor` looks closer; NUMBA_DISABLE_JIT=1 runs the kernels as plain Python for the time being, "
        "which is for small data only"
    )


@contextmanager
def explained() -> Iterator[None]:
    """Raise `KernelError` instead of what Numba's compiler or cache raises in a ``with`` block or a function.

    Raises
    ------
    KernelError
    """
    try:
        yield
    except Exception as error:
        found = kernel_error(error)
        if found is None:
            raise
        raise found from error


@explained()
@roomy
def warmup_numba_kernels() -> dict[str, float]:
    """Run every kernel once on tiny arrays, so that later calls find it compiled.

    Returns
    -------
    dict of str to float
        Seconds for each kernel, and their sum as ``total_warmup_time``. Close to zero where
        Numba's cache on disk holds the kernels already.

    Raises
    ------
    KernelError
        If Numba can't compile them, or its cache can't be used.

    Examples
    --------
    >>> warmup_numba_kernels()["total_warmup_time"] > 0.0
    True
    """
    from hetdask_kernels import warmup_numba_kernels as warm_up

    return warm_up()


def compiled() -> bool:
    """Whether Numba's cache holds every kernel: its file is newer than all sources, and made on such a processor.

    Files that are older are removed. Numba itself looks at the module of a kernel alone, and would go on to use it when
    another one has changed whose code is compiled into it, as after an update of a checkout.
    """
    from numba.core.dispatcher import Dispatcher

    import hetdask_kernels
    from hetdask_kernels.speckles import mean_decay

    names = [module.name for module in pkgutil.iter_modules(hetdask_kernels.__path__)]
    modules = [importlib.import_module(f"hetdask_kernels.{name}") for name in names]
    newest = max(Path(str(module.__file__)).stat().st_mtime for module in modules)
    kernels = {value for module in modules for value in vars(module).values() if isinstance(value, Dispatcher)}
    # All of them are looked at, so that nothing that is too old stays.
    missing = [kernel for kernel in kernels if not _is_cached(kernel, newest)]
    if missing:
        return False
    mean_decay(np.ones(1), np.ones(1), 1)
    return not kernels or any(kernel.stats.cache_hits for kernel in kernels)


def _is_cached(kernel: Dispatcher, newest: float) -> bool:
    """Whether Numba's cache holds a kernel that was compiled after the `newest` source; an older one is removed."""
    code, folder = kernel.py_func.__code__, kernel.stats.cache_path
    name = f"{Path(code.co_filename).stem}.{code.co_qualname}-{code.co_firstlineno}.*.nbi"
    found = False
    for file in [] if folder is None else Path(folder).glob(name):
        with suppress(OSError):  # gone meanwhile, or in a folder that belongs to somebody else
            if file.stat().st_mtime >= newest:
                found = True
            else:
                file.unlink()
    return found


def preparation() -> str | None:
    """Module to run before tasks run on this machine; None where they find every kernel in Numba's cache."""
    if not _COMPILED.is_set() and compiled():
        _COMPILED.set()
    return None if _COMPILED.is_set() else KERNELS


@explained()
@roomy
def _compile(name: str) -> None:
    """Compile one kernel, in a process that is there for it."""
    from hetdask_kernels.warmup import kernel_calls

    # What Numba makes lives as long as the process: looking through it, also in the end, takes a tenth of the time.
    gc.disable()
    kernel_calls()[name]()
    gc.freeze()


def _compile_all() -> None:
    """Compile kernels from the longest on, while other processes do from the shortest on."""
    from dask.system import CPU_COUNT

    from hetdask_kernels.warmup import kernel_calls

    names = deque(kernel_calls())
    others = min(CPU_COUNT, MOST_COMPILERS) - 1
    with ExitStack() as stack:
        feeding = []
        if others:
            pool = stack.enter_context(ProcessPoolExecutor(others, get_context("spawn")))
            threads = stack.enter_context(ThreadPoolExecutor(others))

            def feed() -> None:
                for name in _until_empty(names.pop):
                    pool.submit(_compile, name).result()

            feeding = [threads.submit(feed) for _ in range(others)]
        stack.callback(names.clear)  # an error ends it for all
        for name in _until_empty(names.popleft):
            _compile(name)
        for task in feeding:
            task.result()


def _until_empty(take: Callable[[], str]) -> Iterator[str]:
    """What is taken from a queue that others take from, too."""
    with suppress(IndexError):
        while True:
            yield take()


def main() -> int:
    """Compile all kernels; 1 if that fails, with the reason on standard error."""
    try:
        if compiled():
            warmup_numba_kernels()
        else:
            _compile_all()
    except KernelError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
