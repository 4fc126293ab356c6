"""The exceptions that hetdask raises, each with the exit status that the command line gives it."""

from __future__ import annotations

from typing import ClassVar


class HetdaskError(Exception):
    """Base of every error with a cause that the user can see and change."""

    exit_code: ClassVar[int] = 1


class ConfigError(HetdaskError):
    """A setting, option or argument is wrong."""

    exit_code = 2


class DataError(HetdaskError):
    """A file or store is missing, unreadable or not what was asked for."""

    exit_code = 2


class ClusterError(HetdaskError):
    """Workers could not be started or kept."""

    exit_code = 2


class FitError(HetdaskError):
    """A fit could not be carried out on these data."""

    exit_code = 3


class KernelError(HetdaskError):
    """Numba could not compile the kernels, or load what it had compiled."""

    exit_code = 2
