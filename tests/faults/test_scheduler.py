"""A scheduler or its only worker that is killed in the middle of a fit: a clean end with a checkpoint to go on from."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

import hetdask
from hetdask.data.store import Store
from hetdask.errors import ClusterError
from hetdask.results import Result
from hetdask_cluster import dask_runner
from hetdask_cluster.local import open_runner

from .conftest import CONFIG, At, assert_same, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[str, dict[str, subprocess.Popen[bytes]]]]:
    """Scheduler and one worker as processes of their own: file of the scheduler, and both by name."""
    file = folder / "scheduler.json"
    shared = ["--no-dashboard", "--scheduler-file", str(file)]
    program = [sys.executable, "-m", "dask"]
    options: dict[str, Any] = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with ExitStack() as stack:
        scheduler = stack.enter_context(
            subprocess.Popen([*program, "scheduler", "--host", "127.0.0.1", "--port", "0", *shared], **options)
        )
        stack.callback(scheduler.kill)
        worker = stack.enter_context(
            subprocess.Popen(
                [*program, "worker", "--nthreads", "1", "--no-nanny", "--death-timeout", "60", *shared],
                env=os.environ | {"OMP_NUM_THREADS": "1"}, **options,
            )
        )  # fmt: skip
        stack.callback(worker.kill)
        wait_until(file.exists, 60, "no scheduler")
        yield str(file), {"scheduler": scheduler, "worker": worker}


def fit_without(victim: str, advice: str, store: Store, folder: Path) -> Path:
    """Run folder of a fit that ends with advice, since the scheduler or its only worker was killed in the middle."""
    run = folder / "run"
    with (
        cluster(folder) as (file, processes),
        open_runner(file, workers=1) as runner,
        pytest.raises(ClusterError, match=advice),
    ):
        hetdask.fit(store, CONFIG, client=runner, folder=run, progress=At(3, processes[victim].kill))
    return run


def test_a_killed_scheduler_ends_the_fit_with_a_checkpoint_that_another_goes_on_from(
    store: Store, expected: Result, tmp_path: Path
) -> None:
    run = fit_without("scheduler", r"connection to the scheduler.*--resume", store, tmp_path)
    assert ClusterError.exit_code == 2
    assert not (run / "result.json").exists()
    (tmp_path / "scheduler.json").unlink()
    with cluster(tmp_path) as (file, _), open_runner(file, workers=1) as runner:
        assert_same(hetdask.fit(store, CONFIG, client=runner, folder=run, resume=True), expected)


def test_a_fit_whose_only_worker_is_gone_ends_with_a_checkpoint_on_a_scheduler_that_would_wait(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_runner, "CHECK_SECONDS", 0.5)
    monkeypatch.setattr(dask_runner, "UNMANNED_SECONDS", 3.0)
    run = fit_without("worker", r"no worker to run on.*--resume", store, tmp_path)
    assert list(run.glob("checkpoint.*.npy"))


def test_a_restarted_scheduler_ends_the_fit_with_a_checkpoint(store: Store, expected: Result, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with open_runner("local", workers=1, memory_limit="1GiB") as runner:
        restart = runner.client.restart  # type: ignore[attr-defined]
        with pytest.raises(ClusterError, match=r"restarted.*--resume"):
            hetdask.fit(store, CONFIG, client=runner, folder=run, progress=At(3, restart))
        assert_same(hetdask.fit(store, CONFIG, client=runner, folder=run, resume=True), expected)
