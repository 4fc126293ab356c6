"""`hetdask simulate`: an experiment of which the truth is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hetdask.config import Settings

LAYOUTS: Final = ("aps-u", "aps-old", "npz", "zarr")


@click.command("simulate")
@click.argument("config", type=click.Path())
@click.argument("out", type=click.Path())
@click.option("--layout", type=click.Choice(LAYOUTS), default="aps-u", show_default=True, help="Layout of OUT.")
@click.option(
    "--noise",
    type=click.Choice(["gaussian", "speckle"]),
    default="gaussian",
    show_default=True,
    help="White noise on exact maps, or maps computed from simulated speckles.",
)
@click.option("--seed", type=int, metavar="N", help="Seed of the random numbers; wins over CONFIG.")
@click.option("--overwrite", is_flag=True, help="Replace OUT.")
def command(config: str, out: str, layout: str, noise: str, seed: int | None, overwrite: bool) -> None:
    """Simulate the experiment under `simulation` in CONFIG and write it to OUT."""
    from hetdask.config import load_settings

    settings = load_settings(config, [] if seed is None else [("simulation.seed", seed)])
    count = simulate(settings, Path(out), layout=layout, noise=noise, overwrite=overwrite)
    click.echo(f"{out}: {count} simulated maps")


def simulate(settings: Settings, out: Path, *, layout: str, noise: str, overwrite: bool) -> int:
    """Write the experiment that settings describe; the number of maps.

    Parameters
    ----------
    settings : Settings
        With a section `simulation`.
    out : Path
    layout : {"aps-u", "aps-old", "npz", "zarr"}
    noise : {"gaussian", "speckle"}
    overwrite : bool

    Raises
    ------
    ConfigError
        If the settings describe no experiment, or one that diverges.
    DataError
        If the file exists or cannot be written.
    """
    from hetdask.data import writers

    plan = settings.experiment()
    phi, q, time = plan.axes()
    write: dict[str, Callable[..., Any]] = {
        "aps-u": writers.write_aps_u,
        "aps-old": writers.write_aps_old,
        "npz": writers.write_npz,
        "zarr": writers.write_store,
    }
    write[layout](out, _maps(settings, phi, q, time, noise), phi, q, plan.dt, overwrite=overwrite)
    return int(q.size)


def _maps(
    settings: Settings, phi: NDArray[np.float64], q: NDArray[np.float64], time: NDArray[np.float64], noise: str
) -> Iterator[NDArray[np.float64]]:
    """Maps (N, N), one at a time, each with random numbers of its own."""
    import numpy as np

    from hetdask.model import simulate_gaussian, simulate_speckle

    plan, truth = settings.experiment(), settings.true_values()
    for angle, wavevector, rng in zip(phi, q, np.random.default_rng(plan.seed).spawn(q.size), strict=True):
        if noise == "gaussian":
            maps = simulate_gaussian(
                truth,
                time,
                [angle],
                wavevector,
                contrast=plan.contrast,
                offset=plan.offset,
                sigma=plan.sigma,
                rng=rng,
            )
        else:
            maps = simulate_speckle(
                truth,
                time,
                [angle],
                wavevector,
                speckles=plan.speckles,
                modes=plan.modes,
                photons=plan.photons,
                rng=rng,
            )
        yield maps[0]
