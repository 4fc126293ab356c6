"""Timings add up, survive exceptions, and print as seconds."""

from __future__ import annotations

import pickle
import threading
import time

import pytest

from hetdask.profiling import PerformanceMonitor, Timing, performance_monitor


def _wait(seconds: float) -> None:
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        pass


def test_summary_values_print_as_seconds_as_the_guide_does() -> None:
    monitor = PerformanceMonitor()
    with monitor.time_function("data_loading"):
        _wait(0.002)
    stats = monitor.get_timing_summary()
    assert f"Data loading: {stats['data_loading']:.3f}s".startswith("Data loading: 0.0")
    assert stats["data_loading"] >= 0.002


def test_details_describe_the_calls() -> None:
    monitor = PerformanceMonitor()
    for seconds in (0.5, 0.125, 2.0):
        monitor.record("fit", seconds)
    timing = monitor.get_timing_summary()["fit"]
    assert (float(timing), timing.count, timing.min, timing.max) == (2.625, 3, 0.125, 2.0)
    assert timing.mean == pytest.approx(0.875)


def test_time_counts_when_the_body_raises_and_the_exception_goes_on() -> None:
    monitor = PerformanceMonitor()
    with pytest.raises(ZeroDivisionError), monitor.time_function("broken"):
        _ = 1 / 0
    assert monitor.get_timing_summary()["broken"].count == 1


def test_decorated_function_is_timed_at_each_call() -> None:
    monitor = PerformanceMonitor()

    @monitor.time_function("work")
    def work() -> int:
        return 3

    assert (work(), work()) == (3, 3)
    assert monitor.get_timing_summary()["work"].count == 2


def test_names_nest_and_keep_their_order() -> None:
    monitor = PerformanceMonitor()
    with monitor.time_function("outer"), monitor.time_function("inner"):
        _wait(0.001)
    stats = monitor.get_timing_summary()
    assert list(stats) == ["inner", "outer"]
    assert stats["outer"] >= stats["inner"]


def test_no_call_is_lost_between_threads() -> None:
    monitor = PerformanceMonitor()

    def work() -> None:
        for _ in range(500):
            monitor.record("shared", 1.0)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    timing = monitor.get_timing_summary()["shared"]
    assert (timing.count, float(timing)) == (2000, 2000.0)


def test_summary_is_a_copy_and_reset_forgets() -> None:
    monitor = PerformanceMonitor()
    monitor.record("a", 1.0)
    monitor.get_timing_summary().clear()
    assert list(monitor.get_timing_summary()) == ["a"]
    monitor.reset()
    assert monitor.get_timing_summary() == {}


def test_timing_survives_pickling() -> None:
    timing = pickle.loads(pickle.dumps(Timing.of([0.25, 0.75])))
    assert (float(timing), timing.count, timing.mean, timing.min, timing.max) == (1.0, 2, 0.5, 0.25, 0.75)


def test_process_has_one_monitor() -> None:
    assert isinstance(performance_monitor, PerformanceMonitor)
