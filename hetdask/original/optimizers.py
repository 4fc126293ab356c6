"""The optimisers of heterodyne-analysis by their names: fits of this package, told in the keys of that one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import OptimizeResult

from hetdask.analysis import fit
from hetdask.config import Settings
from hetdask.config.original import METHODS, ROBUST_METHODS, is_original
from hetdask.errors import ConfigError
from hetdask.model.parameters import NAMES, as_vector
from hetdask.original.configuration import Config, Configuration, merged
from hetdask.original.core import HeterodyneAnalysisCore
from hetdask.results import Result

Array = NDArray[np.float64]

ORIGINAL_NAMES: Final = {native: name for name, native in METHODS.items()}
"""Names of methods in that package."""

SIZES: Final = {
    "ellipsoidal": ("fit.ellipsoidal.radius", "uncertainty_bound"),
    "wasserstein": ("fit.wasserstein.radius", "uncertainty_radius"),
    "scenario": ("fit.scenario.scenarios", "n_scenarios"),
}
"""Setting of each robust method that says how much it guards against, and its key in the results."""


class _Optimizer:
    """Fits with a configuration of its own, which lies over that of the core.

    Parameters
    ----------
    analysis_core : HeterodyneAnalysisCore
    config : path, mapping or Settings, optional
        By default that of the core. A dictionary may be changed between fits.
    """

    def __init__(self, analysis_core: HeterodyneAnalysisCore, config: Config | None = None) -> None:
        self.core = analysis_core
        own = analysis_core.configuration if config is None or config is analysis_core.config else Configuration(config)
        self._own = own
        self._whole: Configuration | None = None

    @property
    def config(self) -> dict[str, Any]:
        """Content of the configuration."""
        return self._own.content

    def _settings(self, overrides: Sequence[tuple[str, Any]]) -> Settings:
        if self._own is self.core.configuration or is_original(self.config) != is_original(self.core.config):
            return self._own.settings(overrides)
        whole = merged(self.core.config, self.config)
        if self._whole is None or self._whole.content != whole:
            self._whole = self.core.configuration if whole == self.core.config else Configuration(whole)
        return self._whole.settings(overrides)

    def _fit(
        self,
        overrides: list[tuple[str, Any]],
        initial: ArrayLike | Mapping[str, float] | None,
        phi_angles: ArrayLike | None,
        c2_experimental: ArrayLike | None,
    ) -> OptimizeResult:
        if initial is not None:
            overrides += [(f"parameters.{name}.value", float(value)) for name, value in _by_name(initial).items()]
            overrides.append(("fit.start", "given"))
        settings = self._settings(overrides)
        store = self.core.store_of(phi_angles, c2_experimental)
        return told(fit(store, settings, client=self.core.client))


class ClassicalOptimizer(_Optimizer):
    """Least squares with the methods that the configuration names.

    Parameters
    ----------
    analysis_core : HeterodyneAnalysisCore
    config : path, mapping or Settings, optional
        By default that of the core. A dictionary may be changed between fits.
    """

    best_params_classical: Array | None = None
    """Parameters of the last fit."""

    def run_classical_optimization_optimized(
        self,
        initial_parameters: ArrayLike | Mapping[str, float] | None = None,
        methods: Sequence[str] | None = None,
        phi_angles: ArrayLike | None = None,
        c2_experimental: ArrayLike | None = None,
    ) -> tuple[Array, OptimizeResult]:
        """Fit maps.

        Parameters
        ----------
        initial_parameters : (14,) float or mapping, optional
            Start values; by default those of the configuration, and a search from the bounds where it has none.
        methods : sequence of str, optional
            "Nelder-Mead" and "Gurobi" (a bounded trust region), or names of `fit.classical`.
        phi_angles : (n_phi,) float, optional
            Degrees.
        c2_experimental : (n_phi, N, N) float, optional
            By default the data that the configuration names, without taking them into memory.

        Returns
        -------
        parameters : (14,) float64
            In the order of `hetdask.PARAMETERS`.
        results : scipy.optimize.OptimizeResult
            Attributes and keys, see `told`. `results.success` is false where no method converged.

        Raises
        ------
        ConfigError, DataError, ClusterError
        """
        overrides: list[tuple[str, Any]] = [("fit.method", "classical")]
        if methods is not None:
            overrides.append(("fit.classical", [METHODS.get(name, name) for name in methods]))
        results = self._fit(overrides, initial_parameters, phi_angles, c2_experimental)
        self.best_params_classical = results.x
        return results.x, results

    def run_optimization(
        self,
        initial_params: ArrayLike | Mapping[str, float] | None = None,
        phi_angles: ArrayLike | None = None,
        c2_experimental: ArrayLike | None = None,
        return_tuple: bool = False,
        *,
        methods: Sequence[str] | None = None,
    ) -> tuple[Array, OptimizeResult] | OptimizeResult:
        """The same; returns the results alone unless `return_tuple`."""
        found = self.run_classical_optimization_optimized(initial_params, methods, phi_angles, c2_experimental)
        return found if return_tuple else found[1]

    def optimize(
        self,
        c2_experimental: ArrayLike | None = None,
        phi_angles: ArrayLike | None = None,
        t1_array: ArrayLike | None = None,
        t2_array: ArrayLike | None = None,
        initial_params: ArrayLike | Mapping[str, float] | None = None,
        *,
        methods: Sequence[str] | None = None,
    ) -> OptimizeResult:
        """The same; `t1_array` and `t2_array` in s must be those of the configuration."""
        self.core.check_axes(t1_array, t2_array)
        return self.run_classical_optimization_optimized(initial_params, methods, phi_angles, c2_experimental)[1]


class RobustHeterodyneOptimizer(_Optimizer):
    """Min–max fits and losses that resist outliers.

    Parameters
    ----------
    analysis_core : HeterodyneAnalysisCore
    config : path, mapping or Settings, optional
        By default that of the core. A dictionary may be changed between fits.
    """

    best_params_robust: Array | None = None
    """Parameters of the last fit."""

    def optimize(
        self,
        c2_experimental: ArrayLike | None = None,
        phi_angles: ArrayLike | None = None,
        t1_array: ArrayLike | None = None,
        t2_array: ArrayLike | None = None,
        initial_params: ArrayLike | Mapping[str, float] | None = None,
        method: str = ROBUST_METHODS[0],
        *,
        gamma: float | None = None,
        epsilon: float | None = None,
        uncertainty_radius: float | None = None,
        n_scenarios: int | None = None,
    ) -> OptimizeResult:
        """Fit maps by one robust method.

        Parameters
        ----------
        c2_experimental : (n_phi, N, N) float, optional
            By default the data that the configuration names, without taking them into memory.
        phi_angles : (n_phi,) float, optional
            Degrees.
        t1_array, t2_array : (N,) or (N, N) float, optional
            s; must be those of the configuration.
        initial_params : (14,) float or mapping, optional
            Start values; by default those of the configuration, and a search from the bounds where it has none.
        method : str
            "wasserstein", "scenario" or "ellipsoidal", or another name of `fit.robust`.
        gamma, epsilon, uncertainty_radius, n_scenarios : optional
            How much ellipsoidal (gamma), wasserstein (epsilon and uncertainty_radius are the same) and scenario guard
            against, in the units of `fit.ellipsoidal.radius`, `fit.wasserstein.radius` and `fit.scenario.scenarios`.

        Returns
        -------
        scipy.optimize.OptimizeResult
            A dictionary, see `told`, with these besides: status ("optimal" if it converged), final_chi_squared,
            solve_time (s), optimal_value and worst_case_value (of the min–max problem; None for losses), and
            uncertainty_bound, uncertainty_radius or n_scenarios.

        Raises
        ------
        ConfigError, DataError, ClusterError
        """
        self.core.check_axes(t1_array, t2_array)
        overrides: list[tuple[str, Any]] = [("fit.method", "robust"), ("fit.robust", [method])]
        sizes = {
            "gamma": gamma,
            "epsilon": epsilon,
            "uncertainty_radius": uncertainty_radius,
            "n_scenarios": n_scenarios,
        }
        overrides += _size_of(method, {name: value for name, value in sizes.items() if value is not None})
        results = self._fit(overrides, initial_params, phi_angles, c2_experimental)
        native: Result = results.result
        done = native.methods[native.best_method]
        results.update(
            status="optimal" if results.success else native.status,
            final_chi_squared=results.chi_squared,
            solve_time=done.seconds,
            optimal_value=done.worst_case,
            worst_case_value=done.worst_case,
        )
        if method in SIZES:
            key, name = SIZES[method]
            options, option = key.split(".")[1:]
            results[name] = getattr(getattr(self._settings(overrides).fit, options), option)
        self.best_params_robust = results.x
        return results

    def run_robust_optimization(
        self,
        initial_parameters: ArrayLike | Mapping[str, float] | None = None,
        phi_angles: ArrayLike | None = None,
        c2_experimental: ArrayLike | None = None,
        method: str = ROBUST_METHODS[0],
        **sizes: Any,
    ) -> tuple[Array, OptimizeResult]:
        """The same as `optimize`; returns parameters (14,) and results."""
        results = self.optimize(c2_experimental, phi_angles, initial_params=initial_parameters, method=method, **sizes)
        return results.x, results


def told(result: Result) -> OptimizeResult:
    """A result in the keys of heterodyne-analysis, which are attributes as well.

    ``x`` and ``parameters`` (14,), ``initial_parameters`` (14,), ``success``, ``status`` (0 if it converged),
    ``message``, ``nit``, ``nfev``, ``method`` and ``best_method``, ``method_results`` (by method: parameters,
    chi_squared, success, iterations, function_evaluations, message, method), and ``result``, the `Result` with
    everything else.
    ``fun``, ``chi_squared`` and ``reduced_chi_squared`` are all the reduced χ², as there; the sum is
    ``result.chi_squared``. Contrast and offset of each angle are in ``result.angles``.
    """
    best = result.methods[result.best_method]
    name = ORIGINAL_NAMES.get(result.best_method, result.best_method)
    vector = np.array([parameter.value for parameter in result.parameters.values()])
    success = result.status == "converged"
    return OptimizeResult(
        x=vector,
        parameters=vector,
        initial_parameters=np.array([parameter.start for parameter in result.parameters.values()]),
        fun=result.reduced_chi_squared,
        chi_squared=result.reduced_chi_squared,
        reduced_chi_squared=result.reduced_chi_squared,
        success=success,
        status=0 if success else 1,
        message=result.message,
        nit=best.iterations,
        nfev=best.evaluations,
        method=name,
        best_method=name,
        method_results={ORIGINAL_NAMES.get(key, key): _method(key, one) for key, one in result.methods.items()},
        result=result,
    )


def _method(name: str, done: Any) -> dict[str, Any]:
    return {
        "parameters": [done.values[parameter] for parameter in NAMES],
        "chi_squared": done.reduced_chi_squared,
        "success": done.status == "converged",
        "iterations": done.iterations,
        "function_evaluations": done.evaluations,
        "message": done.message,
        "method": ORIGINAL_NAMES.get(name, name),
    }


def _by_name(initial: ArrayLike | Mapping[str, float]) -> dict[str, float]:
    if isinstance(initial, Mapping):
        return dict(initial)
    return dict(zip(NAMES, as_vector(np.asarray(initial, dtype=np.float64)).tolist(), strict=True))


def _size_of(method: str, given: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Override for the size of what a method guards against.

    Raises
    ------
    ConfigError
        If the method has no such option, or it is given twice.
    """
    names = {"ellipsoidal": ("gamma",), "wasserstein": ("uncertainty_radius", "epsilon"), "scenario": ("n_scenarios",)}
    other = [name for name in given if name not in names.get(method, ())]
    if other or len(given) > 1:
        expected = " or ".join(names.get(method, ())) or "none"
        raise ConfigError(f"{', '.join(given)} given for the method {method}, expected {expected}")
    return [(SIZES[method][0], value) for value in given.values()]
