"""Files of heterodyne-analysis in the native format."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml

from hetdask.config import ConfigWarning, Settings, load_settings
from hetdask.config.load import read_settings
from hetdask.config.original.migrate import migrated
from hetdask.model.parameters import NAMES

FOURTEEN = [100.0, -0.5, 10.0, 900.0, -0.2, 3.0, 300.0, 0.1, 5.0, 0.5, -0.01, 0.0, 0.2, 10.0]
ELEVEN = [100.0, -0.5, 10.0, 300.0, 0.1, 5.0, 0.5, -0.01, 0.0, 0.2, 10.0]
SEVEN = [100.0, -0.5, 10.0, 0.003, 0.1, 0.0, 10.0]


def content(values: list[float], bounds: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "analyzer_parameters": {
            "temporal": {"dt": 0.1, "start_frame": 2, "end_frame": 400},
            "scattering": {"wavevector_q": 0.0054},
            "geometry": {"stator_rotor_gap": 2000000},
        },
        "experimental_data": {"data_folder_path": "./data", "data_file_name": "a b.hdf", "cache_compression": True},
        "initial_parameters": {"values": values},
        "parameter_space": {"bounds": bounds},
        "optimization_config": {
            "angle_filtering": {"target_ranges": [{"min_angle": -10.0, "max_angle": 10.0}]},
            "classical_optimization": {
                "methods": ["Gurobi", "Nelder-Mead"],
                "method_options": {"Nelder-Mead": {"fatol": 1e-10, "xatol": 1e-10}},
                "subsampling": {"enabled": True},
            },
            "robust_optimization": {"enabled": True, "uncertainty_radius": 0.05},
        },
        "output_settings": {"results_directory": "./out", "plotting": {"general": {"dpi": 300, "style": "x"}}},
    }


def both(content: dict[str, Any], folder: Path) -> tuple[Settings, Settings, str]:
    """Settings of a file, those of its native form, and that form."""
    text = migrated(content, "old.json")
    path = folder / "new.yaml"
    path.write_text(text)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        settings = load_settings(path)
    return read_settings(content).settings, settings, text


@pytest.mark.parametrize(("values", "first"), [(FOURTEEN, "D0_ref"), (ELEVEN, "D0"), (SEVEN, "D0")])
def test_a_migrated_file_has_the_same_settings(values: list[float], first: str, tmp_path: Path) -> None:
    # The bounds come in another order than the parameters, and not all of them.
    bounds = [{"name": "phi0", "min": -20.0, "max": 20.0}, {"name": first, "min": 1.0, "max": 5000.0}]
    before, after, _ = both(content(values, bounds), tmp_path)
    assert after == before
    table = {row.name: row for row in after.parameter_table()}
    assert (table["phi0"].min, table["D0_ref"].max) == (-20.0, 5000.0)


def test_comments_say_where_values_come_from_and_what_is_left_out(tmp_path: Path) -> None:
    bounds = [{"name": "v0", "min": 0.0, "max": 800.0, "prior_mu": 3.0}]
    text = both(content(FOURTEEN, bounds), tmp_path)[2]
    lines = text.splitlines()
    assert lines[lines.index("  dt: 0.1") - 1] == "  # analyzer_parameters.temporal.dt"
    below = lines.index('  source: "data/a b.hdf"')
    assert lines[below - 1] == "  # experimental_data.data_folder_path, data_file_name"
    assert (
        "  v0: {value: 300.0, min: 0.0, max: 800.0}  # initial_parameters.values[6], parameter_space.bounds[0]" in lines
    )
    notes = lines[lines.index("# What has no effect here, or another one, and why:") :]
    assert "#   analyzer_parameters.geometry.stator_rotor_gap: the model does not depend on it" in notes
    assert any(note.startswith("#   output_settings.plotting.general (dpi, style): ") for note in notes)
    assert not any("cache_compression" in note for note in notes)
    # Nothing but settings is left when comments are taken away.
    assert {*yaml.safe_load(text)} == {"data", "parameters", "fit", "output"}


def test_a_model_without_velocities_starts_with_a_search(tmp_path: Path) -> None:
    before, after, text = both(content(SEVEN, [{"name": "gamma_dot_t0", "min": 0.0, "max": 1.0}]), tmp_path)
    assert after.start() == before.start() == "search"
    assert "shear rates are no velocities" in text
    assert after.parameters.keys() == set(NAMES) - {"v0", "v_offset", "f0", "f1", "f2", "f3"}


def test_the_other_package_says_it_in_a_warning() -> None:
    with pytest.warns(ConfigWarning, match="stator_rotor_gap"):
        load_settings(content(FOURTEEN, []))
