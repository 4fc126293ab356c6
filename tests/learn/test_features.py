"""Features tell what maps look like, whatever their contrast, offset, direction and the way they were made."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hetdask.data.reduction import blocks_of
from hetdask.learn.features import N_COARSE, N_CONDITIONS, cell_means, cells_of, describe, features_of
from hetdask.learn.simulated import sample_of
from hetdask.passes.reduced import ReducedPasses

PHI = np.array([-10.0, 40.0, 100.0])


def appearance(data: Any) -> tuple[NDArray[np.float64], float]:
    """Features without those that say how maps were measured, and apparent direction."""
    features, direction = features_of(*data)
    return features[:-N_CONDITIONS], direction


def test_contrast_and_offset_drop_out(measure: Any) -> None:
    features, direction = appearance(measure(PHI))
    other, same = appearance(measure(PHI, contrast=0.1, offset=1.3))
    assert other == pytest.approx(features, abs=1e-5)
    assert same == pytest.approx(direction, abs=1e-5)


def test_turning_the_experiment_turns_the_apparent_direction_and_nothing_else(measure: Any) -> None:
    features, direction = appearance(measure(PHI))
    other, turned = appearance(measure(PHI + 20.0, phi0=45.0))
    assert other == pytest.approx(features, abs=1e-6)
    assert np.rad2deg(turned - direction) % 180.0 == pytest.approx(20.0, abs=1e-4)


def test_simulated_cells_look_like_those_of_maps(measure: Any, truth: NDArray[np.float64]) -> None:
    series, reduced = measure(PHI)
    sample = sample_of(series.time.size)
    some = sample.reduced(PHI.size)
    means = ReducedPasses(series, some).model_means(truth)
    simulated, direction = describe(cell_means(sample.cells, means, some.count, np.zeros(3)), series, np.zeros(3))
    expected, same = appearance((series, reduced))
    difference = np.abs(simulated[:-N_CONDITIONS] - expected)
    assert np.median(difference) < 0.005
    assert difference.max() < 0.1
    assert direction == pytest.approx(same, abs=0.02)


def test_the_windows_hold_every_block_once() -> None:
    cells = cells_of(blocks_of(75, 1))
    assert np.all(cells.members[:N_COARSE].toarray().sum(axis=0) == 1.0)
