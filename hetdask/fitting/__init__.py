"""Fits of the model to data, from given start values to the optimum.

`problem` says what is fitted, `methods` holds the classical solvers, `robust` and `robust_loss` the robust ones,
`refine` runs one of them, `session` several with the files of a run.
"""

from hetdask.fitting.methods import Method, NelderMead, TrustRegion
from hetdask.fitting.objective import HistoryEntry
from hetdask.fitting.outliers import Region
from hetdask.fitting.problem import Problem, integrable_bounds
from hetdask.fitting.refine import AngleFit, Refinement, best_of, fit_with, refine
from hetdask.fitting.robust import Ellipsoidal, Scenario, Wasserstein
from hetdask.fitting.robust_loss import Huber, StudentT
from hetdask.fitting.session import fit_store

__all__ = [
    "AngleFit",
    "Ellipsoidal",
    "HistoryEntry",
    "Huber",
    "Method",
    "NelderMead",
    "Problem",
    "Refinement",
    "Region",
    "Scenario",
    "StudentT",
    "TrustRegion",
    "Wasserstein",
    "best_of",
    "fit_store",
    "fit_with",
    "integrable_bounds",
    "refine",
]
