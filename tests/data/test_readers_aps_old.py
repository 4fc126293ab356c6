"""Files of the former APS 8-ID-I: lists of any shape, maps numbered by bin or in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest

from hetdask.data.readers import open_source, read_maps
from hetdask.errors import DataError

type Write = Callable[..., Path]

Q = [0.0031, 0.0054, 0.00541, 0.0100]
PHI = [0.0, 0.0, 90.0, 90.0]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """By hand: maps of 4 frames that hold their number."""

    def make(
        numbers: Sequence[int],
        *,
        processed: Sequence[int] | None = None,
        q: Sequence[float] = Q,
        phi: Sequence[float] = PHI,
        flat: bool = False,
        prefix: str = "g2",
    ) -> Path:
        path = tmp_path / "old.hdf"
        with h5py.File(path, "w") as file:
            for number in numbers:
                values = np.full((4, 4), number, dtype=np.float32)
                file.create_dataset(
                    f"/exchange/C2T_all/{prefix}_{number:05d}", data=values, chunks=(4, 4), compression="gzip"
                )
            file["/xpcs/dqlist"] = np.array(q) if flat else np.array([q])
            file["/xpcs/dphilist"] = np.array(phi) if flat else np.array([phi])
            if processed is not None:
                file["/xpcs/qphi_bin_to_process"] = np.array([processed])
            file["/measurement/instrument/detector/exposure_period"] = np.array([[0.1]])
            file["/xpcs/stride_frames"] = np.array([[3]])
            file["/xpcs/avg_frames"] = 2
        return path

    return make


def found(path: Path) -> list[tuple[int | None, float, float]]:
    return [(entry.bin, entry.q, entry.phi) for entry in open_source(path).entries]


EXPECTED = [(bin_, q, phi) for bin_, q, phi in zip([1, 2, 3, 4], Q, PHI, strict=True)]


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("prefix", ["g2", "c2"])
def test_lists_of_either_shape_and_maps_of_either_name_are_read(write: Write, flat: bool, prefix: str) -> None:
    path = write([1, 2, 3, 4], flat=flat, prefix=prefix)
    source = open_source(path)
    assert found(path) == EXPECTED
    assert source.layout == "aps-old"
    assert source.dt == pytest.approx(0.1 * 3 * 2)
    assert [pixels[0, 0] for pixels in read_maps(source, source.entries)] == [1, 2, 3, 4]


def test_maps_numbered_by_bin(write: Write) -> None:
    assert found(write([2, 4], processed=[2, 4])) == [EXPECTED[1], EXPECTED[3]]
    assert found(write([2, 4], processed=[4, 2])) == [EXPECTED[1], EXPECTED[3]]


def test_maps_numbered_in_order(write: Write) -> None:
    assert found(write([1, 2], processed=[2, 4])) == [EXPECTED[1], EXPECTED[3]]
    assert found(write([1, 2], processed=[4, 2])) == [EXPECTED[3], EXPECTED[1]]


def test_maps_without_a_list_of_bins_are_taken_by_number_and_noted(write: Write) -> None:
    path = write([2, 4])
    assert found(path) == [EXPECTED[1], EXPECTED[3]]
    assert "qphi_bin_to_process" in open_source(path).notes[0]


def test_lists_of_the_processed_bins_only(write: Write) -> None:
    assert found(write([7, 9], processed=[7, 9], q=Q[:2], phi=PHI[:2])) == [(7, Q[0], PHI[0]), (9, Q[1], PHI[1])]
    assert found(write([1, 2], processed=[7, 9], q=Q[:2], phi=PHI[:2])) == [(7, Q[0], PHI[0]), (9, Q[1], PHI[1])]
    assert found(write([7, 9], q=Q[:2], phi=PHI[:2])) == [(7, Q[0], PHI[0]), (9, Q[1], PHI[1])]


def test_numbers_that_could_be_either_are_refused(write: Write) -> None:
    with pytest.raises(DataError, match=r"by bin or in the order.*2, 1"):
        open_source(write([1, 2], processed=[2, 1]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"numbers": [1, 3], "processed": [2, 4]}, "numbered 1, 3 and .* holds 2, 4"),
        ({"numbers": [2, 5], "processed": [2, 5]}, "a map of bin 5, expected 1 to 4"),
        ({"numbers": [2, 9]}, "a map of bin 9, expected 1 to 4"),
        ({"numbers": [1, 2], "q": Q[:3]}, "3 values and .* 4, expected as many"),
    ],
)
def test_lists_that_contradict_each_other_are_refused(write: Write, options: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_source(write(**options))


def test_multitau_only_is_said(write: Write) -> None:
    path = write([1])
    with h5py.File(path, "r+") as file:
        del file["/exchange/C2T_all"]
        file["/exchange/norm-0-g2"] = np.ones((4, 20))
    with pytest.raises(DataError, match="multitau results only"):
        open_source(path)
