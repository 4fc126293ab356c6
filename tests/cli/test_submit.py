from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from hetdask_cluster.site import site_schema

Program = Callable[..., Any]

SITE = "scheduler: slurm\ncores: 2\nmemory: 2GiB\nwalltime: '00:20:00'\npython: python\n"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    path = tmp_path / "site.yaml"
    path.write_text(SITE)
    return path


def test_a_dry_run_prints_the_script_and_sends_nothing(
    program: Program, config: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    flags = ["--set", "fit.rounds=1", "--seed", "3", "--no-plots", "-o", "a run"]
    outcome = program(["submit", config, "--site", site, "--dry-run", *flags])
    assert outcome.status == 0, outcome.err
    assert "#SBATCH --cpus-per-task=2" in outcome.out
    command = outcome.out.strip().splitlines()[-1]
    assert command.startswith("timeout --signal=INT")
    assert f"fit {config} -o 'a run'" in command.replace("--output", "-o")
    assert "--seed 3 --set fit.rounds=1 --no-plots --quiet --scheduler local --workers 2 --memory-limit" in command
    outcome = program(["submit", config, "--site", site])
    assert outcome.status == 2
    assert "did not take the job" in outcome.err
    assert "--dry-run" in outcome.err


def test_what_does_not_fit_into_a_job_is_refused_before_it_waits(program: Program, config: Path, site: Path) -> None:
    site.write_text(SITE.replace("2GiB", "700MiB"))
    outcome = program(["submit", config, "--site", site, "--dry-run"])
    assert outcome.status == 2
    assert "memory limit of at least" in outcome.err


def test_a_site_is_needed_and_decides_the_queue(program: Program, config: Path, site: Path) -> None:
    assert "--site configs/sites/slurm.yaml" in program(["submit", config]).err
    assert "leave out --scheduler" in program(["submit", config, "--site", site, "--scheduler", "pbs"]).err
    outcome = program(["fit", config, "--scheduler", "pbs", "--site", site])
    assert outcome.status == 2
    assert "the site file is for slurm" in outcome.err


def test_a_dry_run_of_a_fit_on_a_queue_shows_plan_and_worker_script(program: Program, config: Path, site: Path) -> None:
    outcome = program(["fit", config, "--site", site, "--workers", "4", "--dry-run"])
    assert outcome.status == 0, outcome.err
    assert "script of each of 2 jobs" in outcome.out
    assert "--nworkers 2 --nanny" in outcome.out
    assert "python -m hetdask.compilation" in outcome.out


def test_the_schema_of_site_files_is_published(program: Program) -> None:
    assert json.loads(program(["config", "schema", "--site"]).out) == site_schema()


def test_a_site_in_the_configuration_names_the_scheduler(program: Program, config: Path, site: Path) -> None:
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | {"compute": {"site": str(site)}}))
    outcome = program(["fit", config, "--dry-run"])
    assert outcome.status == 0, outcome.err
    assert "slurm" in outcome.out
    assert "script of each of" in outcome.out
