"""What data leave open is left out of an inverse exactly, however different the curvatures of the parameters are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetdask.fitting.identifiability import inverse_without_null, null_directions


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(0, 3), st.floats(0.0, 4.0))
def test_an_inverse_is_that_of_what_the_data_see(seed: int, seen: int, more: int, decades: float) -> None:
    rng = np.random.default_rng(seed)
    count = seen + more
    # Each observable is one parameter, or a sum of several; parameters without any effect are among the others.
    sums = np.eye(seen, count)
    for k in range(seen, count):
        sums[rng.integers(seen), k] = rng.choice([1.0, -1.0, 0.5, 0.0])
    sums = sums[:, rng.permutation(count)]
    design = rng.normal(size=(3 * seen, seen))
    correlations = np.corrcoef(design, rowvar=False).reshape(seen, seen)
    precision = 10.0 ** rng.uniform(-decades, decades, seen)
    curvature = sums.T @ (correlations * np.outer(precision, precision)) @ sums
    spread = np.linalg.pinv(sums)
    expected = spread @ (np.linalg.inv(correlations) / np.outer(precision, precision)) @ spread.T

    unit = 10.0 ** rng.uniform(-3.0, 3.0, count)
    gauss_newton = curvature / np.outer(unit, unit)
    found = inverse_without_null(gauss_newton, unit) / np.outer(unit, unit)
    size = np.sqrt(np.diagonal(expected))
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-7 * max(size.max() ** 2, 1e-300))
    moved = size > 0.0
    scale = np.outer(size[moved], size[moved])
    np.testing.assert_allclose(found[np.ix_(moved, moved)] / scale, expected[np.ix_(moved, moved)] / scale, atol=1e-7)
    null = null_directions(gauss_newton, unit)
    assert null.shape == (count, count - seen)
    np.testing.assert_allclose(null.T @ null, np.eye(count - seen), atol=1e-12)
    np.testing.assert_allclose(sums @ null, 0.0, atol=1e-7)


def test_a_curvature_that_drowns_the_others_is_no_singular_matrix() -> None:
    size = np.array([7e7, 2e1, 3e5, 8e-8, 2.5e-3, 0.43])
    sums = np.array(
        [[1.0, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0, 1]]
    )
    root = np.random.default_rng(2).normal(size=(40, 5)) @ sums * size
    found = inverse_without_null(root.T @ root, np.ones(6))
    assert np.all(np.isfinite(found))
    assert found[3, 3] == 0.0
    kept = [0, 1, 2, 4, 5]
    expected = (
        np.linalg.inv((root.T @ root / np.outer(size, size))[np.ix_(kept, kept)])
        / np.outer(size, size)[np.ix_(kept, kept)]
    )
    np.testing.assert_allclose(found[np.ix_(kept, kept)], expected, rtol=1e-6)


@pytest.mark.parametrize("count", [1, 4])
def test_data_that_see_nothing_leave_everything_open(count: int) -> None:
    nothing = np.zeros((count, count))
    assert not inverse_without_null(nothing, np.ones(count)).any()
    assert null_directions(nothing, np.ones(count)).shape == (count, count)
