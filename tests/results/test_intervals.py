"""Errors by refits in result.json, result.zarr, summary and report."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from hetdask.data.store import Store
from hetdask.fitting import Refinement
from hetdask.fitting.bootstrap import Bootstrap
from hetdask.fitting.uncertainty import iid_uncertainty
from hetdask.model import NAMES
from hetdask.results import Result, result_schema
from hetdask.results.intervals import bootstrap_concerns, bootstrap_result
from hetdask.results.report import render_report
from hetdask.results.sections import Page
from hetdask.results.summary import as_text, summary

REFITS = 400


@pytest.fixture
def found(refinement: Refinement) -> Bootstrap:
    """Refits that scatter as the errors of the refinement, those of v0 twice as much; 30 did not converge."""
    free = [NAMES.index(name) for name in refinement.free]
    errors = np.nan_to_num(np.sqrt(np.diagonal(refinement.covariance)), nan=1e6)
    errors[refinement.free.index("v0")] *= 2.0
    start = refinement.values[free]
    estimates = start + errors * np.random.default_rng(2).standard_normal((REFITS, errors.size))
    at_bound = np.where(np.array(refinement.free) == "f3", 0.5, 0.0)
    return Bootstrap(start, estimates, 30, at_bound, 1, 0.99342, 12.0)


@pytest.fixture
def refitted(refinement: Refinement, store: Store, found: Bootstrap) -> Result:
    values = np.tile(refinement.values, (REFITS, 1))
    values[:, [NAMES.index(name) for name in refinement.free]] = found.estimates
    summed = bootstrap_result(found, refinement, iid_uncertainty(refinement))
    return Result.from_refinement(refinement, store, bootstrap=summed, refitted=values)


def test_intervals_are_percentiles_of_the_refits_that_converged(refitted: Result, found: Bootstrap) -> None:
    assert refitted.bootstrap is not None
    assert (refitted.bootstrap.experiments, refitted.bootstrap.failed) == (REFITS + 30, 30)
    v0, values = refitted.bootstrap.parameters["v0"], found.estimates[:, 6]
    assert v0.stderr == pytest.approx(np.std(values, ddof=1))
    assert v0.bias == pytest.approx(np.median(values) - 22.0)
    assert v0.interval_95 == pytest.approx(np.quantile(values, [0.025, 0.975]))
    inside = (values > v0.interval_68[0]) & (values < v0.interval_68[1])
    assert np.mean(inside) == pytest.approx(0.6827, abs=0.005)
    assert "D_offset_sample" not in refitted.bootstrap.parameters  # not determined


def test_a_reader_is_told_where_refits_say_something_else(refitted: Result) -> None:
    assert refitted.bootstrap is not None
    errors = {name: parameter.stderr for name, parameter in refitted.parameters.items()}
    failed, bound, apart = bootstrap_concerns(refitted.bootstrap, errors)
    assert failed.startswith("30 of 430 refits of the bootstrap did not converge")
    assert bound.startswith("Refits of the bootstrap ended at a bound of f3 (50%)")
    assert "differs from the standard error of v0 by more than 25%" in apart
    text = as_text(summary(refitted), 200)
    assert all(line in text for line in (failed, bound, apart, "keep 99.3 % of the information"))
    row = next(line.split() for line in text[text.index("Bootstrap\n") :].splitlines() if line.startswith(" v0"))
    assert row[:4] == ["v0", "22.00", "0.052", "0.10"]


def test_files_and_report_hold_them(refitted: Result, tmp_path: Path) -> None:
    jsonschema.validate(json.loads(refitted.to_json()), result_schema())
    again = Result.load(refitted.save(tmp_path / "run"))
    assert again == refitted
    data = again.to_xarray()
    assert refitted.bootstrap is not None
    assert data.sizes["refit"] == REFITS
    for name, one in refitted.bootstrap.parameters.items():
        assert float(data["bootstrap_stderr"].sel(parameter=name)) == one.stderr
        assert tuple(data["bootstrap_interval_95"].sel(parameter=name).to_numpy()) == one.interval_95
    assert np.isnan(data["bootstrap_stderr"].sel(parameter="f2"))
    page = render_report(Page(again))
    assert 'id="bootstrap"' in page
    assert "did not converge and are left out" in page
