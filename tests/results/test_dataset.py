"""result.zarr opens in xarray with names, units and coordinates."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from hetdask.data.store import Store
from hetdask.errors import DataError
from hetdask.fitting import Refinement
from hetdask.model import NAMES, dynamics
from hetdask.results import Result
from hetdask.results.storage import read_contents, write_contents


def test_group_opens_in_xarray_by_itself(run_folder: Path) -> None:
    with xr.open_dataset(run_folder / "result.zarr", engine="zarr", consolidated=False) as dataset:
        assert dict(dataset.sizes) == {
            "parameter": 14,
            "phi": 3,
            "time": 40,
            "t1": 40,
            "t2": 40,
            "waiting_time": 3,
            "lag": 40,
            "evaluation": 6,
            "other": 14,
            "method": 1,
            "stage": 2,
            "check": 5,
            "outlier": 2,
            "end": 2,
        }
        assert dataset["data"].dims == dataset["model"].dims == dataset["residual"].dims == ("phi", "t1", "t2")
        assert dataset["data"].dtype == np.float32
        assert list(dataset["parameter"].to_numpy()) == list(NAMES)
        units = {name: dataset[name].attrs["units"] for name in ("J_ref", "velocity", "time", "phi", "q", "lag", "t1")}
    assert units == {"J_ref": "Å²/s", "velocity": "Å/s", "time": "s", "phi": "deg", "q": "1/Å", "lag": "s", "t1": "s"}


def test_group_is_zarr_format_3(run_folder: Path) -> None:
    assert zarr.open_group(run_folder / "result.zarr", mode="r").metadata.zarr_format == 3


def test_what_is_written_is_what_xarray_writes(result: Result, tmp_path: Path) -> None:
    write_contents(tmp_path / "ours.zarr", result.contents())
    result.contents().to_xarray().to_zarr(tmp_path / "theirs.zarr", zarr_format=3, consolidated=False)
    ours, theirs = (
        xr.open_zarr(tmp_path / name, consolidated=False, chunks=None).load() for name in ("ours.zarr", "theirs.zarr")
    )
    xr.testing.assert_identical(ours, theirs)


def test_what_is_written_is_read_without_xarray(result: Result, run_folder: Path, tmp_path: Path) -> None:
    written = result.contents()
    write_contents(tmp_path / "again.zarr", written)
    xr.testing.assert_identical(read_contents(tmp_path / "again.zarr").to_xarray(), written.to_xarray())
    xr.testing.assert_identical(
        Result.load(run_folder).contents().to_xarray().load(), Result.load(run_folder).to_xarray().load()
    )
    assert "data" in Result.load(run_folder).contents()
    assert "data" not in written


@pytest.fixture
def run_copy(run_folder: Path, tmp_path: Path) -> Path:
    """A run folder that may be damaged."""
    return shutil.copytree(run_folder, tmp_path / "run")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _damage_group(group: Path) -> None:
    (group / "zarr.json").unlink()


def _cut_group(group: Path) -> None:
    _cut(group / "zarr.json")


def _empty_group(group: Path) -> None:
    (group / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')


def _lose_array(group: Path) -> None:
    (group / "data" / "zarr.json").unlink()


def _cut_array(group: Path) -> None:
    _cut(group / "value" / "zarr.json")


def _cut_values(group: Path, name: str = "sigma") -> None:
    for chunk in (path for path in (group / name / "c").rglob("*") if path.is_file()):
        _cut(chunk)


@pytest.mark.parametrize("damage", [_damage_group, _cut_group, _empty_group, _lose_array, _cut_array, _cut_values])
def test_damage_is_told_with_what_is_left(damage: Callable[[Path], None], run_copy: Path) -> None:
    damage(run_copy / "result.zarr")
    result = Result.load(run_copy)
    with pytest.raises(DataError, match=r"result\.zarr\S* can.t be read, it may be damaged \(.+\); result\.json still"):
        result.contents()
    if damage in {_damage_group, _cut_group, _cut_array}:  # xarray leaves out what is lost, and reads values later
        with pytest.raises(DataError, match="may be damaged"):
            result.to_xarray()


def test_a_variable_that_is_gone_is_named(run_copy: Path) -> None:
    shutil.rmtree(run_copy / "result.zarr" / "sigma")
    with pytest.raises(DataError, match=r"no sigma in the result: its result\.zarr has lost it.*result\.json still"):
        Result.load(run_copy).contents()["sigma"]


def test_a_damaged_map_is_told_when_it_is_read(run_folder: Path, run_copy: Path) -> None:
    _cut_values(run_copy / "result.zarr", "data")
    contents = Result.load(run_copy).contents()
    np.testing.assert_array_equal(contents["model"][0], Result.load(run_folder).contents()["model"][0])
    with pytest.raises(DataError, match=r"result\.zarr/data can.t be read"):
        contents["data"][0]


def test_a_saved_result_holds_the_same_as_the_run(run_folder: Path, tmp_path: Path) -> None:
    kept = Result.load(run_folder)
    with kept.to_xarray() as before, Result.load(kept.save(tmp_path / "copy")).to_xarray() as after:
        xr.testing.assert_identical(before.load(), after.load())


def test_dynamics_are_those_of_the_model(result: Result) -> None:
    dataset = result.to_xarray()
    values = {name: parameter.value for name, parameter in result.parameters.items()}
    d = dynamics(values, 0.25 + 0.5 * np.arange(40))
    np.testing.assert_array_equal(dataset["time"], d.time)
    np.testing.assert_array_equal(dataset["J_sample"], d.j_sample)
    np.testing.assert_array_equal(dataset["velocity"], d.velocity)
    np.testing.assert_array_equal(dataset["fraction"], d.fraction)


def test_parameters_and_scaling_are_those_of_the_result(run_folder: Path) -> None:
    result = Result.load(run_folder)
    dataset = result.to_xarray()
    assert float(dataset["value"].sel(parameter="v0")) == result.parameters["v0"].value
    assert dataset["unit"].sel(parameter="v0").item() == "Å/s^(β+1)"
    assert np.isnan(dataset["stderr"].sel(parameter="f2"))
    assert dataset["at_bound"].sel(parameter="f3").item() == "max"
    np.testing.assert_array_equal(dataset["contrast"], [angle.contrast for angle in result.angles])
    np.testing.assert_array_equal(dataset["n_points"], [angle.n_points for angle in result.angles])


def test_maps_are_read_when_they_are_used(run_folder: Path) -> None:
    dataset = Result.load(run_folder).to_xarray()
    assert not dataset["data"].variable._in_memory
    residual = (dataset["data"] - dataset["model"]).isel(phi=0).to_numpy()
    np.testing.assert_allclose(residual, dataset["residual"].isel(phi=0), atol=2e-7)


def test_history_tells_every_evaluation(result: Result, refinement: Refinement) -> None:
    dataset = result.to_xarray()
    np.testing.assert_array_equal(dataset["history_chi_squared"], [e.chi_squared for e in refinement.history])
    np.testing.assert_array_equal(dataset["history_round"], [1, 1, 1, 1, 2, 2])
    assert dataset["history_values"].shape == (6, 14)


def test_result_alone_still_has_its_curves(result: Result) -> None:
    alone = Result.model_validate_json(result.to_json())
    dataset = alone.to_xarray()
    assert dataset.sizes["evaluation"] == 0
    assert "data" not in dataset
    np.testing.assert_array_equal(dataset["J_ref"], result.to_xarray()["J_ref"])


def test_several_q_at_one_angle_stay_apart(
    make_store: Callable[..., Store], make_refinement: Callable[[Store], Refinement]
) -> None:
    store = make_store(n_phi=2)
    refinement = make_refinement(store)
    same = tuple(replace(angle, phi=10.0, q=q) for angle, q in zip(refinement.angles, (0.004, 0.006), strict=True))
    dataset = Result.from_refinement(replace(refinement, angles=same), store).to_xarray()
    np.testing.assert_array_equal(dataset["q"], [0.004, 0.006])
    assert dataset["contrast"].isel(phi=1).item() == pytest.approx(0.3)
