"""Whether the verdict on residuals tells a right model from a wrong one, over simulated experiments.

    python benchmarks/goodness.py --figure docs/goodness.png

Experiments of the three settings of `error_coverage.py`, as averages over 5,000 simulated speckles, are fitted from the
truth with default settings and judged as `hetdask.fit` does it, without the errors of the parameters: once as the model
has them, once with a third component in the fields. A fit is flagged where its residuals are not consistent with noise.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from common import Ratio, console, parse_arguments, show, show_ratios, significant, write_result
from error_coverage import DT, FRAMES, PHI, SETTINGS, Q
from rich.progress import Progress

from hetdask.config import load_settings
from hetdask.data.writers import write_store
from hetdask.diagnosis.environment import machine, versions
from hetdask.fitting import refine
from hetdask.fitting.cold_start import near_fit, reduced_passes
from hetdask.fitting.goodness import goodness_of
from hetdask.fitting.quality import QualityLevels, judge
from hetdask.model import ThirdComponent
from hetdask.options import problem_of
from hetdask.passes.run import Passes
from hetdask_cluster.local import open_runner
from hetdask_cluster.runner import InlineRunner

SPECKLES: Final = 5_000
MODELS: Final = {"right": None, "third component": ThirdComponent(share=0.2, rate=2000.0, velocity=-40.0)}
MOST_FALSE, LEAST_TRUE = 0.05, 0.95
LOWEST: Final = 1e-14
"""Smaller probabilities are drawn here."""


class Case(NamedTuple):
    """One experiment."""

    setting: str
    model: str
    seed: int


def experiment(case: Case) -> dict[str, Any] | None:
    """Task: simulate and fit one experiment; None where the noise could not be told."""
    setting = replace(SETTINGS[case.setting], speckles=SPECKLES)
    # Both models of a seed have numbers of their own.
    places = (list(SETTINGS).index(case.setting), list(MODELS).index(case.model))
    maps = setting.maps(np.random.default_rng([case.seed, *places, 4]), MODELS[case.model])
    with tempfile.TemporaryDirectory() as folder:
        store = write_store(Path(folder) / "data.zarr", maps, phi=PHI, q=Q, dt=DT)
        settings, runner = load_settings({"parameters": setting.parameters()}), InlineRunner()
        problem, reduced = problem_of(settings, store), reduced_passes(store, runner)
        fit = refine(Passes(store, runner), problem)
    near = near_fit(reduced, problem, fit)
    if near is None:
        return None
    found = goodness_of(fit, near.noise, near.structure)
    verdict = judge(found, PHI, QualityLevels())
    return {
        "status": fit.status,
        "consistent": verdict.consistent,
        "p_value": found.p_value,
        "quality": verdict.quality,
        "checks": {check.name: check.p_value for check in found.checks},
        "level": float(np.mean(found.level)),
    }


def summarise(rows: Sequence[dict[str, Any] | None]) -> dict[str, Any]:
    """Figures of one setting and model."""
    judged = [row for row in rows if row is not None]
    values = np.array([row["p_value"] for row in judged])
    level = np.array([row["level"] for row in judged])
    qualities = [row["quality"] for row in judged]
    return {
        "experiments": len(rows),
        "not judged": len(rows) - len(judged),
        "converged": sum(row["status"] == "converged" for row in judged),
        "flagged": sum(not row["consistent"] for row in judged),
        "p value, quantiles 0 10 50 90 100 %": [
            significant(float(x)) for x in np.quantile(values, [0.0, 0.1, 0.5, 0.9, 1.0])
        ],
        "mean square residual over expected, quantiles 0 50 100 %": [
            significant(float(x)) for x in np.quantile(level, [0.0, 0.5, 1.0])
        ],
        "checks below 0.01": {name: sum(row["checks"][name] < 0.01 for row in judged) for name in judged[0]["checks"]},
        "qualities": {name: qualities.count(name) for name in sorted(set(qualities))},
    }


def draw(rows: Mapping[tuple[str, str], Sequence[dict[str, Any] | None]], path: Path) -> None:
    """Probability against level of every experiment, in panels by setting."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 4.0), layout="constrained")
    panels = figure.subplots(1, len(SETTINGS), sharey=True)
    for axes, setting in zip(panels, SETTINGS, strict=True):
        for model, colour, marker in zip(MODELS, ("#0072b2", "#d55e00"), ("o", "x"), strict=True):
            judged = [row for row in rows[setting, model] if row is not None]
            values = np.maximum([row["p_value"] for row in judged], LOWEST)
            axes.plot([row["level"] for row in judged], values, marker, color=colour, ms=5, mfc="none", label=model)
        axes.axhline(QualityLevels().significance, color="0.4", lw=0.8)
        axes.axvline(1.0, color="0.8", lw=0.8, zorder=0)
        axes.set_yscale("log")
        axes.set_xlim(left=0.0)
        axes.set_title(setting, loc="left", fontsize=10)
        axes.set_xlabel("mean square residual over expected")
    panels[0].set_ylabel("probability that noise alone looks as bad")
    panels[0].legend(fontsize=8, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    console.print(f"drawn to {path}")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--seeds", type=int, default=50, help="experiments of each setting and model")
    parser.add_argument("--workers", type=int, default=2, help="workers of the local cluster")
    parser.add_argument("--figure", type=Path, help="draw the experiments to this file")


def main() -> None:
    """Measure and record."""
    options = parse_arguments(__doc__, arguments)
    before = machine()
    kinds = [(setting, model) for setting in SETTINGS for model in MODELS]
    rows = {}
    with open_runner("local", workers=options.workers) as runner, Progress(console=console) as progress:
        for kind in kinds:
            bar = progress.add_task(", ".join(kind), total=options.seeds)
            cases = [Case(*kind, seed) for seed in range(options.seeds)]
            rows[kind] = runner.map(experiment, cases, on_done=lambda *_, bar=bar: progress.advance(bar))
    figures = {setting: {model: summarise(rows[setting, model]) for model in MODELS} for setting in SETTINGS}
    show(
        "Flagged",
        ("", *MODELS, "level, median right", "level, median third"),
        [
            (
                setting,
                *(f"{found[model]['flagged']} of {found[model]['experiments']}" for model in MODELS),
                *(str(found[model]["mean square residual over expected, quantiles 0 50 100 %"][1]) for model in MODELS),
            )
            for setting, found in figures.items()
        ],
    )
    false, true = (
        [found[model]["flagged"] / found[model]["experiments"] for found in figures.values()] for model in MODELS
    )
    ratios = {
        "right models flagged, most": Ratio(max(false), "all experiments", MOST_FALSE, at_least=False),
        "third components flagged, least": Ratio(min(true), "all experiments", LEAST_TRUE),
    }
    show_ratios(ratios)
    third = MODELS["third component"]
    write_result(
        options.results,
        "goodness",
        settings={
            "seeds": options.seeds,
            "frames": FRAMES,
            "dt": DT,
            "q": Q,
            "phi": list(PHI),
            "speckles": SPECKLES,
            "significance": QualityLevels().significance,
            "third component": {} if third is None else asdict(third),
            "kinds": {name: setting.text for name, setting in SETTINGS.items()},
        },
        figures=figures,
        ratios=ratios,
        versions=versions(),
        machine=before,
    )
    if options.figure is not None:
        draw(rows, options.figure)


if __name__ == "__main__":
    main()
