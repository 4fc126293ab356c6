"""Fits with their files: history as it grows, checkpoints to resume from."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import numpy as np

from hetdask.fitting.checkpoint import Checkpoint, RecordFile, fingerprint
from hetdask.fitting.methods import Method, TrustRegion
from hetdask.fitting.objective import HistoryEntry
from hetdask.fitting.problem import Problem
from hetdask.fitting.reduced import at_full_resolution, looks_at_pixels
from hetdask.fitting.refine import Refinement, fit_with
from hetdask.passes.reduced import ReducedPasses
from hetdask.passes.run import Passes

HISTORY_FILE = "history.jsonl"


def checkpoint_file(method: Method) -> str:
    """Name of a method's checkpoint in a run folder."""
    return f"checkpoint.{method.name}.npy"


def fit_store(
    passes: Passes,
    problem: Problem,
    methods: Sequence[Method] = (TrustRegion(),),
    *,
    rounds: int = 2,
    reduced: ReducedPasses | None = None,
    folder: Path | None = None,
    resume: bool = False,
    on_entry: Callable[[HistoryEntry], None] | None = None,
) -> list[Refinement]:
    """Fit a store by each of some methods from the same start, with history and checkpoints in a run folder.

    Parameters
    ----------
    passes : Passes
    problem : Problem
    methods : sequence of Method
    rounds : int
        As in `fit_with`.
    reduced : ReducedPasses, optional
        Fitted instead, except by methods that look at single pixels.
    folder : Path, optional
        Existing run folder; None keeps nothing on disk.
    resume : bool
        Go on from the checkpoints in `folder`, if there are any.
    on_entry : callable, optional
        Called with each `HistoryEntry`, after it is on disk.

    Returns
    -------
    list of Refinement
        One for each method, in their order.

    Raises
    ------
    ConfigError
        If a checkpoint belongs to another fit.
    DataError
        If the run folder can't be written.
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
        *([] if reduced is None else [np.array([reduced.reduced.level])]),
    )

    def checkpoint(method: Method) -> Checkpoint:
        path = None if folder is None else folder / checkpoint_file(method)
        return Checkpoint(path, identity, resume=resume)

    with ExitStack() as files:
        checkpoints = [files.enter_context(checkpoint(method)) for method in methods]
        # A resumed fit writes its whole history again, with the recorded evaluations first.
        lines = None if folder is None else files.enter_context(RecordFile(folder / HISTORY_FILE))

        def enter(entry: HistoryEntry) -> None:
            if lines is not None:
                lines.write(f"{json.dumps(asdict(entry))}\n".encode())
            if on_entry is not None:
                on_entry(entry)

        def fit(method: Method, known: Checkpoint) -> Refinement:
            if reduced is None or looks_at_pixels(method):
                return fit_with(method, passes, problem, rounds=rounds, checkpoint=known, on_entry=enter)
            found = fit_with(method, reduced, problem, rounds=rounds, checkpoint=known, on_entry=enter)
            return at_full_resolution(found, reduced, passes, problem)

        return [fit(method, known) for method, known in zip(methods, checkpoints, strict=True)]
