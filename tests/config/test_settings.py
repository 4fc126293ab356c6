from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from hetdask.config import Settings, load_settings
from hetdask.config.load import parse_assignment
from hetdask.config.template import template, write_new
from hetdask.errors import ConfigError
from hetdask.fitting import Ellipsoidal, Huber, NelderMead, Scenario, StudentT, TrustRegion, Wasserstein
from hetdask.model.parameters import NAMES, SPECS
from hetdask.options import methods_of

CONFIGS = Path(__file__).parents[2] / "configs"


def rows(settings: Settings) -> dict[str, tuple[float, float, float, bool]]:
    return {row.name: row[1:] for row in settings.parameter_table()}


def test_what_is_left_out_keeps_the_defaults_of_the_model() -> None:
    found = rows(load_settings({}))
    assert tuple(found) == NAMES
    for name, spec in SPECS.items():
        assert found[name] == (spec.start, spec.lower, spec.upper, spec.fixed)
    assert found["f2"][3] is True


def test_given_values_bounds_and_fixing_are_taken() -> None:
    settings = load_settings(
        {
            "parameters": {
                "v0": {"value": 120.0, "min": 0, "max": 500},
                "beta": {"fixed": True, "value": 0.5},
                "f2": {"fixed": False},
                "phi0": {"min": 3.0, "max": 3.0},
            }
        }
    )
    found = rows(settings)
    assert found["v0"] == (120.0, 0.0, 500.0, False)
    assert found["beta"] == (0.5, -2.0, 2.0, True)
    assert found["f2"][3] is False
    assert found["phi0"] == (3.0, 3.0, 3.0, True)


def test_only_active_parameters_move() -> None:
    settings = load_settings({"fit": {"active_parameters": ["v0", "f0"]}})
    assert [row.name for row in settings.parameter_table() if not row.fixed] == ["v0", "f0"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ["trust-region"]),
        ({"classical": "nelder-mead"}, ["nelder-mead"]),
        ({"classical": ["nelder-mead", "trust-region"]}, ["nelder-mead", "trust-region"]),
        ({"classical": "all"}, ["trust-region", "nelder-mead"]),
        ({"method": "robust"}, ["huber", "student-t", "ellipsoidal", "wasserstein", "scenario"]),
        ({"method": "robust", "robust": "student-t"}, ["student-t"]),
        ({"method": "all", "classical": "nelder-mead", "robust": []}, ["trust-region", "nelder-mead"]),
        ({"method": "all", "robust": ["huber"]}, ["trust-region", "nelder-mead", "huber"]),
    ],
)
def test_methods_are_named_singly_listed_or_all(given: dict[str, Any], expected: list[str]) -> None:
    settings = load_settings({"fit": given})
    assert settings.fit.methods() == expected
    assert [method.name for method in methods_of(settings)] == expected


def test_each_method_has_its_options() -> None:
    simplex = {"max_evaluations": 77, "tolerance": 1e-5, "adaptive": False}
    settings = load_settings(
        {
            "fit": {
                "method": "all",
                "max_evaluations": 33,
                "tolerance": 1e-6,
                "seed": 5,
                "nelder_mead": simplex,
                "huber": {"threshold": 2.0},
                "student_t": {"degrees_of_freedom": 3.0},
                "ellipsoidal": {"radius": 0.1, "alpha": 0.2, "beta": 0.3},
                "wasserstein": {"radius": 0.4, "alpha": 0.5, "beta": 0.6},
                "scenario": {"scenarios": 20, "segments": 4, "alpha": 0.7, "beta": 0.8},
            }
        }
    )
    limits = (33, 1e-6)
    assert methods_of(settings) == [
        TrustRegion(*limits),
        NelderMead(77, 1e-5, False),
        Huber(2.0, *limits),
        StudentT(3.0, *limits),
        Ellipsoidal(0.1, 0.2, 0.3, *limits),
        Wasserstein(0.4, 0.5, 0.6, *limits),
        Scenario(20, 4, 5, 0.7, 0.8, *limits),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"dat": {}}, r"unknown key 'dat': did you mean 'data'\? Expected one of data, parameters"),
        ({"data": {"sorce": "x.hdf"}}, r"unknown key 'sorce' in data: did you mean 'source'\?"),
        ({"parameters": {"v0": {"vlaue": 1}}}, r"unknown key 'vlaue' in parameters\.v0: did you mean 'value'\?"),
        (
            {"parameters": {"D0_reff": {"value": 1}}},
            r"parameters: unknown parameter 'D0_reff': did you mean 'D0_ref'\?",
        ),
        (
            {"fit": {"active_parameters": ["v00"]}},
            r"fit\.active_parameters: unknown parameter 'v00': did you mean 'v0'",
        ),
        ({"simulation": {"parameters": {"f9": 1}}}, r"simulation\.parameters: unknown parameter 'f9'"),
        ({"data": {"dt": -0.1}}, r"data\.dt: found -0\.1, expected greater than 0: for example dt: 0\.1"),
        ({"data": {"q": -0.005}}, r"data\.q: found -0\.005, expected greater than 0.*for example q: 0\.0054"),
        ({"data": {"q": float("nan")}}, r"data\.q: found nan"),
        ({"data": {"frames": [10, 5]}}, r"data\.frames: found first frame 10 and last frame 5"),
        ({"data": {"frames": [0, 5]}}, r"data\.frames\.0: found 0, expected greater than 0: for example frames"),
        ({"data": {"time_origin": -1}}, r"data\.time_origin: found -1, expected greater than or equal to 0"),
        ({"data": 3}, r"data: found 3, expected keys of its own"),
        ({"parameters": {"v0": {"min": 5, "max": 1}}}, r"parameters\.v0: found min 5 above max 1.*min: 1, max: 5"),
        ({"parameters": {"v0": {"value": 2e4}}}, r"parameters\.v0: the start value 20000 lies outside its bounds"),
        ({"parameters": {"f0": {"value": -1}}}, r"f0: the start value -1 lies outside its bounds.*for example min: -2"),
        ({"fit": {"method": "sturdy"}}, r"fit\.method: found 'sturdy', expected 'classical', 'robust' or 'all'"),
        (
            {"fit": {"method": "robust", "robust": []}},
            r"fit\.robust names no method: for example robust: \[student-t\]",
        ),
        ({"fit": {"robust": "hubert"}}, r"found 'hubert', expected 'huber', 'student-t'"),
        ({"fit": {"robust": ["huber", "huber"]}}, r"fit\.robust names huber twice"),
        ({"fit": {"scenario": {"scenarios": 1}}}, r"fit\.scenario\.scenarios: found 1"),
        ({"fit": {"huber": {"threshold": 0}}}, r"fit\.huber\.threshold: found 0, expected greater than 0"),
        ({"fit": {"classical": "simplex"}}, r"found 'simplex', expected 'trust-region' or 'nelder-mead': for example"),
        ({"fit": {"classical": ["nelder-mead"] * 2}}, r"fit\.classical names nelder-mead twice"),
        ({"fit": {"classical": []}}, r"fit\.classical: found \[\], expected at least 1 item"),
        (
            {"fit": {"nelder_mead": {"maxiter": 5}}},
            r"unknown key 'maxiter' in fit\.nelder_mead.*one of max_evaluations",
        ),
        ({"fit": {"seed": -1}}, r"fit\.seed: found -1"),
        ({"fit": {"tolerance": 0}}, r"fit\.tolerance: found 0, expected greater than or equal to 0"),
        (
            {"fit": {"active_parameters": ["v0"]}, "parameters": {"v0": {"fixed": True}}},
            r"fit\.active_parameters names v0, but parameters\.v0\.fixed is true",
        ),
    ],
)
def test_a_mistake_is_named_with_its_key_and_an_example(content: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_settings(content)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        load_settings({"data": {"dt": -1, "sorce": "x"}, "fit": {"tolerance": "small"}})
    assert all(text in str(raised.value) for text in ("data.dt", "'sorce'", "fit.tolerance"))


def test_a_fixed_value_may_lie_outside_the_default_bounds() -> None:
    settings = load_settings({"parameters": {"f2": {"value": 5000.0}}})
    assert rows(settings)["f2"] == (5000.0, -1000.0, 1000.0, True)


def test_frames_and_ranges_can_be_written_with_a_colon() -> None:
    data = load_settings({"data": {"frames": "101:400", "angles": ["-10:10", [170, 190]]}}).data
    assert data.frames == (101, 400)
    assert data.angles == [(-10.0, 10.0), (170.0, 190.0)]


def test_yaml_and_json_say_the_same(tmp_path: Path) -> None:
    content = {"data": {"dt": 0.1, "q": [0.005, 0.01]}, "fit": {"tolerance": 1e-9}}
    (tmp_path / "a.json").write_text(json.dumps(content))
    (tmp_path / "a.yaml").write_text("data:\n  dt: 0.1\n  q: [5e-3, 0.01]\nfit: {tolerance: 1e-9}\n")
    (tmp_path / "a.conf").write_text(json.dumps(content))
    assert load_settings(tmp_path / "a.json") == load_settings(tmp_path / "a.yaml")
    assert load_settings(tmp_path / "a.conf") == load_settings(content)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", '{"data":\n {"dt": }}', r"a\.json, line 2, column 9: this is not JSON"),
        ("a.yaml", "data:\n  dt: 0.1\n  q: [0.1\nfit: 3\n", r"a\.yaml, line 4, column 4: this is not YAML"),
        ("a.yaml", "data:\n\tdt: 0.1\n", r"a\.yaml, line 2, column 1: this is not YAML"),
        ("a.yaml", "data: {dt: 0.1}\ndata: {dt: 0.2}\n", r"line 2, column 1.*'data' comes twice"),
        ("a.json", '{"data": {"dt": 1, "dt": 2}}', r"'dt' comes twice"),
        ("a.yaml", "", r"found nothing, expected sections"),
        ("a.yaml", "- 1\n", r"found a list, expected sections"),
    ],
)
def test_malformed_files_are_told_with_their_place(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_settings(tmp_path / name)


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no configuration file.*hetdask config new"):
        load_settings(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\x89HDF\xff\xfe")
    with pytest.raises(ConfigError, match=r"is no text.*config new --source .*binary\.yaml"):
        load_settings(tmp_path / "binary.yaml")
    with pytest.raises(ConfigError, match="can't read"):
        load_settings(tmp_path)


def test_overrides_win_over_the_file() -> None:
    settings = load_settings(
        {"parameters": {"v0": {"value": 1.0, "max": 50.0}}},
        [parse_assignment("parameters.v0.value=20"), parse_assignment("fit.tolerance = 1e-9")],
    )
    assert rows(settings)["v0"] == (20.0, -1e4, 50.0, False)
    assert settings.fit.tolerance == 1e-9
    with pytest.raises(ConfigError, match=r"unknown key 'tol' in fit"):
        load_settings({}, [("fit.tol", 1)])


@pytest.mark.parametrize(
    ("text", "value"), [("1e-9", 1e-9), ("-1E3", -1000.0), (".5e1", 5.0), ("1e9GiB", "1e9GiB"), ("0.9", 0.9), ("7", 7)]
)
def test_numbers_may_have_exponents_and_text_stays_text(text: str, value: object) -> None:
    assert parse_assignment(f"key={text}") == ("key", value)


@pytest.mark.parametrize("text", ["fit.tolerance", "=3", "fit.tolerance=[1"])
def test_an_assignment_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"for example --set parameters\.v0\.value=100"):
        parse_assignment(text)


def test_what_was_resolved_gives_the_same_settings_again() -> None:
    settings = load_settings({"parameters": {"f0": {"value": 0.2}}, "fit": {"active_parameters": ["f0", "v0"]}})
    again = load_settings(json.loads(json.dumps(settings.resolved())))
    assert again.parameter_table() == settings.parameter_table()
    assert again.data == settings.data
    assert load_settings(settings) == settings


def test_the_template_has_every_key_and_the_defaults() -> None:
    text = template("my.hdf")
    settings = load_settings(yaml.safe_load(text))
    assert str(settings.data.source) == "my.hdf"
    assert settings.parameter_table() == load_settings({}).parameter_table()
    assert settings.fit == load_settings({}).fit
    uncommented = "\n".join(line.removeprefix("# ") for line in text.splitlines()[2:])
    with_simulation = load_settings(yaml.safe_load(uncommented))
    assert with_simulation.simulation is not None
    for section in Settings.model_fields.values():
        for key in getattr(section.annotation, "model_fields", {}):
            assert f"  {key}: " in text


def test_the_template_overwrites_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new.yaml"
    write_new(path, template())
    with pytest.raises(ConfigError, match="exists and is not overwritten"):
        write_new(path, template())
    with pytest.raises(ConfigError, match="can't write"):
        write_new(tmp_path / "none" / "new.yaml", template())


def test_the_schema_describes_every_key() -> None:
    schema = Settings.model_json_schema()
    assert set(schema["properties"]) == set(Settings.model_fields)
    described = schema["$defs"]["DataSettings"]["properties"]
    assert all("description" in field for field in described.values())


@pytest.mark.parametrize("name", ["demo.yaml", "laptop.yaml"])
def test_the_configurations_that_are_shipped_are_valid(name: str) -> None:
    settings = load_settings(CONFIGS / name)
    assert settings.data.source is not None
    assert any(not row.fixed for row in settings.parameter_table())


def test_a_fit_searches_where_no_start_value_is_given(tmp_path: Path) -> None:
    write_new(tmp_path / "new.yaml", template())
    assert load_settings(tmp_path / "new.yaml").start() == "search"
    assert load_settings({}).start() == "search"
    assert load_settings({"parameters": {"v0": {"min": 0.0, "max": 9.0}, "f2": {"value": 1.0}}}).start() == "search"
    assert load_settings({"parameters": {"v0": {"value": 3.0}}}).start() == "given"
    assert load_settings({"parameters": {"v0": {"value": 3.0}}, "fit": {"start": "search"}}).start() == "search"
