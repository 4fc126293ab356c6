"""`hetdask history`: earlier fits, and the models of the learned start that are trained on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hetdask.cli.options import compute_options

if TYPE_CHECKING:
    from rich.table import Table

    from hetdask.learn.history import Record
    from hetdask.learn.model import StartModel


@click.group("history", no_args_is_help=True)
def command() -> None:
    """Earlier fits, and the models of the learned start that are trained on them.

    Both are kept in the folder HETDASK_CACHE, else in ~/.cache/hetdask.
    """


@command.command("list")
@click.option("--last", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="Fits to show.")
def list_(last: int) -> None:
    """Show the fits that are remembered, and the models with their held-out errors."""
    from rich.console import Console

    from hetdask.learn.history import history_path, read_history
    from hetdask.learn.model import StartModel
    from hetdask.learn.start import known_models

    console = Console()
    records = read_history()
    if records:
        console.print(_records_table(records[-last:], len(records)))
    else:
        console.print(f"no fits yet in {history_path()}: converged fits are added, or `hetdask history import FILE`")
    models = [(path, StartModel.load(path)) for path in known_models()]
    for path, model in models:
        console.print(_model_table(path, model))
    if not models:
        console.print("no model yet: `hetdask history train`, or the first `hetdask fit --start learned` trains one")


@command.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--q", type=float, metavar="Q", help="Wavevector of records that have none, 1/Å.")
@click.option("--dt", type=float, metavar="SECONDS", help="Time between frames of records that have none.")
@click.option("--frames", type=click.IntRange(min=3), metavar="N", help="Frames of records that have none.")
def import_(file: Path, q: float | None, dt: float | None, frames: int | None) -> int:
    """Add the fits of FILE, the optimization_history.json of heterodyne-analysis."""
    from hetdask.errors import DataError
    from hetdask.learn.history import append, history_path, import_history

    records, skipped = import_history(file, q=q, dt=dt, frames=frames)
    for line in skipped:
        click.echo(f"left out {line}", err=True)
    if not records:
        raise DataError(f"{str(file)!r} has no record that can be used: see above why each was left out")
    append(records)
    click.echo(f"{len(records)} fits added to {history_path()}; `hetdask history train` learns from them")
    return 0


@command.command("train")
@click.argument("config", type=click.Path(path_type=Path), required=False)
@click.option(
    "--experiments", type=click.IntRange(min=200), metavar="N", help="Experiments to simulate. [default: 16000]"
)
@compute_options
@click.option("-q", "--quiet", is_flag=True, help="Show the result only.")
def train_command(
    config: Path | None,
    experiments: int | None,
    quiet: bool,
    **options: Any,
) -> int:
    """Train the learned start on simulated experiments and on the fits that are remembered.

    Without CONFIG, the model for all data. With CONFIG, one for data with its bounds, and with the wavevector, angles
    and frames of its store, which is preferred where these are fitted.
    """
    from rich.console import Console

    from hetdask.cli.compute import open_compute
    from hetdask.cli.options import compute_overrides
    from hetdask.cli.progress import show_progress
    from hetdask.config import Settings, load_settings
    from hetdask.learn.simulated import conditions_of, usual_conditions
    from hetdask.learn.start import model_path, train_and_keep
    from hetdask.learn.training import EXPERIMENTS

    settings = Settings() if config is None else load_settings(config)
    if config is None:
        conditions = usual_conditions()
    else:
        from hetdask.data.store import Store
        from hetdask.options import DATA_FOLDER, problem_of
        from hetdask.passes.run import series_of

        store = Store.open(settings.data.store or settings.output.folder / DATA_FOLDER)
        conditions = conditions_of(problem_of(settings, store), series_of(store))
    given = {key.removeprefix("compute."): value for key, value in compute_overrides(**options)}
    compute = settings.compute.model_copy(update=given)
    with (
        show_progress(quiet=quiet) as progress,
        open_compute(compute, prepare=False) as runner,
    ):
        progress.stage("learn")
        model = train_and_keep(
            conditions, runner=runner, experiments=experiments or EXPERIMENTS, on_step=progress.advance
        )
    Console().print(_model_table(model_path(conditions), model))
    return 0


def _records_table(records: list[Record], count: int) -> Table:
    """One line for each fit."""
    from rich.table import Table

    from hetdask.results.formatting import format_number

    names = ("D0_ref", "alpha_ref", "D0_sample", "alpha_sample", "v0", "beta", "phi0")
    table = Table(title=f"{count} fits" + (f", the last {len(records)}" if count > len(records) else ""))
    for head in ("source", "date", "q", "dt", "frames", "angles", *names, "data"):
        table.add_column(head, justify="left" if head in {"source", "date", "data"} else "right")
    for record in records:
        table.add_row(
            record.source,
            record.date[:10],
            format_number(record.q),
            format_number(record.dt),
            f"{record.frames:,}",
            f"{len(record.phi)}" if record.phi else "?",
            *(format_number(record.parameters[name]) for name in names),
            "known" if record.has_features else "unknown",
        )
    return table


def _model_table(path: Path, model: StartModel) -> Table:
    """Held-out errors of a model, one line for each coordinate."""
    from rich.table import Table

    from hetdask.results.formatting import format_number

    table = Table(
        title=f"{path.name}: trained {model.trained[:10]} on {model.experiments:,} simulated experiments and "
        f"{model.own} fits",
        caption="Errors on experiments that were held out. log_rate: natural logarithm of decays or fringes per "
        "series; fraction: logit; direction: radians.",
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("coordinate")
    table.add_column("median error", justify="right")
    table.add_column("without data", justify="right")
    for row in model.validation:
        table.add_row(row.name, format_number(row.median_error, 2), format_number(row.without_data, 2))
    return table
