"""A picture of the noise of two-time maps: that of speckles, that of counted photons, and white noise as strong.

    python benchmarks/noise_picture.py --figure docs/noise.png

One map of the experiments of `weighted.py` with a slow reference and contrast 0.33, less the model: of speckles alone,
of the same number of speckles with photons counted, and white noise of the standard deviation of the first.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

import numpy as np
from common import console
from matplotlib.figure import Figure
from numpy.typing import NDArray
from weighted import DT, FRAMES, PHOTONS, SPECKLES, TRUTHS, Q

from hetdask.model import correlation, simulate_speckle

PHI: Final = 0.0
MODES: Final = 3
LIMIT: Final = 2.5
"""Standard deviations at the ends of the colour scale."""


def noise(photons: float | None) -> NDArray[np.float64]:
    """Map less the model (N, N), NaN on the diagonal."""
    time, truth = DT * np.arange(FRAMES), TRUTHS["slow"]
    rng = np.random.default_rng(4)
    maps = simulate_speckle(truth, time, [PHI], Q, speckles=SPECKLES, modes=MODES, photons=photons, rng=rng)
    found = np.asarray(maps[0] - 1.0 - correlation(truth, time, [PHI], Q)[0] / MODES)
    np.fill_diagonal(found, np.nan)
    return found


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figure", type=Path, required=True)
    path = parser.parse_args().figure
    speckle = noise(None)
    white = np.nanstd(speckle) * np.random.default_rng(5).standard_normal(speckle.shape)
    upper = np.triu_indices(FRAMES, 1)
    white.T[upper] = white[upper]
    panels = {
        f"{SPECKLES} speckles": speckle,
        f"{PHOTONS:g} photons per speckle and frame": noise(PHOTONS),
        "white noise": white,
    }
    figure = Figure(figsize=(9.6, 3.4), layout="constrained")
    length = DT * FRAMES
    images = []
    for axes, (title, panel) in zip(figure.subplots(1, len(panels), sharey=True), panels.items(), strict=True):
        scale = float(np.nanstd(panel))
        images.append(
            axes.imshow(
                panel / scale, origin="lower", extent=(0, length, 0, length), cmap="RdBu_r", vmin=-LIMIT, vmax=LIMIT
            )
        )
        axes.set_title(f"{title}\nrms {scale:.2g}", fontsize=10)
        axes.set_xlabel("t₁ (s)")
        if axes.get_subplotspec().is_first_col():
            axes.set_ylabel("t₂ (s)")
    figure.colorbar(images[-1], ax=axes, label="noise of c2 / its rms")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    console.print(f"drawn to {path}")


if __name__ == "__main__":
    main()
