"""Job queues: workers as jobs of their own, a whole run as one job, and the scripts of both."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

import dask

from hetdask.errors import ClusterError
from hetdask_cluster.remote import check_versions, security, wait_for
from hetdask_cluster.settings import SETTINGS, START_SECONDS, exports
from hetdask_cluster.site import Site, seconds
from hetdask_cluster.threads import default_exports

if TYPE_CHECKING:
    from dask_jobqueue.core import Job
    from distributed import Client

MODULES: Final = {
    "slurm": ("slurm", "SLURM"),
    "pbs": ("pbs", "PBS"),
    "lsf": ("lsf", "LSF"),
    "sge": ("sge", "SGE"),
    "htcondor": ("htcondor", "HTCondor"),
    "oar": ("oar", "OAR"),
}
"""Where dask-jobqueue keeps the classes of a queue, and how their names begin."""

REPLACE_SECONDS: Final = 30.0
"""Jobs that have ended are replaced after at most this long."""

KILL_SECONDS: Final = 60
"""A run that was told to stop has so long to write its checkpoint."""

SCHEDULER_FILE: Final = "scheduler-$SLURM_JOB_ID.json"


def _class(site: Site, kind: str) -> Any:
    from importlib import import_module

    module, name = MODULES[site.scheduler]
    return getattr(import_module(f"dask_jobqueue.{module}"), f"{name}{kind}")


def _python(site: Site) -> str:
    return site.python or sys.executable


def _prologue(site: Site, prepare: str | None) -> list[str]:
    """Shell lines of every job: the site's own ones, variables, settings, kernels compiled once for all workers."""
    lines = [*site.prologue, *(f"export {name}={_quoted(value)}" for name, value in site.environment.items())]
    if site.scratch is not None:
        lines += [f"mkdir -p {_quoted(site.scratch)}", f"export NUMBA_CACHE_DIR={_quoted(f'{site.scratch}/numba')}"]
    lines += [*default_exports(), *exports()]
    if prepare is not None:
        lines.append(f"{shlex.quote(_python(site))} -m {prepare}")
    return lines


def _quoted(text: str) -> str:
    """Text for the shell in which variables still stand for their values."""
    return f'"{text}"' if "$" in text else shlex.quote(text)


def _options(site: Site, *, name: str, nodes: int = 1, prepare: str | None = None) -> dict[str, Any]:
    """Keyword arguments of a job of dask-jobqueue; everything is given, so that no settings file of Dask gets in."""
    queue = site.scheduler
    options: dict[str, Any] = {
        "cores": site.cores,
        "memory": site.memory,
        # Always set: the default is a guess from the number of cores.
        "processes": site.workers,
        "job_name": name,
        "python": shlex.quote(_python(site)),
        "interface": site.interface,
        "local_directory": site.scratch,
        "log_directory": str(site.log_folder),
        "death_timeout": str(site.wait),
        "job_script_prologue": _prologue(site, prepare),
        "job_extra_directives": list(site.directives),
        "job_directives_skip": [],
        "shebang": "#!/usr/bin/env bash",
        "worker_command": "distributed.cli.dask_worker",
        # Workers leave before the queue ends them, not all at once, and what they hold moves to others.
        "worker_extra_args": [
            "--lifetime", f"{site.lifetime}s", "--lifetime-stagger", f"{site.lifetime // 20}s", "--no-dashboard"
        ],
    }  # fmt: skip
    if queue == "htcondor":
        options["disk"] = site.disk
        options["job_extra_directives"] = dict(_condor(line) for line in site.directives) | {
            "MY.MaxRuntime": str(seconds(site.walltime))
        }
        if site.queue is not None or site.account is not None:
            options["job_extra_directives"] |= {
                key: f'"{value}"'
                for key, value in (("MY.Queue", site.queue), ("accounting_group", site.account))
                if value is not None
            }
        return options
    options |= {"queue": site.queue, "walltime": _walltime(site)}
    options["account" if queue in {"slurm", "pbs"} else "project"] = site.account
    if queue in {"pbs", "sge", "oar"}:
        options["resource_spec"] = site.resources
    if queue == "sge":
        options["resource_spec"] = site.resources or f"h_vmem={-(-site.bytes // site.cores // 2**20)}M"
        options["job_extra_directives"] = [f"-pe {site.parallel_environment} {site.cores}", *site.directives]
    if queue == "oar":
        options["memory_per_core_property_name"] = site.memory_property or "not_applicable"
    if queue == "slurm" and nodes > 1:
        options["job_directives_skip"] = ["-n 1"]
        options["job_extra_directives"] = [f"--nodes={nodes}", "--ntasks-per-node=1", *site.directives]
    return options


def _condor(line: str) -> tuple[str, str]:
    key, sign, value = line.partition("=")
    if not sign:
        raise ClusterError(f"directives: found {line!r}, expected name = value for htcondor, such as +Owner = me")
    return key.strip(), value.strip()


def _walltime(site: Site) -> str:
    """The walltime as the queue wants it: days count as hours, and LSF takes no seconds."""
    minutes, rest = divmod(seconds(site.walltime), 60)
    hours, minutes = divmod(minutes, 60)
    if site.scheduler == "lsf":
        return f"{hours:02d}:{minutes:02d}"
    return f"{hours:02d}:{minutes:02d}:{rest:02d}"


def worker_script(site: Site, prepare: str | None = None) -> str:
    """Script of a job of workers, with a place for the scheduler's address.

    Parameters
    ----------
    site : Site
    prepare : str, optional
        Python module that a job runs before its workers start.
    """
    options = _options(site, name="hetdask-workers", prepare=prepare)
    job = _class(site, "Job")("tcp://SCHEDULER:8786", name="hetdask-workers", security=security(site.tls), **options)
    return str(job.job_script())


def _run_job(site: Site, command: Sequence[str], folder: str, prepare: str | None) -> Job:
    """A job that runs a command of ours; the rest is as for workers."""
    options = _options(site, name="hetdask-run", nodes=site.nodes, prepare=prepare)
    lines = options["job_script_prologue"]
    job: Job = _class(site, "Job")(
        "", name="hetdask-run", **(options | {"job_script_prologue": [f"cd {shlex.quote(folder)}", *lines]})
    )
    # A job of dask-jobqueue starts a worker: this is the one place where another command takes its place.
    text = _run_command(site, command)
    worker = job._command_template
    job._command_template = "; ".join([*job._job_script_prologue, text]) if site.scheduler == "htcondor" else text
    if worker in job.job_script():
        raise ClusterError("this version of dask-jobqueue builds its scripts in another way: use version 0.9")
    return job


def _run_command(site: Site, command: Sequence[str]) -> str:
    """The shell command of a run: it is interrupted before the walltime, so that its checkpoint is complete."""
    python = _python(site)
    stop = ["timeout", "--signal=INT", "--preserve-status", f"--kill-after={KILL_SECONDS}", str(site.lifetime)]
    if site.nodes == 1:
        return shlex.join([*stop, python, "-m", "hetdask.cli.main", *command])
    listen = ["--interface", site.interface] if site.interface else []
    scheduler = [python, "-m", "distributed.cli.dask_scheduler", *listen, "--no-dashboard", "--dashboard-address", ":0"]
    worker = [
        "srun", f"--ntasks={site.nodes}", "--ntasks-per-node=1", f"--cpus-per-task={site.cores}",
        python, "-m", "distributed.cli.dask_worker", *listen, "--nworkers", str(site.workers),
        "--nthreads", str(site.threads), "--memory-limit", str(site.bytes // site.workers), "--no-dashboard",
    ]  # fmt: skip
    if site.scratch is not None:
        worker += ["--local-directory", site.scratch]
    file = f'--scheduler-file "{SCHEDULER_FILE}"'
    run = shlex.join([*stop, python, "-m", "hetdask.cli.main", *command])
    return "\n".join(
        [
            f"trap 'kill $(jobs -p); wait; rm -f \"{SCHEDULER_FILE}\"' EXIT",
            f"{shlex.join(scheduler)} {file} &",
            f"{shlex.join(worker)} {file} &",
            f'until [ -s "{SCHEDULER_FILE}" ]; do kill -0 %1 || exit 2; sleep 1; done',
            f'{run} --scheduler "{SCHEDULER_FILE}"',
        ]
    )


def run_script(site: Site, command: Sequence[str], folder: str, prepare: str | None = None) -> str:
    """Script of a job that runs a command of `hetdask` inside its allocation.

    Parameters
    ----------
    site : Site
    command : sequence of str
        Arguments of `hetdask`.
    folder : str
        Where it runs.
    prepare : str, optional
        Python module that the job runs first.
    """
    return str(_run_job(site, command, folder, prepare).job_script())


def submit(site: Site, command: Sequence[str], folder: str, prepare: str | None = None) -> str:
    """Send the job of `run_script` to the queue; returns its number.

    Raises
    ------
    ClusterError
        If the queue does not take it.
    """
    job = _run_job(site, command, folder, prepare)
    try:
        asyncio.run(job.start())
    except (RuntimeError, OSError, ValueError) as error:
        raise ClusterError(
            f"the queue {site.scheduler} did not take the job ({str(error).strip()}): check the site file, "
            "or look at the script with --dry-run"
        ) from error
    return str(job.job_id)


@contextmanager
def queue_client(
    site: Site, jobs: int, *, prepare: str | None = None, dashboard: str | None = None, host: str | None = None
) -> Iterator[Client]:
    """Client of a scheduler in this process whose workers are jobs, for a ``with`` block; the jobs end with it.

    Parameters
    ----------
    site : Site
    jobs : int
        To start and to wait for; those that end are replaced.
    prepare : str, optional
        Python module that a job runs before its workers start.
    dashboard : str, optional
        Address of the scheduler's dashboard.
    host : str, optional
        Address that the scheduler listens on; by default that of the site's interface.

    Raises
    ------
    ClusterError
        If the queue takes no jobs, they do not start in time, or run other versions.
    """
    from distributed import Client

    place = {"host": host} if host is not None else {"interface": site.interface}
    # Without an address the scheduler takes port 8787, dashboard or not: another run on this host may have it.
    options = {"dashboard_address": dashboard or ":0", "dashboard": dashboard is not None, **place}
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(dict(SETTINGS)))
        try:
            cluster = _class(site, "Cluster")(
                n_workers=0,
                scheduler_options=options,
                security=security(site.tls),
                **_options(site, name="hetdask-workers", prepare=prepare),
            )
            stack.enter_context(cluster)
            _keep(cluster, site, jobs)
            client = stack.enter_context(Client(cluster, set_as_default=False, timeout=START_SECONDS))
        except (RuntimeError, OSError, ValueError) as error:
            raise ClusterError(
                f"the queue {site.scheduler} gave no workers ({str(error).strip()}): check the site file, or look at "
                "the scripts with --dry-run"
            ) from error
        wait_for(client, jobs * site.workers, site.wait, f"in {jobs} jobs of the queue {site.scheduler}")
        check_versions(client)
        yield client


def _keep(cluster: Any, site: Site, jobs: int) -> None:
    """Ask for jobs: as many as the work needs, or always so many, those that reach their walltime replaced."""
    if site.adaptive is not None:
        cluster.adapt(minimum_jobs=max(jobs, site.adaptive.minimum), maximum_jobs=max(jobs, site.adaptive.maximum))
        return
    from tornado.ioloop import PeriodicCallback

    cluster.scale(jobs=jobs)
    again = PeriodicCallback(lambda: cluster.scale(jobs=jobs), 1000 * REPLACE_SECONDS)
    cluster.periodic_callbacks["replace-jobs"] = again
    cluster.loop.add_callback(again.start)
