"""The settings of a run. Every key acts; a key that is not here is an error."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    BeforeValidator,
    Field,
    FiniteFloat,
    PositiveInt,
    model_validator,
)

from hetdask.config.fit import FitSettings, Start
from hetdask.config.methods import Positive, Section
from hetdask.config.quality import QualitySettings
from hetdask.errors import ConfigError
from hetdask.model.parameters import PARAMETERS, SPECS, unknown_name
from hetdask_cluster.site import QUEUES, TlsFiles


def _pair(value: Any) -> Any:
    """Accept "1:400" for [1, 400]."""
    if isinstance(value, str) and value.count(":") == 1:
        return value.split(":")
    return value


def _listed(value: Any) -> Any:
    """Accept a single number for a list of one."""
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else value


def _bytes(value: Any) -> Any:
    """Accept "500MiB" for its bytes."""
    if not isinstance(value, str):
        return value
    from dask.utils import parse_bytes

    try:
        return parse_bytes(value)
    except ValueError as error:
        raise ConfigError(f"found {value!r}, expected a size, for example 500MiB") from error


type Frames = Annotated[tuple[PositiveInt, PositiveInt], BeforeValidator(_pair)]
type AngleRange = Annotated[tuple[FiniteFloat, FiniteFloat], BeforeValidator(_pair)]


class DataSettings(Section):
    """Which data: a file to ingest, or a store that exists."""

    source: Path | None = Field(
        None, description="beamline file or array file to ingest", examples=["data/scan_0001.hdf"]
    )
    store: Path | None = Field(
        None,
        description="store to fit; with a source, where to ingest it (default: data.zarr in the output folder)",
        examples=["data/scan_0001.zarr"],
    )
    layout: str = Field("auto", min_length=1, description="layout of the source", examples=["auto", "aps-u"])
    key: str | None = Field(None, description="name of the maps inside an array file", examples=["c2_exp"])
    q: Positive | list[Positive] | Literal["all"] | None = Field(
        None,
        description="wavevector(s) to select, 1/Å; the value itself where the source has none",
        examples=[0.0054],
    )
    q_tolerance: Positive | None = Field(
        None, description="relative distance at which a q of the source counts as the one asked for", examples=[0.02]
    )
    frames: Frames | None = Field(
        None, description="first and last frame, counted from 1, both included; null takes all", examples=[[1, 400]]
    )
    angles: list[AngleRange] | None = Field(
        None,
        description="ranges of phi in degrees, in the direction of growing phi; 350 lies within [-10, 10]; null: all",
        examples=[[[-10.0, 10.0], [170.0, 190.0]]],
    )
    angle_fallback: bool = Field(
        False, description="take all angles, with a warning, where none lies within the ranges", examples=[False]
    )
    phi: Annotated[list[FiniteFloat], BeforeValidator(_listed)] | None = Field(
        None, description="angles of the maps in degrees, where the source has none", examples=[[0.0, 45.0, 90.0]]
    )
    dt: Positive | None = Field(
        None, description="seconds between frames; null takes what the source says", examples=[0.1]
    )
    time_origin: Annotated[FiniteFloat, Field(ge=0.0)] = Field(
        0.0, description="time of the first selected frame, s", examples=[0.0]
    )
    asymmetry: Literal["error", "average"] = Field(
        "error", description="what to do with maps that are not symmetric", examples=["average"]
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.frames is not None and self.frames[0] >= self.frames[1]:
            raise ConfigError(
                f"data.frames: found first frame {self.frames[0]} and last frame {self.frames[1]}, expected first "
                "before last, both counted from 1: for example frames: [1, 400]"
            )
        return self


class ParameterSetting(Section):
    """One parameter; what is left out keeps its default."""

    value: FiniteFloat | None = Field(None, description="start value, or the value where it is fixed", examples=[100.0])
    min: FiniteFloat | None = Field(None, description="lower bound", examples=[0.0])
    max: FiniteFloat | None = Field(None, description="upper bound", examples=[1000.0])
    fixed: bool | None = Field(None, description="held at its value", examples=[True])


class ComputeSettings(Section):
    """Where to compute."""

    scheduler: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="local, inline, an address (tcp://host:8786), a scheduler file (scheduler.json), or a job queue "
        f"({', '.join(QUEUES)}); null: inline for a fit that ends before workers would have started, else local",
        examples=["local"],
    )
    site: Path | None = Field(
        None, description="site file that describes the job queue", examples=["configs/sites/slurm.yaml"]
    )
    workers: int | None = Field(
        None, description="worker processes; null: one for each core, or all of the site's jobs", examples=[2]
    )
    threads: PositiveInt = Field(
        1, description="tasks that a local worker runs at the same time, sharing its memory", examples=[1]
    )
    memory_limit: str | Positive = Field(
        0.9,
        description="budget of the whole run: a fraction of the machine, or a size",
        examples=[0.9, "8GiB"],
    )
    resident_limit: Annotated[int, BeforeValidator(_bytes), Field(ge=0)] | None = Field(
        None,
        description="size of the data that workers keep in memory between passes, at most; 0: none, all are read in "
        "every pass; null: what the budget allows",
        examples=["500MiB"],
    )
    numba: bool = Field(
        True,
        description="false: the passes of least-squares fits in plain NumPy, with the same answers: a check, and slow",
        examples=[False],
    )
    dashboard: str | None = Field(
        ":0",
        description="address of the Dask dashboard, on localhost unless it names a host; :0: any free port; null: none",
        examples=[":8787"],
    )
    host: str | None = Field(
        None,
        description="address that the scheduler listens on; null: localhost, or the interface of the site",
        examples=["10.0.0.1"],
    )
    tls: TlsFiles | None = Field(
        None,
        description="certificates, to encrypt what client, scheduler and workers say",
        examples=[{"ca_file": "ca.pem", "cert": "me.pem", "key": "me.key"}],
    )


class OutputSettings(Section):
    """What to leave behind."""

    folder: Path = Field(Path("hetdask_run"), description="run folder", examples=["runs/scan_0001"])
    plots: bool = Field(True, description="draw figures", examples=[True])


class SimulationSettings(Section):
    """An experiment to simulate or to plan, for `hetdask simulate`, `hetdask design` and `hetdask demo`."""

    frames: Annotated[int, Field(ge=3)] = Field(400, description="frames of the series", examples=[400])
    dt: Positive = Field(0.1, description="seconds between frames", examples=[0.1])
    time_origin: Annotated[FiniteFloat, Field(ge=0.0)] = Field(0.0, description="time of the first frame, s")
    q: Annotated[list[Positive], BeforeValidator(_listed), Field(min_length=1)] = Field(
        [0.0054], description="wavevectors, 1/Å", examples=[[0.0054]]
    )
    phi: Annotated[list[FiniteFloat], BeforeValidator(_listed), Field(min_length=1)] = Field(
        [0.0, 45.0, 90.0], description="angles, degrees", examples=[[0.0, 45.0, 90.0]]
    )
    parameters: dict[str, FiniteFloat] = Field(
        default_factory=dict, description="true values, where they differ from the start values under parameters"
    )
    contrast: Positive = Field(0.3, description="contrast of the Gaussian maps", examples=[0.3])
    offset: FiniteFloat = Field(1.0, description="baseline of the Gaussian maps", examples=[1.0])
    sigma: Annotated[FiniteFloat, Field(ge=0.0)] = Field(
        0.01, description="noise of the Gaussian maps", examples=[0.01]
    )
    speckles: PositiveInt = Field(3000, description="speckles per map, for speckle noise", examples=[3000])
    modes: PositiveInt = Field(3, description="modes per speckle: the contrast is about 1/modes", examples=[3])
    photons: Positive | None = Field(
        None,
        description="mean count per speckle and frame where the fraction is 0 or 1, for speckle noise; null: no photon "
        "noise",
        examples=[0.5],
    )
    seed: Annotated[int, Field(ge=0)] = Field(0, description="seed of the random numbers", examples=[0])

    def axes(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Angle and wavevector of each map (n,), degrees and 1/Å, and time of each frame (N,), s."""
        phi, q = np.tile(self.phi, len(self.q)), np.repeat(self.q, len(self.phi))
        return phi, q, np.asarray(self.time_origin + self.dt * np.arange(self.frames), dtype=np.float64)

    @model_validator(mode="after")
    def _known(self) -> Self:
        for name in self.parameters:
            if name not in SPECS:
                raise _within("simulation.parameters", unknown_name(name))
        return self


class TableRow(NamedTuple):
    """One parameter with everything resolved."""

    name: str
    value: float
    min: float
    max: float
    fixed: bool


class Settings(Section):
    """All settings of a run."""

    data: DataSettings = Field(default_factory=DataSettings)
    parameters: dict[str, ParameterSetting] = Field(
        default_factory=dict, description="start values and bounds by name; the others keep their defaults"
    )
    fit: FitSettings = Field(default_factory=FitSettings)
    quality: QualitySettings = Field(default_factory=QualitySettings)
    compute: ComputeSettings = Field(default_factory=ComputeSettings)
    output: OutputSettings = Field(default_factory=OutputSettings)
    simulation: SimulationSettings | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in self.parameters:
            if name not in SPECS:
                raise _within("parameters", unknown_name(name))
        for name in self.fit.active_parameters or []:
            if name not in SPECS:
                raise _within("fit.active_parameters", unknown_name(name))
            if self._setting(name).fixed:
                raise ConfigError(
                    f"fit.active_parameters names {name}, but parameters.{name}.fixed is true: remove one of the two"
                )
        table = self.parameter_table()
        for name in self.fit.profile:
            if name not in SPECS:
                raise _within("fit.profile", unknown_name(name))
            if next(row for row in table if row.name == name).fixed:
                moving = [row.name for row in table if not row.fixed]
                raise ConfigError(
                    f"fit.profile names {name}, which is fixed: free it, or name others, for example profile: "
                    f"[{(moving or ['v0'])[0]}]"
                )
        return self

    def _setting(self, name: str) -> ParameterSetting:
        return self.parameters.get(name, ParameterSetting())

    def parameter_table(self) -> list[TableRow]:
        """Value, bounds and whether it is fixed for all 14 parameters, in the order of the model.

        Raises
        ------
        ConfigError
            If bounds are the wrong way round or a start value lies outside them.
        """
        return [self._row(spec.name) for spec in PARAMETERS]

    def _row(self, name: str) -> TableRow:
        spec, given = SPECS[name], self._setting(name)
        low = spec.lower if given.min is None else given.min
        high = spec.upper if given.max is None else given.max
        if low > high:
            raise ConfigError(
                f"parameters.{name}: found min {low:g} above max {high:g}, expected min below max: "
                f"for example min: {min(low, high):g}, max: {max(low, high):g}"
            )
        value = given.value if given.value is not None else min(max(spec.start, low), high)
        active = self.fit.active_parameters
        if active is None:
            fixed = low == high or (spec.fixed if given.fixed is None else given.fixed)
        else:
            fixed = low == high or name not in active
        bounded = not fixed or given.min is not None or given.max is not None
        if bounded and not low <= value <= high:
            edge = "min" if value < low else "max"
            wider = value - abs(value) if edge == "min" else value + abs(value)
            raise ConfigError(
                f"parameters.{name}: the start value {value:g} lies outside its bounds [{low:g}, {high:g}]: "
                f"change value, or widen the bounds, for example {edge}: {wider or math.copysign(1.0, value):g}"
            )
        return TableRow(name, value, low, high, fixed)

    def start(self) -> Start:
        """Where a fit starts: as asked for, else from given values if any free parameter has one."""
        if self.fit.start is not None:
            return self.fit.start
        free = [row.name for row in self.parameter_table() if not row.fixed]
        return "given" if any(self._setting(name).value is not None for name in free) else "search"

    def true_values(self) -> dict[str, float]:
        """Values of all parameters for a simulation."""
        values = {row.name: row.value for row in self.parameter_table()}
        if self.simulation is not None:
            values.update(self.simulation.parameters)
        return values

    def experiment(self) -> SimulationSettings:
        """The experiment to simulate.

        Raises
        ------
        ConfigError
            If the settings describe none.
        """
        if self.simulation is None:
            raise ConfigError(
                "the configuration has no section simulation: add one, for example simulation: {frames: 400, dt: 0.1, "
                "q: [0.0054], phi: [0, 45, 90]}"
            )
        return self.simulation

    def resolved(self) -> dict[str, Any]:
        """Everything as plain JSON, defaults included: what was really used."""
        dump = self.model_dump(mode="json")
        dump["parameters"] = {row.name: _without_name(row) for row in self.parameter_table()}
        dump["fit"]["active_parameters"] = None
        dump["fit"]["start"] = self.start()
        return dump


def _without_name(row: TableRow) -> Mapping[str, float | bool]:
    return {"value": row.value, "min": row.min, "max": row.max, "fixed": row.fixed}


def _within(section: str, error: ConfigError) -> ConfigError:
    return ConfigError(f"{section}: {error}")
