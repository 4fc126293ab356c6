"""Fits of the model to data, from given start values to the optimum.

`problem` says what is fitted, `methods` holds the solvers, `refine` runs one of them, `session` several with the
files of a run.
"""

from hetdask.fitting.methods import Method, NelderMead, TrustRegion
from hetdask.fitting.objective import HistoryEntry
from hetdask.fitting.problem import Problem, integrable_bounds
from hetdask.fitting.refine import AngleFit, Refinement, best_of, fit_with, refine
from hetdask.fitting.session import fit_store

__all__ = [
    "AngleFit",
    "HistoryEntry",
    "Method",
    "NelderMead",
    "Problem",
    "Refinement",
    "TrustRegion",
    "best_of",
    "fit_store",
    "fit_with",
    "integrable_bounds",
    "refine",
]
