"""The oracle itself: against the written formula, its limits, its derivatives, and simulated fields."""

from __future__ import annotations

import numpy as np
import pytest

from hetdask.errors import ConfigError
from hetdask.model import (
    NAMES,
    as_vector,
    correlation,
    correlation_gradient,
    dynamics,
    simulate_gaussian,
    simulate_speckle,
)

TIME = 0.5 * np.arange(40)
PHI = np.array([0.0, 35.0, 90.0])
Q = 0.0054
FLOW = {
    "D0_ref": 400.0, "alpha_ref": -0.2, "D_offset_ref": 10.0,
    "D0_sample": 1500.0, "alpha_sample": -0.1, "D_offset_sample": 20.0,
    "v0": 40.0, "beta": 0.15, "v_offset": 2.0,
    "f0": 0.35, "f1": -0.015, "f2": 1.0, "f3": 0.15, "phi0": -3.0,
}  # fmt: skip
SLOW = {**FLOW, "D0_ref": 15.0, "alpha_ref": 0.3, "D_offset_ref": 0.0, "v0": -25.0, "f1": 0.02, "phi0": 40.0}
CROSSING = {**FLOW, "D0_ref": 100.0, "alpha_ref": 1.0, "D_offset_ref": -300.0, "f0": 0.02, "f1": 0.2, "f3": 0.05}


@pytest.mark.parametrize("parameters", [FLOW, SLOW, CROSSING])
def test_the_formula_written_pixel_by_pixel(parameters: dict[str, float]) -> None:
    g = correlation(parameters, TIME, PHI, Q)
    d = dynamics(parameters, TIME)
    s, r = d.fraction, 1.0 - d.fraction
    n = r**2 + s**2
    for m, phi in enumerate(PHI):
        kappa = Q * np.cos(np.deg2rad(parameters["phi0"] - phi))
        for i, j in [(0, 1), (3, 30), (12, 13), (20, 39), (7, 7)]:
            ref, sample = d.c_ref[j] - d.c_ref[i], d.c_sample[j] - d.c_sample[i]
            value = (r[i] * r[j]) ** 2 * np.exp(-(Q**2) * ref) + (s[i] * s[j]) ** 2 * np.exp(-(Q**2) * sample)
            value += (
                2 * r[i] * r[j] * s[i] * s[j] * np.exp(-0.5 * Q**2 * (ref + sample))
                * np.cos(kappa * (d.displacement[j] - d.displacement[i]))
            )  # fmt: skip
            assert g[m, i, j] == pytest.approx(value / (n[i] * n[j]), rel=1e-13)
            assert g[m, j, i] == g[m, i, j]


def test_g_is_one_on_the_diagonal_and_stays_within_one() -> None:
    g = correlation(FLOW, TIME, PHI, Q)
    np.testing.assert_allclose(np.einsum("mii->mi", g), 1.0, rtol=1e-14)
    assert np.all(np.abs(g) <= 1.0 + 1e-14)


@pytest.mark.parametrize("parameters", [FLOW, SLOW, CROSSING])
def test_derivatives_agree_with_differences(parameters: dict[str, float]) -> None:
    vector = as_vector(parameters)
    gradient = correlation_gradient(vector, TIME, PHI, Q)
    upper = np.triu(np.ones((TIME.size, TIME.size), dtype=bool), 1)
    for k, name in enumerate(NAMES):
        step = 1e-6 * max(abs(vector[k]), 1.0)
        shift = np.eye(14)[k] * step
        numeric = (correlation(vector + shift, TIME, PHI, Q) - correlation(vector - shift, TIME, PHI, Q)) / (2 * step)
        scale = np.abs(gradient[:, k]).max()
        assert scale > 0.0, name
        np.testing.assert_allclose(gradient[:, k][:, upper], numeric[:, upper], atol=3e-6 * scale, err_msg=name)


def test_equivalent_parameters_give_the_same_data() -> None:
    g = correlation(FLOW, TIME, PHI, Q)
    turned = {**FLOW, "phi0": FLOW["phi0"] + 180.0}
    backwards = {**FLOW, "v0": -FLOW["v0"], "v_offset": -FLOW["v_offset"]}
    gauge = {**FLOW, "f2": 0.0, "f0": FLOW["f0"] * np.exp(-FLOW["f1"] * FLOW["f2"])}
    for same in (turned, backwards, gauge):
        np.testing.assert_allclose(correlation(same, TIME, PHI, Q), g, atol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize(("parameters", "modes"), [(FLOW, 1), (SLOW, 2), (CROSSING, 3)])
def test_simulated_speckles_follow_the_formula(parameters: dict[str, float], modes: int) -> None:
    """Fields that know nothing of the formula average to it within their own scatter over repetitions."""
    rng = np.random.default_rng(5)
    time = TIME[::2]
    speckles, repeats = 2000, 24
    maps = np.stack(
        [simulate_speckle(parameters, time, PHI, Q, speckles=speckles, modes=modes, rng=rng) for _ in range(repeats)]
    )
    upper = np.triu_indices(time.size, 1)
    mean, error = (x[:, *upper] for x in (maps.mean(0), maps.std(0, ddof=1) / np.sqrt(repeats)))
    expected = 1.0 + correlation(parameters, time, PHI, Q)[:, *upper] / modes
    # c2 is a ratio of averages: its bias is of order 1/speckles.
    pulls = (mean - expected) / np.hypot(error, 2.0 / speckles / modes)
    assert np.abs(pulls).max() < 6.0
    assert np.mean(pulls**2) < 4.0  # the pixels of one map are far from independent
    assert np.abs(mean - expected).max() < 0.03 / modes


def test_photon_counts_put_shot_noise_on_the_diagonal_only() -> None:
    rng = np.random.default_rng(1)
    maps = simulate_speckle(FLOW, TIME[:6], [0.0], Q, speckles=20000, modes=2, photons=0.5, rng=rng)
    assert np.all(np.diag(maps[0]) > 2.5)
    assert np.all(maps[0][np.triu_indices(6, 1)] < 1.6)


def test_gaussian_noise_has_the_given_level_and_is_symmetric() -> None:
    rng = np.random.default_rng(2)
    maps = simulate_gaussian(
        FLOW, TIME, PHI, Q, contrast=[0.1, 0.2, 0.3], offset=1.1, sigma=[0.01, 0.02, 0.03], rng=rng
    )
    clean = correlation(FLOW, TIME, PHI, Q)
    upper = np.triu_indices(TIME.size, 1)
    for m, (contrast, sigma) in enumerate([(0.1, 0.01), (0.2, 0.02), (0.3, 0.03)]):
        noise = maps[m] - 1.1 - contrast * clean[m]
        assert np.std(noise[upper]) == pytest.approx(sigma, rel=0.1)
        np.testing.assert_array_equal(maps[m], maps[m].T)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: correlation(FLOW, TIME[::-1], PHI, Q), "time axis"),
        (lambda: correlation(FLOW, TIME, PHI, -Q), "q must be positive"),
        (lambda: correlation(FLOW, TIME, PHI, [Q, Q]), "one per angle"),
        (lambda: correlation({"v_ofset": 3.0}, TIME, PHI, Q), "did you mean 'v_offset'"),
        (lambda: correlation({"v0": float("nan")}, TIME, PHI, Q), "not a finite number"),
        (lambda: correlation([1.0, 2.0], TIME, PHI, Q), "expected 14 values"),
        (lambda: simulate_speckle(FLOW, TIME, PHI, Q, speckles=1, rng=np.random.default_rng()), "speckles >= 2"),
    ],
)
def test_bad_input_says_what_was_expected(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match=message):
        call()
