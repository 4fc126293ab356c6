"""Benchmarks report real statistics of real runs."""

from __future__ import annotations

import math
import statistics as reference
from collections.abc import Callable

import pytest

from hetdask.errors import ConfigError
from hetdask.profiling import adaptive_stable_benchmark, stable_benchmark
from hetdask.profiling.benchmark import statistics


def _clock(monkeypatch: pytest.MonkeyPatch, durations: list[float]) -> Callable[[], None]:
    """A clock that only the returned function moves, by the next of `durations` at each call."""
    now = 0.0
    remaining = iter(durations)

    def run() -> None:
        nonlocal now
        now += next(remaining)

    monkeypatch.setattr("hetdask.profiling.benchmark.time.perf_counter", lambda: now)
    return run


def test_statistics_agree_with_the_standard_library() -> None:
    times = [1.0, 1.25, 1.5, 1.125, 1.375]
    result = statistics(times)
    assert result["mean"] == pytest.approx(reference.mean(times))
    assert result["std"] == pytest.approx(reference.stdev(times))
    assert result["cv"] == pytest.approx(reference.stdev(times) / reference.mean(times))
    assert result["median"] == pytest.approx(reference.median(times))
    assert (result["min"], result["max"], result["outlier_count"]) == (1.0, 1.5, 0)
    assert result["percentiles"][50] == result["median"]
    assert list(result["percentiles"].values()) == sorted(result["percentiles"].values())


def test_outliers_leave_the_mean_alone_and_stay_in_the_times() -> None:
    result = statistics([1.0, 1.1, 0.9, 1.0, 1.05, 50.0])
    assert result["outlier_count"] == 1
    assert result["mean"] == pytest.approx(1.01)
    assert result["max"] == 50.0
    assert 50.0 in result["times"]


def test_warmup_runs_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    run = _clock(monkeypatch, [100.0, 100.0, 1.0, 2.0, 3.0])
    result = stable_benchmark(run, warmup_runs=2, measurement_runs=3)
    assert result["times"] == [1.0, 2.0, 3.0]
    assert result["warmup_runs"] == 2
    assert result["mean"] == pytest.approx(2.0)
    assert result["std"] == pytest.approx(1.0)


def test_defaults_are_those_of_the_guide() -> None:
    calls = 0

    def run() -> None:
        nonlocal calls
        calls += 1

    assert len(stable_benchmark(run)["times"]) == 15
    assert calls == 20


def test_adaptive_benchmark_stops_once_the_target_is_met(monkeypatch: pytest.MonkeyPatch) -> None:
    spread = [1.0, 2.0, 1.0, 2.0]
    run = _clock(monkeypatch, spread + [1.5] * 100)
    result = adaptive_stable_benchmark(run, target_cv=0.3, min_runs=4, max_runs=50, warmup_runs=0)
    assert result["achieved_target"]
    assert result["cv"] <= 0.3
    assert 4 < result["total_runs"] < 50
    assert statistics(result["times"][:-1])["cv"] > 0.3


def test_adaptive_benchmark_says_when_the_target_was_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    run = _clock(monkeypatch, [1.0, 3.0] * 10)
    result = adaptive_stable_benchmark(run, target_cv=0.01, min_runs=4, max_runs=8, warmup_runs=0)
    assert not result["achieved_target"]
    assert result["total_runs"] == 8 == len(result["times"])
    assert math.isclose(result["target_cv"], 0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"measurement_runs": 1}, "measurement_runs is 1, expected at least 2"),
        ({"warmup_runs": -1}, "warmup_runs is -1, expected at least 0"),
    ],
)
def test_too_few_runs_are_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        stable_benchmark(lambda: None, **arguments)


def test_impossible_adaptive_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="max_runs is 5, expected at least 10"):
        adaptive_stable_benchmark(lambda: None, max_runs=5)
    with pytest.raises(ConfigError, match="target_cv is 0, expected a positive number"):
        adaptive_stable_benchmark(lambda: None, target_cv=0.0)


def test_exception_of_the_function_ends_the_benchmark() -> None:
    def run() -> None:
        raise RuntimeError("no data")

    with pytest.raises(RuntimeError, match="no data"):
        stable_benchmark(run)
