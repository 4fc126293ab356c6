"""What weights with the covariance of speckle noise gain, over simulated experiments.

    python benchmarks/weighted.py --figure docs/weights.png

Every experiment is an average over simulated speckles, with Poisson counts in half of the settings, fitted from the
truth by `hetdask.fit` with ``weights: speckle``; the plain estimates come with its result. Compared are the
root-mean-square errors of both, for parameters that both fits identify in most experiments, and how often the weighted
intervals hold the truth. Where plain weights stood, the plain estimate counts for both. Beside the scatter of both
stands what `hetdask.design` predicts: half the distance of the quantiles that enclose 68 %, which rare estimates far
off do not decide. Maps that are smoothed or whose level drifts must not be taken for speckle noise.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from common import (
    Ratio,
    console,
    outcomes,
    parse_arguments,
    show,
    show_ratios,
    significant,
    write_result,
)
from numpy.typing import NDArray
from rich.progress import Progress
from scipy.ndimage import uniform_filter1d

import hetdask
from hetdask.data.writers import write_store
from hetdask.diagnosis.environment import machine, versions
from hetdask.model import simulate_speckle
from hetdask.results.design import DesignResult
from hetdask_cluster.local import open_runner

Q: Final = 0.0054
PHI: Final = (0.0, 22.5, 45.0, 67.5, 90.0)
FRAMES: Final = 300
DT: Final = 0.2
SPECKLES: Final = 3000
PHOTONS: Final = 0.5
"""Mean count per pixel and frame where photons are counted."""

OFTEN: Final = 0.5
"""Parameters are compared where both fits identify them in at least this share of the experiments."""

GOALS: Final = {"slow": 0.5, "fast": 0.7}
WITHIN: Final = 0.15
"""Relative distance of predicted errors from observed ones."""

NEVER_WORSE: Final = 1.05
COVERAGE: Final = {"68": (0.60, 0.76), "95": (0.90, 0.98)}

COMMON: Final = {
    "alpha_ref": -0.1, "alpha_sample": 0.1, "v0": 60.0, "beta": 0.15, "f0": 0.3, "f1": -0.03, "f3": 0.2, "phi0": -3.0,
}  # fmt: skip
TRUTHS: Final = {
    "slow": COMMON | {"D0_ref": 1000.0, "D0_sample": 8000.0},
    "fast": COMMON | {"D0_ref": 4000.0, "D0_sample": 20_000.0},
}
FIXED: Final = ("D_offset_ref", "D_offset_sample", "v_offset")


@dataclass(frozen=True, slots=True)
class Setting:
    """One kind of experiment: the speed of the reference, modes (contrast 1/modes), and whether photons are counted."""

    speed: str
    modes: int
    counted: bool

    @property
    def name(self) -> str:
        """In words."""
        photons = f", {PHOTONS:g} photons" if self.counted else ""
        return f"{self.speed} reference, contrast {1.0 / self.modes:.2g}{photons}"


SETTINGS: Final = {
    setting.name: setting
    for setting in (
        Setting(speed, modes, counted) for counted in (False, True) for speed in TRUTHS for modes in (10, 3)
    )
}


def smoothed(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means over 3 frames, as a detector that reads out too slowly would give them."""
    return np.asarray(uniform_filter1d(uniform_filter1d(maps, 3, axis=1), 3, axis=2))


def drifting(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intensities that are normalised with a gain that is off by 1 % at both ends of the series."""
    gain = 1.0 + 0.02 * np.linspace(-0.5, 0.5, maps.shape[1])
    return maps * np.outer(gain, gain)


DAMAGES: Final[dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]]] = {
    "smoothed over 3 frames": smoothed,
    "2 % drift of the gain": drifting,
}
DAMAGED: Final = Setting("slow", 3, counted=False)
"""What experiments with damaged maps are like otherwise."""

CAUGHT: Final = 0.95


def experiment(seed: int, name: str) -> dict[str, Any]:
    """Task: simulate and fit one experiment of a setting, or one whose maps are damaged."""
    setting = SETTINGS.get(name, DAMAGED)
    truth = TRUTHS[setting.speed]
    maps = simulate_speckle(
        truth,
        DT * np.arange(FRAMES),
        PHI,
        Q,
        speckles=SPECKLES,
        modes=setting.modes,
        photons=PHOTONS if setting.counted else None,
        rng=np.random.default_rng([seed, [*SETTINGS, *DAMAGES].index(name)]),
    )
    if name in DAMAGES:
        maps = DAMAGES[name](maps)
    parameters = {key: {"value": value} for key, value in truth.items()}
    parameters |= {key: {"value": 0.0, "fixed": True} for key in FIXED}
    with tempfile.TemporaryDirectory() as folder:
        store = write_store(Path(folder) / "data.zarr", maps, phi=PHI, q=Q, dt=DT)
        options = {"seed": seed, "weights": "speckle", "remember": False}
        result = hetdask.fit(store, {"parameters": parameters, "fit": options})
    assert result.weighting is not None
    rows = {}
    for key in truth:
        found = result.parameters[key]
        plain = result.weighting.plain.get(key)
        values = (found.value, found.stderr) if plain is None else (plain.value, plain.stderr)
        rows[key] = [found.value, found.stderr, *values]
    return {
        "status": result.status,
        "used": result.weighting.used,
        "blocks": result.weighting.blocks,
        "drift": any(result.weighting.drift),
        "rows": rows,
    }


def planned(setting: Setting) -> DesignResult:
    """What is predicted of a setting before the experiment."""
    truth = TRUTHS[setting.speed]
    plan = {
        "frames": FRAMES,
        "dt": DT,
        "q": [Q],
        "phi": list(PHI),
        "speckles": SPECKLES,
        "modes": setting.modes,
        "photons": PHOTONS if setting.counted else None,
        "parameters": truth,
    }
    return hetdask.design({"parameters": {key: {"fixed": True} for key in FIXED}, "simulation": plan})


def scatter(values: NDArray[np.float64]) -> float:
    """Standard deviation of normal values, of others that of their core."""
    low, high = np.quantile(values, [0.1587, 0.8413])
    return float(0.5 * (high - low))


def compare(setting: Setting, cases: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Errors of both estimates and coverage of the weighted ones, for each parameter that both identify."""
    table = {}
    design = planned(setting)
    for name, truth in TRUTHS[setting.speed].items():
        rows = np.array([case["rows"][name] for case in cases], dtype=np.float64)  # None becomes NaN
        known = np.isfinite(rows[:, 1]) & np.isfinite(rows[:, 3])
        if known.mean() < OFTEN:
            continue
        weighted, plain = rows[known, 0] - truth, rows[known, 2] - truth
        pull = np.abs(weighted / rows[known, 1])
        table[name] = {
            "truth": truth,
            "identified": float(known.mean()),
            "weighted": float(np.sqrt(np.mean(weighted**2))),
            "plain": float(np.sqrt(np.mean(plain**2))),
            "ratio": float(np.sqrt(np.mean(weighted**2) / np.mean(plain**2))),
            "predicted": float(np.sqrt(np.mean(rows[known, 1] ** 2)) / np.sqrt(np.mean(weighted**2))),
            "68": float(np.mean(pull < 1.0)),
            "95": float(np.mean(pull < 1.96)),
            "planned plain": (design.parameters[name].stderr or np.nan) / scatter(plain),
            "planned weighted": (design.parameters[name].stderr_weighted or np.nan) / scatter(weighted),
        }
    return table


def caught(cases: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Share of damaged experiments that were noticed, and how often the errors hold all the same."""
    truth = np.array(list(TRUTHS[DAMAGED.speed].values()))
    rows = np.array([list(case["rows"].values()) for case in cases], dtype=np.float64)
    pull = np.abs((rows[..., 0] - truth) / rows[..., 1])
    known = np.isfinite(pull)
    return {
        "noticed": float(np.mean([case["used"] == "plain" or case["drift"] for case in cases])),
        "taken out": float(np.mean([case["drift"] for case in cases])),
        "68": float(np.mean(pull[known] < 1.0)),
        "95": float(np.mean(pull[known] < 1.96)),
    }


def mean_ratio(table: dict[str, dict[str, float]]) -> float:
    """Geometric mean of the ratios of the errors."""
    return float(np.exp(np.mean([np.log(row["ratio"]) for row in table.values()])))


def draw(tables: dict[str, dict[str, dict[str, float]]], path: Path) -> None:
    """Ratios of the errors in a row of points for each setting."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 4.8), layout="constrained")
    axes = figure.subplots()
    names = list(TRUTHS["slow"])
    for k, (setting, table) in enumerate(tables.items()):
        place = [names.index(name) + 0.09 * (k - 0.5 * len(tables)) for name in table]
        marker, colour = ("s" if "photons" in setting else "o"), f"C{k % 4}"
        axes.plot(
            place, [row["ratio"] for row in table.values()], marker, color=colour, ms=5, mfc="none", label=setting
        )
    axes.axhline(1.0, color="0.4", lw=0.8)
    axes.set_ylim(bottom=0.0)
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right")
    axes.set_ylabel("rms error, weighted over plain")
    figure.legend(loc="outside upper center", fontsize=7.5, frameon=False, ncols=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    console.print(f"drawn to {path}")


def ratios_of(tables: dict[str, dict[str, dict[str, float]]], damages: dict[str, dict[str, float]]) -> dict[str, Ratio]:
    """What was to be reached, and was or was not."""
    ratios = {}
    for name, setting in SETTINGS.items():
        goal = None if setting.counted else GOALS[setting.speed]
        ratios[f"{name}: rms error"] = Ratio(mean_ratio(tables[name]), "plain", goal, at_least=False)
    rows = [row for table in tables.values() for row in table.values()]
    worst = max(row["ratio"] for row in rows)
    ratios["any parameter, worst"] = Ratio(worst, "plain", NEVER_WORSE, at_least=False)
    for level, (low, high) in COVERAGE.items():
        for name, table in tables.items():
            held = float(np.mean([row[level] for row in table.values()]))
            ratios[f"{name}: {level} % intervals, at least"] = Ratio(held, "all intervals", low)
            ratios[f"{name}: {level} % intervals, at most"] = Ratio(held, "all intervals", high, at_least=False)
        shares = [row[level] for row in rows]
        ratios[f"{level} % intervals of a parameter, lowest"] = Ratio(min(shares), "experiments of a setting")
        ratios[f"{level} % intervals of a parameter, highest"] = Ratio(max(shares), "experiments of a setting")
    for kind in ("plain", "weighted"):
        for name, table in tables.items():
            planned = np.array([row[f"planned {kind}"] for row in table.values()])
            mean = float(np.exp(np.mean(np.log(planned[np.isfinite(planned)]))))
            label = f"{name}: planned {kind} errors"
            ratios[f"{label}, at least"] = Ratio(mean, "observed scatter", 1.0 - WITHIN)
            ratios[f"{label}, at most"] = Ratio(mean, "observed scatter", 1.0 + WITHIN, at_least=False)
        off = [abs(row[f"planned {kind}"] - 1.0) for row in rows if np.isfinite(row[f"planned {kind}"])]
        ratios[f"planned {kind} errors of a parameter, farthest"] = Ratio(max(off), "observed scatter")
        ratios[f"planned {kind} errors of a parameter, median"] = Ratio(float(np.median(off)), "observed scatter")
    for name, found in damages.items():
        ratios[f"{name}: noticed"] = Ratio(found["noticed"], "all experiments", CAUGHT)
        for level, (low, _) in COVERAGE.items():
            ratios[f"{name}: {level} % intervals"] = Ratio(found[level], "all experiments and parameters", low)
    return ratios


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--experiments", type=int, default=100, help="of each setting")
    parser.add_argument("--damaged", type=int, default=50, help="experiments of each kind of damage")
    parser.add_argument("--workers", type=int, default=2, help="workers of the local cluster; 0: in this process")
    parser.add_argument("--cases", type=Path, help="keep outcomes in this file, and go on from those that are there")
    parser.add_argument("--figure", type=Path, help="draw the ratios to this file")


def main() -> None:
    """Measure and record."""
    options = parse_arguments(__doc__, arguments)
    before = machine()
    seeds = list(range(options.experiments))
    tables, ends, damages = {}, {}, {}
    where = open_runner("local", workers=options.workers) if options.workers else open_runner("inline")
    with where as runner, Progress(console=console) as progress:
        for name, setting in SETTINGS.items():
            cases = outcomes(experiment, name, seeds, runner, options.cases, progress)
            tables[name] = compare(setting, cases)
            ends[name] = {
                "converged": sum(case["status"] == "converged" for case in cases),
                "weighted": sum(case["used"] == "speckle" for case in cases),
                "block means, most": max(case["blocks"] or 0 for case in cases),
            }
        for name in DAMAGES:
            damages[name] = caught(
                outcomes(experiment, name, seeds[: options.damaged], runner, options.cases, progress)
            )
    for name, table in tables.items():
        heads = ("", "identified", "rms plain", "rms weighted", "ratio", "predicted / rms", "68 (%)", "95 (%)")
        lines = [
            (
                key,
                f"{row['identified']:.0%}",
                *(f"{row[x]:.3g}" for x in ("plain", "weighted", "ratio", "predicted")),
                *(f"{row[x]:.0%}" for x in ("68", "95")),
            )
            for key, row in table.items()
        ]
        show(f"{name}: {ends[name]}", heads, lines)
    ratios = ratios_of(tables, damages)
    show_ratios(ratios)
    write_result(
        options.results,
        "weighted",
        settings={
            "experiments": options.experiments,
            "damaged": options.damaged,
            "frames": FRAMES,
            "dt": DT,
            "q": Q,
            "phi": list(PHI),
            "speckles": SPECKLES,
            "truths": TRUTHS,
        },
        figures={
            name: {
                **ends[name],
                "parameters": {
                    key: {x: significant(y, 4) for x, y in row.items() if np.isfinite(y)} for key, row in table.items()
                },
            }
            for name, table in tables.items()
        }
        | {name: {key: significant(x, 4) for key, x in found.items()} for name, found in damages.items()},
        ratios=ratios,
        versions=versions(),
        machine=before,
        notes=[
            "Compared are parameters that both fits identify in at least half of the experiments.",
            f"Shares are known to {50 / options.experiments**0.5:.0f} %; goals are for all parameters of a setting.",
            "Ratios of planned errors are geometric means over the parameters.",
        ],
    )
    if options.figure is not None:
        draw(tables, options.figure)


if __name__ == "__main__":
    main()
