"""`fit.start: checked` takes given start values, and searches where these lead to no optimum at the noise level."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

import hetdask
from hetdask.data.writers import write_store
from hetdask.fitting.search import search
from hetdask.model import simulate_gaussian
from hetdask.results.wording import search_line

TRUTH = {
    "D0_ref": 300.0,
    "alpha_ref": -0.4,
    "D0_sample": 2000.0,
    "alpha_sample": 0.3,
    "v0": 400.0,
    "f0": 0.45,
    "f3": 0.15,
}
FREE = ["v0", "f0"]
N, DT, Q = 60, 0.5, 0.0054


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    phi = [0.0, 60.0]
    rng = np.random.default_rng(2)
    maps = simulate_gaussian(TRUTH, DT * np.arange(N), phi, Q, contrast=0.3, offset=1.0, sigma=0.01, rng=rng)
    path = tmp_path_factory.mktemp("checked") / "data.zarr"
    write_store(path, maps, phi, Q, DT)
    return path


def fitted(store: Path, start: dict[str, float], mode: str) -> hetdask.Result:
    parameters = {name: {"value": value} for name, value in {**TRUTH, **start}.items()}
    options = {"active_parameters": FREE, "start": mode, "remember": False}
    return hetdask.fit(store, {"parameters": parameters, "fit": options})


def near_the_truth(result: hetdask.Result) -> bool:
    rows = [result.parameters[name] for name in FREE]
    return all(row.stderr is not None and abs(row.value - TRUTH[row_name]) < 5.0 * row.stderr
               for row_name, row in zip(FREE, rows, strict=True))  # fmt: skip


def test_good_start_values_are_taken(store: Path) -> None:
    result = fitted(store, {"v0": 410.0, "f0": 0.4}, "checked")
    assert result.search is None
    assert near_the_truth(result)
    assert result.chi_squared == fitted(store, {"v0": 410.0, "f0": 0.4}, "given").chi_squared


def test_start_values_that_lead_astray_are_left_and_that_is_told(store: Path) -> None:
    # Many fringes away, there are optima that have nothing to do with the data.
    astray = {"v0": 3000.0, "f0": 0.8}
    assert not near_the_truth(fitted(store, astray, "given"))
    result = fitted(store, astray, "checked")
    assert near_the_truth(result)
    assert result.search is not None
    assert result.search.doubted
    assert "those given led to no optimum at the noise level; global search" in search_line(result.search)
    cold = fitted(store, astray, "search").search
    assert cold is not None
    assert not cold.doubted


def test_a_search_that_finds_nothing_better_casts_no_doubt_on_the_start_values(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hetdask.fitting.cold_start.search", partial(search, max_rounds=2))
    # The model can't describe these data, neither from here nor from anywhere.
    wrong = {"D0_sample": 4000.0}
    given, checked = (fitted(store, wrong, mode) for mode in ("given", "checked"))
    assert checked.search is not None
    assert checked.search.confirmed
    assert checked.status == given.status == "converged"
    assert checked.chi_squared == pytest.approx(given.chi_squared, rel=1e-6)
    assert "which is that of those given" in search_line(checked.search)
