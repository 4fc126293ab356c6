from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest

from hetdask.errors import ClusterError, ConfigError, DataError
from hetdask_cluster.dask_runner import SHARED_BYTES, DaskRunner
from hetdask_cluster.local import available_cores, open_runner, plan_run
from hetdask_cluster.memory import MIB, PAUSE, TERMINATE
from hetdask_cluster.runner import InlineRunner, Runner
from hetdask_cluster.threads import (
    ALLOCATOR,
    SET_BY_NANNIES,
    THREAD_VARIABLES,
    library_threads,
    preserved_environment,
    worker_environment,
)


def pick(index: int, table: np.ndarray) -> float:
    return float(table[index])


def scale(value: float, factor: float = 1.0) -> float:
    return value * factor


def total(values: list[float], extra: float) -> float:
    return sum(values) + extra


def fail_on_three(value: int) -> int:
    if value == 3:
        raise DataError("three is not in the file")
    return value


def count_and_fail(folder: str) -> None:
    (Path(folder) / f"{time.monotonic_ns()}").touch()
    raise DataError("no use in trying again")


def fail_once(folder: str) -> str:
    marker = Path(folder) / "tried"
    if not marker.exists():
        marker.touch()
        raise OSError("the file system did not answer")
    return "done"


def environment(_: int) -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in (*THREAD_VARIABLES, *ALLOCATOR)}


def multiply_with_blas(_: int) -> float:
    return float((np.ones((64, 64)) @ np.ones((64, 64))).sum())


def memory_settings(_: int) -> dict[str, Any]:
    found: dict[str, Any] = dask.config.get("distributed.worker.memory")
    return found


def process(_: int) -> int:
    return os.getpid()


def die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def linger(_: int) -> None:
    threading.Event().wait(timeout=3.0)


@pytest.fixture(params=["inline", "dask"])
def runner(request: pytest.FixtureRequest) -> Runner:
    found: Runner = request.getfixturevalue(f"{request.param}_runner")
    return found


def test_results_come_in_the_order_of_the_items(runner: Runner) -> None:
    assert runner.map(scale, [3.0, 1.0, 2.0], 10.0) == [30.0, 10.0, 20.0]
    assert runner.map(scale, []) == []


def test_items_may_be_kept_results_mixed_with_plain_ones(runner: Runner) -> None:
    kept = runner.put(scale, 4.0, 0.5)
    assert runner.map(scale, [kept, 7.0, kept], 2.0) == [4.0, 14.0, 4.0]


def test_every_result_is_announced_once(runner: Runner) -> None:
    seen: dict[int, Any] = {}
    results = runner.map(scale, [1.0, 2.0, 3.0], 2.0, on_done=seen.__setitem__)
    assert seen == {0: 2.0, 1: 4.0, 2: 6.0}
    assert results == [2.0, 4.0, 6.0]


def test_errors_of_tasks_arrive_as_they_were_raised(runner: Runner) -> None:
    with pytest.raises(DataError, match="three is not in the file"):
        runner.map(fail_on_three, [1, 2, 3, 4])
    with pytest.raises(DataError, match="three is not in the file"):
        runner.map(fail_on_three, [1, 2, 3, 4], on_done=lambda _index, _result: None)


def test_an_error_while_keeping_arrives_at_the_latest_in_map(runner: Runner) -> None:
    with pytest.raises(DataError, match="three"):
        runner.map(scale, [runner.put(fail_on_three, 3)])


def test_what_does_not_travel_is_refused_inline_too(inline_runner: InlineRunner) -> None:
    with pytest.raises(TypeError, match="pickle"):
        inline_runner.map(scale, [threading.Lock()])


def test_arguments_are_copies_inline_as_on_a_cluster(inline_runner: InlineRunner) -> None:
    values = [1.0]
    assert inline_runner.map(list.append, [values], 2.0) == [None]
    assert values == [1.0]


def test_errors_of_ours_are_not_tried_again(dask_runner: DaskRunner, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no use"):
        dask_runner.map(count_and_fail, [str(tmp_path)])
    assert len(list(tmp_path.iterdir())) == 1


def test_errors_that_may_pass_are_tried_again(dask_runner: DaskRunner, tmp_path: Path) -> None:
    assert dask_runner.map(fail_once, [str(tmp_path)]) == ["done"]


def test_each_worker_computes_with_one_thread_and_keeps_pages_for_the_next_task(dask_runner: DaskRunner) -> None:
    defaults = {**dict.fromkeys(THREAD_VARIABLES, 1), **ALLOCATOR}
    expected = {name: os.environ.get(name, str(value)) for name, value in defaults.items()}
    assert dask_runner.map(environment, [0, 1]) == [expected, expected]
    assert dask_runner.n_workers == 2


def test_libraries_on_workers_obey_and_the_record_says_so(dask_runner: DaskRunner, inline_runner: InlineRunner) -> None:
    dask_runner.map(multiply_with_blas, [0, 1])
    asked = max(int(os.environ.get(name, "1")) for name in THREAD_VARIABLES)
    described = dask_runner.describe()
    assert described["workers"] == 2
    assert described["threads_per_worker"] == 1
    assert described["library_threads"] == asked
    assert inline_runner.describe()["workers"] == 0


def test_variables_of_the_user_win_and_leave_fewer_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert library_threads() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    assert library_threads() == 2
    cores = available_cores()
    plan = plan_run("local", memory_limit="4GiB")
    assert plan is not None
    assert plan.workers == max(1, cores // 2)
    with open_runner("local", workers=1, memory_limit="2GiB") as runner:
        found = runner.map(environment, [0])[0]
        assert (found["OMP_NUM_THREADS"], found["NUMBA_NUM_THREADS"]) == ("2", "1")
        assert found["OPENBLAS_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    with pytest.raises(ConfigError, match="OMP_NUM_THREADS: found 'many'"):
        plan_run("local", memory_limit="4GiB")


def test_no_worker_spills_or_pauses_below_its_plan(dask_runner: DaskRunner) -> None:
    settings = dask_runner.map(memory_settings, [0])[0]
    assert (settings["target"], settings["spill"]) == (False, False)
    assert (settings["pause"], settings["terminate"]) == (PAUSE, TERMINATE)


def test_the_peak_of_the_workers_is_within_their_plan(runner: Runner) -> None:
    assert 16 * MIB < runner.peak_worker() < 16 * 2**30
    if isinstance(runner, DaskRunner):
        assert runner.plan is not None
        assert runner.peak_worker() < runner.plan.per_worker


def test_the_environment_of_this_process_stays_as_it_was() -> None:
    before = dict(os.environ)
    with preserved_environment():
        for name in SET_BY_NANNIES:
            os.environ[name] = "7"
    assert dict(os.environ) == before
    assert {key.rpartition(".")[2] for key in worker_environment()} == {*THREAD_VARIABLES, *ALLOCATOR}


def test_tasks_go_to_what_is_kept_and_nothing_is_copied(dask_runner: DaskRunner) -> None:
    client = dask_runner.client
    place = min(client.nthreads())
    kept = [client.submit(scale, float(k), workers=[place], pure=False) for k in range(4)]
    for _ in range(3):
        assert dask_runner.map(pow, [*kept, *range(4, 40)], 2) == [k**2 for k in range(40)]
        assert set(client.who_has(kept).values()) == {(place,)}


def test_arguments_that_are_large_go_to_the_scheduler_once(dask_runner: DaskRunner) -> None:
    table = np.arange(SHARED_BYTES, dtype=np.float64)
    assert dask_runner.map(pick, [3, 5, 7], table) == [3.0, 5.0, 7.0]


def test_a_dead_worker_costs_time_but_no_results(dask_runner: DaskRunner) -> None:
    kept = [dask_runner.put(scale, float(k)) for k in range(6)]
    expected = [2.0 * k for k in range(6)]
    assert dask_runner.map(scale, kept, 2.0) == expected
    os.kill(dask_runner.map(process, [0])[0], signal.SIGKILL)
    assert dask_runner.map(scale, kept, 2.0) == expected


@pytest.mark.slow
def test_a_task_that_kills_its_workers_ends_with_advice() -> None:
    with open_runner("local", workers=2, memory_limit="2GiB") as runner:
        with pytest.raises(ClusterError, match="--memory-limit"):
            runner.map(die, [0])
        assert runner.map(scale, [1.0], 2.0) == [2.0]


def test_a_task_that_takes_too_long_meets_the_deadline(dask_runner: DaskRunner) -> None:
    hasty = DaskRunner(dask_runner.client, deadline=0.2)
    with pytest.raises(ClusterError, match="no task finished"):
        hasty.map(linger, [0])


def thread_of(_value: float) -> str:
    return threading.current_thread().name


def test_what_is_kept_is_called_where_it_is(dask_runner: DaskRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [dask_runner.put(scale, float(k)) for k in range(4)]
    assert dask_runner.map(scale, kept, 3.0) == [0.0, 3.0, 6.0, 9.0]
    monkeypatch.setattr(dask_runner.client, "map", None)  # no task is needed any more
    seen: dict[int, Any] = {}
    assert dask_runner.map(scale, kept[::-1], 2.0, on_done=seen.__setitem__) == [6.0, 4.0, 2.0, 0.0]
    assert seen == {0: 6.0, 1: 4.0, 2: 2.0, 3: 0.0}
    names = dask_runner.map(thread_of, kept)
    assert all("Dask-Default-Threads" in name for name in names), names


def test_a_call_that_fails_where_things_are_kept_is_told_by_a_task(dask_runner: DaskRunner) -> None:
    kept = [dask_runner.put(abs, k) for k in (1, 3)]
    assert dask_runner.map(scale, kept, 2.0) == [2.0, 6.0]
    with pytest.raises(DataError, match="three is not in the file"):
        dask_runner.map(fail_on_three, kept)
    assert dask_runner.map(scale, kept, 2.0) == [2.0, 6.0]


def test_calls_are_tasks_while_a_report_of_tasks_is_made(dask_runner: DaskRunner, tmp_path: Path) -> None:
    kept = [dask_runner.put(abs, k) for k in (1, 3)]
    assert dask_runner.map(scale, kept, 2.0) == [2.0, 6.0]
    with dask_runner.performance_report(tmp_path / "report.html"):
        assert dask_runner.map(thread_of, kept) == dask_runner.map(thread_of, kept)
    assert "thread_of" in (tmp_path / "report.html").read_text()
