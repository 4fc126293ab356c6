"""Noise of block means against brute force, and refits of simulated experiments against what they must scatter by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import hetdask
from hetdask.config import load_settings
from hetdask.data.reduction import blocks_of, reduce_maps
from hetdask.data.store import Store
from hetdask.data.writers import write_store
from hetdask.errors import ClusterError, ConfigError
from hetdask.fitting import Refinement, fit_store
from hetdask.fitting.block_noise import BlockNoise
from hetdask.fitting.bootstrap import bootstrap
from hetdask.fitting.cold_start import near_fit, reduced_passes
from hetdask.fitting.noise_model import NoiseModel
from hetdask.fitting.refits import Refits, prepare_refits, refit_bytes, refit_level
from hetdask.fitting.speckle_covariance import Fields
from hetdask.model import as_vector, correlation, dynamics, simulate_speckle
from hetdask.model.correlation import flow_wavevector
from hetdask.options import problem_of
from hetdask.passes.plan import FitPlan
from hetdask.passes.reduced import ReducedPasses
from hetdask.passes.run import Passes
from hetdask.passes.tiles import Series
from hetdask.results.summary import as_text, summary
from hetdask_cluster.dask_runner import DaskRunner
from hetdask_cluster.memory import MemoryPlan, plan_memory
from hetdask_cluster.runner import InlineRunner
from hetdask_kernels.speckles import block_covariance

FLOW = {
    "D0_ref": 400.0, "alpha_ref": -0.2, "D0_sample": 1500.0, "alpha_sample": -0.1, "v0": 40.0, "beta": 0.15,
    "f0": 0.35, "f1": -0.015, "f3": 0.15, "phi0": -3.0,
}  # fmt: skip
PHI, Q, DT = np.array([20.0, 70.0]), np.full(2, 0.0054), 1.5
MOVING = ["D0_ref", "D0_sample", "v0", "f0"]


def noise_of(frames: int, level: int) -> tuple[BlockNoise, ReducedPasses]:
    """Noise of the first of two angles, at which a frame is no data."""
    excluded = np.zeros((2, frames), dtype=np.bool_)
    excluded[0, 7] = True
    series = Series(PHI, Q, DT * np.arange(frames), excluded, np.ones(2), 64)
    passes = ReducedPasses(series, reduce_maps(np.ones((2, frames, frames)), level, np.ones(2), excluded))
    vector = as_vector(FLOW)
    return BlockNoise(series, 0, vector, passes.reduced.blocks, passes.model_means(vector)[0]), passes


@pytest.mark.parametrize(("level", "near"), [(0, 0.01), (1, 0.03), (2, 0.06)])
def test_influence_of_speckles_is_that_of_their_maps(level: int, near: float) -> None:
    noise, passes = noise_of(61, level)
    intensity = np.random.default_rng(1).exponential(size=(61, 30))
    deviation = intensity - 1.0
    g, mean = correlation(FLOW, passes.series.time, PHI, Q)[0], deviation.mean(axis=1)
    influence = deviation @ deviation.T / 30 - g * (1.0 + mean[:, None] + mean[None, :])
    wanted = reduce_maps(influence[None], level, np.ones(1), passes.series.excluded[:1])
    found = noise.influence(intensity, 1.0)
    held, single = wanted.count[0] > 0.0, wanted.blocks.size == 1
    error = np.abs(found - wanted.mean[0])
    assert error[held & single].max(initial=0.0) < 1e-12
    # Within a block the model is taken as its mean, in the small part that frames have in common.
    assert error[held].max() < near * np.abs(wanted.mean[0]).max()


@pytest.mark.parametrize(("contrast", "speckles"), [(0.4, 3000.0), (0.09, 300.0)])
def test_noise_has_the_predicted_covariance_and_no_bias(contrast: float, speckles: float) -> None:
    frames, draws = 16, 300
    noise, passes = noise_of(frames, 0)
    blocks, held = passes.reduced.blocks, passes.reduced.count[0] > 0.0
    assert np.all(blocks.size == 1)
    drawn = np.array([noise.speckle(contrast, speckles, np.random.default_rng(k)) for k in range(draws)])[:, held]
    kappa, _ = flow_wavevector(FLOW["phi0"], PHI, Q)
    fields = Fields.of(dynamics(FLOW, passes.series.time), Q[0], kappa[0]).between_frames(np.arange(frames))
    pixels = blocks.first_row[held], blocks.first_column[held]
    exact = block_covariance(*pixels, fields.intensity, fields.chain, contrast) / speckles
    values, axes = np.linalg.eigh(exact)
    along = drawn @ axes[:, -8:] / np.sqrt(values[-8:])
    assert np.all(np.abs(along.var(axis=0) - 1.0) < 5.0 * np.sqrt(2.0 / draws))
    assert np.all(np.abs(along.mean(axis=0)) < 4.0 / np.sqrt(draws))


def settings(**options: object) -> dict[str, object]:
    parameters = {name: {"value": value} for name, value in FLOW.items()}
    return {"parameters": parameters, "fit": {"active_parameters": MOVING, "seed": 3, **options}}


@pytest.fixture(scope="module")
def speckled(tmp_path_factory: pytest.TempPathFactory) -> Store:
    rng = np.random.default_rng(5)
    maps = simulate_speckle(FLOW, DT * np.arange(32), PHI, Q, speckles=40_000, modes=2, rng=rng)
    return write_store(tmp_path_factory.mktemp("speckled") / "data.zarr", maps, phi=PHI, q=Q[0], dt=DT)


@pytest.fixture(scope="module")
def fit(speckled: Store) -> tuple[Refits, Refinement, NoiseModel]:
    runner, problem = InlineRunner(), problem_of(load_settings(settings()), speckled)
    passes = Passes(speckled, runner)
    (best,) = fit_store(passes, problem)
    near = near_fit(reduced_passes(speckled, runner), problem, best)
    assert near is not None
    return prepare_refits(speckled, passes, problem, best, runner), best, near.noise


def test_refits_scatter_as_the_standard_errors_say_where_the_problem_is_linear(speckled: Store) -> None:
    result = hetdask.fit(speckled, settings(bootstrap=100))
    found = result.bootstrap
    assert found is not None
    assert (found.experiments, found.failed, found.level) == (100, 0, 0)
    assert found.retained_information is not None
    assert 0.98 < found.retained_information <= 1.0
    assert list(found.parameters) == MOVING
    for name, one in found.parameters.items():
        error = result.parameters[name].stderr
        assert error is not None
        assert one.stderr == pytest.approx(error, rel=0.3), name
        (low, high), (lowest, highest) = one.interval_68, one.interval_95
        assert lowest < low < result.parameters[name].value < high < highest
        assert highest - lowest == pytest.approx(3.92 * error, rel=0.4)
        assert abs(one.bias) < 0.4 * error
    refits = result.to_xarray()["bootstrap_values"]
    assert refits.dims == ("refit", "parameter")
    assert float(refits.sel(parameter="v0").std(ddof=1)) == pytest.approx(found.parameters["v0"].stderr)
    assert np.all(refits.sel(parameter="beta") == FLOW["beta"])
    assert "Bootstrap: 100 experiments simulated from the fit" in as_text(summary(result), 200)


def test_the_seed_alone_decides_not_the_workers_nor_the_number_of_refits(
    fit: tuple[Refits, Refinement, NoiseModel], dask_runner: DaskRunner
) -> None:
    told: list[int] = []
    one = bootstrap(*fit, InlineRunner(), count=8, seed=3)
    two = bootstrap(*fit, dask_runner, count=20, seed=3, on_done=lambda done, total, _: told.append(total - done))
    np.testing.assert_array_equal(one.estimates, two.estimates[:8])
    assert told[-1] == 0
    assert not np.any(bootstrap(*fit, InlineRunner(), count=8, seed=4).estimates == one.estimates)


def test_with_white_noise_alone_refits_scatter_like_fits_of_independent_pixels(
    fit: tuple[Refits, Refinement, NoiseModel],
) -> None:
    refits, best, noise = fit
    rms = np.array([angle.residual_rms for angle in best.angles])
    white = replace(noise, sigma_white=rms, speckles=np.full(2, 1e12))
    found = bootstrap(refits, best, white, InlineRunner(), count=100, seed=1)
    errors = np.sqrt(np.diagonal(best.covariance))
    np.testing.assert_allclose(found.estimates.std(axis=0, ddof=1), errors, rtol=0.3)


def test_parameters_that_are_not_determined_get_no_interval(speckled: Store) -> None:
    result = hetdask.fit(speckled, settings(bootstrap=40, active_parameters=["v0", "f0", "f2"]))
    assert result.bootstrap is not None
    assert list(result.bootstrap.parameters) == ["v0"]


def test_a_bootstrap_that_makes_no_sense_is_refused_or_says_why_there_is_none(speckled: Store) -> None:
    with pytest.raises(ConfigError, match="at least 40"):
        hetdask.fit(speckled, settings(bootstrap=10))
    with pytest.raises(ConfigError, match="says nothing about robust fits"):
        hetdask.fit(speckled, settings(bootstrap=40, method="robust"))
    result = hetdask.fit(speckled, settings(bootstrap=40, max_evaluations=1))
    assert result.status == "not_converged"
    assert result.bootstrap is not None
    assert result.bootstrap.experiments == 0
    assert "No bootstrap: no classical fit converged." in as_text(summary(result))


def test_refits_become_coarser_to_fit_into_memory_and_are_refused_where_that_is_not_enough(speckled: Store) -> None:
    roomy, small = plan_memory("8GiB", 2, total=2**34), plan_memory("700MiB", 1, total=2**34)
    assert [refit_level(4, 500, plan) for plan in (None, roomy, small)] == [0, 0, 0]
    assert refit_level(40, 1000, small) > refit_level(40, 1000, roomy) == 1
    assert refit_bytes(40, 1000, small) < refit_bytes(40, 1000, roomy)
    assert refit_level(4, 2000, None) == 2
    assert blocks_of(2000, 2).n_blocks <= 25_000 < blocks_of(2000, 1).n_blocks
    tight = MemoryPlan(budget=2**30, client=2**29, workers=1, per_worker=320 * 2**20)
    FitPlan(speckled.tiling, tight).require()
    with pytest.raises(ClusterError, match="a refit of block means needs"):
        FitPlan(speckled.tiling, tight, refits=refit_bytes(2, 32, tight)).require()
    with pytest.raises(ClusterError, match="a refit of block means needs"):
        hetdask.fit(speckled, settings(bootstrap=40), client=InlineRunner(MemoryPlan(2**30, 2**29, 0, 32 * 2**20)))


def test_a_fit_of_block_means_is_refitted_on_the_same_ones(speckled: Store) -> None:
    result = hetdask.fit(speckled, settings(bootstrap=60, reduction={"max_points": 200}, profile="v0"))
    assert result.resolution == "reduced"
    assert result.bootstrap is not None
    assert result.profiles is not None
    assert result.bootstrap.retained_information == result.identifiability.retained_information
    assert result.bootstrap.level == result.profiles.level == 1
    assert result.profiles.parameters["v0"].optimum == pytest.approx(result.parameters["v0"].value, rel=1e-6)
    for name, one in result.bootstrap.parameters.items():
        assert one.stderr == pytest.approx(result.parameters[name].stderr, rel=0.4), name
