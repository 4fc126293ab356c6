"""What the guide of heterodyne-analysis promises, there and here, in Markdown from the record of the benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from benchmark_tables import duration

HEAD: Final = ("| on the same data, in one run | heterodyne-analysis 1.0.1 | hetdask |", "|---|---|---|")

KINDS: Final = {
    "original": "its Nelder–Mead from default start values",
    "default": "from the same default start values",
    "search": "from a search",
    "learned": "from the learned start",
}


def rows(record: Mapping[str, Any]) -> str:
    """The table."""
    figures = record["figures"]
    return "\n".join(
        [*HEAD, *_thinning(figures["thinning"]), *_kernels(figures["one χ²"]), *_large(figures), _starts(figures)]
    )


def _thinning(found: Mapping[str, Mapping[str, float]]) -> list[str]:
    lines = []
    for name, there in found.items():
        package, _, how = name.partition(", ")
        if package != "hetdask":
            here = found[f"hetdask, {how}"]
            lines.append(f"| three fitted rates over the true ones, {how} | {_three(there)} | {_three(here)} |")
    return lines


def _three(ratios: Mapping[str, float]) -> str:
    return ", ".join(f"{one:.3g}" for one in ratios.values())


def _kernels(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    def both(sides: Mapping[str, Any], compiled: str, plain: str) -> str:
        with_it, without = (sides[name]["seconds"]["median"] for name in (compiled, plain))
        return f"{duration(with_it)}, without Numba {duration(without)}: {without / with_it:.3g} ×"

    lines = []
    for size, sides in found.items():
        there = both(sides, "heterodyne-analysis", "heterodyne-analysis, no Numba")
        lines.append(f"| one χ² of {size} | {there} | {both(sides, 'hetdask', 'hetdask, NumPy')} |")
        here = both(sides, "hetdask, derivatives", "hetdask, NumPy, derivatives")
        lines.append(f"| the same with 13 derivatives, as fits need it | – | {here} |")
    return lines


def _large(figures: Mapping[str, Any]) -> list[str]:
    def fit(name: str) -> str:
        one = figures["8 million pixels"][name]
        ratios = ", ".join(f"{value:.3g}" for key, value in one.items() if key.endswith("/ truth"))
        cost = f"{one['CPU seconds']:.3g} s of CPU time and {one['evaluations']:,} χ², {one['peak MiB']:,} MiB"
        told = f"{one['ended'].replace('_', ' ')} after {cost}"
        return (
            f"{told}; rates over the true ones {ratios}" if one["evaluations"] > 1 else f"{told}, at its start values"
        )

    parts = {"all pixels": "all pixels", "ellipsoidal": "ellipsoidal"}
    lines = [
        f"| 8 million pixels, {words} | {fit(f'heterodyne-analysis, {key}')} | {fit(f'hetdask, {key}')} |"
        for key, words in parts.items()
    ]
    return [
        *lines,
        f"| 8 million pixels, the guide's subsampling | {fit('heterodyne-analysis, subsampling')} | not needed |",
    ]


def _starts(figures: Mapping[str, Any]) -> str:
    count = len(figures["cases"])

    def side(kind: str) -> str:
        one = figures["starts"][kind]
        return (
            f"{KINDS[kind]}: {round(one['success'] * count)} of {count}, {one['median evaluations']:,.0f} evaluations, "
            f"{duration(one['median cpu_seconds'])}"
        )

    here = "; ".join(side(kind) for kind in ("default", "search", "learned"))
    return f"| optimum of a random experiment found, median evaluations and CPU time | {side('original')} | {here} |"
