"""Passes over the data: tiles to partial sums to one small least-squares problem.

`shard` and `factors` know the arithmetic of one shard, `normal` what the sums mean, `run` how they are spread out.
"""

from hetdask.passes.chi_squared import ChiSquared, chi_squared, chi_squared_scan
from hetdask.passes.normal import NormalSums, Projection, project
from hetdask.passes.run import Passes

__all__ = ["ChiSquared", "NormalSums", "Passes", "Projection", "chi_squared", "chi_squared_scan", "project"]
