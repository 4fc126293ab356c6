"""A site: the job queue of a computing centre, and what its jobs need."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt, model_validator

from hetdask.errors import ConfigError
from hetdask_cluster.memory import UNITS, format_bytes, parse_memory

type QueueName = Literal["slurm", "pbs", "lsf", "sge", "htcondor", "oar"]
QUEUES: Final[tuple[str, ...]] = get_args(QueueName.__value__)
"""Queueing systems that jobs can be sent to."""

WALLTIME: Final = re.compile(r"(?:(\d+)-)?(\d+):([0-5]\d):([0-5]\d)")

GRACE: Final = 0.05
"""Part of the walltime, at least a minute, before its end at which workers leave and a run stops to be resumed."""

LEAST_WALLTIME: Final = 300
"""A job that ends sooner, in seconds, is over before its workers have done anything."""


def _walltime(text: str) -> str:
    seconds(text)
    return text


def seconds(walltime: str) -> int:
    """Seconds of a walltime.

    Raises
    ------
    ConfigError
        If it is not hours, minutes and seconds, or too short for a job to do anything.

    Examples
    --------
    >>> seconds("02:30:00"), seconds("1-00:00:00")
    (9000, 86400)
    """
    match = WALLTIME.fullmatch(walltime.strip())
    if match is None:
        raise ConfigError(f'walltime: found {walltime!r}, expected hours:minutes:seconds, for example "02:00:00"')
    days, hours, minutes, rest = (int(part or 0) for part in match.groups())
    found = ((days * 24 + hours) * 60 + minutes) * 60 + rest
    if found < LEAST_WALLTIME:
        raise ConfigError(f'walltime: found {walltime!r}, expected five minutes or more, for example "00:30:00"')
    return found


def _memory(text: str) -> str:
    unit = re.sub(r"[\s0-9.]", "", text).lower()
    example = "for example memory: 64GiB"
    if unit in {"kb", "mb", "gb", "tb"}:
        # Decimal units become a smaller number of binary ones on the way to the queue: 256GB became --mem=239G.
        size = parse_memory(text, total=2**60)
        raise ConfigError(
            f"memory: found {text!r}, which queues take for {format_bytes(size)}; expected a binary unit: "
            f"write {text[: -len(unit)].strip()}{unit[0].upper()}iB, or {format_bytes(size).replace(' ', '')}"
        )
    if unit not in UNITS or unit == "b":
        raise ConfigError(f"memory: found {text!r}, expected a size with a unit, {example}")
    parse_memory(text, total=2**60)
    return text.replace(" ", "")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class TlsFiles(_Part):
    """Certificates of a cluster whose messages are encrypted; every party shows the same one."""

    ca_file: Path = Field(description="certificate of the authority that signed the others", examples=["ca.pem"])
    cert: Path = Field(description="certificate", examples=["cluster.pem"])
    key: Path = Field(description="its private key", examples=["cluster.key"])


class Adaptive(_Part):
    """Bounds within which the number of jobs follows the work that waits."""

    minimum: PositiveInt = Field(1, description="jobs that are kept at least", examples=[1])
    maximum: PositiveInt = Field(description="jobs at most", examples=[20])

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.minimum > self.maximum:
            raise ConfigError(
                f"adaptive: found minimum {self.minimum} above maximum {self.maximum}, expected minimum below maximum: "
                f"for example {{minimum: {self.maximum}, maximum: {self.minimum}}}"
            )
        return self


class Site(_Part):
    """A job queue, and what a job of it looks like."""

    scheduler: QueueName = Field(description=f"queueing system: {', '.join(QUEUES)}", examples=["slurm"])
    queue: str | None = Field(None, description="queue or partition", examples=["regular"])
    account: str | None = Field(None, description="account or project that pays", examples=["xpcs"])
    walltime: Annotated[str, AfterValidator(_walltime)] = Field(
        "01:00:00", description="longest time of a job; workers leave and runs stop a little earlier"
    )
    nodes: PositiveInt = Field(
        1, description="nodes of the one job of `hetdask submit`; more than one on slurm only", examples=[4]
    )
    jobs: PositiveInt = Field(1, description="jobs of workers of `hetdask fit --scheduler`", examples=[4])
    adaptive: Adaptive | None = Field(
        None, description="let the number of jobs follow the work", examples=[{"minimum": 1, "maximum": 20}]
    )
    cores: PositiveInt = Field(description="cores of a job, on one node", examples=[32])
    memory: Annotated[str, AfterValidator(_memory)] = Field(
        description="memory of a job, all its workers together", examples=["128GiB"]
    )
    processes: PositiveInt | None = Field(
        None, description="worker processes of a job; null: one for each core", examples=[16]
    )
    interface: str | None = Field(None, description="network interface of workers and scheduler", examples=["ib0"])
    scratch: str | None = Field(
        None, description="folder on the node's own disk, for what workers write", examples=["/scratch/$USER"]
    )
    prologue: list[str] = Field(
        default_factory=list,
        description="shell lines that a job begins with",
        examples=[["module load python/3.12", "source ~/hetdask/bin/activate"]],
    )
    environment: dict[str, str] = Field(
        default_factory=dict, description="variables that a job exports", examples=[{"OMP_NUM_THREADS": "1"}]
    )
    directives: list[str] = Field(
        default_factory=list, description="further directives, without their mark", examples=[["--exclusive"]]
    )
    resources: str | None = Field(
        None, description="resource request of pbs, sge and oar, instead of the one from cores and memory"
    )
    parallel_environment: str = Field("smp", description="for sge: what gives several cores of one node")
    memory_property: str | None = Field(None, description="for oar: the property that holds a core's memory in MiB")
    disk: str = Field("4GiB", description="for htcondor: space on the node's disk")
    python: str | None = Field(
        None, description="Python on the nodes; null: the one that runs here", examples=["/software/bin/python"]
    )
    log_folder: Path = Field(Path("hetdask_logs"), description="folder for what jobs print")
    wait: PositiveInt = Field(3600, description="seconds to wait for jobs to start", examples=[3600])
    tls: TlsFiles | None = Field(None, description="certificates, to encrypt what workers and scheduler say")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.nodes > 1 and self.scheduler != "slurm":
            raise ConfigError(
                f"nodes: found {self.nodes} with scheduler {self.scheduler}, expected 1: runs across nodes inside one "
                f"job are there for slurm; use `hetdask fit --scheduler {self.scheduler}`, whose workers are jobs of "
                "their own"
            )
        if self.processes is not None and self.processes > self.cores:
            raise ConfigError(
                f"processes: found {self.processes} on {self.cores} cores, expected at most one for each core: "
                f"for example processes: {self.cores}"
            )
        return self

    @property
    def workers(self) -> int:
        """Worker processes of a job."""
        return self.processes or self.cores

    @property
    def threads(self) -> int:
        """Threads of each worker."""
        return self.cores // self.workers

    @property
    def bytes(self) -> int:
        """Memory of a job."""
        return parse_memory(self.memory, total=2**60)

    @property
    def lifetime(self) -> int:
        """Seconds after which workers leave and runs stop, before the queue ends them."""
        whole = seconds(self.walltime)
        return whole - max(60, int(GRACE * whole))

    def limits(self, jobs: int) -> list[int]:
        """Memory limit of each worker of so many jobs, bytes."""
        return [self.bytes // self.workers] * (jobs * self.workers)

    def jobs_for(self, workers: int | None) -> int:
        """Jobs that have so many workers; None takes the jobs of the site."""
        if workers is None:
            return self.adaptive.minimum if self.adaptive is not None else self.jobs
        return -(-workers // self.workers)


def site_schema() -> dict[str, Any]:
    """JSON schema of a site file."""
    return Site.model_json_schema()
