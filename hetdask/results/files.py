"""The run folder: prepared before a fit and filled after it.

Every file is written under a temporary name and moved into place.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import batched
from pathlib import Path
from typing import TYPE_CHECKING, Final, Unpack
from uuid import uuid4

import numpy as np

from hetdask.errors import DataError
from hetdask.results.figures import ANGLE_FIGURES, FIGURE_PATTERNS, write_figures
from hetdask.results.maps import LIMIT, AngleMaps, AngleTask, reduce_angle
from hetdask.results.part import dump_json
from hetdask.results.report import REPORT_FILE, write_report
from hetdask.results.result import DATASET_FOLDER, RESULT_FILE, Result, RunFacts

if TYPE_CHECKING:
    from hetdask.data.store import Store
    from hetdask.fitting import Refinement
    from hetdask.results.helper import ReportProcess
    from hetdask_cluster.runner import Runner

CONFIG_FILE: Final = "config.resolved.json"
HISTORY_FILE: Final = "history.jsonl"
LOG_FILE: Final = "run.log"

MARKS_OF_A_RUN: Final = (RESULT_FILE, HISTORY_FILE)
"""A folder that holds one of these holds a run."""

PROBE_SIZE: Final = 1 << 20
"""Bytes that must fit into a run folder before a fit begins."""

MAPS_IN_FLIGHT: Final = 32
"""Maps that are reduced before their results go to disk."""


def _refusal(folder: Path, error: OSError) -> DataError:
    advice = "give another folder, such as -o runs/sample-1"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        reason, advice = "no space is left on its disk", f"free some space or {advice}"
    elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        reason, advice = "it is read-only for you", f"change its permissions or {advice}"
    elif error.errno in (errno.ENOTDIR, errno.EEXIST):
        reason = "a file of this name is in the way"
    else:
        reason = error.strerror or str(error)
    return DataError(f"can't write to the output folder {folder}: {reason}; {advice}")


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn errors of the operating system about files in `folder` into a `DataError` with advice."""
    try:
        yield
    except OSError as error:
        if error.filename is not None and not Path(error.filename).absolute().is_relative_to(folder):
            raise
        raise _refusal(folder, error) from error


def marks_of_a_run(folder: Path) -> list[str]:
    """Names of the files by which a folder holds a run; none where it holds no run."""
    return [name for name in MARKS_OF_A_RUN if (folder / name).exists()]


def prepare_run_folder(folder: str | Path, *, overwrite: bool = False, resume: bool = False) -> Path:
    """Make the output folder of a fit and try it out, so that a long fit never ends in a folder that can't take it.

    Parameters
    ----------
    folder : str or Path
    overwrite : bool
        Remove the files of an earlier run; other files stay.
    resume : bool
        Keep the files of an earlier run.

    Returns
    -------
    Path
        The absolute folder.

    Raises
    ------
    DataError
        If the folder holds a run and neither `overwrite` nor `resume` is set, or if it can't be written.
    """
    folder = Path(folder).absolute()
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _probe(folder)
    if resume:
        return folder
    if overwrite:
        with writing(folder):
            _remove_run(folder)
    elif found := marks_of_a_run(folder):
        raise DataError(
            f"the output folder {folder} already holds a run ({', '.join(found)}): continue it with --resume, "
            "replace it with --overwrite, or give another folder, such as -o runs/sample-2"
        )
    return folder


def _probe(folder: Path) -> None:
    probe = _temporary(folder / "probe")
    try:
        with probe.open("wb") as file:
            file.write(bytes(PROBE_SIZE))
            file.flush()
            os.fsync(file.fileno())
    finally:
        probe.unlink(missing_ok=True)


def _remove_run(folder: Path) -> None:
    for pattern in (
        RESULT_FILE,
        HISTORY_FILE,
        LOG_FILE,
        CONFIG_FILE,
        REPORT_FILE,
        "checkpoint.*",
        "progress.*",
        *FIGURE_PATTERNS,
    ):
        for path in folder.glob(pattern):
            path.unlink()
    if (folder / DATASET_FOLDER).exists():
        shutil.rmtree(folder / DATASET_FOLDER)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid4().hex[:8]}.tmp")


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """Temporary file that takes the place of `path` once the block has ended well."""
    temporary = _temporary(path)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file so that readers see the old content or the new one, never a part."""
    with replacing_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """Temporary folder that takes the place of `folder` once the block has ended well."""
    temporary, old = _temporary(folder), _temporary(folder)
    try:
        yield temporary
        if folder.exists():
            folder.replace(old)
        temporary.replace(folder)
    except BaseException:
        if old.exists():
            old.replace(folder)
        raise
    finally:
        for leftover in (temporary, old):
            if leftover.exists():
                shutil.rmtree(leftover)


def save_result(result: Result, folder: Path) -> Path:
    """Write result.json and result.zarr; see `Result.save`."""
    from hetdask.results.storage import write_contents

    folder = folder.absolute()
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        own = result._folder is not None and result._folder.absolute() == folder
        if not own:
            with _replacing(folder / DATASET_FOLDER) as temporary:
                write_contents(temporary, result.contents())
        write_text(folder / RESULT_FILE, result.to_json())
    return folder


def _reduced_maps(result: Result, store: Store, runner: Runner | None) -> Iterator[AngleMaps]:
    missing = float("nan")
    tasks = [
        AngleTask(
            index,
            missing if angle.contrast is None else angle.contrast,
            missing if angle.offset is None else angle.offset,
        )
        for index, angle in enumerate(result.angles)
    ]
    common = (str(store.path), np.array([parameter.value for parameter in result.parameters.values()]), LIMIT)
    if runner is None:
        for task in tasks:
            yield reduce_angle(task, *common)
        return
    for batch in batched(tasks, MAPS_IN_FLIGHT):
        yield from runner.map(reduce_angle, list(batch), *common)


def write_run(
    folder: str | Path,
    refinement: Refinement,
    store: Store,
    *,
    config: Mapping[str, object] | None = None,
    report: bool = True,
    plots: bool = True,
    most_figures: int = ANGLE_FIGURES,
    runner: Runner | None = None,
    **facts: Unpack[RunFacts],
) -> Result:
    """Write everything that a fit leaves behind.

    result.json comes first, so that the numbers are safe whatever happens to the rest; then config.resolved.json,
    result.zarr (map by map, in little memory), figures and report.html. history.jsonl is written by the fit itself.

    Parameters
    ----------
    folder : str or Path
        From `prepare_run_folder`.
    refinement : hetdask.fitting.Refinement
        The one whose values count.
    store : Store
        The data that were fitted.
    config : mapping
        Resolved settings, as plain JSON.
    report : bool
        Draw figures and write report.html now; otherwise `refresh_report` does so later.
    plots : bool
        Draw figures.
    most_figures : int
        Most maps that get figures of their own.
    runner : Runner
        Reduces the maps on the workers; in this process where it is None.
    **facts
        What else there is to record, see `RunFacts`.

    Raises
    ------
    DataError
        If the folder can't be written or the store is damaged.
    """
    from hetdask.results.storage import write_contents

    folder = Path(folder).absolute()
    result = Result.from_refinement(refinement, store, **facts)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / RESULT_FILE, result.to_json())
        if config is not None:
            write_text(folder / CONFIG_FILE, dump_json(config))
        with _replacing(folder / DATASET_FOLDER) as temporary:
            write_contents(temporary, result.contents(), _reduced_maps(result, store, runner), LIMIT)
        result._folder = folder
        if report:
            refresh_report(result, folder, plots=plots, most_figures=most_figures)
    return result


def refresh_report(
    result: Result,
    folder: str | Path,
    *,
    plots: bool = True,
    most_figures: int = ANGLE_FIGURES,
    helper: ReportProcess | None = None,
) -> Path:
    """Draw the figures of a run folder and write its report.html anew; returns the path of the report.

    Parameters
    ----------
    result : Result
        As `Result.load` reads it from the folder.
    folder : str or Path
    plots, most_figures
        See `write_run`.
    helper : ReportProcess, optional
        Renders the report in the meantime.

    Raises
    ------
    DataError
        If the folder can't be written.
    """
    folder = Path(folder).absolute()
    if helper is not None:
        helper.begin(folder, most_figures)
    contents = result.contents() if plots else None
    with writing(folder):
        if contents is not None:
            write_figures(folder, contents, most_figures)
        if helper is not None and helper.finished():
            return folder / REPORT_FILE
        return write_report(folder, result, contents, write_text, most=most_figures)
