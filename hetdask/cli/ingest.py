"""`hetdask ingest`: from a beamline file to a store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hetdask.cli.options import (
    angle_range,
    combine,
    compute_options,
    compute_overrides,
    frame_range,
    numbers,
    wavevector,
)

source_options = combine(
    click.option("--layout", default="auto", show_default=True, help="Layout of SOURCE; found out by itself."),
    click.option("--key", metavar="NAME", help="Name of the maps in an array file."),
    click.option("--phi", type=numbers, metavar="PHI,…", help="Angles of the maps in degrees, where SOURCE has none."),
    click.option("--dt", type=float, metavar="SECONDS", help="Seconds between frames; wins over SOURCE."),
)


@click.command("ingest")
@click.argument("source", type=click.Path())
@click.argument("store", type=click.Path())
@click.option("--q", type=wavevector, multiple=True, metavar="Q|all", help="Wavevector to take, 1/Å; may be repeated.")
@click.option("--q-tolerance", type=float, metavar="FRACTION", help="Relative distance at which a q counts as Q.")
@click.option("--frames", type=frame_range, metavar="A:B", help="First and last frame, counted from 1.")
@click.option(
    "--angles", type=angle_range, multiple=True, metavar="LO:HI", help="Range of phi in degrees; may be repeated."
)
@source_options
@click.option("--time-origin", type=float, default=0.0, show_default=True, help="Time of the first frame taken, s.")
@click.option(
    "--asymmetry",
    type=click.Choice(["error", "average"]),
    default="error",
    show_default=True,
    help="What to do with maps that are not symmetric.",
)
@compute_options
@click.option("--overwrite", is_flag=True, help="Replace STORE.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
def command(source: str, store: str, **options: Any) -> None:
    """Turn SOURCE, a beamline file with two-time maps, into STORE, a folder that fits read in parallel."""
    from hetdask.cli.compute import open_compute
    from hetdask.cli.progress import show_progress
    from hetdask.config import load_settings
    from hetdask.data.ingest import ingest
    from hetdask_cluster.memory import format_bytes

    wanted: list[Any] = list(options["q"])
    if "all" in wanted and len(wanted) > 1:
        raise click.UsageError("--q all stands alone: leave out the others")
    chosen = {
        "q": None if not wanted else wanted[0] if len(wanted) == 1 else wanted,
        "angles": list(options["angles"]) or None,
        **{name: options[name] for name in ("layout", "key", "phi", "dt", "frames", "time_origin", "asymmetry")},
    }
    if options["q_tolerance"] is not None:
        chosen["q_tolerance"] = options["q_tolerance"]
    names = ("scheduler", "site", "workers", "memory_limit")
    compute = load_settings({}, compute_overrides(**{name: options[name] for name in names})).compute
    with show_progress(quiet=options["quiet"]) as progress, open_compute(compute, prepare=False) as runner:
        progress.stage("ingest")
        made = ingest(
            source,
            store,
            **chosen,
            overwrite=options["overwrite"],
            runner=runner,
            progress=progress.advance,
        )
    size = sum(file.stat().st_size for file in Path(store).rglob("*") if file.is_file())
    click.echo(
        f"{store}: {made.n_phi} maps of {made.n_frames} × {made.n_frames} frames, {made.n_points:,} pixels, "
        f"{format_bytes(size)} on disk"
    )
    click.echo(f"next: hetdask config new, with store: {store}; then hetdask fit")
