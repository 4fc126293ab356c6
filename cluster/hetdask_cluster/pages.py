"""Pages of program files that a process has touched: counted as its memory although they are the system's cache.

LLVM alone, which is hardly needed once kernels are loaded, is 40 to 100 MiB of the resident size of each worker,
depending on how its file lies in the cache of the system.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

MOST_BYTES: Final = 64 * 2**20
"""Pages of files that a worker keeps: those it works with are far fewer."""

SIZES, MAPPINGS = Path("/proc/self/statm"), Path("/proc/self/smaps")


def file_bytes() -> int:
    """Resident bytes of files of this process; 0 where the system does not tell."""
    return int(SIZES.read_text().split()[2]) * mmap.PAGESIZE if SIZES.exists() else 0


def release_file_pages() -> None:
    """Give back the pages of files that this process has mapped and not written to; what it touches comes again."""
    if not MAPPINGS.exists():
        return
    advise = ctypes.CDLL(None).madvise
    for first, stop in _clean_mappings():
        advise(ctypes.c_void_p(first), ctypes.c_size_t(stop - first), mmap.MADV_DONTNEED)


def keep_few_file_pages() -> None:
    """Give them back if they are many."""
    if file_bytes() > MOST_BYTES:
        release_file_pages()


def _clean_mappings() -> Iterator[tuple[int, int]]:
    """Addresses of mapped files that can't be written to and of which no page differs from the file."""
    place, candidate = (0, 0), False
    for line in MAPPINGS.read_text().splitlines():
        name, *rest = line.split()
        if not name.endswith(":"):
            first, _, stop = name.partition("-")
            place = int(first, 16), int(stop, 16)
            candidate = "w" not in rest[0] and len(rest) > 4 and rest[4].startswith("/")
        elif name == "Anonymous:" and candidate and rest[0] == "0":
            yield place
