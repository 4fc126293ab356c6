"""One joint fit with heterodyne 2.0.1, through its public interface; runs in that package's environment.

    python fit_heterodyne.py problem.json maps.npz outcome.json

Per-angle mode "auto" is the one that works in this version: one contrast and one offset for all angles.
"""

import logging
import time

import jax_peer
import numpy as np


def main():
    """Fit and write the outcome."""
    options, problem, c2, phi = jax_peer.arguments(__doc__)
    start = time.perf_counter()
    import heterodyne
    import jax
    from heterodyne.core.heterodyne_model import HeterodyneModel
    from heterodyne.optimization.nlsq import NLSQConfig, fit_nlsq_multi_phi

    import_seconds = time.perf_counter() - start
    logging.disable(logging.INFO)
    clock = jax_peer.CompileClock()
    settings = jax_peer.configuration(problem, c2.shape[-1], phi.size)
    tolerance = problem["tolerance"]

    def fit():
        model = HeterodyneModel.from_config(settings)
        options = NLSQConfig(per_angle_mode="auto", loss="linear", ftol=tolerance, xtol=tolerance, gtol=tolerance)
        results = fit_nlsq_multi_phi(model, c2, phi, options)
        first = results[0]
        values = dict(zip(problem["names"], np.asarray(model.get_params(), dtype=float).tolist(), strict=True))
        costs = [result.final_cost for result in results]
        return {
            "values": values,
            "success": bool(first.success),
            "message": str(first.message),
            "evaluations": int(first.n_function_evals),
            "sum_squares": None if None in costs else 2.0 * float(sum(costs)),
        }

    fits = jax_peer.timed_fits(fit, options.fits, clock)
    jax_peer.write(options.outcome, heterodyne.__version__, jax.__version__, import_seconds, fits)


if __name__ == "__main__":
    main()
