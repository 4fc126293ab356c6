"""Wrong input ends with exit status 2 and one message that says what was found and what to change."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hetdask.data.writers import write_aps_u

Program = Callable[..., Any]
MakeConfig = Callable[..., Path]


def refused(outcome: Any, message: str) -> None:
    """Assert that a run was refused with a message."""
    assert outcome.status == 2, outcome
    assert re.search(message, outcome.err, re.DOTALL), outcome.err
    assert outcome.err.count("hetdask: error: ") == 1
    assert "Traceback" not in outcome.err
    assert "Converged" not in outcome.out


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"source": "missing.hdf"}, r"missing\.hdf"),
        ({"source": None}, r"no data: give data\.source"),
        ({"source": None, "store": "missing.zarr"}, r"missing\.zarr"),
        ({"q": 0.02}, r"no map has q = 0\.02.*0\.0054.*0\.0081"),
        ({"q": None}, r"several q.*0\.0054.*0\.0081"),
        ({"angles": [[200, 210]]}, r"no angle lies within 200:210.*there are.*--angles"),
        ({"frames": [1, 61]}, r"frames 1 to 61.*the file has frames 1 to 60.*--frames"),
        ({"frames": [1, 2]}, r"found 2 frames, expected at least 3"),
        ({"layout": "tiff"}, r"tiff"),
        ({"dt": -0.5}, r"data\.dt: found -0\.5, expected greater than 0"),
        ({"q": -0.0054}, r"data\.q: found -0\.0054"),
        ({"sorce": "x"}, r"unknown key 'sorce' in data: did you mean 'source'"),
    ],
)
def test_data_that_are_not_there(program: Program, make_config: MakeConfig, data: dict[str, Any], message: str) -> None:
    refused(program(["fit", make_config(**data)]), message)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("parameters.v0.value=1e9", r"the start value 1e\+09 lies outside its bounds"),
        ("parameters.v0.min=200", r"the start value 132 lies outside its bounds \[200, 10000\]"),
        ("parameters.v0={min: 5, max: 1}", r"found min 5 above max 1"),
        ("parameters.alpha_ref.value=-1.5", r"alpha_ref = -1\.5 .*diverge.*time_origin"),
        ("fit.active_parameters=[v00]", r"did you mean 'v0'"),
        ("fit.active_parameters=[]", r"fit\.active_parameters: found \[\], expected at least 1 item"),
        ("fit.sigma=0", r"fit\.sigma: found 0"),
        ("fit.sigma=[0.01, 0.01]", r"sigma"),
        ("fit.toleranc=1", r"did you mean 'tolerance'"),
        ("compute.scheduler=cloud", r"unknown scheduler 'cloud': expected inline, local"),
        ("compute.workers=1000", r"found 1000 workers, expected 1 to"),
        ("compute.workers=0", r"found 0 workers, expected 1 to"),
        ("compute.memory_limit=1e9GiB", r"memory limit .*--memory-limit|memory limit '1e9GiB' is"),
        ("compute.memory_limit=lots", r"memory limit 'lots' is neither"),
        ("nonsense", r"expected key=value"),
    ],
)
def test_settings_that_make_no_sense(program: Program, config: Path, assignment: str, message: str) -> None:
    refused(program(["fit", config, "--set", assignment]), message)
    assert not (config.parent / "run" / "result.json").exists()


def test_a_site_that_is_not_there(program: Program, config: Path, tmp_path: Path) -> None:
    refused(program(["fit", config, "--site", tmp_path / "none.yaml"]), r"there is no site file .*none\.yaml")


def test_configurations_that_cannot_be_read(program: Program, tmp_path: Path) -> None:
    refused(program(["fit", tmp_path / "none.yaml"]), r"there is no configuration file")
    (tmp_path / "a.json").write_text('{"data": \n {"dt": }}')
    refused(program(["fit", tmp_path / "a.json"]), r"a\.json, line 2, column 9")
    (tmp_path / "a.yaml").write_text("data:\n  q: [1\n")
    refused(program(["fit", tmp_path / "a.yaml"]), r"a\.yaml, line 3, column 1")


def test_files_that_are_no_two_time_maps(program: Program, make_config: MakeConfig, tmp_path: Path) -> None:
    text = tmp_path / "text.hdf"
    text.write_text("this is no HDF5")
    refused(program(["fit", make_config(source=str(text))]), r"text\.hdf")
    multitau = tmp_path / "multitau.hdf"
    with h5py.File(multitau, "w") as file:
        file["/xpcs/multitau/normalized_g2"] = np.ones((10, 4))
        file["/xpcs/multitau/delay_list"] = np.arange(10)
    refused(program(["fit", make_config(source=str(multitau))]), r"multitau")


def maps_file(path: Path, maps: np.ndarray) -> str:
    np.save(path, maps)
    return str(path)


@pytest.mark.parametrize("kind", ["all NaN", "asymmetric", "two frames"])
def test_maps_that_cannot_be_fitted(
    program: Program, make_config: MakeConfig, maps: np.ndarray, tmp_path: Path, kind: str
) -> None:
    changed = maps.copy()
    message = "NaN|no pixel|finite"
    if kind == "all NaN":
        changed[1] = np.nan
    elif kind == "asymmetric":
        changed = changed + 0.2 * np.tril(np.random.default_rng(0).normal(size=changed.shape))
        message = "asymmetr|symmetric"
    else:
        changed = changed[:, :2, :2]
        message = "at least 3"
    source = maps_file(tmp_path / "maps.npy", changed)
    refused(program(["fit", make_config(source=source, phi=[0, 45, 90], dt=0.5)]), message)


def test_a_full_symmetric_map_counts_each_pair_once_and_bad_frames_are_left_out(
    program: Program, make_config: MakeConfig, maps: np.ndarray, tmp_path: Path
) -> None:
    changed = maps.copy()
    changed[:, 10, :] = changed[:, :, 10] = np.nan
    source = maps_file(tmp_path / "maps.npy", changed)
    outcome = program(["fit", make_config(source=source, phi=[0, 45, 90], dt=0.5)])
    assert outcome.status == 0, outcome.err
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["n_points"] == 3 * 59 * 58 // 2


def test_maps_with_baseline_0_fit_as_well(
    program: Program, make_config: MakeConfig, maps: np.ndarray, tmp_path: Path
) -> None:
    source = maps_file(tmp_path / "maps.npy", maps - 1.0)
    assert program(["fit", make_config(source=source, phi=[0, 45, 90], dt=0.5)]).status == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert all(abs(angle["offset"]) < 0.1 for angle in result["angles"])


def test_stores_that_are_damaged(program: Program, source: Path, make_config: MakeConfig, tmp_path: Path) -> None:
    store = tmp_path / "scan.zarr"
    assert program(["ingest", source, store, "--q", "0.0054", "--scheduler", "inline", "-q"]).status == 0
    config = make_config(source=None, q=None, store=str(store))
    shard = max((path for path in store.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    whole = shard.read_bytes()
    changed = bytearray(whole)
    changed[len(changed) // 2] ^= 0xFF
    shard.write_bytes(changed)
    refused(program(["fit", config]), r"scan\.zarr")
    shard.write_bytes(whole[: len(whole) // 2])
    refused(program(["fit", config]), r"scan\.zarr")
    shard.unlink()
    refused(program(["fit", config]), r"scan\.zarr")


def test_output_that_cannot_be_written(program: Program, config: Path, tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    refused(program(["fit", config, "-o", in_the_way / "run"]), r"can't write to the output folder")
    refused(program(["demo", in_the_way / "demo"]), r"can't write to")
    refused(program(["config", "new", in_the_way / "new.yaml"]), r"can't write")
    refused(program(["simulate", config, tmp_path / "out.hdf"]), r"no section simulation")


def test_an_ingest_that_fails_leaves_nothing(
    program: Program, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hetdask.data.shardfile.ShardWriter.add", full)
    refused(program(["ingest", source, tmp_path / "out.zarr", "--q", "all", "--scheduler", "inline"]), r"[Ss]pace")
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_would_not_fit_into_memory_is_refused_before_it_is_read(program: Program, tmp_path: Path) -> None:
    source = write_aps_u(tmp_path / "large.hdf", [np.ones((6000, 6000), dtype=np.float32)], [0.0], 0.0054, 0.1)
    outcome = program(["ingest", source, tmp_path / "out.zarr", "--scheduler", "inline", "--memory-limit", "700MiB"])
    refused(outcome, r"--memory-limit")
