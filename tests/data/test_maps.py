"""A map becomes the same store content from any triangle, and everything odd about it is found."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from hetdask.data.maps import Findings, prepare_map
from hetdask.errors import DataError

type MakeMaps = Callable[..., NDArray[np.float32]]


@pytest.fixture
def full(make_maps: MakeMaps) -> NDArray[np.float32]:
    return make_maps(1, 40)[0]


def strictly_upper(pixels: NDArray[np.floating]) -> NDArray[np.float32]:
    c2 = pixels.astype(np.float32)
    c2[np.tril_indices_from(c2)] = np.nan
    return c2


@pytest.mark.parametrize(
    ("triangle", "fill"), [("upper", 0), ("upper", 1), ("upper", np.nan), ("lower", 0), ("lower", np.nan), ("full", 0)]
)
def test_every_triangle_gives_the_same_pixels(full: NDArray[np.float32], triangle: str, fill: float) -> None:
    pixels = full.copy()
    if triangle == "upper":
        pixels[np.tril_indices(40, -1)] = fill
    elif triangle == "lower":
        pixels[np.triu_indices(40, 1)] = fill
    c2, excluded, findings = prepare_map(pixels, "map")
    np.testing.assert_array_equal(c2, strictly_upper(full))
    assert not excluded.any()
    assert findings.triangle == triangle
    assert findings.pixels == 40 * 39 // 2
    assert findings.missing == 0


def test_a_full_symmetric_map_is_not_doubled(full: NDArray[np.float32]) -> None:
    c2, _, findings = prepare_map(full, "map")
    assert findings.asymmetry == 0
    assert np.count_nonzero(np.isfinite(c2)) == 780
    assert np.nanmax(c2) == full[np.triu_indices(40, 1)].max()


def test_the_input_is_not_changed(full: NDArray[np.float32]) -> None:
    before = full.copy()
    prepare_map(full, "map")
    np.testing.assert_array_equal(full, before)


def test_triangles_that_differ_are_an_error_with_the_asymmetry(full: NDArray[np.float32]) -> None:
    noise = np.tril(0.01 * np.random.default_rng(1).standard_normal((40, 40)), -1)
    above = np.triu_indices(40, 1)
    pixels = full + noise
    expected = np.sqrt(np.mean(noise.T[above] ** 2)) / np.std(full[above])
    with pytest.raises(DataError, match=rf"differ by {expected:.3g} standard deviations.*--asymmetry average"):
        prepare_map(pixels, "map")


def test_triangles_that_differ_are_averaged_on_request(full: NDArray[np.float32]) -> None:
    pixels = full + np.tril(0.01 * np.random.default_rng(1).standard_normal((40, 40)), -1)
    pixels[3, 9] = np.nan
    pixels[12, 4] = np.inf
    c2, _, findings = prepare_map(pixels, "map", asymmetry="average")
    mean = strictly_upper(0.5 * (pixels + pixels.T))
    mean[3, 9], mean[4, 12] = pixels[9, 3], pixels[4, 12]
    np.testing.assert_allclose(c2, mean, rtol=1e-6)
    assert findings.averaged
    assert findings.missing == 0


def test_rounding_is_no_asymmetry(full: NDArray[np.float32]) -> None:
    pixels = full * (1 + np.tril(np.full((40, 40), 2e-7, dtype=np.float32), -1))
    _, _, findings = prepare_map(pixels, "map")
    assert 0 < findings.asymmetry < 1e-3
    assert not findings.averaged


def test_a_pixel_that_one_triangle_lacks_is_taken_from_the_other(full: NDArray[np.float32]) -> None:
    pixels = full.copy()
    pixels[3, 9] = np.nan
    c2, _, findings = prepare_map(pixels, "map")
    np.testing.assert_array_equal(c2, strictly_upper(full))
    assert findings.missing == 0


@pytest.mark.parametrize("value", [np.nan, 0.0, 1.0])
def test_frames_without_data_are_masked_and_reported(full: NDArray[np.float32], value: float) -> None:
    pixels = full.copy()
    for frame in (0, 17, 39):
        pixels[frame] = pixels[:, frame] = value
    c2, excluded, findings = prepare_map(np.triu(pixels), "map", first_frame=11)
    assert np.flatnonzero(excluded).tolist() == [0, 17, 39]
    assert findings.bad_frames == (11, 28, 50)
    assert findings.missing == 0
    assert findings.pixels == 37 * 36 // 2
    assert np.all(np.isnan(c2[17]))
    assert np.all(np.isnan(c2[:, 17]))


def test_a_frame_that_only_has_pairs_with_dead_frames_is_dead(full: NDArray[np.float32]) -> None:
    pixels = np.triu(full)
    pixels[[0, 1]] = pixels[:, [0, 1]] = np.nan
    pixels[0, 2:4] = [1.1, 1.2]  # frame 0 has two pairs, and both partners are dead
    pixels[2, 4:] = pixels[3, 4:] = pixels[2, 3] = np.nan
    c2, excluded, findings = prepare_map(pixels, "map")
    assert np.flatnonzero(excluded).tolist() == [0, 1, 2, 3]
    assert findings.missing == 0
    assert findings.pixels == 36 * 35 // 2
    assert np.count_nonzero(np.isfinite(c2)) == findings.pixels


def test_single_pixels_that_are_not_finite_are_missing(full: NDArray[np.float32]) -> None:
    pixels = np.triu(full).astype(np.float64)
    pixels[2, 3], pixels[5, 30], pixels[6, 31], pixels[7, 32] = np.nan, np.inf, -np.inf, 1e300
    c2, excluded, findings = prepare_map(pixels, "map")
    assert findings.missing == 4
    assert not excluded.any()
    assert np.isnan(c2[[2, 5, 6, 7], [3, 30, 31, 32]]).all()


@pytest.mark.parametrize("value", [np.nan, 0.0, 1.0])
def test_a_map_without_data_is_an_error(value: float) -> None:
    with pytest.raises(DataError, match=r"map 7 has no data.*--angles"):
        prepare_map(np.full((30, 30), value), "map 7")


def test_a_map_with_fewer_than_three_good_frames_is_an_error(full: NDArray[np.float32]) -> None:
    pixels = np.triu(full)
    pixels[2:] = pixels[:, 2:] = np.nan
    pixels[0, 1] = 1.2
    with pytest.raises(DataError, match="no data"):
        prepare_map(pixels, "map")


def test_the_smallest_map_has_three_frames() -> None:
    pixels = np.array([[1.5, 1.3, 1.2], [0, 1.5, 1.25], [0, 0, 1.5]])
    c2, _, findings = prepare_map(pixels, "map")
    assert findings.pixels == 3
    assert np.nanmax(c2) == np.float32(1.3)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("kept", lambda diagonal, _: diagonal + 0.4),
        ("halved", lambda diagonal, _: 0.5 * diagonal),
        ("constant", lambda diagonal, _: np.ones_like(diagonal)),
        ("absent", lambda diagonal, _: np.full_like(diagonal, np.nan)),
        ("interpolated", lambda _, beside: np.concatenate([[1], 0.5 * (beside[1:] + beside[:-1]), [1]])),
    ],
)
def test_what_became_of_the_diagonal_is_reported(
    full: NDArray[np.float32], kind: str, change: Callable[..., NDArray[np.float32]]
) -> None:
    pixels = np.triu(full)
    np.fill_diagonal(pixels, change(np.diagonal(full), np.diagonal(full, 1)))
    c2, _, findings = prepare_map(pixels, "map")
    assert findings.diagonal == kind
    np.testing.assert_array_equal(c2, strictly_upper(full))


@pytest.mark.parametrize(("shift", "baseline"), [(0, 1), (-1, 0), (4, None)])
def test_the_baseline_is_reported_and_the_data_kept(
    full: NDArray[np.float32], shift: float, baseline: int | None
) -> None:
    c2, _, findings = prepare_map(np.triu(full) + np.triu(np.full_like(full, shift)), "map")
    assert findings.baseline == baseline
    np.testing.assert_allclose(c2, strictly_upper(full) + shift, rtol=1e-6)


def test_findings_survive_json() -> None:
    findings = Findings("full", 0.1, True, "kept", 1.0, 1, math.nan, (3, 4), 2, 100)
    again = Findings.from_dict(findings.as_dict())
    assert findings.as_dict()["noise"] is None
    assert math.isnan(again.noise)
    assert again.bad_frames == (3, 4)


@given(
    pixels=hnp.arrays(
        np.float64,
        st.integers(3, 40).map(lambda n: (n, n)),
        elements=st.floats(0.5, 2.0),
        fill=st.just(np.nan),
    ),
)
@settings(max_examples=50, deadline=None)
def test_pixels_are_finite_exactly_where_they_are_data(pixels: NDArray[np.float64]) -> None:
    pixels = np.triu(pixels, 1)
    n = pixels.shape[0]
    try:
        c2, excluded, findings = prepare_map(pixels, "map")
    except DataError:
        return
    good = ~excluded
    data = np.triu(np.isfinite(pixels), 1) & good[:, None] & good
    np.testing.assert_array_equal(np.isfinite(c2), data)
    np.testing.assert_array_equal(c2[data], pixels[data].astype(np.float32))
    assert findings.pixels + findings.missing == good.sum() * (good.sum() - 1) // 2
    assert c2.shape == (n, n)
