"""Fits on a real Slurm with one node: the same answer as in this process."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import dask
import numpy as np
import psutil
import pytest
import yaml

from hetdask.config import load_site
from hetdask.data.writers import write_aps_u
from hetdask.model import simulate_gaussian
from hetdask_cluster.dask_runner import DaskRunner
from hetdask_cluster.queues import queue_client, submit
from hetdask_cluster.site import Adaptive, Site

START = Path(__file__).parent / "start.sh"
SITE = Path(__file__).parents[2] / "configs" / "sites" / "local-slurm.yaml"
TRUTH = {"D0_ref": 300.0, "D0_sample": 2000.0, "v0": 120.0, "f0": 0.45, "phi0": 12.0}
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Slurm of our own; its configuration."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(
            f"NO SLURM IS TESTED HERE: {', '.join(missing) or 'it starts as root only'}; as root on Debian or Ubuntu, "
            "`tests/slurm/start.sh install` installs it"
        )
    folder = tmp_path_factory.mktemp("slurm")
    started = subprocess.run([START, folder], capture_output=True, text=True, timeout=120, check=False)
    try:
        assert started.returncode == 0, started.stderr
        yield folder / "slurm.conf"
    finally:
        pids = [int(path.read_text()) for path in folder.glob("*.pid")]
        processes = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
        subprocess.run([START, "stop", folder], timeout=60, check=True)
        _, left = psutil.wait_procs(processes, timeout=30)
        alive = [process for process in left if process.status() != psutil.STATUS_ZOMBIE]
        if alive:
            warnings.warn(f"still running: {alive}", stacklevel=1)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    phi, q, dt = [0.0, 45.0, 90.0], 0.0054, 0.5
    times = dt * np.arange(80)
    maps = simulate_gaussian(TRUTH, times, phi, q, contrast=0.3, offset=1.0, sigma=0.01, rng=np.random.default_rng(2))
    write_aps_u(folder / "scan.hdf", maps, phi, [q] * 3, dt)
    content = {
        "data": {"source": str(folder / "scan.hdf"), "q": q},
        "parameters": {name: {"value": 1.1 * value} for name, value in TRUTH.items()},
        "fit": {"active_parameters": ["D0_ref", "D0_sample", "v0", "f0"]},
        "output": {"plots": False},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(content))
    return folder / "config.yaml"


@pytest.fixture(scope="module")
def here(config: Path) -> dict[str, Any]:
    """The same fit in this process."""
    run("fit", config, "-o", config.parent / "here", "--scheduler", "inline")
    return result_of(config.parent / "here")


def run(*arguments: object, folder: Path | None = None, conf: Path | None = None) -> str:
    command = [sys.executable, "-m", "hetdask.cli.main", *(str(argument) for argument in arguments)]
    environment = os.environ | ({} if conf is None else {"SLURM_CONF": str(conf)})
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def result_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


def assert_same(result: dict[str, Any], expected: dict[str, Any]) -> None:
    assert result["status"] == expected["status"] == "converged"
    assert result["chi_squared"] == pytest.approx(expected["chi_squared"], rel=1e-10)
    for name, parameter in result["parameters"].items():
        assert parameter["value"] == pytest.approx(expected["parameters"][name]["value"], rel=1e-5), name


def queue_is_empty(conf: Path) -> bool:
    environment = os.environ | {"SLURM_CONF": str(conf)}
    listed = subprocess.run(
        ["squeue", "--noheader"], env=environment, capture_output=True, text=True, timeout=30, check=True
    )
    return not listed.stdout.strip()


def wait_until_empty(conf: Path) -> None:
    deadline, pause = time.monotonic() + 240, threading.Event()
    while not queue_is_empty(conf):
        assert time.monotonic() < deadline, "jobs are still in the queue"
        pause.wait(0.5)


def test_workers_that_are_jobs_of_slurm_give_the_same_answer(
    slurm: Path, config: Path, here: dict[str, Any], tmp_path: Path
) -> None:
    run("fit", config, "--scheduler", "slurm", "--site", SITE, "-o", tmp_path / "run", folder=tmp_path, conf=slurm)
    result = result_of(tmp_path / "run")
    assert_same(result, here)
    cluster = result["provenance"]["cluster"]
    assert (cluster["runner"], cluster["workers"], cluster["library_threads"]) == ("dask", 1, 1)
    log = "".join(path.read_text() for path in (tmp_path / "hetdask_logs").iterdir())
    assert "hetdask_cluster.preload" in log, "settings did not reach the worker"
    wait_until_empty(slurm)


@pytest.fixture
def taken() -> Iterator[None]:
    """Another run on this host has the port that Dask's dashboard takes by itself."""
    with socket.socket() as other:
        with suppress(OSError):  # then another process has it
            other.bind(("", 8787))
            other.listen()
        yield


@pytest.mark.usefixtures("taken")
@pytest.mark.parametrize("adaptive", [False, True])
def test_jobs_that_end_are_replaced(
    slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, adaptive: bool
) -> None:
    monkeypatch.setenv("SLURM_CONF", str(slurm))
    monkeypatch.setattr("hetdask_cluster.queues.REPLACE_SECONDS", 2.0)
    monkeypatch.chdir(tmp_path)
    site = load_site(SITE)
    if adaptive:
        site = site.model_copy(update={"adaptive": Adaptive(minimum=1, maximum=1)})
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "1s"}), queue_client(site, 1) as client:
        runner = DaskRunner(client)
        kept = runner.put(abs, -5)
        assert runner.map(abs, [kept]) == [5]
        (first,) = client.nthreads()
        subprocess.run(["scancel", "--user=root"], timeout=30, check=True)
        deadline, pause = time.monotonic() + 120, threading.Event()
        while first in client.nthreads() or not client.nthreads():
            assert time.monotonic() < deadline, "no job took the place of the one that ended"
            pause.wait(0.2)
        assert runner.map(abs, [kept]) == [5]
    wait_until_empty(slurm)


def test_a_whole_run_inside_one_job_gives_the_same_answer(
    slurm: Path, config: Path, here: dict[str, Any], tmp_path: Path
) -> None:
    said = run("submit", config, "--site", SITE, "-o", tmp_path / "run", folder=tmp_path, conf=slurm)
    assert said.startswith("job ")
    wait_until_empty(slurm)
    logs = "".join(path.read_text() for path in (tmp_path / "hetdask_logs").iterdir())
    assert (tmp_path / "run" / "result.json").exists(), logs
    result = result_of(tmp_path / "run")
    assert_same(result, here)
    assert result["memory"]["budget"] <= 1536 * 2**20


SLOW = ["--set", "fit.classical=nelder-mead", "--set", "fit.nelder_mead.tolerance=1e-14", "--set", "fit.rounds=10"]
"""A fit of some thousand evaluations."""


def test_a_job_that_reaches_its_walltime_leaves_a_checkpoint_that_another_goes_on_from(
    slurm: Path, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", str(slurm))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hetdask_logs").mkdir()
    history, arguments = tmp_path / "run" / "history.jsonl", ["fit", str(config), *SLOW, "-o", str(tmp_path / "run")]
    # On a busy machine a run takes longer to begin: then the next job has more time.
    for walltime in (12, 24, 48, 96):
        monkeypatch.setattr(Site, "lifetime", walltime)
        submit(load_site(SITE), [*arguments, "--overwrite", "--scheduler", "local", "--workers", "1"], str(tmp_path))
        wait_until_empty(slurm)
        if history.exists() and history.stat().st_size:
            break
    logs = "".join(path.read_text() for path in (tmp_path / "hetdask_logs").iterdir())
    assert "interrupted" in logs
    assert not (tmp_path / "run" / "result.json").exists(), "it was done before"
    before = [json.loads(line)["chi_squared"] for line in history.read_text().splitlines()]
    assert before
    run(*arguments, "--resume", "--scheduler", "inline")
    resumed = result_of(tmp_path / "run")
    after = [json.loads(line)["chi_squared"] for line in history.read_text().splitlines()]
    assert after[: len(before)] == before
    assert len(after) > len(before)
    run("fit", config, *SLOW, "-o", tmp_path / "whole", "--scheduler", "inline")
    assert_same(resumed, result_of(tmp_path / "whole"))
