"""`hetdask doctor`: what this machine and installation are fit for, and what to mend."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from hetdask.diagnosis.check import Check

SCHEMA: Final = "hetdask.doctor/1"
COLOURS: Final = {"ok": "green", "warn": "yellow", "bad": "red"}


@click.command("doctor")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=".",
    metavar="FOLDER",
    help="Where data and runs are to be kept: its disk is timed. [default: here]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")
def command(folder: Path, as_json: bool) -> int:
    """Look at Python, packages, threads, BLAS, compiled kernels, memory, disk, job queues and ports.

    Each line is ok, warn (fits run, but not as they could) or bad (some can't run), with what to change. The exit
    status is 1 if something is bad, else 0. Kernels that are not in Numba's cache are compiled, which takes a minute.
    """
    from hetdask.diagnosis.check import record, worst

    checks = []
    for check in examine(folder):
        checks.append(check)
        if not as_json:
            click.echo(f"{click.style(f'{check.level:<4}', fg=COLOURS[check.level])}  {check.name:<8}  {check.found}")
            if check.advice:
                click.echo(f"{'':16}→ {check.advice}")
    level = worst(checks)
    if as_json:
        content = {"schema": SCHEMA, "worst": level, "checks": record(checks)}
        click.echo(json.dumps(content, indent=2, ensure_ascii=False))
    return 1 if level == "bad" else 0


def examine(folder: Path) -> Iterator[Check]:
    """All checks, one after the other."""
    from hetdask.diagnosis import machine, software
    from hetdask.diagnosis.check import guarded

    yield from software.python()
    yield from software.packages()
    yield from guarded("threads", software.threads)
    yield from software.blas()
    yield from guarded("kernels", software.kernels)
    yield from guarded("memory", machine.memory)
    yield from machine.disk(folder)
    yield from machine.queues()
    yield from machine.ports()
