"""Numba kernels of hetdask: arrays and scalars in, arrays out.

No I/O, no Dask, nothing of hetdask. Each kernel has a NumPy reference in `hetdask.model` that tests compare it with.
"""

from hetdask_kernels._jit import GROUPS, LANES
from hetdask_kernels.compress import contract_panels, panel
from hetdask_kernels.contract import (
    COMPRESSED,
    FIRST_ROW,
    contract_blocks,
    contract_steep_blocks,
    data_product,
    data_products,
)
from hetdask_kernels.curves import frame_curves, frame_gains
from hetdask_kernels.factors import STEEP_RANGE, block_factors, frame_steps
from hetdask_kernels.pixels import residual_sums, tile_residuals, weighted_gram
from hetdask_kernels.prepare import fill_blocks, sum_blocks
from hetdask_kernels.projection import TOGETHER, expand, first_halves, polynomials, polynomials_needed, project
from hetdask_kernels.separable import model_grams
from hetdask_kernels.warmup import warmup_numba_kernels

__all__ = [
    "COMPRESSED",
    "FIRST_ROW",
    "GROUPS",
    "LANES",
    "STEEP_RANGE",
    "TOGETHER",
    "block_factors",
    "contract_blocks",
    "contract_panels",
    "contract_steep_blocks",
    "data_product",
    "data_products",
    "expand",
    "fill_blocks",
    "first_halves",
    "frame_curves",
    "frame_gains",
    "frame_steps",
    "model_grams",
    "panel",
    "polynomials",
    "polynomials_needed",
    "project",
    "residual_sums",
    "sum_blocks",
    "tile_residuals",
    "warmup_numba_kernels",
    "weighted_gram",
]
