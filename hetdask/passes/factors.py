"""The model of one angle as per-frame factors, ready for the kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hetdask.model.correlation import amplitudes, flow_wavevector
from hetdask.model.dynamics import Dynamics
from hetdask_kernels import LANES, block_decays

Array = NDArray[np.float64]

MAX_STEP: Final = 60.0
"""Frame-to-frame exponents are clipped here: e^-60 is far below the rounding of a sum of float64."""

STEEP_RANGE: Final = 600.0
"""Largest exponent across a tile whose factors a float64 can hold both ways."""


@dataclass(frozen=True, slots=True, eq=False)
class AngleFactors:
    """Factors of one angle for one parameter vector, padded to whole blocks (length L = n_blocks·tile).

    Attributes
    ----------
    tile : int
        Frames in a block.
    weight : (3, L) float64
        Amplitudes r²/n, s²/n, √2 rs/n; 0 at excluded and padded frames.
    valid : (L,) float64
        1 where a frame is data.
    step : (4, L) float64
        Decay from the frame before: reference, sample, real and imaginary part of the cross term.
    decay_row, decay_column : (4, L) float64
        Decay between each frame and the last or the first frame of its block.
    left, right : (4, L) float64
        Amplitudes times these decays.
    slope : (L, 4, LANES) float64
        Derivative factors of the free parameters, see `hetdask_kernels.model_gram`.
    sign : (LANES,) float64
        1 for parameters of the composition, -1 for those of the dynamics.
    exponent : (2, L) float64
        q²C of both components, steps clipped at `MAX_STEP`.
    phase : (L,) float64
        κV, radians.
    steep : (n_blocks,) bool
        Blocks across which an exponent changes by more than `STEEP_RANGE`.
    """

    tile: int
    weight: Array
    valid: Array
    step: Array
    decay_row: Array
    decay_column: Array
    left: Array
    right: Array
    slope: Array
    sign: Array
    exponent: Array
    phase: Array
    steep: NDArray[np.bool_]

    def coupling(self, blocks: NDArray[np.int64]) -> Array:
        """Decay from the last frame of each row block to the first frame of each column block, (n, 4)."""
        last = (blocks[:, 0] + 1) * self.tile - 1
        first = blocks[:, 1] * self.tile
        exponent = self.exponent[:, first] - self.exponent[:, last]
        skip = (blocks[:, 0] == blocks[:, 1]) & self.steep[blocks[:, 0]]
        return _decay(np.where(skip, 0.0, exponent), self.phase[first] - self.phase[last]).T


def _decay(exponent: Array, phase: Array) -> Array:
    """e^-Δ of both components and of the cross term, (4, ...), from exponents (2, ...) and phases (...)."""
    cross = np.exp(-0.5 * (exponent[0] + exponent[1]))
    return np.stack([np.exp(-exponent[0]), np.exp(-exponent[1]), cross * np.cos(phase), cross * np.sin(phase)])


def _weighted(weight: Array, decay: Array) -> Array:
    return np.concatenate([weight[:2] * decay[:2], weight[2] * decay[2:]])


def _clip_steps(exponent: Array) -> Array:
    steps = np.diff(exponent, axis=1)
    if not np.any(steps > MAX_STEP):
        return exponent
    clipped = np.zeros_like(exponent)
    np.cumsum(np.minimum(steps, MAX_STEP), axis=1, out=clipped[:, 1:])
    return clipped


def _slopes(
    d: Dynamics, kappa: float, kappa_slope: float, q: float, free: tuple[int, ...], keep: Array, length: int
) -> tuple[Array, Array]:
    """Derivative factors (length, 4, LANES) and their signs (LANES,) of the free parameters."""
    slope, sign = np.zeros((length, 4, LANES)), np.ones(LANES)
    if not free:
        return slope, sign
    (ref, sample, cross), change = amplitudes(d.fraction)
    ref_gain, sample_gain = q * q * ref * keep, q * q * sample * keep
    cross_gain = q * q * np.sqrt(0.5) * cross * keep
    flow_gain = np.sqrt(2.0) * cross * keep
    change[2] *= np.sqrt(2.0)
    change *= keep
    out = slope[: d.time.size]
    for lane, k in enumerate(free):
        sign[lane] = 1.0 if 9 <= k < 13 else -1.0
        if k < 3:
            out[:, 0, lane] = ref_gain * d.c_ref_gradient[k]
            out[:, 2, lane] = cross_gain * d.c_ref_gradient[k]
        elif k < 6:
            out[:, 1, lane] = sample_gain * d.c_sample_gradient[k - 3]
            out[:, 2, lane] = cross_gain * d.c_sample_gradient[k - 3]
        elif k < 9:
            out[:, 3, lane] = kappa * flow_gain * d.displacement_gradient[k - 6]
        elif k < 13:
            out[:, :3, lane] = (change * d.fraction_gradient[k - 9]).T
        else:
            out[:, 3, lane] = kappa_slope * flow_gain * d.displacement
    return slope, sign


def angle_factors(
    d: Dynamics, phi: float, q: float, excluded: NDArray[np.bool_], tile: int, free: tuple[int, ...]
) -> AngleFactors:
    """Factors of one angle.

    Parameters
    ----------
    d : Dynamics
        Model at the N frames of the series.
    phi, q : float
        Azimuth in degrees and wavevector in 1/Å of the map.
    excluded : (N,) bool
        Frames that are no data.
    tile : int
        Frames in a block.
    free : tuple of int
        Indices of the parameters whose derivatives are wanted.
    """
    n = d.time.size
    n_blocks = -(-n // tile)
    length = n_blocks * tile
    pad = length - n
    kappa, kappa_slope = (float(x[0]) for x in flow_wavevector(d.phi0, np.array([phi]), np.array([q])))
    exponent = np.pad(_clip_steps(q * q * np.stack([d.c_ref, d.c_sample])), ((0, 0), (0, pad)), mode="edge")
    phase = np.pad(kappa * d.displacement, (0, pad), mode="edge")
    keep = (~excluded).astype(np.float64)
    valid = np.pad(keep, (0, pad))
    weight = np.pad(amplitudes(d.fraction)[0] * keep, ((0, 0), (0, pad)))
    weight[2] *= np.sqrt(2.0)

    step = _decay(np.diff(exponent, axis=1, prepend=0.0), np.diff(phase, prepend=0.0))
    first = np.arange(n_blocks) * tile
    last = first + tile - 1
    steep = np.any(exponent[:, last] - exponent[:, first] > STEEP_RANGE, axis=0)
    decay_row, decay_column = block_decays(step, tile)
    slope, sign = _slopes(d, kappa, kappa_slope, q, free, keep, length)
    return AngleFactors(
        tile=tile,
        weight=weight,
        valid=valid,
        step=step,
        decay_row=decay_row,
        decay_column=decay_column,
        left=_weighted(weight, decay_row),
        right=_weighted(weight, decay_column),
        slope=slope,
        sign=sign,
        exponent=exponent,
        phase=phase,
        steep=steep,
    )
