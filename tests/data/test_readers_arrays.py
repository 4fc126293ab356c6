"""Arrays without a layout and the original package's caches, with phi, q and dt from whoever knows them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from numpy.typing import NDArray

from hetdask.data.readers import open_source, read_maps
from hetdask.errors import ConfigError, DataError

GIVEN = {"phi": [0, 45, 90], "q": 0.0054, "dt": 0.1}


@pytest.fixture
def maps(make_maps: Callable[..., NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.triu(make_maps(3, 20))


def check(path: Path, maps: NDArray[np.float32], **options: object) -> None:
    """All maps are read, in any order and one by one."""
    source = open_source(path, **{**GIVEN, **options})
    assert source.phi.tolist() == [0, 45, 90]
    assert source.q.tolist() == [0.0054] * 3
    assert source.dt == 0.1
    assert source.n_frames == 20
    for order in ([0, 1, 2], [2, 0], [1]):
        read = list(read_maps(source, [source.entries[k] for k in order]))
        np.testing.assert_array_equal(read, maps[order])


def save_npz(path: Path, maps: NDArray[np.float32]) -> None:
    np.savez_compressed(path, stack=maps, other=np.arange(5), text=np.array(["a"]))


def save_mat(path: Path, maps: NDArray[np.float32]) -> None:
    scipy.io.savemat(path, {"stack": np.moveaxis(maps, 0, -1), "name": "scan"})


def save_mat73(path: Path, maps: NDArray[np.float32]) -> None:
    """As MATLAB 7.3 writes (N, N, n): HDF5 behind a text of 512 bytes, with the axes reversed."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file["stack"] = np.moveaxis(maps, 0, -1).T
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created by: a test".ljust(512))


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("maps.npy", np.save),
        ("fortran.npy", lambda path, maps: np.save(path, np.asfortranarray(maps))),
        ("last.npy", lambda path, maps: np.save(path, np.moveaxis(maps, 0, -1))),
        ("maps.npz", save_npz),
        ("plain.npz", lambda path, maps: np.savez(path, stack=maps)),
        ("fortran.npz", lambda path, maps: np.savez(path, stack=np.asfortranarray(maps))),
        ("last.npz", lambda path, maps: np.savez(path, stack=np.moveaxis(maps, 0, -1))),
        ("maps.mat", save_mat),
    ],
)
def test_arrays_are_read_map_by_map(
    tmp_path: Path, maps: NDArray[np.float32], name: str, save: Callable[..., None]
) -> None:
    save(tmp_path / name, maps)
    check(tmp_path / name, maps)


def test_matlab_7_3_is_read_with_its_axes_reversed(tmp_path: Path, maps: NDArray[np.float32]) -> None:
    save_mat73(tmp_path / "maps.mat", maps)
    check(tmp_path / "maps.mat", maps.transpose(0, 2, 1))


def test_any_hdf5_file_is_read_by_key(tmp_path: Path, maps: NDArray[np.float32]) -> None:
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["results/ttc"] = maps
    with pytest.raises(DataError, match=r"none of the known layouts.*it has results.*--key"):
        open_source(path, **GIVEN)
    check(path, maps, layout="plain", key="results/ttc")
    with pytest.raises(DataError, match=r"no array 'ttc'.*--key"):
        open_source(path, layout="plain", key="ttc", **GIVEN)


@pytest.mark.parametrize("suffix", ["txt", "csv"])
def test_a_single_map_may_be_text(tmp_path: Path, maps: NDArray[np.float32], suffix: str) -> None:
    path = tmp_path / f"map.{suffix}"
    np.savetxt(path, maps[0], delimiter="," if suffix == "csv" else " ")
    source = open_source(path, phi=10, q=0.0054, dt=0.1)
    np.testing.assert_allclose(next(read_maps(source, source.entries)), maps[0], rtol=1e-6)


def test_a_single_map_needs_no_stack(tmp_path: Path, maps: NDArray[np.float32]) -> None:
    np.save(tmp_path / "map.npy", maps[0])
    source = open_source(tmp_path / "map.npy", phi=10, q=0.0054, dt=0.1)
    assert len(source.entries) == 1
    np.testing.assert_array_equal(next(read_maps(source, source.entries)), maps[0])


def test_a_cube_is_noted(tmp_path: Path) -> None:
    np.save(tmp_path / "cube.npy", np.ones((4, 4, 4)))
    assert "cube" in open_source(tmp_path / "cube.npy").notes[0]


def test_what_is_not_known_is_asked_for(tmp_path: Path, maps: NDArray[np.float32]) -> None:
    np.save(tmp_path / "maps.npy", maps)
    source = open_source(tmp_path / "maps.npy", phi=[0, 45, 90])
    assert source.missing == ("q", "dt")
    with pytest.raises(DataError, match=r"3 maps of 20 × 20 frames, but does not say q and dt.*--q.*--dt"):
        source.require_complete()


def test_values_of_another_number_than_maps_are_refused(tmp_path: Path, maps: NDArray[np.float32]) -> None:
    np.save(tmp_path / "maps.npy", maps)
    with pytest.raises(ConfigError, match="found 2 values of phi, expected 3"):
        open_source(tmp_path / "maps.npy", phi=[0, 45])
    with pytest.raises(ConfigError, match="q holds values that are not finite"):
        open_source(tmp_path / "maps.npy", q=[0.1, np.nan, 0.1])


@pytest.mark.parametrize("dt", [0.0, -0.1, float("nan")])
def test_a_given_dt_must_be_positive(tmp_path: Path, maps: NDArray[np.float32], dt: float) -> None:
    np.save(tmp_path / "maps.npy", maps)
    with pytest.raises(ConfigError, match="expected a positive number of seconds"):
        open_source(tmp_path / "maps.npy", dt=dt)


def test_a_key_for_a_file_with_one_array_is_refused(tmp_path: Path, maps: NDArray[np.float32]) -> None:
    np.save(tmp_path / "maps.npy", maps)
    with pytest.raises(ConfigError, match="leave out key"):
        open_source(tmp_path / "maps.npy", key="c2")


def test_several_arrays_need_a_key(tmp_path: Path, maps: NDArray[np.float32]) -> None:
    np.savez(tmp_path / "two.npz", first=maps, second=2 * maps)
    with pytest.raises(DataError, match=r"found 2 arrays.*first \(3, 20, 20\), second.*--key"):
        open_source(tmp_path / "two.npz")
    check(tmp_path / "two.npz", 2 * maps, key="second")
    with pytest.raises(DataError, match=r"no array 'third'; it has first"):
        open_source(tmp_path / "two.npz", key="third")


@pytest.mark.parametrize("shape", [(3, 20, 21), (20, 21), (2, 3, 20, 20), (20,)])
def test_shapes_that_are_no_maps_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "odd.npy", np.ones(shape))
    with pytest.raises(DataError, match="expected"):
        open_source(tmp_path / "odd.npy")


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="without pickle"):
        open_source(tmp_path / "objects.npy")


def test_complex_numbers_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "complex.npy", np.ones((4, 4), dtype=np.complex64))
    with pytest.raises(DataError, match="expected real numbers"):
        open_source(tmp_path / "complex.npy")


@pytest.mark.parametrize("name", ["maps.npy", "maps.npz", "maps.mat", "maps.hdf", "maps.txt"])
def test_files_of_something_else_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"this is not an array\n" * 20)
    with pytest.raises(DataError, match=str(tmp_path / name)):
        open_source(tmp_path / name)


def test_a_file_cut_short_is_refused(tmp_path: Path, maps: NDArray[np.float32]) -> None:
    for name, save in (("maps.npy", np.save), ("maps.npz", save_npz)):
        path = tmp_path / name
        save(path, maps)
        path.write_bytes(path.read_bytes()[:-900])
        with pytest.raises(DataError, match=str(path)):
            open_source(path, **GIVEN)


def cache(path: Path, maps: NDArray[np.float32], **changes: object) -> Path:
    """As the original package writes it."""
    time = 0.1 * np.arange(20)
    t1, t2 = np.meshgrid(time, time, indexing="ij")
    values = {
        "c2_exp": maps.astype(np.float64),
        "phi_angles_list": np.array([0.0, 45, 90]),
        "wavevector_q_list": np.full(3, 0.0054),
        "t1": t1,
        "t2": t2,
        **changes,
    }
    np.savez_compressed(path, **{name: value for name, value in values.items() if value is not None})
    return path


def test_a_cache_knows_phi_q_and_times(tmp_path: Path, maps: NDArray[np.float32]) -> None:
    source = open_source(cache(tmp_path / "cache.npz", maps))
    assert source.layout == "npz"
    assert source.q_in_file
    assert source.dt == pytest.approx(0.1)
    assert source.phi.tolist() == [0, 45, 90]
    assert source.q.tolist() == [0.0054] * 3
    np.testing.assert_array_equal(list(read_maps(source, source.entries)), maps.astype(np.float64))


@pytest.mark.parametrize("indexing", ["ij", "xy", "flat", "dt"])
def test_the_times_of_a_cache_may_be_stored_in_any_way(
    tmp_path: Path, maps: NDArray[np.float32], indexing: str
) -> None:
    time = 0.25 + 0.5 * np.arange(20)
    if indexing == "dt":
        changes: dict[str, object] = {"t1": None, "dt": 0.5}
    elif indexing == "flat":
        changes = {"t1": time}
    else:
        changes = {"t1": np.meshgrid(time, time, indexing=indexing)[0]}
    source = open_source(cache(tmp_path / "cache.npz", maps, **changes))
    assert source.dt == pytest.approx(0.5)
    assert indexing == "dt" or "start at 0.25 s" in source.notes[0]


def test_names_of_other_versions_of_the_cache_are_known(tmp_path: Path, maps: NDArray[np.float32]) -> None:
    path = tmp_path / "data.npz"
    np.savez_compressed(path, c2_data=maps, phi_angles=[0, 45, 90], t1=0.1 * np.arange(20))
    source = open_source(path, q=0.0054)
    assert source.phi.tolist() == [0, 45, 90]
    assert not source.q_in_file
    assert source.q.tolist() == [0.0054] * 3


def test_phi_of_a_cache_is_not_overridden(tmp_path: Path, maps: NDArray[np.float32]) -> None:
    with pytest.raises(ConfigError, match=r"has its own, 0, 45, 90: leave out phi"):
        open_source(cache(tmp_path / "cache.npz", maps), phi=[1, 2, 3])


def test_a_cache_with_a_bad_time_step_is_refused(tmp_path: Path, maps: NDArray[np.float32]) -> None:
    path = cache(tmp_path / "cache.npz", maps, t1=-0.1 * np.arange(20))
    with pytest.raises(DataError, match=r"the time step is -0\.1 s.*--dt"):
        open_source(path)
    assert open_source(path, dt=0.1).dt == 0.1


def test_a_file_that_is_no_cache_is_not_taken_for_one(tmp_path: Path, maps: NDArray[np.float32]) -> None:
    save_npz(tmp_path / "maps.npz", maps)
    with pytest.raises(DataError, match=r"not a cache.*--layout plain"):
        open_source(tmp_path / "maps.npz", layout="npz")
