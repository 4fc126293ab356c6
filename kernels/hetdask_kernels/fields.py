"""Intensities of simulated speckles, frame after frame."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hetdask_kernels._jit import JIT, REORDER

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]


@njit(fastmath=REORDER, **JIT)
def _field_intensity(normal, decay, fresh, weight, field, out):  # type: ignore[no-untyped-def]
    frames, components, values = normal.shape[0], normal.shape[1], normal.shape[2]
    modes = values // out.shape[1]
    total = np.empty(values, dtype=np.complex128)
    for i in range(frames):
        total[:] = 0.0
        for x in range(components):
            keep, renew, part = decay[i, x], fresh[i, x] * np.sqrt(0.5), weight[i, x]
            for k in range(values):
                field[x, k] = keep * field[x, k] + renew * normal[i, x, k]
                total[k] += part * field[x, k]
        for p in range(out.shape[1]):
            mean = 0.0
            for k in range(p * modes, (p + 1) * modes):
                mean += total[k].real ** 2 + total[k].imag ** 2
            out[i, p] = mean / modes


def field_intensity(normal: Complex, decay: Array, fresh: Array, weight: Complex, field: Complex, out: Array) -> None:
    """Intensities of the next frames of speckles whose fields are Markov chains.

    Parameters
    ----------
    normal : (n, x, pixels · modes) complex128
        Normal deviates of unit variance, real and imaginary, for x components of the field.
    decay, fresh : (n, x) float64
        What each frame keeps of the fields before, and how much is new.
    weight : (n, x) complex128
        With which components add up.
    field : (x, pixels · modes) complex128
        Fields after the frame before; on return after the last frame.
    out : (n, pixels) float64
        Mean over the modes of the squared sum.
    """
    _field_intensity(normal, decay, fresh, weight, field, out)
