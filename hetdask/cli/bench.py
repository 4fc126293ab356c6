"""`hetdask bench`: how fast kernels, passes and a fit are here, and whether that has changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hetdask.cli.options import compute_options, compute_overrides

if TYPE_CHECKING:
    from hetdask.config import Settings
    from hetdask.data.store import Store
    from hetdask.diagnosis.bench import Figure


@click.command("bench")
@click.option(
    "--store", type=click.Path(path_type=Path), metavar="STORE", help="Measure on this store instead of simulated data."
)
@click.option(
    "--config", type=click.Path(), metavar="CONFIG", help="Start values and bounds of the fit, for your own store."
)
@click.option("--maps", type=click.IntRange(1, 1000), default=3, show_default=True, help="Simulated maps.")
@click.option("--frames", type=click.IntRange(16, 20000), default=1000, show_default=True, help="Of a simulated map.")
@click.option(
    "--target-cv",
    type=click.FloatRange(0.0, min_open=True),
    default=0.10,
    show_default=True,
    help="Repeat until standard deviation over mean is at most this.",
)
@click.option(
    "--max-runs", type=click.IntRange(min=2), default=30, show_default=True, help="Repeat no more than so often."
)
@compute_options
@click.option("--json", "target", type=click.Path(path_type=Path), metavar="FILE", help="Write the figures to FILE.")
@click.option(
    "--compare",
    "earlier",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Compare with an earlier --json.",
)
def command(
    store: Path | None,
    config: str | None,
    maps: int,
    frames: int,
    target_cv: float,
    max_runs: int,
    target: Path | None,
    earlier: Path | None,
    **options: Any,
) -> None:
    """Time kernels, passes and a fit, on simulated data or on your own store, with their scatter.

    Passes and the fit run where --scheduler says, kernels in this process. A fit ends after 30 evaluations.
    """
    from hetdask.cli.compute import open_compute
    from hetdask.config import load_settings
    from hetdask.diagnosis.bench import Patience, measure, record
    from hetdask.diagnosis.compare import compare, differences, read_record, require_same_work
    from hetdask.errors import ConfigError
    from hetdask.results.files import writing

    if config is not None and store is None:
        raise ConfigError("--config goes with --store: simulated data have start values of their own")
    before = None if earlier is None else read_record(earlier)
    with _data(store, config, maps, frames) as (data, settings):
        compute = load_settings(settings, compute_overrides(**options)).compute
        with open_compute(compute) as runner:
            patience = Patience(target_cv, max_runs)
            figures = list(measure(data, settings, runner, patience, _say))
            now = record(data, runner, figures, synthetic=store is None)
    _show(now, figures)
    if target is not None:
        with writing(target.absolute().parent):
            target.write_text(json.dumps(now, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        click.echo(f"\nwritten to {target}")
    if before is not None:
        require_same_work(now, before)
        click.echo(f"\nagainst {earlier}, of {before['recorded']}")
        for one in compare(now, before):
            click.echo(f"  {one.name:<20} {one.ratio:>6.2f} times as long   {one.verdict}")
        for line in differences(now, before):
            click.echo(f"  {line}")


def _say(part: str) -> None:
    click.echo(f"timing {part} …", err=True)


@contextmanager
def _data(store: Path | None, config: str | None, maps: int, frames: int) -> Iterator[tuple[Store, Settings]]:
    """What is measured on, and the settings of its fit."""
    from hetdask.config import load_settings
    from hetdask.data.store import Store
    from hetdask.diagnosis.bench import synthetic_store

    if store is None:
        click.echo(f"simulating {maps} maps of {frames} × {frames} frames …", err=True)
        with synthetic_store(maps, frames) as made:
            yield made
    else:
        yield Store.open(store), load_settings({} if config is None else config)


def _show(now: dict[str, Any], figures: list[Figure]) -> None:
    settings = now["settings"]
    where = f"{settings['workers']} workers" if settings["workers"] else "this process"
    click.echo(
        f"{settings['store']}: {settings['maps']} maps of {settings['frames']} × {settings['frames']}, {where}\n"
    )
    click.echo(f"{'':<20} {'median':>10} {'CV':>7} {'runs':>5} {'rate':>14}")
    for figure in figures:
        times = figure.times
        cv = f"{times['cv']:.1%}"
        rate = f"{figure.rate / 1e6:,.0f} Mpixel/s"
        click.echo(
            f"{figure.name:<20} {times['median'] * 1e3:>7.2f} ms {cv:>7} {times['total_runs']:>5} {rate:>14}"
            f"{f'   {figure.note}' if figure.note else ''}"
        )
    restless = [figure.name for figure in figures if not figure.times["achieved_target"]]
    if restless:
        click.echo(f"\nscatters by more than asked for: {', '.join(restless)}. Something else runs on this machine.")
