"""q, angles and frames are selected as asked, or the message says what there is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetdask.data.selection import q_values, select_angles, select_frames, select_q
from hetdask.errors import ConfigError, DataError

PHI = np.array([0.0, 90.0, 0.0, 90.0])
Q = np.array([0.0054, 0.0054, 0.01, 0.01])


def test_the_only_q_needs_no_choice() -> None:
    assert select_q(Q[:2], PHI[:2], None).tolist() == [0, 1]


def test_several_q_are_listed_when_none_is_chosen() -> None:
    with pytest.raises(DataError, match=r"0\.0054 \(2 maps\), 0\.01 \(2 maps\).*--q.*0\.0054.*all"):
        select_q(Q, PHI, None)


def test_a_q_is_found_within_the_tolerance() -> None:
    assert select_q(Q, PHI, 0.00545).tolist() == [0, 1]


def test_q_beyond_the_tolerance_is_refused_and_the_tolerance_stated() -> None:
    with pytest.raises(DataError, match=r"no map has q = 0\.006 .*within 2 %.*0\.0054 \(2 maps\), 0\.01"):
        select_q(Q, PHI, 0.006)


def test_q_that_varies_a_little_with_phi_is_one_q() -> None:
    q = np.array([0.00540, 0.00541, 0.00539, 0.00545])
    phi = np.array([0.0, 45.0, 90.0, 135.0])
    assert select_q(q, phi, None).size == 4
    assert q_values(q) == [(pytest.approx(0.0054125), 4)]


def test_all_and_lists_of_q_make_a_joint_selection() -> None:
    assert select_q(Q, PHI, "all").size == 4
    assert select_q(Q, PHI, [0.01, 0.0054]).tolist() == [0, 1, 2, 3]


def test_rings_that_the_tolerance_would_mix_are_refused() -> None:
    q = np.array([0.0054, 0.0055])
    with pytest.raises(DataError, match=r"several maps at phi = 0°.*smaller q_tolerance, for example 0\.002"):
        select_q(q, np.zeros(2), 0.0054)
    with pytest.raises(DataError, match="several maps"):
        select_q(q, np.zeros(2), None)
    assert select_q(q, np.zeros(2), 0.0054, 0.005).tolist() == [0]


@pytest.mark.parametrize("wanted", [0, -0.0054, float("nan"), [], "every"])
def test_a_q_that_makes_no_sense_is_refused(wanted: object) -> None:
    with pytest.raises(ConfigError, match=r"0\.0054"):
        select_q(Q, PHI, wanted)


@pytest.mark.parametrize("tolerance", [-0.1, 1.0, float("nan")])
def test_a_tolerance_that_makes_no_sense_is_refused(tolerance: float) -> None:
    with pytest.raises(ConfigError, match="q_tolerance"):
        select_q(Q, PHI, 0.0054, tolerance)


def test_angles_wrap_around() -> None:
    phi = np.array([-10.0, 0.0, 10.0, 10.1, 180.0, 350.0, 359.0])
    assert select_angles(phi, [(-10, 10)]).tolist() == [0, 1, 2, 5, 6]
    assert select_angles(phi, [(350, 10)]).tolist() == [0, 1, 2, 5, 6]
    assert select_angles(phi, [(170, 190), (10.1, 10.1)]).tolist() == [3, 4]
    assert select_angles(phi, [(-180, 180)]).size == phi.size
    assert select_angles(phi, None).size == phi.size


@given(phi=st.floats(-720, 720), low=st.floats(-360, 360), width=st.floats(0.01, 359))
def test_an_angle_is_within_a_range_if_some_turn_of_it_is(phi: float, low: float, width: float) -> None:
    turns = [phi + 360 * k for k in range(-5, 6)]
    inside = any(low <= turn <= low + width for turn in turns)
    near = any(min(abs(turn - low), abs(turn - low - width)) < 1e-6 for turn in turns)
    try:
        found = select_angles(np.array([phi]), [(low, low + width)]).size == 1
    except DataError:
        found = False
    assert near or found == inside


def test_an_empty_selection_of_angles_lists_them() -> None:
    with pytest.raises(DataError, match=r"no angle lies within 20:30 .*0, 90, 0, 90.*--angles"):
        select_angles(PHI, [(20, 30)])
    with pytest.raises(DataError, match="no angle"):
        select_angles(PHI, [])


def test_a_range_of_angles_that_is_no_number_is_refused() -> None:
    with pytest.raises(ConfigError, match="-10:10"):
        select_angles(PHI, [(float("nan"), 10)])


def test_frames_are_counted_from_one_and_inclusive() -> None:
    assert select_frames(100, (1, 100)) == slice(0, 100)
    assert select_frames(100, (11, 13)) == slice(10, 13)
    assert select_frames(100, None) == slice(0, 100)


@pytest.mark.parametrize("frames", [(0, 10), (1, 101), (50, 40), (-5, 10)])
def test_frames_outside_the_series_are_refused(frames: tuple[int, int]) -> None:
    with pytest.raises(DataError, match=r"frames 1 to 100.*--frames.*1:100"):
        select_frames(100, frames)


def test_fewer_than_three_frames_are_refused() -> None:
    with pytest.raises(DataError, match="found 2 frames, expected at least 3"):
        select_frames(100, (5, 6))
    with pytest.raises(DataError, match="the file is too short"):
        select_frames(2, None)
