"""χ² of heterodyne-analysis 1.0.1, one evaluation for each line of input; runs in that package's environment.

    python evaluate_heterodyne_analysis.py maps.npz

The file holds ``c2`` (n_phi, N, N), ``phi`` (degrees), ``q`` (1/Å) and ``dt`` (s). The first line of output says which
version answers. Each line of input is a JSON list of 14 parameters; each answer is JSON with ``seconds`` and ``value``.
"""

import json
import math
import os
import sys
import time
from importlib.metadata import version

import numpy as np
from original_peer import make_core, read_maps


def main():
    """Answer until the input ends."""
    # What the package prints goes to the error output: the answers stay alone on the standard one.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    c2, phi, q, dt = read_maps(sys.argv[1])
    lines = iter(sys.stdin.readline, "")
    core, _ = make_core(c2.shape[-1], dt, q, json.loads(next(lines)))
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
