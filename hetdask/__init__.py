"""Heterodyne analysis of XPCS two-time correlation maps of any size, on Dask.

>>> import hetdask
>>> store = hetdask.ingest("scan.hdf", "scan.zarr", q=0.0054)     # doctest: +SKIP
>>> result = hetdask.fit(store, "config.yaml", client=client)     # doctest: +SKIP
>>> result.parameters["v0"].value, result.parameters["v0"].unit   # doctest: +SKIP

Everything in `__all__` is imported when it is first used, so that ``import hetdask`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hetdask.analysis import fit
    from hetdask.compilation import warmup_numba_kernels
    from hetdask.config import Settings, load_settings
    from hetdask.data.ingest import ingest
    from hetdask.data.inspect import inspect
    from hetdask.data.store import Store
    from hetdask.errors import ClusterError, ConfigError, DataError, FitError, HetdaskError, KernelError
    from hetdask.model import PARAMETERS, correlation, dynamics, simulate_gaussian, simulate_speckle
    from hetdask.original import (
        ClassicalOptimizer,
        HeterodyneAnalysisCore,
        RobustHeterodyneOptimizer,
        load_xpcs_data,
    )
    from hetdask.passes.chi_squared import chi_squared, chi_squared_scan
    from hetdask.profiling import adaptive_stable_benchmark, performance_monitor, stable_benchmark
    from hetdask.results import Result
    from hetdask.results.design import design

__version__ = "0.1.0"

__all__ = [
    "PARAMETERS",
    "ClassicalOptimizer",
    "ClusterError",
    "ConfigError",
    "DataError",
    "FitError",
    "HetdaskError",
    "HeterodyneAnalysisCore",
    "KernelError",
    "Result",
    "RobustHeterodyneOptimizer",
    "Settings",
    "Store",
    "adaptive_stable_benchmark",
    "chi_squared",
    "chi_squared_scan",
    "correlation",
    "design",
    "dynamics",
    "fit",
    "ingest",
    "inspect",
    "load_settings",
    "load_xpcs_data",
    "performance_monitor",
    "simulate_gaussian",
    "simulate_speckle",
    "stable_benchmark",
    "warmup_numba_kernels",
]

_HOMES = {
    "hetdask.analysis": ("fit",),
    "hetdask.compilation": ("warmup_numba_kernels",),
    "hetdask.config": ("Settings", "load_settings"),
    "hetdask.data.ingest": ("ingest",),
    "hetdask.data.inspect": ("inspect",),
    "hetdask.data.store": ("Store",),
    "hetdask.errors": ("ClusterError", "ConfigError", "DataError", "FitError", "HetdaskError", "KernelError"),
    "hetdask.model": ("PARAMETERS", "correlation", "dynamics", "simulate_gaussian", "simulate_speckle"),
    "hetdask.original": (
        "ClassicalOptimizer",
        "HeterodyneAnalysisCore",
        "RobustHeterodyneOptimizer",
        "load_xpcs_data",
    ),
    "hetdask.passes.chi_squared": ("chi_squared", "chi_squared_scan"),
    "hetdask.profiling": ("adaptive_stable_benchmark", "performance_monitor", "stable_benchmark"),
    "hetdask.results": ("Result",),
    "hetdask.results.design": ("design",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(import_module(_HOME[name]), name)
    except RuntimeError as error:
        # Numba looks for a place for its cache when kernels are imported.
        from hetdask.compilation import kernel_error

        raise kernel_error(error) or error from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
