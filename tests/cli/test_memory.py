"""A run stays within its memory limit, as the operating system counts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml

from hetdask.data.writers import write_aps_u
from hetdask.model import simulate_gaussian

Program = Callable[..., Any]
MIB = 2**20
FRAMES = 2000
TRUTH = {"D0_ref": 300.0, "D0_sample": 2000.0, "v0": 120.0, "f0": 0.45, "phi0": 12.0}


@dataclass
class Watch:
    """Resident sizes of a process and all its children, looked at ten times a second."""

    peak: int = 0
    worker: int = 0
    workers: set[int] = field(default_factory=set)
    spilled: set[str] = field(default_factory=set)

    def look(self, process: psutil.Process, scratch: Path) -> None:
        total = 0
        for one in [process, *process.children(recursive=True)]:
            try:
                size = one.memory_info().rss
                total += size
                # Workers are the children that nannies spawn; until it runs, what a worker forks looks like one.
                if one.ppid() == process.pid and "spawn_main" in " ".join(one.cmdline()):
                    self.workers.add(one.pid)
                    self.worker = max(self.worker, size)
            except psutil.Error:
                continue
        self.peak = max(self.peak, total)
        self.spilled.update(str(path) for path in scratch.glob("**/storage/*"))


def run_watched(arguments: list[str], scratch: Path) -> Watch:
    watch = Watch()
    command = [sys.executable, "-m", "hetdask.cli.main", *arguments]
    environment = os.environ | {"DASK_TEMPORARY_DIRECTORY": str(scratch)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        said: list[str] = []
        reader = threading.Thread(target=lambda: said.extend(run.stdout or []))
        reader.start()
        process = psutil.Process(run.pid)
        pause = threading.Event()
        while run.poll() is None:
            try:
                watch.look(process, scratch)
            except psutil.NoSuchProcess:
                break
            pause.wait(0.1)
        reader.join(timeout=30)
    assert run.returncode == 0, "".join(said)
    return watch


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Configuration of a fit of two maps of 2000 frames, each 16 MB."""
    folder = tmp_path_factory.mktemp("large")
    phi, q, dt = [0.0, 60.0], 0.0054, 0.05
    times = dt * np.arange(FRAMES)
    options = {"contrast": 0.3, "offset": 1.0, "sigma": 0.02, "rng": np.random.default_rng(5)}
    maps = simulate_gaussian(TRUTH, times, phi, q, **options)
    write_aps_u(folder / "scan.hdf", maps, phi, [q, q], dt)
    config = {
        "data": {"source": str(folder / "scan.hdf"), "q": q},
        "parameters": {name: {"value": 1.05 * value} for name, value in TRUTH.items()},
        "fit": {"active_parameters": ["D0_ref", "D0_sample", "v0"], "rounds": 1},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder / "config.yaml"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_eight_million_points_fit_into_one_gibibyte_with_the_same_answer(large: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    limited = ["fit", str(large), "-q", "-o", str(tmp_path / "limited"), "--workers", "2", "--memory-limit", "1GiB"]
    watch = run_watched(limited, scratch)
    assert watch.peak <= 2**30, f"{watch.peak / MIB:.0f} MiB"
    assert len(watch.workers) == 2, "a worker was started again"
    assert not watch.spilled
    result = json.loads((tmp_path / "limited" / "result.json").read_text())
    memory = result["memory"]
    assert memory["budget"] == 2**30
    assert memory["projected"] <= memory["budget"]
    assert memory["peak_worker"] <= memory["projected_worker"]
    assert watch.worker <= memory["projected_worker"]
    free = ["fit", str(large), "-q", "-o", str(tmp_path / "free"), "--scheduler", "inline", "--no-plots"]
    run_watched(free, scratch)
    unlimited = json.loads((tmp_path / "free" / "result.json").read_text())
    assert result["chi_squared"] == pytest.approx(unlimited["chi_squared"], rel=1e-10)
    for name in ("D0_ref", "D0_sample", "v0"):
        found, expected = result["parameters"][name], unlimited["parameters"][name]
        assert abs(found["value"] - expected["value"]) < 1e-3 * expected["stderr"], name


def test_a_dry_run_shows_the_plan_and_starts_nothing(program: Program, config: Path) -> None:
    arguments = ["fit", config, "--dry-run", "--scheduler", "local", "--workers", "2", "--memory-limit", "1GiB"]
    outcome = program(arguments)
    assert outcome.status == 0, outcome.err
    rows = dict(line.split("  ", 1) for line in outcome.out.splitlines())
    found = {name: value.strip() for name, value in rows.items()}
    assert found["workers"] == "2"
    assert found["memory budget"] == "1.0 GiB"
    assert found["limit per worker"] == "320 MiB"
    assert found["residency"] == "all stay in memory"
    assert "projected peak per worker" in found
    assert not (config.parent / "run").exists()


def test_what_does_not_fit_is_refused_before_anything_starts(program: Program, config: Path) -> None:
    for flags in (["--dry-run"], []):
        outcome = program(["fit", config, "--scheduler", "local", "--workers", "2", "--memory-limit", "600MiB", *flags])
        assert outcome.status == 2
        assert "memory limit of at least" in outcome.err
        assert not (config.parent / "run").exists()


def test_shards_that_do_not_fit_are_refused_with_what_would_fit(program: Program, tmp_path: Path, large: Path) -> None:
    settings = yaml.safe_load(large.read_text())
    store = tmp_path / "large.zarr"
    outcome = program(["ingest", settings["data"]["source"], store, "--q", "0.0054", "--scheduler", "inline", "-q"])
    assert outcome.status == 0, outcome.err
    config = tmp_path / "stored.yaml"
    config.write_text(yaml.safe_dump(settings | {"data": {"store": str(store)}}))
    tight = ["fit", config, "-o", tmp_path / "run", "--workers", "2", "--memory-limit", "995MiB"]
    outcome = program([*tight, "--dry-run"])
    assert outcome.status == 2
    assert "a shard of 10 MiB needs 22 MiB" in outcome.err
    assert "--workers 1" in outcome.err
    assert program([*tight, "--dry-run", "--workers", "1"]).status == 0
    assert program(tight).status == 2
    assert not (tmp_path / "run").exists()


def test_results_say_what_was_planned_and_what_was_measured(program: Program, config: Path) -> None:
    assert program(["fit", config, "--memory-limit", "2GiB"]).status == 0
    result = json.loads((config.parent / "run" / "result.json").read_text())
    memory = result["memory"]
    assert memory["budget"] == 2 * 2**30
    assert 0 < memory["peak_client"] <= memory["budget"]
    assert 0 < memory["projected_worker"] < memory["projected"] <= memory["budget"]
    assert result["provenance"]["cluster"]["runner"] == "inline"


def test_workers_load_only_what_they_compute_with() -> None:
    code = (
        "import sys, hetdask.passes.run, hetdask.passes.speckle_scores, hetdask.data.reduction, hetdask.data.ingest, "
        "hetdask.results.maps; print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "hetdask.passes.speckle_scores" in loaded
    forbidden = {"matplotlib", "xarray", "pandas", "bokeh", "sklearn", "pydantic", "rich"}
    assert not (forbidden | {"hetdask.fitting", "scipy.optimize", "scipy.special"}) & set(loaded)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), "inline"),
        (("--start", "checked"), "inline"),
        (("--start", "search"), "local"),
        (("--bootstrap", "40"), "local"),
        (("--method", "all"), "local"),
        (("--workers", "1"), "local"),
        (("--performance-report", "tasks.html"), "local"),
        (("--scheduler", "inline", "--start", "search"), "inline"),
    ],
)
def test_a_fit_that_ends_before_workers_would_have_started_runs_in_this_process(
    program: Program, config: Path, options: tuple[str, ...], expected: str
) -> None:
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | {"compute": {}}))
    outcome = program(["fit", config, "--dry-run", *options])
    assert outcome.status == 0, outcome.err
    assert dict(line.split(maxsplit=1) for line in outcome.out.splitlines())["scheduler"].strip() == expected


def test_more_data_than_that_have_workers(program: Program, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | {"compute": {}}))
    monkeypatch.setattr("hetdask.passes.plan.IN_PROCESS_BYTES", 1000)
    assert "local" in program(["fit", config, "--dry-run"]).out
