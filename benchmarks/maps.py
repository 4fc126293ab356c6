"""Simulated maps for the timing benchmarks: the model with its own conventions, and Gaussian noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hetdask.data.maps import Findings
from hetdask.data.store import Store
from hetdask.data.store_writer import MapRecord, StoreWriter, WritePlan, write_group
from hetdask.data.tiling import SHARD_BYTES
from hetdask.model import simulate_gaussian
from hetdask.model.correlation import amplitudes, flow_wavevector
from hetdask.model.dynamics import Dynamics, dynamics
from hetdask_cluster.runner import Runner

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


@lru_cache(maxsize=1)
def _dynamics(vector: tuple[float, ...], frames: int, dt: float) -> tuple[Dynamics, NDArray[np.float64]]:
    d = dynamics(vector, dt * np.arange(frames, dtype=np.float64))
    return d, amplitudes(d.fraction)[0]


@dataclass(frozen=True, slots=True)
class Scan:
    """What the maps of a scan are made of.

    Attributes
    ----------
    vector : tuple of 14 floats
        Parameters.
    frames : int
    dt, q : float
        s, 1/Å.
    phi, contrast, offset, sigma : tuple of floats
        Of each angle: degrees, and scaling and white noise in units of c2.
    seed : int
    """

    vector: tuple[float, ...]
    frames: int
    dt: float
    q: float
    phi: tuple[float, ...]
    contrast: tuple[float, ...]
    offset: tuple[float, ...]
    sigma: tuple[float, ...]
    seed: int = 0


@dataclass(frozen=True, slots=True)
class TiledMap:
    """A map of a scan whose pixels above the diagonal are made when a part of it is asked for.

    The noise of a part depends on its place and the angle alone: whoever makes it, in whatever order, the same numbers
    come out.
    """

    scan: Scan
    angle: int

    def __getitem__(self, place: tuple[slice, slice]) -> NDArray[np.float32]:
        scan, m = self.scan, self.angle
        rows, columns = (np.arange(*part.indices(scan.frames)) for part in place)
        d, (ref, sample, cross) = _dynamics(scan.vector, scan.frames, scan.dt)
        kappa, _ = flow_wavevector(d.phi0, np.array([scan.phi[m]]), np.array([scan.q]))

        def between(x: NDArray[np.float64]) -> NDArray[np.float64]:
            return x[columns] - x[rows, None]

        decay_ref, decay_sample = (np.exp(-(scan.q**2) * np.abs(between(c))) for c in (d.c_ref, d.c_sample))
        g = np.cos(kappa[0] * between(d.displacement)) * np.sqrt(decay_ref * decay_sample)
        g *= 2.0 * cross[rows, None] * cross[columns]
        g += ref[rows, None] * ref[columns] * decay_ref + sample[rows, None] * sample[columns] * decay_sample
        rng = np.random.default_rng((scan.seed, m, *rows[:1], *columns[:1]))
        noise = rng.standard_normal(g.shape, dtype=np.float32)
        part = np.asarray(scan.offset[m] + scan.contrast[m] * g + scan.sigma[m] * noise, dtype=np.float32)
        part[rows[:, None] >= columns] = np.nan
        return part


def _write_tiled(group: tuple[int, int], plan: WritePlan, scan: Scan) -> list[MapRecord]:
    """Task: write the maps of a group of angles, tile by tile."""
    excluded = np.zeros(scan.frames, dtype=np.bool_)

    def found(angle: int) -> Findings:
        return Findings(
            triangle="upper",
            asymmetry=None,
            averaged=False,
            diagonal="absent",
            level=scan.offset[angle],
            baseline=1,
            noise=scan.sigma[angle],
            bad_frames=(),
            missing=0,
            pixels=scan.frames * (scan.frames - 1) // 2,
        )

    maps = ((cast("Any", TiledMap(scan, angle)), excluded, found(angle)) for angle in range(*group))
    return write_group(plan, group, maps)


def write_scan(path: Path, scan: Scan, runner: Runner, *, shard_bytes: int = SHARD_BYTES) -> Store:
    """A store of the maps of a scan, made tile by tile on the workers: no whole map is ever in memory."""
    with StoreWriter(
        path, phi=np.array(scan.phi), q=scan.q, n_frames=scan.frames, dt=scan.dt, shard_bytes=shard_bytes
    ) as writer:
        for records in runner.map(_write_tiled, writer.plan.tiling.groups, writer.plan, scan):
            writer.add(records)
    return Store.open(path)


def write_tiled_store(
    path: Path, angles: int, frames: int, q: float, dt: float, runner: Runner, *, shard_bytes: int = SHARD_BYTES
) -> Store:
    """A store of simulated maps at angles spread over half a turn, as from `write_scan`.

    Parameters
    ----------
    path : Path
    angles, frames : int
    q : float
        1/Å.
    dt : float
        s; the first frame is at 0.
    runner : Runner
    shard_bytes : int
    """
    phi = np.linspace(0.0, 180.0, angles, endpoint=False)
    contrast, offset, sigma = (tuple([SCALING[name]] * angles) for name in ("contrast", "offset", "sigma"))
    scan = Scan(tuple(PARAMETERS.values()), frames, dt, q, tuple(phi.tolist()), contrast, offset, sigma)
    return write_scan(path, scan, runner, shard_bytes=shard_bytes)
