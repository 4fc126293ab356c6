"""The names of heterodyne-analysis at top level: arguments, shapes and keys, on the same stores and fits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hetdask
from hetdask.config import ConfigWarning
from hetdask.model.parameters import NAMES
from hetdask.results import Result


@pytest.fixture
def core(content: dict[str, Any]) -> hetdask.HeterodyneAnalysisCore:
    return hetdask.HeterodyneAnalysisCore(content)


def test_a_path_a_dictionary_and_settings_are_the_same_configuration(
    experiment: Path, content: dict[str, Any], core: hetdask.HeterodyneAnalysisCore
) -> None:
    path = experiment / "my_config.json"
    for other in (
        hetdask.HeterodyneAnalysisCore(path),
        hetdask.HeterodyneAnalysisCore(config_path=str(path)),
        hetdask.HeterodyneAnalysisCore(config=hetdask.load_settings(content)),
    ):
        assert other.settings == core.settings
    assert core.config is content
    assert (core.dt, core.time_length, core.n_time, core.wavevector_q) == (0.5, 64, 64, 0.0054)
    np.testing.assert_array_equal(core.time_array, 0.5 * np.arange(64))


def test_an_override_wins_and_leaves_the_dictionary_alone(content: dict[str, Any]) -> None:
    core = hetdask.HeterodyneAnalysisCore(content, {"analyzer_parameters": {"temporal": {"end_frame": 32}}})
    assert (core.time_length, core.settings.data.dt) == (32, 0.5)
    assert content["analyzer_parameters"]["temporal"]["end_frame"] == 64


def test_no_default_takes_the_place_of_a_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(hetdask.ConfigError, match=r"there is no configuration file 'heterodyne_config\.json'"):
        hetdask.HeterodyneAnalysisCore()
    with pytest.raises(hetdask.ConfigError, match="give one of them"):
        hetdask.HeterodyneAnalysisCore("a.json", config={})


def test_maps_in_memory_are_those_of_the_store(content: dict[str, Any], core: hetdask.HeterodyneAnalysisCore) -> None:
    c2, time_length, phi_angles, num_angles = hetdask.load_xpcs_data(content)
    assert (c2.shape, c2.dtype, time_length, num_angles) == ((3, 64, 64), np.float64, 64, 3)
    np.testing.assert_array_equal(phi_angles, [0.0, 60.0, 175.0])
    np.testing.assert_array_equal(c2, c2.transpose(0, 2, 1))
    assert np.isfinite(c2).all()
    from_arrays, from_file = core.store_of(phi_angles, c2), core.open_store()
    for k in range(3):
        np.testing.assert_array_equal(from_arrays.read_map(k), from_file.read_map(k))


def test_a_classical_fit_has_the_keys_and_gives_the_answer(
    core: hetdask.HeterodyneAnalysisCore, near: Callable[[Result], None]
) -> None:
    c2, _, phi, _ = core.load_experimental_data()
    classical = hetdask.ClassicalOptimizer(core, core.config)
    params, results = classical.run_classical_optimization_optimized(phi_angles=phi, c2_experimental=c2)
    near(results.result)
    native = hetdask.fit(core.open_store(), core.settings)
    np.testing.assert_allclose(params, [row.value for row in native.parameters.values()], rtol=1e-7)
    assert results.chi_squared == results["chi_squared"] == results.fun == pytest.approx(native.reduced_chi_squared)
    assert results.result.chi_squared == pytest.approx(native.chi_squared)
    assert (results.success, results.status, results.best_method) == (True, 0, "Gurobi")
    assert results.method_results["Gurobi"]["parameters"] == params.tolist()
    np.testing.assert_array_equal(classical.best_params_classical, params)
    # The same as one dictionary.
    assert core.fit(c2, phi)["parameters"] == pytest.approx(params)


def test_methods_and_start_values_are_those_that_are_given(core: hetdask.HeterodyneAnalysisCore) -> None:
    start = core.settings.parameter_table()
    values = np.array([row.value for row in start])
    values[NAMES.index("v0")] = 100.0
    optimizer = hetdask.ClassicalOptimizer(core)
    results = optimizer.run_optimization(values, methods=["Gurobi", "Nelder-Mead"])
    assert [*results.method_results] == ["Gurobi", "Nelder-Mead"]
    np.testing.assert_array_equal(results.initial_parameters, values)


def test_a_robust_fit_has_the_keys_and_its_size(
    core: hetdask.HeterodyneAnalysisCore, near: Callable[[Result], None]
) -> None:
    robust = hetdask.RobustHeterodyneOptimizer(core, core.config)
    results = robust.optimize(method="wasserstein", epsilon=0.02)
    near(results.result)
    assert results["uncertainty_radius"] == 0.02
    assert results["final_chi_squared"] == results["chi_squared"]
    assert results["optimal_value"] > 0
    with pytest.raises(hetdask.ConfigError, match="expected uncertainty_radius or epsilon"):
        robust.optimize(method="wasserstein", gamma=0.1)


def test_chi_squared_of_given_parameters_is_that_of_the_store(core: hetdask.HeterodyneAnalysisCore) -> None:
    c2, _, phi, _ = core.load_experimental_data()
    vector = np.array([row.value for row in core.settings.parameter_table()])
    components = core.calculate_chi_squared_optimized(vector, phi, c2, return_components=True)
    assert isinstance(components, dict)
    expected = hetdask.chi_squared(core.open_store(), vector)
    assert components["chi_squared"] == pytest.approx(expected.value)
    assert sum(components["angle_chi_squared"]) == pytest.approx(expected.value)
    assert components["angle_data_points"] == [64 * 63 // 2] * 3
    assert np.shape(components["scaling_solutions"]) == (3, 2)
    assert core.calculate_chi_squared_optimized(vector, phi, c2) == components["reduced_chi_squared"]


def test_the_model_is_the_reference(core: hetdask.HeterodyneAnalysisCore) -> None:
    vector = np.array([row.value for row in core.settings.parameter_table()])
    both = core.calculate_c2_heterodyne_parallel(vector, [0.0, 60.0])
    np.testing.assert_array_equal(both, hetdask.correlation(vector, core.time_array, [0.0, 60.0], 0.0054))
    np.testing.assert_array_equal(core.calculate_heterodyne_correlation(vector, 60.0), both[1])


def test_arrays_that_were_changed_in_place_are_other_data(core: hetdask.HeterodyneAnalysisCore) -> None:
    c2, _, phi, _ = core.load_experimental_data()
    same = core.store_of(phi, c2)
    assert core.store_of(phi, c2.copy()) is same
    c2 *= 1.5
    np.testing.assert_allclose(core.store_of(phi, c2).read_map(0), np.float32(1.5) * same_map(core), rtol=1e-6)


def same_map(core: hetdask.HeterodyneAnalysisCore) -> np.ndarray:
    return core.open_store().read_map(0)


def test_times_and_shapes_that_do_not_fit_are_refused(core: hetdask.HeterodyneAnalysisCore) -> None:
    c2, phi = np.ones((2, 8, 8)), [0.0, 90.0]
    with pytest.raises(hetdask.ConfigError, match=r"t1_array goes from 0 to 0\.7 s in 8 frames, but dt = 0\.5 s"):
        hetdask.ClassicalOptimizer(core).optimize(c2, phi, 0.1 * np.arange(8))
    with pytest.raises(hetdask.DataError, match=r"shape \(2, 8, 7\), expected \(n_phi, N, N\)"):
        core.store_of(phi, np.ones((2, 8, 7)))
    with pytest.raises(hetdask.DataError, match="found 1 phi_angles for 2 maps"):
        core.store_of([0.0], c2)
    with pytest.raises(hetdask.DataError, match="without phi_angles"):
        core.store_of(None, c2)


def test_a_warning_about_the_configuration_is_given_once(content: dict[str, Any]) -> None:
    content["performance_settings"] = {"noise_model": {"sigma_prior": 0.1}}
    with pytest.warns(ConfigWarning, match="have no effect here"):
        core = hetdask.HeterodyneAnalysisCore(content)
    # Warnings are errors here: neither of these gives one.
    assert core.time_length == 64
    assert hetdask.ClassicalOptimizer(core, content).optimize().success
