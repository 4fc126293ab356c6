"""Robust methods: losses resist outliers, min-max problems have the value that an independent solution has."""

from __future__ import annotations

from pathlib import Path

import clarabel
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize

from hetdask.data.reduction import reduce_store
from hetdask.data.store import Store
from hetdask.data.writers import write_store
from hetdask.errors import FitError
from hetdask.fitting import (
    Ellipsoidal,
    HistoryEntry,
    Huber,
    Method,
    Problem,
    Refinement,
    Scenario,
    StudentT,
    TrustRegion,
    Wasserstein,
    best_of,
    fit_store,
    fit_with,
    integrable_bounds,
)
from hetdask.fitting.outliers import find_outliers
from hetdask.fitting.robust import resamplings
from hetdask.fitting.robust_cone import GOOD, Penalty, solve_min_max
from hetdask.model import NAMES, PARAMETERS, as_vector, correlation, correlation_gradient, simulate_gaussian
from hetdask.passes import Passes
from hetdask.passes.reduced import ReducedPasses
from hetdask.passes.run import series_of
from hetdask.passes.weighted import LossSums
from hetdask_cluster.runner import InlineRunner

Array = NDArray[np.float64]

TRUTH = {"D0_ref": 400.0, "D0_sample": 1500.0, "alpha_sample": -0.1, "v0": 40.0, "f0": 0.5, "f3": 0.1, "phi0": -3.0}
START = {**TRUTH, "D0_ref": 330.0, "D0_sample": 1700.0, "v0": 45.0, "f0": 0.42}
ACTIVE = ["D0_ref", "D0_sample", "v0", "f0"]
INDEX = [NAMES.index(name) for name in ACTIVE]
PHI, Q, SIGMA = [0.0, 45.0, 90.0], 0.0054, 0.01
N, DEAD = 120, slice(40, 45)
TIME = 30.0 / N * np.arange(N)
LOSSES: list[Method] = [Huber(), StudentT()]
MIN_MAX: list[Method] = [Ellipsoidal(0.02), Wasserstein(0.02, beta=1e-3), Scenario(4, 4, 3, alpha=1e-3)]


def symmetric(upper: NDArray) -> NDArray:
    upper = np.triu(upper, 1)
    return upper | upper.transpose(0, 2, 1) if upper.dtype == bool else upper + upper.transpose(0, 2, 1)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Store]:
    """The same experiment clean, with 2 % of the pixels too high by 30 sigma, and with a few frames that went wrong."""
    rng = np.random.default_rng(5)
    clean = simulate_gaussian(TRUTH, TIME, PHI, Q, contrast=0.3, sigma=SIGMA, rng=rng)
    lag = np.arange(N)[None, :] - np.arange(N)[:, None]
    short = np.triu(lag < N // 4, 1)
    share = 0.02 * (N * (N - 1) / 2) / short.sum()
    hit = symmetric((rng.random(clean.shape) < share) & short)
    assert 0.017 < hit.sum() / (3 * N * (N - 1)) < 0.023
    noise = symmetric(SIGMA * rng.standard_normal(clean.shape))
    dead = clean.copy()
    dead[:, DEAD, :], dead[:, :, DEAD] = 1.0 + noise[:, DEAD, :], 1.0 + noise[:, :, DEAD]
    maps = {"clean": clean, "hit": clean + 30.0 * SIGMA * hit, "dead": dead}
    folder = tmp_path_factory.mktemp("robust")
    return {name: write_store(folder / f"{name}.zarr", each, phi=PHI, q=Q, dt=TIME[1]) for name, each in maps.items()}


def problem(store: Store) -> Problem:
    lower = np.array([spec.lower for spec in PARAMETERS])
    upper = np.array([spec.upper for spec in PARAMETERS])
    return Problem(as_vector(START), integrable_bounds(lower, 0.0), upper, tuple(INDEX), store.noise)


def fit(method: Method, store: Store, rounds: int = 2) -> Refinement:
    return fit_with(method, Passes(store, InlineRunner()), problem(store), rounds=rounds)


@pytest.fixture(scope="module")
def clean(stores: dict[str, Store]) -> Refinement:
    return fit(TrustRegion(), stores["clean"])


def deviation(found: Refinement, clean: Refinement) -> float:
    """Largest distance from the clean fit, in its standard errors."""
    errors = np.sqrt(np.diag(clean.covariance))
    return float(np.max(np.abs(found.values - clean.values)[INDEX] / errors))


@pytest.mark.parametrize("damage", ["hit", "dead"])
def test_least_squares_is_pulled_away_by_outliers(damage: str, stores: dict[str, Store], clean: Refinement) -> None:
    assert deviation(fit(TrustRegion(), stores[damage]), clean) > 5.0


@pytest.mark.parametrize("method", LOSSES, ids=lambda method: method.name)
@pytest.mark.parametrize("damage", ["clean", "hit", "dead"])
def test_losses_that_resist_outliers_stay_within_two_errors_of_the_clean_fit(
    method: Method, damage: str, stores: dict[str, Store], clean: Refinement
) -> None:
    found = fit(method, stores[damage])
    assert found.status == "converged", found.message
    assert deviation(found, clean) < 2.0
    errors = [np.sqrt(np.diag(one.covariance)) for one in (found, clean)]
    assert np.all(errors[0] > 0.95 * errors[1])
    assert np.all(errors[0] < 1.35 * errors[1])
    expected = [(m, (DEAD.start, DEAD.stop)) for m in range(3)] if damage == "dead" else []
    assert found.outliers is not None
    assert [(one.angle, one.rows) for one in found.outliers] == expected
    assert all(one.weight < 0.5 and one.whole for one in found.outliers)
    for angle in found.angles:
        assert angle.contrast == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("method", LOSSES, ids=lambda method: method.name)
def test_errors_of_losses_are_those_of_repeated_experiments(method: Method, tmp_path: Path) -> None:
    """Over small experiments with heavy-tailed noise."""
    pulls = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        maps = simulate_gaussian(TRUTH, 1.0 * np.arange(30), PHI, Q, contrast=0.3, sigma=0.0, rng=rng)
        maps = maps + symmetric(0.01 * rng.standard_t(3, maps.shape))
        found = fit(method, write_store(tmp_path / f"{seed}.zarr", maps, phi=PHI, q=Q, dt=1.0), rounds=1)
        assert found.status == "converged", found.message
        pulls.append((found.values - as_vector(TRUTH))[INDEX] / np.sqrt(np.diag(found.covariance)))
    assert 0.7 < np.sqrt(np.mean(np.square(pulls))) < 1.4


SMALL_TIME = 1.25 * np.arange(24)
SEGMENTS = np.repeat(np.arange(4), 6)


class BruteForce:
    """Value of a min-max problem, pixel by pixel with the best contrast and offset of each angle."""

    def __init__(self, method: Method, maps: Array, store: Store) -> None:
        self.method = method
        self.upper = np.triu(np.ones(maps.shape[1:], dtype=bool), 1)
        self.data = maps[:, self.upper].astype(np.float32).astype(np.float64) / store.noise[:, None]
        every = [np.ones(self.upper.shape)]
        if isinstance(method, Scenario):
            every = [w[SEGMENTS][:, SEGMENTS] for w in resamplings(method.scenarios, method.segments, method.seed)]
        self.weights = [weight[self.upper] for weight in every]
        self.start = as_vector(START)[INDEX]
        slopes = correlation_gradient(START, SMALL_TIME, PHI, Q)[:, INDEX]
        squares = np.zeros(len(INDEX))
        ones = np.ones(self.data.shape[1])
        for m, g in enumerate(self.model(self.start)):
            design = np.stack([ones, g], axis=1)
            contrast = np.linalg.lstsq(design, self.data[m], rcond=None)[0][1]
            columns = contrast * slopes[m][:, self.upper].T
            squares += np.linalg.lstsq(design, columns, rcond=None)[1]
        self.scale = np.sqrt(squares / self.data.size)

    def model(self, x: Array) -> Array:
        vector = as_vector(START)
        vector[INDEX] = x
        return correlation(vector, SMALL_TIME, PHI, Q)[:, self.upper]

    def rms(self, g: Array, weight: Array) -> float:
        total = 0.0
        for data, model in zip(self.data, g, strict=True):
            e, h = (values - np.average(values, weights=weight) for values in (data, model))
            total += weight @ e**2 - (weight @ (e * h)) ** 2 / (weight @ h**2)
        return float(np.sqrt(total / (weight.sum() * len(g))))

    def __call__(self, y: Array) -> float:
        x = self.start + y / self.scale
        if np.any(x <= 0.0) or x[-1] > 1.0:
            return np.inf
        g, method, size = self.model(x), self.method, np.abs(y).sum()
        worst = max(self.rms(g, weight) for weight in self.weights)
        if isinstance(method, Ellipsoidal):
            return worst + method.radius * float(np.sqrt(1.0 + y @ y))
        if isinstance(method, Wasserstein):
            return worst + method.radius * (1.0 + size) + method.beta * size
        assert isinstance(method, Scenario)
        return worst + method.alpha * float(y @ y)

    def lowest(self) -> float:
        """By a solver that knows values only; a simplex that has collapsed on an edge begins anew."""
        y, found = np.zeros(len(INDEX)), np.inf
        for turn in range(12):
            simplex = y + np.vstack([np.zeros(y.size), 0.1 * 0.3**turn * np.eye(y.size)])
            options = {"xatol": 1e-9, "fatol": 1e-13, "maxfev": 4000, "initial_simplex": simplex}
            solution = minimize(self, y, method="Nelder-Mead", options=options)
            y = solution.x
            if found - solution.fun < 1e-10:
                break
            found = solution.fun
        return float(solution.fun)


@pytest.mark.parametrize("method", MIN_MAX, ids=lambda method: method.name)
def test_min_max_methods_reach_the_value_of_an_independent_solution(method: Method, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    maps = simulate_gaussian(TRUTH, SMALL_TIME, PHI, Q, contrast=0.3, sigma=0.003, rng=rng)
    store = write_store(tmp_path / "small.zarr", maps, phi=PHI, q=Q, dt=SMALL_TIME[1])
    found = fit(method, store, rounds=1)
    assert found.status == "converged", found.message
    assert found.at_bound == (None,) * len(INDEX)
    reference = BruteForce(method, maps, store)
    assert found.worst_case == pytest.approx(reference.lowest(), rel=1e-6)
    y = reference.scale * (found.values - as_vector(START))[INDEX]
    assert reference(y) == pytest.approx(found.worst_case, rel=1e-8)


@pytest.mark.parametrize("seed", range(3))
def test_the_worst_case_is_attained_within_the_ball_and_never_exceeded(seed: int) -> None:
    """What the penalties stand for, by the perturbation that does it and by random ones."""
    rng = np.random.default_rng(seed)
    n, p, radius = 40, 3, 0.3
    jacobian, residual, y = rng.normal(size=(n, p)), rng.normal(size=n), rng.normal(size=p)
    rms = np.linalg.norm(residual + jacobian @ y) / np.sqrt(n)
    here = (residual + jacobian @ y) / np.linalg.norm(residual + jacobian @ y)
    way = np.append(y, 1.0)
    ball, transport = Penalty(euclidean=radius).value(y), Penalty(absolute=radius).value(y)
    worst = radius * np.sqrt(n) * np.outer(here, way / np.linalg.norm(way))
    assert np.linalg.norm(worst) / np.sqrt(n) == pytest.approx(radius)
    moved = residual + jacobian @ y + worst @ way
    assert np.linalg.norm(moved) / np.sqrt(n) == pytest.approx(rms + ball, rel=1e-12)
    worst = radius * np.sqrt(n) * np.outer(here, np.sign(way))
    assert np.sqrt(np.mean(np.abs(worst).max(axis=1) ** 2)) == pytest.approx(radius)
    moved = residual + jacobian @ y + worst @ way
    assert np.linalg.norm(moved) / np.sqrt(n) == pytest.approx(rms + transport, rel=1e-12)
    for _ in range(200):
        other = rng.normal(size=(n, p + 1))
        for size, penalty in (
            (np.linalg.norm(other) / np.sqrt(n), ball),
            (np.sqrt(np.mean(np.abs(other).max(axis=1) ** 2)), transport),
        ):
            moved = residual + jacobian @ y + radius / size * other @ way
            assert np.linalg.norm(moved) / np.sqrt(n) <= rms + penalty


@pytest.mark.parametrize("penalty", [Penalty(0.3), Penalty(0.0, 0.2), Penalty(0.0, 0.0, 0.1, 0.05)])
@pytest.mark.parametrize("count", [1, 4])
def test_the_cone_program_has_the_solution_of_a_general_solver(penalty: Penalty, count: int) -> None:
    rng = np.random.default_rng(7)
    p = 3
    problems = [(rng.normal(size=6), rng.normal(size=(6, p))) for _ in range(count)]
    y, lower, upper = rng.normal(size=p), np.full(p, -0.4), np.full(p, 0.5)
    step, value, status = solve_min_max(problems, penalty, y, lower, upper)
    assert status in GOOD

    def sizes(v: Array) -> Array:
        return v[p + 1 :]

    def cost(v: Array) -> float:
        radius = penalty.euclidean * np.sqrt(1.0 + (y + v[:p]) @ (y + v[:p]))
        absolute = (penalty.absolute + penalty.beta) * sizes(v).sum() + penalty.absolute
        return v[p] + radius + absolute + penalty.alpha * (y + v[:p]) @ (y + v[:p])

    constraints = [
        {"type": "ineq", "fun": lambda v, r=r, j=j: v[p] - np.linalg.norm(r + j @ v[:p])} for r, j in problems
    ]
    constraints += [{"type": "ineq", "fun": lambda v, sign=sign: sizes(v) - sign * (y + v[:p])} for sign in (1.0, -1.0)]
    bounds = [*zip(lower, upper, strict=True), (0.0, None), *([(0.0, None)] * p)]
    first = np.concatenate([np.zeros(p), [10.0], np.abs(y)])
    expected = minimize(
        cost, first, method="SLSQP", bounds=bounds, constraints=constraints, options={"ftol": 1e-13, "maxiter": 500}
    )
    assert value == pytest.approx(expected.fun, rel=1e-6)
    np.testing.assert_allclose(step, expected.x[:p], atol=1e-4)


def test_resampled_segments_weigh_every_pixel_once_on_average() -> None:
    weights = resamplings(40_000, 6, 1)
    np.testing.assert_allclose(weights.mean(axis=0), 1.0, atol=0.03)
    np.testing.assert_array_equal(weights, resamplings(40_000, 6, 1))
    assert np.any(weights != resamplings(40_000, 6, 2))


@pytest.mark.parametrize("method", [*LOSSES, *MIN_MAX], ids=lambda method: method.name)
def test_calling_twice_gives_the_same_answer(method: Method, stores: dict[str, Store]) -> None:
    one, other = (fit(method, stores["hit"]) for _ in range(2))
    np.testing.assert_array_equal(one.values, other.values)
    assert one.worst_case == other.worst_case
    assert not np.allclose(one.values[INDEX], as_vector(START)[INDEX], rtol=1e-3)


@pytest.mark.parametrize("method", [Huber(max_evaluations=4), Scenario(max_evaluations=2)], ids=lambda m: m.name)
def test_robust_methods_cut_short_are_not_converged(method: Method, stores: dict[str, Store]) -> None:
    found = fit(method, stores["clean"])
    assert found.status == "not_converged"
    assert "fit.max_evaluations" in found.message


def test_a_cone_program_without_a_solution_is_told(stores: dict[str, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    usual = clarabel.DefaultSettings

    def impatient() -> clarabel.DefaultSettings:
        settings = usual()
        settings.max_iter = 1
        return settings

    monkeypatch.setattr(clarabel, "DefaultSettings", impatient)
    found = fit(Ellipsoidal(), stores["clean"])
    assert found.status == "not_converged"
    assert "MaxIterations" in found.message


class StoppedError(Exception):
    pass


def test_robust_methods_resume_where_they_were_interrupted(stores: dict[str, Store], tmp_path: Path) -> None:
    methods: list[Method] = [Wasserstein(), Scenario(4, 4), Huber()]
    store = stores["hit"]
    whole = fit_store(Passes(store, InlineRunner()), problem(store), methods)

    def stop(entry: HistoryEntry) -> None:
        if entry.method == "huber" and entry.evaluation == 10:
            raise StoppedError

    with pytest.raises(StoppedError):
        fit_store(Passes(store, InlineRunner()), problem(store), methods, folder=tmp_path, on_entry=stop)
    resumed = fit_store(Passes(store, InlineRunner()), problem(store), methods, folder=tmp_path, resume=True)
    for one, other in zip(resumed, whole, strict=True):
        np.testing.assert_array_equal(one.values, other.values)
    assert [one.passes for one in resumed] == [0, 0, whole[2].passes - 10]


def test_classical_methods_count_before_robust_ones_and_the_first_of_these_before_the_others(
    stores: dict[str, Store], clean: Refinement
) -> None:
    robust = [fit(method, stores["clean"]) for method in (StudentT(), Ellipsoidal())]
    assert all(one.robust for one in robust)
    assert best_of([*robust, clean]) is clean
    assert best_of(robust) is robust[0]
    assert all(one.chi_squared >= clean.chi_squared for one in robust)


def test_pixel_weights_need_pixels(stores: dict[str, Store]) -> None:
    store = stores["clean"]
    passes = ReducedPasses(series_of(store), reduce_store(store, InlineRunner(), level=2))
    with pytest.raises(FitError, match="huber weights pixels"):
        fit_with(Huber(), passes, problem(store))


def test_regions_are_reported_where_frames_do_not_explain_them() -> None:
    sums = LossSums.zeros(2, 0, 40, 4)
    sums.frame_points[:], sums.frame_weight[:] = 39.0, 36.0
    sums.frame_points[0, 0] = 0.0
    sums.frame_weight[0, 0] = 0.0
    sums.frame_weight[0, 20:28] = 10.0
    sums.tile_points[:], sums.tile_weight[:] = 100.0, 92.0
    sums.tile_weight[0, 2] = sums.tile_weight[0, :, 2] = 20.0
    sums.tile_weight[1, 0, 3] = 12.0
    frames, block = find_outliers(sums, 10)
    assert (frames.angle, frames.rows, frames.whole) == (0, (20, 28), True)
    assert frames.weight == pytest.approx(10.0 / 36.0)
    assert (block.angle, block.rows, block.columns, block.whole) == (1, (0, 10), (30, 40), False)
