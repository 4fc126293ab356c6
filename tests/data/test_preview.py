"""A preview shows block means of the pixels, of files and stores alike, and leaves nothing out between blocks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hetdask.cli.main import run
from hetdask.data.preview import SIDE, preview
from hetdask.data.writers import write_aps_u, write_store
from hetdask.errors import DataError


@pytest.fixture
def maps(make_maps: Callable[..., NDArray[np.float32]]) -> NDArray[np.float32]:
    maps = make_maps(2, 300)
    maps[1, 20] = maps[1, :, 20] = np.nan
    return maps


def test_cells_and_cuts_are_means_over_blocks_of_pixels(maps: NDArray[np.float32], tmp_path: Path) -> None:
    file = write_aps_u(tmp_path / "scan.hdf", maps, [0, 45], [0.0054] * 2, 0.1)
    store = write_store(tmp_path / "scan.zarr", maps, phi=[0, 45], q=0.0054, dt=0.1)
    for found in (preview(file), preview(store.path)):
        assert [one.phi for one in found] == [0.0, 45.0]
        for one, pixels in zip(found, maps.astype(np.float64), strict=True):
            assert one.cells.shape == (150, 150)
            assert one.cells.shape[0] <= SIDE
            near, far = np.nanmean(pixels[40:42, 44:46]), np.nanmean(pixels[0:16, 256:272])
            assert one.cells[20, 22] == pytest.approx(near, rel=1e-6)
            assert one.cells[5, 133] == pytest.approx(far, rel=1e-6)
            cut = one.cuts[1]
            assert cut.waiting == pytest.approx(10.4)
            assert np.all(np.diff(cut.lag) > 0.0)
            assert cut.mean[0] == pytest.approx(np.nanmean(pixels[104:106, 106:108]), rel=1e-6)
        assert np.nanmin(found[1].cells[10]) > 0.0  # one of its two frames is bad


def test_inspect_draws_it(maps: NDArray[np.float32], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "maps.npy", maps)
    known = ["inspect", str(tmp_path / "maps.npy"), "--phi", "0,45", "--q", "0.0054"]
    assert run([*known, "--dt", "0.1", "--plot", str(tmp_path / "new" / "preview.png")]) == 0
    assert (tmp_path / "new" / "preview.png").read_bytes().startswith(b"\x89PNG")
    assert "drawn to" in capsys.readouterr().out
    assert run([*known, "--plot", "preview.svg"]) == 2
    assert run([*known, "--plot", str(tmp_path / "preview.png")]) == 2
    assert "--dt 0.1" in capsys.readouterr().err


def test_of_many_maps_an_even_selection_is_shown(make_maps: Callable[..., NDArray[np.float32]], tmp_path: Path) -> None:
    phi = np.arange(9.0)
    store = write_store(tmp_path / "scan.zarr", make_maps(9, 40), phi=phi, q=0.0054, dt=0.1)
    assert [one.phi for one in preview(store.path, most=3)] == [0.0, 4.0, 8.0]
    with pytest.raises(DataError):
        preview(tmp_path / "nothing.hdf")
