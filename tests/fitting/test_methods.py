"""The classical methods: both find the optimum, within bounds, resume, and are compared on equal terms."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hetdask.data.store import Store
from hetdask.data.writers import write_store
from hetdask.fitting import (
    HistoryEntry,
    NelderMead,
    Problem,
    Refinement,
    TrustRegion,
    best_of,
    fit_store,
    fit_with,
    integrable_bounds,
)
from hetdask.fitting.methods import first_steps
from hetdask.model import NAMES, PARAMETERS, as_vector, simulate_gaussian
from hetdask.passes import Passes
from hetdask_cluster.runner import InlineRunner

TRUTH = {"D0_ref": 400.0, "D0_sample": 1500.0, "alpha_sample": -0.1, "v0": 40.0, "f0": 0.5, "f3": 0.1, "phi0": -3.0}
START = {**TRUTH, "D0_ref": 330.0, "D0_sample": 1700.0, "v0": 45.0, "f0": 0.42}
ACTIVE = ["D0_ref", "D0_sample", "v0", "f0"]
BOTH = [TrustRegion(), NelderMead()]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    rng = np.random.default_rng(5)
    maps = simulate_gaussian(TRUTH, 0.5 * np.arange(60), [0.0, 45.0, 90.0], 0.0054, contrast=0.3, sigma=0.01, rng=rng)
    return write_store(tmp_path_factory.mktemp("methods") / "data.zarr", maps, phi=[0.0, 45.0, 90.0], q=0.0054, dt=0.5)


def problem(store: Store, start: dict[str, float] = START, **bounds: tuple[float, float]) -> Problem:
    lower = np.array([spec.lower for spec in PARAMETERS])
    upper = np.array([spec.upper for spec in PARAMETERS])
    for name, (low, high) in bounds.items():
        lower[NAMES.index(name)], upper[NAMES.index(name)] = low, high
    free = tuple(NAMES.index(name) for name in ACTIVE)
    return Problem(as_vector(start), integrable_bounds(lower, 0.0), upper, free, store.noise)


@pytest.fixture(scope="module")
def tried(store: Store) -> list[Refinement]:
    return fit_store(Passes(store, InlineRunner()), problem(store), BOTH)


def test_both_methods_find_the_same_optimum_with_the_same_errors(tried: list[Refinement]) -> None:
    trust, simplex = tried
    assert [one.method for one in tried] == ["trust-region", "nelder-mead"]
    assert [one.status for one in tried] == ["converged"] * 2
    index = [NAMES.index(name) for name in ACTIVE]
    errors = np.sqrt(np.diag(trust.covariance))
    np.testing.assert_allclose((trust.values - simplex.values)[index] / errors, 0.0, atol=0.03)
    np.testing.assert_allclose(np.sqrt(np.diag(simplex.covariance)), errors, rtol=1e-2)
    assert simplex.chi_squared == pytest.approx(trust.chi_squared, rel=1e-6)
    for one, other in zip(trust.angles, simplex.angles, strict=True):
        assert one.contrast == pytest.approx(other.contrast, rel=1e-3)


def test_each_method_counts_its_own_passes_and_history(tried: list[Refinement]) -> None:
    trust, simplex = tried
    assert trust.evaluations < 40 < simplex.evaluations
    for one in tried:
        assert one.evaluations == len(one.history)
        assert {entry.method for entry in one.history} == {one.method}
        assert {entry.round for entry in one.history} == {1, 2}
        assert one.passes <= one.evaluations + 1


def test_nelder_mead_asks_for_values_only_until_it_ends(store: Store) -> None:
    class Watched(Passes):
        asked: list[int] = []  # noqa: RUF012 (of this test)

        def __call__(self, vector: np.ndarray, free: tuple[int, ...]) -> object:
            self.asked.append(len(free))
            return super().__call__(vector, free)

    fit_with(NelderMead(max_evaluations=20), Watched(store, InlineRunner()), problem(store), rounds=1)
    assert Watched.asked == [0] * 20 + [len(ACTIVE)]


def test_nelder_mead_stays_within_bounds_and_reports_the_one_it_ends_at(store: Store) -> None:
    held = problem(store, {**START, "v0": 34.0}, v0=(30.0, 35.0))
    result = fit_with(NelderMead(), Passes(store, InlineRunner()), held)
    v0 = [entry.values["v0"] for entry in result.history]
    assert min(v0) >= 30.0
    assert max(v0) <= 35.0
    assert dict(zip(result.free, result.at_bound, strict=True))["v0"] == "max"


def test_a_simplex_cut_short_is_not_converged(store: Store) -> None:
    result = fit_with(NelderMead(max_evaluations=10), Passes(store, InlineRunner()), problem(store))
    assert result.status == "not_converged"
    assert "fit.nelder_mead.max_evaluations" in result.message


def test_a_simplex_that_ends_away_from_a_minimum_is_not_converged(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tolerances so wide that the first simplex meets them."""
    monkeypatch.setattr("hetdask.fitting.methods.SIMPLEX_END", 10.0)
    result = fit_with(NelderMead(tolerance=100.0), Passes(store, InlineRunner()), problem(store), rounds=1)
    assert result.evaluations == len(ACTIVE) + 1
    assert result.status == "not_converged"
    assert "a Gauss-Newton step would still lower chi-squared" in result.message


class StoppedError(Exception):
    pass


def test_methods_resume_where_they_were_interrupted(store: Store, tried: list[Refinement], tmp_path: Path) -> None:
    def stop(entry: HistoryEntry) -> None:
        if entry.method == "nelder-mead" and entry.evaluation == 30:
            raise StoppedError

    with pytest.raises(StoppedError):
        fit_store(Passes(store, InlineRunner()), problem(store), BOTH, folder=tmp_path, on_entry=stop)
    passes = Passes(store, InlineRunner())
    resumed = fit_store(passes, problem(store), BOTH, folder=tmp_path, resume=True)
    assert [one.values.tolist() for one in resumed] == [one.values.tolist() for one in tried]
    assert resumed[0].passes == 0
    assert resumed[1].passes == tried[1].passes - 30
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert len(lines) == sum(one.evaluations for one in tried)


def test_the_best_is_the_lowest_of_those_that_converged(tried: list[Refinement]) -> None:
    high = replace(tried[0], chi_squared=30.0)
    low = replace(tried[1], chi_squared=20.0)
    assert best_of([high, low]) is low
    lost = replace(low, status="not_converged")
    assert best_of([high, lost]) is high
    assert best_of([replace(high, status="not_converged"), lost]) is lost


def test_the_first_simplex_has_an_edge_for_each_parameter_inside_its_bounds() -> None:
    start = np.array([300.0, 0.0, 1e-6, 0.97, 0.0, 5.0])
    lower = np.array([0.0, -2.0, -1.0, 0.0, 0.0, 4.9])
    upper = np.array([1e6, 2.0, 1.0, 1.0, 1.0, 5.1])
    steps = first_steps(start, lower, upper)
    np.testing.assert_allclose(steps, [30.0, 0.004, 0.002, -0.097, 0.001, 0.1])
    assert np.all(start + steps >= lower)
    assert np.all(start + steps <= upper)
