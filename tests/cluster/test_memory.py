from __future__ import annotations

import re
from pathlib import Path

import pytest

from hetdask.errors import ClusterError, ConfigError
from hetdask_cluster import memory
from hetdask_cluster.memory import GIB, MIB, machine_memory, parse_memory, plan_cluster, plan_memory


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("0.9", 0.9 * 16 * GIB),
        (0.25, 4 * GIB),
        (1, 16 * GIB),
        ("50%", 8 * GIB),
        ("8GiB", 8 * GIB),
        ("8 gib", 8 * GIB),
        ("512MiB", 512 * MIB),
        ("2GB", 2 * 10**9),
        ("1.5e9", 1.5e9),
        (2 * GIB, 2 * GIB),
    ],
)
def test_limits_are_fractions_sizes_or_bytes(limit: str | float, expected: float) -> None:
    assert parse_memory(limit, total=16 * GIB) == int(expected)


@pytest.mark.parametrize("limit", ["", "much", "8 parsecs", "-1GiB", "nan", "0", "0GiB", "17GiB", "120%", -0.5])
def test_a_limit_that_makes_no_sense_is_refused_with_an_example(limit: str | float) -> None:
    with pytest.raises(ConfigError, match=r"0\.9"):
        parse_memory(limit, total=16 * GIB)


def test_the_budget_holds_for_client_and_workers_together() -> None:
    plan = plan_memory("8GiB", workers=3, total=16 * GIB)
    assert plan.budget == 8 * GIB
    assert plan.workers * plan.per_worker + plan.client <= plan.budget
    assert plan.client >= memory.CLIENT_BASE
    assert plan.projected(data=100 * GIB, task=0) <= plan.budget


@pytest.mark.parametrize("budget", ["1GiB", "4GiB", "64GiB"])
@pytest.mark.parametrize("threads", [1, 2])
def test_data_that_stay_take_at_most_half_of_a_worker_and_leave_room_for_tasks(budget: str, threads: int) -> None:
    plan = plan_memory(budget, workers=2, threads=threads, total=64 * GIB)
    for task in (0, 8 * MIB, plan.room):
        resident = plan.resident(task) // plan.workers
        assert 0 <= resident <= memory.RESIDENT_FRACTION * plan.per_worker
        if threads * task <= plan.room:
            assert memory.WORKER_BASE + resident + threads * task <= memory.PAUSE * plan.per_worker
            assert plan.projected_worker(data=100 * GIB, task=task) <= memory.PAUSE * plan.per_worker


def test_a_run_in_this_process_needs_no_workers() -> None:
    plan = plan_memory("512MiB", workers=0, total=16 * GIB)
    assert plan.client + plan.per_worker == plan.budget
    assert plan.room > 64 * MIB


def test_workers_that_could_not_start_are_refused_with_what_would_fit() -> None:
    with pytest.raises(ClusterError, match=r"at most 1 workers \(--workers 1\).*at least \d+MiB"):
        plan_memory("900MiB", workers=8, total=16 * GIB)
    with pytest.raises(ClusterError, match="inline"):
        plan_memory("400MiB", workers=1, total=16 * GIB)


@pytest.mark.parametrize("workers", [0, 1, 2, 8])
def test_the_limit_that_is_advised_is_enough_and_hardly_less_is(workers: int) -> None:
    with pytest.raises(ClusterError) as refused:
        plan_memory("300MiB", workers=workers, total=16 * GIB)
    advised = int(re.search(r"at least (\d+)MiB", str(refused.value)).group(1))  # type: ignore[union-attr]
    plan_memory(f"{advised}MiB", workers=workers, total=16 * GIB)
    with pytest.raises(ClusterError):
        plan_memory(f"{0.97 * advised}MiB", workers=workers, total=16 * GIB)


def test_tasks_that_do_not_fit_are_refused_and_the_advice_works() -> None:
    plan = plan_memory("4GiB", workers=4, total=64 * GIB)
    plan.require(100 * MIB, "a shard")
    with pytest.raises(ClusterError, match=r"a shard needs 2\.0 GiB.*--workers 1") as refused:
        plan.require(2 * GIB, "a shard")
    advised = re.search(r"raise the memory limit to ([0-9.]+GiB)", str(refused.value))
    assert advised is not None
    plan_memory(advised.group(1), workers=4, total=64 * GIB).require(2 * GIB, "a shard")
    plan_memory("4GiB", workers=1, total=64 * GIB).require(2 * GIB, "a shard")
    reading = plan.reading // plan.workers
    plan.require_reading(reading, "a map")
    with pytest.raises(ClusterError, match="a map needs"):
        plan.require_reading(reading + 1, "a map")


def test_workers_of_somebody_else_keep_their_limits() -> None:
    whole = plan_cluster(1.0, [8 * GIB, 4 * GIB])
    assert whole.per_worker == 4 * GIB
    assert plan_cluster("0.5", [8 * GIB, 8 * GIB]).per_worker == 4 * GIB
    assert plan_cluster("4GiB", [8 * GIB, 8 * GIB]).budget <= 4 * GIB
    assert plan_cluster("100GiB", [8 * GIB, 8 * GIB]).per_worker == 8 * GIB
    with pytest.raises(ClusterError, match="more memory"):
        plan_cluster(0.9, [256 * MIB])


def test_the_smallest_limit_of_the_cgroups_counts(tmp_path: Path) -> None:
    membership = tmp_path / "cgroup"
    membership.write_text("0::/slice/job/step\n")
    root = tmp_path / "fs"
    step = root / "slice" / "job" / "step"
    step.mkdir(parents=True)
    (step / "memory.max").write_text("max\n")
    (step.parent / "memory.max").write_text(f"{2 * GIB}\n")
    (root / "slice" / "memory.max").write_text(f"{3 * GIB}\n")
    assert min(memory._cgroup_limits(membership, root)) == 2 * GIB


def test_the_older_kind_of_cgroup_is_read_too(tmp_path: Path) -> None:
    membership = tmp_path / "cgroup"
    membership.write_text("5:cpu,cpuacct:/job\n4:memory:/job\n")
    (tmp_path / "fs" / "memory" / "job").mkdir(parents=True)
    (tmp_path / "fs" / "memory" / "job" / "memory.limit_in_bytes").write_text(str(GIB))
    assert memory._cgroup_limits(membership, tmp_path / "fs") == [GIB]


def test_this_machine_has_memory() -> None:
    assert machine_memory() > 256 * MIB
