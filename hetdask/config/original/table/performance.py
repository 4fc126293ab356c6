"""Keys of χ², integrals, Numba, memory and threads."""

from __future__ import annotations

from typing import Final

from hetdask.config.original.key import Key, acts, comment, copies, ignored

CHI_SQUARED: Final = "advanced_settings.chi_squared_calculation"
CONTROLS: Final = "advanced_settings.optimization_controls"
CACHING: Final = "performance_settings.caching"
PARALLEL: Final = "performance_settings.parallel_processing"
MEMORY: Final = "performance_settings.memory_management"
NUMBA: Final = "performance_settings.numba_optimization"
STABILITY: Final = f"{NUMBA}.stability_enhancements"
ENVIRONMENT: Final = f"{STABILITY}.environment_optimization"
MONITORING: Final = f"{NUMBA}.performance_monitoring"

GARBAGE: Final = "memory of arrays is given back as soon as they are no longer used"

KEYS: Final[list[Key]] = [
    *ignored(
        "analysis_settings",
        "static_mode",
        "the model always has a flow",
        use=["parameters.v0 with value: 0 and fixed: true"],
        asked=False,
    ),
    *comment(
        "analysis_settings",
        "model_description field_correlations.g1_ref field_correlations.g1_sample transport_coefficients.D_ref "
        "transport_coefficients.D_sample heterodyne_interpretation *",
    ),
    *ignored(
        "advanced_settings.data_loading",
        "use_diagonal_correction vectorized_diagonal_fix",
        "the diagonal never counts in a fit",
        asked=True,
    ),
    *ignored(CHI_SQUARED, "method", "χ² is a sum of squares over the noise", use=["fit.robust"], asked="standard"),
    *ignored(
        CHI_SQUARED,
        "uncertainty_estimation_factor minimum_sigma",
        "χ² is taken over the white noise of the maps",
        use=["fit.sigma"],
    ),
    *ignored(CHI_SQUARED, "fast_computation", "χ² is exact, and fast", asked=True),
    *ignored(
        f"{CHI_SQUARED}.uncertainty_calculation",
        "enable_uncertainty report_uncertainty",
        "errors are always computed and reported",
        asked=True,
    ),
    *ignored(
        f"{CHI_SQUARED}.uncertainty_calculation",
        "minimum_angles_for_uncertainty",
        "errors come from the residuals, with any number of angles",
    ),
    *ignored(
        f"{CHI_SQUARED}.validity_check",
        "check_positive_D0 check_positive_v0 check_positive_gamma_dot_t0 check_positive_time_dependent",
        "bounds alone say what may be negative",
        use=["parameter_space.bounds.min and max"],
    ),
    *ignored(f"{CHI_SQUARED}.validity_check", "check_parameter_bounds", "bounds always hold", asked=True),
    *ignored(
        f"{CHI_SQUARED}.validity_check",
        "check_fraction_sum",
        "the model keeps the fraction itself between 0 and 1; f0 to f3 have no sum to keep",
    ),
    *ignored(
        "advanced_settings.numerical_integration",
        "method relative_tolerance absolute_tolerance *",
        "integrals are exact",
    ),
    *ignored(CONTROLS, "convergence_tolerance", "each kind of method has its own", use=["fit.tolerance"]),
    *ignored(CONTROLS, "max_function_evaluations", "each kind of method has its own", use=["fit.max_evaluations"]),
    *ignored(CONTROLS, "parameter_scaling", "parameters are scaled by what the data say of them", asked="auto"),
    *ignored(CONTROLS, "finite_difference_step", "derivatives are exact"),
    *ignored(
        CACHING,
        "enable_memory_cache",
        "data stay in memory as far as the budget goes",
        use=["compute.resident_limit"],
        asked=True,
    ),
    *ignored(CACHING, "enable_disk_cache", "the store of a run is kept", use=["data.store"], asked=True),
    *acts(
        CACHING,
        "cache_size_limit_mb",
        "compute.resident_limit",
        "data that workers keep in memory between passes, at most; the store on disk is whole",
    ),
    *ignored(CACHING, "auto_cleanup", "the store of a run is kept with it", use=["data.store"]),
    *ignored(
        PARALLEL, "enable_multiprocessing", "workers are processes", use=["compute.scheduler: inline"], asked=True
    ),
    *ignored(PARALLEL, "chunk_size", "the memory plan says how large shards are", asked="auto"),
    *ignored(PARALLEL, "backend", "Dask runs the passes", use=["compute.scheduler", "compute.workers"]),
    *acts(MEMORY, "low_memory_mode", "compute.resident_limit", "no data stay in memory: they are read in every pass"),
    *ignored(MEMORY, "garbage_collection_frequency", GARBAGE, use=["compute.memory_limit", "compute.resident_limit"]),
    *ignored(MEMORY, "memory_monitoring", "peaks of memory are always in result.json", asked=True),
    *copies(NUMBA, "enable_numba", "compute.numba", "false: passes of least-squares fits alone run in plain NumPy"),
    *ignored(NUMBA, "warmup_numba", "kernels are compiled before workers start", asked=True),
    *ignored(
        NUMBA,
        "parallel_numba",
        "kernels are serial, and Dask runs them side by side",
        use=["compute.workers"],
        asked=False,
    ),
    *ignored(NUMBA, "cache_numba", "compiled kernels are kept", use=["the variable NUMBA_CACHE_DIR"], asked=True),
    *ignored(STABILITY, "enable_kernel_warmup", "kernels are compiled before workers start", asked=True),
    *ignored(STABILITY, "warmup_iterations", "one call of a kernel compiles it", asked=1),
    *ignored(STABILITY, "optimize_memory_layout", "arrays lie as kernels read them", asked=True),
    *ignored(STABILITY, "enable_nogil", "kernels never hold the GIL", asked=True),
    *ignored(
        ENVIRONMENT,
        "auto_configure",
        "workers have one thread for libraries each",
        use=["the variable OMP_NUM_THREADS"],
        asked=True,
    ),
    *acts(
        ENVIRONMENT,
        "max_threads",
        "compute.workers",
        "at most so many worker processes, where num_threads is auto",
    ),
    *ignored(ENVIRONMENT, "gc_optimization", GARBAGE),
    *ignored(
        MONITORING,
        "enable_profiling memory_monitoring",
        "times and memory of every run are in result.json",
        asked=True,
    ),
    *ignored(
        MONITORING,
        "stable_benchmarking adaptive_benchmarking performance_baselines",
        "a run is no benchmark",
        use=["hetdask.stable_benchmark", "hetdask.adaptive_stable_benchmark"],
        asked=False,
    ),
    *ignored(MONITORING, "target_cv", "a run is no benchmark", use=["hetdask.adaptive_stable_benchmark"]),
    *ignored(
        MONITORING,
        "smart_caching.enabled smart_caching.max_items smart_caching.max_memory_mb",
        "what stays in memory are data, by the plan",
        use=["compute.resident_limit"],
    ),
    *ignored("performance_settings.noise_model", "use_simple_forward_model", "there is one model", asked=False),
    *ignored("performance_settings.noise_model", "sigma_prior", "there are no priors", use=["fit.sigma"]),
    *ignored(
        "performance_settings", "parallel_execution use_threading", "Dask runs the passes", use=["compute.workers"]
    ),
    *ignored(
        "performance_settings",
        "optimization_counter_log_frequency",
        "every evaluation is in run.log and history.jsonl",
    ),
]
