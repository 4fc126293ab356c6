"""The names that scripts of heterodyne-analysis import, on top of the store, the passes and the fits of this package.

Such a script changes its imports to ``from hetdask import …``. Here are arguments, shapes and keys of that package
only; everything is computed where `hetdask.fit` and `hetdask.ingest` compute it.
"""

from hetdask.original.core import HeterodyneAnalysisCore, load_xpcs_data
from hetdask.original.optimizers import ClassicalOptimizer, RobustHeterodyneOptimizer

__all__ = ["ClassicalOptimizer", "HeterodyneAnalysisCore", "RobustHeterodyneOptimizer", "load_xpcs_data"]
