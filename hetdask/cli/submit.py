"""`hetdask submit`: a whole fit as one job of a queue."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hetdask.cli.options import fit_options

if TYPE_CHECKING:
    from hetdask_cluster.memory import MemoryPlan
    from hetdask_cluster.site import Site

OWN: tuple[str, ...] = ("scheduler", "site", "workers", "memory_limit", "dry_run", "quiet", "verbose")
"""Options that the job gets from its allocation, or that are for this command."""


@click.command("submit")
@click.argument("config", type=click.Path())
@fit_options
@click.pass_context
def command(context: click.Context, /, config: str, **options: Any) -> int:
    """Send the fit of CONFIG to a job queue: scheduler, client and workers run inside one job of the site.

    The options are those of `hetdask fit`. The job stops a little before its walltime with a checkpoint, and the same
    command with --resume goes on. --dry-run prints the script instead of sending it.
    """
    from hetdask.cli.compute import plan_data
    from hetdask.compilation import KERNELS
    from hetdask.config import load_settings, load_site
    from hetdask.config.load import parse_assignment
    from hetdask_cluster.memory import format_bytes
    from hetdask_cluster.queues import run_script, submit
    from hetdask_cluster.site import QUEUES

    if options["site"] is None:
        raise click.UsageError("Missing option '--site': for example --site configs/sites/slurm.yaml")
    site = load_site(options["site"])
    if options["scheduler"] not in {None, site.scheduler}:
        raise click.UsageError(
            f"--scheduler {options['scheduler']} and a site file for {site.scheduler}: leave out --scheduler "
            f"(job queues are {', '.join(QUEUES)})"
        )
    overrides = [parse_assignment(text) for text in options["assignments"]]
    memory = plan_in_job(site, options["workers"], options["memory_limit"])
    plan_data(load_settings(config, overrides), memory).require()
    arguments = [*_fit_arguments(context, config), "--verbose" if options["verbose"] else "--quiet"]
    if site.nodes == 1:
        arguments += ["--scheduler", "local", "--workers", str(memory.workers)]
        arguments += ["--memory-limit", f"{memory.budget // 2**20}MiB"]
    else:
        arguments += ["--workers", str(memory.workers)]
    if options["dry_run"]:
        click.echo(run_script(site, arguments, os.getcwd(), KERNELS))  # noqa: PTH109 (what the shell calls it)
        return 0
    Path(site.log_folder).mkdir(parents=True, exist_ok=True)
    number = submit(site, arguments, os.getcwd(), KERNELS)  # noqa: PTH109
    click.echo(
        f"job {number} of {site.scheduler}: {memory.workers} workers of at most {format_bytes(memory.per_worker)}; "
        f"what it says is in {site.log_folder}"
    )
    return 0


def plan_in_job(site: Site, workers: int | None, memory_limit: str | None) -> MemoryPlan:
    """Memory plan of a run inside one job of a site.

    Raises
    ------
    ClusterError
        If it does not fit.
    """
    from hetdask_cluster.memory import plan_cluster, plan_memory

    if site.nodes > 1:
        return plan_cluster(memory_limit, site.limits(site.nodes), site.threads)
    return plan_memory(memory_limit, workers or site.workers, threads=site.threads, total=site.bytes)


def _fit_arguments(context: click.Context, config: str) -> list[str]:
    """The options of this command that were given, as arguments of `hetdask fit`."""
    found = ["fit", str(Path(config).absolute())]
    for parameter in context.command.params:
        name = parameter.name or ""
        value = context.params.get(name)
        if not isinstance(parameter, click.Option) or name in OWN or value is None:
            continue
        flag = next(name for name in parameter.opts if name.startswith("--"))
        if parameter.is_flag:
            found += [flag] if value else []
        elif parameter.multiple:
            found += [part for entry in value for part in (flag, str(entry))]
        else:
            found += [flag, str(value)]
    return found
