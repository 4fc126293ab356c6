"""Data of an experiment whose truth is known, and a model trained on a few experiments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hetdask.data.reduction import Reduced, reduce_maps
from hetdask.fitting.problem import Problem, integrable_bounds
from hetdask.learn.model import StartModel
from hetdask.learn.simulated import usual_conditions
from hetdask.learn.training import train
from hetdask.model import PARAMETERS, as_vector, simulate_gaussian
from hetdask.passes.tiles import Series

TIME = np.arange(120) * 0.5
Q = 0.0054
FEW = 300
"""Experiments that a model is trained on."""

TRUTH = {
    "D0_ref": 300.0,
    "alpha_ref": -0.2,
    "D0_sample": 2500.0,
    "alpha_sample": 0.1,
    "v0": 60.0,
    "beta": 0.1,
    "f0": 0.5,
    "f1": -0.02,
    "f3": 0.1,
    "phi0": 25.0,
}

type Measure = Callable[..., tuple[Series, Reduced]]


@pytest.fixture(scope="session")
def measure() -> Measure:
    """Measure the experiment at some angles; keywords change its parameters, contrast and offset."""

    def measured(
        phi: NDArray[np.float64], *, sigma: float = 0.0, contrast: float = 0.3, offset: float = 1.0, **changes: Any
    ) -> tuple[Series, Reduced]:
        maps = simulate_gaussian(
            {**TRUTH, **changes},
            TIME,
            phi,
            Q,
            contrast=contrast,
            offset=offset,
            sigma=sigma,
            rng=np.random.default_rng(4),
        )
        excluded = np.zeros((phi.size, TIME.size), dtype=np.bool_)
        series = Series(phi, np.full(phi.size, Q), TIME, excluded, np.ones(phi.size), 32)
        return series, reduce_maps(maps, 0, np.full(phi.size, sigma))

    return measured


@pytest.fixture(scope="session")
def problem() -> Problem:
    """Everything free within the usual bounds, f2 aside; three angles."""
    start, lower, upper = np.array([(spec.start, spec.lower, spec.upper) for spec in PARAMETERS]).T
    free = tuple(k for k, spec in enumerate(PARAMETERS) if not spec.fixed)
    return Problem(start, integrable_bounds(lower, 0.0), upper, free, np.full(3, 0.01))


@pytest.fixture(scope="session")
def truth() -> NDArray[np.float64]:
    return as_vector(TRUTH)


@pytest.fixture(scope="session")
def model() -> StartModel:
    return train(usual_conditions(), experiments=FEW)
