"""What is in a file or a store, before anything is computed with it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hetdask.data.maps import Findings, prepare_map
from hetdask.data.readers import Source, open_source, read_maps
from hetdask.data.selection import Q_TOLERANCE, q_values
from hetdask.data.store import Store, is_store
from hetdask.data.tiling import Tiling
from hetdask.errors import DataError

MOST_BYTES: Final = 2**30
"""Of a larger file only some maps, evenly spread, are read."""


@dataclass(frozen=True, slots=True)
class InspectedMap:
    """One map.

    Attributes
    ----------
    name : str
        As in the file.
    bin : int or None
    q, phi : float
        1/Å and degrees; NaN where the file does not say.
    findings : Findings or None
        None where its pixels were not read.
    problem : str or None
        Why it could not be used.
    """

    name: str
    bin: int | None
    q: float
    phi: float
    findings: Findings | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Inspection:
    """What is in a file or a store.

    Attributes
    ----------
    path : str
    kind : {"source", "store"}
    layout : str
        Of the file, or of the file that a store was made from.
    maps : tuple of InspectedMap
    n_frames : int
    dt : float
        s; NaN where the file does not say.
    time_origin : float
        s.
    frames : (int, int)
        First and last frame in the source, from 1.
    notes : tuple of str
        What had to be assumed.
    missing : tuple of str
        Which of phi, q, dt the caller has to give.
    disk_bytes : int
        Size on disk.
    tiling : Tiling
        Of a store of all maps.
    """

    path: str
    kind: Literal["source", "store"]
    layout: str
    maps: tuple[InspectedMap, ...]
    n_frames: int
    dt: float
    time_origin: float
    frames: tuple[int, int]
    notes: tuple[str, ...]
    missing: tuple[str, ...]
    disk_bytes: int
    tiling: Tiling

    @property
    def examined(self) -> tuple[InspectedMap, ...]:
        """Maps whose pixels are known."""
        return tuple(item for item in self.maps if item.findings is not None or item.problem is not None)

    @property
    def n_points(self) -> int:
        """Pixels that a fit of all maps would use, if nothing is missing in maps that were not read."""
        full = self.n_frames * (self.n_frames - 1) // 2
        return sum(item.findings.pixels if item.findings else 0 if item.problem else full for item in self.maps)

    @property
    def resident_bytes(self) -> int:
        """Memory that a fit needs to keep all maps on the workers."""
        return len(self.maps) * self.tiling.map_bytes

    @property
    def shard_bytes(self) -> int:
        """Memory of one shard, which each worker needs at least."""
        largest = max(spec.n_tiles for spec in self.tiling.shards("", self.tiling.groups[0]))
        return largest * self.tiling.tile_bytes

    def lines(self) -> list[str]:
        """The whole of it as plain text, line by line."""
        return [*self._file_lines(), *self._map_lines(), *self._need_lines()]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _file_lines(self) -> list[str]:
        step = f"{self.dt:g} s" if math.isfinite(self.dt) else "not in the file"
        duration = f", {self.dt * (self.n_frames - 1):g} s in all" if math.isfinite(self.dt) else ""
        lines = [
            f"{self.kind:<10} {self.path}",
            f"layout     {self.layout}",
            f"maps       {len(self.maps)} of {self.n_frames} × {self.n_frames} frames",
            f"frames     {self.frames[0]} to {self.frames[1]} of the source, dt = {step}{duration}",
            f"q          {self._q_text()}",
            f"phi        {self._phi_text()}",
        ]
        lines += [f"note       {note}" for note in self.notes]
        if self.missing:
            lines.append(f"not known  {', '.join(self.missing)}: give them with --{' and --'.join(self.missing)}")
        return lines

    def _q_text(self) -> str:
        q = np.array([item.q for item in self.maps])
        if not np.all(np.isfinite(q)):
            return "not in the file"
        return ", ".join(f"{value:.5g} ({count} maps)" for value, count in q_values(q, Q_TOLERANCE)) + " 1/Å"

    def _phi_text(self) -> str:
        if not all(math.isfinite(item.phi) for item in self.maps):
            return "not in the file"
        return _spelled(item.phi for item in self.maps) + "°"

    def _map_lines(self) -> list[str]:
        examined = self.examined
        if not examined:
            return []
        lines = [""]
        if len(examined) < len(self.maps):
            lines.append(f"pixels of {len(examined)} of {len(self.maps)} maps, evenly spread:")
        lines.append(
            f"{'bin':>5} {'q 1/Å':>9} {'phi °':>8}  {'triangle':<9} {'diagonal':<13} {'baseline':>8} {'noise':>9}  "
            f"{'asymmetry':>9} {'missing':>8}  bad frames"
        )
        for item in examined:
            start = f"{'' if item.bin is None else item.bin:>5} {item.q:>9.5g} {item.phi:>8.6g}  "
            lines.append(start + (f"{item.problem}" if item.findings is None else _findings_text(item.findings)))
        return lines

    def _need_lines(self) -> list[str]:
        return [
            "",
            f"pixels     {self.n_points:,}",
            f"on disk    {_size(self.disk_bytes)}",
            f"to fit     {_size(self.resident_bytes)} of memory for all maps, or",
            f"           {_size(self.shard_bytes)} on each worker, reading from disk in every pass",
        ]


def inspect(
    path: str | Path,
    *,
    layout: str = "auto",
    key: str | None = None,
    phi: ArrayLike | None = None,
    q: ArrayLike | None = None,
    dt: float | None = None,
    most_bytes: int = MOST_BYTES,
    progress: Callable[[int, int, str], None] | None = None,
) -> Inspection:
    """Look into a file of two-time maps or a store.

    Parameters
    ----------
    path : str or Path
    layout, key, phi, q, dt
        As for `hetdask.ingest`; they may be left out.
    most_bytes : int
        Pixels of a file that are read; of a larger one some maps, evenly spread, but one at least.
    progress : callable, optional
        Called with maps read, maps to read, and a text.

    Raises
    ------
    DataError
        If it is neither a file that can be read nor a complete store.

    Examples
    --------
    >>> import tempfile
    >>> rng = np.random.default_rng(1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/maps.npy", 1 + np.triu(0.1 * rng.standard_normal((2, 50, 50))))
    ...     found = inspect(f"{folder}/maps.npy", phi=[0, 90], q=0.0054, dt=0.1)
    >>> found.layout, found.maps[0].findings.triangle, found.n_points
    ('plain', 'upper', 2450)
    """
    folder = Path(path)
    if folder.is_dir():
        if not is_store(folder):
            raise DataError(
                f"{folder} is a folder but not a hetdask store, expected a file of two-time maps or a store"
            )
        return _inspect_store(Store.open(folder))
    source = open_source(path, layout=layout, key=key, phi=phi, q=q, dt=dt)
    return _inspect_source(source, most_bytes, progress)


def _inspect_source(source: Source, most_bytes: int, progress: Callable[[int, int, str], None] | None) -> Inspection:
    count = len(source.entries)
    chosen = np.unique(np.linspace(0, count - 1, max(1, min(count, most_bytes // source.map_bytes))).astype(int))
    maps = [InspectedMap(entry.name, entry.bin, entry.q, entry.phi) for entry in source.entries]
    entries = [source.entries[index] for index in chosen]
    for done, (index, pixels) in enumerate(zip(chosen, read_maps(source, entries), strict=True)):
        if progress is not None:
            progress(done, len(chosen), "reading maps")
        maps[index] = _examined(maps[index], pixels)
    return Inspection(
        path=source.path,
        kind="source",
        layout=source.layout,
        maps=tuple(maps),
        n_frames=source.n_frames,
        dt=source.dt,
        time_origin=0.0,
        frames=(1, source.n_frames),
        notes=source.notes,
        missing=source.missing,
        disk_bytes=Path(source.path).stat().st_size,
        tiling=Tiling.plan(count, source.n_frames),
    )


def _examined(item: InspectedMap, pixels: NDArray[np.floating]) -> InspectedMap:
    findings, problem = None, None
    try:
        _, _, findings = prepare_map(pixels, "the map", asymmetry="average")
    except DataError as error:
        problem = str(error)
    return InspectedMap(item.name, item.bin, item.q, item.phi, findings, problem)


def _inspect_store(store: Store) -> Inspection:
    known = store.provenance["maps"]
    maps = []
    for index, values in enumerate(known):
        findings = {name: values[name] for name in Findings.__dataclass_fields__}
        maps.append(
            InspectedMap(
                name=values.get("name", f"map {index + 1}"),
                bin=values.get("bin"),
                q=float(store.q[index]),
                phi=float(store.phi[index]),
                findings=Findings.from_dict(findings),
            )
        )
    selection = store.provenance.get("selection", {})
    first, last = selection.get("frames", (1, store.n_frames))
    return Inspection(
        path=str(store.path),
        kind="store",
        layout=store.provenance.get("layout", "none"),
        maps=tuple(maps),
        n_frames=store.n_frames,
        dt=store.dt,
        time_origin=store.time_origin,
        frames=(first, last),
        notes=tuple(store.provenance.get("notes", ())),
        missing=(),
        disk_bytes=sum(file.stat().st_size for file in store.path.rglob("*") if file.is_file()),
        tiling=store.tiling,
    )


def _findings_text(findings: Findings) -> str:
    baseline = "other" if findings.baseline is None else str(findings.baseline)
    asymmetry = "" if findings.asymmetry is None else f"{findings.asymmetry:.2g}"
    return (
        f"{findings.triangle:<9} {findings.diagonal:<13} {baseline:>8} {findings.noise:>9.4g}  "
        f"{asymmetry:>9} {findings.missing:>8}  {_ranges(findings.bad_frames) or 'none'}"
    )


def _ranges(numbers: Iterable[int], most: int = 6) -> str:
    """Numbers with neighbours joined: 3, 7-9."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    texts = [str(first) if first == last else f"{first}-{last}" for first, last in runs]
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")


def _spelled(values: Iterable[float], most: int = 12) -> str:
    known = list(dict.fromkeys(f"{value:g}" for value in values))
    return ", ".join(known[:most]) + (f" and {len(known) - most} more" if len(known) > most else "")


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:.4g} TiB"
