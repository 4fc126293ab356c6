"""`hetdask inspect`: what is in a file or store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hetdask.cli.ingest import source_options
from hetdask.cli.options import numbers


@click.command("inspect")
@click.argument("path", metavar="SOURCE|STORE", type=click.Path())
@source_options
@click.option("--q", type=numbers, metavar="Q,…", help="Wavevectors of the maps in 1/Å, where SOURCE has none.")
@click.option("--plot", type=click.Path(dir_okay=False), metavar="FILE", help="Draw maps and cuts to FILE, a PNG.")
def command(path: str, plot: str | None, **options: Any) -> None:
    """Tell what is in a beamline file or a store: layout, q, phi, frames, dt, noise, bad frames, memory for a fit."""
    from hetdask.data.inspect import inspect

    if plot is not None and not plot.endswith(".png"):
        raise click.UsageError(f"--plot: found {plot}, expected a name that ends in .png, for example preview.png")
    click.echo(str(inspect(path, **options)))
    if plot is not None:
        click.echo(f"\ndrawn to   {_draw(path, plot, options)}")


def _draw(path: str, plot: str, options: dict[str, Any]) -> Path:
    """Draw block means of the maps."""
    from hetdask.data.preview import preview
    from hetdask.results.files import writing
    from hetdask.results.plots import save_figure
    from hetdask.results.plots.inspection import preview_figure

    previews = preview(path, **options)
    target = Path(plot).absolute()
    with writing(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        return save_figure(preview_figure(previews), target)
