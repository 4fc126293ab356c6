"""One joint fit with xpcsjax 0.1.8, through its public interface; runs in that package's environment.

    python fit_xpcsjax.py problem.json maps.npz outcome.json

Per-angle mode "auto", its default: one contrast and one offset for all angles where there are few of them.
"""

import json
import logging
import tempfile
import time
from pathlib import Path

import jax_peer

ALIASES = {"v_beta": "beta", "phi0_het": "phi0"}
"""Names in its results that differ from those in its configuration."""


def main():
    """Fit and write the outcome."""
    options, problem, c2, phi = jax_peer.arguments(__doc__)
    start = time.perf_counter()
    import jax
    import xpcsjax
    import yaml
    from xpcsjax import ConfigManager, fit_nlsq

    import_seconds = time.perf_counter() - start
    logging.disable(logging.INFO)
    clock = jax_peer.CompileClock()
    tolerance = problem["tolerance"]
    settings = {
        **jax_peer.configuration(problem, c2.shape[-1], phi.size),
        "analysis_mode": "two_component",
        "optimization": {
            "method": "nlsq",
            "nlsq": {
                "analysis_mode": "two_component",
                "per_angle_mode": "auto",
                "loss": "linear",
                "ftol": tolerance,
                "xtol": tolerance,
                "gtol": tolerance,
                "tolerance": tolerance,
                "enable_cmaes": False,
                "anti_degeneracy": {"enable": True, "per_angle_mode": "auto", "execute_layers": False},
            },
        },
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "settings.yaml"
        path.write_text(yaml.safe_dump(json.loads(json.dumps(settings))))
        manager = ConfigManager(str(path))

    def fit():
        result = fit_nlsq({"c2_exp": c2, "phi_angles_list": phi}, manager)
        diagnostics = result.nlsq_diagnostics or {}
        found = {
            ALIASES.get(name, name): float(value)
            for name, value in zip(diagnostics["parameter_names"], result.parameters, strict=True)
        }
        return {
            "values": {name: found.get(name, problem["start"][name]) for name in problem["names"]},
            "success": bool(result.success),
            "message": str(diagnostics.get("message")),
            "evaluations": diagnostics.get("n_function_evals"),
            "sum_squares": float(result.chi_squared),
        }

    fits = jax_peer.timed_fits(fit, options.fits, clock)
    jax_peer.write(options.outcome, xpcsjax.__version__, jax.__version__, import_seconds, fits)


if __name__ == "__main__":
    main()
