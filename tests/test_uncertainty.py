"""Errors that a result reports, and what it says about parameters that the data do not determine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hetdask
from hetdask.data.writers import write_store
from hetdask.fitting.uncertainty import simulated_covariance
from hetdask.model import simulate_gaussian, simulate_speckle
from hetdask.results import Result
from hetdask.results.report import render_report
from hetdask.results.sections import Page
from hetdask.results.summary import as_text, summary
from hetdask.results.wording import parameter_note

FLOW = {
    "D0_ref": 3000.0, "alpha_ref": -0.1, "D0_sample": 10000.0, "alpha_sample": 0.1, "v0": 60.0, "beta": 0.15,
    "f0": 0.3, "f1": -0.03, "f3": 0.2, "phi0": -3.0,
}  # fmt: skip
OFFSETS = ("D_offset_ref", "D_offset_sample", "v_offset", "f2")
PHI, Q, DT, FRAMES = (0.0, 30.0, 60.0, 90.0), 0.0054, 0.75, 64
TIME = DT * np.arange(FRAMES)


def fit(folder: Path, maps: np.ndarray, truth: dict[str, float], *free: str) -> Result:
    """Fit from the truth; offsets and f2 move only if they are named."""
    store = write_store(folder / "data.zarr", maps, phi=PHI[: maps.shape[0]], q=Q, dt=DT)
    parameters = {name: {"value": value} for name, value in truth.items()}
    parameters |= {name: {"value": 0.0, "fixed": name not in free} for name in OFFSETS}
    return hetdask.fit(store, {"parameters": parameters, "fit": {"tolerance": 1e-6}})


def speckles(truth: dict[str, float], count: int = 5000, seed: int = 4) -> np.ndarray:
    return simulate_speckle(truth, TIME, PHI, Q, speckles=count, modes=3, rng=np.random.default_rng(seed))


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return fit(tmp_path_factory.mktemp("ordinary"), speckles(FLOW), FLOW)


def test_speckle_errors_are_several_times_those_of_independent_pixels(ordinary: Result) -> None:
    assert ordinary.errors == "speckle"
    assert "as predicted" in ordinary.errors_note
    for name, value in FLOW.items():
        parameter = ordinary.parameters[name]
        assert parameter.stderr is not None
        assert parameter.stderr_iid is not None
        assert parameter.stderr > 3.0 * parameter.stderr_iid
        assert abs(parameter.value - value) < 4.0 * parameter.stderr
    assert ordinary.identifiability.rank == len(FLOW)
    assert ordinary.identifiability.weak == []
    text = as_text(summary(ordinary), 1000)
    assert "± iid" in text
    assert "as predicted" in text


@pytest.mark.parametrize(("first", "second", "white"), [(1.0, np.nan, 1.0), (1.0, 1.0, -2.0), (1e30, -1e30, 1e-9)])
def test_covariances_without_sense_ask_for_a_bounded_number_of_speckles(
    first: float, second: float, white: float
) -> None:
    asked = []

    def covariances(_: tuple[int, ...], count: np.ndarray) -> np.ndarray:
        asked.append(count)
        return np.array([first, second])[:, None, None]

    simulated_covariance(covariances, 2, white * np.eye(1), 0)
    most = simulated_covariance(lambda *_: np.ones((2, 1, 1)), 2, np.zeros((1, 1)), 0)
    assert most == pytest.approx(2.0)
    assert all(count.min() >= 0 and count.max() < 10_000 for count in asked)


def test_without_speckle_noise_the_errors_are_those_of_independent_pixels(tmp_path: Path) -> None:
    maps = simulate_gaussian(FLOW, TIME, PHI, Q, sigma=0.02, rng=np.random.default_rng(8))
    result = fit(tmp_path, maps, FLOW)
    for name in FLOW:
        parameter = result.parameters[name]
        assert parameter.stderr is not None
        assert parameter.stderr_iid is not None
        # So few frames can't exclude that a part of the noise is that of speckles.
        assert 0.95 < parameter.stderr / parameter.stderr_iid < 1.6, name


def test_smoothed_maps_are_said_not_to_follow_speckle_statistics(tmp_path: Path) -> None:
    maps = simulate_gaussian(FLOW, TIME, PHI, Q, sigma=0.02, rng=np.random.default_rng(8))
    smooth = sum(np.roll(maps, (k, m), axis=(1, 2)) for k in range(-2, 3) for m in range(-2, 3)) / 25.0
    result = fit(tmp_path, smooth[:, 3:-3, 3:-3], FLOW)
    assert "take the errors as a guess" in result.errors_note
    assert "take the errors as a guess" in as_text(summary(result), 1000)
    assert "take the errors as a guess" in render_report(Page(result))


@pytest.mark.parametrize(
    ("change", "free", "text", "marked"),
    [
        ({}, "f2", "only f0·exp(-f1·f2) is determined", {"f0", "f2"}),
        ({"alpha_ref": 0.0}, "D_offset_ref", "only D0_ref + D_offset_ref", {"D0_ref", "D_offset_ref", "alpha_ref"}),
        (
            {"alpha_sample": 0.0},
            "D_offset_sample",
            "only D0_sample + D_offset_sample",
            {"D0_sample", "D_offset_sample", "alpha_sample"},
        ),
        ({"beta": 0.0}, "v_offset", "only v0 + v_offset", {"v0", "v_offset", "beta"}),
        ({"f1": 0.0}, "f0", "only f0 + f3", {"f0", "f3", "f1"}),
        ({"f1": 0.0}, "f2", "f2 is not determined", {"f0", "f3", "f1", "f2"}),
    ],
)
def test_degenerate_directions_are_named_and_their_parameters_get_no_error(
    tmp_path: Path, change: dict[str, float], free: str, text: str, marked: set[str]
) -> None:
    truth = FLOW | change
    result = fit(tmp_path, speckles(truth), truth, free)
    found = [weak.text for weak in result.identifiability.weak]
    assert any(one.startswith(text) for one in found), found
    moved = [name for name, parameter in result.parameters.items() if not parameter.fixed]
    assert result.identifiability.rank == len(moved) - len(found)
    assert text[1:] in render_report(Page(result))
    assert text[1:] in as_text(summary(result), 400)
    for name in moved:
        parameter = result.parameters[name]
        assert parameter.identified == (name not in marked), name
        assert (parameter.stderr is None) == (name in marked), name
        assert ("not determined" in parameter_note(parameter)) == (name in marked), name


def test_a_rate_may_be_known_where_its_parts_are_not(tmp_path: Path) -> None:
    truth = FLOW | {"alpha_ref": 0.0}
    data = fit(tmp_path, speckles(truth), truth, "D_offset_ref", "f2").to_xarray()
    for name in ("J_ref", "J_sample", "velocity", "fraction"):
        error = data[f"{name}_stderr"].to_numpy()[5:]
        size = np.abs(data[name].to_numpy()[5:]).max()
        assert np.all(np.isfinite(error)), name
        assert np.all((error > 0.0) & (error < 0.5 * size)), name
    assert data["J_ref_stderr"].attrs["units"] == "Å²/s"
    assert abs(float(data["J_ref"][40]) - 3000.0) < 4.0 * float(data["J_ref_stderr"][40])


def test_flow_that_may_be_aliased_and_fractions_that_are_clipped_are_reported(tmp_path: Path) -> None:
    truth = FLOW | {"v0": 440.0, "beta": 0.0, "f0": 1.4, "f1": -0.01, "f3": 0.0}
    maps = simulate_gaussian(truth, TIME, PHI, Q, sigma=0.01, rng=np.random.default_rng(2))
    store = write_store(tmp_path / "data.zarr", maps, phi=PHI, q=Q, dt=DT)
    parameters = {name: {"value": value} for name, value in truth.items()} | {"f0": {"value": 1.4, "max": 2.0}}
    parameters |= {name: {"value": 0.0, "fixed": True} for name in OFFSETS}
    result = hetdask.fit(
        store, {"parameters": parameters, "fit": {"active_parameters": ["D0_ref", "D0_sample", "v0", "f0"]}}
    )
    aliased, clipped = result.identifiability.cautions
    found = {name: parameter.value for name, parameter in result.parameters.items()}
    turn = np.degrees(Q * np.cos(np.radians(found["phi0"])) * found["v0"] * DT)
    share = np.mean(found["f0"] * np.exp(found["f1"] * TIME) >= 1.0)
    assert 90.0 < turn < 180.0
    assert aliased.startswith(f"the flow turns the phase by up to {turn:.0f}° from frame to frame at phi = 0°")
    assert 0.5 < share < 0.9
    assert f"clipped on {share:.0%} of the frames to 1" in clipped
    assert all(caution[5:] in as_text(summary(result), 1000) for caution in result.identifiability.cautions)
