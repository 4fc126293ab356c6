"""What a process holds without need: pages of program files that it has touched, and heaps of its threads.

The pages count as its memory although they are the system's cache. LLVM alone, which is hardly needed once kernels are
loaded, is 40 to 100 MiB of the resident size of each worker, depending on how its file lies in the cache of the system.
"""

from __future__ import annotations

import ctypes
import mmap
from typing import Final

import psutil

ARENA_MAX: Final = -8
"""Number of the option in glibc's malloc.h."""

MOST_BYTES: Final = 64 * 2**20
"""Pages of files that a worker keeps: those it works with are far fewer."""


def file_bytes() -> int:
    """Resident bytes of files of this process; 0 where the system does not tell."""
    return int(psutil.Process().memory_info().shared) if psutil.LINUX else 0


def release_file_pages() -> None:
    """Give back the pages of files that this process has mapped and not written to; what it touches comes again."""
    if not psutil.LINUX:
        return
    advise = ctypes.CDLL(None).madvise
    for mapped in psutil.Process().memory_maps(grouped=False):
        # Where a page differs from the file, it is the only copy.
        if mapped.path.startswith("/") and "w" not in mapped.perms and mapped.anonymous == 0:
            first, stop = (int(address, 16) for address in mapped.addr.split("-"))
            advise(ctypes.c_void_p(first), ctypes.c_size_t(stop - first), mmap.MADV_DONTNEED)


def share_one_heap() -> None:
    """Let all threads of this process allocate from one heap, where the C library has one for each of some threads.

    Threads that read and write files would keep what they once needed: some 10 MiB of a small fit.
    """
    if psutil.LINUX and (options := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        options(ARENA_MAX, 1)


def keep_few_file_pages() -> None:
    """Give them back if they are many."""
    if file_bytes() > MOST_BYTES:
        release_file_pages()
