"""Benchmarks of one function, with the statistics that make two of them comparable."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypedDict

import numpy as np

from hetdask.errors import ConfigError

PERCENTILES = (5, 25, 50, 75, 95)


class BenchmarkResult(TypedDict):
    """Statistics of the measured runs, in seconds.

    `mean`, `std` (with n - 1 in the denominator) and `cv` (std / mean) describe the runs that are not outliers;
    `median`, `min`, `max`, `percentiles` (by percent) and `times` (in the order of the runs) describe all of them.
    A run is an outlier if it lies more than 1.5 interquartile ranges outside the quartiles.
    """

    mean: float
    std: float
    cv: float
    median: float
    min: float
    max: float
    percentiles: dict[int, float]
    times: list[float]
    outlier_count: int
    warmup_runs: int


class AdaptiveBenchmarkResult(BenchmarkResult):
    """A `BenchmarkResult` with the number of measured runs and whether `cv` came down to the target."""

    total_runs: int
    achieved_target: bool
    target_cv: float


def _check_count(name: str, value: int, least: int) -> None:
    if value < least:
        raise ConfigError(f"{name} is {value}, expected at least {least}; an example is {name}=15")


def _time_once(function: Callable[[], object]) -> float:
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def statistics(times: Sequence[float], *, warmup_runs: int = 0) -> BenchmarkResult:
    """Statistics of measured times.

    Parameters
    ----------
    times : sequence of float
        Seconds, at least two.
    warmup_runs : int
        Runs before these, for the record.

    Examples
    --------
    >>> result = statistics([1.0, 1.1, 0.9, 1.0, 9.0])
    >>> result["outlier_count"], round(result["mean"], 3), result["max"]
    (1, 1.0, 9.0)
    """
    _check_count("measurement_runs", len(times), 2)
    values = np.asarray(times, dtype=np.float64)
    lower, upper = np.percentile(values, [25, 75])
    reach = 1.5 * (upper - lower)
    kept = values[(values >= lower - reach) & (values <= upper + reach)]
    mean = float(kept.mean())
    std = float(kept.std(ddof=1))
    return BenchmarkResult(
        mean=mean,
        std=std,
        cv=std / mean if mean > 0.0 else 0.0,
        median=float(np.median(values)),
        min=float(values.min()),
        max=float(values.max()),
        percentiles={percent: float(np.percentile(values, percent)) for percent in PERCENTILES},
        times=values.tolist(),
        outlier_count=int(values.size - kept.size),
        warmup_runs=warmup_runs,
    )


def stable_benchmark(
    function: Callable[[], object], *, warmup_runs: int = 5, measurement_runs: int = 15
) -> BenchmarkResult:
    """Time a function after warming it up.

    Parameters
    ----------
    function : callable without arguments
        Its result is dropped; an exception ends the benchmark.
    warmup_runs : int
        Runs before the measured ones: compilation and caches.
    measurement_runs : int
        Measured runs, at least 2.

    Returns
    -------
    BenchmarkResult
        A dictionary: mean, std, cv, median, min, max, percentiles, times, outlier_count, warmup_runs.

    Raises
    ------
    ConfigError
        For numbers of runs that give no statistics.

    Examples
    --------
    >>> result = stable_benchmark(lambda: sum(range(1000)), warmup_runs=1, measurement_runs=5)
    >>> len(result["times"]), result["min"] <= result["median"] <= result["max"]
    (5, True)
    """
    _check_count("warmup_runs", warmup_runs, 0)
    _check_count("measurement_runs", measurement_runs, 2)
    for _ in range(warmup_runs):
        function()
    return statistics([_time_once(function) for _ in range(measurement_runs)], warmup_runs=warmup_runs)


def adaptive_stable_benchmark(
    function: Callable[[], object],
    *,
    target_cv: float = 0.10,
    min_runs: int = 10,
    max_runs: int = 30,
    warmup_runs: int = 5,
) -> AdaptiveBenchmarkResult:
    """Time a function until its coefficient of variation is small enough.

    Parameters
    ----------
    function : callable without arguments
    target_cv : float
        Stop once std / mean, outliers left out, is at most this.
    min_runs, max_runs : int
        Measured runs, at least 2 and no fewer than `min_runs`.
    warmup_runs : int
        Runs before the measured ones.

    Returns
    -------
    AdaptiveBenchmarkResult
        As `stable_benchmark`, with total_runs, achieved_target and target_cv.

    Raises
    ------
    ConfigError
        For numbers of runs or a target that make no sense.

    Examples
    --------
    >>> result = adaptive_stable_benchmark(lambda: sum(range(1000)), min_runs=3, max_runs=6)
    >>> 3 <= result["total_runs"] <= 6
    True
    """
    _check_count("warmup_runs", warmup_runs, 0)
    _check_count("min_runs", min_runs, 2)
    _check_count("max_runs", max_runs, min_runs)
    if not target_cv > 0.0:
        raise ConfigError(f"target_cv is {target_cv:g}, expected a positive number; an example is target_cv=0.10")
    for _ in range(warmup_runs):
        function()
    times = [_time_once(function) for _ in range(min_runs)]
    result = statistics(times, warmup_runs=warmup_runs)
    while result["cv"] > target_cv and len(times) < max_runs:
        times.append(_time_once(function))
        result = statistics(times, warmup_runs=warmup_runs)
    return AdaptiveBenchmarkResult(
        **result, total_runs=len(times), achieved_target=result["cv"] <= target_cv, target_cv=target_cv
    )
