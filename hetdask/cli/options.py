"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

type Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def frame_range(text: str) -> tuple[int, int]:
    """First and last frame from "1:400"."""
    try:
        first, last = (int(part) for part in text.split(":"))
    except ValueError as error:
        raise _not(text, "two frame numbers with a colon between them, such as 1:400") from error
    return first, last


def angle_range(text: str) -> tuple[float, float]:
    """Range of degrees from "-10:10"."""
    try:
        low, high = (float(part) for part in text.split(":"))
    except ValueError as error:
        raise _not(text, "two angles with a colon between them, such as -10:10") from error
    return low, high


def wavevector(text: str) -> float | str:
    """Wavevector from "0.0054", or "all"."""
    try:
        return "all" if text == "all" else float(text)
    except ValueError as error:
        raise _not(text, "a wavevector in 1/Å such as 0.0054, or all") from error


def numbers(text: str) -> list[float]:
    """Numbers from "0,45,90"."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise _not(text, "numbers with commas between them, such as 0,45,90") from error


def _not(found: str, expected: str) -> click.BadParameter:
    return click.BadParameter(f"found {found!r}, expected {expected}")


def combine(*decorators: Decorator) -> Decorator:
    """One decorator for several options, shown in this order."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


compute_options = combine(
    click.option(
        "--scheduler",
        metavar="WHERE",
        help="local, inline, tcp://host:8786, a scheduler file, or a job queue: slurm, pbs, lsf, sge, htcondor, oar. "
        "[default: inline for a fit of little data from start values, else local]",
    ),
    click.option("--site", type=click.Path(), metavar="FILE", help="What jobs of the queue look like."),
    click.option("--workers", type=int, metavar="N", help="Worker processes. [default: one for each core]"),
    click.option(
        "--memory-limit", metavar="LIMIT", help="Budget of the whole run: 0.9 of the machine, or 8GiB. [default: 0.9]"
    ),
)


def compute_overrides(
    scheduler: str | None, site: str | None, workers: int | None, memory_limit: str | None
) -> list[tuple[str, Any]]:
    """Settings from `compute_options`; a site file says by itself for which scheduler it is."""
    if site is not None and scheduler is None:
        from hetdask.config import load_site

        scheduler = load_site(site).scheduler
    given = {"scheduler": scheduler, "site": site, "workers": workers, "memory_limit": memory_limit}
    return [(f"compute.{key}", value) for key, value in given.items() if value is not None]


assign_option = click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a setting: parameters.v0.value=100. May be repeated.",
)

fit_options = combine(
    click.option(
        "--method",
        type=click.Choice(["classical", "robust", "all"]),
        help="Those under fit.classical or fit.robust, or all of them, compared. [default: classical]",
    ),
    click.option("-o", "--output", "--output-dir", type=click.Path(), metavar="RUN", help="Run folder."),
    compute_options,
    click.option(
        "--start",
        type=click.Choice(["given", "checked", "search", "learned"]),
        help="Start values: those of the configuration, those unless they lead to no optimum at the noise level, "
        "a global search within the bounds, or what was learned. "
        "[default: given if the configuration has any]",
    ),
    click.option(
        "--weights",
        type=click.Choice(["plain", "speckle"]),
        help="Count pixels as independent, or weight them with the covariance of their noise. [default: plain]",
    ),
    click.option(
        "--bootstrap",
        type=click.IntRange(min=0),
        metavar="N",
        help="Simulate N experiments from the fit and fit them again, for errors to all orders. [default: 0]",
    ),
    click.option(
        "--profile",
        metavar="NAME,…",
        help="Follow chi-squared along these parameters, for intervals that need no linear problem: v0,D0_ref.",
    ),
    click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Seed of the random numbers. [default: 0]"),
    assign_option,
    click.option("--dry-run", is_flag=True, help="Show what would run where, and in how much memory, and stop."),
    click.option("--resume", is_flag=True, help="Go on from the checkpoint in the run folder."),
    click.option("--overwrite", is_flag=True, help="Replace an earlier run in the run folder."),
    click.option(
        "--performance-report",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Write Dask's report of what the workers did, as a page of HTML.",
    ),
    click.option("--no-plots", is_flag=True, help="Draw no figures."),
    click.option("-q", "--quiet", is_flag=True, help="Show the result only."),
    click.option("-v", "--verbose", is_flag=True, help="Show each step and evaluation on a line of its own."),
)

plot_options = combine(
    click.option(
        "--plot-experimental-data",
        is_flag=True,
        help="Draw the data with their statistics into RUN/exp_data, and fit nothing.",
    ),
    click.option(
        "--plot-simulated-data",
        is_flag=True,
        help="Draw the model at the start values into RUN/simulated_data, and fit nothing.",
    ),
    click.option("--contrast", type=float, metavar="C", help="Of simulated data: c2 = C·g + O. [default: 1]"),
    click.option("--offset", type=float, metavar="O", help="Of simulated data. [default: 0]"),
    click.option(
        "--phi-angles",
        type=numbers,
        metavar="PHI,…",
        help="Of simulated data, degrees. [default: 0,30,45,60,90,120,135,150]",
    ),
)
