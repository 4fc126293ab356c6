"""Run folders of heterodyne-analysis configurations, which their users run again and again with one results folder."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from hetdask.config import Settings


def is_of_other_package(config: str) -> bool:
    """Whether a file is in the format of heterodyne-analysis."""
    from hetdask.config.load import read_file
    from hetdask.config.original import is_original

    return is_original(read_file(Path(config)))


def in_folder_of_its_own(settings: Settings, *, resume: bool, quiet: bool) -> Settings:
    """Settings with a folder that holds no run yet: that of the settings, else ``run-2``, ``run-3`` … inside it.

    With `resume` it is the last one that holds a run. The store of the first run serves the others, as long as they
    ask for the same data.
    """
    from hetdask.results.files import marks_of_a_run

    first = settings.output.folder
    folders = [first]
    for number in count(2):
        if not marks_of_a_run(folders[-1]):
            break
        folders.append(first / f"run-{number}")
    folder = folders[-2] if resume and len(folders) > 1 else folders[-1]
    if folder == first:
        return settings
    if not quiet and not resume:
        click.echo(f"{first} holds a run: this one goes to {folder}", err=True)
    output = settings.output.model_copy(update={"folder": folder})
    data = settings.data.model_copy(update={"store": settings.data.store or _shared_store(settings)})
    return settings.model_copy(update={"output": output, "data": data})


def _shared_store(settings: Settings) -> Path | None:
    from hetdask.cli.reuse import differences
    from hetdask.data.store import Store
    from hetdask.options import DATA_FOLDER

    path = settings.output.folder / DATA_FOLDER
    if settings.data.source is None or not path.exists() or differences(Store.open(path), settings.data):
        return None
    return path
