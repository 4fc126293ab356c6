"""Profiles against brute force, and the intervals that they end in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import hetdask
from hetdask.config import load_settings
from hetdask.data.store import Store
from hetdask.data.writers import write_store
from hetdask.errors import ConfigError
from hetdask.fitting import fit_store, refine
from hetdask.fitting.profile import LEVELS, Profile, profile
from hetdask.fitting.refits import prepare_refits
from hetdask.fitting.uncertainty import iid_uncertainty
from hetdask.model import NAMES, simulate_speckle
from hetdask.options import problem_of
from hetdask.passes.run import Passes
from hetdask.results import Result
from hetdask.results.summary import as_text, summary
from hetdask_cluster.dask_runner import DaskRunner
from hetdask_cluster.runner import InlineRunner

FLOW = {
    "D0_ref": 400.0, "alpha_ref": -0.2, "D0_sample": 1500.0, "alpha_sample": -0.1, "v0": 40.0, "beta": 0.15,
    "f0": 0.35, "f1": -0.015, "f3": 0.15, "phi0": -3.0,
}  # fmt: skip
PHI, Q, DT, FRAMES = [20.0, 70.0], 0.0054, 1.5, 32
"""Of so few frames every pixel is a block mean of its own, so that refits are fits of all pixels."""

MOVING = ["D0_ref", "D0_sample", "v0", "f0"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    rng = np.random.default_rng(5)
    maps = simulate_speckle(FLOW, DT * np.arange(FRAMES), PHI, Q, speckles=40_000, modes=2, rng=rng)
    return write_store(tmp_path_factory.mktemp("profile") / "data.zarr", maps, phi=PHI, q=Q, dt=DT)


def settings(bounds: dict[str, dict[str, float]] | None = None, **options: object) -> dict[str, object]:
    values = {name: {"value": value} | (bounds or {}).get(name, {}) for name, value in FLOW.items()}
    return {"parameters": values, "fit": {"active_parameters": MOVING, **options}}


def fitted(store: Store, bounds: dict[str, dict[str, float]] | None = None, **options: object) -> Result:
    return hetdask.fit(store, settings(bounds, **options))


@pytest.fixture(scope="module")
def profiled(store: Store) -> Result:
    return fitted(store, profile=["v0", "D0_ref"])


def test_points_are_fits_with_the_parameter_held(store: Store, profiled: Result) -> None:
    assert profiled.profiles is not None
    assert profiled.profiles.retained_information == pytest.approx(1.0, rel=1e-9)
    one, v0 = profiled.profiles.parameters["v0"], profiled.parameters["v0"]
    assert v0.stderr is not None
    assert v0.stderr_iid is not None
    assert one.optimum == pytest.approx(v0.value, abs=1e-3 * v0.stderr)
    assert one.scale == pytest.approx((v0.stderr / v0.stderr_iid) ** 2)
    runner = InlineRunner()
    problem, passes = problem_of(load_settings(settings()), store), Passes(store, runner)
    (best,) = fit_store(passes, problem)
    problem = replace(problem, start=best.values, sigma=best.weighted_by)
    lowest = refine(passes, problem, rounds=1).chi_squared
    k = NAMES.index("v0")
    for value, deviance in list(zip(one.values, one.deviance, strict=True))[::4]:
        start = problem.start.copy()
        start[k] = value
        held = replace(problem, start=start, free=tuple(x for x in problem.free if x != k))
        rise = refine(passes, held, rounds=1).chi_squared - lowest
        assert rise / one.scale == pytest.approx(deviance, rel=1e-3, abs=1e-5)


def test_intervals_end_near_the_standard_errors_where_the_problem_is_linear(profiled: Result) -> None:
    assert profiled.profiles is not None
    for name, one in profiled.profiles.parameters.items():
        parameter = profiled.parameters[name]
        assert one.endings == ("reached", "reached")
        assert one.values == sorted(one.values)
        assert min(one.deviance) > -1e-6
        for interval, width in ((one.interval_68, 1.0), (one.interval_95, 1.96)):
            low, high = interval
            assert parameter.stderr is not None
            assert low is not None
            assert high is not None
            assert parameter.value - low == pytest.approx(width * parameter.stderr, rel=0.25), name
            assert high - parameter.value == pytest.approx(width * parameter.stderr, rel=0.25), name


def test_workers_change_nothing(store: Store, dask_runner: DaskRunner) -> None:
    runner = InlineRunner()
    problem, passes = problem_of(load_settings(settings()), store), Passes(store, runner)
    (best,) = fit_store(passes, problem)
    refits = prepare_refits(store, passes, problem, best, runner)
    uncertainty, told = iid_uncertainty(best), list[int]()
    one = profile(refits, uncertainty, ["f0"], runner, on_done=lambda done, total, _: told.append(total - done))
    two = profile(refits, uncertainty, ["f0"], dask_runner)
    assert told == [1, 0]
    np.testing.assert_array_equal(one[0].values, two[0].values)
    np.testing.assert_array_equal(one[0].deviance, two[0].deviance)
    assert one[0].scale == 1.0


def test_open_ends_are_said_in_words(store: Store) -> None:
    """f0 and f2 mean the same, within their bounds; of f3 the bounds cut the interval short."""
    result = fitted(
        store,
        {"f3": {"max": 0.151}},
        active_parameters=["v0", "f0", "f2", "f3"],
        profile=["f0", "f3", "v0"],
    )
    assert result.profiles is not None
    f0, f3, v0 = (result.profiles.parameters[name] for name in ("f0", "f3", "v0"))
    assert f3.interval_95[1] is None
    assert f3.endings[1] == "bound"
    assert f0.interval_95[1] is None
    assert f0.interval_95[0] is not None
    assert f0.interval_95[0] < 0.05
    assert max(f0.values) > 0.95
    assert None not in v0.interval_95
    text = as_text(summary(result), 1000)
    assert "The 95 % interval of f3 is open above: its bound 0.151 lies within" in text
    assert "The 95 % interval of f0 is open above" in text
    assert "interval of v0 is open" not in text
    row = next(line for line in text[text.index("Profiles\n") :].splitlines() if line.startswith(" f0"))
    assert row.count("… open") == 2


def test_ends_are_the_outermost_crossings() -> None:
    values = np.array([-4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0])
    one = Profile("v0", 0.0, 1.0, values, np.array([16.0, 3.0, 5.0, 1.0, 0.0, 1.0, 4.0]), ("reached", "reached"))
    low, high = one.ends(LEVELS["interval_95"])
    assert low is not None
    assert -4.0 < low < -3.0
    assert high == pytest.approx(1.96, abs=1e-3)
    open_above = Profile("v0", 0.0, 1.0, values[:6], one.deviance[:6], ("reached", "flat"))
    assert open_above.ends(LEVELS["interval_95"])[1] is None
    assert open_above.ends(1.0)[1] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"profile": ["v1"]}, "v1"),
        ({"profile": ["beta"]}, "fit.profile names beta, which is fixed"),
        ({"profile": ["v0"], "method": "robust"}, "fit.profile refits by least squares"),
    ],
)
def test_profiles_that_make_no_sense_are_refused(store: Store, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fitted(store, **options)


def test_without_a_converged_fit_there_is_none(store: Store) -> None:
    result = fitted(store, profile=["v0"], max_evaluations=1)
    assert result.profiles is not None
    assert result.profiles.parameters == {}
    assert "No profiles: no classical fit converged." in as_text(summary(result))
