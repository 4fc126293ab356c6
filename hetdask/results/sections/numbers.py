"""Sections of text and tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from markupsafe import Markup

from hetdask.fitting.quality import odds
from hetdask.results.course import STATUS_TEXT
from hetdask.results.formatting import (
    MISSING,
    format_fixed,
    format_measurement,
    format_number,
    format_seconds,
    sentence,
)
from hetdask.results.goodness import CHECKS
from hetdask.results.result import Result
from hetdask.results.sections.page import Fields, Page
from hetdask.results.tables import REFITS_WORDS, WEIGHTS_HEADS, bounds_text, weights_rows
from hetdask.results.values import Correlations
from hetdask.results.wording import concerns, notes, parameter_note
from hetdask_cluster.memory import format_bytes

if TYPE_CHECKING:
    from pydantic import JsonValue

STRONG: Final = 0.9
"""Correlation coefficients from here on are named in words."""

SHADE: Final = 0.65
"""Colour of a correlation of 1 in the table: dark enough to see, light enough to read the number."""


def source_name(result: Result) -> str:
    """File name of the data."""
    source = result.provenance.get("source") or result.provenance.get("store") or "result"
    return Path(str(source)).name


def weights(page: Page) -> Fields | None:
    """Weighted and plain estimates side by side."""
    found = page.result.weighting
    if found is None:
        return None
    rows = weights_rows(page.result)
    return {
        "note": sentence(found.note),
        "blocks": found.blocks,
        "heads": WEIGHTS_HEADS,
        "rows": rows,
        "words": REFITS_WORDS,
    }


def verdict(page: Page) -> Fields:
    """Head of the page."""
    result = page.result
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


def parameters(page: Page) -> Fields:
    """The parameters, and how to read their errors."""
    result = page.result
    return {"parameters": list(_parameter_rows(result)), "notes": notes(result), "both": result.errors != "iid"}


def raised_unit(text: str) -> Markup:
    """A unit with its exponent raised: "Å/s^(β+1)" as Å/s and a superscript."""
    base, _, exponent = text.partition("^")
    raised = Markup("<sup>{}</sup>").format(exponent.strip("()")) if exponent else Markup("")
    return Markup("{}{}").format(base, raised)


def _parameter_rows(result: Result) -> Iterator[dict[str, str]]:
    for name, parameter in result.parameters.items():
        value, error = format_measurement(parameter.value, parameter.stderr)
        yield {
            "name": name,
            "value": value,
            "error": error,
            "iid": format_measurement(parameter.value, parameter.stderr_iid)[1],
            "unit": parameter.unit,
            "start": format_number(parameter.start),
            "bounds": bounds_text(parameter),
            "note": parameter_note(parameter),
            "kind": "fixed" if parameter.fixed else "warn" if parameter_note(parameter) else "",
        }


def goodness(page: Page) -> Fields | None:
    """Whether the residuals are noise, in words, by check and by map."""
    result = page.result
    found = result.goodness
    if found is None:
        return None
    return {
        "quality": found.quality,
        "good": found.consistent,
        "text": found.text,
        "recommendations": found.recommendations,
        "outliers": [f"{one}" for one in result.outliers],
        "checks": [(CHECKS[check.name], odds(check.p_value)) for check in found.checks],
        "angles": [
            (
                format_fixed(angle.phi, 2),
                format_number(angle.q),
                format_number(angle.level, 3),
                MISSING if angle.level_p_value is None else odds(angle.level_p_value),
                angle.quality,
            )
            for angle in result.angles
        ],
    }


def identifiability(page: Page) -> Fields | None:
    """Rank, undetermined combinations, and the correlations."""
    result = page.result
    free = len(result.correlations.names)
    if not free:
        return None
    weak = [
        (one.text, ", ".join(f"{name} {value:+.2f}" for name, value in one.direction.items()))
        for one in result.identifiability.weak
    ]
    return {
        "rank": result.identifiability.rank,
        "free": free,
        "weak": weak,
        "strong": [f"{first} and {second} ({text})" for first, second, text in _strong(result.correlations)],
        "threshold": STRONG,
        "names": result.correlations.names,
        "matrix": list(_matrix_rows(result.correlations)),
    }


def _strong(correlations: Correlations) -> Iterator[tuple[str, str, str]]:
    """Pairs that are strongly correlated, the strongest first."""
    names, matrix = correlations.names, correlations.matrix
    pairs = [
        (abs(value), names[column], names[row], _coefficient(value))
        for row in range(len(names))
        for column in range(row)
        if (value := matrix[row][column]) is not None and abs(value) >= STRONG
    ]
    for _, first, second, text in sorted(pairs, reverse=True):
        yield first, second, text


def _coefficient(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _matrix_rows(correlations: Correlations) -> Iterator[tuple[str, list[tuple[str, str, int]]]]:
    """Name, and for each column the number, the sign's class, and the shade in per cent."""
    for name, row in zip(correlations.names, correlations.matrix, strict=True):
        yield (
            name,
            [
                (MISSING, "none", 0)
                if value is None
                else (_coefficient(value), "negative" if value < 0.0 else "positive", round(100 * SHADE * abs(value)))
                for value in row
            ],
        )


def run(page: Page) -> Fields:
    """Where the time went, and the memory."""
    result = page.result
    stages = {name: seconds for name, seconds in result.timings.items() if name != "total"}
    total = result.timings.get("total", sum(stages.values()))
    memory = (
        ("Budget of the run", result.memory.budget),
        ("Projected peak", result.memory.projected),
        ("Largest worker, measured", result.memory.peak_worker),
    )
    return {
        "stages": [
            (name, format_seconds(seconds), f"{100.0 * seconds / total:.0f} %" if total else MISSING)
            for name, seconds in stages.items()
        ],
        "total": format_seconds(total),
        "passes": f"{result.passes:,}",
        "memory": [(name, format_bytes(size)) for name, size in memory if size is not None],
    }


def provenance(page: Page) -> Fields:
    """Where the data and the numbers come from."""
    return {"rows": list(flatten(page.result.provenance))}


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
