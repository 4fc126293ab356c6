"""Compile, or load from Numba's cache, every kernel before it is needed."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from hetdask_kernels._jit import LANES
from hetdask_kernels.block_sums import block_sums, weighted_products
from hetdask_kernels.blocks import Nodes, block_model
from hetdask_kernels.compress import contract_panels
from hetdask_kernels.contract import (
    COMPRESSED,
    contract_blocks,
    contract_steep_blocks,
    data_product,
    data_products,
)
from hetdask_kernels.curves import frame_curves, frame_gains
from hetdask_kernels.factors import block_factors, frame_steps
from hetdask_kernels.fields import field_intensity
from hetdask_kernels.pixels import residual_sums, tile_residuals, weighted_gram
from hetdask_kernels.prepare import fill_blocks, sum_blocks
from hetdask_kernels.projection import expand, polynomials_needed, project
from hetdask_kernels.scores import model_rows, pair_sums
from hetdask_kernels.separable import model_grams
from hetdask_kernels.speckles import (
    block_covariance,
    block_variance,
    mean_decay,
    pair_products,
    photon_covariance,
    photon_variance,
    stencil_variance,
)

_FRAMES = 16


def kernel_calls() -> dict[str, Callable[[], object]]:
    """One call of every kernel on tiny arrays, by name."""
    tile, mask = np.zeros((1, _FRAMES, _FRAMES), dtype=np.float32), np.zeros((_FRAMES, _FRAMES), dtype=np.bool_)
    blocks, no = np.zeros((1, 2), dtype=np.int64), np.zeros(1, dtype=np.bool_)
    keep, factor, step = np.ones(_FRAMES), np.ones((4, _FRAMES)), np.ones((_FRAMES, 4))
    amplitude, gain = np.ones((_FRAMES, 6)), np.ones((_FRAMES, LANES))
    rows, laws = np.zeros(1, dtype=np.int64), np.ones((3, 6))
    which, place, factors = (no, no, no), (factor[:2], keep), factor[None]
    halves, used = np.ones((8, _FRAMES // 2)), np.zeros((1, 2), dtype=np.int64)
    block = (tile, np.zeros((1, 3), dtype=np.int64), blocks, _FRAMES, 0.0)

    def contract() -> None:
        contract_blocks(*block, True, factor, factor, *which, *place, factor.copy(), factor.copy())

    def contract_compressed() -> None:
        panels, all_of_it = np.array([[0, 0, 1]]), (~no, ~no, no)
        values, sums = np.ones(_FRAMES * _FRAMES), (factor.copy(), factor.copy())
        shape = (_FRAMES, _FRAMES, np.array([8, _FRAMES]), COMPRESSED, True)
        contract_panels(values, panels, *shape, factor, factor, *all_of_it, _FRAMES, *place, *sums)

    def contract_steep() -> None:
        contract_steep_blocks(*block, *which, amplitude, step, factor.copy(), factor.copy())

    def pixels() -> None:
        weighted_gram(
            tile[0], mask.astype(np.float64), False, False, 0.0, factor[:2], keep, 0, 0, factor, factor, step,
            amplitude, amplitude, gain, gain, np.zeros((LANES + 3, LANES + 3)),
        )  # fmt: skip

    def residuals() -> None:
        frames, missing = np.ones(_FRAMES, dtype=np.bool_), np.zeros((0, 0), dtype=np.bool_)
        shape, out, valid = (False, False, factor[:2], keep, 0, 0), np.zeros((_FRAMES, _FRAMES)), mask.copy()
        place = (*shape, factor, factor, step, amplitude, amplitude)
        for lost in (missing, mask):
            tile_residuals(tile[0], 1.0, 1.0, frames, frames, lost, *place, out, valid)
        residual_sums(out, valid, 1.0, 0, 0, _FRAMES, factor.copy(), np.ones((4, 1, 1)))

    def reduced() -> None:
        two, nodes = np.zeros((1, 1)), Nodes(1, np.array([0, 1]), rows, rows, rows + 1)
        motion, slopes = (keep[:1], keep[:1], keep[:1]), (gain[:1], np.zeros((4, 1)), np.ones(1))
        block_model(motion, keep[:1], keep[:1], 1.0, 1.0, slopes, nodes, np.zeros((0, 3), dtype=np.int64), keep[:1])
        block_sums(tile[0], 0, 0, 0.0, rows, rows, rows + 1, np.zeros((3, 1)))
        weighted_products(two, keep[:1])

    def fields() -> None:
        normal = np.ones((1, 2, 1), dtype=np.complex128)
        field_intensity(normal, factor[:1, :2], factor[:1, :2], normal[..., 0], normal[0], np.ones((1, 1)))

    def speckles() -> None:
        single, chain = np.ones((2, 2)), np.ones((2, 2, 2, 2), dtype=np.complex128)
        block_covariance(rows, rows, single, chain, 0.5)
        block_variance(rows, rows, single, chain, 0.5)
        stencil_variance(np.ones(1), single[None], chain[None], 0.5)

    def photons() -> None:
        nodes, coherence = np.array([[0, 1, 1]]), (np.ones((2, 2)), np.ones((2, 2, 2, 2), dtype=np.complex128))
        photon_covariance(rows, rows, nodes, keep, *coherence, 0.5)
        photon_variance(rows, rows, nodes, keep, *coherence, 0.5)

    return {
        # What takes longest to compile comes first, while other processes compile the rest.
        "block_model": reduced,
        "model_grams": lambda: model_grams(
            step[None], amplitude, keep[None], gain, rows, np.zeros((1, LANES + 3, LANES + 3))
        ),
        "contract_blocks": contract,
        "project": lambda: project(factors, keep, halves, used, False, _FRAMES, 8, factor[None].copy()),
        "expand": lambda: expand(factors, halves, _FRAMES, 8, no[None], used, factor[None].copy()),
        "contract_panels": contract_compressed,
        "model_rows": lambda: model_rows(step, amplitude, keep, gain),
        "weighted_gram": pixels,
        "tile_residuals": residuals,
        "block_covariance": speckles,
        "photon_covariance": photons,
        "data_products": lambda: data_products(*[factors] * 4, amplitude, gain, rows, np.zeros((1, LANES + 1))),
        "pair_sums": lambda: pair_sums(step, amplitude, gain, keep[None]),
        "block_factors": lambda: block_factors(step[None], amplitude, _FRAMES),
        "contract_steep_blocks": contract_steep,
        "field_intensity": fields,
        "frame_gains": lambda: frame_gains(keep, keep, laws, keep[:4], keep, factor[:3], keep, _FRAMES),
        "frame_curves": lambda: frame_curves(keep, keep, laws, keep[:4]),
        "data_product": lambda: data_product(factors, factors, amplitude, rows, np.zeros((1, LANES + 1))),
        "mean_decay": lambda: mean_decay(keep, keep, 1),
        "polynomials_needed": lambda: polynomials_needed(factors, 8, _FRAMES, 8, 0.0, no[None].copy(), used.copy()),
        "sum_blocks": lambda: sum_blocks(tile[0], blocks, _FRAMES, 0.0, rows.copy()),
        "pair_products": lambda: pair_products(gain, rows, rows, keep[:1].copy()),
        "fill_blocks": lambda: fill_blocks(tile[0], blocks, _FRAMES, 0.0),
        "frame_steps": lambda: frame_steps(keep, keep, keep, np.ones(1), np.ones(1)),
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
    for name, call in kernel_calls().items():
        start = time.perf_counter()
        call()
        seconds[name] = time.perf_counter() - start
    seconds["total_warmup_time"] = sum(seconds.values())
    return seconds
