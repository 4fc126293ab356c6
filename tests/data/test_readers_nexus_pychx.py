"""NXxpcs and pyCHX files: regions along any axis or as keys, with their q and angle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from hetdask.data.ingest import ingest
from hetdask.data.readers import open_source, read_maps
from hetdask.errors import ConfigError, DataError

type Edit = Callable[[h5py.File], None]

MAPS = "/entry/twotime/two_time_corr_func"
Q, PHI = [0.0031, 0.0054, 0.0054], [0.0, 0.0, 90.0]


@pytest.fixture
def maps(make_maps: Callable[..., NDArray[np.float32]]) -> NDArray[np.float32]:
    return make_maps(3, 20)


@pytest.fixture
def nexus(tmp_path: Path, maps: NDArray[np.float32]) -> Path:
    """Three regions along the first axis."""
    path = tmp_path / "scan.nxs"
    with h5py.File(path, "w") as file:
        file["/entry/definition"] = "NXxpcs"
        file[MAPS] = np.triu(maps)
        file[MAPS].attrs.update({"storage_mode": "one_array_q_first", "baseline_reference": 1})
        file[MAPS].attrs.update({"time_origin_location": "upper_left", "populated_elements": "upper_half"})
        file["/entry/instrument/masks/dynamic_q_list"] = Q
        file["/entry/instrument/masks/dynamic_q_list"].attrs["units"] = "1/angstrom"
        file["/entry/instrument/masks/dynamic_phi_list"] = PHI
        file["/entry/instrument/masks/dynamic_phi_list"].attrs["units"] = "degrees"
        file["/entry/instrument/eiger/frame_time"] = 0.05
    return path


@pytest.fixture
def pychx(tmp_path: Path, maps: NDArray[np.float32]) -> Path:
    """Three regions along the last axis."""
    path = tmp_path / "uid.h5"
    with h5py.File(path, "w") as file:
        file["g12b"] = np.moveaxis(maps, 0, -1).astype(np.float64)
        file["qval_dict"] = 1
        for number, values in enumerate(zip(Q, PHI, strict=True)):
            file["qval_dict"].attrs[str(number)] = values
        file["md"] = 1
        file["md"].attrs["frame_time"] = 0.05
        file["md"].attrs["exposure time"] = 0.04
    return path


def edit(path: Path, change: Edit) -> Path:
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def replace(name: str, value: object, **attributes: object) -> Edit:
    def change(file: h5py.File) -> None:
        kept = dict(file[name].attrs)
        del file[name]
        file[name] = value
        file[name].attrs.update({**kept, **attributes})

    return change


def check(path: Path, maps: NDArray[np.float32]) -> None:
    source = open_source(path)
    assert source.q.tolist() == Q
    assert source.phi.tolist() == PHI
    assert source.dt == 0.05
    assert source.n_frames == 20
    for order in ([0, 1, 2], [2, 0]):
        read = list(read_maps(source, [source.entries[k] for k in order]))
        np.testing.assert_array_equal(np.triu(read), np.triu(maps[order]))


def test_nexus_regions_along_the_first_axis(nexus: Path, maps: NDArray[np.float32]) -> None:
    check(nexus, maps)
    assert [entry.bin for entry in open_source(nexus).entries] == [1, 2, 3]


def test_nexus_regions_along_the_last_axis(nexus: Path, maps: NDArray[np.float32]) -> None:
    last = np.moveaxis(np.triu(maps), 0, -1)
    check(edit(nexus, replace(MAPS, last, storage_mode="one_array_q_last")), maps)


def test_nexus_regions_as_keys_are_sorted_by_number(nexus: Path, maps: NDArray[np.float32]) -> None:
    def change(file: h5py.File) -> None:
        del file[MAPS]
        for key, pixels in zip(["C_1", "C_00002", "C_03"], maps, strict=True):
            file[f"{MAPS}/{key}"] = np.triu(pixels)

    check(edit(nexus, change), maps)
    with h5py.File(nexus, "r+") as file:
        file[MAPS].move("C_03", "C_10")
    with pytest.raises(DataError, match=r"has C_00002, C_1, C_10, expected one key for each region, numbered 1 to 3"):
        open_source(nexus)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replace(MAPS, np.ones((3, 20, 20)), storage_mode="one_array_q_last"), r"shape \(3, 20, 20\) and storage_mode"),
        (replace(MAPS, np.ones((4, 20, 20))), r"expected \(3, N, N\)"),
        (
            replace(MAPS, np.ones((3, 20, 20)), time_origin_location="lower_left"),
            "is 'lower_left', expected upper_left",
        ),
        (replace("/entry/instrument/masks/dynamic_q_list", np.ones((3, 3))), "expected one number for each region"),
        (replace("/entry/instrument/masks/dynamic_phi_list", [0.0, 1.0]), "3 values of dynamic_q_list and 2 of"),
        (replace("/entry/instrument/masks/dynamic_q_list", Q, units="pixels"), "q is in 'pixels'"),
    ],
)
def test_nexus_files_that_are_stored_otherwise_are_refused(nexus: Path, change: Edit, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_source(edit(nexus, change))


def test_nexus_lists_in_other_units_are_converted(nexus: Path) -> None:
    edit(nexus, replace("/entry/instrument/masks/dynamic_q_list", 10 * np.array(Q), units="nm^-1"))
    edit(nexus, replace("/entry/instrument/masks/dynamic_phi_list", np.radians(PHI), units="rad"))
    source = open_source(nexus)
    np.testing.assert_allclose(source.q, Q)
    np.testing.assert_allclose(source.phi, PHI)


def test_phi_is_asked_for_where_a_file_has_none(nexus: Path, tmp_path: Path) -> None:
    def change(file: h5py.File) -> None:
        del file["/entry/instrument/masks/dynamic_phi_list"]

    assert open_source(edit(nexus, change)).missing == ("phi",)
    with pytest.raises(DataError, match=r"does not say phi.*--phi"):
        ingest(nexus, tmp_path / "scan.zarr", q="all")
    assert ingest(nexus, tmp_path / "scan.zarr", q=0.0054, phi=PHI).phi.tolist() == [0, 90]


def test_nexus_files_with_g2_only_are_said(nexus: Path) -> None:
    def change(file: h5py.File) -> None:
        del file["/entry/twotime"]

    with pytest.raises(DataError, match=r"nxxpcs\) holds multitau results only"):
        open_source(edit(nexus, change))


def test_pychx_regions_have_q_and_angle(pychx: Path, maps: NDArray[np.float32], tmp_path: Path) -> None:
    check(pychx, maps)
    store = ingest(pychx, tmp_path / "scan.zarr", q=0.0054)
    assert store.phi.tolist() == [0, 90]
    assert [entry["triangle"] for entry in store.provenance["maps"]] == ["full", "full"]


def test_phi_of_pychx_is_given_where_it_is_missing_and_only_there(pychx: Path) -> None:
    with pytest.raises(ConfigError, match="has its own"):
        open_source(pychx, phi=PHI)
    with h5py.File(pychx, "r+") as file:
        for number, q in enumerate(Q):
            file["qval_dict"].attrs[str(number)] = [q]
    assert open_source(pychx).missing == ("phi",)
    assert open_source(pychx, phi=PHI).phi.tolist() == PHI


def test_the_exposure_time_of_pychx_stands_in_with_a_note(pychx: Path) -> None:
    with h5py.File(pychx, "r+") as file:
        del file["md"].attrs["frame_time"]
    source = open_source(pychx)
    assert source.dt == 0.04
    assert "dead time" in source.notes[0]
    with h5py.File(pychx, "r+") as file:
        file["md"].attrs["exposure time"] = 0.0
    with pytest.raises(DataError, match=r"time between frames.*--dt"):
        open_source(pychx)
    assert open_source(pychx, dt=0.1).dt == 0.1


def test_pychx_files_that_do_not_fit_are_refused(pychx: Path, maps: NDArray[np.float32]) -> None:
    with h5py.File(pychx, "r+") as file:
        del file["qval_dict"].attrs["2"]
    with pytest.raises(DataError, match=r"lacks region 2 of 3.*--key g12b"):
        open_source(pychx)
    source = open_source(pychx, layout="plain", key="g12b", phi=PHI, q=Q, dt=0.1)
    np.testing.assert_array_equal(list(read_maps(source, source.entries)), maps)
    with pytest.raises(DataError, match=r"expected maps as \(N, N, regions\)"):
        open_source(edit(pychx, replace("g12b", np.ones((3, 20, 20)))))
