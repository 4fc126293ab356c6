"""A running fit leaves files from which its page is drawn, whole at any moment."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

import hetdask
from hetdask.data.reduction import reduce_store
from hetdask.data.store import Store
from hetdask.data.writers import write_store
from hetdask.errors import ConfigError
from hetdask.fitting import HistoryEntry
from hetdask.model import as_vector, correlation, simulate_gaussian
from hetdask.passes.reduced import ReducedPasses
from hetdask.passes.run import series_of
from hetdask.results.dashboard.files import RunFiles
from hetdask.results.dashboard.page import RunPage
from hetdask.results.live import Silent, residual_images
from hetdask_cluster.dask_runner import DaskRunner
from hetdask_cluster.runner import InlineRunner

TRUTH = {"D0_ref": 300.0, "D0_sample": 2000.0, "v0": 120.0, "f0": 0.45, "phi0": 12.0}
PHI, Q, TIME = [0.0, 60.0], 0.0054, 0.5 * np.arange(48)


@pytest.fixture(scope="module")
def maps() -> np.ndarray:
    return simulate_gaussian(TRUTH, TIME, PHI, Q, contrast=0.3, sigma=0.01, rng=np.random.default_rng(6))


@pytest.fixture(scope="module")
def store(maps: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_store(tmp_path_factory.mktemp("live") / "data.zarr", maps, PHI, Q, 0.5)


@pytest.fixture(scope="module")
def run(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    start = {name: {"value": 1.1 * value} for name, value in TRUTH.items()}
    config = {"parameters": start, "fit": {"active_parameters": ["v0", "f0"], "remember": False},
              "output": {"plots": False}}  # fmt: skip
    hetdask.fit(store, config, client=InlineRunner(), folder=folder)
    return folder


def test_residuals_are_those_of_the_maps(maps: np.ndarray, store: Store) -> None:
    reduced = ReducedPasses(series_of(store), reduce_store(store, InlineRunner(), level=0))
    images = residual_images(reduced, as_vector(TRUTH), [1], side=TIME.size // 2)
    g = correlation(TRUTH, TIME, PHI, Q)[1]
    upper = np.triu_indices(TIME.size, 1)
    design = np.stack([np.ones(upper[0].size), g[upper]], axis=1)
    offset, contrast = np.linalg.lstsq(design, maps[1][upper])[0]
    # One pixel of the image is one of the map where blocks are single pixels, near the diagonal.
    # Contrast and offset come from block means, so they differ by a little.
    frame = 1 + 2 * np.arange(TIME.size // 2)
    residual = (maps[1] - offset - contrast * g)[np.ix_(frame, frame)]
    for lag in (1, 2, 3):
        np.testing.assert_allclose(np.diagonal(images[0], lag), np.diagonal(residual, lag), atol=1e-4)
    assert np.isnan(np.diagonal(images[0])).all()


def test_the_files_of_a_run_tell_how_it_went(run: Path) -> None:
    files = RunFiles(run)
    assert files.refresh()
    assert not files.refresh()
    result = json.loads((run / "result.json").read_text())
    assert files.state == result["status"] == "converged"
    assert files.free == ["v0", "f0"]
    last = files.history[-1]
    for name in files.free:
        assert last["errors"][name] == pytest.approx(result["parameters"][name]["stderr_iid"], rel=0.05)
    assert last["angles"] == pytest.approx([one["reduced_chi_squared"] for one in result["angles"]], rel=0.01)
    assert files.residual.shape == (2, 24, 24)
    assert list(files.phi) == PHI
    assert files.progress["workers"][0] > 0
    page = RunPage(run)
    assert page.angles.data["phi"] == PHI
    assert page.parameters["v0"].data["value"][-1] == result["parameters"]["v0"]["value"]


def test_a_page_reads_whole_lines_only_and_follows_a_new_run(run: Path, tmp_path: Path) -> None:
    lines = (run / "history.jsonl").read_bytes().splitlines(keepends=True)
    history = tmp_path / "history.jsonl"
    page = RunPage(tmp_path)
    assert page.files.state == "no run yet"
    history.write_bytes(lines[0] + lines[1][:50])
    page.update()
    assert page.speed.data["evaluation"] == [1]
    history.write_bytes(b"".join(lines))
    page.update()
    assert len(page.speed.data["evaluation"]) == len(lines)
    history.write_bytes(lines[0])
    page.update()
    assert page.speed.data["evaluation"] == [1]
    silent = json.loads((run / "progress.json").read_text()) | {"stage": "refine", "written": time.time() - 300}
    (tmp_path / "progress.json").write_text(json.dumps(silent))
    page.update()
    assert "refine, silent for 30" in page.head.text


def test_a_run_that_fails_says_that_it_has_stopped(store: Store, tmp_path: Path) -> None:
    config = {"parameters": {"v0": {"value": 100.0}}, "fit": {"remember": False}}

    class Interrupt(Silent):
        def evaluation(self, entry: HistoryEntry) -> None:  # noqa: ARG002 (what a fit calls)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hetdask.fit(store, config, client=InlineRunner(), folder=tmp_path, progress=Interrupt())
    assert json.loads((tmp_path / "progress.json").read_text())["stage"] == "stopped"


def test_dask_reports_what_the_workers_did(
    dask_runner: DaskRunner, inline_runner: InlineRunner, tmp_path: Path
) -> None:
    with dask_runner.performance_report(tmp_path / "report.html"):
        assert dask_runner.map(os.path.basename, ["a/b"]) == ["b"]
    assert "Dask Performance Report" in (tmp_path / "report.html").read_text()
    assert all(size > 2**20 for size in dask_runner.worker_memory())
    with pytest.raises(ConfigError, match="--scheduler local"):
        inline_runner.performance_report(tmp_path / "report.html")
