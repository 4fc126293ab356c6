"""The plots of the original's command line: data as they are, and the model at the start values."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from matplotlib.image import imread as read_png

from hetdask.model import correlation
from hetdask.results.plots.inspection import MeasuredMap, lag_means, measured_figure

Program = Callable[..., Any]


@pytest.mark.parametrize("form", ["root", "fit"])
def test_measured_data_are_drawn_and_nothing_is_fitted(program: Program, config: Path, form: str) -> None:
    start = ["--config", config] if form == "root" else ["fit", config]
    outcome = program([*start, "--plot-experimental-data", "--quiet"])
    assert outcome.status == 0, outcome.err
    picture = config.parent / "run" / "exp_data" / "experimental_data_validation.png"
    assert outcome.out == f"{picture}\n"
    assert read_png(picture).shape[0] > 1000
    assert not (config.parent / "run" / "result.json").exists()
    assert program(["--config", config, "--quiet"]).status == 0


def test_statistics_are_those_of_the_pixels(maps: np.ndarray) -> None:
    upper = np.where(np.triu(np.ones(maps[0].shape, bool), 1), maps[0], np.nan).astype(np.float32)
    upper[5] = np.nan
    figure = measured_figure([MeasuredMap(-20.0, 0.0054, upper, 0.0101)], 0.5 * np.arange(60))
    text = figure.axes[1].get_title(loc="left")
    assert f"mean {np.nanmean(upper.astype(float)):.5g}\n" in text
    assert "60 × 60 frames, 96.95 % of the pairs are data" in text
    assert text.endswith("white noise 0.0101")
    assert lag_means(upper)[2] == pytest.approx(np.nanmean(np.diagonal(upper.astype(float), 3)))
    assert figure.axes[0].get_xlabel() == "t₁ (s)"
    box = figure.get_tightbbox()
    assert (box.x0 > 0.0, box.x1 < figure.get_figwidth()) == (True, True)


def test_simulated_data_are_the_model_at_the_start_values(program: Program, make_config: Callable[..., Path]) -> None:
    config = make_config(frames=[1, 30], dt=0.5)
    arguments = [
        "--config",
        config,
        "--plot-simulated-data",
        "--contrast",
        "0.3",
        "--offset",
        "1",
        "--phi-angles",
        "-10,45",
    ]
    outcome = program(arguments)
    assert outcome.status == 0, outcome.err
    folder = config.parent / "run" / "simulated_data"
    assert {path.name for path in folder.iterdir()} == {
        "c2_fitted_data.npz", "simulation_config_fitted.json",
        "simulated_c2_fitted_phi_-10.0deg.png", "simulated_c2_fitted_phi_45.0deg.png",
    }  # fmt: skip
    content = yaml.safe_load(config.read_text())
    values = {name: entry["value"] for name, entry in content["parameters"].items()}
    g = correlation(values, 0.5 * np.arange(30), [-10.0, 45.0], 0.0054)
    with np.load(folder / "c2_fitted_data.npz", allow_pickle=False) as archive:
        np.testing.assert_allclose(archive["c2_data"], 1.0 + 0.3 * g, rtol=1e-14)
        assert set(archive) == {"c2_data", "phi_angles", "t1", "t2", "initial_params", "contrast", "offset"}
        assert archive["t1"].shape == archive["t2"].shape == (30, 30)
        assert archive["initial_params"].shape == (14,)
    record = json.loads((folder / "simulation_config_fitted.json").read_text())
    assert record["scaling"] == {"contrast": 0.3, "offset": 1.0}
    assert record["time_points"] == 30


def test_simulated_data_need_no_configuration(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = program(["--plot-simulated-data", "--phi-angles", "90", "--set", "simulation.frames=50"])
    assert outcome.status == 0, outcome.err
    with np.load(tmp_path / "hetdask_run" / "simulated_data" / "c2_theoretical_data.npz") as archive:
        assert archive["c2_data"].shape == (1, 50, 50)
        assert archive["c2_data"][0].diagonal() == pytest.approx(1.0)


@pytest.mark.parametrize("option", [("--contrast", "0.3"), ("--offset", "1"), ("--phi-angles", "0,45")])
def test_options_of_simulated_data_alone_are_refused(program: Program, config: Path, option: tuple[str, str]) -> None:
    outcome = program(["--config", config, *option])
    assert outcome.status == 2
    assert f"{option[0]} belongs to --plot-simulated-data" in outcome.err


def test_what_is_missing_is_named(program: Program, config: Path) -> None:
    outcome = program(["--config", config, "--plot-simulated-data"])
    assert outcome.status == 2
    assert "needs data.frames (or a section simulation)" in outcome.err
    outcome = program(["--plot-experimental-data"])
    assert outcome.status == 2
    assert "--plot-experimental-data needs --config" in outcome.err
