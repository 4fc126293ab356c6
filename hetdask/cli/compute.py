"""Where a run computes: the plan that is shown and checked before anything starts, and the runner."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hetdask.config import ComputeSettings, Settings
    from hetdask.passes.plan import FitPlan
    from hetdask_cluster.memory import MemoryPlan
    from hetdask_cluster.runner import Runner
    from hetdask_cluster.site import Site


def site_of(compute: ComputeSettings) -> Site | None:
    """The site that the settings name."""
    from hetdask.config import load_site

    return None if compute.site is None else load_site(compute.site)


def open_compute(
    compute: ComputeSettings, *, prepare: bool = True, say: Callable[[str], None] | None = None
) -> AbstractContextManager[Runner]:
    """Runner that the settings ask for, for a ``with`` block; `prepare` compiles kernels before tasks run.

    Kernels that are there already need no process to find that out, unless workers run on other machines. Where they
    are not, `say` is told what takes so long.
    """
    from hetdask.compilation import KERNELS, preparation
    from hetdask_cluster.local import open_runner

    module, where = None, _where(compute)
    if prepare:
        here = where["scheduler"] in {"inline", "local"}
        module = preparation() if here else KERNELS
        if here and module is not None and say is not None:
            say("compiling for this machine, which is done once …")
    return open_runner(
        **where,
        dashboard=compute.dashboard,
        host=compute.host,
        tls=compute.tls,
        prepare=module,
    )


def _where(compute: ComputeSettings) -> dict[str, Any]:
    """Arguments of a runner; a site names its scheduler where the settings do not."""
    site = site_of(compute)
    return {
        "scheduler": compute.scheduler or ("local" if site is None else site.scheduler),
        "workers": compute.workers,
        "threads_per_worker": compute.threads,
        "memory_limit": compute.memory_limit,
        "site": site,
    }


def placed(settings: Settings, *, workers: bool = False) -> Settings:
    """Settings of a fit that name a scheduler, or a site that does: where they named none, the one that suits the data.

    This process does for a fit of little data from start values, which is over before workers would have started.

    Parameters
    ----------
    settings : Settings
    workers : bool
        Whether there must be workers.

    Raises
    ------
    HetdaskError
        If the data are not there.
    """
    from hetdask.passes.plan import is_little

    compute, fit = settings.compute, settings.fit
    if compute.scheduler is not None or compute.site is not None:
        return settings
    few_passes = settings.start() in {"given", "checked"} and fit.methods() == ["trust-region"] and not fit.refits
    here = few_passes and not workers and compute.workers is None and is_little(plan_data(settings, None).tiling)
    named = compute.model_copy(update={"scheduler": "inline" if here else "local"})
    return settings.model_copy(update={"compute": named})


def plan_settings(settings: Settings) -> FitPlan:
    """What a fit needs, from its settings and the head of its data file; nothing is started.

    Raises
    ------
    HetdaskError
        If the data are not there, or the workers make no sense.
    """
    from hetdask_cluster.local import plan_run

    return plan_data(settings, plan_run(**_where(settings.compute)))


def plan_data(settings: Settings, memory: MemoryPlan | None) -> FitPlan:
    """The same within a memory plan that is known already."""
    from hetdask.data.ingest import task_bytes
    from hetdask.data.opening import open_selection
    from hetdask.data.store import Store
    from hetdask.data.tiling import Tiling, choose_shard_bytes
    from hetdask.options import refit_task, selection_options, store_of
    from hetdask.passes.plan import FitPlan

    data, limit = settings.data, settings.compute.resident_limit
    if data.source is None:
        tiling = Store.open(store_of(data)).tiling
        return FitPlan(tiling, memory, refits=refit_task(settings, tiling, memory), limit=limit)
    with warnings.catch_warnings():
        # What there is to warn of is said when the file is read.
        warnings.simplefilter("ignore")
        source, selection = open_selection(data.source, **selection_options(data))
    count, frames = len(selection.entries), selection.n_frames
    size = choose_shard_bytes(count, frames, None if memory is None else memory.task_room)
    tiling = Tiling.plan(count, frames, shard_bytes=size)
    return FitPlan(tiling, memory, task_bytes(source, selection), refit_task(settings, tiling, memory), limit)


def describe_plan(plan: FitPlan, compute: ComputeSettings) -> Iterator[tuple[str, str]]:
    """Rows of the table that `hetdask fit --dry-run` shows."""
    from hetdask_cluster.memory import format_bytes

    tiling, memory = plan.tiling, plan.memory
    count, shards = tiling.n_phi, len(plan.shards())
    yield "data", f"{count} maps of {tiling.n_frames} × {tiling.n_frames} frames, {tiling.n_pixels:,} pixels"
    named = _where(compute)["scheduler"]
    yield "scheduler", named if compute.site is None else f"{named}, {compute.site}"
    if memory is None:
        yield "workers", "those of the running scheduler"
    else:
        yield "workers", f"{memory.workers or 'none: tasks run in this process'}"
        yield "threads per worker", str(memory.threads)
        yield "memory budget", format_bytes(memory.budget)
        yield "client", format_bytes(memory.client)
        yield "limit per worker", format_bytes(memory.per_worker)
    yield "shards", f"{shards} of at most {format_bytes(plan.shard)}"
    kept = plan.resident
    residency = "all stay in memory" if kept == shards else f"{kept} stay in memory, {shards - kept} are read each pass"
    yield "residency", residency
    if plan.reading:
        yield "reading a map", format_bytes(plan.reading)
    if plan.refits:
        yield "a refit", format_bytes(plan.refits)
    if plan.projected is not None and plan.projected_worker is not None:
        yield "projected peak per worker", format_bytes(plan.projected_worker)
        yield "projected peak of the run", format_bytes(plan.projected)


def show_plan(settings: Settings) -> None:
    """Print the plan of a fit, and the script of its jobs where it has any.

    Raises
    ------
    HetdaskError
        If the fit does not fit, after the plan is printed.
    """
    import click

    compute = settings.compute
    plan = plan_settings(settings)
    rows = list(describe_plan(plan, compute))
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        click.echo(f"{name:<{width}}  {value}")
    site = site_of(compute)
    if site is not None:
        from hetdask.compilation import KERNELS
        from hetdask_cluster.queues import worker_script

        click.echo(f"\nscript of each of {site.jobs_for(compute.workers)} jobs:\n")
        click.echo(worker_script(site, KERNELS))
    plan.require()
