"""Fits from the data alone: nothing but bounds is given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hetdask
from hetdask.data.store import Store
from hetdask.data.writers import write_store
from hetdask.model import simulate_gaussian
from hetdask_cluster.local import open_runner

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


def test_the_seed_alone_decides_not_the_number_of_workers(tmp_path: Path) -> None:
    store = stored(tmp_path, [0.0, 60.0], TRUTH, frames=100)
    config = {"fit": {"start": "search", "seed": 5, "active_parameters": ["D0_ref", "D0_sample", "v0", "phi0", "f0"]}}
    with open_runner("inline") as alone, open_runner("local", workers=2) as cluster:
        results = [hetdask.fit(store, config, client=runner) for runner in (alone, cluster)]
    one, two = ({name: p.value for name, p in result.parameters.items()} for result in results)
    assert one == two
    assert results[0].search is not None
    assert results[1].search is not None
    assert results[0].search.evaluations == results[1].search.evaluations


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
