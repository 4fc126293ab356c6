"""A small experiment with the configuration that the guide takes for granted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hetdask.data.writers import write_aps_u
from hetdask.model import simulate_gaussian
from hetdask.model.parameters import NAMES, as_vector
from hetdask.results import Result

TRUTH = {
    "D0_ref": 300.0,
    "alpha_ref": -0.4,
    "D0_sample": 2000.0,
    "alpha_sample": 0.3,
    "v0": 120.0,
    "f0": 0.45,
    "f3": 0.15,
    "phi0": 12.0,
}
ACTIVE = ["D0_ref", "D0_sample", "v0", "f0"]
PHI = [0.0, 60.0, 175.0]
Q = 0.0054
DT = 0.5
FRAMES = 64


def truth() -> np.ndarray:
    return as_vector({**dict.fromkeys(NAMES, 0.0), **TRUTH})


def content_of(folder: Path) -> dict[str, Any]:
    """Configuration of a fit that starts 10 % off; every key acts."""
    start = {name: value * (1.1 if name in ACTIVE else 1.0) for name, value in zip(NAMES, truth(), strict=True)}
    return {
        "experimental_data": {"data_folder_path": str(folder), "data_file_name": "scan.hdf"},
        "analyzer_parameters": {
            "temporal": {"dt": DT, "start_frame": 1, "end_frame": FRAMES},
            "scattering": {"wavevector_q": Q},
            "computational": {"num_threads": 1},
        },
        "initial_parameters": {
            "values": list(start.values()),
            "parameter_names": list(start),
            "active_parameters": ACTIVE,
        },
        "optimization_config": {"robust_optimization": {"enabled": True}},
        "output_settings": {"reporting": {"generate_plots": False}},
    }


@pytest.fixture(scope="session")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a beamline file and ``my_config.json``."""
    folder = tmp_path_factory.mktemp("experiment")
    rng = np.random.default_rng(8)
    maps = simulate_gaussian(truth(), DT * np.arange(FRAMES), PHI, Q, contrast=0.3, offset=1.0, sigma=0.003, rng=rng)
    write_aps_u(folder / "scan.hdf", list(maps), PHI, Q, DT)
    (folder / "my_config.json").write_text(json.dumps(content_of(folder)))
    return folder


@pytest.fixture
def content(experiment: Path) -> dict[str, Any]:
    """Content of ``my_config.json``, to be changed."""
    return content_of(experiment)


@pytest.fixture
def near() -> Callable[[Result], None]:
    """Compare the active parameters of a fit with the truth, within their errors."""

    def check(result: Result) -> None:
        for name in ACTIVE:
            row = result.parameters[name]
            assert row.stderr is not None
            assert row.stderr < 0.15 * TRUTH[name]
            assert abs(row.value - TRUTH[name]) < 4.0 * row.stderr

    return check
