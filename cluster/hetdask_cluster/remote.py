"""Running schedulers: reached by address or file, with workers that fit to this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from hetdask.errors import ClusterError, ConfigError
from hetdask_cluster.settings import CONNECT_SECONDS, START_SECONDS

if TYPE_CHECKING:
    from distributed import Client
    from distributed.security import Security

    from hetdask_cluster.site import TlsFiles

COMPARED: Final = ("hetdask", "numba", "numpy", "dask", "distributed", "cloudpickle", "msgpack")
"""Packages that client, scheduler and workers must have in the same version: they decide what travels."""


@contextmanager
def remote_client(scheduler: str, workers: int, tls: TlsFiles | None = None) -> Iterator[Client]:
    """Client of a running scheduler with so many workers, for a ``with`` block.

    Parameters
    ----------
    scheduler : str
        Address, or file that the scheduler has written.
    workers : int
        To wait for.
    tls : TlsFiles, optional

    Raises
    ------
    ClusterError
        If nobody answers, workers are missing, or run other versions.
    """
    from distributed import Client

    options: dict[str, Any] = {"address": scheduler}
    if scheduler.endswith(".json"):
        if not Path(scheduler).is_file():
            raise ClusterError(
                f"there is no scheduler file {scheduler!r}: start one with "
                f"`dask scheduler --scheduler-file {scheduler}`, or use --scheduler local"
            )
        options = {"scheduler_file": scheduler}
    if scheduler.startswith("tls:") and tls is None:
        raise ClusterError(
            f"{scheduler!r} speaks TLS and no certificates are given: name them in compute.tls, for example "
            "tls: {ca_file: ca.pem, cert: me.pem, key: me.key}"
        )
    try:
        client = Client(**options, security=security(tls), set_as_default=False, timeout=CONNECT_SECONDS)
    except (OSError, TimeoutError, ValueError, RuntimeError, TypeError) as error:
        raise ClusterError(
            f"no scheduler answers at {scheduler!r} ({error}): check the address, or use --scheduler local"
        ) from error
    with client:
        wait_for(client, workers, START_SECONDS, f"at {scheduler!r}")
        check_versions(client)
        yield client


def wait_for(client: Client, workers: int, seconds: float, where: str) -> None:
    """Wait until there are so many workers.

    Raises
    ------
    ClusterError
        If they do not come in time.
    """
    try:
        client.wait_for_workers(workers, timeout=seconds)
    except TimeoutError as error:
        found = len(client.nthreads())
        raise ClusterError(
            f"found {found} workers {where} after {seconds:g} s, expected {workers}: start more with `dask worker`, "
            f"or use --workers {max(found, 1)}"
        ) from error


def check_versions(client: Client) -> None:
    """Refuse workers or a scheduler with other versions than this process.

    Raises
    ------
    ClusterError
        With every package that differs, and where.
    """
    found = cast("Mapping[str, Any]", client.get_versions(packages=list(COMPARED)))
    here = _relevant(found["client"])
    parties = {"the scheduler": found["scheduler"]}
    parties |= {f"worker {address}": versions for address, versions in found["workers"].items()}
    lines = []
    for name, versions in parties.items():
        there = _relevant(versions)
        differing = [package for package in here if here[package] != there[package]]
        lines += [f"{name}: {package} {there[package]}, here {here[package]}" for package in differing]
    if lines:
        shown = lines[:6] + ([f"and {len(lines) - 6} more"] if len(lines) > 6 else [])
        raise ClusterError(
            "versions differ between this process and the cluster:\n  " + "\n  ".join(shown) + "\n"
            "Expected the same environment everywhere: start scheduler and workers with this one, or name its Python "
            "in the site file (python: /path/to/python)"
        )


def _relevant(versions: Mapping[str, Any]) -> dict[str, str]:
    packages = versions["packages"]
    # Fixes of Python itself change nothing that travels.
    python = ".".join(str(packages["python"]).split(".")[:2])
    return {"python": python} | {name: packages.get(name) or "missing" for name in COMPARED}


def security(tls: TlsFiles | None) -> Security | None:
    """Certificates as Dask takes them.

    Raises
    ------
    ConfigError
        If a file is not there.
    """
    if tls is None:
        return None
    from distributed.security import Security

    for name, path in tls:
        if not path.is_file():
            raise ConfigError(f"tls.{name}: there is no file {str(path)!r}; expected a PEM file, such as {name}.pem")
    roles = {f"tls_{role}_{part}": str(getattr(tls, part)) for role in ("client", "scheduler", "worker")
             for part in ("cert", "key")}  # fmt: skip
    return Security(tls_ca_file=str(tls.ca_file), require_encryption=True, **roles)
