from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

import hetdask
from hetdask.cli.main import COMMANDS
from hetdask.config import Settings, load_settings

Program = Callable[..., Any]
HEAVY = {"numpy", "scipy", "numba", "dask", "distributed", "pydantic", "zarr", "h5py", "matplotlib", "xarray", "rich"}


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS), ["config", "new"], ["config", "check"]])
def test_every_command_explains_itself(program: Program, command: list[str], flag: str) -> None:
    outcome = program([*command, flag])
    assert outcome.status == 0
    assert outcome.out.startswith("Usage: hetdask")


def test_the_overview_names_every_command(program: Program) -> None:
    out = program(["-h"]).out
    assert all(f"  {name}" in out for name in COMMANDS)


def test_the_overview_and_the_version_load_nothing_heavy() -> None:
    code = "import sys; from hetdask.cli.main import run; run(['-h']); run(['-V']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())
    assert f"hetdask, version {hetdask.__version__}" in done.stdout


def test_the_package_loads_nothing_heavy_and_finds_all_its_names() -> None:
    code = "import sys, hetdask; print(*sys.modules); [getattr(hetdask, n) for n in hetdask.__all__]; dir(hetdask)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())
    with pytest.raises(AttributeError, match="no attribute 'fitt'"):
        hetdask.fitt  # noqa: B018 (the point of it)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["fit"],
        ["fit", "x.yaml", "--nonsense"],
        ["--method", "classical"],
        ["--config", "x.yaml", "--method", "sturdy"],
        ["--workers", "2", "fit", "x.yaml"],
        ["--config", "x.yaml", "--quiet", "--verbose"],
        ["fit", "x.yaml", "--workers", "two"],
        ["ingest", "a", "b", "--frames", "1-400"],
        ["ingest", "a", "b", "--angles", "10"],
        ["ingest", "a", "b", "--q", "small"],
        ["ingest", "a", "b", "--q", "all", "--q", "0.005"],
        ["ingest", "a", "b", "--phi", "0;45"],
        ["simulate", "x.yaml", "out", "--layout", "tiff"],
    ],
)
def test_wrong_usage_exits_2_with_one_message(program: Program, arguments: list[str]) -> None:
    outcome = program(arguments)
    assert outcome.status == 2
    assert outcome.err
    assert "Traceback" not in outcome.err


def test_options_before_a_command_are_not_lost_silently(program: Program) -> None:
    assert "--workers belongs behind the command" in program(["--workers", "2", "fit", "x.yaml"]).err


def test_an_internal_error_exits_1_and_asks_for_a_report(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("hetdask.config.load_settings", broken)
    outcome = program(["config", "check", "x.yaml"])
    assert outcome.status == 1
    assert "internal error, please report it" in outcome.err
    assert "Traceback" in outcome.err


def test_an_internal_error_of_a_run_is_in_its_log(
    program: Program, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("hetdask.analysis.analyse", broken)
    outcome = program(["fit", config])
    assert outcome.status == 1
    assert "run.log, which has the traceback: RuntimeError: a bug" in outcome.err
    assert "Traceback" not in outcome.err
    assert "Traceback" in (config.parent / "run" / "run.log").read_text()


def test_warnings_of_ours_are_shown_and_others_are_not(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def command() -> None:
        warnings.warn_explicit("ours", UserWarning, "f.py", 1, module="hetdask.data.ingest")
        warnings.warn_explicit("theirs", UserWarning, "f.py", 1, module="zarr.core")
        warnings.warn_explicit("old", DeprecationWarning, "f.py", 1, module="hetdask.data")

    monkeypatch.setattr("hetdask.cli.inspect.command", command)
    assert program(["inspect"]).err == "hetdask: warning: ours\n"


def test_the_reader_of_a_pipe_may_leave() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "hetdask.cli.main", "config", "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


def test_config_new_writes_what_config_check_accepts(program: Program, tmp_path: Path) -> None:
    path = tmp_path / "new.yaml"
    assert program(["config", "new", path, "--source", "my.hdf"]).status == 0
    outcome = program(["config", "check", path])
    assert outcome.status == 0
    assert 'source: "my.hdf"' in outcome.out
    assert "D0_ref" in outcome.out
    assert "does not exist yet" in outcome.err
    assert program(["config", "new", path]).status == 2


def test_config_schema_is_the_schema_of_the_settings(program: Program) -> None:
    assert json.loads(program(["config", "schema"]).out) == Settings.model_json_schema()


def test_keys_of_the_other_package_without_effect_are_told_in_one_warning(program: Program, tmp_path: Path) -> None:
    path = tmp_path / "original.json"
    path.write_text(
        json.dumps({"analyzer_parameters": {"geometry": {"stator_rotor_gap": 1}}, "validation_rules": {"a": 1}})
    )
    outcome = program(["config", "check", path])
    assert outcome.status == 0
    assert outcome.err.count("hetdask: warning:") == 1
    assert "stator_rotor_gap" in outcome.err
    assert "validation_rules" in outcome.err


def test_the_shipped_demo_is_the_demo(tmp_path: Path) -> None:
    from hetdask.cli.demo import write_config

    shipped = Path(__file__).parents[2] / "configs" / "demo.yaml"
    written = load_settings(write_config(tmp_path / "elsewhere"))
    expected = load_settings(shipped)
    assert written.parameters == expected.parameters
    assert written.simulation == expected.simulation
    assert written.data.source == tmp_path / "elsewhere" / "experiment.hdf"
    assert written.output.folder == tmp_path / "elsewhere" / "run"
