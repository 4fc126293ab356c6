"""Real maps of NSLS-II CHX are read as h5py reads them by hand."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from hetdask.data.ingest import ingest
from hetdask.data.inspect import inspect
from hetdask.data.noise import white_noise
from hetdask.data.readers import open_source
from hetdask.data.store import Store

APS_U = "chx_10bins_apsu_layout.hdf"
APS_OLD = "chx_10bins_aps_old_layout.hdf"


def above(pixels: np.ndarray) -> np.ndarray:
    upper = pixels.astype(np.float32)
    upper[np.tril_indices_from(upper)] = np.nan
    return upper


def test_the_index_mapping_of_an_aps_u_file_is_followed(shared_data: Path) -> None:
    with h5py.File(shared_data / APS_U, "r") as file:
        cells = file["/xpcs/qmap/dynamic_index_mapping"][()][file["/xpcs/twotime/processed_bins"][()] - 1].astype(int)
        q = file["/xpcs/qmap/dynamic_v_list_dim0"][()][cells // 8]
        phi = file["/xpcs/qmap/dynamic_v_list_dim1"][()][cells % 8]
    assert cells.tolist() != list(range(10))
    source = open_source(shared_data / APS_U)
    np.testing.assert_array_equal(source.q, q)
    np.testing.assert_array_equal(source.phi, phi)


@pytest.mark.parametrize(
    ("name", "group", "prefix", "q"),
    [
        (APS_U, "/xpcs/twotime/correlation_map", "c2", 0.003),
        (APS_U, "/xpcs/twotime/correlation_map", "c2", 0.012),
        (APS_U, "/xpcs/twotime/correlation_map", "c2", "all"),
        (APS_OLD, "/exchange/C2T_all", "g2", None),
    ],
)
def test_every_pixel_above_the_diagonal_is_in_the_store(
    shared_data: Path, tmp_path: Path, name: str, group: str, prefix: str, q: float | str | None
) -> None:
    store = ingest(shared_data / name, tmp_path / "scan.zarr", q=q)
    with h5py.File(shared_data / name, "r") as file:
        for angle, entry in enumerate(store.provenance["maps"]):
            pixels = file[f"{group}/{prefix}_{entry['bin']:05d}"][()]
            np.testing.assert_array_equal(store.read_map(angle), above(pixels))
            assert entry["triangle"] == "upper"
            # What the file has on its diagonal is the mean of the neighbours, as its makers say.
            beside = np.diagonal(pixels, 1)
            np.testing.assert_allclose(np.diagonal(pixels)[1:-1], 0.5 * (beside[1:] + beside[:-1]), rtol=1e-5)
            assert entry["diagonal"] == "interpolated"
            assert store.noise[angle] == pytest.approx(white_noise(pixels))
    assert store.n_points == store.n_phi * 350 * 349 // 2
    assert Store.open(store.path, verify="full").dt == 1.0


def test_both_layouts_hold_the_same_maps(shared_data: Path, tmp_path: Path) -> None:
    new = ingest(shared_data / APS_U, tmp_path / "new.zarr", q="all")
    old = ingest(shared_data / APS_OLD, tmp_path / "old.zarr")
    for angle in range(10):
        np.testing.assert_array_equal(new.read_map(angle), old.read_map(angle))


def test_the_full_symmetric_map_is_not_doubled(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "chx_g2_350.npy"
    store = ingest(path, tmp_path / "scan.zarr", phi=0, q=0.0054, dt=1.0)
    np.testing.assert_array_equal(store.read_map(0), above(np.load(path)))
    assert store.provenance["maps"][0]["triangle"] == "full"
    assert store.provenance["maps"][0]["asymmetry"] < 1e-12


def test_inspecting_them_tells_q_phi_and_noise(shared_data: Path) -> None:
    text = str(inspect(shared_data / APS_U))
    assert "0.003 (4 maps), 0.012 (6 maps) 1/Å" in text
    assert "10 of 350 × 350 frames" in text
