"""The whole way from settings to a result: ingest, fit, files.

The command line and `hetdask.fit` both go through here.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from hetdask.compilation import explained, preparation
from hetdask.config import Settings, load_settings
from hetdask.data.store import Store
from hetdask.errors import DataError
from hetdask.fitting import Problem, Refinement, TrustRegion, best_of, fit_store
from hetdask.fitting.bootstrap import bootstrap
from hetdask.fitting.cold_start import find_start, leads_to_noise, near_fit, reduced_passes, settle
from hetdask.fitting.deviations import deviations_of
from hetdask.fitting.goodness import goodness_of
from hetdask.fitting.profile import profile
from hetdask.fitting.reduced import looks_at_pixels
from hetdask.fitting.refits import prepare_refits
from hetdask.fitting.uncertainty import uncertainty_of
from hetdask.fitting.weighted import weigh, with_promise
from hetdask.learn.history import append, record_of
from hetdask.model.parameters import NAMES
from hetdask.options import block_means_of, levels_of, methods_of, problem_of, refit_task
from hetdask.passes.plan import FitPlan, is_little
from hetdask.passes.reduced import ReducedPasses
from hetdask.passes.run import Passes
from hetdask.results import Result
from hetdask.results.build import learned_summary, memory_of, search_summary
from hetdask.results.dashboard.serve import attach
from hetdask.results.files import prepare_run_folder, refresh_report, write_run
from hetdask.results.intervals import bootstrap_result, no_bootstrap, no_profiles, profiles_result
from hetdask.results.live import LiveRun, Progress, Silent
from hetdask.results.result import RunFacts
from hetdask.results.weighting import weighting_result
from hetdask.stack import roomy
from hetdask_cluster.local import open_runner, run_preparation
from hetdask_cluster.pages import keep_few_file_pages
from hetdask_cluster.runner import Runner, as_runner
from hetdask_cluster.threads import limited_threads

if TYPE_CHECKING:
    from distributed import Client
    from numpy.typing import NDArray

    from hetdask.fitting.search import SearchResult
    from hetdask.results.helper import ReportProcess


@dataclass(slots=True)
class _Stages:
    """Stages of an analysis, announced and timed; each begins with few pages of program files in memory."""

    progress: Progress
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        self.progress.stage(name)
        start = time.perf_counter()
        keep_few_file_pages()
        try:
            yield
        finally:
            self.seconds[name] = time.perf_counter() - start


@contextmanager
def _runner(client: Client | Runner | None, store: Store, settings: Settings) -> Iterator[Runner]:
    """Where to fit: on what was given, else in this process for little data and on a local cluster for more."""
    if client is not None or is_little(store.tiling):
        if client is None:
            run_preparation(preparation())
        yield as_runner(client)
        return
    compute = settings.compute
    with open_runner(
        "local",
        compute.workers,
        threads_per_worker=compute.threads,
        memory_limit=compute.memory_limit,
        tasks=len(store.shards()),
        prepare=preparation(),
    ) as runner:
        yield runner


@explained()
@roomy
def fit(
    store: Store | str | Path,
    config: Settings | Mapping[str, Any] | str | Path,
    *,
    client: Client | Runner | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    resident_bytes: int | None = None,
    progress: Progress | None = None,
    timings: Mapping[str, float] | None = None,
) -> Result:
    """Fit a store.

    Parameters
    ----------
    store : Store or path
        What `hetdask.ingest` made.
    config : Settings, mapping or path
        Start values, bounds and options; its `data` section is not used.
    client : distributed.Client, optional
        Where to compute. By default small data (64 MiB) are fitted in this process, larger ones on a local cluster
        that is closed again; a script that may come to that needs the usual ``if __name__ == "__main__":``.
    folder : path, optional
        Run folder: history and checkpoints while fitting, result, plots and report after. None writes nothing.
    resume : bool
        Go on from the checkpoints in `folder`.
    overwrite : bool
        Replace an earlier run in `folder`.
    resident_bytes : int, optional
        Data that the workers may keep in memory between passes; by default what the memory plan allows.
    progress : Progress, optional
    timings : mapping of str to float, optional
        Seconds of earlier stages, to be recorded with the result.

    Returns
    -------
    Result
        `result.status` says whether the fit converged.

    Raises
    ------
    ConfigError, DataError, ClusterError, KernelError
    """
    settings = load_settings(config)
    if not isinstance(store, Store):
        store = Store.open(store)
    run = None if folder is None else prepare_run_folder(folder, overwrite=overwrite, resume=resume)
    with _runner(client, store, settings) as runner:
        if run is not None:
            attach(runner, run)
        result = analyse(
            store,
            settings,
            runner,
            folder=run,
            resume=resume,
            resident_bytes=resident_bytes,
            progress=progress,
            timings=timings,
        )
    if run is not None:
        show(result, settings, run, progress)
    return result


def show(
    result: Result,
    settings: Settings,
    folder: Path,
    progress: Progress | None = None,
    helper: ReportProcess | None = None,
) -> None:
    """Draw the figures and write the report of a run, once its workers have gone: both need memory."""
    (progress or Silent()).stage("report")
    keep_few_file_pages()
    refresh_report(result, folder, plots=settings.output.plots, helper=helper)


def analyse(
    store: Store,
    settings: Settings,
    runner: Runner,
    *,
    folder: Path | None = None,
    resume: bool = False,
    resident_bytes: int | None = None,
    progress: Progress | None = None,
    timings: Mapping[str, float] | None = None,
) -> Result:
    """Fit a store on a runner, into a run folder from `prepare_run_folder`, without its report; else as `fit`."""
    plan = FitPlan(
        store.tiling,
        runner.plan,
        refits=refit_task(settings, store.tiling, runner.plan),
        limit=settings.compute.resident_limit,
    )
    plan.require()
    with limited_threads(), LiveRun(folder, progress or Silent(), runner, plan) as live:
        return _analyse(store, settings, runner, plan, live, folder, resume, resident_bytes, timings or {})


def _analyse(
    store: Store,
    settings: Settings,
    runner: Runner,
    plan: FitPlan,
    progress: LiveRun,
    folder: Path | None,
    resume: bool,
    resident_bytes: int | None,
    timings: Mapping[str, float],
) -> Result:
    stages = _Stages(progress)
    best, reduced, facts = _fitted(store, settings, runner, plan, progress, stages, folder, resume, resident_bytes)
    # Data that stayed in memory are gone: writing needs the room.
    seconds = {**timings, **stages.seconds}
    seconds["total"] = sum(value for name, value in seconds.items() if name != "total")
    facts["timings"] = seconds
    facts["memory"] = memory_of(runner, plan)
    facts["cluster"] = runner.describe()
    if folder is None:
        result = Result.from_refinement(best, store, **facts)
    else:
        with stages("results"):
            result = write_run(folder, best, store, config=settings.resolved(), report=False, runner=runner, **facts)
    progress.end(result.status, best.values)
    if result.status == "converged" and settings.fit.remember:
        _remember(best, store, reduced)
    return result


def _fitted(
    store: Store,
    settings: Settings,
    runner: Runner,
    plan: FitPlan,
    progress: LiveRun,
    stages: _Stages,
    folder: Path | None,
    resume: bool,
    resident_bytes: int | None,
) -> tuple[Refinement, ReducedPasses, RunFacts]:
    """The fit that counts, block means of the data, and what there is to record."""
    problem = problem_of(settings, store)
    found = prediction = None
    with stages("reduce"):
        reduced = reduced_passes(store, runner)
        progress.show(reduced)
    if settings.start() == "learned":
        from hetdask.learn.start import learned_starts  # with scikit-learn, which nothing else needs

        with stages("learn"):
            prediction = learned_starts(
                reduced.series, reduced.reduced, problem, runner=runner, on_step=progress.advance
            )
    if settings.start() != "given":
        given = None if prediction is None or prediction.outside else prediction.starts
        with stages("search"):
            found, problem = _search(reduced, problem, runner, settings, given, progress)
    methods = methods_of(settings)
    with stages("load"):
        data = block_means_of(settings, store, reduced, runner)
        if data is not None and not any(map(looks_at_pixels, methods)):
            resident_bytes = 0  # one pass, to compare
        resident_bytes = plan.resident_bytes if resident_bytes is None else resident_bytes
        passes = Passes(store, runner, resident_bytes=resident_bytes, numba=settings.compute.numba)
    with stages("refine"):
        tried = fit_store(
            passes,
            problem,
            methods,
            rounds=settings.fit.rounds,
            reduced=data,
            folder=folder,
            resume=resume,
            on_entry=progress.evaluation,
        )
        best = best_of(tried)
    facts: RunFacts = {"method": settings.fit.method, "tried": tried, "seed": settings.fit.seed}
    with stages("noise"):
        if found is not None:
            region = TrustRegion(tolerance=settings.fit.tolerance)

            def refit(start: Problem) -> Refinement:
                return fit_store(passes, start, [region], rounds=settings.fit.rounds, reduced=data)[0]

            # Optima are compared by χ², which a robust method does not minimise.
            lowest = refit(replace(problem, start=best.values)) if best.robust else best
            winner, rivals, near = settle(passes, reduced, problem, lowest, found, runner, refit)
            if not best.robust:
                best = winner
            elif winner is not lowest:
                method = next(one for one in methods if one.name == best.method)
                again = replace(problem, start=winner.values)
                best = fit_store(passes, again, [method], rounds=settings.fit.rounds, reduced=data)[0]
            facts["search"] = search_summary(found, rivals, doubted=settings.start() == "checked")
            if prediction is not None:
                facts["learned"] = learned_summary(prediction, found)
        else:
            near = near_fit(reduced, problem, best)
        noise = facts["noise"] = None if near is None else near.noise
    with stages("errors"):
        fitted = passes if data is None or best.retained_information is None else data
        uncertainty = uncertainty_of(fitted, best, noise, runner, seed=settings.fit.seed)
        other = settings.fit.weights != "plain" or best.robust
        facts["uncertainty"] = with_promise(uncertainty, None if other else near, problem.free, reduced.series)
    facts["goodness"] = None if near is None else goodness_of(best, near.noise, near.structure)
    best = _weighted(passes, reduced, problem, best, facts, settings, stages)
    with stages("residuals"):
        facts["levels"] = levels_of(settings)
        facts["deviations"] = deviations_of(passes, best)
    if settings.fit.refits:
        _refit(store, passes, data, problem, best, facts, settings, runner, stages)
    return best, reduced, facts


def _search(
    reduced: ReducedPasses,
    problem: Problem,
    runner: Runner,
    settings: Settings,
    given: NDArray[np.float64] | None,
    progress: Progress,
) -> tuple[SearchResult | None, Problem]:
    """The problem with start values that were searched for; as it is where those given are checked and are good."""
    if settings.start() == "checked":
        if leads_to_noise(reduced, problem):
            return None, problem
        progress.advance(1, 1, "start values that lead to no optimum at the noise level, so a search follows")
        given = problem.start[None]
    found = find_start(reduced, problem, runner, seed=settings.fit.seed, given=given, on_round=progress.advance)
    return found, replace(problem, start=np.clip(found.best.vector, problem.lower, problem.upper))


def _weighted(
    passes: Passes,
    reduced: ReducedPasses,
    problem: Problem,
    best: Refinement,
    facts: RunFacts,
    settings: Settings,
    stages: _Stages,
) -> Refinement:
    """Weighted fit where it is asked for and the noise allows it, else the given one; the facts say which, and why."""
    if settings.fit.weights == "plain":
        return best
    plain = facts["uncertainty"]
    with stages("weigh"):
        found = weigh(reduced, passes, problem, best, plain, facts["noise"])
    facts["weighting"] = weighting_result(found, best, plain)
    if isinstance(found, str):
        return best
    facts["uncertainty"], facts["noise"] = found.uncertainty, found.noise
    facts["goodness"] = goodness_of(found.fit, found.noise, found.structure)
    return found.fit


def _refit(
    store: Store,
    passes: Passes,
    data: ReducedPasses | None,
    problem: Problem,
    best: Refinement,
    facts: RunFacts,
    settings: Settings,
    runner: Runner,
    stages: _Stages,
) -> None:
    """Enter the outcome of bootstrap and profiles, or why there is none, into the facts."""
    options, noise, uncertainty = settings.fit, facts["noise"], facts["uncertainty"]
    reason = "no classical fit converged" if best.status != "converged" or best.robust else None
    fitted = None if best.retained_information is None else data
    refits = None if reason else prepare_refits(store, passes, problem, best, runner, fitted)
    if options.bootstrap:
        if refits is None or noise is None:
            facts["bootstrap"] = no_bootstrap(reason or "the noise could not be told from the residuals")
        else:
            with stages("bootstrap"):
                count, on_done = options.bootstrap, stages.progress.advance
                found = bootstrap(refits, best, noise, runner, count=count, seed=options.seed, on_done=on_done)
            facts["bootstrap"] = bootstrap_result(found, best, uncertainty)
            facts["refitted"] = np.array([refits.problem.vector(x) for x in found.estimates]).reshape(-1, len(NAMES))
    if options.profile:
        if refits is None:
            facts["profiles"] = no_profiles(reason or "")
        else:
            with stages("profile"):
                profiles = profile(refits, uncertainty, options.profile, runner, on_done=stages.progress.advance)
            facts["profiles"] = profiles_result(profiles, refits, uncertainty, stages.seconds["profile"])


def _remember(best: Refinement, store: Store, reduced: ReducedPasses) -> None:
    """Add a fit to the user's history; a fit does not fail because that can't be written."""
    source = Path(str(store.provenance.get("source") or store.path)).name
    content = crc32(b"".join(x.tobytes() for x in (store.tile_checksum, store.phi, store.q, store.time)))
    try:
        append([record_of(f"{source}#{content:08x}", best.values, reduced.series, reduced.reduced)])
    except DataError as error:
        warnings.warn(f"this fit is not remembered: {error}", stacklevel=2)
