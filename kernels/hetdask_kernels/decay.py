"""Decays across blocks of frames from the steps between neighbours, by multiplication."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hetdask_kernels._jit import JIT


@njit(**JIT)
def _block_decays(step, size, to_last, from_first):  # type: ignore[no-untyped-def]
    length = step.shape[1]
    for first in range(0, length, size):
        last = first + size - 1
        a, b, c, d = 1.0, 1.0, 1.0, 0.0
        for i in range(first, last + 1):
            if i > first:
                a, b = a * step[0, i], b * step[1, i]
                c, d = c * step[2, i] - d * step[3, i], c * step[3, i] + d * step[2, i]
            from_first[0, i], from_first[1, i], from_first[2, i], from_first[3, i] = a, b, c, d
        a, b, c, d = 1.0, 1.0, 1.0, 0.0
        for i in range(last, first - 1, -1):
            to_last[0, i], to_last[1, i], to_last[2, i], to_last[3, i] = a, b, c, d
            if i > first:
                a, b = a * step[0, i], b * step[1, i]
                c, d = c * step[2, i] - d * step[3, i], c * step[3, i] + d * step[2, i]


def block_decays(step: NDArray[np.float64], size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Decay between each frame and the edges of its block.

    Parameters
    ----------
    step : (4, L) float64
        Decay from the frame before: reference, sample, real and imaginary part of the cross term.
    size : int
        Frames in a block; L is a multiple of it.

    Returns
    -------
    to_last, from_first : (4, L) float64
        Decay from the frame to the last of its block, and from the first of its block to the frame.
    """
    to_last, from_first = np.empty_like(step), np.empty_like(step)
    _block_decays(step, size, to_last, from_first)
    return to_last, from_first
