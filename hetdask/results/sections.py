"""The sections of report.html, in their order: what each shows, as text for its template.

A section is a function from the result and the figures of its run to the fields of
``templates/sections/<name>.html.j2``; one that has nothing to show returns None and is left out.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hetdask.results.figures import FigureFile
from hetdask.results.formatting import format_measurement, format_number, format_seconds
from hetdask.results.result import STATUS_TEXT, Result
from hetdask.results.summary import (
    METHOD_HEADS,
    angle_cells,
    angle_heads,
    bounds_text,
    concerns,
    is_judged,
    method_rows,
    notes,
    parameter_note,
)
from hetdask_cluster.memory import format_bytes

if TYPE_CHECKING:
    from pydantic import JsonValue

type Fields = dict[str, Any]
type Figures = Sequence[FigureFile]


@dataclass(frozen=True, slots=True)
class Section:
    """One section of the page.

    Attributes
    ----------
    name : str
        Of its template, and its anchor on the page.
    title : str
        Heading.
    fields : callable
        From the result and the figures to the variables of the template; None leaves the section out.
    """

    name: str
    title: str
    fields: Callable[[Result, Figures], Fields | None]


def source_name(result: Result) -> str:
    """File name of the data."""
    source = result.provenance.get("source") or result.provenance.get("store") or "result"
    return Path(str(source)).name


def verdict(result: Result) -> Fields:
    """Head of the page."""
    return {
        "source": source_name(result),
        "good": result.status == "converged",
        "verdict": STATUS_TEXT[result.status],
        "message": result.message,
        "concerns": concerns(result),
        "facts": list(_facts(result)),
    }


def _facts(result: Result) -> Iterator[tuple[str, str]]:
    yield "Reduced chi-squared", format_number(result.reduced_chi_squared)
    yield "Maps", f"{len(result.angles)}"
    yield "Pixels", f"{result.n_points:,}"
    yield "Frames", f"{result.n_frames:,} × {result.dt:.4g} s"
    yield "Free parameters", f"{sum(not parameter.fixed for parameter in result.parameters.values())}"
    yield "Resolution", result.resolution
    yield "Method", result.best_method
    if "total" in result.timings:
        yield "Time", format_seconds(result.timings["total"])
    if result.memory.peak_worker is not None:
        yield "Peak memory of a worker", format_bytes(result.memory.peak_worker)


def _parameters(result: Result, _: Figures) -> Fields:
    return {"parameters": list(_parameter_rows(result)), "notes": notes(result)}


def _parameter_rows(result: Result) -> Iterator[dict[str, str]]:
    for name, parameter in result.parameters.items():
        value, error = format_measurement(parameter.value, parameter.stderr)
        yield {
            "name": name,
            "value": value,
            "error": error,
            "unit": parameter.unit,
            "start": format_number(parameter.start),
            "bounds": bounds_text(parameter),
            "note": parameter_note(parameter),
            "kind": "fixed" if parameter.fixed else "warn" if parameter_note(parameter) else "",
        }


def _figures(result: Result, figures: Figures) -> Fields | None:
    if not figures:
        return None
    return {
        "figures": [(figure.title, figure.description, _data_uri(figure.path)) for figure in figures],
        "shown": sum(figure.path.name.startswith("map-") for figure in figures),
        "count": len(result.angles),
    }


def _data_uri(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def _optima(result: Result, _: Figures) -> Fields | None:
    """The free parameters at other optima of a search, one row each."""
    optima = result.search.optima if result.search is not None else []
    if not optima:
        return None
    return {
        "heads": ["parameter", "result", *(f"{100.0 * one.excess:+.3g} % χ²" for one in optima)],
        "rows": [
            (name, format_number(parameter.value), *(format_number(one.values[name]) for one in optima))
            for name, parameter in result.parameters.items()
            if not parameter.fixed
        ],
    }


def _maps(result: Result, _: Figures) -> Fields:
    return {
        "heads": (*angle_heads(result), "pixels", "quality"),
        "rows": [
            (*angle_cells(angle, judged=is_judged(result)), f"{angle.n_points:,}", angle.quality)
            for angle in result.angles
        ],
    }


def _methods(result: Result, _: Figures) -> Fields:
    return {
        "heads": METHOD_HEADS,
        "rows": method_rows(result),
        "messages": [f"{name}: {method.message}" for name, method in result.methods.items()],
        "value_heads": ("parameter", "unit", *result.methods),
        "values": list(_values_by_method(result)) if len(result.methods) > 1 else [],
    }


def _values_by_method(result: Result) -> Iterator[tuple[str, ...]]:
    """Parameter, unit, and its value by each method."""
    for name, parameter in result.parameters.items():
        values = (format_number(method.values[name], 6) for method in result.methods.values())
        yield name, parameter.unit, *values


def _timing(result: Result, _: Figures) -> Fields:
    return {"stages": [(name, format_seconds(seconds)) for name, seconds in result.timings.items()]}


def _provenance(result: Result, _: Figures) -> Fields:
    return {"rows": list(flatten(result.provenance))}


def flatten(record: Mapping[str, JsonValue], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested JSON as rows of dotted key and text; empty values are left out.

    Examples
    --------
    >>> list(flatten({"versions": {"numpy": "2.5"}, "frames": [1, 300], "cluster": {}}))
    [('versions.numpy', '2.5'), ('frames', '1, 300')]
    """
    for key, value in record.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from flatten(value, f"{name}.")
        elif isinstance(value, list):
            if value and isinstance(value[0], dict):
                yield name, f"{len(value)} entries, in result.json"
            elif value:
                yield name, ", ".join(map(str, value))
        elif value is not None and value != "":
            yield name, str(value)


SECTIONS: Final = (
    Section("parameters", "Parameters", _parameters),
    Section("figures", "Figures", _figures),
    Section("optima", "Other optima of the search", _optima),
    Section("maps", "Maps", _maps),
    Section("methods", "Methods", _methods),
    Section("timing", "Time", _timing),
    Section("provenance", "Provenance", _provenance),
)
