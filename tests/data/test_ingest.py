"""Ingest holds what the file holds, from any layout, on any runner, within the memory limit."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from hetdask.data import shardfile
from hetdask.data.ingest import concurrent_tasks, ingest, task_bytes
from hetdask.data.opening import Selection, select
from hetdask.data.readers import open_source
from hetdask.data.store import Store
from hetdask.data.writers import write_aps_old, write_aps_u, write_npz
from hetdask.errors import ConfigError, DataError
from hetdask_cluster.dask_runner import DaskRunner
from hetdask_cluster.runner import InlineRunner

type MakeMaps = Callable[..., NDArray[np.float32]]

PHI = [0.0, 45.0, 90.0, 0.0, 45.0, 90.0]
Q = [0.0054] * 3 + [0.01] * 3


@pytest.fixture(scope="session")
def maps(make_maps: MakeMaps) -> NDArray[np.float32]:
    return make_maps(6, 40)


@pytest.fixture
def file(tmp_path: Path, maps: NDArray[np.float32]) -> Path:
    """Two q of three angles each, the bin at 90° of the second q empty."""
    return write_aps_u(tmp_path / "scan.hdf", [*maps[:5], None], PHI, Q, 0.1)


def expected(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    upper = pixels.copy()
    upper[np.tril_indices_from(upper)] = np.nan
    return upper


class Recorder(InlineRunner):
    """In process, remembering how many tasks were handed over at a time."""

    def __init__(self, n_workers: int) -> None:
        super().__init__()
        self.n_workers = n_workers
        self.waves: list[int] = []

    def map(self, function: Callable[..., Any], items: Sequence[Any], *common: Any, **options: Any) -> list[Any]:
        self.waves.append(len(items))
        return super().map(function, items, *common, **options)


@pytest.mark.parametrize("write", [write_aps_u, write_aps_old, write_npz])
def test_every_layout_gives_the_same_store(
    tmp_path: Path, maps: NDArray[np.float32], write: Callable[..., Path]
) -> None:
    source = write(tmp_path / ("scan.npz" if write is write_npz else "scan.hdf"), [*maps[:5], None], PHI, Q, 0.1)
    store = ingest(source, tmp_path / "scan.zarr", q=0.0054, frames=(11, 35), angles=[(40, 100)], time_origin=2.0)
    assert store.phi.tolist() == [45, 90]
    assert store.q.tolist() == [0.0054, 0.0054]
    np.testing.assert_allclose(store.time, 2.0 + 0.1 * np.arange(25))
    for angle, pixels in enumerate(maps[1:3]):
        np.testing.assert_array_equal(store.read_map(angle), expected(pixels[10:35, 10:35]))
    assert [entry["triangle"] for entry in store.provenance["maps"]] == ["full" if write is write_npz else "upper"] * 2


def test_all_q_make_a_joint_store(tmp_path: Path, file: Path) -> None:
    store = ingest(file, tmp_path / "scan.zarr", q="all")
    assert store.q.tolist() == Q[:5]
    assert store.phi.tolist() == PHI[:5]


def test_an_array_gets_its_q_and_phi_from_the_caller(tmp_path: Path, maps: NDArray[np.float32]) -> None:
    np.save(tmp_path / "maps.npy", maps)
    store = ingest(tmp_path / "maps.npy", tmp_path / "scan.zarr", phi=PHI, q=Q, dt=0.2)
    assert store.q.tolist() == Q
    assert store.dt == 0.2
    with pytest.raises(DataError, match="does not say q"):
        ingest(tmp_path / "maps.npy", tmp_path / "other.zarr", phi=PHI, q="all", dt=0.2)
    with pytest.raises(DataError, match=r"q = -0\.1 .*positive"):
        ingest(tmp_path / "maps.npy", tmp_path / "other.zarr", phi=PHI, q=-0.1, dt=0.2)


def test_a_map_with_bad_q_in_the_file_is_refused_only_if_selected(tmp_path: Path, file: Path) -> None:
    with h5py.File(file, "r+") as opened:
        opened["/xpcs/qmap/dynamic_v_list_dim0"][...] = [0.0, 0.01]
    with pytest.raises(DataError, match=r"c2_00001 has q = 0 .*positive.*--q"):
        ingest(file, tmp_path / "scan.zarr", q="all")
    assert ingest(file, tmp_path / "scan.zarr", q=0.01).n_phi == 2


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, DataError, r"several q.*0\.0054 \(3 maps\), 0\.01 \(2 maps\)"),
        ({"q": 0.02}, DataError, r"no map has q = 0\.02"),
        ({"q": 0.01, "angles": [(80, 100)]}, DataError, r"no angle lies within 80:100 .*there are 0, 45"),
        ({"q": 0.01, "frames": (1, 41)}, DataError, "frames 1 to 40"),
        ({"q": 0.01, "frames": (1, 2)}, DataError, "at least 3"),
        ({"q": 0.01, "dt": -0.1}, ConfigError, "positive number of seconds"),
        ({"q": 0.01, "time_origin": float("nan")}, ConfigError, "time_origin"),
        ({"q": 0.01, "asymmetry": "ignore"}, ConfigError, "expected error or average"),
        ({"q": 0.01, "layout": "aps-old"}, DataError, "--layout auto"),
    ],
)
def test_what_cannot_be_ingested_is_refused_before_anything_is_written(
    tmp_path: Path, file: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ingest(file, tmp_path / "scan.zarr", **options)
    assert list(tmp_path.iterdir()) == [file]


def test_an_empty_selection_of_angles_falls_back_only_with_a_warning(tmp_path: Path, file: Path) -> None:
    with pytest.warns(UserWarning, match=r"no angle lies within 200:210.*All angles are taken"):
        store = ingest(file, tmp_path / "scan.zarr", q=0.01, angles=[(200, 210)], angle_fallback=True)
    assert store.n_phi == 2
    assert store.provenance["selection"]["angles"] is None


def test_bad_frames_are_masked_and_reported_by_their_number_in_the_file(
    tmp_path: Path, maps: NDArray[np.float32]
) -> None:
    bad = maps[:2].copy()
    bad[1, 14] = bad[1, :, 14] = np.nan
    source = write_aps_u(tmp_path / "scan.hdf", bad, [0, 90], 0.0054, 0.1)
    store = ingest(source, tmp_path / "scan.zarr", frames=(11, 40))
    assert np.argwhere(store.frame_mask).tolist() == [[1, 4]]
    assert [entry["bad_frames"] for entry in store.provenance["maps"]] == [[], [15]]


def test_a_map_that_fails_on_a_worker_is_named_and_nothing_stays(
    tmp_path: Path, maps: NDArray[np.float32], dask_runner: DaskRunner
) -> None:
    bad = maps[:3].copy()
    bad[1] = np.nan
    source = write_aps_u(tmp_path / "scan.hdf", bad, [0, 45, 90], 0.0054, 0.1)
    with pytest.raises(DataError, match=r"c2_00002 \(q = 0\.0054 1/Å, phi = 45°\) has no data"):
        ingest(source, tmp_path / "scan.zarr", runner=dask_runner)
    assert list(tmp_path.iterdir()) == [source]


def test_asymmetric_maps_are_averaged_on_request(tmp_path: Path, maps: NDArray[np.float32]) -> None:
    tilted = maps[:1] + np.tril(np.full((40, 40), 0.1, dtype=np.float32), -1)
    np.save(tmp_path / "maps.npy", tilted)
    options = {"phi": 0, "q": 0.0054, "dt": 0.1}
    with pytest.raises(DataError, match=r"is not symmetric.*--asymmetry average"):
        ingest(tmp_path / "maps.npy", tmp_path / "scan.zarr", **options)
    store = ingest(tmp_path / "maps.npy", tmp_path / "scan.zarr", asymmetry="average", **options)
    np.testing.assert_allclose(store.read_map(0), expected(maps[0] + 0.05), rtol=1e-6)


@pytest.mark.parametrize("shard_bytes", [1, 5000, 2**26])
def test_workers_and_chunking_do_not_matter(
    tmp_path: Path, file: Path, dask_runner: DaskRunner, shard_bytes: int
) -> None:
    here = ingest(file, tmp_path / "here.zarr", q="all", tile=16)
    there = ingest(file, tmp_path / "there.zarr", q="all", tile=16, shard_bytes=shard_bytes, runner=dask_runner)
    for angle in range(5):
        np.testing.assert_array_equal(here.read_map(angle), there.read_map(angle))
    for name in ("noise", "baseline", "tile_count", "tile_missing", "tile_checksum", "frame_mask"):
        np.testing.assert_array_equal(getattr(here, name), getattr(there, name))
    assert Store.open(there.path, verify="full").n_points == 5 * 780


def test_compressed_arrays_are_read_once_by_each_task(tmp_path: Path, maps: NDArray[np.float32]) -> None:
    source = write_npz(tmp_path / "scan.npz", maps, PHI, Q, 0.1)
    runner = Recorder(n_workers=2)
    store = ingest(source, tmp_path / "scan.zarr", q="all", runner=runner, shard_bytes=1)
    assert runner.waves == [2]
    for angle in range(6):
        np.testing.assert_array_equal(store.read_map(angle), expected(maps[angle]))


def test_the_memory_limit_bounds_the_tasks_at_a_time(tmp_path: Path, file: Path) -> None:
    source = open_source(file)
    needed = task_bytes(source, select(source, q="all"))
    runner = Recorder(n_workers=4)
    ingest(file, tmp_path / "scan.zarr", q="all", runner=runner, memory_limit=2 * needed)
    assert runner.waves == [2, 2, 1]
    runner = Recorder(n_workers=4)
    ingest(file, tmp_path / "scan.zarr", q="all", runner=runner, memory_limit=4 * needed, overwrite=True)
    assert runner.waves == [5]


def test_a_memory_limit_that_no_map_fits_is_refused(tmp_path: Path, file: Path) -> None:
    with pytest.raises(DataError, match=r"a map of 40 frames takes .* MiB, the limit is .*--memory-limit"):
        ingest(file, tmp_path / "scan.zarr", q="all", memory_limit=1000)
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("kind", ["upper", "lower", "full"])
def test_a_task_takes_no_more_memory_than_planned(tmp_path: Path, make_maps: MakeMaps, kind: str) -> None:
    maps = make_maps(1, 1500)
    np.save(tmp_path / "maps.npy", {"upper": np.triu, "lower": np.tril, "full": np.asarray}[kind](maps))
    source = open_source(tmp_path / "maps.npy", phi=0, q=0.0054, dt=0.1)
    ingest(source.path, tmp_path / "warm.zarr", phi=0, q=0.0054, dt=0.1)
    tracemalloc.start()
    try:
        ingest(source.path, tmp_path / "scan.zarr", phi=0, q=0.0054, dt=0.1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < task_bytes(source, select(source))


def test_arrays_read_as_a_whole_count_as_a_whole(tmp_path: Path, maps: NDArray[np.float32]) -> None:
    np.savez(tmp_path / "maps.npz", stack=np.moveaxis(maps, 0, -1))
    source = open_source(tmp_path / "maps.npz", phi=PHI, q=Q, dt=0.1)
    selection = Selection(source.entries, (0, 40), "error")
    assert task_bytes(source, selection) > maps.nbytes
    assert concurrent_tasks(source, selection, 8, None) == 8


def test_progress_counts_maps(tmp_path: Path, file: Path) -> None:
    seen: list[tuple[int, int]] = []
    ingest(file, tmp_path / "scan.zarr", q="all", progress=lambda done, total, _: seen.append((done, total)))
    assert seen[0] == (0, 5)
    assert seen[-1] == (5, 5)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_provenance_says_where_the_data_come_from(tmp_path: Path, file: Path) -> None:
    store = ingest(file, tmp_path / "scan.zarr", q=[0.0054], angles=[(-10, 50)], frames=(1, 30))
    provenance = store.provenance
    assert provenance["source"] == str(file)
    assert provenance["size"] == file.stat().st_size
    assert provenance["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert provenance["layout"] == "aps-u"
    assert provenance["selection"] == {
        "q": [0.0054],
        "q_tolerance": 0.02,
        "frames": [1, 30],
        "frames_in_file": 40,
        "angles": [[-10.0, 50.0]],
        "asymmetry": "error",
    }
    assert [entry["bin"] for entry in provenance["maps"]] == [1, 2]
    assert set(provenance["versions"]) == {"hetdask", "python", "numpy", "h5py", "zarr"}
    assert provenance["created"].endswith("+00:00")


def test_a_source_that_changes_meanwhile_is_refused(tmp_path: Path, file: Path) -> None:
    def touch(done: int, _total: int, _text: str) -> None:
        if done == 1:
            with file.open("ab") as opened:
                opened.write(b"more")

    with pytest.raises(DataError, match="changed while it was read"):
        ingest(file, tmp_path / "scan.zarr", q="all", progress=touch)
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("when", [0, 3])
def test_an_interrupt_leaves_nothing(tmp_path: Path, file: Path, when: int) -> None:
    def interrupt(done: int, _total: int, _text: str) -> None:
        if done == when:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(file, tmp_path / "scan.zarr", q="all", progress=interrupt)
    assert list(tmp_path.iterdir()) == [file]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("sha256")]


def test_an_existing_store_is_replaced_only_when_told(tmp_path: Path, file: Path) -> None:
    ingest(file, tmp_path / "scan.zarr", q=0.01)
    with pytest.raises(DataError, match=r"exists: use overwrite \(--overwrite\)"):
        ingest(file, tmp_path / "scan.zarr", q=0.0054)
    assert ingest(file, tmp_path / "scan.zarr", q=0.0054, overwrite=True).n_phi == 3


def test_a_disk_that_fails_is_said_and_nothing_stays(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(shardfile.ShardWriter, "add", fail)
    with pytest.raises(DataError, match=r"could not be written \(.*Input/output error\); nothing was kept"):
        ingest(file, tmp_path / "scan.zarr", q="all")
    assert list(tmp_path.iterdir()) == [file]
