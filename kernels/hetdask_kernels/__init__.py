"""Numba kernels of hetdask: arrays and scalars in, arrays out.

No I/O, no Dask, nothing of hetdask. Each kernel has a NumPy reference in `hetdask.model` that tests compare it with.
"""

from hetdask_kernels._jit import LANES
from hetdask_kernels.contract import contract_tiles, slope_products
from hetdask_kernels.decay import block_decays
from hetdask_kernels.pixels import weighted_gram
from hetdask_kernels.prepare import prepare_tile
from hetdask_kernels.separable import model_gram
from hetdask_kernels.warmup import warmup_numba_kernels

__all__ = ["LANES", "block_decays", "contract_tiles", "model_gram", "prepare_tile", "slope_products", "warmup_numba_kernels", "weighted_gram"]
