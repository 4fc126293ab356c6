from __future__ import annotations

import platform
import subprocess
import sys
import time

import psutil
import pytest

from hetdask_cluster.dask_runner import DaskRunner
from hetdask_cluster.memory import MIB
from hetdask_cluster.pages import MOST_BYTES, file_bytes

pytestmark = pytest.mark.skipif(not psutil.LINUX, reason="Linux tells what is mapped")

RELEASE = """
import ctypes
import numpy as np
from numba import njit
from hetdask_cluster.pages import file_bytes, release_file_pages
from hetdask_kernels import warmup_numba_kernels

warmup_numba_kernels()
before = file_bytes()
release_file_pages()
after = file_bytes()
assert njit(lambda x: x + 1)(2) == 3
warmup_numba_kernels()
assert np.linalg.inv(2.0 * np.eye(50))[0, 0] == 0.5
print(before, after)
"""


def test_program_files_are_given_back_and_come_again() -> None:
    done = subprocess.run([sys.executable, "-c", RELEASE], check=True, capture_output=True, text=True)
    before, after = (int(x) for x in done.stdout.split())
    assert before > 40 * MIB
    assert after < 20 * MIB


HEAPS = """
import ctypes, sys, tempfile
from threading import Barrier, Thread
from hetdask_cluster.pages import share_one_heap

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.fopen.restype = ctypes.c_void_p
if sys.argv[1] == "share":
    share_one_heap()
barrier = Barrier(4)

def allocate():
    barrier.wait()
    libc.malloc(ctypes.c_size_t(1000))
    barrier.wait()

threads = [Thread(target=allocate) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
with tempfile.NamedTemporaryFile() as told:
    file = ctypes.c_void_p(libc.fopen(told.name.encode(), b"w"))
    libc.malloc_info(0, file)
    libc.fclose(file)
    print(told.read().count(b"<heap"))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have one heap anyway")
def test_threads_share_a_heap_where_asked_to() -> None:
    heaps = {}
    for how in ("share", "as it is"):
        command = [sys.executable, "-c", HEAPS, how]
        heaps[how] = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert heaps["share"] == 1
    assert heaps["as it is"] > 1


def _load_kernels(_: int) -> float:
    from hetdask_kernels import warmup_numba_kernels

    return warmup_numba_kernels()["total_warmup_time"]


def test_workers_keep_few_pages_of_program_files(dask_runner: DaskRunner) -> None:
    dask_runner.map(_load_kernels, range(4))
    deadline = time.monotonic() + 10.0
    while max(found := dask_runner.client.run(file_bytes).values()) > MOST_BYTES:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
