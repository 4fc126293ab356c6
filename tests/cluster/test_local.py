from __future__ import annotations

import json
import logging
import signal
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
from distributed import LocalCluster

from hetdask.errors import ClusterError, ConfigError
from hetdask_cluster.dask_runner import DaskRunner
from hetdask_cluster.local import choose_workers, open_runner
from hetdask_cluster.preload import dask_setup, is_no_heartbeat
from hetdask_cluster.runner import InlineRunner


def test_there_are_as_many_workers_as_cores_or_tasks() -> None:
    assert choose_workers(None, cores=8) == 8
    assert choose_workers(None, tasks=3, cores=8) == 3
    assert choose_workers(None, tasks=0, cores=8) == 1
    assert choose_workers(5, tasks=3, cores=8) == 5
    assert choose_workers(None, cores=8, threads=4) == 2
    assert choose_workers(None, cores=2, threads=16) == 1


@pytest.mark.parametrize("workers", [0, -1, 9, 1000])
def test_more_or_fewer_workers_than_sense_are_refused(workers: int) -> None:
    with pytest.raises(ClusterError, match=r"expected 1 to 8 on 2 cores: use --workers 2"):
        choose_workers(workers, cores=2)


def test_a_heartbeat_that_finds_the_scheduler_gone_is_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    log, handler = logging.getLogger("distributed.worker"), signal.getsignal(signal.SIGINT)
    worker = SimpleNamespace(periodic_callbacks={})
    try:
        dask_setup(worker)
        log.error("Failed to communicate with scheduler during heartbeat.")
        log.error("Failed to do something else")
    finally:
        signal.signal(signal.SIGINT, handler)
        log.removeFilter(is_no_heartbeat)
    assert caplog.messages == ["Failed to do something else"]


def test_inline_runs_in_this_process() -> None:
    with open_runner("inline") as runner:
        assert isinstance(runner, InlineRunner)
        assert runner.map(abs, [-2]) == [2]


def test_inline_reads_its_options_too() -> None:
    with pytest.raises(ConfigError, match="memory limit"), open_runner("inline", memory_limit="lots"):
        pytest.fail("opened with a memory limit that makes no sense")


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [
        ("sLURM", "expected inline, local"),
        ("slurm", r"needs a site file.*--site configs/sites/slurm\.yaml"),
        ("missing.json", "there is no scheduler file"),
        ("tcp://127.0.0.1:1", "no scheduler answers"),
    ],
)
def test_schedulers_that_cannot_be_reached_are_named(
    scheduler: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hetdask_cluster.remote.CONNECT_SECONDS", 0.5)
    with pytest.raises(ClusterError, match=message), open_runner(scheduler):
        pytest.fail("opened a scheduler that does not exist")


def test_a_running_scheduler_is_used_and_left_running(dask_runner: DaskRunner, tmp_path: Path) -> None:
    cluster = dask_runner.client.cluster
    assert isinstance(cluster, LocalCluster)
    with open_runner(cluster.scheduler_address) as runner:
        assert runner.n_workers == 2
        assert runner.map(abs, [-3]) == [3]
        assert runner.plan is not None
        assert dask_runner.plan is not None
        # A running cluster leaves a tenth of each worker to whoever else uses it.
        assert runner.plan.per_worker == int(0.9 * dask_runner.plan.per_worker)
    file = tmp_path / "scheduler.json"
    # As a scheduler writes it. `Client.write_scheduler_file` fails where workers have measured tasks.
    file.write_text(json.dumps({"address": cluster.scheduler_address}))
    with open_runner(str(file)) as runner:
        assert runner.map(abs, [-4]) == [4]
    assert dask_runner.map(abs, [-5]) == [5]


def test_workers_that_do_not_come_are_not_waited_for_for_ever(
    dask_runner: DaskRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hetdask_cluster.remote.START_SECONDS", 0.5)
    address = dask_runner.client.scheduler.address
    with (
        pytest.raises(ClusterError, match=r"found 2 workers.*expected 3.*--workers 2"),
        open_runner(address, workers=3),
    ):
        pytest.fail("opened with fewer workers than asked for")


def test_the_dashboard_listens_on_this_machine_only(dask_runner: DaskRunner) -> None:
    cluster = dask_runner.client.cluster
    assert isinstance(cluster, LocalCluster)
    listeners = cluster.scheduler.http_server._sockets.values()
    assert {listener.getsockname()[0] for listener in listeners if listener.family == socket.AF_INET} == {"127.0.0.1"}
