"""Compile, or load from Numba's cache, every kernel before it is needed."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from hetdask_kernels._jit import LANES
from hetdask_kernels.contract import contract_tiles, slope_products
from hetdask_kernels.factors import couplings, frame_factors, frame_slopes
from hetdask_kernels.pixels import weighted_gram
from hetdask_kernels.prepare import prepare_tile
from hetdask_kernels.separable import model_gram

_FRAMES = 16
_FREE = 2


def _calls() -> dict[str, Callable[[], object]]:
    """One call of every kernel on tiny arrays, by name."""
    tile = np.zeros((_FRAMES, _FRAMES), dtype=np.float32)
    row, factor, slope = np.ones(_FRAMES), np.ones((4, _FRAMES)), np.ones((_FRAMES, 4, LANES))
    block, steep, sign = np.zeros((1, 2), dtype=np.int64), np.zeros(1, dtype=np.bool_), np.ones(LANES)
    gradients = (np.ones((3, _FRAMES)), np.ones((3, _FRAMES)), np.ones((3, _FRAMES)), np.ones((4, _FRAMES)))
    weight, coupling = factor[:3], np.ones((1, 4))
    gram = np.zeros((_FREE + 3, _FREE + 3))
    return {
        "contract_tiles": lambda: contract_tiles(
            tile[None], block, 0.0, factor, factor, coupling, steep, weight, factor, True
        ),
        "couplings": lambda: couplings(block, _FRAMES, factor[:2], row, steep),
        "frame_factors": lambda: frame_factors(row, row, row, 0.5 * row, row, 1.0, 1.0, _FRAMES),
        "frame_slopes": lambda: frame_slopes(weight, 0.5 * row, row, row, gradients, 1.0, 1.0, 1.0, np.arange(_FREE)),
        "model_gram": lambda: model_gram(factor, weight, row, slope, sign, _FREE),
        "prepare_tile": lambda: prepare_tile(tile.copy(), 0.0),
        "slope_products": lambda: slope_products(factor, factor, slope, sign),
        "weighted_gram": lambda: weighted_gram(
            tile,
            tile > 0.0,
            False,
            False,
            0.0,
            factor,
            factor,
            coupling[0],
            factor,
            weight,
            weight,
            slope,
            slope,
            sign,
            gram,
        ),
    }


def warmup_numba_kernels() -> dict[str, float]:
    """Run every kernel once on tiny arrays, so that later calls find it compiled.

    Returns
    -------
    dict of str to float
        Seconds for each kernel, and their sum as ``total_warmup_time``. Close to zero where
        Numba's cache on disk holds the kernels already.

    Examples
    --------
    >>> warmup_numba_kernels()["total_warmup_time"] > 0.0
    True
    """
    seconds = {}
    for name, call in _calls().items():
        start = time.perf_counter()
        call()
        seconds[name] = time.perf_counter() - start
    seconds["total_warmup_time"] = sum(seconds.values())
    return seconds
