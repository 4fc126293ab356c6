"""A fit with its files: history as it grows, checkpoint to resume from."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from hetdask.fitting.checkpoint import Checkpoint, fingerprint
from hetdask.fitting.refine import HistoryEntry, Problem, Refinement, refine
from hetdask.passes.run import Passes

HISTORY_FILE = "history.jsonl"
CHECKPOINT_FILE = "checkpoint.npy"


def fit_store(
    passes: Passes,
    problem: Problem,
    *,
    folder: Path | None = None,
    resume: bool = False,
    max_evaluations: int = 200,
    tolerance: float = 1e-8,
    rounds: int = 2,
    on_entry: Callable[[HistoryEntry], None] | None = None,
) -> Refinement:
    """Fit a store and keep history and checkpoint in a run folder.

    Parameters
    ----------
    passes : Passes
    problem : Problem
    folder : Path, optional
        Existing run folder; None keeps nothing on disk.
    resume : bool
        Go on from the checkpoint in `folder`, if there is one.
    max_evaluations, tolerance, rounds
        As in `refine`.
    on_entry : callable, optional
        Called with each `HistoryEntry`, after it is on disk.

    Raises
    ------
    ConfigError
        If the checkpoint belongs to another fit.
    """
    store = passes.store
    identity = fingerprint(
        store.tile_checksum,
        store.phi,
        store.q,
        store.time,
        problem.start,
        problem.lower,
        problem.upper,
        np.array(problem.free),
        problem.sigma,
        np.array([tolerance, rounds]),
    )
    path = None if folder is None else folder / CHECKPOINT_FILE
    with Checkpoint(path, identity, passes.series.n_phi, len(problem.free), resume=resume) as checkpoint:
        # A resumed fit writes its whole history again, with the recorded evaluations first.
        lines = None if folder is None else (folder / HISTORY_FILE).open("w", encoding="utf-8")

        def enter(entry: HistoryEntry) -> None:
            if lines is not None:
                lines.write(json.dumps(asdict(entry)) + "\n")
                lines.flush()
            if on_entry is not None:
                on_entry(entry)

        try:
            return refine(
                passes,
                problem,
                max_evaluations=max_evaluations,
                tolerance=tolerance,
                rounds=rounds,
                checkpoint=checkpoint,
                on_entry=enter,
            )
        finally:
            if lines is not None:
                lines.close()
