"""The page of a run in a browser: on the Dask dashboard while it goes on, and from disk when it has ended."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hetdask
from hetdask.data.store import Store
from hetdask.data.writers import write_store
from hetdask.fitting import HistoryEntry
from hetdask.model import simulate_gaussian
from hetdask.results.dashboard.serve import ROUTE
from hetdask.results.live import Silent
from hetdask_cluster.local import open_runner

TRUTH = {"D0_ref": 300.0, "D0_sample": 2000.0, "v0": 120.0, "f0": 0.45, "phi0": 12.0}
CONFIG: dict[str, Any] = {
    "parameters": {name: {"value": 1.1 * value} for name, value in TRUTH.items()},
    "fit": {"active_parameters": ["D0_ref", "D0_sample", "v0", "f0"], "remember": False},
    "output": {"plots": False},
}
TEXT = """
(() => {
  const texts = node => [...(node.shadowRoot ? texts(node.shadowRoot) : []), ...[...node.childNodes].flatMap(child =>
    child.nodeType === 3 ? [child.data] : ["STYLE", "SCRIPT"].includes(child.nodeName) ? [] : texts(child))];
  return texts(document.body).join(" ");
})()
"""
SOURCES = """
(() => {
  const found = Bokeh.documents[0]._all_models;
  return [...found.values()].filter(model => model.type === "ColumnDataSource").map(model =>
    Object.fromEntries([...Object.entries(model.data)].map(([name, values]) => [name, values.length])));
})()
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    phi = [0.0, 45.0, 90.0]
    maps = simulate_gaussian(
        TRUTH, 0.5 * np.arange(96), phi, 0.0054, contrast=0.3, sigma=0.01, rng=np.random.default_rng(8)
    )
    return write_store(tmp_path_factory.mktemp("dashboard") / "data.zarr", maps, phi, 0.0054, 0.5)


def wait_for_text(tab: Any, text: str) -> str:
    """What the page shows, as soon as this is part of it."""
    end, pause = time.monotonic() + 60.0, threading.Event()
    while text not in (shown := tab.evaluate(TEXT)):
        assert time.monotonic() < end, f"no {text!r} in {shown!r}"
        pause.wait(0.2)
    return str(shown)


def complaints(tab: Any) -> list[str]:
    return [text for text in tab.said if text.startswith(("error", "exception", "warning"))]


class Looking(Silent):
    """Looks at the page in the middle of a fit, which waits meanwhile."""

    def __init__(self, tab: Any, link: str) -> None:
        self.tab, self.link = tab, link
        self.seen: list[str] = []
        self.told: list[float] = []

    def evaluation(self, entry: HistoryEntry) -> None:
        if entry.evaluation == 2:
            self.tab.open(self.link, 1280, "light")
        if entry.evaluation in {2, 4}:
            self.seen.append(wait_for_text(self.tab, f"{entry.evaluation} evaluations"))
            self.told.append(entry.chi_squared)


def test_the_dask_dashboard_shows_the_running_fit_and_follows_it(tab: Any, store: Store, tmp_path: Path) -> None:
    with open_runner("local", workers=1, memory_limit="1GiB", dashboard=":0") as runner:
        assert runner.dashboard is not None
        looking = Looking(tab, runner.dashboard.removesuffix("/status") + ROUTE)
        hetdask.fit(store, CONFIG, client=runner, folder=tmp_path / "run", progress=looking)
        for shown, chi_squared in zip(looking.seen, looking.told, strict=True):
            assert f"χ² = {chi_squared:.6g}" in shown
            assert "refine" in shown
            assert "million pixels/s" in shown
            assert "memory budget 1.0 GiB" in shown
        final = wait_for_text(tab, "converged")
        result = json.loads((tmp_path / "run" / "result.json").read_text())
        assert f"χ² = {result['chi_squared']:.6g}" in final
        assert complaints(tab) == []
        # The pages of Dask itself are still there.
        tab.open(runner.dashboard, 1280, "light")
        wait_for_text(tab, "Workers")
        # What these say when their server ends is no concern of the next page.
        tab.open("about:blank", 1280, "light")


def test_a_run_that_has_ended_is_shown_from_disk(tab: Any, store: Store, tmp_path: Path) -> None:
    run = tmp_path / "run"
    result = hetdask.fit(store, CONFIG | {"compute": {"scheduler": "inline"}}, folder=run)
    command = [sys.executable, "-m", "hetdask.cli.main", "dashboard", str(run), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            link = server.stdout.readline().removeprefix("dashboard:").strip()
            tab.open(link, 1280, "light")
            shown = wait_for_text(tab, "converged")
            assert f"χ² = {result.chi_squared:.6g}" in shown
            sources = tab.evaluate(SOURCES)
            evaluations = len((run / "history.jsonl").read_text().splitlines())
            assert {"evaluation": evaluations, "rate": evaluations} in sources
            assert {"phi": 3, "chi": 3} in sources
            assert {"who": 2, "used": 2} in sources
            assert sources.count({"image": 1}) == 3
            assert len([one for one in sources if "low" in one]) == 4
            assert complaints(tab) == []
        finally:
            server.send_signal(signal.SIGINT)
            assert server.wait(30) == 0
