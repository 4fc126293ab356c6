"""One fit by heterodyne-analysis 1.0.1 within limits of CPU time and memory; runs in that package's environment.

    python fit_heterodyne_analysis.py problem.json maps.npz outcome.json

The problem names ``start`` (14 values), ``method`` ("Nelder-Mead", or "ellipsoidal" of the robust ones),
``max_iterations``, ``subsampling`` (its section of the configuration, or null), ``seconds`` of CPU time, ``memory``
(bytes of address space) and ``truth`` (14 values, or null). The outcome says how it ``ended``: finished, failed (with a
message), or stopped at the limit of time; with the ``values`` it returned, or the best it had come to, how many χ² it
has evaluated, and the lowest of them over that of the truth.
"""

import json
import os
import resource
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
from original_peer import make_core, read_maps

LOOK_SECONDS = 0.1


class Counted:
    """Counts χ² and keeps the lowest, with its parameters."""

    def __init__(self, evaluate):
        self.evaluate = evaluate
        self.count = 0
        self.lowest = np.inf
        self.values = None

    def __call__(self, parameters, *args, **options):
        """Evaluate."""
        value = self.evaluate(parameters, *args, **options)
        self.count += 1
        if np.ndim(value) == 0 and value < self.lowest:
            self.lowest, self.values = float(value), np.array(parameters)
        return value


def fit(core, config, problem, phi, c2):
    """Parameters, and whether the package says that it succeeded."""
    start = np.array(problem["start"])
    if problem["method"] == "Nelder-Mead":
        from heterodyne.optimization.classical import ClassicalOptimizer

        parameters, result = ClassicalOptimizer(core, config).run_classical_optimization_optimized(
            initial_parameters=start, methods=["Nelder-Mead"], phi_angles=phi, c2_experimental=c2
        )
        return parameters, bool(result.success)
    from heterodyne.optimization.robust import RobustHeterodyneOptimizer

    found = RobustHeterodyneOptimizer(core, config).optimize(
        initial_params=start, phi_angles=phi, c2_experimental=c2, method=problem["method"]
    )
    if found["parameters"] is None:
        raise RuntimeError(str(found.get("error", "no parameters were returned")))
    return found["parameters"], bool(found["success"])


def main():
    """Fit and write the outcome."""
    problem = json.loads(Path(sys.argv[1]).read_text())
    outcome = Path(sys.argv[3]).resolve()
    if problem["memory"] is not None:
        resource.setrlimit(resource.RLIMIT_AS, (problem["memory"],) * 2)
    c2, phi, q, dt = read_maps(sys.argv[2])
    subsampling = problem["subsampling"] or {"enabled": False}
    optimization = {
        "classical_optimization": {
            "method_options": {"Nelder-Mead": {"maxiter": problem["max_iterations"], "adaptive": True}},
            "subsampling": subsampling,
        },
        "robust_optimization": {"memory_limit": 0.9, "subsampling": subsampling},
    }
    core, config = make_core(c2.shape[-1], dt, q, problem["start"], optimization)
    counted = core.calculate_chi_squared_optimized = Counted(core.calculate_chi_squared_optimized)
    counted.evaluate(np.array(problem["start"]), phi[:1], c2[:1])  # compiles
    truth = None if problem["truth"] is None else float(counted.evaluate(np.array(problem["truth"]), phi, c2))
    begin, begin_cpu = time.perf_counter(), time.process_time()
    lock = threading.Lock()

    def end(ended, values, success, message=""):
        with lock:
            record = {
                "version": version("heterodyne-analysis"),
                "ended": ended,
                "success": success,
                "message": message,
                "values": None if values is None else [float(x) for x in values],
                "evaluations": counted.count,
                "excess": None if truth is None else counted.lowest / truth,
                "seconds": time.perf_counter() - begin,
                "cpu_seconds": time.process_time() - begin_cpu,
            }
            outcome.write_text(json.dumps(record))
            os._exit(0)

    def watch():
        while time.process_time() - begin_cpu < problem["seconds"]:
            time.sleep(LOOK_SECONDS)
        end("stopped", counted.values, False)

    threading.Thread(target=watch, daemon=True).start()
    try:
        parameters, success = fit(core, config, problem, phi, c2)
    except Exception as error:  # noqa: BLE001 (whatever it is, it is recorded)
        end("failed", counted.values, False, f"{type(error).__name__}: {error}")
    end("finished", parameters, success)


if __name__ == "__main__":
    main()
