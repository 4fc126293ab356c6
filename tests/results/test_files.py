"""A run folder is tried before the fit, filled atomically after it, and holds everything."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hetdask.data.store import Store
from hetdask.errors import DataError
from hetdask.fitting import Refinement
from hetdask.results import Result, files
from hetdask.results.files import prepare_run_folder, refresh_report, write_run
from hetdask_cluster.runner import InlineRunner


class _CountingRunner(InlineRunner):
    """Pickles what would travel to a worker, and remembers the size of each batch."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def map(
        self,
        function: Callable[..., Any],
        items: Sequence[Any],
        *common: Any,
        on_done: Callable[[int, Any], None] | None = None,
    ) -> list[Any]:
        self.batches.append(len(items))
        return super().map(function, items, *common, on_done=on_done)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _failing(error_number: int) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(error_number, os.strerror(error_number))

    return fail


def test_run_folder_holds_everything(run_folder: Path) -> None:
    assert _names(run_folder) == [
        "config.resolved.json",
        "dynamics.png",
        "history.png",
        "map-000.png",
        "map-001.png",
        "map-002.png",
        "overview.png",
        "report.html",
        "result.json",
        "result.zarr",
    ]
    assert Result.load(run_folder).method == "classical"
    config = json.loads((run_folder / "config.resolved.json").read_text(encoding="utf-8"))
    assert config == {"fit": {"tolerance": 1e-8, "sigma": None}, "note": None}


def test_drawing_nothing_loads_no_matplotlib_and_reading_no_xarray() -> None:
    code = "import sys; import hetdask.analysis, hetdask.results.files; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"matplotlib", "xarray", "pandas"} & set(done.stdout.split())


def test_returned_result_reads_its_own_maps(refinement: Refinement, store: Store, tmp_path: Path) -> None:
    result = write_run(tmp_path / "run", refinement, store, plots=False)
    assert "data" in result.to_xarray()
    assert result.plot("maps", 2).axes
    assert result == Result.load(tmp_path / "run")
    assert not list((tmp_path / "run").glob("*.png"))


def test_maps_from_workers_are_the_same(
    run_folder: Path, make_refinement: Callable[[Store], Refinement], store: Store, tmp_path: Path
) -> None:
    runner = _CountingRunner()
    result = write_run(tmp_path / "run", make_refinement(store), store, plots=False, runner=runner)
    assert runner.batches == [3]
    here, there = Result.load(run_folder).to_xarray(), result.to_xarray()
    for name in ("data", "model", "residual", "cut_data", "cut_model"):
        np.testing.assert_array_equal(here[name], there[name])


def test_many_maps_are_reduced_in_batches(
    make_store: Callable[..., Store],
    make_refinement: Callable[[Store], Refinement],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(files, "MAPS_IN_FLIGHT", 2)
    store = make_store(n_phi=5)
    runner = _CountingRunner()
    write_run(tmp_path / "run", make_refinement(store), store, plots=False, runner=runner)
    assert runner.batches == [2, 2, 1]


def test_saving_over_a_run_replaces_it_whole(run_folder: Path, result: Result, tmp_path: Path) -> None:
    copy = Result.load(run_folder).save(tmp_path / "copy")
    assert "data" in Result.load(copy).to_xarray()
    result.save(copy)
    assert "data" not in Result.load(copy).to_xarray()
    assert _names(copy) == ["result.json", "result.zarr"]
    Result.load(copy).save(copy)
    assert Result.load(copy) == result


def test_crash_while_writing_maps_keeps_the_numbers_and_leaves_nothing_half_written(
    refinement: Refinement, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "reduce_angle", _failing(errno.ENOSPC))
    with pytest.raises(DataError, match="no space is left on its disk; free some space or give another folder"):
        write_run(tmp_path / "run", refinement, store)
    assert _names(tmp_path / "run") == ["result.json"]
    assert Result.load(tmp_path / "run").status == "converged"


def test_text_is_never_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "result.json"
    path.write_text("old", encoding="utf-8")
    monkeypatch.setattr(os, "fsync", _failing(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        files.write_text(path, "new")
    assert path.read_text(encoding="utf-8") == "old"
    assert _names(tmp_path) == ["result.json"]


def test_failed_replacement_brings_the_old_data_set_back(
    result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = result.save(tmp_path / "run")
    replace, calls = Path.replace, []

    def second_fails(self: Path, target: Path) -> Path:
        calls.append(target.name)
        if len(calls) == 2:
            raise OSError(errno.EIO, "Input/output error")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", second_fails)
    with pytest.raises(DataError, match="Input/output error"):
        result.model_copy(update={"seed": 99}).save(folder)
    assert _names(folder) == ["result.json", "result.zarr"]
    assert Result.load(folder).to_xarray().load().drop_encoding().identical(result.to_xarray())


def test_unreadable_data_are_not_blamed_on_the_output_folder(
    refinement: Refinement, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "/elsewhere/maps.zarr")

    monkeypatch.setattr(files, "reduce_angle", fail)
    with pytest.raises(FileNotFoundError, match="elsewhere"):
        write_run(tmp_path / "run", refinement, store)


def test_new_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    folder = prepare_run_folder(tmp_path / "a" / "b")
    assert folder.is_absolute()
    assert _names(folder) == []


def test_folder_with_a_run_needs_a_decision(result: Result, tmp_path: Path) -> None:
    folder = result.save(tmp_path / "run")
    for name in ("notes.txt", "history.jsonl", "checkpoint.npy", "map-000.png", "run.log"):
        (folder / name).touch()
    with pytest.raises(
        DataError, match=r"already holds a run \(result\.json, history\.jsonl\): continue it with --res"
    ):
        prepare_run_folder(folder)
    before = _names(folder)
    prepare_run_folder(folder, resume=True)
    assert _names(folder) == before
    prepare_run_folder(folder, overwrite=True)
    assert _names(folder) == ["notes.txt"]


def test_folder_with_other_files_is_welcome(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    assert prepare_run_folder(tmp_path) == tmp_path


def test_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(DataError, match=r"can't write to the output folder .*run: a file of this name is in the way"):
        prepare_run_folder(tmp_path / "run")
    with pytest.raises(DataError, match="a file of this name is in the way"):
        prepare_run_folder(tmp_path / "run" / "deeper")


@pytest.mark.skipif(not Path("/sys").is_mount(), reason="needs a file system that refuses even root")
def test_read_only_folder_is_refused_before_the_fit() -> None:
    with pytest.raises(DataError, match="read-only for you; change its permissions or give another folder"):
        prepare_run_folder("/sys/hetdask-run")


@pytest.mark.parametrize(
    ("error_number", "message"),
    [
        (
            errno.ENOSPC,
            "no space is left on its disk; free some space or give another folder, such as -o runs/sample-1",
        ),
        (errno.EDQUOT, "no space is left on its disk"),
        (errno.EROFS, "it is read-only for you; change its permissions or give another folder"),
        (errno.EIO, "Input/output error; give another folder"),
    ],
)
def test_folder_that_can_not_take_a_file_is_refused_before_the_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error_number: int, message: str
) -> None:
    monkeypatch.setattr(os, "fsync", _failing(error_number))
    with pytest.raises(DataError, match=message) as caught:
        prepare_run_folder(tmp_path)
    assert caught.value.exit_code == 2
    assert _names(tmp_path) == []


def test_report_of_bare_numbers_has_what_there_is(result: Result, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(result.to_json(), encoding="utf-8")
    refresh_report(Result.load(tmp_path), tmp_path)
    assert _names(tmp_path) == ["dynamics.png", "overview.png", "report.html", "result.json"]


def test_report_can_be_made_anew(run_folder: Path, tmp_path: Path) -> None:
    folder = Result.load(run_folder).save(tmp_path / "copy")
    report = refresh_report(Result.load(folder), folder, most_figures=1)
    assert report == folder / "report.html"
    assert _names(folder) == [
        "dynamics.png",
        "history.png",
        "map-000.png",
        "overview.png",
        "report.html",
        "result.json",
        "result.zarr",
    ]
