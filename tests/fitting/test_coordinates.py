"""Coordinates of a search: what they mean, that they stay inside the bounds, and which solution is canonical."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hetdask.fitting.coordinates import Coordinates, make_coordinates
from hetdask.fitting.problem import Problem, integrable_bounds
from hetdask.model import NAMES, PARAMETERS, as_vector, correlation, dynamics

TIME = np.arange(201) * 0.5
Q = 0.0054
START, LOWER, UPPER = np.array([(spec.start, spec.lower, spec.upper) for spec in PARAMETERS]).T
LOWER = integrable_bounds(LOWER, 0.0)
USUAL = tuple(name for name in NAMES if name != "f2")
SUBSETS = [
    USUAL,
    NAMES,
    ("D0_ref", "alpha_ref", "D0_sample", "alpha_sample", "v0", "beta", "f0", "f1", "f3", "phi0"),
    ("D0_ref", "D_offset_ref", "D0_sample", "v0", "f0", "f3"),
    ("D_offset_ref", "v_offset", "beta", "f1"),
]


def problem(names: tuple[str, ...] = USUAL, **bounds: tuple[float, float]) -> Problem:
    start, lower, upper = START.copy(), LOWER.copy(), UPPER.copy()
    for name, (low, high) in bounds.items():
        k = NAMES.index(name)
        lower[k], upper[k] = low, high
        start[k] = min(max(start[k], low), high)
    return Problem(start, lower, upper, tuple(NAMES.index(name) for name in names), np.ones(1))


def inside(coordinates: Coordinates, share: list[float]) -> NDArray[np.float64]:
    """Point of the box from numbers 0..1."""
    return coordinates.lower + np.resize(share, coordinates.lower.size) * (coordinates.upper - coordinates.lower)


shares = st.lists(st.floats(0.001, 0.999), min_size=13, max_size=13)


@given(shares, st.sampled_from(SUBSETS))
def test_every_point_of_the_box_is_a_parameter_vector_within_the_bounds(
    share: list[float], names: tuple[str, ...]
) -> None:
    p = problem(names)
    coordinates = make_coordinates(p, TIME, Q)
    x = inside(coordinates, share)
    vector = coordinates.decode(x)
    assert np.all((vector >= p.lower) & (vector <= p.upper))
    fixed = [k for k in range(len(NAMES)) if k not in p.free]
    np.testing.assert_array_equal(vector[fixed], p.start[fixed])
    free = list(p.free)
    if np.all((vector > p.lower) & (vector < p.upper), where=np.isin(np.arange(len(NAMES)), free)):
        np.testing.assert_allclose(coordinates.encode(vector), x, rtol=1e-7, atol=1e-7)


@given(shares, st.sampled_from(SUBSETS))
def test_derivatives_of_the_parameters_are_exact(share: list[float], names: tuple[str, ...]) -> None:
    coordinates = make_coordinates(problem(names), TIME, Q)
    x = inside(coordinates, share)
    if "constant_share" in coordinates.names:
        start, end = (x[coordinates.names.index(name)] for name in ("fraction_start", "fraction_end"))
        assume(abs(start - end) > 1e-3)  # f3 is a share of the smaller one
    vector, slope = coordinates.linearise(x)
    for k in range(x.size):
        step = np.zeros(x.size)
        step[k] = 1e-6
        above, below = coordinates.decode(x + step), coordinates.decode(x - step)
        held = slope[:, k] == 0.0  # a bound, or a kink, may lie within the step
        numerical = (above - below) / 2e-6
        np.testing.assert_allclose(
            slope[~held, k], numerical[~held], rtol=1e-4, atol=float(1e-6 * np.abs(vector).max() + 1e-7)
        )


def test_coordinates_mean_what_they_say() -> None:
    coordinates = make_coordinates(problem(), TIME, Q)
    values = dict(zip(coordinates.names, inside(coordinates, [0.6, 0.5, 0.4]), strict=True))
    d = dynamics(coordinates.decode(np.array(list(values.values()))), TIME)
    middle, length = TIME.size // 2, TIME[-1]
    assert np.exp(values["log_rate_ref"]) == pytest.approx(Q**2 * d.j_ref[middle] * length)
    assert np.exp(values["log_rate_sample"]) == pytest.approx(Q**2 * d.j_sample[middle] * length)
    assert np.exp(values["log_rate_flow"]) == pytest.approx(Q * d.velocity[middle] * length / (2.0 * np.pi))
    assert 1.0 / (1.0 + np.exp(-values["fraction_start"])) == pytest.approx(d.fraction[0])
    assert 1.0 / (1.0 + np.exp(-values["fraction_end"])) == pytest.approx(d.fraction[-1])
    assert np.degrees(values["direction"]) == pytest.approx(d.phi0)


def test_the_box_lies_within_the_bounds() -> None:
    narrow = make_coordinates(
        problem(("D0_ref", "v0", "beta"), D0_ref=(100.0, 400.0), v0=(-30.0, 10.0), beta=(0.0, 0.5)), TIME, Q
    )
    low, high = (narrow.decode(edge) for edge in (narrow.lower, narrow.upper))
    assert (low[0], high[0]) == pytest.approx((100.0, 400.0))
    assert high[NAMES.index("v0")] < 0.0  # where the bounds leave more room
    assert (low[NAMES.index("beta")], high[NAMES.index("beta")]) == (0.0, 0.5)


@pytest.mark.parametrize(
    "changes",
    [
        {"phi0": 130.0},
        {"v0": -20.0, "v_offset": 5.0},
        {"v0": 20.0, "phi0": -180.0},
        {"D0_ref": 900.0, "D0_sample": 30.0, "f0": 0.3, "f1": 0.01, "f3": 0.2},
        {"f2": 12.0, "f1": -0.02, "f0": 0.5},
    ],
)
def test_the_canonical_solution_is_the_same_model(changes: dict[str, float]) -> None:
    free = problem(NAMES, f0=(-1.0, 1.0))
    coordinates = make_coordinates(free, TIME, Q)
    vector = as_vector({"D0_ref": 50.0, "D0_sample": 400.0, "v0": 20.0, "phi0": 30.0, **changes})
    canonical = coordinates.canonical(vector)
    assert not np.array_equal(canonical, vector)
    np.testing.assert_array_equal(coordinates.canonical(canonical), canonical)
    phi, few = np.array([-20.0, 40.0, 100.0]), TIME[::20]
    np.testing.assert_allclose(correlation(canonical, few, phi, Q), correlation(vector, few, phi, Q), atol=1e-12)
    d = dynamics(canonical, TIME)
    assert d.velocity[100] > 0.0
    assert d.j_ref[100] <= d.j_sample[100]
    assert -90.0 <= d.phi0 < 90.0
    assert canonical[NAMES.index("f2")] == 0.0


def test_bounds_limit_the_choice_of_a_canonical_solution() -> None:
    coordinates = make_coordinates(problem(phi0=(100.0, 200.0), v0=(-1e3, -1.0)), TIME, Q)
    vector = as_vector({"D0_ref": 900.0, "D0_sample": 30.0, "v0": -20.0, "phi0": 130.0, "f0": 0.3, "f1": 0.01})
    np.testing.assert_array_equal(coordinates.canonical(vector), vector)
