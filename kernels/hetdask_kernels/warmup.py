"""Compile, or load from Numba's cache, every kernel before it is needed."""

from __future__ import annotations

import time

import numpy as np

from hetdask_kernels._jit import LANES
from hetdask_kernels.contract import contract_tiles
from hetdask_kernels.decay import block_decays
from hetdask_kernels.pixels import weighted_gram
from hetdask_kernels.prepare import prepare_tile
from hetdask_kernels.separable import model_gram

_FRAMES = 16
_PARAMETERS = 2


def _contract() -> None:
    tiles = np.zeros((1, _FRAMES, _FRAMES), dtype=np.float32)
    factor = np.ones((4, _FRAMES))
    contract_tiles(
        tiles,
        np.zeros((1, 2), dtype=np.int64),
        0.0,
        factor,
        factor,
        np.ones((1, 4)),
        np.zeros(1, dtype=np.bool_),
        factor[:3],
        factor,
    )


def _model() -> None:
    factor = np.ones((4, _FRAMES))
    model_gram(factor, factor[:3], np.ones(_FRAMES), np.ones((_FRAMES, 4, LANES)), np.ones(LANES), _PARAMETERS)


def _pixels() -> None:
    tile = np.zeros((_FRAMES, _FRAMES), dtype=np.float32)
    factor = np.ones((4, _FRAMES))
    slopes = np.ones((_FRAMES, 4, LANES))
    gram = np.zeros((_PARAMETERS + 3, _PARAMETERS + 3))
    weighted_gram(
        tile, tile, False, False, 0.0, factor, factor, np.ones(4), factor, factor[:3], factor[:3], slopes, slopes,
        np.ones(LANES), gram,
    )


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
    kernels = {
        "block_decays": lambda: block_decays(np.ones((4, _FRAMES)), _FRAMES),
        "contract_tiles": _contract,
        "model_gram": _model,
        "prepare_tile": lambda: prepare_tile(np.zeros((_FRAMES, _FRAMES), dtype=np.float32), 0.0),
        "weighted_gram": _pixels,
    }
    for name, run in kernels.items():
        start = time.perf_counter()
        run()
        seconds[name] = time.perf_counter() - start
    seconds["total_warmup_time"] = sum(seconds.values())
    return seconds
