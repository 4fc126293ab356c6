from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

import hetdask
from hetdask.cli.main import COMMANDS, wrapped
from hetdask.config import Settings, load_settings

CONFIGS = Path(__file__).parents[2] / "configs"
Program = Callable[..., Any]
HEAVY = {"numpy", "scipy", "numba", "dask", "distributed", "pydantic", "zarr", "h5py", "matplotlib", "xarray", "rich"}


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize(
    "command", [[], *([name] for name in COMMANDS), *(["config", name] for name in ("new", "check", "migrate"))]
)
def test_every_command_explains_itself(program: Program, command: list[str], flag: str) -> None:
    outcome = program([*command, flag])
    assert outcome.status == 0
    assert outcome.out.startswith("Usage: hetdask")


def test_the_program_is_the_package_too() -> None:
    done = subprocess.run([sys.executable, "-m", "hetdask", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"hetdask, version {hetdask.__version__}\n"


def test_the_overview_names_every_command(program: Program) -> None:
    out = program(["-h"]).out
    assert all(f"  {name}" in out for name in COMMANDS)


def test_the_overview_and_the_version_load_nothing_heavy() -> None:
    code = "import sys; from hetdask.cli.main import run; run(['-h']); run(['-V']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())
    assert f"hetdask, version {hetdask.__version__}" in done.stdout


def test_the_program_ends_without_looking_for_cycles() -> None:
    code = (
        "import atexit, gc, sys; from hetdask.cli.main import main; sys.argv = ['hetdask', '-V']; "
        "atexit.register(lambda: print(gc.get_freeze_count() > 1000)); main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "True"


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

    monkeypatch.setattr("hetdask.config.load.read_settings", broken)
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


def test_config_new_takes_what_the_other_package_takes(program: Program, tmp_path: Path) -> None:
    path = tmp_path / "sample.yaml"
    about = ["--sample", "collagen", "--author", "A. Author", "--experiment", "two bands"]
    assert program(["config", "new", "--output", path, *about]).status == 0
    assert path.read_text().splitlines()[3:6] == [
        "# experiment: two bands",
        "# sample: collagen",
        "# author: A. Author",
    ]
    settings = load_settings(path)
    assert settings.data.source == Path("data/collagen/scan_0001.hdf")
    assert settings.output.folder == Path("runs/collagen")
    assert program(["config", "new", "a.yaml", "--output", "b.yaml"]).status == 2


def test_config_check_tells_each_key_without_effect_on_a_line(program: Program, tmp_path: Path) -> None:
    path = tmp_path / "original.json"
    path.write_text(json.dumps({"advanced_settings": {"numerical_integration": {"method": "simpson", "steps": 9}}}))
    outcome = program(["config", "check", path])
    assert outcome.status == 0
    section = "advanced_settings.numerical_integration"
    assert f"\n  {section}.method: integrals are exact\n  {section}.steps: integrals are exact\n" in outcome.err
    path.write_text(json.dumps({"analyzer_parameters": {"temporal": {"dt": -1}}}))
    assert program(["config", "check", path]).status == 2


def test_a_warning_breaks_between_words_where_the_terminal_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    reason = "no section " + 5 * "of this name "
    lines = wrapped(f"warning: two keys:\n  a.b (c, d): {reason}\n  {'e' * 60}: {reason}").splitlines()
    assert lines[:2] == ["warning: two keys:", "  a.b (c, d): no section of this name of"]
    assert all(line.startswith("    ") for line in lines if line.strip().startswith(("this", "name")))
    assert max(len(line) for line in lines if "eee" not in line) <= 40
    assert "  " + 60 * "e" + ":" in lines


def test_config_migrate_writes_what_config_check_accepts(program: Program, tmp_path: Path) -> None:
    path = tmp_path / "original.json"
    path.write_bytes((CONFIGS / "original.json").read_bytes())
    assert program(["config", "migrate", path]).status == 0
    assert program(["config", "check", path.with_suffix(".yaml")]).err.count("warning") == 0
    again = program(["config", "migrate", path])
    assert (again.status, "exists and is not overwritten" in again.err) == (2, True)
    native = program(["config", "migrate", path.with_suffix(".yaml"), "-o", tmp_path / "b.yaml"])
    assert (native.status, "is in the native format already" in native.err) == (2, True)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_installed_command_completes_in_shells(shell: str) -> None:
    command = [str(Path(sys.executable).with_name("hetdask"))]
    environment = {**os.environ, "_HETDASK_COMPLETE": f"{shell}_source"}
    script = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert f"_HETDASK_COMPLETE={shell}_complete" in script
    words = {"COMP_WORDS": "hetdask fit --out", "COMP_CWORD": "2" if shell != "fish" else "--out"}
    environment |= {**words, "_HETDASK_COMPLETE": f"{shell}_complete"}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert {"--output", "--output-dir"} <= set(re.split(r"[\n,\t]", found))


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
