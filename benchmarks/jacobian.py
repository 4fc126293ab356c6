"""A pass (χ², gradient, Gauss-Newton matrix) over three 400 × 400 maps, against the dense Jacobian of xpcsjax 0.1.8.

    python benchmarks/jacobian.py --xpcsjax-python PATH

Both are what a step of a least-squares fit needs. The Jacobian has a row for each residual, on both sides of the
diagonal, and a column for each of 14 parameters; products of it, which a solver needs next, are not counted. A pass
yields these products, with contrast and offset solved for. Ours runs in this process on one thread, the other one in
an environment of its own with all cores; all evaluate the same sequence of parameter vectors in turns.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import numpy as np
from common import (
    Contestant,
    Ratio,
    console,
    in_turns,
    parse_arguments,
    peer_python,
    show,
    show_ratios,
    write_result,
)
from maps import PARAMETERS
from one_chi_squared import Peer, parameter_vectors, write_experiment
from pass_rate import full_pass, size_of

from hetdask.diagnosis.environment import machine, versions
from hetdask.model import NAMES
from hetdask_cluster.runner import InlineRunner

SCRIPT: Final = Path(__file__).parent / "peers" / "evaluate_xpcsjax.py"
GOAL: Final = 100.0


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    peer_python(parser, "--xpcsjax-python", "xpcsjax 0.1.8")
    parser.add_argument("--sizes", nargs="+", default=("3x100", "3x400", "3x1000"), help="angles x frames")
    parser.add_argument("--turns", type=int, default=10, help="turns of each side")


def sides_of(peer: Peer) -> dict[str, Contestant]:
    """Jacobian and residuals of the peer: one answer has both."""
    vectors: Iterator[np.ndarray] = parameter_vectors()
    return {
        "Jacobian of xpcsjax": Contestant(lambda _: peer.ask(next(vectors))["seconds"]),
        "residuals of xpcsjax": Contestant(lambda _: peer.ask(next(vectors))["residuals"]),
    }


def main() -> None:
    """Measure and record."""
    options = parse_arguments(__doc__, arguments)
    if options.xpcsjax_python is None:
        raise SystemExit("--xpcsjax-python is missing: the Python that has xpcsjax, see peers/README.md")
    before = machine()
    figures, ratios, version = {}, {}, ""
    for size in options.sizes:
        angles, frames = size_of(size)
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            store = write_experiment(folder, angles, frames)
            start = list(PARAMETERS.values())
            peer = stack.enter_context(Peer(options.xpcsjax_python, folder / "maps.npz", start, script=SCRIPT))
            console.print(f"measuring {size} ...")
            ours = Contestant(full_pass(store, InlineRunner(), tuple(range(len(NAMES)))), 50, threads=1)
            timings = in_turns({"pass of hetdask": ours, **sides_of(peer)}, options.turns)
            version = peer.version
        show(size, ("", "median (min to max)"), [(name, timing.spread()) for name, timing in timings.items()])
        figures[size] = {name: {"seconds": timing.record()} for name, timing in timings.items()}
        one = timings["pass of hetdask"].median
        for name in ("Jacobian of xpcsjax", "residuals of xpcsjax"):
            goal = GOAL if size == "3x400" and "Jacobian" in name else None
            ratios[f"{size}, {name}"] = Ratio(timings[name].median / one, f"pass of hetdask; xpcsjax {version}", goal)
    show_ratios(ratios)
    write_result(
        options.results,
        "jacobian",
        settings={"sizes": list(options.sizes), "turns": options.turns, "free parameters": len(NAMES)},
        figures=figures,
        ratios=ratios,
        versions=versions({"xpcsjax": version}),
        machine=before,
        notes=["Ratios of medians: how many times as long as a pass. The other package had compiled before."],
    )


if __name__ == "__main__":
    main()
