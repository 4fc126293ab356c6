"""`hetdask doctor` finds what is wrong; kernels that can't be compiled or loaded give advice wherever they are used."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import hetdask_kernels
from hetdask.compilation import kernel_error
from hetdask.data.ingest import ingest
from hetdask.diagnosis import machine, software
from hetdask.diagnosis.check import LEVELS, Check, worst
from hetdask_cluster.runner import InlineRunner

from .conftest import Program

NAMES = ["python", "packages", "threads", "blas", "kernels", "memory", "disk", "queues", "ports"]


def test_all_is_looked_at_and_the_status_tells_of_what_is_bad(program: Program, tmp_path: Path) -> None:
    outcome = program(["doctor", "--json", "--folder", tmp_path])
    found = json.loads(outcome.out)
    checks = {entry["name"]: Check(**entry) for entry in found["checks"]}
    assert [*checks] == NAMES
    assert all(bool(check.advice) == (check.level != "ok") for check in checks.values())
    assert found["worst"] == worst(checks.values())
    assert outcome.status == (found["worst"] == "bad") == 0
    assert str(tmp_path) in checks["disk"].found
    assert not [*tmp_path.iterdir()]


def test_a_folder_that_is_not_there_is_bad(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software, "kernels", list)
    outcome = program(["doctor", "--folder", tmp_path / "gone"])
    assert outcome.status == 1
    line = next(line for line in outcome.out.splitlines() if "disk" in line)
    assert line.startswith("bad")
    assert "No such file" in line
    assert "--folder /scratch/me" in outcome.out


def test_versions_are_compared_with_the_tested_ones(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(f"numpy==1.0.0 \\\n    --hash=sha256:0\nzarr=={software.version('zarr')}\n")
    [check] = software.packages(lock)
    assert check.level == "warn"
    assert f"numpy {np.__version__} (1.0.0 is tested)" in check.found
    assert "zarr" not in check.found
    [check] = software.packages(tmp_path / "none")
    assert check.level == "ok"


@pytest.mark.parametrize(("number", "level"), [(None, "ok"), ("2", "warn"), ("9999", "warn"), ("many", "bad")])
def test_exported_threads_are_told(
    number: str | None, level: str, monkeypatch: pytest.MonkeyPatch, program: Program
) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    if number is not None:
        monkeypatch.setenv("MKL_NUM_THREADS", number)
    monkeypatch.setattr(software, "kernels", list)
    outcome = program(["doctor", "--json"])
    [check] = [entry for entry in json.loads(outcome.out)["checks"] if entry["name"] == "threads"]
    assert check["level"] == level
    assert number is None or ("MKL_NUM_THREADS" in check["found"] and number in check["found"])
    assert outcome.status == (level == "bad")


def test_ports_in_use_are_told() -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(machine, "PORTS", {one.getsockname()[1]: "a dashboard"})
            [taken] = machine.ports()
    assert taken.level == "warn"
    assert "(a dashboard) is taken" in taken.found


@pytest.mark.parametrize(
    ("script", "level", "said"), [("exit 0", "ok", "answers"), ("echo down >&2; exit 1", "warn", "down")]
)
def test_a_queue_that_is_installed_is_asked(
    script: str, level: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("bsub", "bqueues"):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    [check] = [check for check in machine.queues() if "lsf" in check.found]
    assert check.level == level
    assert said in check.found


def test_the_worst_level_is_that_of_the_worst_check() -> None:
    checks = [Check("one", level, "") for level in LEVELS]
    assert [worst(checks[:end]) for end in range(4)] == ["ok", "ok", "warn", "bad"]


# Numba in trouble, for real: no folder that can be written, and a damaged cache.


@pytest.fixture
def nowhere_to_cache(tmp_path: Path) -> dict[str, str]:
    """Environment in which every folder that Numba would take for its cache is a file, or in one."""
    package = tmp_path / "read_only" / "hetdask_kernels"
    shutil.copytree(Path(hetdask_kernels.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    block = package / "__pycache__"
    block.touch()
    return _environment(package.parent, HOME=block, XDG_CACHE_HOME=block, NUMBA_CACHE_DIR=block)


DAMAGE = """
import importlib, pathlib, pkgutil
import hetdask_kernels
from numba.core.dispatcher import Dispatcher

for found in pkgutil.iter_modules(hetdask_kernels.__path__):
    for kernel in vars(importlib.import_module(f"hetdask_kernels.{found.name}")).values():
        if isinstance(kernel, Dispatcher):
            path = pathlib.Path(kernel._cache._impl.locator.get_cache_path())
            path.mkdir(parents=True, exist_ok=True)
            (path / f"{kernel._cache._impl.filename_base}.nbi").write_text("damaged")
"""


@pytest.fixture
def damaged_cache(tmp_path: Path) -> dict[str, str]:
    """Environment in which the index of every kernel in Numba's cache is damaged."""
    environment = _environment(NUMBA_CACHE_DIR=tmp_path / "numba")
    subprocess.run([sys.executable, "-c", DAMAGE], env=environment, check=True, timeout=120)
    return environment


def _environment(*first: Path, **variables: Path) -> dict[str, str]:
    found = {**os.environ, **{name: str(value) for name, value in variables.items()}}
    found["PYTHONPATH"] = os.pathsep.join([*map(str, first), *(path for path in sys.path if path)])
    return found


def _advises(said: str, folder: str) -> None:
    assert f"Numba can't read or write its cache in {folder} (NUMBA_CACHE_DIR)" in said
    assert "export NUMBA_CACHE_DIR=/tmp/numba-" in said
    assert "3.12 or newer is needed" in said
    assert "NUMBA_DISABLE_JIT=1" in said
    assert "Traceback" not in said


def test_nowhere_to_cache_is_found_by_the_doctor_and_stops_a_fit_before_workers_are_used(
    nowhere_to_cache: dict[str, str], config: Path
) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "hetdask.cli.main", *arguments]
        return subprocess.run(
            command, env=nowhere_to_cache, cwd=config.parent, capture_output=True, text=True, check=False, timeout=120
        )

    doctor = run("doctor", "--json")
    assert doctor.returncode == 1
    [check] = [entry for entry in json.loads(doctor.stdout)["checks"] if entry["level"] == "bad"]
    assert check["name"] == "kernels"
    _advises(f"{check['found']} {check['advice']}", nowhere_to_cache["NUMBA_CACHE_DIR"])
    fit = run("fit", str(config), "--quiet", "--scheduler", "local", "--workers", "1")
    assert fit.returncode == 2
    _advises(fit.stderr, nowhere_to_cache["NUMBA_CACHE_DIR"])


USES = """
import sys
import hetdask
from hetdask.cli.main import run

for use in (hetdask.warmup_numba_kernels, lambda: hetdask.chi_squared(sys.argv[2], {"v0": 1.0}),
            lambda: hetdask.fit(sys.argv[2], sys.argv[1])):
    try:
        use()
    except hetdask.KernelError as error:
        print(error, file=sys.stderr)
    else:
        sys.exit("no error")
sys.exit(run(["fit", sys.argv[1], "--quiet"]))
"""


def test_a_damaged_cache_gives_advice_wherever_kernels_are_used(
    damaged_cache: dict[str, str], config: Path, source: Path, tmp_path: Path, inline_runner: InlineRunner
) -> None:
    store = ingest(source, tmp_path / "scan.zarr", q=0.0054, runner=inline_runner)
    command = [sys.executable, "-c", USES, str(config), str(store.path)]
    done = subprocess.run(command, env=damaged_cache, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("can't read or write its cache") == 4
    _advises(done.stderr, damaged_cache["NUMBA_CACHE_DIR"])


def test_other_errors_are_left_alone() -> None:
    def fails() -> None:
        raise RuntimeError("cannot cache")

    with pytest.raises(RuntimeError) as info:
        fails()
    assert kernel_error(info.value) is None


def test_an_error_of_the_compiler_names_python_and_numba() -> None:
    import numba

    @numba.njit
    def wrong(x: float) -> float:
        return x.no_such_attribute  # type: ignore[attr-defined]

    with pytest.raises(numba.core.errors.TypingError) as info:
        wrong(1.0)
    error = kernel_error(info.value)
    assert str(error).startswith("Numba can't compile the kernels: TypingError")
    assert "pip install --upgrade numba" in str(error)
    assert f"Numba {numba.__version__}" in str(error)
