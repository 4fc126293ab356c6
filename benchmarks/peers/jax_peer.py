"""What the two JAX packages need alike: the problem as a configuration, and a clock that tells compilation apart."""

import argparse
import json
import time
from pathlib import Path

import numpy as np

GROUPS = {
    "reference": ("D0_ref", "alpha_ref", "D_offset_ref"),
    "sample": ("D0_sample", "alpha_sample", "D_offset_sample"),
    "velocity": ("v0", "beta", "v_offset"),
    "fraction": ("f0", "f1", "f2", "f3"),
    "angle": ("phi0",),
}
"""Sections of the configuration in which these packages look for their parameters."""


def arguments(description):
    """Problem (JSON) with maps (npz), number of fits, and where the outcome goes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("problem", type=Path)
    parser.add_argument("maps", type=Path)
    parser.add_argument("outcome", type=Path)
    parser.add_argument("--fits", type=int, default=1, help="fits in a row in this process")
    options = parser.parse_args()
    with np.load(options.maps) as data:
        return options, json.loads(options.problem.read_text()), data["c2"], data["phi"]


def configuration(problem, frames, n_phi):
    """Settings that both packages understand."""
    free = problem["free"]
    parameters = {
        group: {
            name: {
                "value": problem["start"][name],
                "min": problem["bounds"][name][0],
                "max": problem["bounds"][name][1],
                "vary": name in free,
            }
            for name in names
        }
        for group, names in GROUPS.items()
    }
    contrast, offset = problem["contrast"], problem["offset"]
    parameters["scaling"] = {
        "contrast": {"value": contrast, "min": 0.0, "max": 1.0, "vary": True},
        "offset": {"value": offset, "min": 0.5, "max": 1.5, "vary": True},
    }
    return {
        "analyzer_parameters": {
            "dt": problem["dt"],
            "start_frame": 1,
            "end_frame": frames,
            "scattering": {"wavevector_q": problem["q"]},
        },
        "parameters": parameters,
        "scaling": {
            "n_angles": n_phi,
            "mode": "individual",
            "initial_contrast": contrast,
            "initial_offset": offset,
        },
    }


class CompileClock:
    """Seconds that JAX spends on lowering and compiling, from its own events. Tracing counts as part of the fit."""

    EVENTS = ("jaxpr_to_mlir_module_duration", "backend_compile_duration")

    def __init__(self):
        import jax

        self.seconds = 0.0
        self.compilations = 0
        jax.monitoring.register_event_duration_secs_listener(self._listen)

    def _listen(self, event, duration, **_):
        if event.endswith(self.EVENTS):
            self.seconds += duration
            self.compilations += event.endswith(self.EVENTS[1])


def timed_fits(fit, count, clock):
    """Outcomes of ``fit()`` with the times of each."""
    outcomes = []
    for _ in range(count):
        compiled, compilations = clock.seconds, clock.compilations
        cpu, wall = time.process_time(), time.perf_counter()
        outcome = fit()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        compiled = clock.seconds - compiled
        outcomes.append(
            {
                **outcome,
                "wall": wall,
                "cpu": cpu,
                "compile": compiled,
                "compilations": clock.compilations - compilations,
                "fit": wall - compiled,
            }
        )
    return outcomes


def write(path, package_version, jax_version, import_seconds, fits):
    """Leave the outcome where the benchmark looks for it."""
    record = {"version": package_version, "jax": jax_version, "import": import_seconds, "fits": fits}
    path.write_text(json.dumps(record, default=float))
