"""A small experiment with a hand-made refinement, and the run folder that it leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from hetdask.data.maps import prepare_map
from hetdask.data.store import Store
from hetdask.data.store_writer import StoreWriter
from hetdask.fitting import AngleFit, HistoryEntry, Refinement
from hetdask.fitting.deviations import Deviation
from hetdask.fitting.goodness import Check, Goodness
from hetdask.model import NAMES, PARAMETERS, as_vector, correlation
from hetdask.results import Result
from hetdask.results.dataset import Contents, Variable
from hetdask.results.files import write_run
from hetdask.results.result import RunFacts


def contents_of(dataset: xr.Dataset) -> Contents:
    """A dataset, which is easily changed, as figures and texts take it."""
    variables, coordinates = (
        {str(name): Variable(tuple(map(str, one.dims)), one.to_numpy(), one.attrs) for name, one in part.items()}
        for part in (dataset.data_vars, dataset.coords)
    )
    return Contents(variables, coordinates, dataset.attrs)


VALUES = {
    "D0_ref": 401.2345,
    "alpha_ref": -0.2,
    "D_offset_ref": 5.0,
    "D0_sample": 3021.0,
    "alpha_sample": 0.1,
    "D_offset_sample": -20.0,
    "v0": 22.0,
    "beta": 0.1,
    "v_offset": 1.0,
    "f0": 0.35,
    "f1": -0.012,
    "f2": 0.0,
    "f3": 1.0,
    "phi0": 4.0,
}
ERRORS = {
    "D0_ref": 3.1,
    "alpha_ref": 0.0042,
    "D_offset_ref": 0.8,
    "D0_sample": 45.0,
    "alpha_sample": 0.0061,
    "D_offset_sample": float("nan"),
    "v0": 0.052,
    "beta": 0.0031,
    "v_offset": 0.4,
    "f0": 0.0027,
    "f1": 0.00031,
    "f3": 0.0019,
    "phi0": 0.041,
}
FRAMES, TILE, DT, TIME_ORIGIN, SIGMA = 40, 16, 0.5, 0.25, 0.004
PHI = np.array([-20.0, 10.0, 90.0])
Q = np.full(3, 0.0054)
CONTRAST = np.array([0.25, 0.3, 0.2])
OFFSET = np.array([1.0, 1.01, 0.99])


@pytest.fixture(scope="session")
def make_store(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Store]:
    """Write a store: the model with noise, a missing frame and missing pixels."""

    def make(n_phi: int = 3, frames: int = FRAMES, tile: int = TILE, dt: float = DT) -> Store:
        rng = np.random.default_rng(5)
        phi = np.resize(PHI, n_phi) + np.arange(n_phi) // 3
        time = TIME_ORIGIN + dt * np.arange(frames)
        g = correlation(VALUES, time, phi, Q[0])
        scale = (np.resize(column, n_phi)[:, None, None] for column in (OFFSET, CONTRAST))
        maps = next(scale) + next(scale) * g + SIGMA * rng.normal(size=g.shape)
        maps[:, frames // 3, :] = np.nan
        maps[:, :, frames // 3] = np.nan
        maps[0, 2, frames - 3] = maps[0, frames - 3, 2] = np.nan
        maps = np.triu(maps) + np.triu(maps, 1).transpose(0, 2, 1)
        path = tmp_path_factory.mktemp("store") / "maps.zarr"
        axes = {"phi": phi, "q": Q[0], "n_frames": frames, "dt": dt, "time_origin": TIME_ORIGIN}
        with StoreWriter(path, **axes, tile=tile, provenance={"source": "/data/scan_0042.hdf"}) as writer:
            writer.write(prepare_map(pixels, f"map {index}") for index, pixels in enumerate(maps))
        return Store.open(path)

    return make


@pytest.fixture(scope="session")
def store(make_store: Callable[..., Store]) -> Store:
    return make_store()


@pytest.fixture(scope="session")
def make_refinement() -> Callable[[Store], Refinement]:
    """A converged refinement of a store: one parameter fixed, one at its bound, one not identified."""

    def make(store: Store) -> Refinement:
        free = tuple(ERRORS)
        errors = np.array(list(ERRORS.values()))
        shape = np.eye(errors.size) + 0.3 * (1.0 - np.eye(errors.size))
        values = as_vector(VALUES)
        count = 700
        angles = tuple(
            AngleFit(
                phi=float(store.phi[m]),
                q=float(store.q[m]),
                contrast=float(np.resize(CONTRAST, store.n_phi)[m]),
                offset=float(np.resize(OFFSET, store.n_phi)[m]),
                sigma=SIGMA,
                n_points=count,
                sum_squares=count * (1.05 * SIGMA) ** 2,
                residual_rms=1.05 * SIGMA,
            )
            for m in range(store.n_phi)
        )
        chi_squared = sum(angle.sum_squares / angle.sigma**2 for angle in angles)
        history = tuple(
            HistoryEntry(
                method="trust-region",
                iteration=k + 1,
                evaluation=k + 1,
                round=1 + k // 4,
                chi_squared=chi_squared * (1.0 + 300.0 * np.exp(-2.0 * k)) * (3.0 if k == 2 else 1.0),
                values=dict(zip(NAMES, values.tolist(), strict=True)),
                seconds=0.1 * (k + 1),
                pixels_per_second=2e8,
                improved=k != 2,
            )
            for k in range(6)
        )
        return Refinement(
            values=values,
            start=1.2 * values,
            lower=np.array([spec.lower for spec in PARAMETERS]),
            upper=np.array([spec.upper for spec in PARAMETERS]),
            free=free,
            covariance=shape * np.outer(errors, errors),
            identified=tuple(name != "D_offset_sample" for name in free),
            at_bound=tuple("max" if name == "f3" else None for name in free),
            chi_squared=chi_squared,
            n_points=count * store.n_phi,
            dof=count * store.n_phi - len(free) - 2 * store.n_phi,
            weighted_by=np.array([angle.residual_rms for angle in angles]),
            angles=angles,
            status="converged",
            message="`ftol` termination condition is satisfied.",
            method="trust-region",
            iterations=5,
            evaluations=6,
            seconds=0.6,
            passes=7,
            history=history,
        )

    return make


@pytest.fixture
def refinement(store: Store, make_refinement: Callable[[Store], Refinement]) -> Refinement:
    return make_refinement(store)


@pytest.fixture
def result(refinement: Refinement, store: Store) -> Result:
    return Result.from_refinement(refinement, store, method="classical", timings={"ingest": 1.25}, seed=7)


@pytest.fixture
def compared(refinement: Refinement, store: Store) -> Result:
    """Two methods, of which the slower one did not converge."""
    simplex = replace(
        refinement,
        method="nelder-mead",
        status="not_converged",
        message="stopped at the limit of evaluations (fit.nelder_mead.max_evaluations) before the tolerance was met",
        chi_squared=1.01 * refinement.chi_squared,
        values=1.001 * refinement.values,
        iterations=7_000,
        evaluations=10_000,
        passes=10_001,
        seconds=83.0,
    )
    return Result.from_refinement(
        refinement, store, method="all", tried=[refinement, simplex], timings={"total": 83.6}, seed=7
    )


@pytest.fixture
def failed(refinement: Refinement, store: Store) -> Result:
    """A fit that ended without an answer, with a map that the model does not describe."""
    angles = (replace(refinement.angles[0], contrast=-0.1), *refinement.angles[1:])
    message = "the contrast is not positive at -20°: the model does not describe these maps"
    return Result.from_refinement(replace(refinement, status="not_converged", message=message, angles=angles), store)


@pytest.fixture(scope="session")
def run_folder(
    tmp_path_factory: pytest.TempPathFactory, store: Store, make_refinement: Callable[[Store], Refinement]
) -> Path:
    """A whole run folder, written once and only read."""
    folder = tmp_path_factory.mktemp("run") / "run"
    config = {"fit": {"tolerance": 1e-8, "sigma": None}, "note": float("nan")}
    checks = (Check("level", 1e-9), Check("lag", 0.4), Check("time", 0.03), Check("angles", 0.2), Check("common", 3e-7))
    goodness = Goodness(np.array([1.04, 0.93, 2.6]), np.array([0.4, 0.7, 1e-9]), checks)
    facts: RunFacts = {
        "method": "classical",
        "seed": 7,
        "goodness": goodness,
        "deviations": (Deviation(1, (11, 14), (0, FRAMES), 23.4, True), Deviation(2, (0, 8), (24, 32), 12.0, False)),
    }
    write_run(folder, make_refinement(store), store, config=config, **facts)
    return folder
