"""Compiler settings that every kernel shares, and how derivatives are laid out."""

from __future__ import annotations

from typing import Any, Final

from numba import njit

JIT: Final[dict[str, Any]] = {"nogil": True, "cache": True, "error_model": "numpy", "no_cfunc_wrapper": True}
"""Serial kernels that release the GIL: threads belong to the caller. Nobody calls them from C."""

PART: Final[dict[str, Any]] = {**JIT, "forceinline": True, "no_cpython_wrapper": True}
"""Parts of kernels, compiled into whatever calls them, and not to be called from Python.

A part that stays a function of its own is optimised twice, by itself and with its caller, and which of the two runs
depends on whether they were compiled just now or come from the cache: with `REORDER` they round differently. And a call
with all its arrays takes as long as some of the parts.
"""

REORDER: Final = {"reassoc", "contract", "nsz"}
"""Lets sums be vectorised. Not full fast-math: NaN and infinity keep their meaning."""

GROUPS: Final = ("reference", "sample", "flow", "composition")
"""Parameters of a group differ only in a gain u_k of each frame: D_k = u_k(i)·G_g(i, j) ± u_k(j)·G'_g(i, j).

With the terms T1, T2, T3c, T3s of the model and the amplitudes w and their derivatives w' with respect to the fraction,

    reference    G = T1 + ½ T3c     minus   gain dC_ref/dθ, scale q²
    sample       G = T2 + ½ T3c     minus   gain dC_sample/dθ, scale q²
    flow         G = T3s            minus   gain dV/dθ, scale κ; and V itself with dκ/dφ0
    composition  G = Σ w'_c(i) w_c(j) E_c, G' = Σ w_c(i) w'_c(j) E_c   plus   gain ds/dθ, scale 1
"""

LANES: Final = 16
"""Derivatives that the kernels carry side by side, in vector registers: four for each group."""


@njit(**PART)
def assign(values, out):  # type: ignore[no-untyped-def]
    """What `out[:] = values` does for arrays (n,), for which Numba compiles text processing, two seconds of it."""
    for k in range(values.shape[0]):
        out[k] = values[k]
