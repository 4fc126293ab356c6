"""Run functions on the workers of a Dask client, whatever happens to single workers."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from distributed.protocol.pickle import dumps

from hetdask.errors import ClusterError, HetdaskError
from hetdask_cluster.kept import KeptResults
from hetdask_cluster.memory import MemoryPlan, format_bytes, peak_memory, plan_cluster
from hetdask_cluster.runner import Handle, OnDone
from hetdask_cluster.settings import START_SECONDS
from hetdask_cluster.threads import measured_threads

if TYPE_CHECKING:
    from distributed import Client, Future

RETRIES: Final = 2
"""Further tries of a task that failed for a reason that may pass, such as a file system that did not answer."""

DEADLINE: Final = 1800.0
"""Seconds after which a task is taken for lost when no task of the same call has finished."""

CHECK_SECONDS: Final = 5.0
"""Workers are looked at when no task of a call has finished for so long."""

PAUSED_SECONDS: Final = 30.0
"""Workers that have all been out of memory for so long stay so: what they hold was planned to stay."""

UNMANNED_SECONDS: Final = START_SECONDS
"""A scheduler of our own fails tasks that find no worker for so long; others wait for ever, so it is looked at here."""

SHARED_BYTES: Final = 2**16
"""Arguments of all tasks of a call that are larger go to the scheduler once, and from worker to worker."""

NO_WORKER: Final = (
    "there was no worker to run on for too long. If they died, give each more memory: a larger --memory-limit or fewer "
    "--workers; otherwise start workers, or use --scheduler local. --resume goes on from the last checkpoint"
)

LOST: Final = (
    "the connection to the scheduler broke, or it was restarted, and with it went all tasks: run again, with --resume "
    "to go on from the last checkpoint"
)


@dataclass(frozen=True, slots=True)
class _Failed:
    """An error of ours that a task met: it would meet it again, so it is no reason for a retry."""

    error: HetdaskError


class DaskRunner:
    """Runs on the workers of a Dask client.

    Tasks are not pinned to workers and what `put` keeps can be computed again: the death of a worker costs time only.

    Parameters
    ----------
    client : distributed.Client
        Stays open: who made it closes it.
    plan : MemoryPlan, optional
        None takes it from the limits of the workers.
    memory_limit : str or float, optional
        What of these limits may be used; see `plan_cluster`.
    deadline : float
        Seconds without a single finished task after which `map` gives up.
    """

    def __init__(
        self,
        client: Client,
        plan: MemoryPlan | None = None,
        *,
        memory_limit: str | float | None = None,
        deadline: float = DEADLINE,
    ) -> None:
        self.client = client
        self.plan = _plan_of(client, memory_limit) if plan is None else plan
        self.deadline = deadline
        self._kept = KeptResults(client, deadline)
        self._watched = False

    @property
    def n_workers(self) -> int:
        """Threads of all workers: tasks that run at the same time."""
        return sum(self.client.nthreads().values())

    @property
    def dashboard(self) -> str | None:
        """Address of the scheduler's dashboard, if there is one."""
        services = self.client.scheduler_info(n_workers=0)["services"]
        return str(self.client.dashboard_link) if "dashboard" in services else None

    def put(self, function: Callable[..., Any], *args: Any) -> Handle:
        """Run ``function(*args)`` once, on any worker, and keep its result there as a future."""
        return self.client.submit(_run, function, *args, key=_new_key(function), pure=False, retries=RETRIES)

    def map(
        self,
        function: Callable[..., Any],
        items: Sequence[Any],
        *common: Any,
        on_done: OnDone | None = None,
    ) -> list[Any]:
        """Results of ``function(item, *common)`` in the order of `items`.

        Where all items are kept on workers they are called directly; tasks do the rest.

        Raises
        ------
        ClusterError
            If workers kept dying on a task, none was left, or nothing finished before the deadline.
        Exception
            Whatever the function raised, as soon as it is known.
        """
        from distributed import Future

        if not items:
            return []
        if not self._watched and all(isinstance(item, Future) for item in items):
            with _connected():
                results = self._kept.call(function, items, common)
            if results is not None:
                if on_done is not None:
                    for index, result in enumerate(results):
                        on_done(index, result)
                return results
        with _connected():
            # One message to the scheduler for all tasks: a second one within 10 ms would wait for that long.
            count = len(items)
            keys = _new_keys(function, [isinstance(item, Future) for item in items])
            futures = self.client.map(
                _attempt,
                [function] * count,
                items,
                [self._shared(common)] * count,
                key=keys,
                pure=False,
                retries=RETRIES,
            )
            try:
                return self._collect(futures, on_done)
            except BaseException:
                if self.client.status == "running":
                    self.client.cancel(futures, force=True)
                raise

    def peak_worker(self) -> int:
        """Largest resident size that one of the workers had so far, bytes."""
        return max(self._ask(peak_memory).values(), default=0)

    def worker_memory(self) -> list[int]:
        """Resident size that each worker has now, as the scheduler last heard, bytes."""
        return [int(worker["metrics"].get("memory", 0)) for worker in _workers(self.client)]

    def on_scheduler(self, function: Callable[..., Any], *args: Any) -> None:
        """Run ``function(scheduler, *args)`` in the process of the scheduler."""
        with _connected():
            self.client.run_on_scheduler(_with_scheduler, function, *args)

    @contextmanager
    def performance_report(self, path: Path) -> Iterator[None]:
        """Dask's report of what the workers did while a ``with`` block ran, as one page of HTML.

        It tells of tasks: nothing goes another way while it is made.
        """
        from distributed import performance_report

        self._watched = True
        try:
            with self.client.as_current(), performance_report(filename=str(path)):
                yield
        finally:
            self._watched = False

    def describe(self) -> dict[str, Any]:
        """Workers and their threads; those of the libraries as the workers measure them."""
        with _connected():
            threads = self.client.nthreads()
            address = self.client.scheduler_info(n_workers=0)["address"]
        return {
            "runner": "dask",
            "scheduler": address,
            "workers": len(threads),
            "threads_per_worker": max(threads.values(), default=0),
            "library_threads": max(self._ask(measured_threads).values(), default=0),
        }

    def _ask(self, function: Callable[[], int]) -> dict[str, int]:
        """What the workers say; one that is just being started says nothing."""
        with _connected():
            found: dict[str, int] = self.client.run(function, on_error="ignore")
        return found

    def _shared(self, common: tuple[Any, ...]) -> Any:
        """Arguments that all tasks of a call have; a future if they are too large to go to the scheduler with each."""
        if len(dumps(common)) <= SHARED_BYTES:
            return common
        return self.client.submit(_same, common, key=_new_key(_same), pure=False, retries=RETRIES)

    def _collect(self, futures: list[Future[Any]], on_done: OnDone | None) -> list[Any]:
        from distributed import as_completed

        places = {future.key: index for index, future in enumerate(futures)}
        results: dict[int, Any] = {}
        pending = dict.fromkeys(futures)
        patience = _Patience(self.client, self.deadline)
        while pending:
            finished = as_completed(pending, loop=self.client.loop, timeout=min(self.deadline, CHECK_SECONDS))
            with suppress(TimeoutError):
                for batch in finished.batches():
                    patience.renew()
                    for future in batch:
                        del pending[future]
                    _raise_failures(batch, self.client)
                    if on_done is not None:
                        for future, result in zip(batch, self._gather(batch), strict=True):
                            index = places[future.key]
                            results[index] = result
                            on_done(index, result)
            if pending:
                patience.look(len(pending))
        if on_done is None:
            return self._gather(futures)
        return [results[index] for index in range(len(futures))]

    def _gather(self, futures: list[Future[Any]]) -> list[Any]:
        found: list[Any] = self.client.gather(futures)
        for result in found:
            if isinstance(result, _Failed):
                raise result.error
        return found


class _Patience:
    """How long a call has gone without a finished task, without a worker, and without one that takes tasks."""

    def __init__(self, client: Client, deadline: float) -> None:
        self._client, self._deadline = client, deadline
        self.renew()

    def renew(self) -> None:
        """A task has finished."""
        self._finished = self._manned = self._moving = time.monotonic()

    def look(self, waiting: int) -> None:
        """Look at the workers on which so many tasks wait.

        Raises
        ------
        ClusterError
            If it has gone on for too long.
        """
        if self._client.status == "closed":
            raise ClusterError(LOST)
        now, workers = time.monotonic(), _workers(self._client)
        if now - self._finished >= self._deadline:
            raise ClusterError(
                f"no task finished within {self._deadline:.0f} s; {waiting} wait on {len(workers)} workers. Expected "
                "at least one worker that makes headway: look at the workers' logs, or run on this machine with "
                "--scheduler local"
            )
        if workers:
            self._manned = now
        elif now - self._manned >= UNMANNED_SECONDS:
            raise ClusterError(NO_WORKER)
        if not workers or any(worker["status"] != "paused" for worker in workers):
            self._moving = now
        elif now - self._moving >= PAUSED_SECONDS:
            raise ClusterError(_out_of_memory(self._client))


def _new_key(function: Callable[..., Any]) -> str:
    """Name of a task that tells what it runs."""
    name = getattr(function, "__name__", type(function).__name__).strip("_<>") or "task"
    return f"{name}-{uuid.uuid4().hex}"


def _new_keys(function: Callable[..., Any], kept: Sequence[bool]) -> list[tuple[str, int]]:
    """Names of the tasks of a call, which tell the scheduler how to treat them.

    Tasks of one large group wait on the scheduler and go to whichever worker is free, even if what they need lies on
    another one and has to be copied. So those whose item is kept on a worker each have a group of their own.
    """
    group = _new_key(function)
    return [(_new_key(function), 0) if held else (group, k) for k, held in enumerate(kept)]


def _with_scheduler(function: Callable[..., Any], *args: Any, dask_scheduler: Any = None) -> None:
    """What runs on the scheduler, which passes itself under this name."""
    function(dask_scheduler, *args)


def _run(function: Callable[..., Any], *args: Any) -> Any:
    """The task of `put`."""
    return function(*args)


def _same(value: Any) -> Any:
    """The task of what many tasks share."""
    return value


def _attempt(function: Callable[..., Any], item: Any, common: tuple[Any, ...]) -> Any:
    """The task of `map`."""
    try:
        return function(item, *common)
    except HetdaskError as error:
        return _Failed(error)


@contextmanager
def _connected() -> Iterator[None]:
    """Turn the loss of the scheduler into advice."""
    from distributed import CancelledError
    from distributed.client import ClosedClientError
    from distributed.comm.core import CommClosedError

    try:
        yield
    except (CommClosedError, ClosedClientError, CancelledError) as error:
        raise ClusterError(LOST) from error


def _raise_failures(futures: Sequence[Future[Any]], client: Client) -> None:
    """Raise the first error among finished tasks; errors of the cluster become advice."""
    from distributed import CancelledError, KilledWorker
    from distributed.scheduler import NoValidWorkerError, NoWorkerError

    for future in futures:
        if future.status == "cancelled":
            raise ClusterError(LOST)
        if future.status != "error":
            continue
        error = future.exception()
        if isinstance(error, KilledWorker):
            raise ClusterError(_killed(client)) from error
        if isinstance(error, (NoWorkerError, NoValidWorkerError)):
            raise ClusterError(NO_WORKER) from error
        if isinstance(error, CancelledError):
            raise ClusterError(f"a task was cancelled: {error}") from error
        raise error


def _workers(client: Client) -> list[dict[str, Any]]:
    """What the scheduler knows of its workers."""
    return list(client.scheduler_info(n_workers=-1)["workers"].values())


def _limits(client: Client) -> list[int]:
    """Memory limits of the workers that have one, bytes."""
    return [int(worker["memory_limit"]) for worker in _workers(client) if worker.get("memory_limit")]


def _plan_of(client: Client, memory_limit: str | float | None) -> MemoryPlan | None:
    """Plan within the limits that the workers of somebody else's cluster have."""
    limits, threads = _limits(client), client.nthreads()
    if not limits or len(limits) < len(threads):
        return None
    return plan_cluster(memory_limit, limits, max(threads.values()))


def _killed(client: Client) -> str:
    return f"workers died one after the other on the same task, most likely at their memory limit{_advice(client)}"


def _out_of_memory(client: Client) -> str:
    return f"all workers have reached the part of their memory limit up to which they take tasks{_advice(client)}"


def _advice(client: Client) -> str:
    limits = _limits(client)
    limit = f" of {format_bytes(min(limits))} each" if limits else ""
    return (
        f"{limit}. Give each worker more: a larger --memory-limit, or fewer --workers, for example --workers 1; "
        "--resume goes on from the last checkpoint"
    )
