"""Keys of fits: angles, methods and their options."""

from __future__ import annotations

from typing import Final

from hetdask.config.original.key import Key, acts, copies, ignored

FILTERING: Final = "optimization_config.angle_filtering"
CLASSICAL: Final = "optimization_config.classical_optimization"
NELDER_MEAD: Final = f"{CLASSICAL}.method_options.Nelder-Mead"
GUROBI: Final = f"{CLASSICAL}.method_options.Gurobi"
SUBSAMPLING: Final = f"{CLASSICAL}.subsampling"
ROBUST: Final = "optimization_config.robust_optimization"
SCALING: Final = "optimization_config.scaling_parameters"

RADIUS: Final = "reach of the worst case, in units of the noise of the maps"
SQUARED: Final = "weight of the squared way from the start values"
ABSOLUTE: Final = "weight of the absolute way from the start values"

KEYS: Final[list[Key]] = [
    *acts(FILTERING, "enabled", "data.angles"),
    *acts(
        FILTERING,
        "target_ranges.min_angle target_ranges.max_angle",
        "data.angles",
        "ranges wrap around: 350° lies within -10° to 10°",
    ),
    *acts(FILTERING, "fallback_to_all_angles", "data.angle_fallback", "with a warning, where it comes to that"),
    *acts(CLASSICAL, "methods", "fit.classical", "Gurobi stands for the bounded trust region"),
    *copies(NELDER_MEAD, "maxiter", "fit.nelder_mead.max_evaluations", "passes over the data in each round"),
    *ignored(
        NELDER_MEAD,
        "xatol",
        "parameters of different units have no common tolerance",
        use=["fit.nelder_mead.tolerance"],
    ),
    # Of a reduced χ², which is near 1: as good as a relative one.
    *copies(NELDER_MEAD, "fatol", "fit.nelder_mead.tolerance", "relative spread of χ²"),
    *copies(NELDER_MEAD, "adaptive", "fit.nelder_mead.adaptive"),
    *ignored(
        NELDER_MEAD,
        "*",
        "the method nelder-mead has three options",
        use=["fit.nelder_mead.max_evaluations", "fit.nelder_mead.tolerance", "fit.nelder_mead.adaptive"],
    ),
    *copies(GUROBI, "max_iterations", "fit.max_evaluations", "passes over the data in each round, robust methods too"),
    *copies(GUROBI, "tolerance", "fit.tolerance", "relative change of χ², of robust methods too"),
    *ignored(GUROBI, "time_limit", "no method has a limit of time", use=["fit.max_evaluations"]),
    *ignored(
        GUROBI,
        "output_flag method *",
        "the bounded trust region takes the place of this solver",
        use=["fit.max_evaluations", "fit.tolerance"],
    ),
    *ignored(
        CLASSICAL,
        "selection_strategy",
        "of several methods, the one with the lowest χ² of those that converged counts",
        use=["fit.classical with one method"],
        asked="best_chi_squared",
    ),
    *acts(
        SUBSAMPLING,
        "enabled max_data_points",
        "fit.reduction.max_points",
        "means over blocks of pixels, each pair of frames counted once, take the place of every n-th frame",
    ),
    *acts(
        SUBSAMPLING,
        "time_subsample_factor",
        "fit.reduction.time_factor",
        "there are fewer means than pixels by at least its square",
    ),
    *acts(
        SUBSAMPLING,
        "angle_subsample_factor",
        "fit.reduction.angle_factor",
        "still fewer means; no angle is left out",
    ),
    *acts(ROBUST, "enabled", "fit.robust", "false: method all runs the classical methods alone"),
    *acts(ROBUST, "uncertainty_model", "fit.robust", "this one first; of several, the first that converged counts"),
    *copies(ROBUST, "uncertainty_radius", "fit.ellipsoidal.radius fit.wasserstein.radius", RADIUS),
    *copies(ROBUST, "n_scenarios", "fit.scenario.scenarios", "resamplings of segments of time"),
    *copies(ROBUST, "regularization_alpha", "fit.ellipsoidal.alpha fit.wasserstein.alpha fit.scenario.alpha", SQUARED),
    *copies(ROBUST, "regularization_beta", "fit.ellipsoidal.beta fit.wasserstein.beta fit.scenario.beta", ABSOLUTE),
    *copies(
        ROBUST,
        "memory_limit",
        "compute.memory_limit",
        "the budget of the whole run, which it keeps to; memory_limit_gb counts first",
    ),
    *ignored(ROBUST, "jacobian_epsilon", "derivatives are exact"),
    *ignored(ROBUST, "enable_caching", "what was evaluated once is remembered", asked=True),
    *ignored(ROBUST, "preferred_solver", "cone programs are solved by Clarabel", asked="CLARABEL"),
    *ignored(
        f"{ROBUST}.solver_settings",
        "Method CrossOver BarHomogeneous TimeLimit MIPGap NumericFocus OutputFlag *",
        "cone programs are solved by Clarabel, to rounding",
        use=["fit.max_evaluations", "fit.tolerance"],
    ),
    *copies(f"{ROBUST}.method_options.wasserstein", "uncertainty_radius", "fit.wasserstein.radius", RADIUS),
    *copies(f"{ROBUST}.method_options.wasserstein", "regularization_alpha", "fit.wasserstein.alpha", SQUARED),
    *copies(f"{ROBUST}.method_options.wasserstein", "regularization_beta", "fit.wasserstein.beta", ABSOLUTE),
    *copies(
        f"{ROBUST}.method_options.scenario", "n_scenarios", "fit.scenario.scenarios", "resamplings of segments of time"
    ),
    *copies(f"{ROBUST}.method_options.scenario", "regularization_alpha", "fit.scenario.alpha", SQUARED),
    *copies(f"{ROBUST}.method_options.scenario", "regularization_beta", "fit.scenario.beta", ABSOLUTE),
    *ignored(
        f"{ROBUST}.method_options.scenario",
        "bootstrap_method",
        "segments of time are resampled, since residuals of pixels that share frames cannot be exchanged",
        use=["fit.scenario.segments"],
    ),
    *copies(f"{ROBUST}.method_options.ellipsoidal", "gamma", "fit.ellipsoidal.radius", RADIUS),
    *copies(f"{ROBUST}.method_options.ellipsoidal", "regularization_alpha", "fit.ellipsoidal.alpha", SQUARED),
    *copies(f"{ROBUST}.method_options.ellipsoidal", "regularization_beta", "fit.ellipsoidal.beta", ABSOLUTE),
    *ignored(
        f"{ROBUST}.subsampling",
        "enabled max_data_points time_subsample_factor angle_subsample_factor",
        "classical and robust methods fit the same data",
        use=["optimization_config.classical_optimization.subsampling"],
    ),
    *ignored(
        SCALING,
        "fitted_range.min fitted_range.max theory_range.min theory_range.max contrast.min contrast.max "
        "contrast.prior_mu contrast.prior_sigma contrast.type offset.min offset.max offset.prior_mu "
        "offset.prior_sigma offset.type *",
        "contrast and offset of each angle are solved for exactly, without limits",
    ),
]
