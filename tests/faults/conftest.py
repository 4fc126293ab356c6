"""A small fit with many shards, its answer without faults, and ways to wait that end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import hetdask
from hetdask.data.store import Store
from hetdask.data.writers import write_store
from hetdask.fitting import HistoryEntry
from hetdask.model import simulate_gaussian
from hetdask.results import Result
from hetdask.results.live import Silent
from hetdask_cluster.runner import InlineRunner

TRUTH = {"D0_ref": 300.0, "D0_sample": 2000.0, "v0": 120.0, "f0": 0.45, "phi0": 12.0}
CONFIG: dict[str, Any] = {
    "parameters": {name: {"value": 1.1 * value} for name, value in TRUTH.items()},
    "fit": {"active_parameters": ["D0_ref", "D0_sample", "v0", "f0"], "remember": False},
    "compute": {"scheduler": "inline"},
    "output": {"plots": False},
}
"""Settings of the fit, which would run in this process."""

SHARDS = 12


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two maps in many shards; tests that harm it copy it."""
    maps = simulate_gaussian(
        TRUTH, 0.5 * np.arange(192), [0.0, 60.0], 0.0054, contrast=0.3, sigma=0.01, rng=np.random.default_rng(8)
    )
    path = tmp_path_factory.mktemp("faults") / "data.zarr"
    made = write_store(path, maps, [0.0, 60.0], 0.0054, 0.5, tile=64, shard_bytes=64**2 * 4)
    assert len(made.shards()) == SHARDS
    return made


@pytest.fixture(scope="session")
def expected(store: Store) -> Result:
    """What the fit finds where nothing happens."""
    return hetdask.fit(store, CONFIG, client=InlineRunner())


class At(Silent):
    """Does something at one evaluation of a fit, or where a stage begins."""

    def __init__(self, moment: int | str, action: Callable[[], Any]) -> None:
        self._moment, self._action = moment, action

    def stage(self, name: str) -> None:
        if name == self._moment:
            self._action()

    def evaluation(self, entry: HistoryEntry) -> None:
        if entry.evaluation == self._moment:
            self._action()


def assert_same(found: Result, expected: Result) -> None:
    """The same answer, up to the order of sums."""
    assert found.status == expected.status == "converged"
    assert found.chi_squared == pytest.approx(expected.chi_squared, rel=1e-10)
    for name, parameter in found.parameters.items():
        assert parameter.value == pytest.approx(expected.parameters[name].value, rel=1e-6), name


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for something that comes within so many seconds."""
    end, pause = time.monotonic() + seconds, threading.Event()
    while not condition():
        assert time.monotonic() < end, what
        pause.wait(0.02)
