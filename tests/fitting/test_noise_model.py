"""White noise and speckle number come out of the residuals, with how sure they are."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from numpy.typing import NDArray

from hetdask.data.noise import white_noise
from hetdask.data.reduction import reduce_maps
from hetdask.fitting.cold_start import near_fit
from hetdask.fitting.noise_estimate import find_photons
from hetdask.fitting.noise_evidence import gather
from hetdask.fitting.noise_model import NoiseModel
from hetdask.fitting.problem import Problem, integrable_bounds
from hetdask.fitting.refine import refine
from hetdask.model import NAMES, PARAMETERS, as_vector, simulate_gaussian, simulate_speckle
from hetdask.passes.reduced import ReducedPasses
from hetdask.passes.tiles import Series

FRAMES = 120
TIME = 0.5 * np.arange(FRAMES)
PHI = np.array([0.0, 40.0, 80.0])
Q = 0.0054
FREE = tuple(NAMES.index(name) for name in ("D0_ref", "D0_sample", "v0", "f0", "phi0"))


def truth(decay: float) -> NDArray[np.float64]:
    """Parameters of a reference that decays so many times in the series, and a sample six times as fast."""
    rate = decay / (Q * Q * TIME[-1])
    fringes = 2.0 * np.pi * 4.0 / (Q * TIME[-1])
    flat = {"alpha_ref": 0.0, "alpha_sample": 0.0, "beta": 0.0}
    return as_vector(
        {"D0_ref": rate, "D0_sample": 6.0 * rate, "v0": fringes, "f0": 0.4, "f1": -0.005, "f3": 0.1, "phi0": 20.0}
        | flat
    )


def passes_over(maps: NDArray[np.float64]) -> ReducedPasses:
    """All pixels of the maps."""
    white = np.array([white_noise(pixels) for pixels in maps])
    frames = np.zeros((PHI.size, FRAMES), dtype=np.bool_)
    series = Series(phi=PHI, q=np.full(PHI.size, Q), time=TIME, excluded=frames, baseline=np.ones(PHI.size), tile=32)
    return ReducedPasses(series, reduce_maps(maps, 0, white))


def estimated(vector: NDArray[np.float64], maps: NDArray[np.float64], free: tuple[int, ...] = FREE) -> NoiseModel:
    """The noise that a fit of the maps reports."""
    passes = passes_over(maps)
    white = passes.reduced.white
    lower, upper = np.array([(spec.lower, spec.upper) for spec in PARAMETERS]).T
    problem = Problem(vector, integrable_bounds(lower, 0.0), upper, free, white)
    near = near_fit(passes, problem, refine(passes, problem))
    assert near is not None
    return near.noise


def speckle_maps(decay: float, speckles: int, sigma: float, seed: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    maps = simulate_speckle(truth(decay), TIME, PHI, Q, speckles=speckles, modes=3, rng=rng)
    pixels = np.triu(rng.standard_normal(maps.shape), 1)
    return np.asarray(maps + sigma * (pixels + pixels.transpose(0, 2, 1)))


@pytest.mark.parametrize(
    ("decay", "speckles", "sigma"), [(1.0, 1000, 0.003), (1.0, 300, 0.01), (3.0, 1000, 0.003), (10.0, 1000, 0.01)]
)
@pytest.mark.parametrize("seed", range(2))
def test_white_noise_and_speckle_number_are_recovered(decay: float, speckles: int, sigma: float, seed: int) -> None:
    maps = speckle_maps(decay, speckles, sigma, seed)
    noise = estimated(truth(decay), maps)
    assert np.mean(noise.sigma_white) == pytest.approx(sigma, rel=0.05)
    assert noise.speckles[0] == pytest.approx(speckles, rel=0.3)
    assert np.all(noise.speckles == noise.speckles[0])
    assert np.all(np.abs(noise.sigma_white - sigma) < 4.0 * noise.sigma_white_error)
    assert noise.speckles_range[0, 0] < speckles < noise.speckles_range[0, 1]
    assert noise.at_noise_level


def test_slower_dynamics_leave_a_wider_range_of_speckle_numbers() -> None:
    widths = []
    for decay in (1.0, 0.05):
        maps = speckle_maps(decay, 1000, 0.003, 3)
        low, high = estimated(truth(decay), maps).speckles_range[0]
        assert low < 1000 < high
        widths.append(high / low)
    assert widths[1] > 1.15 * widths[0]


def test_without_speckle_noise_there_is_no_upper_limit_of_their_number() -> None:
    vector = truth(3.0)
    rng = np.random.default_rng(4)
    maps = simulate_gaussian(vector, TIME, PHI, Q, sigma=0.01, rng=rng)
    noise = estimated(vector, maps)
    assert np.mean(noise.sigma_white) == pytest.approx(0.01, rel=0.02)
    assert not noise.sees_speckles
    assert np.all(np.isinf(noise.speckles_range[:, 1]))
    assert noise.at_noise_level


def test_evidence_is_the_same_whether_photon_noise_was_looked_for_or_not() -> None:
    maps = speckle_maps(1.0, 1000, 0.003, 6)
    looked, fresh = (gather(passes_over(maps), truth(1.0), FREE) for _ in range(2))
    photons = find_photons(looked, np.zeros(PHI.size, dtype=np.int64))
    assert np.all(np.isinf(photons))
    for one, other in zip(looked.evidence(photons), fresh.evidence(photons), strict=True):
        np.testing.assert_equal(asdict(one), asdict(other))


def test_a_wrong_model_is_above_the_noise_level() -> None:
    """A velocity that is 30 % off."""
    maps = speckle_maps(1.0, 1000, 0.003, 5)
    wrong = truth(1.0)
    wrong[NAMES.index("v0")] *= 1.3
    assert not estimated(wrong, maps, (NAMES.index("f0"),)).at_noise_level
