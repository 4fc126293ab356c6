"""Keys of checks, quality levels, files, figures and logs."""

from __future__ import annotations

from typing import Final

from hetdask.config.original.key import Key, comment, copies, ignored

QUALITY: Final = "validation_rules.fit_quality"
WORKFLOW: Final = "workflow_integration"
FORMATS: Final = "output_settings.file_formats"
REPORTING: Final = "output_settings.reporting"
PLOTTING: Final = "output_settings.plotting"
LOGGING: Final = "output_settings.logging"

LEVEL: Final = "of the mean square residual over what white and speckle noise predict"
FIGURES: Final = "figures of a run have one form"

KEYS: Final[list[Key]] = [
    *ignored(
        "validation_rules.data_quality",
        "check_data_range correlation_minimum correlation_maximum",
        "no value is cut off; the report shows pixels that stand out",
        use=["hetdask inspect --plot"],
    ),
    *ignored(
        "validation_rules.data_quality",
        "check_nan_values nan_handling",
        "pixels and frames that are NaN are left out and counted",
        use=["hetdask inspect"],
        asked=True,
    ),
    *ignored("validation_rules.parameter_validation", "check_bounds", "bounds always hold", asked=True),
    *ignored(
        "validation_rules.parameter_validation",
        "physics_constraints",
        "bounds alone say which values are possible",
        use=["parameter_space.bounds.min and max"],
    ),
    *ignored(
        "validation_rules.parameter_validation",
        "correlation_checks",
        "correlations, and combinations that the data do not determine, are always reported",
        asked=True,
    ),
    *(
        key
        for section, names in (
            ("overall", "excellent acceptable warning critical"),
            ("per_angle", "excellent acceptable warning"),
        )
        for name in names.split()
        for key in copies(f"{QUALITY}.{section}_chi_squared", f"{name}_threshold", f"quality.{section}.{name}", LEVEL)
    ),
    *copies(
        f"{QUALITY}.per_angle_chi_squared",
        "outlier_threshold_multiplier",
        "quality.per_angle.outlier_multiplier",
        LEVEL,
    ),
    *copies(f"{QUALITY}.per_angle_chi_squared", "max_outlier_fraction", "quality.per_angle.max_outlier_fraction"),
    *copies(f"{QUALITY}.per_angle_chi_squared", "min_good_angles", "quality.per_angle.min_good_angles"),
    *ignored(
        "validation_rules.frame_range",
        "minimum_frames maximum_frames",
        "any number of frames that a fit can use is taken",
        use=["data.frames"],
    ),
    *ignored(
        "validation_rules.frame_range",
        "check_continuity",
        "frames follow each other by dt; missing ones are left out",
        use=["hetdask inspect"],
        asked=True,
    ),
    *ignored(
        f"{WORKFLOW}.analysis_workflow",
        "auto_generate_plots plot_integration_enabled",
        "a run draws its figures at the end",
        use=["output.plots"],
        asked=True,
    ),
    *ignored(
        f"{WORKFLOW}.analysis_workflow",
        "plot_experimental_data_on_load",
        "a run draws its figures at the end",
        use=["--plot-experimental-data"],
        asked=False,
    ),
    *ignored(
        f"{WORKFLOW}.analysis_workflow",
        "cache_plot_data",
        "what figures show is in result.zarr",
        asked=True,
    ),
    *ignored(
        f"{WORKFLOW}.analysis_workflow",
        "save_intermediate_plots",
        "a run draws its figures at the end",
        use=["hetdask dashboard"],
        asked=False,
    ),
    *ignored(
        f"{WORKFLOW}.data_management",
        "experimental_data_cache theoretical_data_cache cache_directory auto_cleanup_cache cache_retention_days",
        "the store of a run is its cache, and is kept",
        use=["data.store"],
    ),
    *ignored(
        f"{WORKFLOW}.error_handling",
        "continue_on_plot_errors log_plot_errors fallback_plotting validate_plot_data",
        "results are written before figures are drawn, and no error is passed over",
        use=["output.plots"],
    ),
    *copies(
        "output_settings",
        "results_directory",
        "output.folder",
        "a run never replaces another: the next ones go to run-2, run-3 … inside it",
    ),
    *ignored(
        FORMATS,
        "results_format",
        "results are result.json and result.zarr",
        use=["hetdask report --export"],
        asked="json",
    ),
    *ignored(FORMATS, "save_intermediate", "a run that goes on keeps a checkpoint", use=["--resume"], asked=True),
    *ignored(FORMATS, "compression", "result.zarr is compressed", asked=True),
    *ignored(FORMATS, "precision", "numbers are written with all their digits", asked="float64"),
    *ignored(
        "output_settings.file_naming",
        "timestamp_format include_config_name include_chi_squared",
        "files of a run have fixed names",
        use=["output.folder"],
    ),
    *copies(REPORTING, "generate_plots", "output.plots"),
    *ignored(REPORTING, "plot_formats", "figures of a run are PNG", use=["hetdask report --figures"], asked="png"),
    *ignored(
        REPORTING,
        "detailed_summary convergence_diagnostics",
        "report.html has them",
        use=["hetdask report"],
        asked=True,
    ),
    *ignored(
        f"{PLOTTING}.general",
        "create_plots save_plots",
        "reporting.generate_plots counts",
        use=["output.plots"],
        asked=True,
    ),
    *ignored(f"{PLOTTING}.general", "show_plots", "figures are files", use=["hetdask report --open"], asked=False),
    *ignored(
        f"{PLOTTING}.general",
        "plot_format dpi figure_size style",
        FIGURES,
        use=["hetdask report --figures"],
    ),
    *ignored(
        f"{PLOTTING}.c2_heatmaps",
        "enabled layout include_experimental include_theoretical include_residuals colormap colorbar_position "
        "title_prefix figsize",
        FIGURES,
        use=["hetdask report --figures"],
    ),
    *ignored(
        f"{PLOTTING}.diagnostic_plots",
        "enabled chi_squared_summary parameter_correlations residual_analysis convergence_history",
        "report.html has them",
        use=["hetdask report"],
        asked=True,
    ),
    *ignored(
        f"{PLOTTING}.output",
        "base_directory subdirectories.c2_heatmaps subdirectories.parameter_plots subdirectories.diagnostics "
        "filename_template include_timestamp",
        "figures are in the run folder, under fixed names",
        use=["output.folder"],
    ),
    *ignored(
        f"{PLOTTING}.output",
        "overwrite_existing",
        "no run replaces another unless it is told to",
        use=["--overwrite"],
        asked=False,
    ),
    *ignored(LOGGING, "log_level", "run.log has every evaluation", use=["--verbose"], asked="INFO"),
    *ignored(LOGGING, "log_to_file", "run.log in the run folder has everything", asked=True),
    *ignored(LOGGING, "log_to_console", "a run shows its progress", use=["--quiet"], asked=True),
    *ignored(
        LOGGING,
        "log_filename rotation.max_bytes rotation.backup_count",
        "run.log is in the run folder, one for each run",
        use=["output.folder"],
    ),
    *comment("heterodyne_specific_notes", "*"),
    *comment("migration_info", "*"),
    *comment("test_configurations", "*"),
]
