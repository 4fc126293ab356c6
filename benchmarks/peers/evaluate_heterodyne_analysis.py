"""χ² of heterodyne-analysis 1.0.1, one evaluation for each line of input; runs in that package's environment.

    python evaluate_heterodyne_analysis.py maps.npz

The file holds ``c2`` (n_phi, N, N), ``phi`` (degrees), ``q`` (1/Å) and ``dt`` (s). The first line of output says which
version answers. Each line of input is a JSON list of 14 parameters; each answer is JSON with ``seconds`` and ``value``.
"""

import json
import logging
import math
import os
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np


def configuration(frames, dt, q, start, folder):
    """Smallest configuration that the package takes, with its Numba kernels on and no selection of angles."""
    return {
        "analyzer_parameters": {
            "temporal": {"dt": dt, "start_frame": 1, "end_frame": frames},
            "scattering": {"wavevector_q": q},
            "geometry": {"stator_rotor_gap": 2_000_000},
            "computational": {"num_threads": len(os.sched_getaffinity(0))},
        },
        "initial_parameters": {"values": start},
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
        "parameter_space": {"bounds": []},
        "advanced_settings": {},
        "output_settings": {},
    }


def main():
    """Answer until the input ends."""
    # What the package prints goes to the error output: the answers stay alone on the standard one.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    logging.disable(logging.CRITICAL)
    from heterodyne.analysis.core import HeterodyneAnalysisCore

    with np.load(sys.argv[1]) as data:
        c2, phi = data["c2"], data["phi"]
        q, dt = float(data["q"]), float(data["dt"])
    lines = iter(sys.stdin.readline, "")
    start = json.loads(next(lines))
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        core = HeterodyneAnalysisCore(config=configuration(c2.shape[-1], dt, q, start, folder))
        os.chdir(Path(__file__).parent)
    answers.write(json.dumps({"version": version("heterodyne-analysis")}) + "\n")
    for line in lines:
        parameters = np.array(json.loads(line))
        begin = time.perf_counter()
        value = core.calculate_chi_squared_optimized(parameters, phi, c2)
        seconds = time.perf_counter() - begin
        if not math.isfinite(value):
            sys.exit(f"chi-squared is {value} at {parameters.tolist()}")
        answers.write(json.dumps({"seconds": seconds, "value": float(value)}) + "\n")


if __name__ == "__main__":
    main()
