"""Inspecting a file or a store says what is in it, also what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hetdask.data.ingest import ingest
from hetdask.data.inspect import inspect
from hetdask.data.writers import write_aps_u, write_store
from hetdask.errors import DataError

type MakeMaps = Callable[..., NDArray[np.float32]]


@pytest.fixture
def file(tmp_path: Path, make_maps: MakeMaps) -> Path:
    """Three angles at two q, one map with bad frames and missing pixels, one without data."""
    maps = make_maps(5, 40)
    maps[1, [3, 4, 5, 20]] = maps[1][:, [3, 4, 5, 20]].T[:, :] = np.nan
    maps[1, :, [3, 4, 5, 20]] = np.nan
    maps[1, 7, 9] = np.nan
    maps[2] = np.nan
    return write_aps_u(tmp_path / "scan.hdf", maps, [0, 45, 90, 0, 45], [0.0054] * 3 + [0.01] * 2, 0.1)


def test_a_file_is_described(file: Path) -> None:
    found = inspect(file)
    assert (found.kind, found.layout, found.n_frames, found.dt, found.frames) == ("source", "aps-u", 40, 0.1, (1, 40))
    assert [item.bin for item in found.maps] == [1, 2, 3, 4, 5]
    assert found.maps[1].findings.bad_frames == (4, 5, 6, 21)
    assert found.maps[1].findings.missing == 1
    assert found.maps[0].findings.noise == pytest.approx(0.01, rel=0.1)
    assert "no data" in found.maps[2].problem
    assert found.n_points == 3 * 780 + 36 * 35 // 2 - 1
    assert found.resident_bytes == 5 * 48 * 48 * 4
    assert found.disk_bytes == file.stat().st_size
    assert found.missing == ()


def test_a_store_is_described_as_its_file_was(tmp_path: Path, file: Path) -> None:
    store = ingest(file, tmp_path / "scan.zarr", q=0.0054, angles=[(0, 50)], frames=(3, 40), time_origin=1.0)
    found = inspect(tmp_path / "scan.zarr")
    assert (found.kind, found.layout, found.n_frames, found.frames) == ("store", "aps-u", 38, (3, 40))
    assert found.time_origin == 1.0
    assert found.maps[1].findings.bad_frames == (4, 5, 6, 21)
    assert found.maps[1].name.endswith("c2_00002")
    assert found.n_points == store.n_points
    assert found.disk_bytes > 1000


def test_a_store_without_a_source_is_described(tmp_path: Path, make_maps: MakeMaps) -> None:
    write_store(tmp_path / "scan.zarr", make_maps(2, 20), [0, 90], 0.0054, 0.1)
    found = inspect(tmp_path / "scan.zarr")
    assert found.layout == "none"
    assert "2 of 20 × 20 frames" in str(found)


def test_of_a_large_file_some_maps_are_read(file: Path) -> None:
    found = inspect(file, most_bytes=3 * 40 * 40 * 4)
    assert [item.bin for item in found.examined] == [1, 3, 5]
    assert "pixels of 3 of 5 maps" in str(found)
    assert found.n_points == 4 * 780


def test_the_text_tells_it_all(file: Path) -> None:
    text = str(inspect(file))
    for part in (
        f"source     {file}",
        "layout     aps-u",
        "maps       5 of 40 × 40 frames",
        "frames     1 to 40 of the source, dt = 0.1 s, 3.9 s in all",
        "q          0.0054 (3 maps), 0.01 (2 maps) 1/Å",
        "phi        0, 45, 90°",
        "4-6, 21",
        "the map has no data",
        "pixels     2,969",
    ):
        assert part in text


def test_what_a_plain_array_does_not_say_is_told(tmp_path: Path, make_maps: MakeMaps) -> None:
    np.save(tmp_path / "maps.npy", make_maps(2, 20))
    found = inspect(tmp_path / "maps.npy")
    assert found.missing == ("phi", "q", "dt")
    assert "give them with --phi and --q and --dt" in str(found)
    assert found.maps[0].findings.triangle == "full"


def test_asymmetric_maps_are_measured_and_not_refused(tmp_path: Path, make_maps: MakeMaps) -> None:
    np.save(tmp_path / "maps.npy", make_maps(1, 20) + np.tril(np.full((20, 20), 0.1), -1))
    found = inspect(tmp_path / "maps.npy").maps[0].findings
    assert found.asymmetry > 0.1
    assert found.averaged


def test_progress_is_told(file: Path) -> None:
    seen: list[int] = []
    inspect(file, progress=lambda done, _total, _text: seen.append(done))
    assert seen == [0, 1, 2, 3, 4]


def test_what_is_neither_file_nor_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a hetdask store"):
        inspect(tmp_path)
    with pytest.raises(DataError, match="there is no file"):
        inspect(tmp_path / "scan.hdf")
