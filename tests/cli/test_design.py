"""`hetdask design` tells the errors of an experiment before it is made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from hetdask.cli.main import run

PLAN = {
    "parameters": {name: {"fixed": True} for name in ("D_offset_ref", "D_offset_sample", "v_offset")},
    "simulation": {"frames": 48, "dt": 0.5, "phi": [0.0, 45.0, 90.0], "speckles": 4000, "modes": 2},
}


@pytest.fixture
def plan(tmp_path: Path) -> str:
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(PLAN))
    return str(path)


def test_more_speckles_give_smaller_errors(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["design", plan, "--json"]) == 0
    few = json.loads(capsys.readouterr().out)["parameters"]["beta"]
    assert run(["design", plan, "--json", "--set", "simulation.speckles=16000"]) == 0
    many = json.loads(capsys.readouterr().out)["parameters"]["beta"]
    for kind in ("stderr", "stderr_weighted"):
        assert many[kind] == pytest.approx(0.5 * few[kind], rel=0.03)
    assert few["stderr_weighted"] < few["stderr"]


def test_photons_add_noise_that_weights_know(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["design", plan]) == 0
    assert "\u00b1 weighted" in capsys.readouterr().out
    found = []
    for photons in ("null", "1.0", "0.5"):
        assert run(["design", plan, "--json", "--set", f"simulation.photons={photons}"]) == 0
        found.append(json.loads(capsys.readouterr().out)["parameters"]["beta"])
    none, many, few = found
    assert many["stderr"] > 1.1 * none["stderr"]
    assert none["stderr_weighted"] < many["stderr_weighted"] < few["stderr_weighted"]
    assert many["stderr_weighted"] < many["stderr"]


def test_what_would_not_be_determined_is_named(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["design", plan, "--set", "parameters.f2.fixed=false", "--set", "simulation.parameters={f1: 0.0}"]) == 0
    shown = capsys.readouterr().out
    assert "would not be determined" in shown
    assert "f2 is not determined" in shown


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["simulation=null"], "no section simulation"),
        (["fit.active_parameters=[v0]", "parameters.v0={value: 5, min: 5, max: 5}"], "free at least one"),
        (["fit.active_parameters=[]"], "expected at least 1 item"),
        (["simulation.parameters={alpha_ref: -1.2}"], "diverge"),
    ],
)
def test_what_is_no_experiment_is_refused(
    plan: str, capsys: pytest.CaptureFixture[str], changes: list[str], said: str
) -> None:
    assert run(["design", plan, *(part for one in changes for part in ("--set", one))]) == 2
    assert said in capsys.readouterr().err
