"""A trained model gives start values within bounds, depends on its seed only, and is kept without pickles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skops.io import dump

from hetdask.data.reduction import Reduced
from hetdask.errors import DataError
from hetdask.fitting.problem import Problem
from hetdask.learn.history import record_of
from hetdask.learn.model import StartModel
from hetdask.learn.simulated import usual_conditions
from hetdask.learn.training import train
from hetdask_cluster.dask_runner import DaskRunner

PHI = np.array([-10.0, 40.0, 100.0])


def test_start_values_differ_and_lie_within_the_bounds(model: StartModel, measure: Any, problem: Problem) -> None:
    starts = model.predict(*measure(PHI, sigma=0.003), problem).starts
    assert np.all((starts >= problem.lower) & (starts <= problem.upper))
    assert np.unique(starts, axis=0).shape == starts.shape
    narrow = replace(problem, start=problem.start.copy(), lower=problem.lower.copy(), upper=problem.upper.copy())
    narrow.lower[6], narrow.upper[6], narrow.start[6] = 50.0, 70.0, 60.0
    velocities = model.predict(*measure(PHI), narrow).starts[:, 6]
    assert np.all((velocities >= 50.0) & (velocities <= 70.0))


def test_fixed_parameters_keep_their_values(model: StartModel, measure: Any, problem: Problem) -> None:
    only = replace(problem, free=(0, 6, 13))
    starts = model.predict(*measure(PHI), only).starts
    fixed = [k for k in range(14) if k not in only.free]
    assert np.all(starts[:, fixed] == problem.start[fixed])


def test_the_predictions_beat_a_guess_without_data(model: StartModel) -> None:
    rates = [row for row in model.validation if row.name in {"log_rate_ref", "log_rate_sample"}]
    assert len(rates) == 2
    assert all(row.median_error < row.without_data for row in rates)


def test_the_seed_alone_decides_not_the_number_of_workers(
    dask_runner: DaskRunner, measure: Any, problem: Problem
) -> None:
    data = measure(PHI)
    here, there = (train(usual_conditions(), experiments=200, seed=3, runner=runner) for runner in (None, dask_runner))
    assert here.validation == there.validation
    assert np.array_equal(here.predict(*data, problem).starts, there.predict(*data, problem).starts)


def test_a_model_that_was_kept_predicts_the_same(
    model: StartModel, measure: Any, problem: Problem, tmp_path: Path
) -> None:
    model.save(tmp_path / "folder" / "model.skops")
    again = StartModel.load(tmp_path / "folder" / "model.skops")
    one, two = (x.predict(*measure(PHI), problem) for x in (model, again))
    assert np.array_equal(one.starts, two.starts)
    assert one.distance == two.distance
    assert again.conditions.digest == model.conditions.digest


def test_a_file_with_code_or_damage_is_refused(tmp_path: Path) -> None:
    dump({"components": Reduced, "networks": DataError("x")}, tmp_path / "foreign.skops")
    (tmp_path / "damaged.skops").write_bytes(b"PK\x03\x04 not a model")
    for name in ("foreign", "damaged"):
        with pytest.raises(DataError, match="history train"):
            StartModel.load(tmp_path / f"{name}.skops")


def test_data_unlike_all_that_was_learned_are_recognised(model: StartModel, measure: Any, problem: Problem) -> None:
    series, reduced = measure(PHI, sigma=0.003)
    assert not model.predict(series, reduced, problem).outside
    growing = 1.0 + 0.003 * (reduced.blocks.first_column - reduced.blocks.first_row)
    foreign = model.predict(series, replace(reduced, mean=np.tile(growing, (3, 1))), problem)
    assert foreign.outside
    assert "not used" in foreign.message


def test_an_earlier_fit_of_similar_data_is_among_the_start_values(
    model: StartModel, measure: Any, problem: Problem, truth: np.ndarray
) -> None:
    series, reduced = measure(PHI)
    record = record_of("earlier", truth, series, reduced)
    prediction = model.predict(series, reduced, problem, [record])
    assert prediction.starts[1] == pytest.approx(truth, rel=1e-6, abs=1e-6)
    assert prediction.origins[:2] == ("prediction", "history")


def test_fits_of_the_user_are_learned_from(measure: Any, problem: Problem, truth: np.ndarray) -> None:
    series, reduced = measure(PHI)
    records = [record_of(f"fit {k}", truth, series, reduced) for k in range(3)]
    own = train(usual_conditions(), records, experiments=200)
    without = train(usual_conditions(), experiments=200)
    assert own.own == 3
    error = [abs(np.log(x.predict(series, reduced, problem).starts[0, 3] / truth[3])) for x in (own, without)]
    assert error[0] < error[1]
