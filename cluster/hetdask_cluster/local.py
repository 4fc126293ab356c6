"""Open a runner: in process, on a local cluster, or on a running scheduler."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import dask

from hetdask.errors import ClusterError
from hetdask_cluster.memory import MemoryPlan, plan_memory
from hetdask_cluster.runner import DaskRunner, InlineRunner, Runner
from hetdask_cluster.threads import preserved_environment, worker_environment

if TYPE_CHECKING:
    from distributed import Client

MOST_PER_CORE: Final = 4
"""More workers than this for each core only fight for it."""

CONNECT_SECONDS: Final = 15
START_SECONDS: Final = 60

SETTINGS: Final = {
    # Data held on workers is planned to fit: spilling it to disk while memory is free would only cost time.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": 0.80,
    "distributed.worker.memory.terminate": 0.95,
    # A task that finds no worker for so long fails instead of hanging; nannies restart workers within seconds.
    "distributed.scheduler.no-workers-timeout": f"{START_SECONDS}s",
    # A task during which two workers died would kill more of them.
    "distributed.scheduler.allowed-failures": 1,
    "distributed.worker.preload": ["hetdask_cluster.preload"],
    # Numerical tasks hold no references for the collector, and profiling costs a thread per worker.
    "distributed.worker.profile.enabled": False,
}


def available_cores() -> int:
    """Cores that this process may use: affinity and cgroup quota counted."""
    from dask.system import CPU_COUNT

    return int(CPU_COUNT)


def choose_workers(workers: int | None, tasks: int | None = None, cores: int | None = None) -> int:
    """Number of workers for a local cluster.

    Parameters
    ----------
    workers : int, optional
        Asked for; None takes one for each core, but no more than there are tasks.
    tasks : int, optional
        Tasks that can run at the same time.
    cores : int, optional
        Of this machine; found out when it is not given.

    Raises
    ------
    ClusterError
        For less than one, or for more than four for each core.

    Examples
    --------
    >>> choose_workers(None, tasks=3, cores=8)
    3
    """
    here = available_cores() if cores is None else cores
    if workers is None:
        return max(1, here if tasks is None else min(here, tasks))
    if not 1 <= workers <= MOST_PER_CORE * here:
        raise ClusterError(
            f"found {workers} workers, expected 1 to {MOST_PER_CORE * here} on {here} cores: "
            f"use --workers {here}, or leave it out"
        )
    return workers


@contextmanager
def open_runner(
    scheduler: str = "local",
    workers: int | None = None,
    *,
    threads_per_worker: int = 1,
    memory_limit: str | float | None = None,
    dashboard: str | None = None,
    tasks: int | None = None,
) -> Iterator[Runner]:
    """Runner for a ``with`` block; what it starts, it closes.

    Parameters
    ----------
    scheduler : str
        "inline" runs in this process, "local" starts worker processes here, and the address of a running scheduler
        ("tcp://host:8786") or its file ("scheduler.json") uses what is there.
    workers : int, optional
        Processes of a local cluster, or workers to wait for on a running scheduler.
    threads_per_worker : int
        Tasks that a worker runs at the same time.
    memory_limit : str or float, optional
        Budget of the whole run, divided among local workers: a fraction of the machine or a size.
    dashboard : str, optional
        Address of the scheduler's dashboard, such as ":0" for any free port; on localhost unless it names a host.
        None starts none.
    tasks : int, optional
        Tasks that can run at the same time: more workers than that are not started unless asked for.

    Raises
    ------
    ClusterError
        If the workers asked for make no sense, do not fit into the memory limit, or cannot be reached.

    Examples
    --------
    >>> with open_runner("inline") as runner:
    ...     runner.map(abs, [-1, -2])
    [1, 2]
    """
    if scheduler == "inline":
        choose_workers(workers)
        yield InlineRunner(plan_memory(memory_limit, 1))
    elif scheduler == "local":
        plan = plan_memory(memory_limit, choose_workers(workers, tasks))
        with _local_client(plan, threads_per_worker, dashboard) as client:
            yield DaskRunner(client, plan)
    elif "://" in scheduler or scheduler.endswith(".json"):
        with _remote_client(scheduler, max(1, workers or 1)) as client:
            yield DaskRunner(client)
    else:
        raise ClusterError(
            f"unknown scheduler {scheduler!r}: expected inline, local, an address such as tcp://127.0.0.1:8786, "
            "or a scheduler file such as scheduler.json (--scheduler)"
        )


@contextmanager
def _local_client(plan: MemoryPlan, threads: int, dashboard: str | None) -> Iterator[Client]:
    from distributed import Client, LocalCluster

    with ExitStack() as stack:
        stack.enter_context(preserved_environment())
        with preserved_environment(), dask.config.set({**SETTINGS, **worker_environment()}):
            cluster = stack.enter_context(
                LocalCluster(
                    n_workers=plan.workers,
                    threads_per_worker=threads,
                    processes=True,
                    memory_limit=plan.per_worker,
                    host="127.0.0.1",
                    dashboard_address=_on_localhost(dashboard or ":0"),
                    scheduler_kwargs={"dashboard": dashboard is not None},
                    silence_logs=logging.ERROR,
                )
            )
        yield stack.enter_context(Client(cluster, set_as_default=False, timeout=START_SECONDS))


@contextmanager
def _remote_client(scheduler: str, workers: int) -> Iterator[Client]:
    from distributed import Client

    options: dict[str, Any] = {"address": scheduler}
    if scheduler.endswith(".json"):
        if not Path(scheduler).is_file():
            raise ClusterError(
                f"there is no scheduler file {scheduler!r}: start one with "
                f"`dask scheduler --scheduler-file {scheduler}`, or use --scheduler local"
            )
        options = {"scheduler_file": scheduler}
    try:
        client = Client(**options, set_as_default=False, timeout=CONNECT_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        raise ClusterError(
            f"no scheduler answers at {scheduler!r} ({error}): check the address, or use --scheduler local"
        ) from error
    with client:
        try:
            client.wait_for_workers(workers, timeout=START_SECONDS)
        except TimeoutError as error:
            found = len(client.nthreads())
            raise ClusterError(
                f"found {found} workers at {scheduler!r}, expected {workers}: start more with `dask worker`, "
                f"or use --workers {max(found, 1)}"
            ) from error
        yield client


def _on_localhost(address: str) -> str:
    """Address of the scheduler's pages, not open to others unless it names a host."""
    return f"127.0.0.1{address}" if address.startswith(":") else address
