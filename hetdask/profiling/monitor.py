"""Named timings that add up over calls and threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Self


class Timing(float):
    """Total seconds spent under one name, as a float with the details of its calls beside it.

    Attributes
    ----------
    count : int
        Number of calls.
    mean, min, max : float
        Seconds per call.

    Examples
    --------
    >>> timing = Timing.of([0.25, 0.75])
    >>> f"{timing:.3f} s in {timing.count} calls, longest {timing.max} s"
    '1.000 s in 2 calls, longest 0.75 s'
    """

    count: int
    mean: float
    min: float
    max: float

    def __new__(cls, total: float, count: int, shortest: float, longest: float) -> Self:
        """Timing from the sum, number, minimum and maximum of the calls; `of` makes one from the calls."""
        self = super().__new__(cls, total)
        self.count = count
        self.mean = total / count
        self.min = shortest
        self.max = longest
        return self

    @classmethod
    def of(cls, seconds: list[float]) -> Self:
        """Timing of the calls that took `seconds`; at least one."""
        return cls(sum(seconds), len(seconds), min(seconds), max(seconds))

    def __getnewargs__(self) -> tuple[float, int, float, float]:  # type: ignore[override]
        """Arguments that pickle gives to `__new__`."""
        return (float(self), self.count, self.min, self.max)

    def plus(self, seconds: float) -> Timing:
        """Timing with one more call."""
        return Timing(self + seconds, self.count + 1, min(self.min, seconds), max(self.max, seconds))


class PerformanceMonitor:
    """Collects timings by name. Safe to use from several threads; timings may nest."""

    def __init__(self) -> None:
        self._timings: dict[str, Timing] = {}
        self._lock = threading.Lock()

    @contextmanager
    def time_function(self, name: str) -> Iterator[None]:
        """Time the body of a ``with`` block, or a function that this decorates, under `name`.

        The time counts even where the body raises; the exception goes on.

        Examples
        --------
        >>> monitor = PerformanceMonitor()
        >>> with monitor.time_function("sum"):
        ...     total = sum(range(1000))
        >>> monitor.get_timing_summary()["sum"].count
        1
        """
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.record(name, time.perf_counter() - begin)

    def record(self, name: str, seconds: float) -> None:
        """Add one call of `seconds` to `name`: for times that were measured elsewhere, such as on a worker."""
        with self._lock:
            known = self._timings.get(name)
            self._timings[name] = Timing.of([seconds]) if known is None else known.plus(seconds)

    def get_timing_summary(self) -> dict[str, Timing]:
        """Timings so far by name, in the order of first use: each is a float, the total in seconds."""
        with self._lock:
            return dict(self._timings)

    def reset(self) -> None:
        """Forget all timings."""
        with self._lock:
            self._timings.clear()


performance_monitor: Final = PerformanceMonitor()
"""The monitor of this process."""
