"""Plots without a fit: ``--plot-experimental-data`` and ``--plot-simulated-data``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

if TYPE_CHECKING:
    from hetdask.config import Settings

PHI: Final = (0.0, 30.0, 45.0, 60.0, 90.0, 120.0, 135.0, 150.0)
"""Angles of simulated maps, where none are given: those of heterodyne-analysis."""

MOST: Final = 6
"""Measured maps on one figure; of more maps an even selection."""

EXPERIMENTAL: Final = "exp_data"
SIMULATED: Final = "simulated_data"


class Request(NamedTuple):
    """What is to be plotted instead of a fit."""

    experimental: bool
    simulated: bool
    contrast: float
    offset: float
    phi: tuple[float, ...]


def take_request(options: dict[str, Any]) -> Request | None:
    """Take the options of plots out of those of a command; None where no plot is asked for.

    Raises
    ------
    click.UsageError
        If an option is there that does nothing without another.
    """
    experimental, simulated = options.pop("plot_experimental_data"), options.pop("plot_simulated_data")
    contrast, offset, phi = (options.pop(name) for name in ("contrast", "offset", "phi_angles"))
    for flag, value in (("--contrast", contrast), ("--offset", offset), ("--phi-angles", phi)):
        if value is not None and not simulated:
            raise click.UsageError(f"{flag} belongs to --plot-simulated-data: add that, or leave {flag} out")
    if not (experimental or simulated):
        return None
    if options.pop("dry_run"):
        raise click.UsageError("--dry-run belongs to a fit: leave it out, or the plots")
    if options.pop("performance_report"):
        raise click.UsageError("--performance-report belongs to a fit: leave it out, or the plots")
    return Request(
        experimental,
        simulated,
        1.0 if contrast is None else contrast,
        0.0 if offset is None else offset,
        PHI if phi is None else tuple(phi),
    )


def plot_data(config: str | None, request: Request, options: dict[str, Any]) -> int:
    """Plot what is asked for, and fit nothing; the exit status.

    Parameters
    ----------
    config : str or None
        Configuration; that of `hetdask demo` where it is None, which serves simulated data only.
    request : Request
    options : dict
        Of `hetdask fit`; output folder, workers and assignments count.
    """
    from hetdask.cli.fit import settings_of

    if config is None and request.experimental:
        raise click.UsageError("--plot-experimental-data needs --config: which data?")
    how = {name: options.pop(name) for name in ("resume", "overwrite", "quiet", "verbose")}
    if config is None:
        from hetdask.config import DEMO

        config = str(DEMO)
        options["output"] = options["output"] or "hetdask_run"
    settings = settings_of(config, **options)
    if request.simulated:
        for path in plot_simulated(settings, request):
            click.echo(str(path))
    if request.experimental:
        for path in plot_experimental(settings, **how):
            click.echo(str(path))
    return 0


def plot_experimental(settings: Settings, *, resume: bool, overwrite: bool, quiet: bool, verbose: bool) -> list[Path]:
    """Ingest the data, unless their store is there already, and draw them with their statistics.

    Returns
    -------
    list of Path
        ``exp_data/experimental_data_validation.png`` in the run folder.
    """
    from hetdask.cli.compute import open_compute
    from hetdask.cli.fit import open_store
    from hetdask.cli.progress import show_progress
    from hetdask.results.files import writing
    from hetdask.results.plots import save_figure
    from hetdask.results.plots.inspection import MeasuredMap, measured_figure
    from hetdask.results.tables import shown_angles

    folder = settings.output.folder.absolute()
    target = folder / EXPERIMENTAL
    with writing(folder):
        target.mkdir(parents=True, exist_ok=True)
    with (
        show_progress(quiet=quiet, verbose=verbose) as progress,
        open_compute(settings.compute, prepare=False) as runner,
    ):
        store = open_store(settings, folder, runner, progress, resume=resume, overwrite=overwrite)
    shown = shown_angles(store.n_phi, MOST)
    maps = [
        MeasuredMap(float(store.phi[k]), float(store.q[k]), store.read_map(k), float(store.noise[k])) for k in shown
    ]
    if len(shown) < store.n_phi:
        click.echo(f"{len(shown)} of {store.n_phi} maps, evenly spread", err=True)
    with writing(folder):
        return [save_figure(measured_figure(maps, store.time), target / "experimental_data_validation.png")]


def plot_simulated(settings: Settings, request: Request) -> list[Path]:
    """Draw and write c2 = offset + contrast · g for the start values of the settings.

    Returns
    -------
    list of Path
        In ``simulated_data`` of the run folder, named as heterodyne-analysis names them: one figure for each angle,
        ``c2_<type>_data.npz`` (c2_data (n_phi, N, N), phi_angles, t1 and t2 (N, N), initial_params, contrast, offset)
        and ``simulation_config_<type>.json``; the type is "theoretical" at contrast 1 and offset 0, else "fitted".
    """
    import numpy as np

    from hetdask.model import correlation
    from hetdask.results.export import stream_npz
    from hetdask.results.files import write_text, writing
    from hetdask.results.plots import save_figure
    from hetdask.results.plots.inspection import simulated_figure

    time, q = _axes(settings)
    values = {row.name: row.value for row in settings.parameter_table()}
    scaled = (request.contrast, request.offset) != (1.0, 0.0)
    kind = "fitted" if scaled else "theoretical"
    label = f"c₂ = {request.contrast:g} g + {request.offset:g}" if scaled else "g"
    folder = settings.output.folder.absolute()
    target = folder / SIMULATED

    def one(phi: float) -> np.ndarray:
        return np.asarray(request.offset + request.contrast * correlation(values, time, [phi], q)[0])

    with writing(folder):
        target.mkdir(parents=True, exist_ok=True)
        paths = [
            save_figure(
                simulated_figure(one(phi), time, f"φ = {phi:g}°,  q = {q:.4g} Å⁻¹".replace("-", "−"), label),
                target / f"simulated_c2_{kind}_phi_{phi:.1f}deg.png",
            )
            for phi in request.phi
        ]
        first, second = np.meshgrid(time, time, indexing="ij")
        small = {
            "phi_angles": request.phi,
            "t1": first,
            "t2": second,
            "initial_params": list(values.values()),
            "contrast": request.contrast,
            "offset": request.offset,
        }
        shape = (len(request.phi), time.size, time.size)
        maps = {"c2_data": lambda: map(one, request.phi)}
        paths.append(stream_npz(target / f"c2_{kind}_data.npz", small, maps, shape))
        record = {
            "parameters": {"names": list(values), "values": list(values.values())},
            "data_type": kind,
            "phi_angles": list(request.phi),
            "time_points": time.size,
            "dt": settings.data.dt or float(time[1] - time[0]),
            "wavevector_q": q,
            "scaling": {"contrast": request.contrast, "offset": request.offset},
        }
        path = target / f"simulation_config_{kind}.json"
        write_text(path, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    return [*paths, path]


def _axes(settings: Settings) -> tuple[Any, float]:
    """Times of the frames (N,) in s, and q in 1/Å, from `data`, else from `simulation`.

    Raises
    ------
    ConfigError
        If neither says them.
    """
    import numpy as np

    from hetdask.errors import ConfigError

    data, plan = settings.data, settings.simulation
    count = (
        data.frames[1] - data.frames[0] + 1 if data.frames is not None else plan.frames if plan is not None else None
    )
    dt = data.dt if data.dt is not None else plan.dt if plan is not None else None
    given = data.q[0] if isinstance(data.q, list) else data.q
    q = given if isinstance(given, float) else plan.q[0] if plan is not None else None
    for key, value, example in (("frames", count, "[1, 400]"), ("dt", dt, "0.1"), ("q", q, "0.0054")):
        if value is None:
            raise ConfigError(
                f"--plot-simulated-data needs data.{key} (or a section simulation) in the configuration, "
                f"for example --set data.{key}={example}"
            )
    return data.time_origin + float(dt or 0.0) * np.arange(int(count or 0)), float(q or 0.0)
