"""`hetdask config`: write, check and describe configurations."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.group("config")
def command() -> None:
    """Write, check and describe configurations."""


@command.command("new")
@click.argument("path", type=click.Path(), default="hetdask.yaml")
@click.option("--source", metavar="FILE", help="Beamline file to name in it.")
def new(path: str, source: str | None) -> None:
    """Write a configuration with every key, its default and what it means to PATH (hetdask.yaml)."""
    from hetdask.config.template import write_template

    write_template(Path(path), source)
    click.echo(f"{path}: set source, q and the start values, then run `hetdask fit {path}`")


@command.command("check")
@click.argument("path", type=click.Path())
def check(path: str) -> None:
    """Read the configuration PATH and show what it resolves to."""
    from hetdask.config import load_settings

    settings = load_settings(path)
    click.echo(f"{'parameter':<16} {'value':>12} {'min':>12} {'max':>12}")
    for row in settings.parameter_table():
        fixed = "  fixed" if row.fixed else ""
        click.echo(f"{row.name:<16} {row.value:>12g} {row.min:>12g} {row.max:>12g}{fixed}")
    for name, section in settings.resolved().items():
        if name != "parameters" and section is not None:
            click.echo(f"\n{name}:")
            for key, value in section.items():
                click.echo(f"  {key}: {json.dumps(value)}")
    data = settings.data
    for label, file in (("source", data.source), ("store", data.store if data.source is None else None)):
        if file is not None and not file.exists():
            click.echo(f"\nnote: data.{label} {str(file)!r} does not exist yet", err=True)
    click.echo(f"\n{path} is valid")


@command.command("schema")
@click.option("--site", is_flag=True, help="Of site files instead.")
def schema(*, site: bool) -> None:
    """Print the JSON schema of the native format."""
    from hetdask.config import Settings
    from hetdask_cluster.site import site_schema

    found = site_schema() if site else Settings.model_json_schema()
    click.echo(json.dumps(found, indent=2, ensure_ascii=False))
