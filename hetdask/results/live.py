"""What a run tells while it goes on: small files in its folder, from which `hetdask.results.dashboard` draws its page.

progress.json says where the run is and how much memory it takes; progress.npz holds the residual of some maps, from
block means that the fit has in memory. Both are replaced as a whole. The evaluations are in history.jsonl.
"""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from hetdask.model.parameters import NAMES
from hetdask.results.files import replacing_file
from hetdask.results.tables import shown_angles

if TYPE_CHECKING:
    from hetdask.fitting import HistoryEntry
    from hetdask.passes.plan import FitPlan
    from hetdask.passes.reduced import ReducedPasses
    from hetdask_cluster.runner import Runner

Array = NDArray[np.float64]

PROGRESS_FILE: Final = "progress.json"
RESIDUALS_FILE: Final = "progress.npz"
PROGRESS_SCHEMA: Final = "hetdask.progress/1"

WRITE_SECONDS: Final = 0.5
"""progress.json is written at most so often."""

DRAW_SECONDS: Final = 2.0
"""Residuals are computed at most so often."""

SIDE: Final = 48
"""Pixels along a side of a residual."""

MOST_MAPS: Final = 12
"""Maps whose residuals are kept, evenly spread."""


class Progress(Protocol):
    """What a long analysis tells while it runs."""

    def stage(self, name: str) -> None:
        """A stage begins.

        One of "ingest", "reduce", "learn", "search", "load", "refine", "noise", "errors", "weigh", "residuals",
        "bootstrap", "profile", "results" and "report".
        """

    def advance(self, done: int, total: int, text: str) -> None:
        """So many steps of the stage are done."""

    def evaluation(self, entry: HistoryEntry) -> None:
        """The fit has evaluated the model once more."""

    def memory(self, used: int, limit: int | None) -> None:
        """Bytes that the largest worker takes now, and its limit."""


class Silent:
    """Progress that nobody watches."""

    def stage(self, name: str) -> None:
        """Say nothing."""

    def advance(self, done: int, total: int, text: str) -> None:
        """Say nothing."""

    def evaluation(self, entry: HistoryEntry) -> None:
        """Say nothing."""

    def memory(self, used: int, limit: int | None) -> None:
        """Say nothing."""


class LiveRun:
    """Keeps the files of a running fit up to date, and passes everything on.

    Parameters
    ----------
    folder : Path or None
        Run folder; None writes nothing.
    progress : Progress
        Who else listens.
    runner : Runner
    plan : FitPlan
    """

    def __init__(self, folder: Path | None, progress: Progress, runner: Runner, plan: FitPlan) -> None:
        self._folder, self._progress, self._runner = folder, progress, runner
        memory = runner.plan
        self._limit = None if memory is None else memory.per_worker
        self._began = time.time()
        self._written = self._drawn = 0.0
        self._reduced: ReducedPasses | None = None
        self._state: dict[str, object] = {
            "schema": PROGRESS_SCHEMA,
            "began": self._began,
            "stage": "start",
            "step": None,
            "n_points": None,
            "phi": [],
            "budget": None if memory is None else memory.budget,
            "limit": self._limit,
            "projected": plan.projected_worker,
            "workers": [],
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._state |= {"stage": "stopped", "step": None}
            self._replace(PROGRESS_FILE, json.dumps(self._state | {"written": time.time()}).encode())

    def show(self, reduced: ReducedPasses) -> None:
        """Draw residuals from these data from now on."""
        self._reduced = reduced
        self._state |= {"n_points": reduced.n_points, "phi": reduced.series.phi.tolist()}

    def stage(self, name: str) -> None:
        """A stage begins."""
        self._progress.stage(name)
        self._state |= {"stage": name, "step": None}
        self._write(at_once=True)

    def advance(self, done: int, total: int, text: str) -> None:
        """So many steps of the stage are done."""
        self._progress.advance(done, total, text)
        self._state["step"] = {"done": done, "total": total, "text": text}
        self._write()

    def evaluation(self, entry: HistoryEntry) -> None:
        """The fit has evaluated the model once more."""
        self._write()
        self._progress.evaluation(entry)
        if entry.improved:
            self._draw(np.array([entry.values[name] for name in NAMES]))

    def memory(self, used: int, limit: int | None) -> None:
        """Pass it on."""
        self._progress.memory(used, limit)

    def end(self, status: str, values: Array) -> None:
        """The run has ended."""
        self._drawn = 0.0
        self._draw(values)
        self._state |= {"stage": status, "step": None}
        self._write(at_once=True)

    def _write(self, *, at_once: bool = False) -> None:
        now = time.time()
        if now - self._written < WRITE_SECONDS and not at_once:
            return
        self._written = now
        workers = self._runner.worker_memory()
        if workers:
            self._progress.memory(max(workers), self._limit)
        self._replace(PROGRESS_FILE, json.dumps(self._state | {"workers": workers, "written": now}).encode())

    def _draw(self, vector: Array) -> None:
        now = time.time()
        if self._reduced is None or self._folder is None or now - self._drawn < DRAW_SECONDS:
            return
        self._drawn = now
        angles = shown_angles(self._reduced.series.n_phi, MOST_MAPS)
        content = io.BytesIO()
        series = self._reduced.series
        np.savez(
            content, residual=residual_images(self._reduced, vector, angles), phi=series.phi[angles], q=series.q[angles]
        )
        self._replace(RESIDUALS_FILE, content.getvalue())

    def _replace(self, name: str, content: bytes) -> None:
        if self._folder is None:
            return
        try:
            with replacing_file(self._folder / name) as temporary:
                temporary.write_bytes(content)
        except OSError:
            # The page stands still; what the fit itself can't write ends the run with a message.
            self._written = time.time()


def residual_images(reduced: ReducedPasses, vector: Array, angles: list[int], side: int = SIDE) -> NDArray[np.float32]:
    """Residuals of some maps with contrast and offset solved, (k, side, side), in units of c2, symmetric.

    Parameters
    ----------
    reduced : ReducedPasses
    vector : (14,) float64
    angles : list of k int
    side : int
        Most pixels along a side; fewer for fewer frames.
    """
    blocks = reduced.reduced.blocks
    side = min(side, blocks.n_frames // 2)
    frame = ((np.arange(side) + 0.5) * blocks.n_frames / side).astype(np.int64)
    row, column = np.triu_indices(side, 1)
    found = blocks.find(frame[row], frame[column])
    model = reduced.model_means(vector)
    images = np.full((len(angles), side, side), np.nan, np.float32)
    for image, m in zip(images, angles, strict=True):
        weight = np.sqrt(reduced.reduced.count[m])
        design = np.stack([np.ones_like(weight), model[m]], axis=1)
        data = reduced.reduced.mean[m]
        solution = np.linalg.lstsq(design * weight[:, None], data * weight)[0]
        residual = np.where(weight > 0.0, data - design @ solution, np.nan)
        image[row, column] = image[column, row] = residual[found]
    return images
