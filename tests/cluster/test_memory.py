from __future__ import annotations

from pathlib import Path

import pytest

from hetdask.errors import ClusterError, ConfigError
from hetdask_cluster import memory
from hetdask_cluster.memory import GIB, MIB, machine_memory, parse_memory, plan_memory


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
    assert plan.workers * plan.per_worker + memory.CLIENT_BASE <= plan.budget
    assert plan.resident <= 0.5 * plan.workers * plan.per_worker
    assert plan.projected(data=100 * GIB, task=0) <= plan.budget


def test_workers_that_could_not_start_are_refused_with_what_would_fit() -> None:
    with pytest.raises(ClusterError, match=r"at most 2 workers.*at least 2\.4 GiB"):
        plan_memory("1GiB", workers=8, total=16 * GIB)
    with pytest.raises(ClusterError, match="inline"):
        plan_memory("300MiB", workers=1, total=16 * GIB)


def test_tasks_that_do_not_fit_are_refused_and_the_advice_works() -> None:
    plan = plan_memory("4GiB", workers=4, total=64 * GIB)
    plan.require(100 * MIB, "a shard")
    with pytest.raises(ClusterError, match=r"a shard needs 2\.0 GiB.*raise the memory limit to 18\.4 GiB"):
        plan.require(2 * GIB, "a shard")
    plan_memory("18.4GiB", workers=4, total=64 * GIB).require(2 * GIB, "a shard")


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
