"""Whether a fit tells a right model from a wrong one by its residuals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hetdask
from hetdask.config import load_settings
from hetdask.data.reduction import blocks_of
from hetdask.data.writers import write_store
from hetdask.fitting import refine
from hetdask.fitting.deviations import deviations_of
from hetdask.fitting.goodness import Check, Goodness, _neighbours, _smooth, _smooth_chance
from hetdask.fitting.noise_evidence import AngleBlocks, _after_fit
from hetdask.fitting.quality import QualityLevels, judge
from hetdask.model import ThirdComponent, simulate_gaussian, simulate_speckle
from hetdask.options import problem_of
from hetdask.passes import Passes
from hetdask.results import Result
from hetdask.results.report import render_report
from hetdask.results.sections import Page
from hetdask.results.summary import as_text, summary
from hetdask_cluster.runner import InlineRunner

FLOW = {
    "D0_ref": 4000.0, "alpha_ref": -0.1, "D0_sample": 20000.0, "alpha_sample": 0.1, "v0": 60.0, "beta": 0.15,
    "f0": 0.35, "f1": -0.03, "f3": 0.2, "phi0": -3.0,
}  # fmt: skip
OFFSETS = ("D_offset_ref", "D_offset_sample", "v_offset")
PHI, Q, DT, FRAMES = (0.0, 30.0, 60.0, 90.0), 0.0054, 0.75, 64
THIRD = ThirdComponent(share=0.185, rate=2000.0, velocity=-40.0)


def fit(folder: Path, third: ThirdComponent | None, **quality: object) -> Result:
    maps = simulate_speckle(
        FLOW, DT * np.arange(FRAMES), PHI, Q, speckles=5000, modes=3, third=third, rng=np.random.default_rng(2)
    )
    store = write_store(folder / "data.zarr", maps, phi=PHI, q=Q, dt=DT)
    parameters = {name: {"value": value} for name, value in FLOW.items()}
    parameters |= {name: {"value": 0.0, "fixed": True} for name in OFFSETS}
    return hetdask.fit(store, {"parameters": parameters, "fit": {"tolerance": 1e-6}, "quality": quality})


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return fit(tmp_path_factory.mktemp("right"), None)


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return fit(tmp_path_factory.mktemp("wrong"), THIRD)


def test_the_right_model_leaves_nothing_but_noise(right: Result) -> None:
    assert right.goodness is not None
    assert right.goodness.consistent
    assert right.goodness.quality == "excellent"
    assert right.goodness.recommendations == []
    assert {angle.quality for angle in right.angles} == {"excellent"}
    assert "nothing in them speaks against the model" in as_text(summary(right), 1000)


def test_a_third_component_is_found_by_the_structure_of_residuals_of_a_usual_size(wrong: Result) -> None:
    assert wrong.goodness is not None
    checks = {check.name: check.p_value for check in wrong.goodness.checks}
    assert not wrong.goodness.consistent
    assert min(checks["angles"], checks["common"]) < 1e-6
    assert np.mean([angle.level for angle in wrong.angles]) < 2.0
    assert wrong.goodness.quality == "warning"
    for text in (as_text(summary(wrong), 1000), render_report(Page(wrong))):
        assert "the model does not describe these data" in text
        assert "A further component" in text
    assert wrong.to_xarray()["check_p_value"].sel(check="angles") == checks["angles"]


def test_what_a_fit_leaves_of_speckle_noise_agrees_with_fits_of_simulated_noise() -> None:
    rng = np.random.default_rng(3)
    angles, factors = [], []
    for _ in range(2):
        factor = rng.normal(size=(12, 4)) * np.array([3.0, 1.0, 0.3, 0.1])
        factors.append(factor)
        angles.append(
            AngleBlocks(
                held=np.ones(12, dtype=np.bool_), residual=rng.normal(size=12), scaling=rng.normal(size=(12, 2)),
                slopes=rng.normal(size=(12, 3)), drift=0.0, rest={}, signal=np.empty(0), prediction=None,
            )
        )  # fmt: skip
    expected = np.array(list(_after_fit(angles, [factor @ factor.T for factor in factors])))
    # Least squares of both angles with a scaling each and common parameters, angles weighted by their residuals.
    design = np.zeros((24, 7))
    weight = np.repeat([1.0 / np.linalg.norm(angle.residual) for angle in angles], 12)
    for m, angle in enumerate(angles):
        rows = slice(12 * m, 12 * m + 12)
        design[rows, 2 * m : 2 * m + 2], design[rows, 4:] = angle.scaling, angle.slopes
    noise = np.concatenate([factor @ rng.normal(size=(4, 40_000)) for factor in factors])
    weighted = weight[:, None] * np.concatenate([design, noise], axis=1)
    fitted = design @ np.linalg.lstsq(weighted[:, :7], weighted[:, 7:])[0]
    squares = np.square(noise - fitted).reshape(2, 12, -1).sum(axis=1)
    np.testing.assert_allclose(squares.mean(axis=1), expected[:, 0], rtol=0.03)
    np.testing.assert_allclose(squares.var(axis=1), 2.0 * expected[:, 1], rtol=0.06)


def test_neighbours_touch_once_and_smooth_functions_begin_with_a_constant() -> None:
    blocks = blocks_of(64, 1)
    lag, time = _neighbours(blocks)
    inside = np.flatnonzero((blocks.first_row == 20) & (blocks.first_column == 30))[0]
    assert lag[inside].sum() == 4.0
    assert time[inside].sum() == 2.0
    assert np.all(lag * time == 0.0)
    assert np.all(_smooth(blocks)[:, 0] == 1.0)


def test_chances_of_smooth_patterns_are_uniform_for_noise_and_small_for_a_pattern() -> None:
    rng = np.random.default_rng(1)
    functions = rng.normal(size=(300, 5))
    chances = [_smooth_chance([rng.normal(size=300)], [functions]) for _ in range(400)]
    assert 0.35 < np.mean(np.array(chances, dtype=np.float64) > 0.5) < 0.65
    chance = _smooth_chance([rng.normal(size=300) + 0.5 * functions[:, 0]], [functions])
    assert chance is not None
    assert chance < 1e-6
    assert _smooth_chance([rng.normal(size=9)], [functions[:9]]) is None


def test_few_frames_are_judged_by_what_they_can_tell(tmp_path: Path) -> None:
    truth = {"D0_ref": 4000.0, "D0_sample": 20000.0, "v0": 60.0}
    maps = simulate_gaussian(FLOW, DT * np.arange(10), PHI[:1], Q, sigma=0.01, rng=np.random.default_rng(5))
    store = write_store(tmp_path / "few.zarr", maps, phi=PHI[:1], q=Q, dt=DT)
    parameters = {name: {"value": value, "fixed": name not in truth} for name, value in FLOW.items()}
    parameters |= {name: {"value": 0.0, "fixed": True} for name in OFFSETS}
    result = hetdask.fit(store, {"parameters": parameters})
    assert result.goodness is not None
    assert [check.name for check in result.goodness.checks] == ["level", "lag", "time"]
    assert result.goodness.consistent


def test_outlying_frames_and_regions_are_named_and_usual_ones_are_not(tmp_path: Path) -> None:
    time = DT * np.arange(FRAMES)
    maps = simulate_gaussian(FLOW, time, PHI, Q, sigma=0.01, rng=np.random.default_rng(5))
    broken = maps.copy()
    broken[1, 40:43, :] += 0.1
    broken[1, :, 40:43] += 0.1
    broken[2, 8:24, 48:60] += 0.15
    broken[2, 48:60, 8:24] += 0.15
    found = []
    for name, content in (("good", maps), ("broken", broken)):
        store = write_store(tmp_path / f"{name}.zarr", content, phi=PHI, q=Q, dt=DT)
        settings = load_settings({"parameters": {key: {"value": value} for key, value in FLOW.items()}})
        passes = Passes(store, InlineRunner())
        found.append(deviations_of(passes, refine(passes, problem_of(settings, store))))
    assert found[0] == ()
    frames, region = found[1]
    assert (frames.angle, frames.rows, frames.columns, frames.whole) == (1, (40, 43), (0, FRAMES), True)
    assert frames.excess > 10.0
    assert (region.angle, region.whole) == (2, False)
    for found_range, true_range in ((region.rows, (8, 24)), (region.columns, (48, 60))):
        assert all(abs(x - y) <= 8 for x, y in zip(found_range, true_range, strict=True))


def goodness(level: list[float], chance: float = 0.5, structure: float = 0.5) -> Goodness:
    checks = (Check("level", chance), Check("angles", structure))
    return Goodness(np.array(level), np.full(len(level), chance), checks)


def test_levels_have_limits_that_can_be_set() -> None:
    phi = [0.0, 45.0, 90.0]
    assert judge(goodness([1.0, 1.1, 0.9]), phi, QualityLevels()).quality == "excellent"
    assert judge(goodness([1.2, 1.1, 1.3], 1e-9), phi, QualityLevels()).quality == "acceptable"
    assert judge(goodness([1.0, 1.1, 0.9], structure=1e-9), phi, QualityLevels()).quality == "warning"
    verdict = judge(goodness([1.0, 12.0, 1.0], 1e-9), phi, QualityLevels())
    assert verdict.angles == ("acceptable", "poor", "acceptable")
    assert verdict.quality == "poor"
    assert any("45° (12.0 times)" in line for line in verdict.recommendations)
    lenient = QualityLevels(overall=(20.0, 30.0, 40.0, 50.0), per_angle=(20.0, 30.0, 40.0), significance=1e-12)
    assert judge(goodness([1.0, 12.0, 1.0], 1e-9), phi, lenient).quality == "excellent"
    assert judge(goodness([30.0, 30.0, 30.0], 1e-9), phi, QualityLevels()).quality == "critical"
