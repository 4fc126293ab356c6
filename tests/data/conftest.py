"""Maps with a known signal and known noise, and files that hold them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hetdask.data.writers import write_aps_u

NOISE = 0.01


@pytest.fixture(scope="session")
def make_maps() -> Callable[..., NDArray[np.float32]]:
    """Full symmetric maps (n, N, N) that decay with the lag at a rate of their own, with white noise."""

    def make(n_maps: int, n_frames: int, *, noise: float = NOISE, seed: int = 0) -> NDArray[np.float32]:
        rng = np.random.default_rng(seed)
        frames = np.arange(n_frames)
        lag = np.abs(frames[:, None] - frames) / n_frames
        rates = 2.0 + np.arange(n_maps)
        maps = 1 + 0.3 * np.exp(-rates[:, None, None] * lag) + noise * rng.standard_normal((n_maps, n_frames, n_frames))
        return (np.triu(maps) + np.triu(maps, 1).transpose(0, 2, 1)).astype(np.float32)

    return make


@pytest.fixture
def aps_u_file(tmp_path: Path, make_maps: Callable[..., NDArray[np.float32]]) -> Path:
    """Three angles of 40 frames at one q in the layout of APS-U."""
    return write_aps_u(tmp_path / "scan.hdf", make_maps(3, 40), [0, 45, 90], 0.0054, 0.1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with real files: HETDASK_SHARED_DATA, or ../shared/data beside the checkout."""
    default = Path(__file__).parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("HETDASK_SHARED_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no folder with real files at {folder}: set HETDASK_SHARED_DATA")
    return folder
