"""The model of one angle as per-frame factors, ready for the kernels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hetdask.model.correlation import flow_wavevector
from hetdask.model.dynamics import Dynamics
from hetdask_kernels import LANES, STEEP_RANGE, couplings, frame_factors, frame_slopes

Array = NDArray[np.float64]

COMPOSITION = range(9, 13)
"""Indices of f0..f3."""


@dataclass(frozen=True, slots=True, eq=False)
class AngleFactors:
    """Factors of one angle for one parameter vector, padded to whole blocks (length L = n_blocks·tile).

    Attributes
    ----------
    tile : int
        Frames in a block.
    weight, valid, step, exponent, phase, to_last, from_first, left, right
        See `hetdask_kernels.frame_factors`.
    slope : (L, 4, LANES) float64
        Derivative factors of the free parameters, see `hetdask_kernels.frame_slopes`.
    sign : (LANES,) float64
        1 for parameters of the composition, -1 for those of the dynamics.
    steep : (n_blocks,) bool
        Blocks across which an exponent changes by more than a float64 can hold.
    """

    tile: int
    weight: Array
    valid: Array
    step: Array
    exponent: Array
    phase: Array
    to_last: Array
    from_first: Array
    left: Array
    right: Array
    slope: Array
    sign: Array
    steep: NDArray[np.bool_]

    def coupling(self, blocks: NDArray[np.int64]) -> Array:
        """Decay between the blocks of each tile, (n, 4), see `hetdask_kernels.couplings`."""
        return couplings(blocks, self.tile, self.exponent, self.phase, self.steep)


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
    kappa, kappa_slope = (float(x[0]) for x in flow_wavevector(d.phi0, np.array([phi]), np.array([q])))
    keep = (~excluded).astype(np.float64)
    factors = frame_factors(d.c_ref, d.c_sample, d.displacement, d.fraction, keep, q, kappa, tile)
    weight, valid, step, exponent, phase, to_last, from_first, left, right = factors
    first = np.arange(0, valid.size, tile)
    slope, sign = np.zeros((valid.size if not free else 0, 4, LANES)), np.full(LANES, -1.0)
    if free:
        gradients = (d.c_ref_gradient, d.c_sample_gradient, d.displacement_gradient, d.fraction_gradient)
        slope = frame_slopes(weight, d.fraction, keep, d.displacement, gradients, q, kappa, kappa_slope, np.array(free))
        sign[: len(free)] = [1.0 if k in COMPOSITION else -1.0 for k in free]
    return AngleFactors(
        tile=tile,
        weight=weight,
        valid=valid,
        step=step,
        exponent=exponent,
        phase=phase,
        to_last=to_last,
        from_first=from_first,
        left=left,
        right=right,
        slope=slope,
        sign=sign,
        steep=np.any(exponent[:, first + tile - 1] - exponent[:, first] > STEEP_RANGE, axis=0),
    )
