"""Workers that are killed, stopped or out of memory: the fit goes on to the same answer, or ends with advice."""

from __future__ import annotations

import os
import random
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

import hetdask
from hetdask.data.store import Store
from hetdask.errors import ClusterError, DataError
from hetdask.results import Result
from hetdask_cluster import dask_runner
from hetdask_cluster.dask_runner import DaskRunner
from hetdask_cluster.local import open_runner
from hetdask_cluster.memory import MIB, PAUSE, TERMINATE, peak_memory
from hetdask_cluster.pages import file_bytes, release_file_pages
from hetdask_cluster.settings import SETTINGS

from .conftest import CONFIG, SHARDS, At, assert_same, wait_until

KILLS = 10
HELD: list[bytearray] = []

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def worker_processes() -> set[int]:
    """Workers of this process, those that are just starting included."""
    found = set()
    for child in psutil.Process().children():
        try:
            if "spawn_main" in " ".join(child.cmdline()):
                found.add(child.pid)
        except psutil.Error:
            continue
    return found


def fill_up(limit: int) -> int:
    """Take memory on a worker until it takes no more tasks, but is not ended."""
    # Pages of program files are given back and come again as they like, up to the limit beyond which workers are ended.
    release_file_pages()
    own = psutil.Process().memory_info().rss - file_bytes()
    HELD.append(bytearray(b"x") * (int(1.005 * PAUSE * limit) - own))
    return peak_memory()


@contextmanager
def two_workers() -> Iterator[DaskRunner]:
    """A cluster that leaves no process behind."""
    before = worker_processes()
    with open_runner("local", workers=2, memory_limit="1200MiB") as found:
        assert isinstance(found, DaskRunner)
        yield found
    assert worker_processes() <= before, "workers stay behind"


@pytest.fixture(scope="module")
def workers() -> Iterator[DaskRunner]:
    with two_workers() as found:
        yield found


def both_are_there(workers: DaskRunner) -> bool:
    return len(workers.client.nthreads()) == 2


def test_workers_killed_at_ten_random_moments_cost_time_only(
    workers: DaskRunner, store: Store, expected: Result, tmp_path: Path
) -> None:
    others = worker_processes() - set(workers.client.run(os.getpid).values())
    rng, killed, over = random.Random(7), list[int](), threading.Event()

    def kill() -> None:
        while len(killed) < KILLS and not over.wait(rng.uniform(0.05, 1.0)):
            alive = sorted(worker_processes() - others - set(killed))
            if alive:
                killed.append(rng.choice(alive))
                os.kill(killed[-1], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    found: list[Result] = []
    stopped: list[str] = []
    resume = False
    try:
        while (killer.is_alive() or not found) and len(stopped) < KILLS:
            folder = tmp_path / f"run{len(found)}"
            try:
                found.append(hetdask.fit(store, CONFIG, client=workers, folder=folder, resume=resume))
                resume = False
            except ClusterError as error:
                # Two deaths on one task count as its fault.
                resume = True
                stopped.append(str(error))
    finally:
        over.set()
        killer.join()
    assert len(killed) == KILLS
    assert found
    assert all("--resume" in text for text in stopped)
    for result in found:
        assert_same(result, expected)
    for folder in tmp_path.iterdir():
        assert_same(Result.load(folder), expected)
        assert not list(folder.glob(".*tmp"))
    wait_until(lambda: both_are_there(workers), 90, "the workers did not come back")


def test_a_worker_that_dies_while_it_starts_is_replaced(workers: DaskRunner) -> None:
    wait_until(lambda: both_are_there(workers), 90, "the workers did not come back")
    before = worker_processes()
    os.kill(min(workers.client.run(os.getpid).values()), signal.SIGKILL)
    wait_until(lambda: bool(worker_processes() - before), 60, "no worker is started")
    for pid in worker_processes() - before:
        os.kill(pid, signal.SIGKILL)
    assert workers.map(abs, [-1, -2]) == [1, 2]
    wait_until(lambda: both_are_there(workers), 90, "the worker did not come back")


def test_a_shard_that_vanishes_in_the_middle_of_a_fit_is_named(
    workers: DaskRunner, store: Store, tmp_path: Path
) -> None:
    copy = Store.open(shutil.copytree(store.path, tmp_path / "copy.zarr"))
    shard = copy.path / copy.tiling.shard_file(copy.shards()[SHARDS // 2])
    run = tmp_path / "run"
    with pytest.raises(DataError, match=r"is missing\. Ingest it again") as caught:
        hetdask.fit(copy, CONFIG, client=workers, folder=run, resident_bytes=0, progress=At(3, shard.unlink))
    assert str(shard) in str(caught.value)
    assert caught.value.exit_code == 2
    assert not (run / "result.json").exists()


def test_workers_that_are_all_out_of_memory_end_the_run_with_advice(
    workers: DaskRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_until(lambda: both_are_there(workers), 90, "the workers did not come back")
    assert workers.plan is not None
    monkeypatch.setattr(dask_runner, "CHECK_SECONDS", 0.5)
    monkeypatch.setattr(dask_runner, "PAUSED_SECONDS", 1.0)
    limit = workers.plan.per_worker
    taken = workers.client.run(fill_up, limit)
    assert all(PAUSE * limit < peak < TERMINATE * limit for peak in taken.values()), [x / MIB for x in taken.values()]
    with pytest.raises(ClusterError, match=r"of 40\d MiB each\. Give each worker more: a larger --memory-limit"):
        workers.map(abs, [-1, -2])


def test_a_worker_that_is_stopped_is_missed_and_replaced(
    store: Store, expected: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SETTINGS, "distributed.scheduler.worker-ttl", "8s")
    with two_workers() as workers:
        victim = min(workers.client.run(os.getpid).values())
        os.kill(victim, signal.SIGSTOP)
        assert_same(hetdask.fit(store, CONFIG, client=workers, folder=tmp_path / "run"), expected)
        wait_until(lambda: not psutil.pid_exists(victim), 60, "the stopped worker is still there")
