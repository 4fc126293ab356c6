"""The process that renders reports beside the one that draws."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import psutil
import pytest

from hetdask.results import files
from hetdask.results.files import refresh_report
from hetdask.results.helper import ReportProcess
from hetdask.results.result import Result


def test_it_renders_the_report_that_this_process_would(run_folder: Path, tmp_path: Path) -> None:
    result = Result.load(run_folder)
    folders = [tmp_path / name for name in ("alone", "helped")]
    for folder in folders:
        shutil.copytree(run_folder, folder)
        (folder / "report.html").unlink()
    refresh_report(Result.load(folders[0]), folders[0])
    with ReportProcess() as helper:
        refresh_report(result, folders[1], helper=helper)
    alone, helped = ((folder / "report.html").read_text() for folder in folders)
    assert helped == alone
    assert sorted(path.name for path in folders[1].iterdir()) == sorted(path.name for path in folders[0].iterdir())


def test_without_it_the_report_is_rendered_here(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run_folder, folder)
    (folder / "report.html").unlink()
    here = []
    write_report = files.write_report

    def counted(*arguments: Any, **options: Any) -> Path:
        here.append(1)
        return write_report(*arguments, **options)

    monkeypatch.setattr(files, "write_report", counted)
    with ReportProcess() as helper:
        psutil.Process(helper.pid).kill()
        refresh_report(Result.load(folder), folder, helper=helper)
    assert here == [1]
    assert (folder / "report.html").exists()


def test_it_ends_with_the_block_and_with_its_input() -> None:
    with ReportProcess() as helper:
        process = psutil.Process(helper.pid)
        assert process.is_running()
    assert not process.is_running()
    with ReportProcess() as helper:
        helper.close()
        assert helper.finished()
