"""The result in words and tables, for terminals, log files and notebooks."""

from __future__ import annotations

import io
from collections.abc import Mapping
from html import escape
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.text import Text

from hetdask.model.parameters import SPECS, unknown_name
from hetdask.results.course import STATUS_TEXT
from hetdask.results.formatting import MISSING, format_measurement, format_number
from hetdask.results.result import Result
from hetdask.results.tables import (
    BOOTSTRAP_HEADS,
    PROFILE_HEADS,
    WEIGHTS_HEADS,
    ParameterTable,
    add_row,
    angle_table,
    bootstrap_rows,
    method_table,
    new_table,
    optima_table,
    profile_rows,
    refits_table,
    weights_rows,
)
from hetdask.results.wording import concerns, facts_line, notes, parameter_note, status_line

TEXT_WIDTH: Final = 112
"""Columns of the plain text, where no terminal says how many there are."""

SHOWN_OPTIMA: Final = 3
"""Other optima in the table; all of them are in result.json."""


def summary(result: Result) -> RenderableType:
    """Status line, parameters, methods if there are several, maps and notes, for `rich.print`."""
    parts: list[RenderableType]
    if result.status == "converged":
        parts = [Text(status_line(result), style="bold green")]
    else:
        parts = [Text(STATUS_TEXT[result.status], style="bold red"), Text(result.message), Text(facts_line(result))]
    parts.extend(Text(line, style="yellow") for line in concerns(result))
    parts.extend((Text(), ParameterTable(result)))
    if result.weighting is not None and result.weighting.plain:
        parts.append(refits_table("Weights", WEIGHTS_HEADS, weights_rows(result)))
    if result.bootstrap is not None and result.bootstrap.parameters:
        parts.append(refits_table("Bootstrap", BOOTSTRAP_HEADS, bootstrap_rows(result)))
    if result.profiles is not None and result.profiles.parameters:
        parts.append(refits_table("Profiles", PROFILE_HEADS, profile_rows(result)))
    if len(result.methods) > 1:
        parts.append(method_table(result))
    if result.search is not None and result.search.optima:
        parts.append(optima_table(result, result.search.optima[:SHOWN_OPTIMA]))
    parts.append(angle_table(result))
    parts.extend(Text(line, style="dim") for line in notes(result))
    return Group(*parts)


def summary_against(result: Result, truth: Mapping[str, float]) -> RenderableType:
    """The fitted parameters beside the true ones, where these are known.

    Parameters
    ----------
    result : Result
    truth : mapping of str to float
        True values by parameter name; parameters that it leaves out are not shown.

    Raises
    ------
    ConfigError
        For a name that is not a parameter.
    """
    for name in truth:
        if name not in SPECS:
            raise unknown_name(name)
    table = new_table("Fit against truth")
    table.add_column("parameter", no_wrap=True)
    for name in ("value", "± error", "truth"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    table.add_column("deviation / error", justify="right", no_wrap=True)
    table.add_column("note")
    deviations: dict[str, float] = {}
    for name, parameter in result.parameters.items():
        if name not in truth:
            continue
        value, error = format_measurement(parameter.value, parameter.stderr)
        deviation = MISSING
        if parameter.stderr:
            deviations[name] = (parameter.value - truth[name]) / parameter.stderr
            deviation = f"{deviations[name]:+.1f}"
        cells = (
            name,
            value,
            error,
            format_number(truth[name], 6),
            parameter.unit,
            deviation,
            parameter_note(parameter),
        )
        add_row(table, cells, parameter.fixed, abs(deviations.get(name, 0.0)) > 3.0)
    parts: list[RenderableType] = [Text(status_line(result), style="bold"), Text(), table]
    if deviations:
        worst = max(deviations, key=lambda name: abs(deviations[name]))
        within = sum(abs(deviation) <= 2.0 for deviation in deviations.values())
        parts.append(
            Text(
                f"{within} of {len(deviations)} parameters within two standard errors of the truth; "
                f"the largest deviation is {abs(deviations[worst]):.1f} standard errors ({worst})."
            )
        )
    return Group(*parts)


def as_text(renderable: RenderableType, width: int = TEXT_WIDTH) -> str:
    """Plain text of a summary, without colours: for files, pipes and logs."""
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False, legacy_windows=False)
    with console.capture() as capture:
        console.print(renderable)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def print_summary(renderable: RenderableType, console: Console | None = None) -> None:
    """Print a summary: in colour on a terminal, as plain text of fixed width elsewhere."""
    console = console or Console()
    if console.is_terminal:
        console.print(renderable)
    else:
        console.file.write(as_text(renderable))


def brief(result: Result) -> str:
    """Status and parameters in a few lines: the repr of a result."""
    rows = []
    for name, parameter in result.parameters.items():
        value, error = format_measurement(parameter.value, parameter.stderr)
        number = value if error == MISSING else f"{value} ± {error}"
        rows.append((name, number, parameter.unit, parameter_note(parameter)))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [f"Result: {status_line(result)}"]
    for name, number, unit, note in rows:
        line = f"  {name:<{widths[0]}}  {number:<{widths[1]}}  {unit:<{widths[2]}}  {note}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def brief_html(result: Result) -> str:
    """The same as an HTML table for notebooks; everything is escaped."""
    rows = []
    for name, parameter in result.parameters.items():
        value, error = format_measurement(parameter.value, parameter.stderr)
        cells = (value, error, parameter.unit, parameter_note(parameter))
        rows.append(
            f'<tr><th scope="row" style="text-align:left">{escape(name)}</th>'
            + "".join(
                f'<td style="text-align:{align}">{escape(cell)}</td>'
                for cell, align in zip(cells, ("right", "right", "left", "left"), strict=True)
            )
            + "</tr>"
        )
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("parameter", "value", "± error", "unit", "note"))
    return (
        f"<table><caption><strong>{escape(status_line(result))}</strong></caption>"
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )
