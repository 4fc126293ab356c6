"""`hetdask config`: write, check and describe configurations."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.group("config")
def command() -> None:
    """Write, check, migrate and describe configurations."""


@command.command("new")
@click.argument("path", type=click.Path(), default=None, required=False)
@click.option("-o", "--output", type=click.Path(), metavar="PATH", help="The same as PATH.")
@click.option("--source", metavar="FILE", help="Beamline file to name in it.")
@click.option("-s", "--sample", metavar="NAME", help="Name a file of data/NAME and the run folder runs/NAME in it.")
@click.option("-e", "--experiment", metavar="TEXT", help="What the experiment is, as a comment.")
@click.option("-a", "--author", metavar="NAME", help="Who wrote it, as a comment.")
def new(
    path: str | None,
    output: str | None,
    source: str | None,
    sample: str | None,
    experiment: str | None,
    author: str | None,
) -> None:
    """Write a configuration with every key, its default and what it means to PATH (hetdask.yaml)."""
    from hetdask.config.template import template, write_new

    if path is not None and output is not None:
        raise click.UsageError("--output is the same as PATH: leave one out")
    target = path or output or "hetdask.yaml"
    about = {"experiment": experiment, "sample": sample, "author": author}
    write_new(Path(target), template(source, sample, {key: text for key, text in about.items() if text is not None}))
    click.echo(f"{target}: set source, q and the start values, then run `hetdask fit {target}`")


@command.command("check")
@click.argument("path", type=click.Path())
def check(path: str) -> None:
    """Read the configuration PATH and show what it resolves to.

    Of the JSON of heterodyne-analysis, each key without an effect is told with the reason and what to use instead.
    The exit status is 0 if PATH is valid and 2 if it is not.
    """
    from hetdask.config.load import read_settings

    settings, notes, original = read_settings(path)
    click.echo(f"{'parameter':<16} {'value':>12} {'min':>12} {'max':>12}")
    for row in settings.parameter_table():
        fixed = "  fixed" if row.fixed else ""
        click.echo(f"{row.name:<16} {row.value:>12g} {row.min:>12g} {row.max:>12g}{fixed}")
    for name, section in settings.resolved().items():
        if name != "parameters" and section is not None:
            click.echo(f"\n{name}:")
            for key, value in section.items():
                click.echo(f"  {key}: {json.dumps(value)}")
    if notes:
        click.echo(f"\nhetdask: warning: {len(notes)} keys have no effect here, or another one:", err=True)
        for note in notes:
            click.echo(str(note), err=True)
    data = settings.data
    for label, file in (("source", data.source), ("store", data.store if data.source is None else None)):
        if file is not None and not file.exists():
            click.echo(f"\nnote: data.{label} {str(file)!r} does not exist yet", err=True)
    hint = "; `hetdask config migrate` writes it in the native format" if original else ""
    click.echo(f"\n{path} is valid{hint}")


@command.command("migrate")
@click.argument("path", metavar="FILE", type=click.Path())
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="OUT", help="Native file. [default: FILE with .yaml]"
)
def migrate(path: str, output: Path | None) -> None:
    """Write FILE, in the JSON of heterodyne-analysis, in the native format.

    Comments say where each value came from, and what is left out and why.
    """
    from hetdask.config.load import read_file, read_settings
    from hetdask.config.original.migrate import migrated
    from hetdask.config.template import write_new

    target = Path(path).with_suffix(".yaml") if output is None else output
    notes = read_settings(path).notes
    write_new(target, migrated(read_file(Path(path)), path))
    left = f", {len(notes)} notes at its end" if notes else ""
    click.echo(f"{target}: the same settings in the native format{left}; `hetdask config check {target}` shows them")


@command.command("schema")
@click.option("--site", is_flag=True, help="Of site files instead.")
def schema(*, site: bool) -> None:
    """Print the JSON schema of the native format."""
    from hetdask.config import Settings
    from hetdask_cluster.site import site_schema

    found = site_schema() if site else Settings.model_json_schema()
    click.echo(json.dumps(found, indent=2, ensure_ascii=False))
