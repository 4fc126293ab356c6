"""Files of the package heterodyne-analysis 1.0: what each of its keys does here, and how to move on from them.

`table` says it once; settings, warnings, migrated files and the page in docs are made from it.
"""

from hetdask.config.original.reader import Note, grouped
from hetdask.config.original.translate import METHODS, ROBUST_METHODS, Translation, is_original, translate

__all__ = ["METHODS", "ROBUST_METHODS", "Note", "Translation", "grouped", "is_original", "translate"]
