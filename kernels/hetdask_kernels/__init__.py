"""Numba kernels of hetdask: arrays and scalars in, arrays out.

No I/O, no Dask, nothing of hetdask. Each kernel has a NumPy reference in `hetdask.model` that tests compare it with.
"""

from hetdask_kernels._jit import LANES
from hetdask_kernels.contract import contract_tiles, slope_products
from hetdask_kernels.factors import STEEP_RANGE, couplings, frame_factors, frame_slopes
from hetdask_kernels.pixels import weighted_gram
from hetdask_kernels.prepare import prepare_tile
from hetdask_kernels.separable import model_gram
from hetdask_kernels.warmup import warmup_numba_kernels

__all__ = [
    "LANES",
    "STEEP_RANGE",
    "contract_tiles",
    "couplings",
    "frame_factors",
    "frame_slopes",
    "model_gram",
    "prepare_tile",
    "slope_products",
    "warmup_numba_kernels",
    "weighted_gram",
]
