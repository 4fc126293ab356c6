"""Run functions over items, in this process or on Dask workers, with the same results.

A function given to a runner is a module-level function, and so are its arguments plain data: both travel to other
processes. `InlineRunner` makes them travel too, through the same pickling, so that what runs inline runs on a cluster.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import psutil

from hetdask.errors import ConfigError
from hetdask_cluster.memory import MemoryPlan, peak_memory
from hetdask_cluster.threads import measured_threads

if TYPE_CHECKING:
    from distributed import Client

type Handle = Any
"""A result that stays where it was computed, to be passed to `Runner.map` as an item."""

type OnDone = Callable[[int, Any], None]
"""Called with the index of an item and its result as each finishes."""


class Runner(Protocol):
    """Where functions run."""

    @property
    def n_workers(self) -> int:
        """Tasks that run at the same time."""

    @property
    def plan(self) -> MemoryPlan | None:
        """Memory that workers and client may use; None where nobody set a limit."""

    @property
    def dashboard(self) -> str | None:
        """Address of the scheduler's dashboard, if there is one."""

    def put(self, function: Callable[..., Any], *args: Any) -> Handle:
        """Run ``function(*args)`` once, on a worker, and keep its result there."""

    def map(
        self,
        function: Callable[..., Any],
        items: Sequence[Any],
        *common: Any,
        on_done: OnDone | None = None,
    ) -> list[Any]:
        """Results of ``function(item, *common)`` in the order of `items`, which may be handles."""

    def peak_worker(self) -> int:
        """Largest resident size that one of the workers had so far, bytes."""

    def worker_memory(self) -> list[int]:
        """Resident size that each worker has now, bytes."""

    def on_scheduler(self, function: Callable[..., Any], *args: Any) -> None:
        """Run ``function(scheduler, *args)`` in the process of the scheduler, if there is one."""

    def performance_report(self, path: Path) -> AbstractContextManager[None]:
        """Dask's report of what the workers did while a ``with`` block ran."""

    def describe(self) -> dict[str, Any]:
        """Where tasks run, and with how many threads, for the record."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """Handle of the inline runner."""

    value: Any


class InlineRunner:
    """Runs everything in this process, one task after the other, and pickles what would travel to workers.

    Parameters
    ----------
    plan : MemoryPlan, optional

    Examples
    --------
    >>> InlineRunner().map(pow, [2, 3], 2)
    [4, 9]
    """

    def __init__(self, plan: MemoryPlan | None = None) -> None:
        self.plan = plan
        self.n_workers = 1
        self.dashboard: str | None = None

    def put(self, function: Callable[..., Any], *args: Any) -> Handle:
        """Run ``function(*args)`` and keep its result."""
        called, arguments = _travel((function, args))
        return _Kept(called(*arguments))

    def map(
        self,
        function: Callable[..., Any],
        items: Sequence[Any],
        *common: Any,
        on_done: OnDone | None = None,
    ) -> list[Any]:
        """Results of ``function(item, *common)`` in the order of `items`."""
        results: list[Any] = []
        called, arguments = _travel((function, common))
        for index, item in enumerate(items):
            argument = item.value if isinstance(item, _Kept) else _travel(item)
            result = called(argument, *arguments)
            results.append(result)
            if on_done is not None:
                on_done(index, result)
        return results

    def peak_worker(self) -> int:
        """Largest resident size of this process so far, bytes."""
        return peak_memory()

    def worker_memory(self) -> list[int]:
        """Resident size of this process."""
        return [int(psutil.Process().memory_info().rss)]

    def on_scheduler(self, function: Callable[..., Any], *args: Any) -> None:
        """Nothing: there is no scheduler."""

    def performance_report(self, path: Path) -> AbstractContextManager[None]:
        """Refused: there are no workers that it could tell of.

        Raises
        ------
        ConfigError
        """
        raise ConfigError(f"a performance report ({path}) needs workers: use --scheduler local, or leave it out")

    def describe(self) -> dict[str, Any]:
        """No workers: this process, and the threads of its libraries."""
        return {"runner": "inline", "workers": 0, "threads_per_worker": 1, "library_threads": measured_threads()}


def _travel(value: Any) -> Any:
    """What arrives when `value` is sent to a worker."""
    return pickle.loads(pickle.dumps(value))


def as_runner(client: Client | Runner | None) -> Runner:
    """Runner for a Dask client; None runs in this process, and a runner is returned as it is.

    Examples
    --------
    >>> as_runner(None).map(abs, [-3])
    [3]
    """
    if client is None:
        return InlineRunner()
    from distributed import Client

    from hetdask_cluster.dask_runner import DaskRunner

    return DaskRunner(client) if isinstance(client, Client) else client
