"""Reduced maps and cuts are exact means of data and model over the same pixels."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hetdask.data.store import Store
from hetdask.model import as_vector, correlation, dynamics
from hetdask.results.maps import AngleTask, block_size, block_times, cut_frames, model_tile, reduce_angle, symmetric

PARAMETERS = {"D0_ref": 400.0, "D0_sample": 3000.0, "v0": 22.0, "f0": 0.35, "f1": -0.01, "f3": 0.2, "phi0": 4.0}
Array = NDArray[np.float64]


def _block_means(full: Array, block: int) -> Array:
    side = math.ceil(full.shape[0] / block)
    padded = np.full((side * block, side * block), np.nan)
    padded[: full.shape[0], : full.shape[0]] = full
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmean(padded.reshape(side, block, side, block), axis=(1, 3)))


@pytest.mark.parametrize(("frames", "tile", "limit"), [(40, 16, 256), (40, 16, 9), (47, 32, 20), (33, 48, 7)])
def test_block_means_agree_with_brute_force(
    make_store: Callable[..., Store], frames: int, tile: int, limit: int
) -> None:
    store = make_store(n_phi=2, frames=frames, tile=tile)
    values = as_vector(PARAMETERS)
    g = correlation(values, store.time, store.phi, store.q)
    block = block_size(frames, limit)
    for angle in range(2):
        reduced = reduce_angle(AngleTask(angle, 0.3, 1.01), store.path, values, limit)
        data = store.read_map(angle).astype(np.float64)
        model = np.where(np.isfinite(data), 1.01 + 0.3 * g[angle], np.nan)
        np.testing.assert_allclose(reduced.data, _block_means(data, block), rtol=1e-6)
        np.testing.assert_allclose(reduced.model, _block_means(model, block), rtol=1e-6)
        np.testing.assert_allclose(reduced.residual, _block_means(data - model, block), atol=2e-7)
        assert reduced.data.shape[0] <= limit


def test_cuts_are_means_at_constant_lag(make_store: Callable[..., Store]) -> None:
    store = make_store(n_phi=1, frames=150, tile=64)
    values = as_vector(PARAMETERS)
    reduced = reduce_angle(AngleTask(0, 0.3, 1.01), store.path, values)
    data = store.read_map(0)
    for cut, (first, stop) in zip(reduced.cut_data, cut_frames(150), strict=True):
        assert stop - first == 3
        reach = 150 - stop
        for lag in (1, 5, reach):
            assert cut[lag] == pytest.approx(np.nanmean([data[i, i + lag] for i in range(first, stop)]), rel=1e-6)
        assert np.isnan(cut[0])
        assert np.all(np.isnan(cut[reach + 1 :]))


@given(
    st.integers(3, 200),
    st.floats(0.05, 0.95),
    st.floats(-180.0, 180.0),
    st.floats(-1.5, 1.5),
)
def test_model_tile_agrees_with_the_reference(frames: int, part: float, phi: float, alpha: float) -> None:
    parameters = {**PARAMETERS, "alpha_ref": alpha, "D_offset_ref": -30.0}
    time = 0.25 + 0.5 * np.arange(frames)
    d = dynamics(parameters, time)
    g = np.triu(correlation(parameters, time, [phi], 0.0054)[0], 1)
    whole = slice(0, frames)
    np.testing.assert_allclose(np.triu(model_tile(d, phi, 0.0054, whole, whole), 1), g, atol=1e-12)
    edge = max(1, round(part * frames))
    if edge < frames:
        early, late = slice(0, edge), slice(edge, frames)
        np.testing.assert_allclose(model_tile(d, phi, 0.0054, early, late), g[early, late], atol=1e-12)


@given(st.integers(1, 3000), st.integers(1, 300))
def test_blocks_never_exceed_the_limit_and_cover_every_frame(frames: int, limit: int) -> None:
    block = block_size(frames, limit)
    time = np.arange(float(frames))
    centres = block_times(time, block)
    assert centres.size == math.ceil(frames / block) <= limit
    assert centres[0] == pytest.approx((min(block, frames) - 1) / 2)
    assert centres[-1] <= time[-1]


def test_map_without_contrast_has_data_but_no_model(store: Store) -> None:
    reduced = reduce_angle(AngleTask(1, math.nan, math.nan), store.path, as_vector(PARAMETERS))
    assert np.isfinite(reduced.data).any()
    assert not np.isfinite(reduced.model).any()
    assert not np.isfinite(reduced.residual).any()


def test_displayed_map_is_symmetric_with_its_diagonal_from_the_neighbours() -> None:
    upper = np.array([[np.nan, 1.0, 5.0], [np.nan, np.nan, 3.0], [np.nan, np.nan, np.nan]])
    np.testing.assert_array_equal(symmetric(upper), [[1.0, 1.0, 5.0], [1.0, 2.0, 3.0], [5.0, 3.0, 3.0]])


def test_displayed_map_keeps_holes() -> None:
    assert np.all(np.isnan(symmetric(np.full((3, 3), np.nan))))
    assert symmetric(np.array([[7.0]]))[0, 0] == 7.0
