"""A search finds the global optimum from the bounds alone, says how sure it is, and depends on its seed only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from hetdask.data.reduction import reduce_maps
from hetdask.errors import ConfigError
from hetdask.fitting.coordinates import make_coordinates
from hetdask.fitting.optima import Verdict
from hetdask.fitting.problem import Problem, integrable_bounds
from hetdask.fitting.refine import refine
from hetdask.fitting.search import STARTS, SearchResult, search
from hetdask.model import NAMES, PARAMETERS, as_vector, simulate_gaussian
from hetdask.passes import project
from hetdask.passes.reduced import ReducedPasses
from hetdask.passes.tiles import Series
from hetdask_cluster.dask_runner import DaskRunner
from hetdask_cluster.runner import InlineRunner

TIME = np.arange(100) * 0.5
Q = 0.0054
SIGMA = 0.01
TRUTH = as_vector(
    {
        "D0_ref": 300.0,
        "alpha_ref": -0.2,
        "D0_sample": 2500.0,
        "alpha_sample": 0.1,
        "v0": 200.0,
        "beta": 0.1,
        "f0": 0.5,
        "f1": -0.02,
        "f3": 0.1,
        "phi0": 25.0,
    }
)
FREE = tuple(NAMES.index(name) for name in NAMES if name not in ("f2", "D_offset_ref", "D_offset_sample", "v_offset"))


def problem(n_phi: int, free: tuple[int, ...] = FREE) -> Problem:
    start, lower, upper = np.array([(spec.start, spec.lower, spec.upper) for spec in PARAMETERS]).T
    return Problem(start, integrable_bounds(lower, 0.0), upper, free, np.full(n_phi, SIGMA))


def reduced(phi: NDArray[np.float64]) -> ReducedPasses:
    maps = simulate_gaussian(TRUTH, TIME, phi, Q, sigma=SIGMA, rng=np.random.default_rng(4))
    series = Series(
        phi=phi,
        q=np.full(phi.size, Q),
        time=TIME,
        excluded=np.zeros((phi.size, TIME.size), dtype=np.bool_),
        baseline=np.ones(phi.size),
        tile=32,
    )
    return ReducedPasses(series, reduce_maps(maps, 2, np.full(phi.size, SIGMA)))


def chi_squared(passes: ReducedPasses, vector: NDArray[np.float64]) -> float:
    return float(project(passes(vector, ())).sum_squares.sum()) / SIGMA**2


@pytest.fixture(scope="module")
def three_angles() -> ReducedPasses:
    return reduced(np.array([-10.0, 40.0, 100.0]))


@pytest.fixture(scope="module")
def found(three_angles: ReducedPasses) -> SearchResult:
    truth = chi_squared(three_angles, TRUTH)
    coordinates = make_coordinates(problem(3), TIME, Q)
    return search(
        three_angles,
        problem(3),
        seed=1,
        judge=lambda position: Verdict(
            chi_squared(three_angles, coordinates.decode(position)) < 1.01 * truth, True, position
        ),
    )


def test_the_optimum_is_found_where_least_squares_from_a_wrong_direction_fails(
    three_angles: ReducedPasses, found: SearchResult
) -> None:
    truth = chi_squared(three_angles, TRUTH)
    start = problem(3).start.copy()
    start[NAMES.index("phi0")] = -60.0
    assert chi_squared(three_angles, refine(three_angles, replace(problem(3), start=start)).values) > 1.2 * truth
    assert found.best.chi_squared == pytest.approx(chi_squared(three_angles, found.best.vector))
    assert found.best.chi_squared < truth
    for name, tolerance in {"D0_sample": 0.1, "v0": 0.02, "phi0": 0.02}.items():
        k = NAMES.index(name)
        assert found.best.vector[k] == pytest.approx(TRUTH[k], rel=tolerance)


def test_a_search_ends_when_starts_agree_on_residuals_at_the_noise_level(found: SearchResult) -> None:
    assert found.believed
    assert found.best.reached >= 3
    assert found.starts < 8 * STARTS
    assert found.gap > 0.003


def test_agreement_alone_does_not_end_a_search(three_angles: ReducedPasses) -> None:
    result = search(
        three_angles, problem(3), seed=1, judge=lambda position: Verdict(False, False, position), max_rounds=2
    )
    assert result.starts == 2 * STARTS
    assert result.believed is False


@pytest.mark.parametrize(("at_once", "rounds"), [(True, 1), (False, 2)])
def test_an_optimum_whose_residuals_are_remarkable_takes_another_round(
    three_angles: ReducedPasses, at_once: bool, rounds: int
) -> None:
    result = search(three_angles, problem(3), seed=3, judge=lambda position: Verdict(True, at_once, position))
    assert result.believed
    assert result.starts == rounds * STARTS


@pytest.mark.parametrize(("verdict", "starts"), [((True, True), 6), ((True, False), 12), ((False, False), 24 + STARTS)])
def test_given_starts_are_polished_in_rounds_until_they_suffice(
    three_angles: ReducedPasses, verdict: tuple[bool, bool], starts: int
) -> None:
    given = np.tile(TRUTH, (48, 1))
    given[:, NAMES.index("D0_sample")] *= np.linspace(0.9, 1.1, 48)
    found = search(
        three_angles,
        problem(3),
        seed=1,
        judge=lambda position: Verdict(*verdict, position),
        given=given,
        max_rounds=1,
    )
    assert found.starts == starts
    assert found.given is not None
    assert found.given.polished == min(starts, 24)
    assert found.given.sufficed == (starts <= 24)
    assert found.given.winner in range(48)
    assert found.best.chi_squared < chi_squared(three_angles, TRUTH)


def test_most_of_the_first_given_starts_must_agree(three_angles: ReducedPasses, found: SearchResult) -> None:
    # Half of the first six lead to another optimum: three agree on either, and six more are polished. The one that most
    # starts led to, since what few reach at a bound may not hold.
    other = max(found.optima[1:], key=lambda one: one.reached).vector
    given = np.array([TRUTH, other] * 6)
    again = search(three_angles, problem(3), seed=1, judge=lambda x: Verdict(True, True, x), given=given)
    assert again.starts == 12
    assert again.best.reached == 6


def test_the_seed_alone_decides_what_is_found(
    three_angles: ReducedPasses, inline_runner: InlineRunner, dask_runner: DaskRunner
) -> None:
    one, two = (
        search(three_angles, problem(3), seed=3, runner=runner, max_rounds=2) for runner in (inline_runner, dask_runner)
    )
    assert [x.reached for x in one.optima] == [x.reached for x in two.optima]
    for x, y in zip(one.optima, two.optima, strict=True):
        np.testing.assert_array_equal(x.vector, y.vector)
        assert x.chi_squared == y.chi_squared
    assert one.evaluations == two.evaluations


def test_two_angles_leave_two_directions_of_flow() -> None:
    passes = reduced(np.array([0.0, 60.0]))
    result = search(passes, problem(2), seed=1, max_rounds=2)
    one, two = result.optima[:2]
    assert result.gap < 1e-4
    speed = [x.vector[NAMES.index("v0")] for x in (one, two)]
    phi0 = np.deg2rad([x.vector[NAMES.index("phi0")] for x in (one, two)])
    for angle in np.deg2rad(passes.series.phi):
        along = np.abs(speed * np.cos(phi0 - angle))
        assert along[0] == pytest.approx(along[1], rel=0.02)


def test_there_must_be_something_to_search(three_angles: ReducedPasses) -> None:
    with pytest.raises(ConfigError, match="f2"):
        search(three_angles, problem(3, (NAMES.index("f2"),)), seed=1)
