"""`fit.start: learned` finds the optimum, says what it did, and falls to a search where it must."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hetdask
from hetdask.cli.main import run
from hetdask.data.store import Store
from hetdask.data.writers import write_store
from hetdask.learn.history import read_history
from hetdask.learn.model import StartModel
from hetdask.learn.simulated import usual_conditions
from hetdask.learn.start import model_path
from hetdask.model import simulate_gaussian
from hetdask.results.wording import notes

TRUTH = {
    "D0_ref": 300.0,
    "alpha_ref": -0.2,
    "D0_sample": 2500.0,
    "alpha_sample": 0.1,
    "v0": 60.0,
    "f0": 0.5,
    "f3": 0.1,
    "phi0": 25.0,
}
CONFIG: dict[str, Any] = {
    "parameters": {name: {"value": TRUTH.get(name, 0.0)} for name in ("f3", "alpha_ref", "alpha_sample", "beta")},
    "fit": {"start": "learned", "active_parameters": ["D0_ref", "D0_sample", "v0", "f0", "phi0"]},
}


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: StartModel) -> StartModel:
    """A model that is there already, in a folder of this test."""
    monkeypatch.setenv("HETDASK_CACHE", str(tmp_path / "cache"))
    model.save(model_path(usual_conditions()))
    return model


@pytest.fixture
def store(tmp_path: Path) -> Store:
    rng, phi = np.random.default_rng(7), [0.0, 60.0, 120.0]
    maps = simulate_gaussian(TRUTH, 0.5 * np.arange(80), phi, 0.0054, contrast=0.3, sigma=0.005, rng=rng)
    return write_store(tmp_path / "maps.zarr", maps.astype(np.float32), phi=phi, q=0.0054, dt=0.5)


def test_the_optimum_is_found_and_the_fit_is_remembered(store: Store, known: StartModel) -> None:
    result = hetdask.fit(store, CONFIG)
    assert result.status == "converged"
    assert result.chi_squared <= hetdask.chi_squared(store, TRUTH).value
    learned, search = result.learned, result.search
    assert learned is not None
    assert search is not None
    assert learned.sufficed
    assert learned.winner in {"prediction", "spread"}
    assert learned.polished == search.starts
    assert learned.evaluations < search.evaluations
    assert learned.trained == known.trained
    (record,) = read_history()
    assert record.parameters["v0"] == result.parameters["v0"].value
    again = hetdask.fit(store, {**CONFIG, "fit": {**CONFIG["fit"], "remember": False}})
    assert again.learned is not None
    assert again.learned.starts == learned.starts + 1
    assert len(read_history()) == 1


def test_data_unlike_what_was_learned_are_searched_and_the_result_says_so(store: Store, known: StartModel) -> None:
    replace(known, limit=0.0).save(model_path(usual_conditions()))
    result = hetdask.fit(store, CONFIG)
    assert result.status == "converged"
    assert result.learned is not None
    assert result.learned.outside
    assert result.learned.polished == 0
    assert result.search is not None
    assert result.search.starts > 12
    assert any("unlike what it was trained on" in note for note in notes(result))


def test_the_program_trains_lists_and_imports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["history", "train", "--experiments", "200", "--scheduler", "inline", "-q"]) == 0
    assert "median error" in capsys.readouterr().out
    conditions = {"q": 0.0054, "dt": 0.1, "frames": 400}
    file = tmp_path / "optimization_history.json"
    file.write_text(json.dumps([{"final_parameters": [1.0] * 14, "experimental_conditions": conditions}]))
    assert run(["history", "import", str(file)]) == 0
    assert run(["history", "list"]) == 0
    shown = capsys.readouterr().out
    assert "1 fits" in shown
    assert "200" in shown


def test_the_program_says_what_an_import_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "optimization_history.json"
    file.write_text(json.dumps([{"final_parameters": [1.0] * 14}]))
    assert run(["history", "import", str(file)]) == 2
    assert "--q --dt --frames" in capsys.readouterr().err
