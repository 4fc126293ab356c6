"""APS-U files: every map gets the q and phi of its bin, or the file is refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from hetdask.data.readers import open_source, read_maps
from hetdask.errors import DataError

QMAP = "/xpcs/qmap"
MAPS = "/xpcs/twotime/correlation_map"
BINS = "/xpcs/twotime/processed_bins"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """By hand: 2 q × 3 phi, cell 1 empty, bins 1, 3 and 5 processed; maps of 4 frames that hold their number."""
    path = tmp_path / "scan.hdf"
    with h5py.File(path, "w") as opened:
        opened[f"{QMAP}/dynamic_v_list_dim0"] = [0.003, 0.012]
        opened[f"{QMAP}/dynamic_v_list_dim1"] = [-90.0, 0.0, 90.0]
        opened[f"{QMAP}/dynamic_num_pts"] = [2, 3]
        opened[f"{QMAP}/dynamic_index_mapping"] = np.array([0, 2, 3, 4, 5], dtype=np.uint16)
        opened[f"{QMAP}/map_names"] = [b"q", b"phi"]
        opened[f"{QMAP}/map_units"] = ["Å⁻¹".encode(), b"deg"]
        opened[BINS] = np.array([1, 3, 5], dtype=np.int32)
        for number in (1, 2, 3):
            values = np.full((4, 4), number, dtype=np.float32)
            opened.create_dataset(f"{MAPS}/c2_{number:05d}", data=values, chunks=(4, 4), compression="lzf")
        opened["/entry/instrument/detector_1/frame_time"] = np.array([[0.05]])
        opened["/xpcs/twotime/config/stride_frame"] = np.array([[2]])
        opened["/xpcs/twotime/config/avg_frame"] = 3
    return path


type Edit = Callable[..., None]


@pytest.fixture
def edit(file: Path) -> Edit:
    """Replace data sets of the file; None removes one."""

    def change(**values: object) -> None:
        with h5py.File(file, "r+") as opened:
            for name, value in values.items():
                path = {"bins": BINS, "maps": MAPS}.get(name, f"{QMAP}/{name}")
                if path in opened:
                    del opened[path]
                if value is not None:
                    opened[path] = value

    return change


def found(path: Path) -> list[tuple[int | None, float, float]]:
    return [(entry.bin, entry.q, entry.phi) for entry in open_source(path).entries]


def test_the_kth_map_belongs_to_the_kth_bin_through_the_index_mapping(file: Path) -> None:
    assert found(file) == [(1, 0.003, -90.0), (3, 0.012, -90.0), (5, 0.012, 90.0)]


def test_without_an_index_mapping_bins_are_cells(file: Path, edit: Edit) -> None:
    edit(dynamic_index_mapping=None)
    assert found(file) == [(1, 0.003, -90.0), (3, 0.003, 90.0), (5, 0.012, 0.0)]


def test_keys_are_sorted_by_number(file: Path) -> None:
    with h5py.File(file, "r+") as opened:
        opened.move(f"{MAPS}/c2_00002", f"{MAPS}/c2_2")
        opened.move(f"{MAPS}/c2_00003", f"{MAPS}/c2_10")
    source = open_source(file)
    assert [pixels[0, 0] for pixels in read_maps(source, source.entries)] == [1, 2, 3]


def test_the_time_step_counts_stride_and_average(file: Path) -> None:
    source = open_source(file)
    assert source.dt == pytest.approx(0.05 * 2 * 3)
    assert source.layout == "aps-u"
    assert source.n_frames == 4
    assert source.missing == ()


def test_a_given_time_step_takes_precedence_and_is_noted(file: Path) -> None:
    source = open_source(file, dt=0.2)
    assert source.dt == 0.2
    assert "the file says 0.3 s" in source.notes[0]


@pytest.mark.parametrize("frame_time", [-0.05, 0.0, np.nan])
def test_a_time_step_that_is_not_positive_is_refused_unless_given(file: Path, frame_time: float) -> None:
    with h5py.File(file, "r+") as opened:
        opened["/entry/instrument/detector_1/frame_time"][...] = frame_time
    with pytest.raises(DataError, match=r"time step.*positive.*--dt"):
        open_source(file)
    assert open_source(file, dt=0.1).dt == 0.1


def test_a_file_without_frame_time_wants_dt(file: Path) -> None:
    with h5py.File(file, "r+") as opened:
        del opened["/entry/instrument"]
    with pytest.raises(DataError, match=r"time between frames.*--dt"):
        open_source(file)
    assert open_source(file, dt=0.1).dt == 0.1


def test_the_frame_time_of_any_one_detector_is_found(file: Path) -> None:
    with h5py.File(file, "r+") as opened:
        opened.move("/entry/instrument/detector_1", "/entry/instrument/detector_4")
    assert open_source(file).dt == pytest.approx(0.3)


def test_detectors_that_differ_are_refused(file: Path) -> None:
    with h5py.File(file, "r+") as opened:
        opened["/entry/instrument/detector_2/frame_time"] = 1.0
    with pytest.raises(DataError, match=r"different frame times.*--dt"):
        open_source(file)
    assert open_source(file, dt=0.1).dt == 0.1


def test_a_missing_stride_is_assumed_and_noted(file: Path) -> None:
    with h5py.File(file, "r+") as opened:
        del opened["/xpcs/twotime/config/stride_frame"]
    source = open_source(file)
    assert source.dt == pytest.approx(0.15)
    assert any("stride_frame" in note for note in source.notes)


@pytest.mark.parametrize("unit", ["1/nm", "nm^-1", "nm⁻¹", "nm-1"])
def test_inverse_nanometres_are_converted(file: Path, edit: Edit, unit: str) -> None:
    edit(map_units=[unit.encode(), b"deg"])
    source = open_source(file)
    np.testing.assert_allclose(source.q, [0.0003, 0.0012, 0.0012])
    assert any("1/nm" in note for note in source.notes)


@pytest.mark.parametrize("unit", ["1/A", "A^-1", "Å⁻¹", "1/angstrom", "\N{ANGSTROM SIGN}^{-1}", "$A^{-1}$"])
def test_inverse_angstroms_are_known_by_their_names(file: Path, edit: Edit, unit: str) -> None:
    edit(map_units=[unit.encode(), b"degree"])
    np.testing.assert_allclose(open_source(file).q, [0.003, 0.012, 0.012])


def test_radians_are_converted(file: Path, edit: Edit) -> None:
    edit(map_units=[b"1/A", b"rad"], dynamic_v_list_dim1=[-np.pi / 2, 0.0, np.pi / 2])
    np.testing.assert_allclose(open_source(file).phi, [-90, -90, 90])


def test_axes_in_the_other_order_are_read_by_name(file: Path, edit: Edit) -> None:
    edit(
        map_names=[b"phi", b"q"],
        map_units=[b"deg", b"1/A"],
        dynamic_v_list_dim0=[0.0, 90.0],
        dynamic_v_list_dim1=[0.003, 0.006, 0.012],
    )
    assert found(file) == [(1, 0.003, 0.0), (3, 0.003, 90.0), (5, 0.012, 90.0)]


def test_bins_in_other_coordinates_are_refused(file: Path, edit: Edit) -> None:
    edit(map_names=[b"x", b"y"])
    with pytest.raises(DataError, match=r"bins in x, y .*expected q and phi.*\.npy"):
        open_source(file)


def test_unknown_units_are_refused(file: Path, edit: Edit) -> None:
    edit(map_units=[b"pixel", b"deg"])
    with pytest.raises(DataError, match=r"q is in 'pixel'.*expected 1/Å or 1/nm"):
        open_source(file)


def test_missing_names_and_units_are_assumed_and_noted(file: Path, edit: Edit) -> None:
    edit(map_names=None, map_units=None)
    source = open_source(file)
    np.testing.assert_allclose(source.q, [0.003, 0.012, 0.012])
    assert len(source.notes) == 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"bins": [1, 3]}, "found 3 maps and 2 entries"),
        ({"bins": [0, 3, 5]}, "holds 0, expected numbers from 1"),
        ({"bins": [1, 3, 6]}, "holds bin 6, but dynamic_index_mapping has 5"),
        ({"bins": None}, "processed_bins is missing"),
        ({"bins": [1.5, 2.0, 3.0]}, "fractions"),
        ({"dynamic_index_mapping": [0, 2, 3, 4, 6]}, "expected 0 to 5"),
        ({"dynamic_num_pts": [3, 2]}, "dynamic_num_pts is"),
        ({"dynamic_v_list_dim0": None}, "dynamic_v_list_dim0 is missing"),
        ({"map_units": [b"1/A"]}, "map_units holds 1"),
    ],
)
def test_lists_that_contradict_each_other_are_refused(
    file: Path, edit: Edit, values: dict[str, object], message: str
) -> None:
    edit(**values)
    with pytest.raises(DataError, match=message):
        open_source(file)


def test_without_processed_bins_a_map_for_each_bin_is_taken_in_order(file: Path, edit: Edit) -> None:
    edit(bins=None, dynamic_index_mapping=[0, 4, 5])
    source = open_source(file)
    assert [(entry.q, entry.phi) for entry in source.entries] == [(0.003, -90.0), (0.012, 0.0), (0.012, 90.0)]
    assert "processed_bins" in source.notes[0]


def test_multitau_only_is_said(file: Path, edit: Edit) -> None:
    edit(maps=None)
    with h5py.File(file, "r+") as opened:
        opened["/xpcs/multitau/normalized_g2"] = np.ones((10, 3))
    with pytest.raises(DataError, match=r"multitau results only.*no two-time maps"):
        open_source(file)


def test_a_group_without_maps_is_refused(file: Path, edit: Edit) -> None:
    edit(maps=None)
    with h5py.File(file, "r+") as opened:
        opened[f"{MAPS}/other"] = 1
    with pytest.raises(DataError, match=r"no maps named c2_00001.*it has other"):
        open_source(file)


def test_maps_of_different_size_are_refused(file: Path) -> None:
    with h5py.File(file, "r+") as opened:
        del opened[f"{MAPS}/c2_00002"]
        opened[f"{MAPS}/c2_00002"] = np.ones((5, 5))
    with pytest.raises(DataError, match=r"c2_00002 has 5 frames, expected 4"):
        open_source(file)


def test_maps_that_are_not_square_are_refused(file: Path) -> None:
    with h5py.File(file, "r+") as opened:
        del opened[f"{MAPS}/c2_00001"]
        opened[f"{MAPS}/c2_00001"] = np.ones((4, 5))
    with pytest.raises(DataError, match=r"shape \(4, 5\), expected a square"):
        open_source(file)


def test_two_maps_with_one_number_are_refused(file: Path) -> None:
    with h5py.File(file, "r+") as opened:
        opened[f"{MAPS}/g2_00002"] = np.ones((4, 4))
    with pytest.raises(DataError, match="more than one map numbered 2"):
        open_source(file)


def test_a_damaged_map_is_named(file: Path) -> None:
    source = open_source(file)
    with h5py.File(file, "r") as opened:
        offset = opened[f"{MAPS}/c2_00002"].id.get_chunk_info(0).byte_offset
        size = opened[f"{MAPS}/c2_00002"].id.get_chunk_info(0).size
    data = bytearray(file.read_bytes())
    data[offset : offset + size] = b"\xff" * size
    file.write_bytes(data)
    with pytest.raises(DataError, match=r"c2_00002 cannot be read.*copy it again"):
        list(read_maps(source, source.entries))


def test_a_file_cut_short_is_refused(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"cannot be opened as HDF5.*complete"):
        open_source(file)
