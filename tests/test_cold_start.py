"""Fits from the data alone: nothing but bounds is given."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client

import hetdask
from hetdask.config import load_settings
from hetdask.data.store import Store
from hetdask.data.writers import write_store
from hetdask.fitting.cold_start import MOST_ANGLES, find_start, reduced_passes
from hetdask.model import simulate_gaussian
from hetdask.options import problem_of
from hetdask.results.live import Silent
from hetdask_cluster.dask_runner import DaskRunner
from hetdask_cluster.local import open_runner
from hetdask_cluster.runner import InlineRunner

TRUTH = {
    "D0_ref": 300.0,
    "alpha_ref": -0.4,
    "D_offset_ref": 20.0,
    "D0_sample": 2000.0,
    "alpha_sample": 0.3,
    "D_offset_sample": 100.0,
    "v0": 120.0,
    "beta": 0.1,
    "v_offset": 5.0,
    "f0": 0.45,
    "f1": -0.03,
    "f3": 0.15,
    "phi0": 12.0,
}


def stored(folder: Path, phi: list[float], truth: dict[str, float], *, frames: int = 160, sigma: float = 0.01) -> Store:
    rng = np.random.default_rng(7)
    maps = simulate_gaussian(truth, 0.25 * np.arange(frames), phi, 0.0054, contrast=0.3, sigma=sigma, rng=rng)
    return write_store(folder / "maps.zarr", maps.astype(np.float32), phi=phi, q=0.0054, dt=0.25)


def test_a_fit_without_start_values_finds_the_optimum(tmp_path: Path) -> None:
    store = stored(tmp_path, [0.0, 45.0, 90.0, 135.0], TRUTH)
    truth = hetdask.chi_squared(store, TRUTH)
    result = hetdask.fit(store, {"fit": {"seed": 3}})
    assert result.status == "converged"
    assert result.chi_squared <= truth.value
    assert result.parameters["phi0"].value == pytest.approx(12.0, abs=0.2)
    assert result.search is not None
    assert result.search.agreed >= 3
    assert result.seed == 3


def test_many_maps_are_searched_on_some_of_them_and_fitted_on_all(tmp_path: Path, inline_runner: InlineRunner) -> None:
    phi = np.linspace(0.0, 180.0, 24, endpoint=False)
    settings = {"fit": {"start": "search", "seed": 3}}
    store = stored(tmp_path, phi.tolist(), TRUTH, frames=80)
    passes = reduced_passes(store, inline_runner)
    found = find_start(passes, problem_of(load_settings(settings), store), inline_runner, seed=5)
    assert found.believed
    blocks = np.count_nonzero(passes.reduced.count[:MOST_ANGLES])
    assert found.best.chi_squared / blocks == pytest.approx(1.0, abs=0.1)
    result = hetdask.fit(store, settings, client=inline_runner)
    assert len(result.angles) == 24
    assert result.parameters["phi0"].value == pytest.approx(12.0, abs=0.2)


FEW = {"start": "search", "seed": 5, "active_parameters": ["D0_ref", "D0_sample", "v0", "phi0", "f0"]}


class Killer(Silent):
    """Kills a worker, as the system would, while it runs a start of the search."""

    def __init__(self, client: Client) -> None:
        self.killed: int | None = None
        self._client = client
        self._processes = client.run(os.getpid)
        self._thread = threading.Thread(target=self._strike)

    def stage(self, name: str) -> None:
        if name == "search":
            self._thread.start()
        elif self._thread.ident is not None:
            self._thread.join()

    def _strike(self) -> None:
        deadline = time.monotonic() + 60.0
        while self.killed is None and time.monotonic() < deadline:
            for address, tasks in self._client.processing().items():
                if any("attempt-" in str(task) for task in tasks):
                    self.killed = self._processes[address]
                    os.kill(self.killed, signal.SIGKILL)
                    return


@pytest.fixture(scope="module")
def four_workers() -> Iterator[DaskRunner]:
    with open_runner("local", workers=4, memory_limit="4GiB") as runner:
        assert isinstance(runner, DaskRunner)
        yield runner


@pytest.fixture(scope="module")
def two_angles(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return stored(tmp_path_factory.mktemp("two"), [0.0, 60.0], TRUTH, frames=100)


@pytest.fixture(scope="module")
def from_one_worker(two_angles: Store, inline_runner: InlineRunner) -> dict[str, Any]:
    return outcome(hetdask.fit(two_angles, {"fit": FEW}, client=inline_runner))


def outcome(result: hetdask.Result) -> dict[str, Any]:
    """All numbers of a result that do not tell how long it took or where it was computed."""
    content = result.model_dump()
    for key in ("timings", "memory", "provenance", "methods"):
        content.pop(key)
    content["search"].pop("seconds")
    return content


def test_the_seed_alone_decides_not_the_number_of_workers(
    two_angles: Store, from_one_worker: dict[str, Any], four_workers: DaskRunner
) -> None:
    assert outcome(hetdask.fit(two_angles, {"fit": FEW}, client=four_workers)) == from_one_worker


def test_a_worker_that_is_killed_during_the_search_costs_nothing_but_time(
    two_angles: Store, from_one_worker: dict[str, Any], four_workers: DaskRunner
) -> None:
    killer = Killer(four_workers.client)
    result = hetdask.fit(two_angles, {"fit": FEW}, client=four_workers, progress=killer)
    assert killer.killed is not None
    assert killer.killed not in four_workers.client.run(os.getpid).values()
    assert outcome(result) == from_one_worker


def test_two_answers_that_the_data_cannot_tell_apart_are_both_reported(tmp_path: Path) -> None:
    """With one angle and a known velocity, flow from either side of it looks the same."""
    store = stored(tmp_path, [0.0], {**TRUTH, "phi0": 30.0})
    known = {name: {"value": value, "fixed": True} for name, value in TRUTH.items() if name not in {"phi0", "f0"}}
    config = {
        "parameters": {**known, "phi0": {"min": -80.0, "max": 80.0}, "f0": {"min": 0.3, "max": 0.6}},
        "fit": {"start": "search"},
    }
    result = hetdask.fit(store, config)
    assert result.status == "ambiguous"
    assert result.search is not None
    (other,) = [one for one in result.search.optima if one.contender]
    found = sorted((result.parameters["phi0"].value, other.values["phi0"]))
    assert found == pytest.approx([-30.0, 30.0], abs=0.5)
