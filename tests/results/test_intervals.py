"""Errors by refits in result.json, result.zarr, summary and report."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from hetdask.data.store import Store
from hetdask.errors import DataError
from hetdask.fitting import Refinement
from hetdask.fitting.bootstrap import Bootstrap
from hetdask.fitting.profile import Profile
from hetdask.fitting.uncertainty import iid_uncertainty
from hetdask.model import NAMES
from hetdask.results import Result, result_schema
from hetdask.results.describe import profile_text
from hetdask.results.figures import write_figures
from hetdask.results.formatting import format_number
from hetdask.results.intervals import (
    ProfileParameter,
    ProfilesResult,
    bootstrap_concerns,
    bootstrap_result,
    profile_concerns,
)
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


def profiles() -> ProfilesResult:
    """Of v0, as its standard error says; of D0_ref, open below and lower than the fit further up."""
    steps = np.linspace(-2.2, 2.2, 9)
    v0 = Profile("v0", 22.0, 30.0, 22.0 + 0.052 * steps, steps**2, ("reached", "reached"))
    deviance = np.array([0.4, 0.2, 0.0, -0.3, 4.5])
    d0 = Profile("D0_ref", 401.0, 30.0, np.array([1.0, 380.0, 401.0, 410.0, 430.0]), deviance, ("bound", "reached"))
    parameters = {
        one.name: ProfileParameter(
            optimum=one.optimum,
            scale=one.scale,
            interval_68=one.ends(1.0),
            interval_95=one.ends(3.841459),
            endings=one.endings,
            values=one.values.tolist(),
            deviance=one.deviance.tolist(),
        )
        for one in (v0, d0)
    }
    return ProfilesResult(level=0, retained_information=0.998, seconds=1.0, note="refits", parameters=parameters)


def test_profiles_are_told_drawn_and_kept(refinement: Refinement, store: Store, tmp_path: Path) -> None:
    result = Result.from_refinement(refinement, store, profiles=profiles())
    jsonschema.validate(json.loads(result.to_json()), result_schema())
    bound, better = profile_concerns(profiles())
    assert bound.startswith("The 95 % interval of D0_ref is open below: its bound 1 lies within (deviance 0.4 there")
    assert better.startswith("The profile of D0_ref found a lower chi-squared at D0_ref = 410, by 0.3")
    text = as_text(summary(result), 200)
    assert bound in text
    assert better in text
    row = next(line.split() for line in text[text.index("Profiles\n") :].splitlines() if line.startswith(" v0"))
    assert row == ["v0", "22.000", "0.052", "21.948", "…", "22.052", "21.898", "…", "22.102", "Å/s^(β+1)"]
    again = Result.load(result.save(tmp_path / "run"))
    assert again == result
    data = again.to_xarray()
    assert list(data["profiled"].to_numpy()) == ["v0", "D0_ref"]
    assert data.sizes["step"] == 9
    assert data["profile_interval_95"].sel(profiled="D0_ref").isnull().to_numpy().tolist() == [True, False]
    d0 = profiles().parameters["D0_ref"]
    assert profile_text(again.contents(), 1) == (
        "Deviance against D0_ref in Å²/s^(α+1), 5 values 1 to 430: largest 4.5. Intervals: 68 % open below, "
        f"to {format_number(d0.interval_68[1], 5)}; 95 % open below, to {format_number(d0.interval_95[1], 5)}."
    )
    names = {path.name for path in write_figures(tmp_path, again.contents())}
    assert {"profile_v0.png", "profile_D0_ref.png"} <= names
    page = render_report(Page(again, again.contents()))
    assert 'id="profiles"' in page
    assert page.count("Deviance against ") == 2
    with pytest.raises(DataError, match="no profile with index 2"):
        again.plot("profile", 2)
