"""A small experiment on disk, and a way to run the program in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml

from hetdask.cli.main import run
from hetdask.data.writers import write_aps_u
from hetdask.model import simulate_gaussian

TRUTH = {
    "D0_ref": 300.0,
    "alpha_ref": -0.4,
    "D0_sample": 2000.0,
    "alpha_sample": 0.3,
    "v0": 120.0,
    "f0": 0.45,
    "f3": 0.15,
    "phi0": 12.0,
}
ACTIVE = ["D0_ref", "D0_sample", "v0", "f0"]
PHI = [0.0, 45.0, 90.0]
Q = [0.0054, 0.0081]
DT = 0.5
FRAMES = 60


@dataclass(frozen=True)
class Outcome:
    """What a run of the program left."""

    status: int
    out: str
    err: str


type Program = Callable[[Sequence[str | Path]], Outcome]


@pytest.fixture
def program(capsys: pytest.CaptureFixture[str]) -> Program:
    """Run the program with arguments."""

    def call(arguments: Sequence[str | Path]) -> Outcome:
        capsys.readouterr()
        status = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def maps() -> np.ndarray:
    """Maps (3, N, N) of the experiment."""
    return simulate_gaussian(
        TRUTH, DT * np.arange(FRAMES), PHI, Q[0], contrast=0.3, offset=1.0, sigma=0.01, rng=np.random.default_rng(4)
    )


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory, maps: np.ndarray) -> Path:
    """Beamline file with two q, the second with one map only."""
    path = tmp_path_factory.mktemp("source") / "scan.hdf"
    return write_aps_u(path, [*maps, maps[0]], [*PHI, PHI[0]], [Q[0]] * 3 + [Q[1]], DT)


@pytest.fixture
def make_config(tmp_path: Path, source: Path) -> Callable[..., Path]:
    """Write a configuration; keywords change its data section."""

    def make(name: str = "config.yaml", **data: object) -> Path:
        return write_config(tmp_path / name, {"source": str(source), "q": Q[0], **data}, tmp_path / "run")

    return make


@pytest.fixture
def config(make_config: Callable[..., Path]) -> Path:
    """Configuration of a fit of the experiment, in an empty folder."""
    return make_config()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Path:
    """Folder of a fit that has ended, without figures."""
    folder = tmp_path_factory.mktemp("finished")
    config = write_config(folder / "config.yaml", {"source": str(source), "q": Q[0]}, folder / "run")
    assert run(["fit", str(config), "--quiet"]) == 0
    return folder / "run"


def write_config(path: Path, data: dict[str, object], folder: Path) -> Path:
    """Configuration of a fit that starts 10 % off and needs no workers."""
    start = {name: {"value": value * (1.1 if name in ACTIVE else 1.0)} for name, value in TRUTH.items()}
    content = {
        "data": {key: value for key, value in data.items() if value is not None},
        "parameters": start,
        "fit": {"active_parameters": ACTIVE},
        "compute": {"scheduler": "inline"},
        "output": {"folder": str(folder), "plots": False},
    }
    path.write_text(yaml.safe_dump(content))
    return path
