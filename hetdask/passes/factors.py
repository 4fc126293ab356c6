"""The model as per-frame factors, ready for the kernels: what all angles share, and what each adds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hetdask.model.correlation import flow_wavevector
from hetdask.model.integrals import flow_has_power_law, transport_interval
from hetdask_kernels import (
    LANES,
    STEEP_RANGE,
    TOGETHER,
    block_factors,
    expand,
    first_halves,
    frame_curves,
    frame_gains,
    frame_steps,
    polynomials_needed,
    project,
)

Array = NDArray[np.float64]

LANE: Final = np.array([0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 15, 11])
"""Lane of each parameter, see `hetdask_kernels.GROUPS`; phi0 belongs to the flow."""

SMOOTH: Final = 1e-12
"""Relative size of coefficients that may be left out."""

GENTLE: Final = 5.0
"""Largest exponent across a block on the diagonal whose compressed sums keep their digits."""


@dataclass(frozen=True, eq=False)
class SeriesFactors:
    """What all angles of a series share for one parameter vector, at L = n_blocks·block frames.

    Gains are computed when they are asked for: χ² alone does without.

    Attributes
    ----------
    vector : (14,) float64
        The parameters.
    time, log_time : (L,) float64
        s, frames beyond the end included, and its logarithm.
    block : int
        Frames in a block.
    laws, motion, power, growth, amplitude
        See `hetdask_kernels.curves.frame_curves`.
    """

    vector: Array
    time: Array
    log_time: Array
    block: int
    laws: Array
    motion: Array
    power: Array
    growth: Array
    amplitude: Array

    @cached_property
    def _gains(self) -> tuple[Array, Array]:
        shares, displacement = self.vector[9:13], self.motion[2]
        return frame_gains(
            self.time, self.log_time, self.laws, shares, displacement, self.power, self.growth, self.block
        )

    @property
    def gain(self) -> Array:
        """Derivatives of integrals and fraction with respect to the parameter of each lane, (L, LANES)."""
        return self._gains[0]

    @property
    def probe(self) -> Array:
        """One plus a sum of all gains, each scaled to at most 1 on its block, (L,): as rough as the roughest."""
        return self._gains[1]


def series_factors(vector: Array, time: Array, block: int) -> SeriesFactors:
    """Motion and amplitudes at all frames, and gains as they are needed.

    Parameters
    ----------
    vector : (14,) float64
        Finite.
    time : (L,) float64
        s, increasing; in whole blocks.
    block : int

    Raises
    ------
    ConfigError
        Where an exponent makes an integral diverge.
    """
    span = float(time[0]), float(time[-1])
    laws = np.array([_transport_law(vector, 0, *span), _transport_law(vector, 3, *span), _flow_law(vector, span[0])])
    with np.errstate(divide="ignore"):
        log_time = np.log(time)
    curves = frame_curves(time, log_time, laws, vector[9:13])
    return SeriesFactors(vector, time, log_time, block, laws, *curves)


def _transport_law(vector: Array, first: int, begin: float, end: float) -> tuple[float, ...]:
    """A row of laws, see `frame_curves`: the transport rate is clipped where it would be negative."""
    amplitude, exponent, offset = vector[first : first + 3].tolist()
    active = transport_interval(begin, end, amplitude, exponent, offset, "sample" if first else "ref")
    return (0.0, 0.0, 0.0, 1.0, 0.0, 0.0) if active is None else (*active, amplitude, exponent + 1.0, offset, 1.0)


def _flow_law(vector: Array, begin: float) -> tuple[float, ...]:
    amplitude, exponent, offset = vector[6:9].tolist()
    acts = float(flow_has_power_law(begin, amplitude, exponent))
    return (begin, np.inf, amplitude, exponent + 1.0, offset, acts)


@dataclass(frozen=True, slots=True, eq=False)
class AngleFactors:
    """Factors of M angles for one parameter vector.

    Attributes
    ----------
    series : SeriesFactors
    keep : (M, L) float64
        1 for frames that are data.
    scale : (M, LANES) float64
        What turns gains into derivatives at each angle.
    step, exponent, phase
        See `hetdask_kernels.frame_steps`.
    to_last, from_first, left, right : (M, 4, L) float64
        See `hetdask_kernels.block_factors`.
    steep, gentle : (M, n_blocks) bool
        Blocks across which an exponent changes by more than a float64 can hold, and by so little that factors of
        both sides can be multiplied across the diagonal without loss.
    alike : bool
        Whether reference and sample decay in the same way at all angles, because q is the same.
    """

    series: SeriesFactors
    keep: Array
    scale: Array
    step: Array
    exponent: Array
    phase: Array
    to_last: Array
    from_first: Array
    left: Array
    right: Array
    steep: NDArray[np.bool_]
    gentle: NDArray[np.bool_]
    alike: bool


def angle_factors(shared: SeriesFactors, phi: Array, q: Array, excluded: NDArray[np.bool_]) -> AngleFactors:
    """Factors of M angles.

    Parameters
    ----------
    shared : SeriesFactors
    phi, q : (M,) float64
        Azimuths in degrees and wavevectors in 1/Å of the maps.
    excluded : (M, N) bool
        Frames that are no data.
    """
    size = shared.block
    kappa, kappa_slope = flow_wavevector(float(shared.vector[13]), phi, q)
    keep = np.zeros((phi.size, shared.time.size))
    keep[:, : excluded.shape[1]] = ~excluded
    scale = np.ones((phi.size, LANES))
    scale[:, :8], scale[:, 8:11], scale[:, 11] = (q * q)[:, None], kappa[:, None], kappa_slope
    c_ref, c_sample, displacement = shared.motion
    step, exponent, phase = frame_steps(c_ref, c_sample, displacement, q, kappa)
    change = (exponent[:, :, size - 1 :: size] - exponent[:, :, ::size]).max(axis=1)
    return AngleFactors(
        shared,
        keep,
        scale,
        step,
        exponent,
        phase,
        *block_factors(step, shared.amplitude, size),
        steep=change > STEEP_RANGE,
        gentle=change <= GENTLE,
        alike=len(set(q.tolist())) == 1,
    )


@dataclass(frozen=True, slots=True, eq=False)
class CompressedFactors:
    """Factors of M angles as polynomials, block by block.

    Attributes
    ----------
    halves : (d, block/2) float64
        The polynomials, see `hetdask_kernels.first_halves`.
    left, right : (M, 4, n_blocks·d) float64
        Coefficients, those of the right factors by degree (`hetdask_kernels.compress.panel`); what is not `used` has
        no meaning.
    smooth : (M, n_blocks) bool
        Blocks on which they describe the factors, and their products with the gains, to rounding.
    used : (M, 2) int64
        How many of the polynomials this takes at each angle, for the factors that only decay and for the cross term's.
    """

    halves: Array
    left: Array
    right: Array
    smooth: NDArray[np.bool_]
    used: NDArray[np.int64]

    def add_rows(self, few: Array, rows: Array) -> None:
        """Add sums (M, 4, n_blocks·d), one for each polynomial of the rows, to those of the frames."""
        by_block, _ = _strides(self.halves.shape[0], self.smooth.shape[1])
        expand(few, self.halves, *by_block, self.smooth, self.used, rows)

    def add_columns(self, few: Array, columns: Array) -> None:
        """The same for columns, whose polynomials lie by degree."""
        _, by_degree = _strides(self.halves.shape[0], self.smooth.shape[1])
        expand(few, self.halves, *by_degree, self.smooth, self.used, columns)


def _strides(degrees: int, n_blocks: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Strides of coefficients that lie block by block, and by degree, see `hetdask_kernels.project`."""
    return (degrees, TOGETHER), (TOGETHER, n_blocks * TOGETHER)


def compressed_factors(factors: AngleFactors, degrees: int, *, both: bool = True) -> CompressedFactors:
    """Project the factors on polynomials, and find out where these hold them and their products with the gains.

    Without any polynomials (`degrees` 0) no block is smooth. Without derivatives (`both` false) neither gains nor left
    factors matter, and the latter are not projected.
    """
    shared = factors.series
    halves, one = first_halves(shared.block)[:degrees], np.ones_like(shared.time)
    m, n_blocks = factors.steep.shape
    left, right = np.zeros((2, m, 4, n_blocks * degrees))
    smooth, used = np.zeros((m, n_blocks), dtype=np.bool_), np.full((m, 2), degrees)
    if degrees:
        by_block, by_degree = _strides(degrees, n_blocks)
        project(factors.right, shared.probe if both else one, halves, used, factors.alike, *by_degree, right)
        polynomials_needed(right, degrees, *by_degree, SMOOTH, smooth, used)
        if both:
            # The left factors decay where the right ones grow: both need the same polynomials.
            project(factors.right, one, halves, used, factors.alike, *by_degree, right)
            project(factors.left, one, halves, used, factors.alike, *by_block, left)
    return CompressedFactors(halves, left, right, smooth, used)
