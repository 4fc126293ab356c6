"""Simulated maps for the timing benchmarks: the model with its own conventions, and Gaussian noise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hetdask.model import simulate_gaussian

PARAMETERS: Final = {
    "D0_ref": 120.0,
    "alpha_ref": -0.3,
    "D_offset_ref": 5.0,
    "D0_sample": 900.0,
    "alpha_sample": -0.2,
    "D_offset_sample": 3.0,
    "v0": 300.0,
    "beta": 0.1,
    "v_offset": 5.0,
    "f0": 0.5,
    "f1": -0.01,
    "f2": 0.0,
    "f3": 0.2,
    "phi0": 10.0,
}
"""A slow and a fast component under flow, with the fraction never clipped; units as in `hetdask.model.PARAMETERS`."""

SCALING: Final = {"contrast": 0.3, "offset": 1.0, "sigma": 0.01}


def simulated_maps(frames: int, phi: ArrayLike, q: float, dt: float, seed: int = 0) -> Iterator[NDArray[np.float32]]:
    """Symmetric maps (frames, frames), one at a time.

    Parameters
    ----------
    frames : int
    phi : (n_phi,) float64
        Degrees.
    q : float
        1/Å.
    dt : float
        s; the first frame is at 0.
    seed : int
    """
    rng = np.random.default_rng(seed)
    time = dt * np.arange(frames)
    for angle in np.atleast_1d(phi):
        yield simulate_gaussian(PARAMETERS, time, angle, q, rng=rng, **SCALING)[0].astype(np.float32)
