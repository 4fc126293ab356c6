"""What settings stand for: the store, the problem, what is fitted by which methods, and when a fit is good."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hetdask.config import DataSettings, Settings
from hetdask.data.ingest import ingest
from hetdask.data.reduction import level_to_fit, reduce_store
from hetdask.data.selection import Q_TOLERANCE
from hetdask.data.store import Store
from hetdask.data.tiling import Tiling
from hetdask.errors import ConfigError
from hetdask.fitting import (
    Ellipsoidal,
    Huber,
    Method,
    NelderMead,
    Problem,
    Scenario,
    StudentT,
    TrustRegion,
    Wasserstein,
    integrable_bounds,
)
from hetdask.fitting.quality import QualityLevels
from hetdask.fitting.refits import refit_bytes
from hetdask.passes.chi_squared import noise_levels
from hetdask.passes.reduced import ReducedPasses
from hetdask.results.live import Progress
from hetdask_cluster.runner import Runner

if TYPE_CHECKING:
    from hetdask_cluster.memory import MemoryPlan

DATA_FOLDER: Final = "data.zarr"
"""Name of the store in a run folder, where the settings give a source and no store."""


def store_of(data: DataSettings) -> Path:
    """Store that the settings name where they name no source.

    Raises
    ------
    ConfigError
        If they name neither.
    """
    if data.store is None:
        raise ConfigError(
            "the settings name no data: give data.source (a beamline file) or data.store (a store that "
            "`hetdask ingest` wrote), for example source: scan_0001.hdf"
        )
    return data.store


def selection_options(data: DataSettings) -> dict[str, Any]:
    """What of the source the settings ask for, as `ingest` and `open_selection` take it."""
    return {
        "layout": data.layout,
        "key": data.key,
        "q": data.q,
        "q_tolerance": Q_TOLERANCE if data.q_tolerance is None else data.q_tolerance,
        "frames": data.frames,
        "angles": data.angles,
        "angle_fallback": data.angle_fallback,
        "phi": data.phi,
        "dt": data.dt,
        "asymmetry": data.asymmetry,
    }


def open_data(
    settings: Settings,
    *,
    folder: Path,
    runner: Runner,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Store:
    """Store that the settings name, ingested first where they name a source.

    Parameters
    ----------
    settings : Settings
    folder : Path
        Run folder; the store goes there unless `data.store` says otherwise.
    runner : Runner
    overwrite : bool
        Ingest again where the store exists already.
    progress : Progress, optional

    Raises
    ------
    ConfigError
        If the settings name neither source nor store.
    DataError
        If the source or the store can't be read, or the store was made from something else.
    """
    data = settings.data
    if data.source is None:
        return Store.open(store_of(data))
    return ingest(
        data.source,
        data.store or folder / DATA_FOLDER,
        **selection_options(data),
        time_origin=data.time_origin,
        overwrite=overwrite,
        runner=runner,
        progress=None if progress is None else progress.advance,
    )


def problem_of(settings: Settings, store: Store) -> Problem:
    """What to fit: start values, bounds and free parameters from the settings, noise from the store.

    Raises
    ------
    ConfigError
        If an exponent that starts at or below -1 meets a time axis that begins at 0, or the noise is not positive.
    """
    table = settings.parameter_table()
    start = np.array([row.value for row in table])
    upper = np.array([row.max for row in table])
    lower = integrable_bounds(np.array([row.min for row in table]), store.time_origin)
    for row, bound in zip(table, lower, strict=True):
        if row.min <= row.value < bound:
            raise ConfigError(
                f"{row.name} = {row.value:g} makes the integral diverge at t = 0: choose a value above -1, or "
                f"time_origin > 0, for example time_origin: {store.dt:g} (one frame time)"
            )
    free = tuple(k for k, row in enumerate(table) if not row.fixed)
    return Problem(start, lower, upper, free, noise_levels(store, settings.fit.sigma))


def levels_of(settings: Settings) -> QualityLevels:
    """When the settings call a fit good."""
    quality, angles = settings.quality, settings.quality.per_angle
    return QualityLevels(
        significance=quality.significance,
        overall=quality.overall.limits(),
        per_angle=angles.limits(),
        outlier_multiplier=angles.outlier_multiplier,
        max_outlier_fraction=angles.max_outlier_fraction,
        min_good_angles=angles.min_good_angles,
    )


def methods_of(settings: Settings) -> list[Method]:
    """Methods that the settings ask for, with their options."""
    options, simplex, scenario = settings.fit, settings.fit.nelder_mead, settings.fit.scenario
    ellipsoid, wasserstein = options.ellipsoidal, options.wasserstein
    limits = (options.max_evaluations, options.tolerance)
    methods: tuple[Method, ...] = (
        TrustRegion(*limits),
        NelderMead(simplex.max_evaluations, simplex.tolerance, simplex.adaptive),
        Huber(options.huber.threshold, *limits),
        StudentT(options.student_t.degrees_of_freedom, *limits),
        Ellipsoidal(ellipsoid.radius, ellipsoid.alpha, ellipsoid.beta, *limits),
        Wasserstein(wasserstein.radius, wasserstein.alpha, wasserstein.beta, *limits),
        Scenario(scenario.scenarios, scenario.segments, options.seed, scenario.alpha, scenario.beta, *limits),
    )
    by_name = {method.name: method for method in methods}
    return [by_name[name] for name in options.methods()]


def refit_task(settings: Settings, tiling: Tiling, memory: MemoryPlan | None) -> int:
    """Memory of a task that refits such data, bytes; 0 where the settings ask for no refits."""
    return refit_bytes(tiling.n_phi, tiling.n_frames, memory) if settings.fit.refits else 0


def block_means_of(settings: Settings, store: Store, reduced: ReducedPasses, runner: Runner) -> ReducedPasses | None:
    """Block means to fit instead of pixels; None if the settings ask for none, or there are few enough pixels."""
    wanted = settings.fit.reduction
    if wanted is None:
        return None
    level = level_to_fit(store, wanted.max_points, wanted.time_factor, wanted.angle_factor)
    return None if level is None else ReducedPasses(reduced.series, reduce_store(store, runner, level=level))
