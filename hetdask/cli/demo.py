"""`hetdask demo`: the whole way from an experiment to a report, with a truth to compare with."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from hetdask.cli.options import compute_options, compute_overrides

CONFIG_FILE: Final = "config.yaml"


@click.command("demo")
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), default="demo")
@click.option(
    "--noise",
    type=click.Choice(["gaussian", "speckle"]),
    default="gaussian",
    show_default=True,
    help="White noise, or the correlated noise of real speckles.",
)
@compute_options
@click.option("-q", "--quiet", is_flag=True, help="Show the result only.")
def command(folder: Path, noise: str, quiet: bool, **options: Any) -> int:
    """Simulate an experiment, write it as a beamline file, ingest it, fit it, and show the result beside the truth.

    Everything is written into DIR (demo), which can be run again; DIR/config.yaml is what `hetdask fit` takes. The demo
    starts local workers, with their dashboard, although its data are few.
    """
    from hetdask.cli.fit import exit_status, report_of, run_settings
    from hetdask.cli.simulate import simulate
    from hetdask.config import load_settings
    from hetdask.results.summary import print_summary, summary_against

    config = write_config(folder)
    where = compute_overrides(**options)
    settings = load_settings(config, [("fit.remember", False), ("compute.scheduler", "local"), *where])
    source = settings.data.source or folder
    count = simulate(settings, source, layout="aps-u", noise=noise, overwrite=True)
    if not quiet:
        click.echo(f"{source}: {count} simulated maps", err=True)
    result = run_settings(settings, overwrite=True, quiet=quiet)
    print_summary(summary_against(result, settings.true_values()))
    click.echo(f"\nreport: {report_of(settings.output.folder)}")
    click.echo(f"again:  hetdask fit {config} --overwrite")
    return exit_status(result)


def write_config(folder: Path) -> Path:
    """Write the configuration of the demo into a folder, with its paths there.

    Raises
    ------
    DataError
        If the folder cannot be written.
    """
    from hetdask.config import DEMO
    from hetdask.errors import DataError

    text = DEMO.read_text(encoding="utf-8")
    path = folder / CONFIG_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace('"demo/', f'"{folder}/'), encoding="utf-8")
    except OSError as error:
        raise DataError(
            f"can't write to {str(folder)!r} ({error.strerror}): give another, such as `hetdask demo /tmp/x`"
        ) from error
    return path
