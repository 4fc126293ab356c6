from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from hetdask.config import ConfigWarning, Settings, load_settings
from hetdask.config.methods import ReductionSettings
from hetdask.config.original import Note, grouped
from hetdask.errors import ConfigError
from hetdask.model.parameters import NAMES

CONFIGS = Path(__file__).parents[2] / "configs"
VALUES = [100.0, -0.5, 10.0, 900.0, -0.2, 3.0, 300.0, 0.1, 5.0, 0.5, -0.01, 0.0, 0.2, 10.0]


def original(**sections: Any) -> dict[str, Any]:
    content: dict[str, Any] = {
        "metadata": {"config_version": "1.0.0"},
        "analyzer_parameters": {
            "temporal": {"dt": 0.1, "start_frame": 101, "end_frame": 400},
            "scattering": {"wavevector_q": 0.0054},
        },
        "experimental_data": {"data_folder_path": "data", "data_file_name": "scan.hdf"},
        "initial_parameters": {"values": list(VALUES)},
    }
    return {**content, **sections}


def load(content: dict[str, Any]) -> Settings:
    """Settings of a configuration of which every key acts."""
    return load_settings(content)


def test_data_frames_dt_and_q_are_taken_over() -> None:
    data = load(original()).data
    assert data.source == Path("data/scan.hdf")
    assert (data.frames, data.dt, data.q) == ((101, 400), 0.1, 0.0054)
    assert data.angles is None


def test_start_values_and_bounds_go_by_name_in_any_order() -> None:
    names = list(reversed(NAMES))
    bounds = [{"name": "v0", "min": 0.0, "max": 800.0}, {"name": "phi0", "min": 10.0, "max": 10.0}]
    settings = load(
        original(
            initial_parameters={"values": list(reversed(VALUES)), "parameter_names": names},
            parameter_space={"bounds": bounds},
        )
    )
    table = {row.name: row for row in settings.parameter_table()}
    assert [row.value for row in settings.parameter_table()] == VALUES
    assert table["v0"][2:] == (0.0, 800.0, False)
    assert table["phi0"].fixed


def test_only_active_parameters_move_and_all_do_when_the_list_is_empty() -> None:
    active = {"values": VALUES, "active_parameters": ["D0_ref", "v0"]}
    assert [r.name for r in load(original(initial_parameters=active)).parameter_table() if not r.fixed] == [
        "D0_ref",
        "v0",
    ]
    active = {"values": VALUES, "active_parameters": []}
    assert sum(not row.fixed for row in load(original(initial_parameters=active)).parameter_table()) == 13


def test_f2_is_held_and_that_is_told() -> None:
    content = original(initial_parameters={"values": VALUES, "active_parameters": list(NAMES)})
    with pytest.warns(ConfigWarning, match="f2 is held"):
        settings = load_settings(content)
    assert [row.name for row in settings.parameter_table() if row.fixed] == ["f2"]


def test_angle_ranges_are_taken_over_with_their_fallback() -> None:
    filtering = {"enabled": True, "target_ranges": [{"min_angle": -10.0, "max_angle": 10.0}]}
    data = load(original(optimization_config={"angle_filtering": filtering})).data
    assert data.angles == [(-10.0, 10.0)]
    assert data.angle_fallback is True
    strict = {**filtering, "fallback_to_all_angles": False}
    assert load(original(optimization_config={"angle_filtering": strict})).data.angle_fallback is False
    off = {**filtering, "enabled": False}
    assert load(original(optimization_config={"angle_filtering": off})).data.angles is None


def test_limits_of_the_trust_region_threads_and_folder_are_taken_over() -> None:
    content = original(
        optimization_config={
            "classical_optimization": {"method_options": {"Gurobi": {"max_iterations": 50, "tolerance": 1e-6}}}
        },
        output_settings={"results_directory": "out", "reporting": {"generate_plots": False}},
    )
    content["analyzer_parameters"]["computational"] = {"num_threads": 2}
    settings = load(content)
    assert (settings.fit.max_evaluations, settings.fit.tolerance) == (50, 1e-6)
    assert settings.compute.workers == 2
    assert (settings.output.folder, settings.output.plots) == (Path("out"), False)


def test_methods_are_taken_over_by_name_with_the_options_that_have_a_meaning() -> None:
    classical = {
        "methods": ["Nelder-Mead", "Gurobi"],
        "method_options": {
            "Nelder-Mead": {"maxiter": 15000, "fatol": 1e-10, "adaptive": False},
            "Gurobi": {"max_iterations": 2500, "tolerance": 1e-6, "_trust_region_settings": {"eta1": 0.25}},
        },
        "selection_strategy": "best_chi_squared",
    }
    fit = load(original(optimization_config={"classical_optimization": classical})).fit
    assert fit.methods() == ["nelder-mead", "trust-region"]
    assert (fit.max_evaluations, fit.tolerance) == (2500, 1e-6)
    simplex = fit.nelder_mead
    assert (simplex.max_evaluations, simplex.tolerance, simplex.adaptive) == (15000, 1e-10, False)


def robust(**keys: Any) -> dict[str, Any]:
    return original(optimization_config={"robust_optimization": keys})


def test_robust_methods_are_taken_over_with_their_options() -> None:
    settings = load(
        robust(
            enabled=True,
            uncertainty_model="ellipsoidal",
            uncertainty_radius=0.05,
            n_scenarios=12,
            regularization_alpha=0.02,
            regularization_beta=0.001,
            preferred_solver="CLARABEL",
            memory_limit=0.5,
            method_options={
                "ellipsoidal": {"gamma": 0.15, "regularization_alpha": 0.03},
                "scenario": {"n_scenarios": 9},
            },
        )
    )
    fit = settings.fit
    assert fit.robust == ["ellipsoidal", "wasserstein", "scenario"]
    assert (fit.ellipsoidal.radius, fit.ellipsoidal.alpha, fit.ellipsoidal.beta) == (0.15, 0.03, 0.001)
    assert (fit.wasserstein.radius, fit.wasserstein.alpha, fit.wasserstein.beta) == (0.05, 0.02, 0.001)
    assert (fit.scenario.scenarios, fit.scenario.alpha, fit.scenario.beta) == (9, 0.02, 0.001)
    assert settings.compute.memory_limit == 0.5


def test_robust_methods_that_are_switched_off_do_not_run() -> None:
    fit = load(robust(enabled=False)).fit
    assert fit.robust == []
    assert fit.model_copy(update={"method": "all"}).methods() == ["trust-region", "nelder-mead"]
    assert load(original()).fit.robust == ["huber", "student-t", "ellipsoidal", "wasserstein", "scenario"]


def test_robust_options_without_a_meaning_here_are_named() -> None:
    content = robust(
        jacobian_epsilon=1e-6,
        enable_caching=False,
        preferred_solver="SCS",
        solver_settings={"Method": 2},
        subsampling={"enabled": True},
        method_options={"scenario": {"bootstrap_method": "residual"}},
    )
    with pytest.warns(ConfigWarning) as caught:
        load_settings(content)
    text = str(caught[0].message)
    for key in (
        "jacobian_epsilon: deriv",
        "enable_caching: what was evaluated",
        "preferred_solver: cone",
        "solver_settings.Method: cone",
    ):
        assert f"robust_optimization.{key}" in text
    assert "robust_optimization.subsampling.enabled: classical and robust methods fit the same data" in text
    assert "bootstrap_method: segments of time are resampled" in text


def test_options_of_methods_without_a_meaning_here_are_named() -> None:
    classical = {
        "method_options": {"Nelder-Mead": {"xatol": 1e-10, "disp": True}, "Gurobi": {"time_limit": 1800}},
        "selection_strategy": "consensus",
    }
    with pytest.warns(ConfigWarning) as caught:
        load_settings(original(optimization_config={"classical_optimization": classical}))
    assert len(caught) == 1
    text = str(caught[0].message)
    assert "Nelder-Mead.xatol: parameters of different units" in text
    assert "Nelder-Mead.disp: the method nelder-mead has" in text
    assert "Gurobi.time_limit: no method has a limit of time; use fit.max_evaluations" in text
    assert "selection_strategy: of several methods" in text


def test_subsampling_is_a_reduction_with_the_defaults_of_the_original() -> None:
    def reduction(**subsampling: object) -> object:
        section = {"classical_optimization": {"subsampling": subsampling}} if subsampling else {}
        return load(original(optimization_config=section)).fit.reduction

    assert reduction() is None
    assert reduction(enabled=False, max_data_points=10) is None
    found = reduction(enabled=True, time_subsample_factor=8)
    assert isinstance(found, ReductionSettings)
    assert (found.max_points, found.time_factor, found.angle_factor) == (100_000, 8, 2)


def test_a_cache_serves_where_the_file_is_missing(tmp_path: Path) -> None:
    (tmp_path / "cached_101_400.npz").touch()
    content = original(
        experimental_data={
            "data_folder_path": str(tmp_path),
            "data_file_name": "scan.hdf",
            "cache_file_path": str(tmp_path),
            "cache_filename_template": "cached_{start_frame}_{end_frame}.npz",
        }
    )
    data = load(content).data
    assert data.source == tmp_path / "cached_101_400.npz"
    assert data.frames is None


def test_limits_of_quality_are_taken_over_and_must_grow() -> None:
    rules = {
        "overall_chi_squared": {"excellent_threshold": 1.5, "critical_threshold": 50.0},
        "per_angle_chi_squared": {
            "warning_threshold": 20.0,
            "outlier_threshold_multiplier": 3.0,
            "max_outlier_fraction": 0.5,
            "min_good_angles": 4,
        },
    }
    quality = load(original(validation_rules={"fit_quality": rules})).quality
    assert quality.overall.limits() == (1.5, 5.0, 10.0, 50.0)
    angles = quality.per_angle
    assert angles.limits() == (2.0, 5.0, 20.0)
    assert (angles.outlier_multiplier, angles.max_outlier_fraction, angles.min_good_angles) == (3.0, 0.5, 4)
    rules = {"overall_chi_squared": {"excellent_threshold": 7.0}}
    with pytest.raises(ConfigError, match=r"quality\.overall: .*levels that grow"):
        load_settings(original(validation_rules={"fit_quality": rules}))


def test_keys_without_effect_are_named_in_one_warning_with_what_to_use_instead() -> None:
    content = original(
        performance_settings={"parallel_processing": {"chunk_size": "auto", "backend": "threading"}},
        optimization_config={"classical_optimization": {"selection_strategy": "consensus"}, "angle_filterin": {"a": 1}},
        _comment="nothing",
    )
    with pytest.warns(ConfigWarning) as caught:
        load_settings(content)
    assert len(caught) == 1
    text = str(caught[0].message)
    assert ": 3 keys have no effect here, or another one:" in text
    assert text.count("performance_settings.parallel_processing.backend: Dask runs") == 1
    assert "chunk_size" not in text
    assert "classical_optimization.selection_strategy: of several" in text
    assert "optimization_config.angle_filterin.a: unknown" in text
    assert "comment" not in text


def test_keys_that_have_no_effect_for_one_reason_are_named_together() -> None:
    texts = [("a.b.c", "x"), ("a.d", "y"), ("a.b.e.f", "x"), ("g", "y"), ("a.b.e.h", "x"), ("k.l", "z")]
    assert grouped([Note(path, text) for path, text in texts]) == [
        "  a.b (c, e.f, e.h): x",
        "  a.d, g: y",
        "  k.l: z",
    ]


def performance(**keys: Any) -> dict[str, Any]:
    return original(performance_settings=keys)


def test_limits_of_threads_and_of_data_in_memory_are_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"environment_optimization": {"auto_configure": True, "max_threads": 4}}
    numba = {"enable_numba": True, "cache_numba": True, "stability_enhancements": environment}
    content = performance(numba_optimization=numba, caching={"cache_size_limit_mb": 500})
    monkeypatch.setattr("hetdask_cluster.local.available_cores", lambda: 8)
    compute = load(content).compute
    assert (compute.workers, compute.resident_limit, compute.numba) == (4, 500_000_000, True)
    # More threads than cores limit nothing.
    monkeypatch.setattr("hetdask_cluster.local.available_cores", lambda: 2)
    assert load(content).compute.workers is None
    low = {"low_memory_mode": True, "memory_monitoring": True}
    assert load(performance(memory_management=low, caching={"cache_size_limit_mb": 500})).compute.resident_limit == 0
    assert load(performance(numba_optimization={"enable_numba": False})).compute.numba is False


def test_performance_mode_lifts_limits_of_threads_and_of_data_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    content = performance(memory_management={"low_memory_mode": True})
    content["analyzer_parameters"]["computational"] = {"num_threads": 1, "memory_limit_gb": 0.5}
    limited = load(content).compute
    assert (limited.workers, limited.resident_limit) == (1, 0)
    monkeypatch.setenv("HETERODYNE_PERFORMANCE_MODE", "1")
    lifted = load(content).compute
    assert (lifted.workers, lifted.resident_limit, lifted.memory_limit) == (None, None, "0.5GiB")
    monkeypatch.setenv("HETERODYNE_PERFORMANCE_MODE", "yes")
    with pytest.raises(ConfigError, match="found 'yes', expected 1 or 0"):
        load(content)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("analyzer_parameters.temporal.dt", -0.1, r"data\.dt: found -0\.1.*analyzer_parameters\.temporal\.dt"),
        ("analyzer_parameters.scattering.wavevector_q", -1, r"data\.q.*wavevector_q"),
        ("analyzer_parameters.temporal.end_frame", 5, r"first frame 101 and last frame 5.*start_frame"),
        ("analyzer_parameters.temporal.end_frame", None, r"only one of start_frame and end_frame"),
        ("initial_parameters.values", [1.0, 2.0], r"found 2 entries for 14 entries"),
        ("initial_parameters.values", "many", r"found 'many'"),
        ("initial_parameters.active_parameters", ["D0_reff"], r"did you mean 'D0_ref'"),
        (
            "optimization_config.classical_optimization.methods",
            ["Powell"],
            r"found 'Powell', expected 'trust-region' or 'nelder-mead'.*classical_optimization\.methods",
        ),
        (
            "optimization_config.robust_optimization.uncertainty_model",
            "box",
            r"found 'box', expected 'huber'.*robust_optimization\.uncertainty_model",
        ),
        ("parameter_space.bounds", [{"min": 0}], r"expected a name in each entry"),
        ("parameter_space.bounds", {"v0": [0, 1]}, r"expected a list of entries with name, min, max"),
        ("parameter_space.bounds", [{"name": "v0", "min": 9, "max": 1}], r"v0: found min 9 above max 1"),
    ],
)
def test_mistakes_are_told_with_the_names_of_both_formats(path: str, value: Any, message: str) -> None:
    content = copy.deepcopy(original())
    *sections, last = path.split(".")
    place = content
    for section in sections:
        place = place.setdefault(section, {})
    place[last] = value
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        load_settings(content)


def test_the_configuration_that_is_shipped_is_valid() -> None:
    with pytest.warns(ConfigWarning, match="stator_rotor_gap"):
        settings = load_settings(CONFIGS / "original.json")
    assert settings.data.angles is not None
    assert settings.data.source is not None


def test_one_transport_coefficient_counts_for_reference_and_sample() -> None:
    values = [100.0, -0.5, 10.0, 80.0, 0.1, 2.0, 0.3, 0.01, 0.0, 0.2, 15.0]
    content = original(
        initial_parameters={"values": values, "active_parameters": ["D0", "v0"]},
        parameter_space={"bounds": [{"name": "v0", "min": 0.0, "max": 500.0}, {"name": "D0", "min": 2.0, "max": 3e4}]},
    )
    with pytest.warns(ConfigWarning, match="one transport coefficient"):
        settings = load_settings(content)
    table = {row.name: row for row in settings.parameter_table()}
    assert table["D0_ref"][1:] == table["D0_sample"][1:] == (100.0, 2.0, 3e4, False)
    assert table["alpha_sample"].value == -0.5
    assert table["v0"][1:] == (80.0, 0.0, 500.0, False)
    assert [table[name].value for name in ("f0", "f1", "f2", "f3", "phi0")] == values[6:]
    assert [row.name for row in settings.parameter_table() if not row.fixed] == ["D0_ref", "D0_sample", "v0"]


def test_shear_rates_are_no_velocities_and_a_search_begins() -> None:
    names = ["D0", "alpha", "D_offset", "gamma_dot_t0", "beta", "gamma_dot_t_offset", "phi0"]
    content = original(
        initial_parameters={"values": [1324.1, -0.014, -0.67, 0.003, -0.9, 0.0, 0.0], "active_parameters": names},
        parameter_space={
            "bounds": [{"name": "gamma_dot_t0", "min": 1e-6, "max": 1.0}, {"name": "alpha", "min": -1.5, "max": 1.5}]
        },
    )
    with pytest.warns(ConfigWarning, match="shear rates are no velocities"):
        settings = load_settings(content)
    table = {row.name: row for row in settings.parameter_table()}
    assert settings.start() == "search"
    assert table["v0"].max == 1e4
    assert (table["alpha_ref"].min, table["alpha_sample"].max) == (-1.5, 1.5)
    # All but f2, which is never free together with f0.
    assert [row.name for row in settings.parameter_table() if row.fixed] == ["f2"]
