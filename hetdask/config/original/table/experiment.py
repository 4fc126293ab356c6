"""Keys of the experiment: data, axes, start values and bounds."""

from __future__ import annotations

from typing import Final

from hetdask.config.original.key import Key, acts, comment, copies, ignored
from hetdask.model.parameters import NAMES

TEMPORAL: Final = "analyzer_parameters.temporal"
SCATTERING: Final = "analyzer_parameters.scattering"
GEOMETRY: Final = "analyzer_parameters.geometry"
COMPUTATIONAL: Final = "analyzer_parameters.computational"
DATA: Final = "experimental_data"
INITIAL: Final = "initial_parameters"
BOUNDS: Final = "parameter_space.bounds"

UNITS: Final = ("Å²/s", "Å/s", "dimensionless", "degrees")
"""Units as its templates write them; Å²/s stands for Å²/s^(α+1) too."""

KEYS: Final[list[Key]] = [
    *comment(
        "metadata",
        "config_version description based_on analysis_mode plotting_features.experimental_data_plotting "
        "plotting_features.simulated_data_plotting plotting_features.phi_angles_override "
        "plotting_features.multi_method_support model_features.separate_transport_coefficients "
        "model_features.two_component_correlation model_features.time_dependent_fraction "
        "model_features.aging_dynamics model_features.flow_geometry parameters_optimized script_compatibility *",
    ),
    *acts(DATA, "data_folder_path data_file_name", "data.source"),
    *ignored(
        DATA,
        "phi_angles_path phi_angles_file",
        "angles come from the data file; a plain array has none",
        use=["data.phi"],
    ),
    *ignored(DATA, "exchange_key file_format", "the layout of a file is detected", use=["data.layout", "data.key"]),
    *acts(
        DATA,
        "cache_file_path cache_filename_template",
        "data.source",
        "a cache that is there is read where the data file is not; none is written, since the store of a run is kept",
    ),
    *ignored(DATA, "cache_compression", "stores are compressed", asked=True),
    *ignored(DATA, "data_type", "maps are stored as float32, and every sum over them is float64"),
    *ignored(
        f"{DATA}.preprocessing",
        "apply_diagonal_correction vectorized_correction",
        "the diagonal never counts in a fit",
        asked=True,
    ),
    *ignored(f"{DATA}.preprocessing", "cache_processed_data", "the store is kept", use=["data.store"], asked=True),
    *ignored(
        f"{DATA}.preprocessing",
        "normalize_data normalization_method",
        "contrast and offset of each angle are solved for, which no normalisation changes",
    ),
    *copies(TEMPORAL, "dt", "data.dt"),
    *ignored(TEMPORAL, "dt_unit", "times are in seconds", use=["data.dt"], asked=("seconds", "s")),
    *acts(TEMPORAL, "start_frame end_frame", "data.frames"),
    *comment(TEMPORAL, "frame_description"),
    *copies(SCATTERING, "wavevector_q", "data.q"),
    *ignored(
        SCATTERING, "q_unit", "wavevectors are in 1/Å", use=["data.q"], asked=("Å⁻¹", "1/Å", "Å^-1", "A^-1", "1/A")
    ),
    *comment(SCATTERING, "typical_range"),
    *ignored(GEOMETRY, "stator_rotor_gap gap_in_microns", "the model does not depend on it"),
    *comment(GEOMETRY, "gap_unit"),
    *acts(COMPUTATIONAL, "num_threads", "compute.workers", "so many worker processes"),
    *ignored(
        COMPUTATIONAL,
        "auto_detect_cores",
        "cores are counted where num_threads is auto",
        use=["compute.workers"],
        asked=True,
    ),
    *acts(
        COMPUTATIONAL,
        "max_threads_limit",
        "compute.workers",
        "at most so many worker processes, where num_threads is auto",
    ),
    *acts(
        COMPUTATIONAL,
        "memory_limit_gb",
        "compute.memory_limit",
        "the budget of the whole run, which it keeps to; no more than the machine has",
    ),
    *acts(
        INITIAL,
        "values",
        "parameters fit.start",
        "where they lead to no optimum at the noise level, a search within the bounds follows",
    ),
    *acts(INITIAL, "parameter_names", "parameters"),
    *acts(
        INITIAL,
        "active_parameters",
        "fit.active_parameters",
        "f2 is held at its start value, because f0 and f2 have the same effect",
    ),
    *ignored(INITIAL, "units", "units are those of the model", use=["hetdask config schema"], asked=UNITS),
    *comment(f"{INITIAL}.physical_meaning", " ".join([*NAMES, "*"])),
    *ignored(
        f"{INITIAL}.parameter_units",
        " ".join(NAMES),
        "units are those of the model",
        use=["hetdask config schema"],
        asked=UNITS,
    ),
    *acts(BOUNDS, "name min max", "parameters", "by name, in any order; equal ones hold a parameter"),
    *ignored(BOUNDS, "type prior_mu prior_sigma", "there are no priors", use=["parameter_space.bounds.min and max"]),
    *ignored(BOUNDS, "unit", "units are those of the model", use=["hetdask config schema"], asked=UNITS),
]
