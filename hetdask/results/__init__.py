"""What a fit leaves behind: the result object, the run folder, plots, the terminal summary and the report.

`result` and its parts (`values`, `course`, `goodness`, …) hold the numbers and their JSON contract, `maps` and
`dataset` what result.zarr holds, `files` writes a run folder; `plots`, `summary` and `report` show it. Everything loads
when it is used: workers need `maps` only.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hetdask.results.result import Result, result_schema
    from hetdask.results.values import AngleResult, ParameterResult

__all__ = ["AngleResult", "ParameterResult", "Result", "result_schema"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hetdask.results import result

    return getattr(result, name)
