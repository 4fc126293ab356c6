"""The two templates of an installed heterodyne-analysis: paths of the data are set, and Nelder-Mead ends earlier."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hetdask.cli.main import run
from hetdask.data.writers import write_aps_u
from hetdask.model import simulate_gaussian
from hetdask.results import Result

TEMPLATES = "HETDASK_ORIGINAL_TEMPLATES"
NAMES = ["template", "heterodyne_template"]

TRUTH = {  # within the bounds of both templates, which put f1 between 0 and 1
    "D0_ref": 3e4,
    "alpha_ref": -0.3,
    "D_offset_ref": 20.0,
    "D0_sample": 1e5,
    "alpha_sample": 0.2,
    "D_offset_sample": 30.0,
    "v0": 800.0,
    "beta": 0.1,
    "v_offset": 20.0,
    "f0": 0.25,
    "f1": 0.01,
    "f2": 0.25,
    "f3": 0.15,
    "phi0": 8.0,
}
PHI = [-5.0, 85.0, 178.0]
SIGMA = 0.01
EVALUATIONS = 300
"""Of Nelder-Mead in each round, instead of the 15,000 of the templates: it starts where the trust region has ended."""

pytestmark = pytest.mark.skipif(
    TEMPLATES not in os.environ,
    reason=f"THE TEMPLATES ARE NOT RUN: set {TEMPLATES} to the folder heterodyne/config of an installed copy",
)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with ``scan.hdf``: 1000 frames, of which the templates take 100 to 1000, every 0.1 s at q = 0.001."""
    folder = tmp_path_factory.mktemp("templates")
    rng = np.random.default_rng(1)
    chosen = simulate_gaussian(TRUTH, 0.1 * np.arange(901), PHI, 0.001, contrast=0.3, offset=1.0, sigma=SIGMA, rng=rng)
    whole = np.ones((len(PHI), 1000, 1000), dtype=np.float32)
    whole[:, 99:, 99:] = chosen
    write_aps_u(folder / "scan.hdf", list(whole), PHI, 0.001, 0.1)
    return folder


def content_of(name: str, experiment: Path, results: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((Path(os.environ[TEMPLATES]) / f"{name}.json").read_text())
    content["experimental_data"] |= {"data_folder_path": str(experiment), "data_file_name": "scan.hdf"}
    content["output_settings"]["results_directory"] = str(results)
    return content


@pytest.mark.parametrize("name", NAMES)
def test_a_template_is_checked_and_migrated(name: str, experiment: Path, tmp_path: Path) -> None:
    path = tmp_path / "my.json"
    path.write_text(json.dumps(content_of(name, experiment, tmp_path / "results")))
    assert run(["config", "check", str(path)]) == 0
    assert run(["config", "migrate", str(path)]) == 0
    assert run(["config", "check", str(path.with_suffix(".yaml"))]) == 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", NAMES)
def test_a_template_converges_from_its_own_start_values(name: str, experiment: Path, tmp_path: Path) -> None:
    content = content_of(name, experiment, tmp_path / "results")
    classical = content["optimization_config"]["classical_optimization"]
    classical["method_options"]["Nelder-Mead"]["maxiter"] = EVALUATIONS
    path = tmp_path / "my.json"
    path.write_text(json.dumps(content))
    assert run(["--config", str(path), "--method", "all", "--no-plots", "--scheduler", "inline", "--verbose"]) == 0
    result = Result.load(tmp_path / "results")
    assert result.status == "converged"
    assert {"trust-region", "nelder-mead", "wasserstein", "scenario", "ellipsoidal"} <= {*result.methods}
    assert result.parameters["f1"].start is not None
    # Its fraction is 1 on most frames: there is nothing to learn from there.
    assert result.search is not None
    assert result.search.doubted
    assert not result.search.confirmed
    assert all(angle.residual_rms < 1.02 * SIGMA for angle in result.angles)
    for parameter in ("v0", "phi0"):
        row = result.parameters[parameter]
        assert row.stderr is not None
        assert abs(row.value - TRUTH[parameter]) < 6.0 * row.stderr
