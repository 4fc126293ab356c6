"""Open a runner: in process, on a local cluster, on a running scheduler, or on the jobs of a queue."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

from hetdask.errors import ClusterError
from hetdask_cluster.memory import MemoryPlan, plan_cluster, plan_memory
from hetdask_cluster.runner import InlineRunner, Runner
from hetdask_cluster.settings import SETTINGS, START_SECONDS
from hetdask_cluster.threads import library_threads, preserved_environment, worker_environment

if TYPE_CHECKING:
    from distributed import Client

    from hetdask_cluster.site import Site, TlsFiles

MOST_PER_CORE: Final = 4
"""More workers than this for each core only fight for it."""

PREPARE_SECONDS: Final = 600
"""Compiling all kernels takes less than a minute, on a busy machine a few."""

REVIVE_SECONDS: Final = 1.0
"""Workers that are gone for good are replaced after at most this long."""

LOCALHOST: Final = "127.0.0.1"


def available_cores() -> int:
    """Cores that this process may use: affinity and cgroup quota counted."""
    from dask.system import CPU_COUNT

    return int(CPU_COUNT)


def choose_workers(workers: int | None, tasks: int | None = None, cores: int | None = None, threads: int = 1) -> int:
    """Number of workers for a local cluster.

    Parameters
    ----------
    workers : int, optional
        Asked for; None takes as many as have `threads` cores each, but no more than there are tasks.
    tasks : int, optional
        Tasks that can run at the same time.
    cores : int, optional
        Of this machine; found out when it is not given.
    threads : int
        That each worker computes with.

    Raises
    ------
    ClusterError
        For less than one, or for more than four for each core.

    Examples
    --------
    >>> choose_workers(None, tasks=3, cores=8), choose_workers(None, cores=8, threads=4)
    (3, 2)
    """
    here = available_cores() if cores is None else cores
    if workers is None:
        fitting = here // threads
        return max(1, fitting if tasks is None else min(fitting, -(-tasks // threads)))
    if not 1 <= workers <= MOST_PER_CORE * here:
        raise ClusterError(
            f"found {workers} workers, expected 1 to {MOST_PER_CORE * here} on {here} cores: "
            f"use --workers {here}, or leave it out"
        )
    return workers


def plan_run(
    scheduler: str = "local",
    workers: int | None = None,
    *,
    threads_per_worker: int = 1,
    memory_limit: str | float | None = None,
    tasks: int | None = None,
    site: Site | None = None,
) -> MemoryPlan | None:
    """Workers, threads and memory of a runner before it is opened; arguments as in `open_runner`.

    None for a running scheduler: only its workers know what they have.

    Raises
    ------
    ClusterError, ConfigError
        If that many workers do not fit, or the arguments make no sense.
    """
    if scheduler == "inline":
        if workers is not None:
            choose_workers(workers)
        return plan_memory(memory_limit, 0)
    if scheduler == "local":
        computing = threads_per_worker * library_threads()
        count = choose_workers(workers, tasks, threads=computing)
        return plan_memory(memory_limit, count, threads=threads_per_worker)
    if _is_running(scheduler):
        return None
    chosen = _queue_site(scheduler, site)
    return plan_cluster(memory_limit, chosen.limits(chosen.jobs_for(workers)), chosen.threads)


@contextmanager
def open_runner(
    scheduler: str = "local",
    workers: int | None = None,
    *,
    threads_per_worker: int = 1,
    memory_limit: str | float | None = None,
    dashboard: str | None = None,
    tasks: int | None = None,
    site: Site | None = None,
    host: str | None = None,
    tls: TlsFiles | None = None,
    prepare: str | None = None,
) -> Iterator[Runner]:
    """Runner for a ``with`` block; what it starts, it closes.

    Parameters
    ----------
    scheduler : str
        "inline" runs in this process, "local" starts worker processes here, the address of a running scheduler
        ("tcp://host:8786") or its file ("scheduler.json") uses what is there, and the name of a queueing system
        ("slurm") starts jobs of `site`.
    workers : int, optional
        Processes of a local cluster or of all jobs together, or workers to wait for on a running scheduler.
    threads_per_worker : int
        Tasks that a local worker runs at the same time.
    memory_limit : str or float, optional
        Budget of the whole run, divided among workers: a fraction of the machine (of what remote workers have) or a
        size.
    dashboard : str, optional
        Address of the scheduler's dashboard, such as ":0" for any free port; on localhost unless it names a host.
        None starts none.
    tasks : int, optional
        Tasks that can run at the same time: more local workers than that are not started unless asked for.
    site : Site, optional
        What jobs of a queueing system look like.
    host : str, optional
        Address that a scheduler of ours listens on: localhost for local workers, that of the site's interface for jobs.
    tls : TlsFiles, optional
        Certificates, to encrypt what client, scheduler and workers say; those of the site by default.
    prepare : str, optional
        Python module that is run once before tasks run, such as one that compiles what workers would all compile.

    Raises
    ------
    ClusterError
        If the workers asked for make no sense, do not fit into the memory limit, cannot be reached or differ.

    Examples
    --------
    >>> with open_runner("inline") as runner:
    ...     runner.map(abs, [-1, -2])
    [1, 2]
    """
    plan = plan_run(
        scheduler, workers, threads_per_worker=threads_per_worker, memory_limit=memory_limit, tasks=tasks, site=site
    )
    if scheduler == "inline":
        run_preparation(prepare)
        yield InlineRunner(plan)
        return
    # Dask takes a quarter of a second to load.
    from hetdask_cluster.dask_runner import DaskRunner

    if scheduler == "local" and plan is not None:
        with _local_client(plan, dashboard, host or LOCALHOST, tls, prepare) as client:
            yield DaskRunner(client, plan)
    elif plan is None:
        from hetdask_cluster.remote import remote_client

        with remote_client(scheduler, max(1, workers or 1), tls) as client:
            yield DaskRunner(client, memory_limit=memory_limit)
    else:
        from hetdask_cluster.queues import queue_client

        chosen = _queue_site(scheduler, site)
        if tls is not None:
            chosen = chosen.model_copy(update={"tls": tls})
        address = None if dashboard is None else _on_localhost(dashboard)
        with queue_client(chosen, chosen.jobs_for(workers), prepare=prepare, dashboard=address, host=host) as client:
            yield DaskRunner(client, plan)


def _is_running(scheduler: str) -> bool:
    return "://" in scheduler or scheduler.endswith(".json")


def _queue_site(scheduler: str, site: Site | None) -> Site:
    """The site of a queueing system.

    Raises
    ------
    ClusterError
        If there is no such system, or no site, or one of another system.
    """
    from hetdask_cluster.site import QUEUES

    if scheduler not in QUEUES:
        raise ClusterError(
            f"unknown scheduler {scheduler!r}: expected inline, local, an address such as tcp://127.0.0.1:8786, "
            f"a scheduler file such as scheduler.json, or one of {', '.join(QUEUES)} (--scheduler)"
        )
    if site is None:
        raise ClusterError(
            f"the scheduler {scheduler} needs a site file, with the queue, walltime, cores and memory of a job: "
            f"for example --site configs/sites/{scheduler}.yaml"
        )
    if site.scheduler != scheduler:
        raise ClusterError(
            f"the site file is for {site.scheduler}, and --scheduler says {scheduler}: leave out one of the two"
        )
    return site


@contextmanager
def _local_client(
    plan: MemoryPlan, dashboard: str | None, host: str, tls: TlsFiles | None, prepare: str | None
) -> Iterator[Client]:
    import dask
    from distributed import Client, LocalCluster

    from hetdask_cluster.remote import security

    encryption = security(tls)
    with ExitStack() as stack:
        preparation = stack.enter_context(_preparation(prepare))
        stack.enter_context(preserved_environment())
        with preserved_environment(), dask.config.set({**SETTINGS, **worker_environment()}):
            cluster = stack.enter_context(
                LocalCluster(
                    n_workers=plan.workers,
                    threads_per_worker=plan.threads,
                    processes=True,
                    memory_limit=plan.per_worker,
                    host=host,
                    protocol="tcp://" if encryption is None else "tls://",
                    security=encryption,
                    dashboard_address=_on_localhost(dashboard or ":0"),
                    scheduler_kwargs={"dashboard": dashboard is not None},
                    silence_logs=logging.ERROR,
                )
            )
        _finish(preparation, prepare)
        # On a busy machine a worker takes longer to start again than a cluster usually waits before it gives it up.
        stack.enter_context(dask.config.set({"distributed.deploy.lost-worker-timeout": f"{START_SECONDS}s"}))
        _keep(cluster, plan.workers)
        yield stack.enter_context(Client(cluster, set_as_default=False, timeout=START_SECONDS))


def _keep(cluster: Any, workers: int) -> None:
    """Replace workers that are gone for good: nannies close when a worker dies while it starts."""
    from distributed import Status
    from tornado.ioloop import PeriodicCallback

    def revive() -> None:
        gone = [name for name, nanny in cluster.workers.items() if nanny.status in {Status.closed, Status.failed}]
        for name in gone:
            del cluster.workers[name]
        if len(cluster.workers) < workers:
            cluster.scale(workers)

    callback = PeriodicCallback(revive, 1000 * REVIVE_SECONDS)
    cluster.periodic_callbacks["revive-workers"] = callback
    cluster.loop.add_callback(callback.start)


def run_preparation(module: str | None) -> None:
    """Run a module in a process of its own, and wait for it; None runs nothing.

    Raises
    ------
    ClusterError
        If it fails, with what it said.
    """
    with _preparation(module) as process:
        _finish(process, module)


@contextmanager
def _preparation(module: str | None) -> Iterator[subprocess.Popen[str] | None]:
    """A module that runs beside the start of a cluster, in a process of its own: what it needs, it gives back."""
    if module is None:
        yield None
        return
    command = [sys.executable, "-m", module]
    with subprocess.Popen(  # noqa: S603 (our own module)
        command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _finish(process: subprocess.Popen[str] | None, module: str | None) -> None:
    if process is None:
        return
    try:
        _, said = process.communicate(timeout=PREPARE_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"`python -m {module}` has not ended after {PREPARE_SECONDS} s: try it alone") from error
    if process.returncode != 0:
        raise ClusterError(
            f"`python -m {module}` failed with status {process.returncode}, and so would every worker: {said.strip()}"
        )


def _on_localhost(address: str) -> str:
    """Address of the scheduler's pages, not open to others unless it names a host."""
    return f"{LOCALHOST}{address}" if address.startswith(":") else address
