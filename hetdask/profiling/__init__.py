"""Where the time goes: named timings of the parts of a run, and benchmarks with honest statistics.

`performance_monitor` serves scripts and notebooks; `stable_benchmark` and `adaptive_stable_benchmark` time a function.
"""

from hetdask.profiling.benchmark import (
    AdaptiveBenchmarkResult,
    BenchmarkResult,
    adaptive_stable_benchmark,
    stable_benchmark,
)
from hetdask.profiling.monitor import PerformanceMonitor, Timing, performance_monitor

__all__ = [
    "AdaptiveBenchmarkResult",
    "BenchmarkResult",
    "PerformanceMonitor",
    "Timing",
    "adaptive_stable_benchmark",
    "performance_monitor",
    "stable_benchmark",
]
