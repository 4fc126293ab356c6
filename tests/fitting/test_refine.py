"""A fit from given start values: the optimum, its errors, its limits, and how it resumes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hetdask.data.store import Store
from hetdask.data.writers import write_store
from hetdask.errors import ConfigError
from hetdask.fitting import HistoryEntry, Problem, Refinement, TrustRegion, fit_store, integrable_bounds, refine
from hetdask.fitting.normal_problem import iid_covariance, predicted_fall, small_problem
from hetdask.model import NAMES, PARAMETERS, as_vector, correlation, simulate_gaussian
from hetdask.passes import Passes
from hetdask_cluster.runner import InlineRunner, Runner

FLOW = {
    "D0_ref": 400.0, "alpha_ref": -0.2, "D0_sample": 1500.0, "alpha_sample": -0.1, "v0": 40.0, "beta": 0.15,
    "f0": 0.35, "f1": -0.015, "f3": 0.15, "phi0": -3.0, "D_offset_ref": 0.0, "D_offset_sample": 0.0,
}  # fmt: skip
MOVING = [name for name in FLOW if "offset" not in name]
PHI = [0.0, 30.0, 60.0, 90.0]
Q = 0.0054
DT = 0.5
SIGMA = np.array([0.01, 0.02, 0.01, 0.03])


def problem(start: dict[str, float], names: list[str], sigma: np.ndarray, **bounds: tuple[float, float]) -> Problem:
    lower = np.array([spec.lower for spec in PARAMETERS])
    upper = np.array([spec.upper for spec in PARAMETERS])
    for name, (low, high) in bounds.items():
        lower[NAMES.index(name)], upper[NAMES.index(name)] = low, high
    free = tuple(k for k, name in enumerate(NAMES) if name in names)
    return Problem(as_vector(start), integrable_bounds(lower, 0.0), upper, free, sigma)


def off(seed: int, names: list[str] = MOVING) -> dict[str, float]:
    """Start values up to 20 % off, 5 degrees for the flow direction."""
    rng = np.random.default_rng(seed)
    return {
        name: value + 5.0 * rng.uniform(-1, 1) if name == "phi0"
        else value * (1.0 + 0.2 * rng.uniform(-1, 1)) if name in names else value
        for name, value in FLOW.items()
    }  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    rng = np.random.default_rng(3)
    maps = simulate_gaussian(FLOW, DT * np.arange(150), PHI, Q, contrast=0.3, sigma=SIGMA, rng=rng)
    return write_store(tmp_path_factory.mktemp("fit") / "data.zarr", maps, phi=PHI, q=Q, dt=DT)


@pytest.fixture(scope="module")
def fitted(store: Store) -> Refinement:
    return refine(Passes(store, InlineRunner()), problem(off(1), MOVING, store.noise))


def test_the_fit_finds_the_truth_within_its_errors(fitted: Refinement) -> None:
    assert fitted.status == "converged"
    truth, errors = as_vector(FLOW), np.sqrt(np.diag(fitted.covariance))
    pulls = [
        (fitted.values[NAMES.index(name)] - truth[NAMES.index(name)]) / errors[k] for k, name in enumerate(fitted.free)
    ]
    assert np.abs(pulls).max() < 4.0
    assert all(fitted.identified)
    assert fitted.chi_squared / fitted.dof == pytest.approx(1.0, abs=0.03)
    for m, angle in enumerate(fitted.angles):
        assert angle.contrast == pytest.approx(0.3, abs=0.02)
        assert angle.offset == pytest.approx(1.0, abs=0.01)
        assert angle.residual_rms == pytest.approx(SIGMA[m], rel=0.03)


def test_fixed_parameters_do_not_move(fitted: Refinement) -> None:
    for name in ("D_offset_ref", "D_offset_sample", "v_offset", "f2"):
        assert fitted.values[NAMES.index(name)] == fitted.start[NAMES.index(name)]


def test_only_active_parameters_move(store: Store) -> None:
    start = {**FLOW, "v0": 36.0, "f0": 0.3}
    result = refine(Passes(store, InlineRunner()), problem(start, ["v0", "f0"], store.noise))
    assert result.free == ("v0", "f0")
    moved = [name for k, name in enumerate(NAMES) if result.values[k] != result.start[k]]
    assert moved == ["v0", "f0"]


def test_the_optimum_is_where_least_squares_over_all_pixels_ends(store: Store, fitted: Refinement) -> None:
    """No residual of the final weights is improved by any step that all pixels allow."""
    result = refine(Passes(store, InlineRunner()), problem(off(7), MOVING, store.noise))
    errors = np.sqrt(np.diag(fitted.covariance))
    index = [NAMES.index(name) for name in fitted.free]
    np.testing.assert_allclose((result.values - fitted.values)[index] / errors, 0.0, atol=1e-3)
    assert result.chi_squared == pytest.approx(fitted.chi_squared, rel=1e-9)


def test_errors_are_those_of_the_full_problem(fitted: Refinement) -> None:
    """Covariance against a dense Jacobian with contrast and offset of each angle as parameters."""
    time, upper = DT * np.arange(150), np.triu_indices(150, 1)
    index = [NAMES.index(name) for name in fitted.free]
    blocks = []
    for m, phi in enumerate(PHI):
        g = correlation(fitted.values, time, [phi], Q)[0][upper]
        columns = np.zeros((g.size, len(index) + 2 * len(PHI)))
        for column, k in enumerate(index):
            step = np.eye(14)[k] * 1e-6 * max(abs(fitted.values[k]), 1e-2)
            plus, minus = (correlation(fitted.values + s * step, time, [phi], Q)[0][upper] for s in (1, -1))
            columns[:, column] = fitted.angles[m].contrast * (plus - minus) / (2.0 * step[k])
        columns[:, len(index) + 2 * m], columns[:, len(index) + 2 * m + 1] = g, 1.0
        blocks.append(columns / fitted.angles[m].residual_rms)
    jacobian = np.concatenate(blocks)
    expected = np.linalg.inv(jacobian.T @ jacobian)[: len(index), : len(index)]
    np.testing.assert_allclose(np.sqrt(np.diag(fitted.covariance)), np.sqrt(np.diag(expected)), rtol=1e-4)


def test_workers_change_nothing(store: Store, fitted: Refinement, dask_runner: Runner) -> None:
    result = refine(Passes(store, dask_runner), problem(off(1), MOVING, store.noise))
    np.testing.assert_allclose(result.values, fitted.values, rtol=1e-9)
    assert result.evaluations == fitted.evaluations


class StoppedError(Exception):
    pass


def test_an_interrupted_fit_resumes_to_the_same_answer(store: Store, fitted: Refinement, tmp_path: Path) -> None:
    start = problem(off(1), MOVING, store.noise)

    def stop(entry: HistoryEntry) -> None:
        if entry.evaluation == 5:
            raise StoppedError

    with pytest.raises(StoppedError):
        fit_store(Passes(store, InlineRunner()), start, folder=tmp_path, on_entry=stop)
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 5
    with (tmp_path / "checkpoint.trust-region.npy").open("ab") as file:
        file.write(b"a record that a killed process left half written")
    passes = Passes(store, InlineRunner())
    (result,) = fit_store(passes, start, folder=tmp_path, resume=True)
    assert np.array_equal(result.values, fitted.values)
    assert passes.count == fitted.passes - 5
    lines = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [line["chi_squared"] for line in lines] == [entry.chi_squared for entry in fitted.history]


def test_a_checkpoint_of_another_fit_is_refused(store: Store, tmp_path: Path) -> None:
    passes = Passes(store, InlineRunner())
    fit_store(passes, problem(FLOW, ["v0"], store.noise), [TrustRegion(max_evaluations=1)], folder=tmp_path)
    history = (tmp_path / "history.jsonl").read_text()
    with pytest.raises(ConfigError, match="without --resume"):
        fit_store(passes, problem(FLOW, ["f0"], store.noise), folder=tmp_path, resume=True)
    assert (tmp_path / "history.jsonl").read_text() == history


def test_a_fit_cut_short_is_not_converged(store: Store) -> None:
    result = refine(Passes(store, InlineRunner()), problem(off(1), MOVING, store.noise), max_evaluations=2)
    assert result.status == "not_converged"


def test_a_parameter_at_its_bound_is_reported(store: Store) -> None:
    result = refine(Passes(store, InlineRunner()), problem({**FLOW, "v0": 32.0}, ["v0"], store.noise, v0=(30.0, 35.0)))
    assert result.at_bound == ("max",)


def test_maps_that_the_model_can_not_describe_do_not_converge(tmp_path: Path) -> None:
    """Correlation that grows with lag asks for a negative contrast."""
    lag = np.abs(np.subtract.outer(np.arange(60), np.arange(60)))
    rng = np.random.default_rng(0)
    upper = np.triu(rng.normal(0.0, 1e-3, (60, 60)), 1)
    store = write_store(tmp_path / "odd.zarr", [1.0 + 0.001 * lag + upper + upper.T], phi=[0.0], q=Q, dt=DT)
    result = refine(Passes(store, InlineRunner()), problem(FLOW, ["D0_ref"], store.noise))
    assert result.status == "not_converged"
    assert "contrast" in result.message


def test_degenerate_parameters_get_no_error(store: Store) -> None:
    """f0 and f2 only act through f0·exp(-f1·f2)."""
    result = refine(Passes(store, InlineRunner()), problem({**FLOW, "f2": 1.0}, ["v0", "f0", "f2"], store.noise))
    assert result.identified == (True, False, False)
    assert np.isnan(result.covariance[1]).all()
    assert np.isfinite(result.covariance[0, 0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": []}, "no parameter is free"),
        ({"v0": (50.0, 60.0)}, "outside its bounds"),
        ({"v0": (60.0, 50.0)}, "not below max"),
    ],
)
def test_problems_that_make_no_sense_are_refused(change: dict, message: str) -> None:  # type: ignore[type-arg]
    names = change.pop("names", ["v0"])
    with pytest.raises(ConfigError, match=message):
        problem(FLOW, names, SIGMA, **change)


def test_exponents_stay_integrable_where_time_begins_at_zero() -> None:
    lower = np.array([spec.lower for spec in PARAMETERS])
    assert integrable_bounds(lower, 0.0)[NAMES.index("alpha_ref")] > -1.0
    assert np.array_equal(integrable_bounds(lower, 0.1), lower)


def test_the_small_problem_has_the_gradient_and_hessian_of_the_large_one() -> None:
    rng = np.random.default_rng(0)
    jacobian, residual = rng.normal(size=(500, 6)) * 10.0 ** rng.uniform(-4, 4, 6), rng.normal(size=500)
    small_residual, small_jacobian = small_problem(residual @ residual, jacobian.T @ residual, jacobian.T @ jacobian)
    assert small_residual @ small_residual == pytest.approx(residual @ residual, rel=1e-12)
    np.testing.assert_allclose(small_jacobian.T @ small_residual, jacobian.T @ residual, rtol=1e-9)
    np.testing.assert_allclose(small_jacobian.T @ small_jacobian, jacobian.T @ jacobian, rtol=1e-9)


def test_the_covariance_of_a_regular_problem_is_the_inverse() -> None:
    rng = np.random.default_rng(1)
    jacobian = rng.normal(size=(50, 4)) * np.array([1e-3, 1.0, 1e3, 10.0])
    covariance, identified = iid_covariance(jacobian.T @ jacobian)
    assert all(identified)
    np.testing.assert_allclose(covariance, np.linalg.inv(jacobian.T @ jacobian), rtol=1e-8)


def test_the_small_problem_is_built_once_for_each_point(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []

    def counted(*sums: Any) -> Any:
        built.append(sums[0])
        return small_problem(*sums)

    monkeypatch.setattr("hetdask.fitting.objective.small_problem", counted)
    result = refine(Passes(store, InlineRunner()), problem(off(1), MOVING, store.noise))
    assert len(built) == result.evaluations


def test_the_predicted_fall_is_that_of_bounded_linear_least_squares() -> None:
    rng = np.random.default_rng(2)
    jacobian, residual = rng.normal(size=(300, 3)) * np.array([1e-3, 1.0, 1e3]), rng.normal(size=300) + 0.3
    small = small_problem(residual @ residual, jacobian.T @ residual, jacobian.T @ jacobian)
    free = np.full(3, np.inf)
    step = np.linalg.lstsq(jacobian, -residual)[0]
    after = residual + jacobian @ step
    assert predicted_fall(*small, -free, free) == pytest.approx(1.0 - (after @ after) / (residual @ residual))
    lower, upper = np.where(step > 0.0, -1.0, 0.0), np.where(step > 0.0, 0.0, 1.0)
    held = lower.copy(), upper.copy()
    assert predicted_fall(*small, *held) < predicted_fall(*small, -free, free)
    assert predicted_fall(*small_problem(residual @ residual, np.zeros(3), jacobian.T @ jacobian), -free, free) == 0.0
