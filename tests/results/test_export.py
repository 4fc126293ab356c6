"""Exports hold the numbers of the result, under the names that other programs know."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from hetdask.data.store import Store
from hetdask.errors import DataError
from hetdask.model import correlation
from hetdask.results import Result

KEYS_OF_HETERODYNE_ANALYSIS = {
    "wavevector_q", "dt", "stator_rotor_gap", "start_frame", "end_frame", "time_length", "phi_angles",
    "c2_experimental", "c2_theoretical_raw", "c2_theoretical_scaled", "contrast_params", "offset_params", "residuals",
}  # fmt: skip


@pytest.mark.parametrize("reduced", [False, True])
def test_npz_has_the_keys_of_heterodyne_analysis(run_folder: Path, tmp_path: Path, store: Store, reduced: bool) -> None:
    result = Result.load(run_folder)
    path = result.to_npz(tmp_path / "new" / "fitted_data.npz", reduced=reduced)
    with np.load(path, allow_pickle=False) as archive:
        found = dict(archive)
    assert set(found) >= KEYS_OF_HETERODYNE_ANALYSIS
    time, values = store.time, {name: one.value for name, one in result.parameters.items()}
    g = correlation(values, time, store.phi, store.q)
    contrast, offset = found["contrast_params"][:, None, None], found["offset_params"][:, None, None]
    upper = np.triu_indices(40, 1)
    for index in range(3):
        data = store.read_map(index)[upper]
        known = np.isfinite(data)
        np.testing.assert_array_equal(found["c2_experimental"][index][upper][known], data[known])
        model = found["c2_theoretical_raw"][index][upper]
        np.testing.assert_allclose(model[known], g[index][upper][known], atol=1e-6 if reduced else 1e-14)
    np.testing.assert_allclose(
        found["c2_theoretical_scaled"], offset + contrast * found["c2_theoretical_raw"], atol=1e-6
    )
    np.testing.assert_allclose(found["residuals"], found["c2_experimental"] - found["c2_theoretical_scaled"], atol=1e-6)
    assert found["c2_experimental"].dtype == np.float64
    np.testing.assert_array_equal(found["c2_experimental"], found["c2_experimental"].transpose(0, 2, 1))
    assert (found["dt"], found["time_length"], found["wavevector_q"]) == (0.5, 40, 0.0054)
    assert (found["start_frame"], found["end_frame"]) == (1, 40)
    np.testing.assert_array_equal(found["parameters"], list(values.values()))
    assert [file.name for file in path.parent.iterdir()] == ["fitted_data.npz"]


def test_npz_without_its_store_says_what_is_left(run_folder: Path, tmp_path: Path) -> None:
    result = Result.load(run_folder)
    moved = result.model_copy(update={"provenance": {**result.provenance, "store": "/data/gone.zarr"}})
    with pytest.raises(
        DataError, match=r"the store that was fitted, /data/gone.zarr, is not there; export block means"
    ):
        moved.to_npz(tmp_path / "x.npz")
    other = result.model_copy(update={"angles": result.angles[:2]})
    with pytest.raises(DataError, match="holds 3 maps of 40 frames, not the 2 maps of 40 frames of this fit"):
        other.to_npz(tmp_path / "x.npz")
    bare = Result.model_validate_json(result.to_json())
    with pytest.raises(DataError, match="holds no maps to export: load it from its run folder"):
        bare.to_npz(tmp_path / "x.npz", reduced=True)
    assert not list(tmp_path.iterdir())


def test_tables_hold_every_number(result: Result, tmp_path: Path) -> None:
    parameters, angles = result.to_csv(tmp_path / "tables")
    with parameters.open(encoding="utf-8", newline="") as file:
        rows = {row["parameter"]: row for row in csv.DictReader(file)}
    assert list(rows) == list(result.parameters)
    v0 = rows["v0"]
    assert (float(v0["value"]), float(v0["stderr"]), v0["unit"]) == (22.0, result.parameters["v0"].stderr, "Å/s^(β+1)")
    assert (v0["fixed"], v0["identified"], v0["at_bound"], v0["note"]) == ("false", "true", "", "")
    assert (rows["f2"]["stderr"], rows["f2"]["identified"], rows["f2"]["note"]) == ("", "", "fixed")
    assert (rows["f3"]["at_bound"], rows["f3"]["note"]) == ("max", "at its upper bound")
    with angles.open(encoding="utf-8", newline="") as file:
        maps = list(csv.DictReader(file))
    assert [float(row["phi"]) for row in maps] == [-20.0, 10.0, 90.0]
    assert [float(row["contrast"]) for row in maps] == [angle.contrast for angle in result.angles]
    assert maps[0]["expected_rms"] == ""
    assert int(maps[0]["n_points"]) == result.angles[0].n_points
