"""Fits weighted with the covariance of speckle noise: better where there is some, and never taken on trust."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

import hetdask
from hetdask.data.writers import write_store
from hetdask.errors import ConfigError
from hetdask.model import simulate_gaussian, simulate_speckle
from hetdask.results import Result
from hetdask.results.report import render_report
from hetdask.results.sections import Page
from hetdask.results.summary import as_text, summary

SLOW = {
    "D0_ref": 3000.0, "alpha_ref": -0.1, "D0_sample": 10000.0, "alpha_sample": 0.1, "v0": 60.0, "beta": 0.15,
    "f0": 0.3, "f1": -0.03, "f3": 0.2, "phi0": -3.0,
}  # fmt: skip
OFFSETS = ("D_offset_ref", "D_offset_sample", "v_offset", "f2")
PHI, Q, DT, FRAMES = (0.0, 30.0, 60.0, 90.0), 0.0054, 0.75, 64
TIME = DT * np.arange(FRAMES)
SEEDS = range(6)


def speckles(seed: int) -> NDArray[np.float64]:
    return simulate_speckle(SLOW, TIME, PHI, Q, speckles=5000, modes=3, rng=np.random.default_rng(seed))


def fit(folder: Path, maps: NDArray[np.float64], **options: object) -> Result:
    store = write_store(folder / "data.zarr", maps, phi=PHI, q=Q, dt=DT)
    parameters = {name: {"value": value} for name, value in SLOW.items()}
    parameters |= {name: {"value": 0.0, "fixed": True} for name in OFFSETS}
    settings = {"parameters": parameters, "fit": {"weights": "speckle", "remember": False, **options}}
    return hetdask.fit(store, settings)


@pytest.fixture(scope="module")
def weighted(tmp_path_factory: pytest.TempPathFactory) -> list[Result]:
    return [fit(tmp_path_factory.mktemp("weighted"), speckles(seed)) for seed in SEEDS]


def test_weighted_estimates_scatter_less_and_their_errors_say_so(weighted: list[Result]) -> None:
    used = [result for result in weighted if result.weighting is not None and result.weighting.used == "speckle"]
    assert not any(any(result.weighting.drift) for result in used if result.weighting)
    assert len(used) >= len(weighted) - 1
    gains, ratios, pulls = [], [], []
    for name, truth in SLOW.items():
        rows = [(result.parameters[name], result.weighting.plain[name]) for result in used if result.weighting]
        off = np.array([one.value - truth for one, _ in rows])
        plain = np.array([other.value - truth for _, other in rows])
        errors = np.array([[one.stderr, other.stderr] for one, other in rows], dtype=np.float64)
        gains.append(np.sqrt(np.mean(off**2) / np.mean(plain**2)))
        ratios.append(np.median(errors[:, 0] / errors[:, 1]))
        pulls.extend(off / errors[:, 0])
    assert np.exp(np.mean(np.log(gains))) < 0.8, gains
    assert np.exp(np.mean(np.log(ratios))) < 0.8, ratios
    assert 0.6 < np.sqrt(np.mean(np.square(pulls))) < 1.5


def test_result_and_report_show_both_weights(weighted: list[Result]) -> None:
    result = weighted[0]
    assert result.weighting is not None
    assert set(result.weighting.plain) == set(SLOW)
    text = as_text(summary(result), 1000)
    assert "Weights" in text
    assert "weighted with the covariance" in text
    dataset = result.to_xarray()
    assert dataset.attrs["weights"] == "speckle"
    assert float(dataset["plain_value"].sel(parameter="v0")) == result.weighting.plain["v0"].value
    page = render_report(Page(result, None))
    assert 'id="weights"' in page
    assert Result.model_validate_json(result.to_json()) == result


def test_the_errors_of_an_experiment_are_predicted_before_it_is_made(weighted: list[Result]) -> None:
    plan = {"frames": FRAMES, "dt": DT, "q": [Q], "phi": list(PHI), "speckles": 5000, "modes": 3, "parameters": SLOW}
    found = hetdask.design({"parameters": {name: {"fixed": True} for name in OFFSETS}, "simulation": plan})
    assert list(found.parameters) == [name for name in weighted[0].parameters if name in SLOW]
    used = [result for result in weighted if result.weighting is not None and result.weighting.used == "speckle"]
    for name, planned in found.parameters.items():
        errors = np.array(
            [
                (result.weighting.plain[name].stderr, result.parameters[name].stderr)
                for result in used
                if result.weighting
            ],
            dtype=np.float64,
        )
        predicted = np.array([planned.stderr, planned.stderr_weighted], dtype=np.float64)
        np.testing.assert_allclose(np.median(errors, axis=0), predicted, rtol=0.25, err_msg=name)
    assert not found.weak


def test_plain_weights_stand_where_there_is_no_speckle_noise(tmp_path: Path) -> None:
    maps = simulate_gaussian(SLOW, TIME, PHI, Q, sigma=0.02, rng=np.random.default_rng(3))
    result = fit(tmp_path, maps)
    assert result.weighting is not None
    if result.weighting.used == "plain":
        assert "no speckle noise" in result.weighting.note
        assert result.weighting.note[1:] in as_text(summary(result), 1000)
    else:
        for name, truth in SLOW.items():
            assert abs(result.parameters[name].value - truth) < 4.0 * (result.parameters[name].stderr or 0.0)


def test_smoothed_maps_are_not_taken_for_speckle_noise(tmp_path: Path) -> None:
    maps = uniform_filter1d(uniform_filter1d(speckles(1), 3, axis=1), 3, axis=2)
    result = fit(tmp_path, maps)
    assert result.weighting is not None
    assert result.weighting.used == "plain"
    assert "do not correlate as speckle noise" in result.weighting.note
    assert "o not correlate as speckle noise" in as_text(summary(result), 1000)


def test_a_drift_is_found_said_and_taken_out(tmp_path: Path) -> None:
    gain = 1.0 + 0.02 * np.linspace(-0.5, 0.5, FRAMES)
    result = fit(tmp_path, speckles(2) * np.outer(gain, gain))
    weighting = result.weighting
    assert weighting is not None
    assert weighting.used == "speckle"
    assert len(weighting.drift) == len(PHI)
    assert float(np.mean(weighting.drift)) == pytest.approx(0.04, abs=0.015)
    assert "c2 drifts" in weighting.note
    assert "2 drifts" in as_text(summary(result), 1000)
    pulls = [
        (result.parameters[name].value - truth) / (result.parameters[name].stderr or 0.0)
        for name, truth in SLOW.items()
    ]
    assert max(map(abs, pulls)) < 4.0


def test_weights_go_with_least_squares_only() -> None:
    for options, said in (({"method": "robust"}, "weights least squares"), ({"bootstrap": 40}, "plain weights")):
        with pytest.raises(ConfigError, match=said):
            hetdask.load_settings({"fit": {"weights": "speckle", **options}})


def test_a_plain_fit_says_how_much_smaller_errors_could_be(weighted: list[Result], tmp_path: Path) -> None:
    plain = fit(tmp_path, speckles(0), weights="plain")
    assert plain.errors_note is not None
    found = re.search(r"weights: speckle would make them about ([\d.]+) times smaller", plain.errors_note)
    assert found is not None, plain.errors_note
    ratios = [plain.parameters[name].stderr / weighted[0].parameters[name].stderr for name in SLOW]  # type: ignore[operator]
    assert float(found[1]) == pytest.approx(np.exp(np.mean(np.log(ratios))), rel=0.1)
    assert "times smaller" not in weighted[0].errors_note


def test_white_noise_promises_nothing(tmp_path: Path) -> None:
    maps = simulate_gaussian(SLOW, TIME, PHI, Q, sigma=0.02, rng=np.random.default_rng(1))
    assert "times smaller" not in fit(tmp_path, maps, weights="plain").errors_note
