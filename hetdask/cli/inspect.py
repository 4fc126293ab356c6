"""`hetdask inspect`: what is in a file or store."""

from __future__ import annotations

from typing import Any

import click

from hetdask.cli.ingest import source_options
from hetdask.cli.options import numbers


@click.command("inspect")
@click.argument("path", metavar="SOURCE|STORE", type=click.Path())
@source_options
@click.option("--q", type=numbers, metavar="Q,…", help="Wavevectors of the maps in 1/Å, where SOURCE has none.")
def command(path: str, **options: Any) -> None:
    """Tell what is in a beamline file or a store: layout, q, phi, frames, dt, noise, bad frames, memory for a fit."""
    from hetdask.data.inspect import inspect

    click.echo(str(inspect(path, **options)))
