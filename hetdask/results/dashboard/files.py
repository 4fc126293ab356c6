"""A run as its files tell: history.jsonl, progress.json, progress.npz and result.json, read again as they grow."""

from __future__ import annotations

import json
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hetdask.results.files import HISTORY_FILE
from hetdask.results.live import PROGRESS_FILE, RESIDUALS_FILE
from hetdask.results.result import RESULT_FILE

SILENT_SECONDS: Final = 60.0
"""A run that goes on has written something within this time, unless a pass takes longer."""


@dataclass(slots=True)
class RunFiles:
    """What is known of a run.

    Attributes
    ----------
    folder : Path
    history : list of dict
        Evaluations, as `hetdask.fitting.HistoryEntry`; only whole lines of the file.
    progress : dict
        Content of progress.json; empty where there is none.
    result : dict
        Content of result.json; empty while the run goes on.
    residual : (k, side, side) float32
        Of some maps, in units of c2; k = 0 where none is known.
    phi, q : (k,) float64
        Of these maps, degrees and 1/Å.
    """

    folder: Path
    history: list[dict[str, Any]] = field(default_factory=list)
    progress: dict[str, Any] = field(default_factory=dict)
    result: dict[str, Any] = field(default_factory=dict)
    residual: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 1, 1), np.float32))
    phi: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    q: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    _read: int = 0
    _seen: dict[str, tuple[int, int]] = field(default_factory=dict)

    def refresh(self) -> bool:
        """Read what is new; whether anything is."""
        found = [self._history(), self._json(PROGRESS_FILE, "progress"), self._json(RESULT_FILE, "result")]
        return any([*found, self._residuals()])

    @property
    def best(self) -> dict[str, Any] | None:
        """The evaluation with the lowest χ² so far."""
        return min(self.history, key=lambda entry: float(entry["chi_squared"]), default=None)

    @property
    def free(self) -> list[str]:
        """Parameters that are fitted: those that have moved, or have errors."""
        if not self.history:
            return []
        first, last = self.history[0], self.history[-1]
        return [
            name for name, value in last["values"].items() if name in last["errors"] or value != first["values"][name]
        ]

    @property
    def state(self) -> str:
        """Stage of the run, or how it ended."""
        if self.result:
            return str(self.result["status"]).replace("_", " ")
        if not self.progress:
            return "no run yet" if not self.history else "running"
        stage = str(self.progress["stage"])
        silent = time.time() - float(self.progress["written"])
        return stage if silent < SILENT_SECONDS or stage == "stopped" else f"{stage}, silent for {silent:.0f} s"

    def _changed(self, name: str) -> bool | None:
        """Whether a file is another one than before; None where there is none."""
        try:
            found = (self.folder / name).stat()
        except FileNotFoundError:
            return None if self._seen.pop(name, None) is None else True
        mark = (found.st_mtime_ns, found.st_size)
        changed = self._seen.get(name) != mark
        self._seen[name] = mark
        return changed

    def _history(self) -> bool:
        if not self._changed(HISTORY_FILE):
            return False
        path = self.folder / HISTORY_FILE
        size = path.stat().st_size if path.exists() else 0
        if size < self._read:
            self.history, self._read = [], 0
        if not size:
            return True
        with path.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        self.history += [{"errors": {}, "angles": []} | json.loads(line) for line in whole.splitlines()]
        return True

    def _json(self, name: str, attribute: str) -> bool:
        changed = self._changed(name)
        if not changed:
            return False
        path = self.folder / name
        setattr(self, attribute, json.loads(path.read_bytes()) if path.exists() else {})
        return True

    def _residuals(self) -> bool:
        if not self._changed(RESIDUALS_FILE):
            return False
        try:
            with np.load(self.folder / RESIDUALS_FILE, allow_pickle=False) as content:
                self.residual, self.phi, self.q = content["residual"], content["phi"], content["q"]
        except (FileNotFoundError, zipfile.BadZipFile):
            return False
        return True
