"""Fits of the model to a store, from given start values to the optimum at full resolution.

`refine` holds the least squares, `checkpoint` what makes it resumable, `session` the files of a run.
"""

from hetdask.fitting.refine import AngleFit, HistoryEntry, Problem, Refinement, refine
from hetdask.fitting.session import fit_store

__all__ = ["AngleFit", "HistoryEntry", "Problem", "Refinement", "fit_store", "refine"]
