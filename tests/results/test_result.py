"""result.json follows its contract, without NaN, and comes back as it was."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from pydantic import ValidationError

from hetdask.data.store import Store
from hetdask.errors import DataError, FitError
from hetdask.fitting import Refinement
from hetdask.model import NAMES, SPECS
from hetdask.results import Result, result_schema
from hetdask.results.part import json_clean
from hetdask.results.summary import as_text, summary

GOLDEN_REPR = """\
Result: Converged · method trust-region · reduced chi-squared 1.113 · 3 maps · 2,100 pixels · 1.9 s
  D0_ref           401.2 ± 3.1         Å²/s^(α+1)
  alpha_ref        -0.2000 ± 0.0042
  D_offset_ref     5.00 ± 0.80         Å²/s
  D0_sample        3021 ± 45           Å²/s^(α+1)
  alpha_sample     0.1000 ± 0.0061
  D_offset_sample  -20                 Å²/s        not determined by these data
  v0               22.000 ± 0.052      Å/s^(β+1)
  beta             0.1000 ± 0.0031
  v_offset         1.00 ± 0.40         Å/s
  f0               0.3500 ± 0.0027
  f1               -0.01200 ± 0.00031  1/s
  f2               0                   s           fixed
  f3               1.0000 ± 0.0019                 at its upper bound
  phi0             4.000 ± 0.041       deg"""


def test_file_has_exactly_the_fields_of_the_contract(result: Result) -> None:
    content = json.loads(result.to_json())
    assert list(content) == [
        "schema",
        "status",
        "message",
        "method",
        "best_method",
        "errors",
        "errors_note",
        "parameters",
        "chi_squared",
        "reduced_chi_squared",
        "n_points",
        "dof",
        "resolution",
        "angles",
        "goodness",
        "outliers",
        "correlations",
        "identifiability",
        "weighting",
        "bootstrap",
        "profiles",
        "search",
        "learned",
        "methods",
        "timings",
        "passes",
        "memory",
        "time_origin",
        "dt",
        "n_frames",
        "seed",
        "provenance",
    ]
    assert content["schema"] == "hetdask.result/1"
    assert (content["method"], content["best_method"]) == ("classical", "trust-region")
    assert list(content["parameters"]) == list(NAMES)
    assert content["parameters"]["D0_ref"] == {
        "value": 401.2345,
        "stderr": pytest.approx(3.1),
        "stderr_iid": pytest.approx(3.1),
        "unit": "Å²/s^(α+1)",
        "start": pytest.approx(1.2 * 401.2345),
        "min": 1.0,
        "max": 1e6,
        "fixed": False,
        "at_bound": None,
        "identified": True,
    }
    assert set(content["angles"][0]) >= {"phi", "q", "contrast", "offset", "sigma", "reduced_chi_squared"}
    assert set(content["memory"]) == {"budget", "projected", "projected_worker", "peak_worker", "peak_client"}
    assert content["errors"] == "iid"


def test_saved_file_obeys_the_published_schema(result: Result, failed: Result, compared: Result) -> None:
    schema = result_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    for one in (result, failed, compared):
        jsonschema.validate(json.loads(one.to_json()), schema)
    broken = json.loads(result.to_json()) | {"status": "fine"}
    with pytest.raises(jsonschema.ValidationError, match="'fine' is not one of"):
        jsonschema.validate(broken, schema)


def test_every_method_that_was_tried_has_its_entry(result: Result, compared: Result) -> None:
    assert list(result.methods) == ["trust-region"]
    assert (compared.method, compared.best_method) == ("all", "trust-region")
    assert list(compared.methods) == ["trust-region", "nelder-mead"]
    assert compared.passes == 7 + 10_001
    trust, simplex = compared.methods.values()
    assert trust.values == {name: parameter.value for name, parameter in compared.parameters.items()}
    assert simplex.model_dump(exclude={"values", "message"}) == {
        "status": "not_converged",
        "iterations": 7_000,
        "evaluations": 10_000,
        "passes": 10_001,
        "seconds": 83.0,
        "chi_squared": pytest.approx(1.01 * trust.chi_squared),
        "reduced_chi_squared": pytest.approx(1.01 * (trust.reduced_chi_squared or math.nan)),
        "worst_case": None,
        "outliers": None,
    }
    assert simplex.values["v0"] == pytest.approx(1.001 * trust.values["v0"])


def test_file_holds_no_nan(result: Result) -> None:
    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} in result.json")

    json.loads(result.to_json(), parse_constant=refuse)


def test_saved_result_comes_back_equal(result: Result, tmp_path: Path) -> None:
    folder = result.save(tmp_path / "new" / "run")
    again = Result.load(folder)
    assert again == result
    assert Result.load(folder / "result.json") == result
    assert again.to_xarray().load().drop_encoding().identical(result.to_xarray())
    assert again != result.model_copy(update={"seed": 8})
    assert sorted(path.name for path in folder.iterdir()) == ["result.json", "result.zarr"]


def test_result_is_immutable(result: Result) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        result.status = "interrupted"
    with pytest.raises(ValidationError, match="frozen"):
        result.parameters["v0"].value = 1.0


def test_errors_exist_only_for_free_identified_parameters(result: Result) -> None:
    parameters = result.parameters
    assert parameters["v0"].stderr == parameters["v0"].stderr_iid == pytest.approx(0.052)
    assert (parameters["f2"].fixed, parameters["f2"].stderr, parameters["f2"].identified) == (True, None, None)
    assert (parameters["D_offset_sample"].stderr, parameters["D_offset_sample"].identified) == (None, False)
    assert (parameters["f3"].at_bound, parameters["v0"].at_bound) == ("max", None)
    assert all(parameters[name].unit == SPECS[name].unit for name in NAMES)


def test_identifiability_names_what_is_open(result: Result) -> None:
    assert result.identifiability.rank == 12
    assert [weak.direction for weak in result.identifiability.weak] == [{"D_offset_sample": 1.0}]


def test_correlations_are_null_where_unknown(result: Result) -> None:
    names, matrix = result.correlations.names, result.correlations.matrix
    open_row = names.index("D_offset_sample")
    assert matrix[open_row] == [None] * len(names)
    assert matrix[0][0] == pytest.approx(1.0)
    assert matrix[0][1] == pytest.approx(0.3)


def test_degrees_of_freedom_of_the_maps_add_up(result: Result) -> None:
    total = sum(angle.n_points * (1 - 13 / result.n_points) - 2 for angle in result.angles)
    assert total == pytest.approx(result.dof)
    mean = sum(
        (angle.reduced_chi_squared or math.nan) * (angle.n_points * (1 - 13 / result.n_points) - 2)
        for angle in result.angles
    )
    assert mean == pytest.approx(result.chi_squared)


def test_noise_free_data_have_no_chi_squared_to_report(refinement: Refinement, store: Store) -> None:
    angles = tuple(replace(angle, sigma=0.0) for angle in refinement.angles)
    result = Result.from_refinement(replace(refinement, angles=angles), store)
    assert [angle.reduced_chi_squared for angle in result.angles] == [None] * 3


def test_fit_that_ended_in_nan_is_no_result(refinement: Refinement, store: Store) -> None:
    values = refinement.values.copy()
    values[NAMES.index("v0")] = np.nan
    with pytest.raises(FitError, match="ended with v0 = nan, expected a finite number"):
        Result.from_refinement(replace(refinement, values=values), store)
    with pytest.raises(FitError, match="ended with chi_squared = inf"):
        Result.from_refinement(replace(refinement, chi_squared=math.inf), store)


def test_unbounded_parameters_have_null_bounds(refinement: Refinement, store: Store) -> None:
    lower = np.full(14, -np.inf)
    result = Result.from_refinement(replace(refinement, lower=lower), store)
    assert result.parameters["v0"].min is None


def test_failed_map_says_so(failed: Result) -> None:
    assert [angle.quality for angle in failed.angles] == [
        "failed: contrast is not positive",
        "not judged",
        "not judged",
    ]


def test_timings_hold_every_stage(result: Result) -> None:
    assert result.timings == {"ingest": 1.25, "refine": 0.6, "total": 1.85}


def test_provenance_tells_data_and_versions(result: Result, store: Store) -> None:
    provenance = result.provenance
    assert provenance["store"] == str(store.path)
    versions = provenance["versions"]
    assert isinstance(versions, dict)
    assert {"python", "numpy", "scipy"} <= set(versions)
    assert (result.time_origin, result.dt, result.n_frames) == (0.25, 0.5, 40)


def test_repr_shows_values_with_errors_and_notes(refinement: Refinement, store: Store) -> None:
    result = Result.from_refinement(refinement, store, timings={"total": 1.85})
    assert repr(result) == str(result) == GOLDEN_REPR


def test_notebook_table_is_escaped(result: Result) -> None:
    html = result.model_copy(update={"best_method": "<script>"})._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert html.count("<tr>") == 15


def test_missing_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no result\.json in .*empty: a run folder"):
        Result.load(tmp_path / "empty")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "hetdask.result/9"}, "schema: Input should be 'hetdask.result/1'"),
        ({"surprise": 1}, "surprise: Extra inputs are not permitted"),
        ({"n_points": "many"}, "n_points: Input should be a valid integer"),
    ],
)
def test_file_that_breaks_the_contract_is_refused(
    result: Result, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(json.loads(result.to_json()) | change), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        Result.load(tmp_path)


def test_json_is_cleaned_of_what_it_can_not_hold() -> None:
    value = {"a": np.float32(np.nan), 2: [np.int64(3), math.inf], "path": Path("x"), "array": np.array([1.5, np.nan])}
    assert json_clean(value) == {"a": None, "2": [3, None], "path": "x", "array": [1.5, None]}


def test_outliers_are_counted_from_one_and_named_in_the_summary(run_folder: Path) -> None:
    result = Result.load(run_folder)
    assert [one.frames for one in result.outliers] == [(12, 14), (1, 8)]
    assert [one.other_frames for one in result.outliers] == [None, (25, 32)]
    text = as_text(summary(result), 1000)
    assert "frames 12-14 at 10° (23.4 times the usual mean square), frames 1-8 against 25-32 at 90°" in text
