"""Fits of reduced data: which methods they serve, and what all pixels say about their outcome."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from hetdask.fitting.methods import Method
from hetdask.fitting.objective import DataPasses
from hetdask.fitting.problem import Problem
from hetdask.fitting.refine import Refinement, angle_fits
from hetdask.fitting.robust import Scenario
from hetdask.fitting.robust_loss import Huber, StudentT
from hetdask.model.parameters import NAMES
from hetdask.passes.normal import project
from hetdask.passes.reduced import ReducedPasses, retained_information

PIXELS: Final = (Huber, StudentT, Scenario)
"""Methods that weight single pixels or resample frames: reduced data do not serve them."""


def looks_at_pixels(method: Method) -> bool:
    """Whether a method needs the data at full resolution."""
    return isinstance(method, PIXELS)


def at_full_resolution(fit: Refinement, reduced: ReducedPasses, passes: DataPasses, problem: Problem) -> Refinement:
    """A fit of reduced data with χ², scaling and residuals of all pixels at its values, in one pass over them.

    Parameters
    ----------
    fit : Refinement
        Its values, status and history stay what they are.
    reduced : ReducedPasses
        What was fitted.
    passes : DataPasses
        The same data at full resolution.
    problem : Problem
    """
    free = tuple(NAMES.index(name) for name in fit.free)
    full, kept = (project(data(fit.values, free)) for data in (passes, reduced))
    return replace(
        fit,
        chi_squared=float(problem.sigma**-2.0 @ full.sum_squares),
        angles=angle_fits(passes.series, problem, full),
        passes=1,
        retained_information=retained_information(kept, full),
    )
