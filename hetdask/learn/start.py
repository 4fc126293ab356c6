"""Start values for a data set, from the model that fits it best; models are kept in the user's folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import sklearn

from hetdask.data.reduction import Reduced
from hetdask.fitting.problem import Problem
from hetdask.learn.folder import user_folder
from hetdask.learn.history import read_history
from hetdask.learn.model import FORMAT, Prediction, StartModel
from hetdask.learn.simulated import Conditions, conditions_of, usual_conditions
from hetdask.learn.training import EXPERIMENTS, OnStep, train
from hetdask.passes.tiles import Series

if TYPE_CHECKING:
    from hetdask_cluster.runner import Runner

PREFIX = f"start-{FORMAT}-sklearn{sklearn.__version__}-"
"""Of the file names: a model of other versions is not looked for."""


def model_path(conditions: Conditions) -> Path:
    """Where the model for these conditions is kept."""
    return user_folder() / f"{PREFIX}{conditions.digest}.skops"


def known_models() -> Iterator[Path]:
    """Files of all models that can be used."""
    yield from sorted(user_folder().glob(f"{PREFIX}*.skops"))


def train_and_keep(
    conditions: Conditions,
    *,
    runner: Runner | None = None,
    experiments: int = EXPERIMENTS,
    on_step: OnStep | None = None,
) -> StartModel:
    """Train a model, with the user's history if there is one, and keep it; arguments as in `train`.

    Raises
    ------
    DataError
        If the history can't be read or the model not be written.
    """
    model = train(conditions, read_history(), runner=runner, experiments=experiments, on_step=on_step)
    model.save(model_path(conditions))
    return model


def learned_starts(
    series: Series,
    reduced: Reduced,
    problem: Problem,
    *,
    runner: Runner | None = None,
    on_step: OnStep | None = None,
) -> Prediction:
    """Start values for reduced data, the finer the better.

    A model that was trained for exactly these bounds and conditions serves, else the usual one, which is trained when
    it is first needed, in about a minute. The user's fits of similar data are among the start values.

    Parameters
    ----------
    series : Series
    reduced : Reduced
    problem : Problem
        Its start values serve for fixed parameters only.
    runner : Runner, optional
        Where experiments are simulated if a model must be trained.
    on_step : callable, optional
        Called with steps done, steps in all, and what they are, if a model must be trained.

    Raises
    ------
    DataError
        If a model can't be read or written.
    """
    history = read_history()
    for conditions in (conditions_of(problem, series), usual_conditions()):
        path = model_path(conditions)
        if path.exists():
            return StartModel.load(path).predict(series, reduced, problem, history)
    model = train_and_keep(usual_conditions(), runner=runner, on_step=on_step)
    return model.predict(series, reduced, problem, history)
