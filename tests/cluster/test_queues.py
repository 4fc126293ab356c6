"""Job scripts as text, without any queue, and what keeps scripts from going wrong.

After a change that is meant, `python tests/cluster/test_queues.py` writes the scripts of the site files anew.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.config
import jsonschema
import pytest
import yaml

from hetdask.config import load_site
from hetdask.errors import ConfigError
from hetdask_cluster.queues import run_script, worker_script
from hetdask_cluster.settings import SETTINGS, exports
from hetdask_cluster.site import QUEUES, Site, seconds, site_schema

SITES = Path(__file__).parents[2] / "configs" / "sites"
GOLDEN = Path(__file__).parent / "golden"
Program = Callable[..., Any]


def scripts(name: str) -> str:
    """Both scripts of a site file of the project."""
    site = load_site(SITES / f"{name}.yaml")
    command = ["fit", "/data/my scan.yaml", "-o", "run"]
    run = run_script(site, command, "/data", "hetdask.compilation")
    return f"{worker_script(site, 'hetdask.compilation')}\n{'=' * 40}\n\n{run}"


def site(**changes: Any) -> Site:
    return Site(**({"scheduler": "slurm", "cores": 16, "memory": "64GiB", "python": "python"} | changes))


@pytest.mark.parametrize("name", QUEUES)
def test_the_scripts_of_every_queue_are_as_recorded(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LSF_ENVDIR", str(tmp_path))
    assert scripts(name) == (GOLDEN / f"{name}.txt").read_text()


def test_every_site_file_is_used_and_follows_the_schema() -> None:
    found = {path.stem for path in SITES.glob("*.yaml")}
    assert found == {*QUEUES, "local-slurm"}
    for path in SITES.glob("*.yaml"):
        jsonschema.validate(yaml.safe_load(path.read_text()), site_schema())


@pytest.mark.parametrize("processes", [None, 4])
def test_processes_are_always_set_and_take_all_cores(processes: int | None) -> None:
    script = worker_script(site(processes=processes))
    workers = processes or 16
    assert f"--nworkers {workers} " in script
    assert f"--nthreads {16 // workers} " in script
    assert f"--memory-limit {64 / workers:.2f}GiB" in script


def test_memory_in_decimal_units_is_refused_because_queues_would_ask_for_less() -> None:
    with pytest.raises(ConfigError, match=r"256GB.*238\.4 GiB.*write 256GiB"):
        site(memory="256GB")
    assert "--mem=256G" in worker_script(site(memory="256 GiB"))
    with pytest.raises(ConfigError, match="size with a unit"):
        site(memory="256")


@pytest.mark.parametrize(("walltime", "expected"), [("02:00:00", 7200), ("1-00:00:00", 86400), ("100:30:00", 361800)])
def test_workers_and_runs_end_before_the_walltime(walltime: str, expected: int) -> None:
    chosen = site(walltime=walltime)
    assert seconds(walltime) == expected
    script = worker_script(chosen)
    lifetime, stagger = (int(text) for text in re.findall(r"--lifetime(?:-stagger)? (\d+)s", script))
    assert lifetime + stagger < expected
    assert lifetime > 0.7 * expected
    stop = re.search(r"timeout --signal=INT \S+ --kill-after=(\d+) (\d+) ", run_script(chosen, ["fit"], "/data"))
    assert stop is not None
    assert int(stop.group(1)) + int(stop.group(2)) <= expected


@pytest.mark.parametrize("walltime", ["two hours", "02:00", "02:75:00", "00:01:00", ""])
def test_walltimes_that_make_no_sense_are_refused(walltime: str) -> None:
    with pytest.raises(ConfigError, match="walltime: found"):
        site(walltime=walltime)


def test_settings_reach_the_workers_of_jobs() -> None:
    script = worker_script(site())
    environment = {}
    for line in exports():
        assert line in script.splitlines()
        name, value = shlex.split(line.removeprefix("export "))[0].split("=", 1)
        environment[name] = value
    found = dask.config.collect_env(environment)
    for key, value in SETTINGS.items():
        assert dask.config.get(key, config=found) == value


def test_libraries_in_jobs_have_one_thread_unless_the_site_says_otherwise() -> None:
    lines = worker_script(site(environment={"OMP_NUM_THREADS": "4"})).splitlines()
    assert lines.index("export OMP_NUM_THREADS=4") < lines.index("export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}")
    assert "export NUMBA_NUM_THREADS=${NUMBA_NUM_THREADS:-1}" in lines


def test_a_run_over_several_nodes_brings_scheduler_and_workers() -> None:
    script = run_script(site(nodes=3, interface="ib0"), ["fit", "a.yaml"], "/data")
    assert "#SBATCH --nodes=3" in script
    assert "#SBATCH -n 1" not in script
    assert "distributed.cli.dask_scheduler --interface ib0" in script
    assert "srun --ntasks=3 --ntasks-per-node=1 --cpus-per-task=16" in script
    assert "--nworkers 16 --nthreads 1" in script
    assert '--scheduler "scheduler-$SLURM_JOB_ID.json"' in script
    with pytest.raises(ConfigError, match="nodes: found 3 with scheduler pbs"):
        site(scheduler="pbs", nodes=3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scheduler: slurm\ncores: 4\nmemory: 8GiB\nqeue: x", "unknown key 'qeue': did you mean 'queue'"),
        ("scheduler: torque\ncores: 4\nmemory: 8GiB", "scheduler: found 'torque', expected 'slurm'"),
        ("scheduler: slurm\nmemory: 8GiB", "cores"),
        ("scheduler: slurm\ncores: 4\nmemory: 8GB", "write 8GiB"),
        ("scheduler: slurm\ncores: 4\nmemory: 8GiB\nprocesses: 8", "processes: found 8 on 4 cores"),
        ("scheduler: slurm\ncores: 4\nmemory: 8GiB\nadaptive: {minimum: 3, maximum: 2}", "minimum 3 above maximum 2"),
    ],
)
def test_a_wrong_site_file_is_refused_with_what_to_write(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as refused:
        load_site(path)
    assert str(path) in str(refused.value)


if __name__ == "__main__":
    os.environ["LSF_ENVDIR"] = "/nowhere"
    for queue in QUEUES:
        (GOLDEN / f"{queue}.txt").write_text(scripts(queue))
