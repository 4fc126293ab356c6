"""Projection on polynomials and expansion against products with the whole matrix of polynomials."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from hetdask_kernels import TOGETHER, expand, first_halves, polynomials, polynomials_needed, project
from hetdask_kernels.projection import TAIL, by_degree

SIZES = st.sampled_from([64, 72, 80, 128, 160])
SEEDS = st.integers(0, 1000)
COUNTS = st.tuples(st.integers(1, 3), st.integers(1, 4))


@pytest.mark.parametrize("size", [8, 64, 80, 128])
def test_polynomials_are_orthonormal_and_even_or_odd(size: int) -> None:
    basis = polynomials(size)
    degrees = basis.shape[1]
    assert degrees % TOGETHER == 0
    assert_allclose(basis.T @ basis, np.eye(degrees), atol=1e-14)
    sign = np.where(np.arange(degrees) % 2, -1.0, 1.0)
    assert_array_equal(basis[::-1], basis * sign)
    if degrees < size // 2:
        frames = np.linspace(-1.0, 1.0, size)
        assert_allclose(basis @ (basis.T @ frames**5), frames**5, atol=1e-13)


@given(SIZES, SEEDS, COUNTS, st.booleans(), st.booleans(), st.data())
def test_coefficients_are_those_of_the_matrix_product(
    size: int, seed: int, counts: tuple[int, int], alike: bool, along: bool, data: st.DataObject
) -> None:
    rng, (m, n_blocks), basis = np.random.default_rng(seed), counts, polynomials(size)
    degrees = basis.shape[1]
    values, weight = rng.standard_normal((m, 4, n_blocks * size)), rng.standard_normal(n_blocks * size)
    if alike:
        values[:, :2] = values[0, :2]
    pair = data.draw(st.tuples(*[st.integers(1, degrees // TOGETHER)] * 2))
    used = np.tile(TOGETHER * np.array(pair), (m, 1))
    out = np.full((m, 4, n_blocks * degrees), np.nan)
    strides = (TOGETHER, n_blocks * TOGETHER) if along else (degrees, TOGETHER)
    project(values, weight, first_halves(size), used, alike, *strides, out)
    expected = ((values * weight).reshape(m, 4, n_blocks, size) @ basis).reshape(out.shape)
    wanted = np.arange(degrees) < np.repeat(used, 2, axis=1)[:, :, None]
    kept = np.broadcast_to(wanted[:, :, None], (m, 4, n_blocks, degrees)).reshape(out.shape)
    if along:
        expected, kept = by_degree(expected, degrees), by_degree(kept, degrees)
    assert_allclose(out[kept], expected[kept], atol=1e-12)
    assert np.isnan(out[~kept]).all()


@given(SIZES, SEEDS, COUNTS, st.booleans(), st.data())
def test_expansion_is_the_matrix_product_where_blocks_are_smooth(
    size: int, seed: int, counts: tuple[int, int], along: bool, data: st.DataObject
) -> None:
    rng, (m, n_blocks), basis = np.random.default_rng(seed), counts, polynomials(size)
    degrees = basis.shape[1]
    coefficients = rng.standard_normal((m, 4, n_blocks, degrees))
    used = TOGETHER * rng.integers(1, degrees // TOGETHER + 1, size=(m, 2))
    smooth = np.array(data.draw(st.lists(st.booleans(), min_size=m * n_blocks, max_size=m * n_blocks)))
    smooth = smooth.reshape(m, n_blocks)
    stored = coefficients.reshape(m, 4, -1)
    strides = (TOGETHER, n_blocks * TOGETHER) if along else (degrees, TOGETHER)
    out = rng.standard_normal((m, 4, n_blocks * size))
    counted = coefficients * (np.arange(degrees) < np.repeat(used, 2, axis=1)[:, :, None])[:, :, None]
    expected = out + ((counted * smooth[:, None, :, None]) @ basis.T).reshape(out.shape)
    expand(by_degree(stored, degrees) if along else stored, first_halves(size), *strides, smooth, used, out)
    assert_allclose(out, expected, atol=1e-12)


def test_as_many_polynomials_are_used_as_hold_the_smooth_blocks() -> None:
    degrees, size = 48, 128
    coefficients = np.zeros((2, 4, 3, degrees))
    coefficients[..., 0] = 1.0
    coefficients[0, 1, 0, 9] = 1e-11  # The first pair needs ten polynomials, and `TAIL` more that are seen to be small.
    coefficients[0, 3, 1, 20] = 1e-13  # Too small to count.
    coefficients[1, 2, 2, degrees - TAIL] = 1e-11  # Its highest coefficients are not small: no polynomials there.
    smooth, used = np.zeros((2, 3), dtype=np.bool_), np.zeros((2, 2), dtype=np.int64)
    stored = coefficients.reshape(2, 4, -1)
    assert polynomials(size).shape == (size, degrees)
    for some, strides in ((stored, (degrees, TOGETHER)), (by_degree(stored, degrees), (TOGETHER, 3 * TOGETHER))):
        polynomials_needed(some, degrees, *strides, 1e-12, smooth, used)
        assert smooth.tolist() == [[True, True, True], [True, True, False]]
        assert used.tolist() == [[16, 8], [8, 8]]
