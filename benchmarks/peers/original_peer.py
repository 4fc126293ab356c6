"""What the scripts for heterodyne-analysis 1.0.1 share: maps, configuration, and the core of that package."""

import logging
import os
import tempfile
from pathlib import Path

import numpy as np

BOUNDS = (
    *[("D0", 1.0, 1e6), ("alpha", -2.0, 2.0), ("D_offset", -1e4, 1e4)] * 2,
    *[("v0", 1e-5, 1e4), ("beta", -2.0, 2.0), ("v_offset", -1e3, 1e3)],
    *[("f0", 0.0, 1.0), ("f1", -1.0, 1.0), ("f2", 0.0, 200.0), ("f3", 0.0, 1.0), ("phi0", -90.0, 90.0)],
)
"""By place; the package reads no names here."""


def read_maps(path):
    """Maps (n_phi, N, N), phi (degrees), q (1/Å) and dt (s) of a file."""
    with np.load(path) as data:
        return data["c2"], data["phi"], float(data["q"]), float(data["dt"])


def configuration(frames, dt, q, start, folder):
    """Smallest configuration that the package takes, without selection of angles."""
    return {
        "analyzer_parameters": {
            "temporal": {"dt": dt, "start_frame": 1, "end_frame": frames},
            "scattering": {"wavevector_q": q},
            "geometry": {"stator_rotor_gap": 2_000_000},
            "computational": {"num_threads": len(os.sched_getaffinity(0))},
        },
        "initial_parameters": {"values": list(start)},
        "experimental_data": {
            "data_folder_path": folder,
            "data_file_name": "unused.hdf",
            "phi_angles_path": folder,
            "phi_angles_file": "unused.txt",
            "exchange_key": "exchange",
            "cache_file_path": folder,
        },
        "optimization_config": {"angle_filtering": {"enabled": False}},
        "performance_settings": {"numba_optimization": {"enable_numba": True, "warmup_numba": True}},
        "parameter_space": {"bounds": [{"name": name, "min": low, "max": high} for name, low, high in BOUNDS]},
        "advanced_settings": {},
        "output_settings": {},
    }


def make_core(frames, dt, q, start, optimization=None):
    """Core of the package, quiet and with a folder of its own for its files; also what it was configured with."""
    logging.disable(logging.CRITICAL)
    from heterodyne.analysis.core import HeterodyneAnalysisCore

    with tempfile.TemporaryDirectory() as folder:
        config = configuration(frames, dt, q, start, folder)
        config["optimization_config"] |= optimization or {}
        os.chdir(folder)
        core = HeterodyneAnalysisCore(config=config)
        os.chdir(Path(__file__).parent)
    return core, config
