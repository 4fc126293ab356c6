"""Dense Jacobian of xpcsjax 0.1.8, one evaluation for each line of input; runs in that package's environment.

    python evaluate_xpcsjax.py maps.npz

The file holds ``c2`` (n_phi, N, N), ``phi`` (degrees), ``q`` (1/Å) and ``dt`` (s). The first line of output says which
version answers. Each line of input is a JSON list of 14 parameters, of which the first one compiles; each answer is
JSON with ``seconds`` of the Jacobian, its ``shape``, and ``residuals``, the seconds of the residuals alone.

The package has no Jacobian in its public interface: this is forward differentiation of its residuals, compiled, which
its solver does too.
"""

import json
import os
import sys
import time

import numpy as np


def main():
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    # isort: off
    import xpcsjax  # first: it tells JAX, which looks when it is imported, to compute in float64
    import jax
    import jax.numpy as jnp

    # isort: on
    from xpcsjax.core.heterodyne_jax_backend import compute_multi_angle_residuals

    with np.load(sys.argv[1]) as data:
        c2, phi, q, dt = jnp.asarray(data["c2"]), jnp.asarray(data["phi"]), float(data["q"]), float(data["dt"])
    n_phi, frames, _ = c2.shape
    fixed = (jnp.arange(frames) * dt, q, dt, phi, c2, jnp.ones_like(c2), jnp.full(n_phi, 0.3), jnp.ones(n_phi))
    jacobian = jax.jit(jax.jacfwd(compute_multi_angle_residuals, argnums=0))

    def timed(function, parameters):
        begin = time.perf_counter()
        found = function(parameters, *fixed).block_until_ready()
        return time.perf_counter() - begin, found.shape

    lines = iter(sys.stdin.readline, "")
    start = jnp.asarray(json.loads(next(lines)))
    if start.dtype != jnp.float64:
        sys.exit(f"JAX computes in {start.dtype}, but the package in float64")
    timed(jacobian, start), timed(compute_multi_angle_residuals, start)
    answers.write(json.dumps({"version": xpcsjax.__version__, "jax": jax.__version__}) + "\n")
    for line in lines:
        parameters = jnp.asarray(json.loads(line))
        residuals, _ = timed(compute_multi_angle_residuals, parameters)
        seconds, shape = timed(jacobian, parameters)
        answers.write(json.dumps({"seconds": seconds, "residuals": residuals, "shape": list(shape)}) + "\n")


if __name__ == "__main__":
    main()
