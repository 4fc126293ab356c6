"""What a fit leaves behind: the result object, the run folder, plots, the terminal summary and the report.

`result` holds the numbers and their JSON contract, `maps` and `dataset` what result.zarr holds, `files` writes a run
folder; `plots`, `summary` and `report` show it. Only `result` is imported here: the rest loads when it is used.
"""

from hetdask.results.result import AngleResult, ParameterResult, Result, result_schema

__all__ = ["AngleResult", "ParameterResult", "Result", "result_schema"]
