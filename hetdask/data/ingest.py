"""From a beamline file to a store: maps are read once each, in parallel, within the memory budget."""

from __future__ import annotations

import hashlib
import math
import platform
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike

from hetdask import __version__
from hetdask.data.maps import AsymmetryOption, prepare_map
from hetdask.data.opening import Selection, open_selection
from hetdask.data.readers import MapEntry, Source, read_maps
from hetdask.data.selection import Q_TOLERANCE, AngleRanges, QSelection
from hetdask.data.store import Store
from hetdask.data.store_writer import MapRecord, PreparedMap, StoreWriter, WritePlan, write_group
from hetdask.data.tiling import PIXEL_BYTES, choose_shard_bytes
from hetdask.errors import ConfigError, DataError

if TYPE_CHECKING:
    from hetdask_cluster.runner import Runner

HASH_BLOCK: Final = 4 * 2**20

PROGRESS_TEXT: Final = "reading maps"

COPIES: Final = 2.0
"""Float32 maps that preparing one takes: the map, its masks and what is compared."""

WORK_BYTES: Final = 32 * 2**20
"""What a task takes whatever the size of the maps: differences for the noise, tiles, buffers."""

type Progress = Callable[[int, int, str], None]
"""Called with maps done, maps in all, and a text."""


def ingest(
    source: str | Path,
    store: str | Path,
    *,
    layout: str = "auto",
    q: QSelection = None,
    q_tolerance: float = Q_TOLERANCE,
    frames: tuple[int, int] | None = None,
    angles: AngleRanges = None,
    angle_fallback: bool = False,
    phi: ArrayLike | None = None,
    dt: float | None = None,
    time_origin: float = 0.0,
    key: str | None = None,
    asymmetry: AsymmetryOption = "error",
    overwrite: bool = False,
    runner: Runner | None = None,
    memory_limit: int | None = None,
    progress: Progress | None = None,
    tile: int | None = None,
    shard_bytes: int | None = None,
) -> Store:
    """Write the two-time maps of a file into a store.

    Parameters
    ----------
    source : str or Path
        Beamline file, cache of the original package, or array.
    store : str or Path
        Folder to make.
    layout : str
        One of `hetdask.data.readers.LAYOUTS`; "auto" finds out.
    q : float, sequence of float, "all" or None
        Wanted q in 1/Å. None takes the only one there is. For files that do not say q it is their q: one value, or
        one for each map.
    q_tolerance : float
        Relative distance within which q is the wanted one.
    frames : (int, int), optional
        First and last frame, inclusive, counted from 1.
    angles : sequence of (float, float), optional
        Ranges of phi in degrees; they may wrap around, so that 350° lies within (-10, 10).
    angle_fallback : bool
        Where no angle lies within the ranges, take all with a warning instead of raising.
    phi : (n,) float, optional
        Degrees, for files that do not say it.
    dt : float, optional
        Seconds between frames; takes precedence over the file's.
    time_origin : float
        Time of the first selected frame, s.
    key : str, optional
        Name of the array of maps in files without a layout.
    asymmetry : {"error", "average"}
        What to do with maps whose triangles differ.
    overwrite : bool
        Replace a store of this name, once the new one is complete.
    runner : Runner, optional
        Where maps are read and written; None does it in this process.
    memory_limit : int, optional
        Bytes that all tasks together may take; by default what the plan of the runner gives them.
    progress : callable, optional
        Called with maps done, maps in all, and a text.
    tile : int, optional
        Frames along a tile.
    shard_bytes : int, optional
        Size of a shard in memory; by default what suits the data and the runner.

    Returns
    -------
    Store

    Raises
    ------
    DataError
        If the file cannot be read, holds nothing of what was asked for or bad data, or the store cannot be written.
        Nothing is left behind.
    ConfigError
        If an option makes no sense.

    Examples
    --------
    >>> import tempfile
    >>> rng = np.random.default_rng(1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/maps.npy", 1 + np.triu(0.1 * rng.standard_normal((2, 50, 50))))
    ...     store = ingest(f"{folder}/maps.npy", f"{folder}/scan.zarr", phi=[0, 90], q=0.0054, dt=0.1, frames=(1, 40))
    >>> store.n_frames, store.q
    (40, array([0.0054, 0.0054]))
    """
    opened, selection = open_selection(
        source,
        layout=layout,
        q=q,
        q_tolerance=q_tolerance,
        frames=frames,
        angles=angles,
        angle_fallback=angle_fallback,
        phi=phi,
        dt=dt,
        key=key,
        asymmetry=asymmetry,
    )
    if not math.isfinite(time_origin):
        raise ConfigError(f"time_origin is {time_origin:g} s, expected a number of seconds, for example 0.0")
    if runner is None:
        from hetdask_cluster.runner import InlineRunner

        runner = InlineRunner()
    if runner.plan is not None:
        runner.plan.require_reading(task_bytes(opened, selection), f"reading a map of {opened.n_frames} frames")
        memory_limit = runner.plan.reading if memory_limit is None else memory_limit
    together = concurrent_tasks(opened, selection, runner.n_workers, memory_limit)
    if shard_bytes is None:
        room = None if runner.plan is None else runner.plan.task_room
        shard_bytes = choose_shard_bytes(len(selection.entries), selection.n_frames, room)
    before = _identity(opened.path)
    writer = StoreWriter(
        store,
        phi=[entry.phi for entry in selection.entries],
        q=[entry.q for entry in selection.entries],
        n_frames=selection.n_frames,
        dt=opened.dt,
        time_origin=time_origin,
        provenance=_provenance(opened, selection, q=q, q_tolerance=q_tolerance),
        overwrite=overwrite,
        tile=tile,
        shard_bytes=shard_bytes,
    )
    try:
        with writer, _hashing(opened.path) as digest:
            _write_maps(writer, opened, selection, runner, together, progress)
            writer.provenance["sha256"] = digest.result()
            if _identity(opened.path) != before:
                raise DataError(f"{opened.path} changed while it was read: ingest it again when it is complete")
    except OSError as error:
        raise DataError(
            f"the store {writer.path} could not be written ({error}); nothing was kept: "
            "check the disk, or choose another folder"
        ) from error
    return Store.open(store)


def concurrent_tasks(source: Source, selection: Selection, n_workers: int, memory_limit: int | None) -> int:
    """Tasks that may run at the same time within the memory limit.

    Parameters
    ----------
    memory_limit : int, optional
        Bytes; None sets no limit.

    Raises
    ------
    DataError
        If not even one fits.
    """
    needed = task_bytes(source, selection)
    if memory_limit is None:
        return max(1, n_workers)
    if needed > memory_limit:
        raise DataError(
            f"reading a map of {source.n_frames} frames takes {needed / 2**20:.0f} MiB, the limit is "
            f"{memory_limit / 2**20:.0f} MiB: raise memory_limit (--memory-limit), "
            f"for example to {math.ceil(needed / 2**30)}GiB"
        )
    return min(max(1, n_workers), memory_limit // needed)


def task_bytes(source: Source, selection: Selection) -> int:
    """Memory that reading, preparing and writing one map takes, in bytes."""
    # A chunk is held compressed and decompressed, an array that is not read map by map as a whole.
    read = source.map_bytes * (len(source.entries) + 1 if source.access == "whole" else 2)
    return int(WORK_BYTES + read + COPIES * PIXEL_BYTES * selection.n_frames**2)


def _write_maps(
    writer: StoreWriter,
    source: Source,
    selection: Selection,
    runner: Runner,
    together: int,
    progress: Progress | None,
) -> None:
    """Read all maps and write their shards, so many tasks at the same time."""
    total = len(selection.entries)
    done = 0
    if progress is not None:
        progress(0, total, PROGRESS_TEXT)

    def on_done(_index: int, records: list[MapRecord]) -> None:
        nonlocal done
        done += len(records)
        if progress is not None:
            progress(done, total, PROGRESS_TEXT)

    items = _split(writer.plan.tiling.groups, source, together)
    # All tasks at once, unless the memory limit allows fewer than there are workers.
    wave = len(items) if together >= runner.n_workers else together
    for first in range(0, len(items), wave):
        some = items[first : first + wave]
        for records in runner.map(_ingest_groups, some, source, selection, writer.plan, on_done=on_done):
            writer.add(records)


def _ingest_groups(
    groups: Sequence[tuple[int, int]], source: Source, selection: Selection, plan: WritePlan
) -> list[MapRecord]:
    """Task: read the maps of some groups of angles and write all their shards."""
    entries = [entry for first, last in groups for entry in selection.entries[first:last]]
    maps = _prepared(source, selection, entries)
    return [record for group in groups for record in write_group(plan, group, maps)]


def _prepared(source: Source, selection: Selection, entries: Sequence[MapEntry]) -> Iterator[PreparedMap]:
    frames = slice(*selection.frames)
    for entry, pixels in zip(entries, read_maps(source, entries), strict=True):
        name = f"{source.path}: the map {entry.name} (q = {entry.q:.5g} 1/Å, phi = {entry.phi:g}°)"
        first = selection.frames[0] + 1
        yield prepare_map(pixels[frames, frames], name, asymmetry=selection.asymmetry, first_frame=first)


def _split(groups: Sequence[tuple[int, int]], source: Source, together: int) -> list[Sequence[tuple[int, int]]]:
    """Groups of angles for each task.

    One, if maps can be read on their own. Otherwise every task reads the file from its beginning, so there are only as
    many tasks as run at the same time.
    """
    if source.access == "map":
        return [[group] for group in groups]
    edges = np.unique(np.linspace(0, len(groups), min(together, len(groups)) + 1).round().astype(int))
    return [groups[first:last] for first, last in pairwise(edges)]


def _identity(path: str) -> tuple[int, int]:
    status = Path(path).stat()
    return status.st_size, status.st_mtime_ns


@contextmanager
def _hashing(path: str) -> Iterator[Future[str]]:
    """SHA-256 of a file, computed in a thread while the block runs; abandoned if the block fails."""
    stop = threading.Event()
    with ThreadPoolExecutor(1, thread_name_prefix="sha256") as pool:
        try:
            yield pool.submit(_sha256, path, stop)
        finally:
            stop.set()


def _sha256(path: str, stop: threading.Event) -> str:
    digest = hashlib.sha256()
    with Path(path).open("rb", buffering=0) as file:
        while not stop.is_set() and (block := file.read(HASH_BLOCK)):
            digest.update(block)
    return digest.hexdigest()


def _provenance(source: Source, selection: Selection, *, q: QSelection, q_tolerance: float) -> dict[str, Any]:
    """What the store says about where it comes from."""
    return {
        "source": source.path,
        "size": Path(source.path).stat().st_size,
        "layout": source.layout,
        "notes": list(source.notes),
        "selection": {
            "q": q if q is None or isinstance(q, str) else np.atleast_1d(q).tolist(),
            "q_tolerance": q_tolerance,
            "frames": [selection.frames[0] + 1, selection.frames[1]],
            "frames_in_file": source.n_frames,
            "angles": None
            if selection.angles is None
            else [[float(low), float(high)] for low, high in selection.angles],
            "asymmetry": selection.asymmetry,
        },
        "maps": [{"name": entry.name, "bin": entry.bin} for entry in selection.entries],
        "versions": {
            "hetdask": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "h5py", "zarr")},
        },
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
