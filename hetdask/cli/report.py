"""`hetdask report`: the page of a run anew, figures for papers, and exports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from hetdask.results.plots import FigureFormat

FIGURES_FOLDER: Final = "figures"
EXPORTS: Final = ("npz", "npz-reduced", "csv")


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--figures",
    type=click.Choice(["pdf", "svg", "png"]),
    help="Draw the figures for papers too, for one and for two columns, into RUN/figures.",
)
@click.option(
    "--export",
    "exports",
    type=click.Choice(EXPORTS),
    multiple=True,
    help="Write other formats too: every pixel as fitted_data.npz of heterodyne-analysis, its block means, or tables "
    "of parameters and maps. May be repeated.",
)
@click.option(
    "--maps", type=click.IntRange(min=1), metavar="N", help="Most maps that are shown in detail. [default: 4]"
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FOLDER", help="Write here instead of into RUN."
)
@click.option("--open", "show", is_flag=True, help="Show the page in the browser.")
def command(
    run: Path, figures: FigureFormat | None, exports: tuple[str, ...], maps: int | None, output: Path | None, show: bool
) -> None:
    """Write the page of RUN, the folder of an earlier fit, anew from what is in it; no fit is run."""
    from hetdask.results import Result
    from hetdask.results.export import NPZ_FILE
    from hetdask.results.figures import ANGLE_FIGURES, write_paper_figures
    from hetdask.results.files import refresh_report, writing

    result = Result.load(run)
    folder = (run if output is None else output).absolute()
    most = ANGLE_FIGURES if maps is None else maps
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    page = refresh_report(result, folder, most_figures=most)
    click.echo(f"report: {page}")
    if figures is not None:
        with writing(folder):
            drawn = write_paper_figures(folder / FIGURES_FOLDER, result.contents(), figures, most)
        click.echo(f"{len(drawn)} figures: {folder / FIGURES_FOLDER}")
    for export in exports:
        if export == "csv":
            written = list(result.to_csv(folder))
        else:
            written = [result.to_npz(folder / NPZ_FILE, reduced=export == "npz-reduced")]
        for path in written:
            click.echo(f"{export}: {path}")
    if show:
        click.launch(str(page))
