"""`hetdask fit`: from a configuration to a run folder."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from hetdask.cli.options import compute_overrides, fit_options, plot_options
from hetdask.cli.plot import plot_data, take_request
from hetdask.cli.runs import in_folder_of_its_own, is_of_other_package

if TYPE_CHECKING:
    from hetdask.cli.progress import LiveProgress, PlainProgress
    from hetdask.config import Settings
    from hetdask.data.store import Store
    from hetdask.results import Result
    from hetdask.results.helper import ReportProcess
    from hetdask_cluster.runner import Runner

NOT_CONVERGED: Final = 3
INTERRUPTED: Final = 130


@click.command("fit")
@click.argument("config", type=click.Path())
@fit_options
@plot_options
def command(config: str, **options: Any) -> int:
    """Fit the data that CONFIG names, at full resolution.

    CONFIG is YAML or JSON (`hetdask config new` writes one), or the JSON of the package heterodyne-analysis.
    The exit status is 0 if the fit converged, 3 if it did not, 2 for wrong input, 130 if it was interrupted.
    """
    request = take_request(options)
    return fit(config, **options) if request is None else plot_data(config, request, options)


def fit(
    config: str,
    *,
    dry_run: bool,
    resume: bool,
    overwrite: bool,
    quiet: bool,
    verbose: bool,
    performance_report: Path | None,
    **options: Any,
) -> int:
    """Run a fit and show its result; the exit status. The other options are those of `settings_of`."""
    from hetdask.cli.compute import placed, show_plan

    if quiet and verbose:
        raise click.UsageError("--quiet and --verbose exclude each other: leave one out")
    settings = settings_of(config, **options)
    if not overwrite and is_of_other_package(config):
        settings = in_folder_of_its_own(settings, resume=resume, quiet=quiet)
    settings = placed(settings, workers=performance_report is not None)
    if dry_run:
        show_plan(settings)
        return 0
    result = run_settings(
        settings, resume=resume, overwrite=overwrite, quiet=quiet, verbose=verbose, performance=performance_report
    )

    from hetdask.results.summary import print_summary, summary

    print_summary(summary(result))
    click.echo(f"\nrun folder: {settings.output.folder}")
    return exit_status(result)


def settings_of(
    config: str,
    *,
    method: str | None,
    output: str | None,
    scheduler: str | None,
    site: str | None,
    workers: int | None,
    memory_limit: str | None,
    start: str | None,
    weights: str | None,
    bootstrap: int | None,
    profile: str | None,
    seed: int | None,
    assignments: tuple[str, ...],
    no_plots: bool,
) -> Settings:
    """Settings of a configuration file, changed by the options of the command line."""
    from hetdask.config import load_settings
    from hetdask.config.load import parse_assignment

    overrides = [parse_assignment(text) for text in assignments]
    options = {
        "fit.method": method,
        "fit.start": start,
        "fit.weights": weights,
        "fit.bootstrap": bootstrap,
        "fit.profile": profile,
        "fit.seed": seed,
        "output.folder": output,
        "output.plots": False if no_plots else None,
    }
    overrides += [(key, value) for key, value in options.items() if value is not None]
    overrides += compute_overrides(scheduler, site, workers, memory_limit)
    return load_settings(config, overrides)


def run_settings(
    settings: Settings,
    *,
    resume: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
    verbose: bool = False,
    performance: Path | None = None,
) -> Result:
    """Ingest, fit and write the run folder.

    Parameters
    ----------
    settings : Settings
    resume : bool
        Go on from the checkpoint in the run folder.
    overwrite : bool
        Replace an earlier run.
    quiet : bool
        Show no progress.
    verbose : bool
        Show each step and evaluation on a line of its own.
    performance : Path, optional
        Where to write Dask's report of what the workers did.

    Raises
    ------
    HetdaskError
        If anything about the input is wrong, or workers are lost.
    """
    from hetdask.analysis import analyse, show
    from hetdask.cli.compute import open_compute, plan_settings
    from hetdask.cli.log import run_log
    from hetdask.cli.progress import show_progress
    from hetdask.results.dashboard.serve import attach
    from hetdask.results.files import prepare_run_folder
    from hetdask_cluster.pages import keep_few_file_pages, share_one_heap

    share_one_heap()
    keep_few_file_pages()
    plan_settings(settings).require()
    folder = prepare_run_folder(settings.output.folder, overwrite=overwrite, resume=resume)
    with (
        _report_process(settings) as helper,
        run_log(folder) as log,
        show_progress(quiet=quiet, verbose=verbose) as progress,
    ):
        try:
            with ExitStack() as stack:
                runner = stack.enter_context(open_compute(settings.compute, say=progress.say))
                for line in describe_runner(runner):
                    progress.say(line)
                if (page := attach(runner, folder)) is not None:
                    progress.say(f"this run:  {page}")
                if performance is not None:
                    stack.enter_context(runner.performance_report(performance))
                store = open_store(settings, folder, runner, progress, resume=resume, overwrite=overwrite)
                result = analyse(store, settings, runner, folder=folder, resume=resume, progress=progress)
            # Workers are gone: what drawing takes comes after what they took.
            show(result, settings, folder, progress, helper)
        except KeyboardInterrupt:
            log.warning("interrupted")
            progress.say(f"interrupted: go on with --resume -o {settings.output.folder}")
            raise
    return result


def _report_process(settings: Settings) -> AbstractContextManager[ReportProcess | None]:
    """A second process for what follows a small fit and takes longer; beside large ones it would take memory."""
    if settings.compute.scheduler != "inline" or not settings.output.plots:
        return nullcontext()
    from hetdask.results.helper import ReportProcess
    from hetdask_cluster.local import available_cores

    try:
        return ReportProcess() if available_cores() > 1 else nullcontext()
    except OSError:  # no room for another process: the report is rendered in this one
        return nullcontext()


def open_store(
    settings: Settings,
    folder: Path,
    runner: Runner,
    progress: PlainProgress | LiveProgress,
    *,
    resume: bool,
    overwrite: bool,
) -> Store:
    """Store to fit: the one that is there, if it was made from what the settings ask for, or a new one."""
    from hetdask.cli.reuse import differences
    from hetdask.data.store import Store
    from hetdask.errors import DataError
    from hetdask.options import DATA_FOLDER, open_data
    from hetdask_cluster.pages import keep_few_file_pages

    data = settings.data
    own = data.store is None
    path = data.store or folder / DATA_FOLDER
    if data.source is not None and path.exists() and (resume or not own):
        store = Store.open(path)
        found = differences(store, data)
        if not found:
            progress.say(f"store {path}: made from the same source and selection, used again")
            return store
        if resume or not overwrite:
            raise DataError(
                f"the store {path} was made from something else:\n  " + "\n  ".join(found) + "\nreplace it with "
                "--overwrite, or name another one in data.store, for example store: data/other.zarr"
            )
    if data.source is not None:
        progress.stage("ingest")
        keep_few_file_pages()
    return open_data(
        settings,
        folder=folder,
        runner=runner,
        overwrite=own or overwrite,
        progress=progress,
    )


def describe_runner(runner: Runner) -> list[str]:
    """Where a run computes, and within which memory."""
    from hetdask_cluster.memory import format_bytes

    lines = [f"{runner.n_workers} workers" if runner.n_workers > 1 else "1 worker"]
    if runner.plan is not None:
        each = f" of at most {format_bytes(runner.plan.per_worker)}" if runner.plan.workers else ""
        lines[0] += f"{each} within a budget of {format_bytes(runner.plan.budget)}"
    if runner.dashboard is not None:
        lines.append(f"dashboard: {runner.dashboard}")
    return lines


def exit_status(result: Result) -> int:
    """Exit status that tells how a fit ended."""
    return {"converged": 0, "interrupted": INTERRUPTED}.get(result.status, NOT_CONVERGED)


def report_of(folder: Path) -> Path:
    """The report of a run."""
    from hetdask.results.report import REPORT_FILE

    return folder / REPORT_FILE
