"""Translate the JSON of the package heterodyne-analysis 1.0 into native settings.

Keys that act here are translated. All others are collected with what to use instead, so that nobody believes that
a key acts when it does not. Names that begin with an underscore and descriptive blocks are comments.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from hetdask.errors import ConfigError
from hetdask.model.parameters import NAMES
from hetdask_cluster.memory import parse_memory

MARKS: Final = frozenset(
    {
        "analyzer_parameters",
        "experimental_data",
        "initial_parameters",
        "parameter_space",
        "optimization_config",
        "performance_settings",
        "advanced_settings",
        "output_settings",
        "validation_rules",
        "workflow_integration",
    }
)
"""Sections that no native configuration has."""

COMMENTS: Final = frozenset(
    {
        "metadata",
        "analysis_settings",
        "heterodyne_specific_notes",
        "analyzer_parameters.temporal.dt_unit",
        "analyzer_parameters.temporal.frame_description",
        "analyzer_parameters.scattering.q_unit",
        "analyzer_parameters.scattering.typical_range",
        "analyzer_parameters.geometry.gap_unit",
        "analyzer_parameters.geometry.gap_in_microns",
        "initial_parameters.units",
        "initial_parameters.parameter_units",
        "initial_parameters.physical_meaning",
        "experimental_data.file_format",
    }
)
"""Text for people."""

METHODS: Final = {"Nelder-Mead": "nelder-mead", "Gurobi": "trust-region"}
"""Methods by their names here; what goes by the name of the solver Gurobi is a bounded trust region."""

ROBUST: Final = ("wasserstein", "scenario", "ellipsoidal")
"""Robust methods of that package, in its order."""

NUMBA: Final = "performance_settings.numba_optimization"

ALWAYS: Final = (
    "warmup_numba",
    "cache_numba",
    "stability_enhancements.enable_kernel_warmup",
    "stability_enhancements.optimize_memory_layout",
    "stability_enhancements.enable_nogil",
    "stability_enhancements.environment_optimization.auto_configure",
)
"""Keys of `NUMBA` that ask for what is done anyway where they are true."""

PERFORMANCE_MODE: Final = "HETERODYNE_PERFORMANCE_MODE"
"""With the value 1, limits of threads and of data in memory in a configuration do not count; its memory limit does."""

SUBSAMPLING: Final = "optimization_config.classical_optimization.subsampling"

SUBSAMPLING_DEFAULTS: Final = {"max_data_points": 100_000, "time_subsample_factor": 4, "angle_subsample_factor": 2}
"""Of the other package, where its section leaves them out."""

WITHOUT_EFFECT: Final[dict[str, str]] = {
    "advanced_settings.chi_squared_calculation": "χ² uses the white noise of the maps; give fit.sigma to set it",
    "advanced_settings.data_loading": "the diagonal is never fitted",
    "advanced_settings.numerical_integration": "integrals are exact",
    "advanced_settings.optimization_controls": "use fit.max_evaluations and fit.tolerance",
    "analyzer_parameters.computational.auto_detect_cores": "use compute.workers",
    "analyzer_parameters.computational.max_threads_limit": "use compute.workers",
    "analyzer_parameters.geometry.stator_rotor_gap": "the model does not depend on it",
    "experimental_data.cache_compression": "use data.store: the file is ingested once, and the store is kept",
    "experimental_data.cache_file_path": "use data.store: the file is ingested once, and the store is kept",
    "experimental_data.cache_filename_template": "use data.store: the file is ingested once, and the store is kept",
    "experimental_data.data_type": "maps are stored as float32 and summed as float64",
    "experimental_data.exchange_key": "use data.layout; it is detected",
    "experimental_data.phi_angles_file": "angles come from the data file; for plain arrays use data.phi",
    "experimental_data.phi_angles_path": "angles come from the data file; for plain arrays use data.phi",
    "experimental_data.preprocessing": "the diagonal is never fitted, and maps are not normalised",
    "optimization_config.classical_optimization.method_options.Gurobi": (
        "the method trust-region takes its place, with max_iterations and tolerance"
    ),
    "optimization_config.classical_optimization.method_options.Nelder-Mead.xatol": (
        "parameters of different units have no common tolerance; use fit.nelder_mead.tolerance"
    ),
    "optimization_config.classical_optimization.method_options.Nelder-Mead": (
        "the method nelder-mead has max_evaluations, tolerance and adaptive, under fit.nelder_mead"
    ),
    "optimization_config.classical_optimization.selection_strategy": (
        "of several methods, the one with the lowest χ² of those that converged counts"
    ),
    "optimization_config.robust_optimization.enable_caching": "every evaluation of a fit is remembered",
    "optimization_config.robust_optimization.jacobian_epsilon": "derivatives are exact",
    "optimization_config.robust_optimization.method_options.scenario.bootstrap_method": (
        "segments of time are resampled, since residuals of pixels that share frames cannot be exchanged"
    ),
    "optimization_config.robust_optimization.method_options": (
        "fit.ellipsoidal, fit.wasserstein and fit.scenario have the options of these methods"
    ),
    "optimization_config.robust_optimization.preferred_solver": "cone programs are solved by Clarabel",
    "optimization_config.robust_optimization.solver_settings": (
        "cone programs are solved to rounding; use fit.max_evaluations and fit.tolerance"
    ),
    "optimization_config.robust_optimization.subsampling": (f"methods share fit.reduction, which {SUBSAMPLING} sets"),
    "optimization_config.scaling_parameters": "contrast and offset of each angle are solved for exactly",
    "output_settings.file_formats": "results are result.json and result.zarr",
    "output_settings.file_naming": "use output.folder, or -o",
    "output_settings.logging": "run.log in the output folder has everything",
    "output_settings.plotting": "use output.plots",
    "output_settings.reporting": "use output.plots",
    "parameter_space.bounds.prior_mu": "there are no priors; use min and max",
    "parameter_space.bounds.prior_sigma": "there are no priors; use min and max",
    "parameter_space.bounds.type": "there are no priors; use min and max",
    "parameter_space.bounds.unit": "units are those of the model (`hetdask config schema`)",
    "performance_settings.caching": (
        "use compute.resident_limit for what stays in memory; the store is what stays on disk"
    ),
    "performance_settings.memory_management.garbage_collection_frequency": (
        "memory of arrays is given back as soon as they are no longer used"
    ),
    "performance_settings.memory_management": (
        "peaks are always recorded (memory in result.json); use compute.memory_limit and compute.resident_limit"
    ),
    "performance_settings.noise_model": "χ² uses the white noise of the maps; give fit.sigma to set it",
    f"{NUMBA}.parallel_numba": "kernels are serial, and Dask runs them side by side; use compute.workers",
    f"{NUMBA}.stability_enhancements.warmup_iterations": "one call of a kernel compiles it",
    f"{NUMBA}.performance_monitoring": (
        "times and memory of every run are recorded; use hetdask.stable_benchmark for benchmarks"
    ),
    f"{NUMBA}.stability_enhancements.environment_optimization.gc_optimization": (
        "memory of arrays is given back as soon as they are no longer used"
    ),
    NUMBA: (
        "kernels are compiled before workers start, cached, and free of the GIL in any case; thread variables that are "
        "exported count"
    ),
    "performance_settings.parallel_processing": "use compute.scheduler and compute.workers",
    "validation_rules": "data are always checked; `hetdask inspect` shows what was found",
    "workflow_integration": "use output.plots",
}
"""What has no effect here, and what to use instead."""


MEMORY_LIMIT_GB: Final = "analyzer_parameters.computational.memory_limit_gb"

SOURCES: Final[dict[str, str]] = {
    "data.source": "experimental_data.data_folder_path with data_file_name",
    "data.dt": "analyzer_parameters.temporal.dt",
    "data.q": "analyzer_parameters.scattering.wavevector_q",
    "data.frames": "analyzer_parameters.temporal.start_frame with end_frame",
    "data.angles": "optimization_config.angle_filtering.target_ranges",
    "data.angle_fallback": "optimization_config.angle_filtering.fallback_to_all_angles",
    "parameters": "initial_parameters.values with parameter_space.bounds",
    "fit.active_parameters": "initial_parameters.active_parameters",
    "fit.classical": "optimization_config.classical_optimization.methods",
    "fit.max_evaluations": "optimization_config.classical_optimization.method_options.Gurobi.max_iterations",
    "fit.tolerance": "optimization_config.classical_optimization.method_options.Gurobi.tolerance",
    "fit.nelder_mead.max_evaluations": "optimization_config.classical_optimization.method_options.Nelder-Mead.maxiter",
    "fit.nelder_mead.tolerance": "optimization_config.classical_optimization.method_options.Nelder-Mead.fatol",
    "fit.nelder_mead.adaptive": "optimization_config.classical_optimization.method_options.Nelder-Mead.adaptive",
    "fit.reduction.max_points": f"{SUBSAMPLING}.max_data_points with enabled",
    "fit.reduction.time_factor": f"{SUBSAMPLING}.time_subsample_factor",
    "fit.reduction.angle_factor": f"{SUBSAMPLING}.angle_subsample_factor",
    "fit.robust": "optimization_config.robust_optimization.uncertainty_model with enabled",
    "fit.ellipsoidal.radius": (
        "optimization_config.robust_optimization.uncertainty_radius, or method_options.ellipsoidal.gamma"
    ),
    "fit.wasserstein.radius": "optimization_config.robust_optimization.uncertainty_radius",
    "fit.scenario.scenarios": "optimization_config.robust_optimization.n_scenarios",
    **{
        f"fit.{name}.{key}": f"optimization_config.robust_optimization.regularization_{key}"
        for name in ("ellipsoidal", "wasserstein", "scenario")
        for key in ("alpha", "beta")
    },
    "compute.workers": "analyzer_parameters.computational.num_threads",
    "compute.resident_limit": (
        "performance_settings.memory_management.low_memory_mode, or performance_settings.caching.cache_size_limit_mb"
    ),
    "compute.numba": f"{NUMBA}.enable_numba",
    "compute.memory_limit": f"{MEMORY_LIMIT_GB}, or optimization_config.robust_optimization.memory_limit",
    **{
        f"quality.{section}.{name}": f"validation_rules.fit_quality.{section}_chi_squared.{name}_threshold"
        for section in ("overall", "per_angle")
        for name in ("excellent", "acceptable", "warning", "critical")
        if (section, name) != ("per_angle", "critical")
    },
    "quality.per_angle.outlier_multiplier": (
        "validation_rules.fit_quality.per_angle_chi_squared.outlier_threshold_multiplier"
    ),
    "quality.per_angle.max_outlier_fraction": (
        "validation_rules.fit_quality.per_angle_chi_squared.max_outlier_fraction"
    ),
    "quality.per_angle.min_good_angles": "validation_rules.fit_quality.per_angle_chi_squared.min_good_angles",
    "output.folder": "output_settings.results_directory",
    "output.plots": "output_settings.reporting.generate_plots",
}
"""Where the other package has what a native key holds."""


def is_original(content: Mapping[str, Any]) -> bool:
    """Whether a configuration is in the format of heterodyne-analysis."""
    return not MARKS.isdisjoint(content)


def translate(content: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Native settings, and a line for each key that has no effect here.

    Parameters
    ----------
    content : mapping
        As read from the JSON file.

    Returns
    -------
    settings : dict
        What `Settings` takes; not validated yet.
    notes : list of str

    Raises
    ------
    ConfigError
        If a translated key holds something else than it should.
    """
    reader = _Reader(content)
    settings: dict[str, Any] = {
        "data": _data(reader),
        "parameters": _parameters(reader),
        "fit": _fit(reader),
        "quality": _quality(reader),
        "compute": _compute(reader),
        "output": _output(reader),
    }
    gauge = _gauge(settings)
    return settings, [*gauge, *_uncapped(settings), *reader.unused()]


class _Reader:
    """Hands out values by their path and remembers which."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._content = content
        self._used: set[str] = set()

    def take(self, path: str, default: Any = None) -> Any:
        """Value at a dotted path; null counts as missing."""
        place: Any = self._content
        for part in path.split("."):
            if not isinstance(place, Mapping) or part not in place:
                return default
            place = place[part]
        self._used.add(path)
        return default if place is None else place

    def skip(self, path: str, value: Any) -> None:
        """Count a dotted path as used if it holds `value`, which asks for what is done anyway."""
        if self.take(path) != value:
            self._used.discard(path)

    def take_entries(self, path: str, *keys: str) -> list[Mapping[str, Any]]:
        """List of mappings at a dotted path, of which `keys` are used.

        Raises
        ------
        ConfigError
            If it is something else.
        """
        entries = self.take(path, [])
        self._used.update(f"{path}.{key}" for key in keys)
        if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
            raise ConfigError(f"{path}: found {entries!r}, expected a list of entries with {', '.join(keys)}")
        return entries

    def unused(self) -> list[str]:
        """A line for each key, or group of keys, that was not taken."""
        lines: dict[str, None] = {}
        for path in _leaves(self._content):
            if path in self._used or any(_covers(comment, path) for comment in COMMENTS):
                continue
            group = next((key for key in WITHOUT_EFFECT if _covers(key, path)), None)
            if group is not None:
                lines[f"  {group}: {WITHOUT_EFFECT[group]}"] = None
            else:
                near = difflib.get_close_matches(path, [*self._used, *WITHOUT_EFFECT], n=1, cutoff=0.8)
                hint = f"did you mean {near[0]}?" if near else "see `hetdask config schema` for the keys that act"
                lines[f"  {path}: unknown; {hint}"] = None
        return list(lines)


def _covers(key: str, path: str) -> bool:
    return path == key or path.startswith(f"{key}.")


def _leaves(content: Any, prefix: str = "") -> Iterator[str]:
    """Dotted paths of all values, without comments; list indices are left out."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            if not str(key).startswith("_"):
                yield from _leaves(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(content, list) and any(isinstance(entry, Mapping) for entry in content):
        for entry in content:
            yield from _leaves(entry, prefix)
    elif prefix:
        yield prefix


def _data(reader: _Reader) -> dict[str, Any]:
    temporal, scattering = "analyzer_parameters.temporal", "analyzer_parameters.scattering"
    data: dict[str, Any] = {
        "dt": reader.take(f"{temporal}.dt"),
        "q": reader.take(f"{scattering}.wavevector_q"),
    }
    first, last = reader.take(f"{temporal}.start_frame"), reader.take(f"{temporal}.end_frame")
    if (first is None) != (last is None):
        raise ConfigError(f"{temporal}: found only one of start_frame and end_frame, expected both or none")
    if first is not None:
        data["frames"] = [first, last]
    folder, name = (
        reader.take("experimental_data.data_folder_path", "."),
        reader.take("experimental_data.data_file_name"),
    )
    if name is not None:
        data["source"] = str(Path(folder) / name)
        if not Path(data["source"]).exists() and (cache := _cache(reader, first, last)) is not None:
            # The frames were selected when the cache was written.
            data["source"] = str(cache)
            data.pop("frames", None)
    filtering = "optimization_config.angle_filtering"
    ranges = reader.take_entries(f"{filtering}.target_ranges", "min_angle", "max_angle")
    fallback = reader.take(f"{filtering}.fallback_to_all_angles", True)
    if reader.take(f"{filtering}.enabled", True) and ranges:
        data["angles"] = [[entry.get("min_angle", -180.0), entry.get("max_angle", 180.0)] for entry in ranges]
        data["angle_fallback"] = fallback
    return _without_none(data)


def _cache(reader: _Reader, first: Any, last: Any) -> Path | None:
    """The other package's cache of the selected frames, if there is one."""
    folder = reader.take("experimental_data.cache_file_path")
    template = reader.take("experimental_data.cache_filename_template")
    if folder is None or template is None:
        return None
    name = str(template).replace("{start_frame}", str(first)).replace("{end_frame}", str(last))
    path = Path(folder) / name
    return path if path.is_file() else None


def _parameters(reader: _Reader) -> dict[str, dict[str, Any]]:
    names = reader.take("initial_parameters.parameter_names", list(NAMES))
    values = reader.take("initial_parameters.values")
    parameters: dict[str, dict[str, Any]] = {}
    if values is not None:
        if not isinstance(values, list) or not isinstance(names, list) or len(values) != len(names):
            raise ConfigError(
                f"initial_parameters.values: found {_count(values)} for {_count(names)} names, expected a list with "
                f"one value for each of parameter_names, which are {', '.join(NAMES)} where they are not given"
            )
        parameters = {str(name): {"value": value} for name, value in zip(names, values, strict=True)}
    for entry in reader.take_entries("parameter_space.bounds", "name", "min", "max"):
        if "name" not in entry:
            raise ConfigError(f"parameter_space.bounds: found {dict(entry)!r}, expected a name in each entry")
        bounds = {key: entry[key] for key in ("min", "max") if entry.get(key) is not None}
        parameters.setdefault(str(entry["name"]), {}).update(bounds)
    return parameters


def _count(values: Any) -> str:
    return f"{len(values)} entries" if isinstance(values, list) else repr(values)


def _fit(reader: _Reader) -> dict[str, Any]:
    classical = "optimization_config.classical_optimization"
    gurobi, nelder_mead = (f"{classical}.method_options.{name}" for name in ("Gurobi", "Nelder-Mead"))
    methods = reader.take(f"{classical}.methods")
    reader.skip(f"{classical}.selection_strategy", "best_chi_squared")
    fit = {
        "classical": [METHODS.get(name, name) for name in methods] if isinstance(methods, list) else methods,
        "active_parameters": reader.take("initial_parameters.active_parameters") or None,
        "max_evaluations": reader.take(f"{gurobi}.max_iterations"),
        "tolerance": reader.take(f"{gurobi}.tolerance"),
        "reduction": _reduction(reader),
        "nelder_mead": _without_none(
            {
                "max_evaluations": reader.take(f"{nelder_mead}.maxiter"),
                # Of a reduced χ², which is near 1: as good as a relative one.
                "tolerance": reader.take(f"{nelder_mead}.fatol"),
                "adaptive": reader.take(f"{nelder_mead}.adaptive"),
            }
        ),
    }
    return _without_none({**fit, **_robust(reader)})


def _reduction(reader: _Reader) -> dict[str, Any] | None:
    """Subsampling, as means over blocks instead of every n-th frame."""
    values = {key: reader.take(f"{SUBSAMPLING}.{key}") for key in SUBSAMPLING_DEFAULTS}
    enabled = reader.take(f"{SUBSAMPLING}.enabled")
    if enabled is False or (enabled is None and not _without_none(values)):
        return None
    known = {**SUBSAMPLING_DEFAULTS, **_without_none(values)}
    return dict(zip(("max_points", "time_factor", "angle_factor"), known.values(), strict=True))


def _robust(reader: _Reader) -> dict[str, Any]:
    """Robust methods and their options; the other package has three, of which `uncertainty_model` counts first."""
    section = "optimization_config.robust_optimization"
    reader.skip(f"{section}.preferred_solver", "CLARABEL")
    radius, scenarios, alpha, beta = (
        reader.take(f"{section}.{key}")
        for key in ("uncertainty_radius", "n_scenarios", "regularization_alpha", "regularization_beta")
    )
    options: dict[str, dict[str, Any]] = {}
    for name, size, key in (
        ("ellipsoidal", "radius", "gamma"),
        ("wasserstein", "radius", "uncertainty_radius"),
        ("scenario", "scenarios", "n_scenarios"),
    ):
        own = f"{section}.method_options.{name}"
        common = scenarios if name == "scenario" else radius
        options[name] = _without_none(
            {
                size: reader.take(f"{own}.{key}", common),
                "alpha": reader.take(f"{own}.regularization_alpha", alpha),
                "beta": reader.take(f"{own}.regularization_beta", beta),
            }
        )
    model, enabled = reader.take(f"{section}.uncertainty_model"), reader.take(f"{section}.enabled")
    robust = None if model is None and enabled is None else [name for name in ROBUST if name != model]
    if robust is not None and model is not None:
        robust = [model, *robust]
    return {**options, "robust": [] if enabled is False else robust}


def _quality(reader: _Reader) -> dict[str, Any]:
    """Levels of reduced χ²; here it is taken against the expected noise, see `QualitySettings`."""
    found: dict[str, Any] = {}
    for key, path in SOURCES.items():
        parts = key.split(".")
        if parts[0] == "quality" and (value := reader.take(path)) is not None:
            found.setdefault(parts[1], {})[parts[2]] = value
    return found


def _without_none(entries: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entries.items() if value is not None}


def _compute(reader: _Reader) -> dict[str, Any]:
    threads = reader.take("analyzer_parameters.computational.num_threads", "auto")
    from hetdask_cluster.local import available_cores

    most = reader.take(f"{NUMBA}.stability_enhancements.environment_optimization.max_threads")
    compute: dict[str, Any] = {} if threads == "auto" else {"workers": threads}
    if threads == "auto" and isinstance(most, int) and 0 < most < available_cores():
        compute["workers"] = most
    numba = reader.take(f"{NUMBA}.enable_numba")
    if numba is not None:
        compute["numba"] = numba
    for key in ALWAYS:
        reader.skip(f"{NUMBA}.{key}", value=True)
    management = "performance_settings.memory_management"
    reader.skip(f"{management}.memory_monitoring", value=True)
    cache = reader.take("performance_settings.caching.cache_size_limit_mb")
    if reader.take(f"{management}.low_memory_mode"):
        compute["resident_limit"] = 0
    elif cache is not None:
        compute["resident_limit"] = f"{cache}MB"
    if _performance_mode():
        compute.pop("workers", None)
        compute.pop("resident_limit", None)
    fraction = reader.take("optimization_config.robust_optimization.memory_limit")
    size = reader.take(MEMORY_LIMIT_GB)
    if size is not None:
        compute["memory_limit"] = f"{size}GiB"
    elif fraction is not None:
        compute["memory_limit"] = fraction
    return compute


def _performance_mode() -> bool:
    """Whether the environment asks for all cores, and for as many data in memory as the budget allows."""
    value = os.environ.get(PERFORMANCE_MODE, "")
    if value not in {"", "0", "1"}:
        raise ConfigError(f"{PERFORMANCE_MODE}: found {value!r}, expected 1 or 0: export {PERFORMANCE_MODE}=1")
    return value == "1"


def _uncapped(settings: dict[str, Any]) -> list[str]:
    """Drop a memory limit beyond what the machine has: it limits nothing."""
    limit = settings["compute"].get("memory_limit")
    if limit is None or not str(limit).endswith("GiB"):
        return []
    try:
        parse_memory(limit)
    except ConfigError as error:
        if "but this machine gives" not in str(error):
            raise
        del settings["compute"]["memory_limit"]
        return [f"  {MEMORY_LIMIT_GB}: {limit} is more than this machine has; the default, 0.9 of it, is the budget"]
    return []


def _output(reader: _Reader) -> dict[str, Any]:
    output = {
        "folder": reader.take("output_settings.results_directory"),
        "plots": reader.take("output_settings.reporting.generate_plots"),
    }
    return _without_none(output)


def _gauge(settings: dict[str, Any]) -> list[str]:
    """Hold f2: the model knows only f0·exp(-f1·f2), so a fit of f0, f1 and f2 together has no single answer."""
    active = settings["fit"].get("active_parameters")
    if active is None or "f2" not in active:
        return []
    settings["fit"]["active_parameters"] = [name for name in active if name != "f2"]
    return [
        "  initial_parameters.active_parameters: f2 is held at its start value, because f0 and f2 have the same effect"
    ]
