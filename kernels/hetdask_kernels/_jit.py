"""Compiler settings that every kernel shares."""

from __future__ import annotations

from typing import Any, Final

JIT: Final[dict[str, Any]] = {"nogil": True, "cache": True, "error_model": "numpy"}
"""Serial kernels that release the GIL: threads belong to the caller."""

REORDER: Final = {"reassoc", "contract", "nsz"}
"""Lets sums be vectorised. Not full fast-math: NaN and infinity keep their meaning."""

LANES: Final = 16
"""Parameters that the kernels carry side by side: the 14 of the model, filled up to whole vector registers."""
