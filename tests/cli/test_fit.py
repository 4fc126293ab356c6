from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

Program = Callable[..., Any]


def result_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


def test_a_fit_ends_with_its_summary_its_files_and_status_0(program: Program, config: Path) -> None:
    outcome = program(["fit", config])
    assert outcome.status == 0, outcome.err
    assert "D0_sample" in outcome.out
    run = config.parent / "run"
    assert {"result.json", "result.zarr", "history.jsonl", "run.log", "config.resolved.json", "report.html"} <= {
        path.name for path in run.iterdir()
    }
    result = result_of(run)
    assert result["status"] == "converged"
    for name, truth in {"D0_ref": 300.0, "D0_sample": 2000.0, "v0": 120.0, "f0": 0.45}.items():
        fitted = result["parameters"][name]
        assert abs(fitted["value"] - truth) < 5 * fitted["stderr"]
    assert "evaluation" in (run / "run.log").read_text()


def test_the_root_form_is_the_same_fit(program: Program, config: Path) -> None:
    told = program(["--config", config, "--method", "classical", "--output-dir", config.parent / "a", "--verbose"])
    assert told.status == 0
    assert program(["fit", config, "-o", config.parent / "b", "--quiet"]).status == 0
    first, second = result_of(config.parent / "a"), result_of(config.parent / "b")
    assert first["chi_squared"] == second["chi_squared"]
    # Each evaluation has its line.
    assert told.err.count("evaluation") == len((config.parent / "a" / "history.jsonl").read_text().splitlines()) > 3


def test_quiet_shows_the_result_only(program: Program, config: Path) -> None:
    outcome = program(["fit", config, "-q"])
    assert outcome.err == ""
    assert "D0_sample" in outcome.out


def test_options_change_settings_and_are_recorded(program: Program, config: Path) -> None:
    assert program(["fit", config, "--set", "parameters.v0.value=110", "--set", "fit.rounds=1"]).status == 0
    resolved = json.loads((config.parent / "run" / "config.resolved.json").read_text())
    assert resolved["parameters"]["v0"]["value"] == 110
    assert resolved["fit"]["rounds"] == 1
    assert resolved["compute"]["scheduler"] == "inline"


def test_all_methods_are_compared_and_the_best_counts(program: Program, config: Path) -> None:
    outcome = program(["fit", config, "--method", "all", "--seed", "3"])
    assert outcome.status == 0, outcome.err
    assert "Methods" in outcome.out
    result = result_of(config.parent / "run")
    assert (result["method"], result["seed"]) == ("all", 3)
    methods = result["methods"]
    classical, robust = (
        ["trust-region", "nelder-mead"],
        ["huber", "student-t", "ellipsoidal", "wasserstein", "scenario"],
    )
    assert list(methods) == classical + robust
    assert all(entry["status"] == "converged" for entry in methods.values())
    assert all((methods[name]["worst_case"] is None) == (name not in robust[2:]) for name in methods)
    assert all((methods[name]["outliers"] is None) == (name not in robust[:2]) for name in methods)
    lowest = min(classical, key=lambda name: methods[name]["chi_squared"])
    assert (result["best_method"], result["chi_squared"]) == (lowest, methods[lowest]["chi_squared"])
    values = {name: parameter["value"] for name, parameter in result["parameters"].items()}
    assert methods[lowest]["values"] == values
    assert methods["nelder-mead"]["chi_squared"] == pytest.approx(methods["trust-region"]["chi_squared"], rel=1e-6)
    assert "nelder-mead" in (config.parent / "run" / "report.html").read_text()


def test_errors_by_refits_stand_beside_the_others_everywhere(program: Program, config: Path) -> None:
    outcome = program(["fit", config, "--bootstrap", "40", "--profile", "v0,D0_ref"])
    assert outcome.status == 0, outcome.err
    assert "refits of simulated experiments: 40 of 40" in outcome.err
    assert "walks along parameters: 4 of 4" in outcome.err
    assert "± refits" in outcome.out
    run = config.parent / "run"
    found = result_of(run)["bootstrap"]
    assert found["experiments"] == 40
    assert list(found["parameters"]) == ["D0_ref", "D0_sample", "v0", "f0"]
    assert list(result_of(run)["profiles"]["parameters"]) == ["v0", "D0_ref"]
    assert "Errors by refits" in (run / "report.html").read_text()
    assert "a refit" in program(["fit", config, "--bootstrap", "40", "--dry-run"]).out


def test_of_robust_methods_the_first_that_converged_counts(program: Program, config: Path) -> None:
    outcome = program(["fit", config, "--method", "robust", "--set", "fit.robust=[student-t, wasserstein]"])
    assert outcome.status == 0, outcome.err
    result = result_of(config.parent / "run")
    assert list(result["methods"]) == ["student-t", "wasserstein"]
    assert (result["method"], result["best_method"]) == ("robust", "student-t")


def test_a_method_that_did_not_converge_is_never_the_best(program: Program, config: Path) -> None:
    short = ["--set", "fit.classical=[nelder-mead, trust-region]", "--set", "fit.nelder_mead.max_evaluations=20"]
    outcome = program(["fit", config, *short])
    assert outcome.status == 0, outcome.err
    result = result_of(config.parent / "run")
    assert result["best_method"] == "trust-region"
    assert result["methods"]["nelder-mead"]["status"] == "not_converged"
    outcome = program(["fit", config, *short, "--set", "fit.classical=nelder-mead", "--overwrite"])
    assert outcome.status == 3
    assert "fit.nelder_mead.max_evaluations" in outcome.out


def test_a_fit_that_does_not_converge_exits_3_and_says_so(program: Program, config: Path) -> None:
    outcome = program(["fit", config, "--set", "fit.max_evaluations=2"])
    assert outcome.status == 3
    assert "Converged" not in outcome.out
    assert result_of(config.parent / "run")["status"] == "not_converged"


def test_a_run_is_not_overwritten_unasked(program: Program, config: Path) -> None:
    assert program(["fit", config]).status == 0
    outcome = program(["fit", config])
    assert outcome.status == 2
    assert "--overwrite" in outcome.err
    assert program(["fit", config, "--overwrite"]).status == 0


def test_an_interrupted_fit_exits_130_and_resumes_to_the_same_answer(
    program: Program, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hetdask.cli.progress import PlainProgress

    assert program(["fit", config, "-o", config.parent / "whole"]).status == 0

    def interrupt(_: PlainProgress, entry: Any) -> None:
        if entry.evaluation == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(PlainProgress, "evaluation", interrupt)
        outcome = program(["fit", config])
    assert outcome.status == 130
    assert "--resume" in outcome.err
    assert not (config.parent / "run" / "result.json").exists()
    outcome = program(["fit", config, "--resume"])
    assert outcome.status == 0
    assert "used again" in outcome.err
    whole, resumed = result_of(config.parent / "whole"), result_of(config.parent / "run")
    assert resumed["parameters"] == whole["parameters"]
    assert resumed["chi_squared"] == whole["chi_squared"]


def test_a_store_is_used_again_only_for_what_it_was_made_from(
    program: Program, make_config: Callable[..., Path], tmp_path: Path
) -> None:
    store = str(tmp_path / "kept.zarr")
    assert program(["fit", make_config(store=store)]).status == 0
    outcome = program(["fit", make_config(store=store), "-o", tmp_path / "second"])
    assert outcome.status == 0
    assert "used again" in outcome.err
    other = make_config("other.yaml", store=store, frames=[1, 50])
    outcome = program(["fit", other, "-o", tmp_path / "third"])
    assert outcome.status == 2
    assert "frames: the store has [1, 60], the settings ask for [1, 50]" in outcome.err
    assert program(["fit", other, "-o", tmp_path / "third", "--overwrite"]).status == 0
    assert result_of(tmp_path / "third")["n_points"] == 3 * 50 * 49 // 2
    outcome = program(["fit", make_config(store=store, dt=0.25), "-o", tmp_path / "fourth"])
    assert "dt: the store has 0.5, the settings ask for 0.25" in outcome.err


def test_angle_ranges_without_an_angle_fall_back_with_a_warning_if_asked(
    program: Program, make_config: Callable[..., Path]
) -> None:
    outcome = program(["fit", make_config(angles=[[200, 210]], angle_fallback=True)])
    assert outcome.status == 0
    assert "warning" in outcome.err
    assert "200:210" in outcome.err


def test_ingest_inspect_and_a_fit_of_the_store_go_together(
    program: Program, source: Path, make_config: Callable[..., Path], tmp_path: Path
) -> None:
    store = tmp_path / "scan.zarr"
    arguments = [
        "ingest",
        source,
        store,
        "--q",
        "0.0054",
        "--frames",
        "1:50",
        "--angles",
        "-10:50",
        "--scheduler",
        "inline",
    ]
    outcome = program(arguments)
    assert outcome.status == 0, outcome.err
    assert "2 maps of 50 × 50 frames" in outcome.out
    for path in (source, store):
        outcome = program(["inspect", path])
        assert outcome.status == 0
        assert "dt = 0.5 s" in outcome.out
    outcome = program(["fit", make_config(source=None, q=None, store=str(store))])
    assert outcome.status == 0, outcome.err
    assert program(arguments).status == 2
    assert program([*arguments, "--overwrite", "-q"]).err == ""


@pytest.mark.parametrize("layout", ["aps-u", "aps-old", "npz", "zarr"])
@pytest.mark.parametrize("noise", ["gaussian", "speckle"])
def test_a_simulated_experiment_can_be_read_in_every_layout(
    program: Program, tmp_path: Path, layout: str, noise: str
) -> None:
    config = tmp_path / "simulation.yaml"
    config.write_text("simulation: {frames: 20, phi: [0, 90], speckles: 50, dt: 0.2}")
    out = tmp_path / ("out.zarr" if layout == "zarr" else "out.npz" if layout == "npz" else "out.hdf")
    arguments = ["simulate", config, out, "--layout", layout, "--noise", noise]
    outcome = program(arguments)
    assert outcome.status == 0, outcome.err
    outcome = program(["inspect", out])
    assert outcome.status == 0, outcome.err
    assert "2 of 20 × 20 frames" in outcome.out
    assert program(arguments).status == 2
    assert program([*arguments, "--overwrite", "--seed", "3"]).status == 0


@pytest.mark.slow
def test_the_demo_finds_the_truth_and_can_be_run_again(program: Program, tmp_path: Path) -> None:
    for _ in range(2):
        outcome = program(["demo", tmp_path / "demo", "--scheduler", "inline"])
        assert outcome.status == 0, outcome.err
    assert "truth" in outcome.out
    assert str(tmp_path / "demo" / "run" / "report.html") in outcome.out
    result = result_of(tmp_path / "demo" / "run")
    assert 0.98 < result["reduced_chi_squared"] < 1.02
    truth = yaml.safe_load((tmp_path / "demo" / "config.yaml").read_text())["simulation"]["parameters"]
    for name, value in truth.items():
        fitted = result["parameters"][name]
        assert not fitted["identified"] or abs(fitted["value"] - value) < 4 * fitted["stderr"]


@pytest.mark.slow
def test_ctrl_c_ends_program_and_workers_quietly(config: Path) -> None:
    run = config.parent / "run"
    endless = ["--set", "fit.tolerance=1e-14", "--set", "fit.rounds=10", "--scheduler", "local", "--workers", "2"]
    command = [sys.executable, "-m", "hetdask.cli.main", "fit", str(config), *endless]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 120
        pause = threading.Event()
        history = run / "history.jsonl"
        while time.monotonic() < deadline and process.poll() is None:
            if history.exists() and history.read_text().count("\n") >= 2:
                break
            pause.wait(0.01)
        # As a terminal does it: to the program and to all its children.
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "--resume" in err
    assert "Traceback" not in err
    assert "CommClosedError" not in err
    _, left = psutil.wait_procs(group_of(process.pid), timeout=20)
    assert not left


def group_of(leader: int) -> list[psutil.Process]:
    """Processes of a group that still run."""
    return [
        process
        for process in psutil.process_iter(["pid", "status"])
        if process.info["status"] != psutil.STATUS_ZOMBIE and os.getpgid(process.pid) == leader
    ]


def test_runs_of_a_configuration_of_the_other_package_never_replace_each_other(
    program: Program, source: Path, tmp_path: Path
) -> None:
    names = ["D0_ref", "alpha_ref", "D0_sample", "alpha_sample", "v0", "f0", "f3", "phi0"]
    content = {
        "experimental_data": {"data_folder_path": str(source.parent), "data_file_name": source.name},
        "analyzer_parameters": {"scattering": {"wavevector_q": 0.0054}},
        "initial_parameters": {
            "values": [330.0, -0.4, 2000.0, 0.3, 120.0, 0.45, 0.15, 12.0],
            "parameter_names": names,
            "active_parameters": ["D0_ref", "v0"],
        },
        "output_settings": {"results_directory": str(tmp_path / "results")},
    }
    path = tmp_path / "original.json"
    path.write_text(json.dumps(content))
    arguments = ["--config", path, "--scheduler", "inline", "--no-plots", "--set", "fit.rounds=1"]
    results = tmp_path / "results"
    assert program(arguments).status == 0
    first = (results / "result.json").read_bytes()
    again = program(arguments)
    assert again.status == 0
    assert f"{results} holds a run: this one goes to {results / 'run-2'}" in again.err
    assert "used again" in again.err
    assert result_of(results / "run-2")["parameters"] == json.loads(first)["parameters"]
    # Other data have a store of their own.
    other = program([*arguments, "--set", "data.frames=[1,40]"])
    assert other.status == 0
    assert (results / "run-3" / "data.zarr").exists()
    assert not (results / "run-2" / "data.zarr").exists()
    assert (results / "result.json").read_bytes() == first
    assert f"run folder: {results / 'run-3'}" in program([*arguments, "--resume", "--set", "data.frames=[1,40]"]).out
    assert program([*arguments, "--overwrite"]).status == 0
    assert (results / "result.json").read_bytes() != first
