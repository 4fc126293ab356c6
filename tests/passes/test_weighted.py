"""Passes with pixel weights and by time segments: what brute force gives, however the data are cut and spread out."""

from __future__ import annotations

from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hetdask.data.store import Store
from hetdask.data.writers import write_store
from hetdask.model import as_vector, correlation, correlation_gradient, simulate_gaussian
from hetdask.passes import Passes
from hetdask.passes.residuals import cell_size
from hetdask.passes.weighted import HuberLoss, Loss, LossSums, StudentTLoss, Weighting
from hetdask_cluster.runner import InlineRunner, Runner

Array = NDArray[np.float64]

FLOW = {
    "D0_ref": 400.0, "alpha_ref": -0.2, "D0_sample": 1500.0, "alpha_sample": -0.1, "v0": 40.0, "beta": 0.15,
    "f0": 0.35, "f1": -0.015, "f3": 0.15, "phi0": -3.0,
}  # fmt: skip
PHI, Q, DT, N = [0.0, 40.0], 0.0054, 0.5, 90
FREE = (0, 3, 6, 9, 13)
EDGES = (0, 25, 26, 70, N)
CONTRAST, OFFSET, SCALE = (0.28, 0.31), (0.05, -0.02), (0.02, 0.03)
LEFT_OUT = ((), (7, 8, 40))

losses = st.one_of(
    st.builds(HuberLoss, st.floats(0.3, 4.0)),
    st.builds(StudentTLoss, st.floats(1.0, 20.0)),
)


@pytest.fixture(scope="module")
def maps() -> Array:
    rng = np.random.default_rng(11)
    maps = simulate_gaussian(FLOW, DT * np.arange(N), PHI, Q, sigma=0.02, rng=rng)
    hit = np.triu(rng.random(maps.shape) < 0.03, 1)
    maps += 0.6 * (hit | hit.transpose(0, 2, 1))
    maps[1, 20, :] = maps[1, :, 20] = np.nan
    maps[0, 30, 70] = maps[0, 70, 30] = np.nan
    return maps


@pytest.fixture(scope="module")
def store(maps: Array, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_store(tmp_path_factory.mktemp("weighted") / "whole.zarr", maps, phi=PHI, q=Q, dt=DT)


def columns(maps: Array, store: Store, m: int) -> tuple[Array, NDArray[np.bool_]]:
    """Values of (1, g, D, e) at every pixel, and which pixels are data."""
    time = DT * np.arange(N)
    g = correlation(FLOW, time, PHI, Q)[m]
    slopes = correlation_gradient(FLOW, time, PHI, Q)[m][list(FREE)]
    e = maps[m].astype(np.float32).astype(np.float64) - float(store.baseline[m])
    return np.stack([np.ones_like(g), g, *slopes, e]), np.isfinite(e) & np.triu(np.ones((N, N), dtype=bool), 1)


def loss_of(loss: Loss, u: Array) -> Array:
    """The loss, written down once more."""
    if isinstance(loss, HuberLoss):
        k = loss.threshold
        return np.where(np.abs(u) <= k, u**2, 2 * k * np.abs(u) - k**2)
    nu = loss.degrees_of_freedom
    return (nu + 1) * np.log(1 + u**2 / nu)


def brute_force(maps: Array, store: Store, loss: Loss) -> LossSums:
    sums = LossSums.zeros(2, len(FREE), N, 1)
    for m in range(2):
        x, data = columns(maps, store, m)
        u = np.where(data, (x[-1] - OFFSET[m] - CONTRAST[m] * x[1]) / SCALE[m], 0.0)
        step = 1e-4
        up, here, down = (loss_of(loss, u + h) for h in (step, 0.0, -step))
        influence = (up - down) / (4 * step)  # half the derivative
        weight = np.where(
            np.abs(u) > 1e-2, influence / np.where(u == 0.0, 1.0, u), (up + down - 2 * here) / step**2 / 2
        )
        kept = np.ones(N)
        kept[list(LEFT_OUT[m])] = 0.0
        counts = data & (np.outer(kept, kept) > 0.0)
        for target, w in ((sums.plain, 1.0 * data), (sums.weighted, weight * counts)):
            rows = np.where(data, x, 0.0).reshape(x.shape[0], -1)
            target[m] = (rows * w.ravel()) @ rows.T
        sums.n_points[m] = counts.sum()
        sums.loss[m] = here[counts].sum()
        sums.weight[m] = weight[counts].sum()
        sums.influence[m] = (influence**2)[counts].sum()
        sums.weighted_squares[m] = (influence * u)[counts].sum()
        for target, value in ((sums.frame_weight, weight * data), (sums.frame_points, data)):
            target[m] = value.sum(axis=0) + value.sum(axis=1)
        sums.tile_weight[m], sums.tile_points[m] = weight[data].sum(), data.sum()
    return sums


@given(loss=losses)
@settings(max_examples=15)
def test_weighted_sums_are_those_of_brute_force(maps: Array, store: Store, loss: Loss) -> None:
    expected = brute_force(maps, store, loss)
    found = Passes(store, InlineRunner()).weighted(
        as_vector(FLOW), FREE, Weighting(loss, CONTRAST, OFFSET, SCALE, LEFT_OUT)
    )
    for name in ("n_points", "loss", "frame_points", "tile_points"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-9, err_msg=name)
    # Weights by numerical derivatives, which the kink of Huber's loss blurs.
    for name in ("weight", "influence", "weighted_squares", "frame_weight", "tile_weight"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-4, err_msg=name)
    for name, allowed in (("plain", 1e-10), ("weighted", 1e-4)):
        gram = getattr(expected, name)
        norm = np.sqrt(np.einsum("mkk->mk", expected.plain))
        difference = np.abs(getattr(found, name) - gram)
        assert np.all(difference <= allowed * norm[:, :, None] * norm[:, None, :]), name


@given(loss=losses)
@settings(max_examples=20)
def test_slopes_are_half_the_second_derivative_and_the_loss_bounds_the_weighted_squares(loss: Loss) -> None:
    u = np.linspace(-9.0, 9.0, 400)
    value, weight, slope = loss.terms(u * u)
    np.testing.assert_allclose(value, loss_of(loss, u), rtol=1e-11)
    step = 1e-4
    second = (loss_of(loss, u + step) + loss_of(loss, u - step) - 2 * value) / (2 * step**2)
    kink = np.abs(np.abs(u) - getattr(loss, "threshold", np.inf)) < 2 * step
    np.testing.assert_allclose(slope[~kink], second[~kink], atol=2e-6)
    # What makes a trust region's small problem of the same value possible.
    assert np.all(value >= weight * u * u - 1e-12)


def sums_close(found: Array, expected: Array, scale: Array) -> None:
    norm = np.sqrt(np.einsum("...kk->...k", scale))
    assert np.all(np.abs(found - expected) <= 1e-10 * norm[..., :, None] * norm[..., None, :])


def test_sums_by_segments_are_those_of_brute_force(maps: Array, store: Store) -> None:
    found = Passes(store, InlineRunner()).by_segments(as_vector(FLOW), FREE, EDGES)
    total = found.total().gram
    for m in range(2):
        x, data = columns(maps, store, m)
        for i, (top, bottom) in enumerate(pairwise(EDGES)):
            for j, (left, right) in enumerate(pairwise(EDGES)):
                part = np.zeros_like(data)
                part[top:bottom, left:right] = True
                rows = x[:, data & part]
                sums_close(found.gram[i, j, m], rows @ rows.T, total[m])


@given(
    tile=st.sampled_from([16, 48, 96]),
    shard_bytes=st.sampled_from([1, 20_000, 10**9]),
    resident=st.booleans(),
    loss=losses,
)
@settings(max_examples=10)
def test_any_chunking_resident_or_streamed_gives_the_same_sums(
    maps: Array,
    store: Store,
    tmp_path_factory: pytest.TempPathFactory,
    tile: int,
    shard_bytes: int,
    resident: bool,
    loss: Loss,
) -> None:
    path = tmp_path_factory.mktemp("cut") / "cut.zarr"
    cut = write_store(path, maps, phi=PHI, q=Q, dt=DT, tile=tile, shard_bytes=shard_bytes)
    vector, weighting = as_vector(FLOW), Weighting(loss, CONTRAST, OFFSET, SCALE, LEFT_OUT)
    whole, pieces = (Passes(one, InlineRunner(), resident_bytes=None if resident else 0) for one in (store, cut))
    expected, found = (passes.weighted(vector, FREE, weighting) for passes in (whole, pieces))
    for entry in fields(LossSums):
        one, other = getattr(found, entry.name), getattr(expected, entry.name)
        if entry.name in {"plain", "weighted"}:
            sums_close(one, other, expected.plain)
        elif not entry.name.startswith("tile"):
            np.testing.assert_allclose(one, other, rtol=1e-9)
    sums_close(
        pieces.by_segments(vector, FREE, EDGES).gram,
        whole.by_segments(vector, FREE, EDGES).gram,
        expected.plain,
    )


def test_workers_give_the_same_weighted_sums(store: Store, dask_runner: Runner) -> None:
    vector, weighting = as_vector(FLOW), Weighting(HuberLoss(1.345), CONTRAST, OFFSET, SCALE, LEFT_OUT)
    one, other = (Passes(store, runner) for runner in (InlineRunner(), dask_runner))
    sums = [passes.weighted(vector, FREE, weighting) for passes in (one, other)]
    for entry in fields(LossSums):
        np.testing.assert_allclose(getattr(sums[1], entry.name), getattr(sums[0], entry.name), rtol=1e-12)
    segments = [passes.by_segments(vector, FREE, EDGES).gram for passes in (one, other)]
    sums_close(segments[1], segments[0], sums[0].plain)


def test_sums_of_residuals_are_those_of_brute_force_for_any_tiles(maps: Array, tmp_path: Path) -> None:
    limit = np.array([0.05, 0.03])
    for tile, resident in ((16, None), (64, None), (64, 0)):
        store = write_store(tmp_path / f"{tile}-{resident}.zarr", maps, phi=PHI, q=Q, dt=DT, tile=tile)
        passes = Passes(store, InlineRunner(), resident_bytes=resident)
        sums = passes.residuals(as_vector(FLOW), np.array(CONTRAST), np.add(OFFSET, store.baseline), limit)
        cell, side = cell_size(passes.series), sums.cells.shape[-1]
        for m in range(2):
            x, data = columns(maps, store, m)
            e = np.where(data, x[-1] - OFFSET[m] - CONTRAST[m] * x[1], 0.0)
            for kind, values in enumerate((data, e, e**2, np.abs(e) > limit[m])):
                by_frame = values.sum(axis=0) + values.sum(axis=1)
                np.testing.assert_allclose(sums.frames[m, kind], by_frame, atol=1e-6)
                padded = np.zeros((side * cell, side * cell))
                padded[:N, :N] = values
                by_cell = padded.reshape(side, cell, side, cell).sum(axis=(1, 3))
                np.testing.assert_allclose(sums.cells[m, kind], by_cell, atol=1e-6)
