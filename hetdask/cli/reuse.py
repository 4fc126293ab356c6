"""Whether a store that exists holds what a configuration asks for.

A store is never taken for another one: everything that decided its content is compared.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hetdask.config import DataSettings
    from hetdask.data.store import Store


def differences(store: Store, data: DataSettings) -> list[str]:
    """What a store was made from and the settings ask for otherwise, one line each; empty if it serves.

    Parameters
    ----------
    store : Store
    data : DataSettings
        With a source.
    """
    found = _made_from(store)
    wanted = _asked_for(store, data)
    return [
        f"{name}: the store has {found.get(name)}, the settings ask for {value}"
        for name, value in wanted.items()
        if found.get(name) != value
    ]


def _made_from(store: Store) -> dict[str, Any]:
    provenance = store.provenance
    selection = provenance.get("selection", {})
    return {
        "source": provenance.get("source"),
        "size of the source": provenance.get("size"),
        "source as of": True,
        "layout": provenance.get("layout"),
        "q": selection.get("q"),
        "q_tolerance": selection.get("q_tolerance"),
        "frames": selection.get("frames"),
        "angles": selection.get("angles"),
        "asymmetry": selection.get("asymmetry"),
        "phi": store.phi.tolist(),
        "dt": store.dt,
        "time_origin": store.time_origin,
    }


def _asked_for(store: Store, data: DataSettings) -> dict[str, Any]:
    from hetdask.data.selection import Q_TOLERANCE

    if data.source is None:
        return {}
    found = _made_from(store)
    selection = store.provenance.get("selection", {})
    wanted: dict[str, Any] = {
        "source": str(data.source.absolute()),
        "q": data.q if data.q is None or isinstance(data.q, str | list) else [data.q],
        "q_tolerance": data.q_tolerance or Q_TOLERANCE,
        "frames": list(data.frames) if data.frames else [1, selection.get("frames_in_file")],
        "asymmetry": data.asymmetry,
        "time_origin": data.time_origin,
    }
    if data.source.exists():
        status = data.source.stat()
        wanted["size of the source"] = status.st_size
        wanted["source as of"] = _older(status.st_mtime, store.provenance.get("created")) or "a later time"
    if not (data.angle_fallback and found["angles"] is None):
        wanted["angles"] = [list(pair) for pair in data.angles] if data.angles else None
    if data.layout != "auto":
        wanted["layout"] = data.layout
    if data.phi is not None:
        wanted["phi"] = data.phi
    if data.dt is not None:
        wanted["dt"] = data.dt
    return wanted


def _older(changed: float, created: str | None) -> bool:
    """Whether a file was last changed before a store was made from it; times are known to the second."""
    return created is not None and math.floor(changed) <= datetime.fromisoformat(created).timestamp()
