"""`hetdask report` makes page, figures and exports from a run folder alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

from hetdask.results import Result

Program = Callable[..., Any]
FRAMES = 60


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_page_is_written_into_the_run_folder(program: Program, finished: Path) -> None:
    outcome = program(["report", finished])
    assert outcome.status == 0
    assert outcome.out == f"report: {finished / 'report.html'}\n"
    assert {"report.html", "dynamics.png", "map-000.png"} <= _files(finished)


def test_figures_and_exports_go_where_they_are_asked_for(program: Program, finished: Path, tmp_path: Path) -> None:
    before = _files(finished)
    folder = tmp_path / "paper"
    exports = ["--export", "csv", "--export", "npz"]
    outcome = program(["report", finished, "--figures", "pdf", *exports, "--maps", "1", "-o", folder])
    assert outcome.status == 0
    assert f"12 figures: {folder / 'figures'}" in outcome.out
    found = _files(folder)
    assert {"report.html", "parameters.csv", "angles.csv", "fitted_data.npz"} <= found
    assert {"figures/dynamics-1-column.pdf", "figures/map-000-2-columns.pdf"} <= found
    assert "map-001.png" not in found
    assert (folder / "figures" / "dynamics-1-column.pdf").read_bytes().startswith(b"%PDF")
    with np.load(folder / "fitted_data.npz") as archive:
        assert archive["c2_experimental"].shape == (3, FRAMES, FRAMES)
        residual = archive["residuals"][0][np.triu_indices(FRAMES, 1)]
    angle = Result.load(finished).angles[0]
    assert np.sqrt(np.mean(residual**2)) == pytest.approx(angle.residual_rms, rel=1e-3)
    assert _files(finished) == before


def test_page_is_shown_on_request(program: Program, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(click, "launch", shown.append)
    assert program(["report", finished, "--open"]).status == 0
    assert shown == [str(finished / "report.html")]


def test_folder_without_a_run_is_named(program: Program, tmp_path: Path) -> None:
    outcome = program(["report", tmp_path])
    assert outcome.status == 2
    assert f"no result.json in {tmp_path}: a run folder of 'hetdask fit' was expected" in outcome.err
