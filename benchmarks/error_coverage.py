"""Whether errors hold: how often intervals around the estimates contain the truth, over simulated experiments.

    python benchmarks/error_coverage.py --figure docs/coverage.png

Every experiment is an average over simulated speckles, fitted by `hetdask.fit` from the truth with default settings.
Counted are the parameters that the fit itself calls identified. An interval of one standard error should contain the
truth in 68 % of the experiments, one of 1.96 in 95 %; the same intervals from errors of independent pixels (iid) stand
beside, and for some parameters those of profiles.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
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

import hetdask
from hetdask.data.writers import write_store
from hetdask.diagnosis.environment import machine, versions
from hetdask.model import NAMES, ThirdComponent, simulate_speckle
from hetdask_cluster.local import open_runner

Q: Final = 0.0054
PHI: Final = (0.0, 30.0, 60.0, 90.0)
FRAMES: Final = 100
DT: Final = 0.6
ONE, TWO = 1.0, 1.96
SHARES: Final = ("68", "95", "68 profile", "95 profile", "68 iid", "95 iid")
GOALS: Final = {"68": (0.60, 0.76), "95": (0.90, 0.98)}
PROFILED: Final = ("D0_ref", "v0", "f3")
OFTEN: Final = 0.5
"""Parameters are counted where at least this share of the fits identifies them."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One kind of experiment: speckles, modes (contrast 1/modes), white noise in units of c2, true values."""

    text: str
    speckles: int
    modes: int
    white: float
    truth: dict[str, float]
    fixed: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """Parameters that are fitted."""
        return [name for name in NAMES if name in self.truth and name not in self.fixed]

    def maps(self, rng: np.random.Generator, third: ThirdComponent | None = None) -> NDArray[np.float64]:
        """Maps of one experiment (n_phi, N, N), with a third component in the fields or without."""
        maps = simulate_speckle(
            self.truth,
            DT * np.arange(FRAMES),
            PHI,
            Q,
            speckles=self.speckles,
            modes=self.modes,
            third=third,
            rng=rng,
        )
        white = np.triu(self.white * rng.standard_normal(maps.shape), 1)
        return maps + white + white.transpose(0, 2, 1)

    def parameters(self) -> dict[str, dict[str, Any]]:
        """Start values, which are the true ones, and what is fixed, as settings take them."""
        fixed = {key: {"value": 0.0, "fixed": True} for key in ("D_offset_ref", "D_offset_sample", "v_offset")}
        return {key: {"value": value, "fixed": key in self.fixed} for key, value in self.truth.items()} | fixed


COMMON: Final = {"alpha_ref": -0.1, "beta": 0.15, "f1": -0.03, "f3": 0.2, "phi0": -3.0}
SETTINGS: Final = {
    "strong contrast, slow": Setting(
        "contrast 0.5; the reference hardly decays: its fields keep 65 % of their correlation over the series",
        20_000,
        2,
        0.0,
        COMMON | {"D0_ref": 250.0, "alpha_ref": 0.0, "D0_sample": 4000.0, "alpha_sample": -0.1, "v0": 20.0, "f0": 0.4},
        fixed=("alpha_ref",),
    ),
    "medium contrast, fast": Setting(
        "contrast 0.33; both components decay within a small part of the series",
        5_000,
        3,
        0.0,
        COMMON | {"D0_ref": 4000.0, "D0_sample": 20_000.0, "alpha_sample": 0.1, "v0": 60.0, "f0": 0.35},
    ),
    "weak contrast, white noise": Setting(
        "contrast 0.125, and white noise that is stronger than speckle noise",
        5_000,
        8,
        0.003,
        COMMON | {"D0_ref": 3000.0, "D0_sample": 10_000.0, "alpha_sample": 0.1, "v0": 60.0, "f0": 0.3},
    ),
}


def experiment(seed: int, name: str) -> dict[str, Any]:
    """Task: simulate and fit one experiment."""
    setting = SETTINGS[name]
    maps = setting.maps(np.random.default_rng([seed, list(SETTINGS).index(name)]))
    with tempfile.TemporaryDirectory() as folder:
        store = write_store(Path(folder) / "data.zarr", maps, phi=PHI, q=Q, dt=DT)
        options = {"seed": seed, "profile": list(PROFILED), "remember": False}
        result = hetdask.fit(store, {"parameters": setting.parameters(), "fit": options})
    profiles = {} if result.profiles is None else result.profiles.parameters
    found = [result.parameters[key] for key in setting.names]
    return {
        "status": result.status,
        "as_predicted": "as predicted" in result.errors_note,
        "speckles": float(np.median([angle.speckles or np.inf for angle in result.angles])),
        "values": [parameter.value for parameter in found],
        "stderr": [parameter.stderr or np.nan for parameter in found],
        "stderr_iid": [parameter.stderr_iid or np.nan for parameter in found],
        "profiles": {name: {"68": one.interval_68, "95": one.interval_95} for name, one in profiles.items()},
    }


def inside(interval: Sequence[float | None], truth: float) -> bool:
    """Whether an interval holds the truth; an end that is None is open."""
    low, high = interval
    return (low is None or low <= truth) and (high is None or truth <= high)


def coverage(setting: Setting, rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Coverage, bias and scatter of each parameter."""
    values, errors, iid = (np.array([row[key] for row in rows]) for key in ("values", "stderr", "stderr_iid"))
    table = {}
    for k, name in enumerate(setting.names):
        known = np.isfinite(errors[:, k])
        if not known.any():
            table[name] = {"truth": setting.truth[name], "identified": 0.0}
            continue
        deviation = values[known, k] - setting.truth[name]
        pull, pull_iid = np.abs(deviation / errors[known, k]), np.abs(deviation / iid[known, k])
        table[name] = {
            "truth": setting.truth[name],
            "identified": float(known.mean()),
            "bias": float(np.median(deviation)),
            "scatter": float(np.std(deviation)),
            "stderr": float(np.median(errors[known, k])),
            "stderr_iid": float(np.median(iid[known, k])),
            "68": float(np.mean(pull < ONE)),
            "95": float(np.mean(pull < TWO)),
            "68 iid": float(np.mean(pull_iid < ONE)),
            "95 iid": float(np.mean(pull_iid < TWO)),
        }
        profiles = [
            row["profiles"][name] for row, one in zip(rows, known, strict=True) if one and name in row["profiles"]
        ]
        for level in GOALS if profiles else ():
            table[name][f"{level} profile"] = float(np.mean([inside(x[level], setting.truth[name]) for x in profiles]))
    return table


def counted(table: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Those that the fits identify."""
    return {name: row for name, row in table.items() if row["identified"] >= OFTEN}


def draw(tables: dict[str, dict[str, dict[str, float]]], count: int, path: Path) -> None:
    """Coverage of every parameter, in panels by setting."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 4.6), layout="constrained")
    panels = figure.subplots(1, len(tables), sharey=True)
    for axes, (name, table) in zip(panels, tables.items(), strict=True):
        chosen = counted(table)
        place: NDArray[np.float64] = np.arange(len(chosen), dtype=np.float64)
        for level, colour in (("68", "#0072b2"), ("95", "#d55e00")):
            low, high = GOALS[level]
            axes.axhspan(100 * low, 100 * high, color=colour, alpha=0.12, lw=0)
            axes.axhline(float(level), color=colour, lw=0.8)
            for suffix, style, text in (
                ("", {"marker": "o"}, "stderr"),
                (" profile", {"marker": "d", "fillstyle": "none"}, "profile"),
                (" iid", {"marker": "x"}, "independent pixels"),
            ):
                share = np.array([row.get(level + suffix, np.nan) for row in chosen.values()])
                spread = 100.0 * np.sqrt(share * (1.0 - share) / count)
                axes.errorbar(
                    place,
                    100.0 * share,
                    spread,
                    ls="none",
                    color=colour,
                    ms=5,
                    lw=0.9,
                    label=f"{level} %, {text}",
                    **style,
                )
        axes.set_xticks(place, list(chosen), rotation=60, ha="right")
        axes.set_title(name, loc="left", fontsize=10)
        axes.set_ylim(0.0, 102.0)
    panels[0].set_ylabel("intervals that contain the truth (%)")
    panels[0].legend(fontsize=8, frameon=False, loc="center right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    console.print(f"drawn to {path}")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--experiments", type=int, default=400, help="of each setting")
    parser.add_argument("--workers", type=int, default=2, help="workers of the local cluster; 0: in this process")
    parser.add_argument("--cases", type=Path, help="keep outcomes in this file, and go on from those that are there")
    parser.add_argument("--figure", type=Path, help="draw the coverage to this file")


def main() -> None:
    """Measure and record."""
    options = parse_arguments(__doc__, arguments)
    before = machine()
    seeds = list(range(options.experiments))
    tables, ends = {}, {}
    where = open_runner("local", workers=options.workers) if options.workers else open_runner("inline")
    with where as runner, Progress(console=console) as progress:
        for name, setting in SETTINGS.items():
            rows = outcomes(experiment, name, seeds, runner, options.cases, progress)
            tables[name] = coverage(setting, rows)
            ends[name] = {
                "converged": sum(row["status"] == "converged" for row in rows),
                "residuals as predicted": sum(row["as_predicted"] for row in rows),
                "speckles, median": significant(float(np.median([row["speckles"] for row in rows]))),
                "speckles, truth": setting.speckles,
            }
    for name, table in tables.items():
        heads = ("", "identified", "bias / scatter", "scatter", "stderr", "iid", *(f"{x} (%)" for x in SHARES))
        lines = [
            (
                key,
                f"{row['identified']:.0%}",
                f"{row['bias'] / row['scatter']:+.2f}",
                *(f"{row[x]:.3g}" for x in ("scatter", "stderr", "stderr_iid")),
                *(f"{row[x]:.0%}" if x in row else "" for x in SHARES),
            )
            for key, row in counted(table).items()
        ]
        show(f"{name}: {ends[name]}", heads, lines)
    ratios = {}
    for level, (low, high) in GOALS.items():
        shares = [row[level] for table in tables.values() for row in counted(table).values()]
        ratios[f"{level} % intervals, lowest coverage"] = Ratio(min(shares), "all experiments", low)
        ratios[f"{level} % intervals, highest coverage"] = Ratio(max(shares), "all experiments", high, at_least=False)
    show_ratios(ratios)
    write_result(
        options.results,
        "error_coverage",
        settings={
            "experiments": options.experiments,
            "frames": FRAMES,
            "dt": DT,
            "q": Q,
            "phi": list(PHI),
            "kinds": {name: setting.text for name, setting in SETTINGS.items()},
        },
        figures={
            name: {
                **ends[name],
                "parameters": {
                    key: {x: significant(value, 4) for x, value in row.items()} for key, row in table.items()
                },
            }
            for name, table in tables.items()
        },
        ratios=ratios,
        versions=versions(),
        machine=before,
        notes=["Parameters count where at least half of the fits call them identified."],
    )
    if options.figure is not None:
        draw(tables, options.experiments, options.figure)


if __name__ == "__main__":
    main()
