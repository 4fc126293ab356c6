"""Disks that are full: one clear error, nothing half-written, and the same answer afterwards."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import hetdask
from hetdask.data.store import Store
from hetdask.errors import DataError
from hetdask.results import Result
from hetdask_cluster.runner import InlineRunner

from .conftest import CONFIG, At, assert_same

SMALL = 2 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0
    if not mounted:
        pytest.skip("NO FULL DISK IS TESTED HERE: mounting a tmpfs takes root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True, timeout=30)


def fill(folder: Path) -> Path:
    """Leave not a byte free; the file that takes them."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
    return path


def test_ingest_onto_a_disk_that_fills_up_keeps_nothing(small_disk: Path, tmp_path: Path) -> None:
    maps = np.random.default_rng(1).normal(1.0, 0.1, (2, 400, 400)).astype(np.float32)
    np.save(tmp_path / "maps.npy", np.triu(maps))
    full: list[Path] = []

    def progress(*_: object) -> None:
        if not full:
            full.append(fill(small_disk))

    with pytest.raises(DataError, match="not enough space"):
        hetdask.ingest(
            tmp_path / "maps.npy", small_disk / "data.zarr", phi=[0.0, 60.0], q=0.0054, dt=0.5, progress=progress
        )
    assert list(small_disk.iterdir()) == full


@pytest.mark.parametrize("moment", [3, "results", "report"])
def test_a_run_folder_that_is_full_keeps_what_it_has(
    store: Store, expected: Result, small_disk: Path, moment: int | str
) -> None:
    run = small_disk / "run"
    full: list[Path] = []
    with pytest.raises(DataError, match=r"(No space left|no space is left).*"):
        hetdask.fit(store, CONFIG, client=InlineRunner(), folder=run,
                    progress=At(moment, lambda: full.append(fill(small_disk))))  # fmt: skip
    names = {path.name for path in run.iterdir()}
    assert "result.json" not in names or Result.load(run).chi_squared == pytest.approx(expected.chi_squared)
    assert not [name for name in names if name.endswith(".tmp")]
    full[0].unlink()
    assert_same(hetdask.fit(store, CONFIG, client=InlineRunner(), folder=run, resume=True), expected)
    assert_same(Result.load(run), expected)
