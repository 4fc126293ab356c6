"""report.html: one self-contained page with verdict, numbers, figures and provenance."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

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

REPORT_FILE: Final = "report.html"
TEMPLATE: Final = "report.html.j2"


def render_report(result: Result, figures: Sequence[FigureFile] = ()) -> str:
    """The page as text.

    Parameters
    ----------
    result : Result
    figures : sequence of FigureFile
        Embedded as data URIs, in this order.
    """
    environment = Environment(
        loader=PackageLoader("hetdask.results"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE).render(
        title=f"hetdask · {_source_name(result)}",
        source=_source_name(result),
        good=result.status == "converged",
        verdict=STATUS_TEXT[result.status],
        message=result.message,
        facts=list(_facts(result)),
        parameters=list(_parameter_rows(result)),
        concerns=concerns(result),
        notes=notes(result),
        angle_heads=(*angle_heads(result), "pixels", "quality"),
        angles=[
            (*angle_cells(angle, judged=is_judged(result)), f"{angle.n_points:,}", angle.quality)
            for angle in result.angles
        ],
        figures=[(figure.title, figure.description, _data_uri(figure.path)) for figure in figures],
        figures_of_maps=sum(figure.path.name.startswith("map-") for figure in figures),
        method_heads=METHOD_HEADS,
        methods=method_rows(result),
        optima=list(_other_optima(result)),
        messages=[(name, method.message) for name, method in result.methods.items()],
        values=list(_values_by_method(result)) if len(result.methods) > 1 else [],
        stages=[(name, format_seconds(seconds)) for name, seconds in result.timings.items()],
        provenance=list(flatten(result.provenance)),
    )


def write_report(
    folder: Path, result: Result, figures: Sequence[FigureFile], write: Callable[[Path, str], None]
) -> Path:
    """Render the page into `folder` by `write` (path, text); returns its path."""
    path = folder / REPORT_FILE
    write(path, render_report(result, figures))
    return path


def _source_name(result: Result) -> str:
    source = result.provenance.get("source") or result.provenance.get("store") or "result"
    return Path(str(source)).name


def _data_uri(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def _other_optima(result: Result) -> Iterator[tuple[str, ...]]:
    """The free parameters at other optima of a search, one row each; the first row holds the heads."""
    optima = result.search.optima if result.search is not None else []
    if not optima:
        return
    yield ("Parameter", "Result", *(f"{100.0 * one.excess:+.3g} % χ²" for one in optima))
    for name, parameter in result.parameters.items():
        if not parameter.fixed:
            yield (name, format_number(parameter.value), *(format_number(one.values[name]) for one in optima))


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


def _values_by_method(result: Result) -> Iterator[tuple[str, ...]]:
    """Parameter, unit, and its value by each method."""
    for name, parameter in result.parameters.items():
        values = (format_number(method.values[name], 6) for method in result.methods.values())
        yield name, parameter.unit, *values


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
