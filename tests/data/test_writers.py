"""Files written here look as the beamlines write them, and are read back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from hetdask.data.readers import open_source, read_maps
from hetdask.data.writers import write_aps_old, write_aps_u, write_npz
from hetdask.errors import ConfigError, DataError

PHI = [0.0, 45.0, 90.0, 0.0, 45.0, 90.0]
Q = [0.0054] * 3 + [0.01] * 3


@pytest.fixture
def maps(make_maps: Callable[..., NDArray[np.float32]]) -> list[NDArray[np.float32] | None]:
    """Six bins, the second one empty."""
    found: list[NDArray[np.float32] | None] = list(make_maps(6, 30))
    found[1] = None
    return found


def test_aps_u_files_skip_empty_bins_by_the_index_mapping(tmp_path: Path, maps: list[NDArray[np.float32]]) -> None:
    with h5py.File(write_aps_u(tmp_path / "scan.hdf", maps, PHI, Q, 0.1), "r") as file:
        assert file["/xpcs/qmap/dynamic_index_mapping"][()].tolist() == [0, 2, 3, 4, 5]
        assert file["/xpcs/twotime/processed_bins"][()].tolist() == [1, 2, 3, 4, 5]
        assert file["/xpcs/qmap/dynamic_num_pts"][()].tolist() == [2, 3]
        c2 = file["/xpcs/twotime/correlation_map/c2_00002"]
        assert c2.chunks == (30, 30)
        assert c2.compression == "lzf"
        assert c2.dtype == np.float32
        np.testing.assert_array_equal(c2[()], np.triu(maps[2]))


def test_aps_u_bins_run_over_the_grid_whatever_the_order_of_the_maps(
    tmp_path: Path, maps: list[NDArray[np.float32]]
) -> None:
    order = [4, 2, 0, 5, 3]
    path = write_aps_u(
        tmp_path / "scan.hdf", [maps[k] for k in order], [PHI[k] for k in order], [Q[k] for k in order], 0.1
    )
    source = open_source(path)
    assert [(entry.q, entry.phi) for entry in source.entries] == [(Q[k], PHI[k]) for k in sorted(order)]
    for pixels, k in zip(read_maps(source, source.entries), sorted(order), strict=True):
        np.testing.assert_array_equal(pixels, np.triu(maps[k]))


@pytest.mark.parametrize(("numbering", "keys"), [("bin", [1, 3, 4, 5, 6]), ("running", [1, 2, 3, 4, 5])])
def test_old_files_are_numbered_by_bin_or_in_order(
    tmp_path: Path, maps: list[NDArray[np.float32]], numbering: str, keys: list[int]
) -> None:
    path = write_aps_old(tmp_path / "scan.hdf", maps, PHI, Q, 0.1, numbering=numbering)
    with h5py.File(path, "r") as file:
        assert list(file["/exchange/C2T_all"]) == [f"g2_{number:05d}" for number in keys]
        assert file["/xpcs/dqlist"].shape == (1, 6)
        assert file["/xpcs/qphi_bin_to_process"][()].tolist() == [[1, 3, 4, 5, 6]]
    source = open_source(path)
    assert [entry.bin for entry in source.entries] == [1, 3, 4, 5, 6]
    assert source.phi.tolist() == [0, 90, 0, 45, 90]
    assert source.dt == 0.1


def test_caches_hold_full_maps_and_times(tmp_path: Path, maps: list[NDArray[np.float32]]) -> None:
    path = write_npz(tmp_path / "scan.npz", maps, PHI, Q, 0.1)
    with np.load(path) as arrays:
        assert sorted(arrays) == ["c2_exp", "phi_angles_list", "t1", "t2", "wavevector_q_list"]
        assert arrays["c2_exp"].dtype == np.float64
        np.testing.assert_array_equal(arrays["c2_exp"][1], maps[2])
        np.testing.assert_allclose(arrays["t1"][:, 0], 0.1 * np.arange(30))
    assert open_source(path).phi.tolist() == [0, 90, 0, 45, 90]


@pytest.mark.parametrize("write", [write_aps_u, write_aps_old, write_npz])
def test_files_are_not_replaced_unless_told_and_never_half_written(
    tmp_path: Path, maps: list[NDArray[np.float32]], write: Callable[..., Path]
) -> None:
    path = tmp_path / "scan.npz"
    write(path, maps, PHI, Q, 0.1)
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"exists: use overwrite"):
        write(path, maps, PHI, Q, 0.1)
    with pytest.raises(DataError, match="found 5 maps, 4 of them not empty, expected 6"):
        write(path, maps[:5], PHI, Q, 0.1, overwrite=True)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    write(path, maps, PHI, Q, 0.1, overwrite=True)
    with pytest.raises(DataError, match="there is no folder"):
        write(tmp_path / "no" / "scan.npz", maps, PHI, Q, 0.1)


def test_coordinates_that_make_no_sense_are_refused(tmp_path: Path, maps: list[NDArray[np.float32]]) -> None:
    with pytest.raises(DataError, match="same q and phi"):
        write_aps_u(tmp_path / "scan.hdf", maps, [0.0] * 6, Q, 0.1)
    with pytest.raises(ConfigError, match="expected positive values"):
        write_aps_u(tmp_path / "scan.hdf", maps, PHI, -0.1, 0.1)
    with pytest.raises(ConfigError, match="dt is 0 s"):
        write_aps_u(tmp_path / "scan.hdf", maps, PHI, Q, 0)
