"""The white noise estimate is accurate, robust and blind to the signal."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetdask.data.noise import white_noise
from hetdask.model import simulate_gaussian


def gaussian(n_frames: int, seed: int, sigma: float = 0.01) -> np.ndarray:
    return 1 + sigma * np.random.default_rng(seed).standard_normal((n_frames, n_frames))


@pytest.mark.parametrize("seed", range(5))
def test_gaussian_noise_is_found_within_one_percent(seed: int) -> None:
    assert white_noise(gaussian(300, seed)) == pytest.approx(0.01, rel=0.01)


def test_it_is_unbiased() -> None:
    estimates = [white_noise(gaussian(120, seed)) for seed in range(60)]
    error = np.std(estimates) / math.sqrt(len(estimates))
    assert np.mean(estimates) == pytest.approx(0.01, abs=4 * error)
    assert error < 0.002 * 0.01


@pytest.mark.parametrize("seed", range(4))
def test_the_reduced_chi_squared_of_five_maps_is_one(seed: int) -> None:
    above = np.triu_indices(300, 1)
    maps = [gaussian(300, 5 * seed + k) for k in range(5)]
    reduced = [np.mean((pixels[above] - 1) ** 2) / white_noise(pixels) ** 2 for pixels in maps]
    assert np.mean(reduced) == pytest.approx(1, abs=0.02)


def test_outliers_do_not_count() -> None:
    pixels = gaussian(300, 1)
    rng = np.random.default_rng(2)
    pixels[rng.random(pixels.shape) < 0.03] += 5
    assert white_noise(pixels) == pytest.approx(0.01, rel=0.02)


def test_decay_ageing_and_drift_do_not_count() -> None:
    frames = np.arange(300)
    lag, age = np.abs(frames[:, None] - frames), frames[:, None] + frames
    signal = 0.3 * np.exp(-lag / 20) + 0.1 * np.cos(age / 600 * 2 * np.pi) + 0.01 * age
    assert white_noise(signal + gaussian(300, 3)) == pytest.approx(0.01, rel=0.02)


def test_missing_pixels_and_dead_frames_are_left_out() -> None:
    pixels = gaussian(300, 4)
    pixels[17] = pixels[:, 17] = np.nan
    pixels[np.random.default_rng(5).random(pixels.shape) < 0.2] = np.nan
    assert white_noise(pixels) == pytest.approx(0.01, rel=0.02)


def test_only_pixels_above_the_diagonal_count() -> None:
    pixels = gaussian(100, 6)
    assert white_noise(np.triu(pixels, 1)) == white_noise(pixels)


def test_a_map_without_noise_has_none() -> None:
    assert white_noise(np.ones((50, 50))) == 0


def test_a_map_without_neighbours_has_no_estimate() -> None:
    assert math.isnan(white_noise(np.full((10, 10), np.nan)))


def test_of_a_large_map_some_lags_are_enough() -> None:
    pixels = gaussian(2400, 7).astype(np.float32)
    assert white_noise(pixels) == pytest.approx(0.01, rel=0.004)
    assert white_noise(pixels) == white_noise(pixels)


@given(scale=st.floats(1e-6, 1e6), offset=st.floats(-10, 10))
@settings(max_examples=20, deadline=None)
def test_it_scales_with_the_data_and_ignores_their_level(scale: float, offset: float) -> None:
    pixels = gaussian(40, 8) - 1
    assert white_noise(scale * (pixels + offset)) == pytest.approx(scale * white_noise(pixels), rel=1e-6)


def test_fringes_of_an_accelerating_flow_are_no_noise() -> None:
    """At constant lag the phase moves by up to 0.1 rad per frame: first differences would count that."""
    time = 0.13 * np.arange(300)
    flow = {"v0": 3.0, "beta": 1.2, "v_offset": 60.0, "D0_ref": 10.0, "D0_sample": 10.0, "f0": 0.5, "f3": 0.0}
    rng = np.random.default_rng(0)
    c2 = simulate_gaussian(flow, time, [0.0], 0.0054, contrast=0.3, sigma=0.002, rng=rng)[0]
    assert white_noise(c2) == pytest.approx(0.002, rel=0.02)
