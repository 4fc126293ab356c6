"""Subsampling is a fit of block means: unbiased, told from one of all pixels, and as fine as was asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hetdask
from hetdask.config import load_settings
from hetdask.data.reduction import blocks_of, level_to_fit
from hetdask.data.store import Store
from hetdask.data.writers import write_store
from hetdask.model import simulate_gaussian

TRUTH = {"D0_ref": 300.0, "alpha_ref": -0.4, "D0_sample": 2000.0, "v0": 120.0, "beta": 0.1, "f0": 0.45, "f3": 0.15}
PHI = [0.0, 45.0, 90.0, 135.0]
FREE = ["D0_ref", "D0_sample", "v0", "f0"]
START = {name: {"value": 1.05 * value if name in FREE else value} for name, value in TRUTH.items()}
PIXELS = 120 * 119 // 2


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    rng = np.random.default_rng(5)
    maps = simulate_gaussian(TRUTH, 0.25 * np.arange(120), PHI, 0.0054, contrast=0.3, sigma=0.01, rng=rng)
    folder = tmp_path_factory.mktemp("reduced")
    return write_store(folder / "maps.zarr", maps.astype(np.float32), phi=PHI, q=0.0054, dt=0.25)


def subsampled(**keys: object) -> dict[str, object]:
    """A configuration of heterodyne-analysis with its subsampling."""
    names = list(TRUTH)
    return {
        "analyzer_parameters": {"scattering": {"wavevector_q": 0.0054}},
        "initial_parameters": {
            "parameter_names": names,
            "values": [START[name]["value"] for name in names],
            "active_parameters": FREE,
        },
        "optimization_config": {
            "classical_optimization": {"methods": ["Nelder-Mead", "Gurobi"], "subsampling": keys},
        },
    }


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_subsampling_fits_block_means_without_bias_and_says_so(store: Store) -> None:
    config = load_settings(subsampled(enabled=True, max_data_points=4000, time_subsample_factor=2))
    result = hetdask.fit(store, config)
    assert result.status == "converged"
    assert result.resolution == "reduced"
    assert {one.status for one in result.methods.values()} == {"converged"}
    kept = result.identifiability.retained_information
    assert kept is not None
    assert 0.8 < kept < 1.0
    assert result.n_points == 4 * PIXELS
    values = {name: entry.value for name, entry in result.parameters.items()}
    assert result.chi_squared == pytest.approx(hetdask.chi_squared(store, values).value, rel=1e-9)
    for name in FREE:
        found = result.parameters[name]
        assert found.stderr is not None
        assert abs(found.value - TRUTH[name]) < 4.0 * found.stderr, name
        # Every second frame taken for every frame would be a factor of 2.
        assert found.value == pytest.approx(TRUTH[name], rel=0.1), name
    assert "fit of block means" in repr(result)


def test_pixels_that_are_few_enough_or_that_a_method_looks_at_are_not_reduced(store: Store) -> None:
    settings = {"parameters": START, "fit": {"active_parameters": ["v0", "f0"], "start": "given"}}
    few = {**settings["fit"], "reduction": {"max_points": 10**6, "time_factor": 8}}
    assert hetdask.fit(store, {**settings, "fit": few}).resolution == "full"
    pixels = {**settings["fit"], "reduction": {"max_points": 4000}, "method": "robust", "robust": ["huber"]}
    result = hetdask.fit(store, {**settings, "fit": pixels})
    assert result.resolution == "full"
    assert result.identifiability.retained_information is None


def test_factors_count_as_the_square_and_that_of_angles_from_four_angles_on(store: Store, tmp_path: Path) -> None:
    def means(level: int, n_phi: int) -> int:
        return n_phi * blocks_of(120, level).n_blocks

    assert level_to_fit(store, 4 * PIXELS) is None
    for factors, limit in {(1, 1): 4 * PIXELS - 1, (2, 1): PIXELS, (2, 2): PIXELS // 2}.items():
        level = level_to_fit(store, 4 * PIXELS - 1, *factors)
        assert level is not None
        assert means(level, 4) <= limit
        assert level == 0 or means(level - 1, 4) > limit
    maps = np.stack([store.read_map(m) for m in range(3)])
    three = write_store(tmp_path / "three.zarr", maps, phi=PHI[:3], q=0.0054, dt=0.25)
    assert level_to_fit(three, 10_000, 2, 2) == level_to_fit(three, 10_000, 2, 1)
