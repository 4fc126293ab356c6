"""The main job by command line: a beamline file with several q and an empty bin gives the truth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from hetdask.cli.main import run
from hetdask.data.writers import write_aps_old, write_aps_u
from hetdask.model import simulate_gaussian

TRUTH = {
    "D0_ref": 8.0, "alpha_ref": 1.3, "D_offset_ref": 100.0,
    "D0_sample": 40.0, "alpha_sample": 1.2, "D_offset_sample": 400.0,
    "v0": 3.0, "beta": 1.2, "v_offset": 60.0,
    "f0": 0.6, "f1": -0.06, "f3": 0.12, "phi0": 12.0,
}  # fmt: skip
PHI = np.array([0.0, 30.0, 60.0, 90.0, 135.0])
Q = (0.0054, 0.0081)
FRAMES, DT = 300, 0.13
SEEDS = range(20)


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["aps-u", "aps-old"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_flow_experiment_is_recovered_from_a_start_20_percent_off(
    layout: str, seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng([seed, len(layout)])
    time = DT * np.arange(FRAMES)
    maps = list(simulate_gaussian(TRUTH, time, PHI, Q[0], contrast=0.3, sigma=0.004, rng=rng))
    # The second q: one angle has no pixels on the detector, and what the others hold must not be mixed in.
    others = [None if m == 2 else maps[m][::-1, ::-1].copy() for m in range(PHI.size)]
    write = write_aps_u if layout == "aps-u" else write_aps_old
    write(tmp_path / "scan.hdf", [*others, *maps], np.tile(PHI, 2), np.repeat(Q[::-1], PHI.size), DT)
    start = {
        name: {
            "value": value + 5.0 * rng.uniform(-1, 1)
            if name == "phi0"
            else value * (1 + 0.2 * float(rng.choice([-1, 1])))
        }
        for name, value in TRUTH.items()
    }
    config = {
        "data": {"store": str(tmp_path / "scan.zarr")},
        "parameters": start,
        "compute": {"scheduler": "inline"},
        "output": {"folder": str(tmp_path / "run"), "plots": False},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert (
        run(
            [
                "ingest",
                str(tmp_path / "scan.hdf"),
                str(tmp_path / "scan.zarr"),
                "--q",
                str(Q[0]),
                "--scheduler",
                "inline",
            ]
        )
        == 0
    )
    assert run(["fit", str(tmp_path / "config.yaml"), "--quiet"]) == 0, capsys.readouterr().err
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["status"] == "converged"
    assert result["n_points"] == PHI.size * FRAMES * (FRAMES - 1) // 2
    assert 0.98 < result["reduced_chi_squared"] < 1.02
    assert all(result["parameters"][name]["identified"] for name in TRUTH)
    for name, truth in TRUTH.items():
        found = result["parameters"][name]
        assert abs(found["value"] - truth) < 4.0 * found["stderr"], name
