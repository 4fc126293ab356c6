"""Vectors in registers against NumPy."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from numba import TypingError, njit

from hetdask_kernels.vectors import first_of, load_octet, load_quad, pair, second_of, store


def _compute(values, out):  # type: ignore[no-untyped-def]
    octet, quad = load_octet(values, 1), load_quad(values, 3)
    store(2.0 * octet - octet * octet + values[0], out, 0)
    store(quad * values[2] - 1.5, out, 8)
    two = pair(values[0], values[1]) * pair(values[2], 3.0)
    out[12], out[13] = first_of(two), second_of(two)


def test_compiled_vectors_compute_what_arrays_do() -> None:
    values = np.random.default_rng(1).standard_normal(9)
    expected, found = np.zeros(14), np.zeros(14)
    _compute(values, expected)
    njit(_compute)(values, found)
    octet = values[1:9]
    assert np.allclose(expected[:8], 2 * octet - octet**2 + values[0], rtol=1e-15)
    assert np.allclose(expected[8:12], values[3:7] * values[2] - 1.5, rtol=1e-15)
    assert expected[12:].tolist() == [values[0] * values[2], values[1] * 3.0]
    # Multiplications and additions are contracted.
    assert np.allclose(found, expected, rtol=0, atol=1e-15 * (1 + np.abs(values).max()) ** 2)


@pytest.mark.parametrize("values", [np.zeros(32)[::2], np.zeros((4, 8)), np.zeros(16, dtype=np.float32)])
def test_what_is_no_contiguous_array_of_float64_is_refused(values: np.ndarray) -> None:
    with pytest.raises(TypingError, match="load_quad"):
        njit(lambda x: store(load_quad(x, 0), x, 4))(values)


def test_kernels_with_vectors_run_as_plain_python() -> None:
    script = (
        "import numpy as np; from hetdask_kernels import LANES, model_grams; rng = np.random.default_rng(2);"
        "n = 16; shapes = (1, n, 4), (n, 6), (1, n), (n, LANES);"
        "step, amplitude, keep, gain = (rng.uniform(0.2, 0.7, shape) for shape in shapes);"
        "grams = np.zeros((1, LANES + 2, LANES + 2)); model_grams(step, amplitude, keep, gain, np.arange(1), grams);"
        "print(*grams.ravel().tolist())"
    )
    plain, compiled = (
        np.array(
            subprocess.run(
                [sys.executable, "-c", script],
                env={**os.environ, "NUMBA_DISABLE_JIT": switch},
                check=True,
                capture_output=True,
                text=True,
            ).stdout.split(),
            dtype=np.float64,
        )
        for switch in "10"
    )
    assert np.ptp(plain) > 0
    assert plain == pytest.approx(compiled, rel=1e-12)
