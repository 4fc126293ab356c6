"""`hetdask design`: the errors of an experiment before it is made."""

from __future__ import annotations

import click

from hetdask.cli.options import assign_option


@click.command("design")
@click.argument("config", type=click.Path())
@assign_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(config: str, assignments: tuple[str, ...], as_json: bool) -> None:
    """Predict the errors of the experiment under `simulation` in CONFIG, and what it would leave open.

    The noise is that of `hetdask simulate --noise speckle`: simulation.speckles and simulation.modes, and
    simulation.photons where photons are counted. Free are the parameters that a fit of CONFIG would move.
    """
    from hetdask.config import load_settings
    from hetdask.config.load import parse_assignment
    from hetdask.results.design import design
    from hetdask.results.summary import print_summary

    found = design(load_settings(config, [parse_assignment(text) for text in assignments]))
    if as_json:
        click.echo(found.model_dump_json(indent=2))
    else:
        print_summary(found)
