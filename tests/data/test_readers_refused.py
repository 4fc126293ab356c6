"""Files that are not read are named for what they are, with what to do instead."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from hetdask.data.readers import open_source
from hetdask.errors import ConfigError, DataError


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"there is no file {tmp_path / 'scan.hdf'}"):
        open_source(tmp_path / "scan.hdf")


def test_a_folder_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder"):
        open_source(tmp_path)


def test_an_unknown_layout_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected one of auto, aps-u, aps-old, nxxpcs, pychx, npz, plain"):
        open_source(tmp_path / "scan.hdf", layout="aps")


def test_a_file_that_is_not_hdf5_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scan.hdf").write_text("no HDF5")
    with pytest.raises(DataError, match="is not an HDF5 file"):
        open_source(tmp_path / "scan.hdf")


def test_an_unknown_hdf5_file_says_what_it_has(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["images"] = np.ones((4, 4))
    with pytest.raises(DataError, match=r"none of the known layouts.*it has images"):
        open_source(tmp_path / "scan.h5")


def test_maps_by_age_and_lag_are_refused_by_name(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["entry_0000/correlations/001/twotime/ttcf"] = np.ones((2, 4, 4))
    with pytest.raises(DataError, match=r"ESRF ID02.*\(q, age, lag\).*numpy\.save.*--phi 0,45,90"):
        open_source(tmp_path / "scan.h5")


def test_a_wrong_layout_is_said(aps_u_file: Path) -> None:
    with pytest.raises(DataError, match=r"no two-time maps at /exchange/C2T_all.*--layout auto"):
        open_source(aps_u_file, layout="aps-old")


def test_options_that_do_not_go_with_the_file_are_refused(aps_u_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has its own: leave out phi"):
        open_source(aps_u_file, phi=[0, 45, 90])
    with pytest.raises(ConfigError, match="use layout plain"):
        open_source(aps_u_file, key="c2")
    np.save(tmp_path / "maps.npy", np.ones((4, 4)))
    with pytest.raises(ConfigError, match="--layout plain"):
        open_source(tmp_path / "maps.npy", layout="aps-u")
