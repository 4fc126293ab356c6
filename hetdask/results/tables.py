"""The numbers of a result as text, and tables of them for terminals."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from hetdask.data.selection import evenly_spread
from hetdask.results.course import OptimumResult
from hetdask.results.formatting import MISSING, format_fixed, format_measurement, format_number, format_seconds
from hetdask.results.result import Result
from hetdask.results.values import AngleResult, ParameterResult
from hetdask.results.wording import parameter_note

WIDE: Final = 100
"""Columns from which on the table of parameters shows start and bounds."""

ANGLE_HEADS: Final = ("phi (°)", "q (1/Å)", "contrast", "offset", "sigma", "residual rms", "chi²/dof")

NOISE_HEADS: Final = ("expected", "speckles")

PHOTONS_HEAD: Final = "photons"

METHOD_HEADS: Final = ("method", "chi²", "chi²/dof", "iterations", "evaluations", "time", "status")

BOOTSTRAP_HEADS: Final = ("parameter", "value", "± error", "± refits", "68 %", "95 %", "bias", "unit")

WEIGHTS_HEADS: Final = ("parameter", "weighted", "± error", "plain", "± plain", "gain", "unit")

PROFILE_HEADS: Final = ("parameter", "value", "± error", "68 %", "95 %", "unit")

REFITS_WORDS: Final = ("parameter", "unit")

OPEN: Final = "open"
"""Instead of the end of an interval that has none."""

SHOWN_ANGLES: Final = 20
"""Rows of the table of maps; of more maps an even selection is shown."""


def bounds_text(parameter: ParameterResult) -> str:
    """Lower and upper bound; empty for a fixed parameter."""
    if parameter.fixed:
        return ""
    return f"{format_number(parameter.min)} … {format_number(parameter.max)}"


def new_table(title: str) -> Table:
    """Empty table in the style of all summaries."""
    return Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)


def add_row(table: Table, cells: Iterable[str], dim: bool, warn: bool) -> None:
    """Add a row of plain text, which rich must not read as markup."""
    style = "dim" if dim else "yellow" if warn else ""
    table.add_row(*(Text(cell, style=style) for cell in cells))


def angle_heads(result: Result) -> tuple[str, ...]:
    """Heads of the table of maps: what noise predicts is left out where nothing was predicted."""
    judged = NOISE_HEADS if is_judged(result) else ()
    return (*ANGLE_HEADS, *judged, *((PHOTONS_HEAD,) if _is_counted(result) else ()))


def is_judged(result: Result) -> bool:
    """Whether the residuals were compared with white and speckle noise."""
    return any(angle.expected_rms is not None for angle in result.angles)


def _is_counted(result: Result) -> bool:
    """Whether they show that photons were counted."""
    return any(angle.photons is not None for angle in result.angles)


def angle_cells(angle: AngleResult, result: Result) -> tuple[str, ...]:
    """Numbers of one map as text, under `angle_heads`."""
    judged = (format_number(angle.expected_rms, 3), _rounded(angle.speckles)) if is_judged(result) else ()
    return (
        format_fixed(angle.phi, 2),
        format_number(angle.q),
        format_fixed(angle.contrast, 4),
        format_fixed(angle.offset, 4),
        format_number(angle.sigma, 3),
        format_number(angle.residual_rms, 3),
        format_fixed(angle.reduced_chi_squared, 3),
        *judged,
        *((format_number(angle.photons, 2),) if _is_counted(result) else ()),
    )


def _rounded(count: float | None) -> str:
    """A number that is known to some ten per cent."""
    return MISSING if count is None else f"{float(f'{count:.2g}'):,.0f}"


def method_rows(result: Result) -> list[tuple[str, ...]]:
    """The methods that were tried as text, under `METHOD_HEADS`."""
    return [
        (
            name,
            format_number(method.chi_squared, 8),
            format_number(method.reduced_chi_squared),
            f"{method.iterations:,}",
            f"{method.evaluations:,}",
            format_seconds(method.seconds),
            method.status.replace("_", " ") + (", best" if name == result.best_method else ""),
        )
        for name, method in result.methods.items()
    ]


def shown_angles(count: int, most: int = SHOWN_ANGLES) -> list[int]:
    """Indices of the maps that are shown; see `hetdask.data.selection.evenly_spread`."""
    return evenly_spread(count, most)


class ParameterTable:
    """The parameters, for `rich.print`; start and bounds are left out where the terminal is too narrow for them."""

    def __init__(self, result: Result) -> None:
        self.result = result

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.max_width >= WIDE
        table = new_table("Parameters")
        table.add_column("parameter", no_wrap=True)
        both = wide and self.result.errors != "iid"
        for name in ("value", "± error", "± iid") if both else ("value", "± error"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("unit", no_wrap=True)
        if wide:
            table.add_column("start", justify="right", no_wrap=True)
            table.add_column("bounds", justify="center", no_wrap=True)
        table.add_column("note")
        for name, parameter in self.result.parameters.items():
            value, error = format_measurement(parameter.value, parameter.stderr)
            note = parameter_note(parameter)
            begin = (format_number(parameter.start), bounds_text(parameter)) if wide else ()
            iid = format_measurement(parameter.value, parameter.stderr_iid)[1]
            errors = (error, iid) if both else (error,)
            add_row(table, (name, value, *errors, parameter.unit, *begin, note), parameter.fixed, bool(note))
        yield table


def weights_rows(result: Result) -> list[tuple[str, ...]]:
    """Weighted and plain estimates as text, under `WEIGHTS_HEADS`; the gain is the ratio of their errors."""
    rows: list[tuple[str, ...]] = []
    for name, plain in ({} if result.weighting is None else result.weighting.plain).items():
        parameter = result.parameters[name]
        gain = plain.stderr / parameter.stderr if plain.stderr and parameter.stderr else None
        rows.append(
            (
                name,
                *format_measurement(parameter.value, parameter.stderr),
                *format_measurement(plain.value, plain.stderr),
                format_number(gain, 2),
                parameter.unit,
            )
        )
    return rows


def bootstrap_rows(result: Result) -> list[tuple[str, ...]]:
    """The refits of the bootstrap as text, under `BOOTSTRAP_HEADS`."""
    rows = []
    for name, one in ({} if result.bootstrap is None else result.bootstrap.parameters).items():
        parameter = result.parameters[name]
        value, scatter = format_measurement(parameter.value, one.stderr)
        intervals = (_interval(ends, one.stderr) for ends in (one.interval_68, one.interval_95))
        error = format_measurement(parameter.value, parameter.stderr)[1]
        rows.append((name, value, error, scatter, *intervals, format_number(one.bias, 2), parameter.unit))
    return rows


def profile_rows(result: Result) -> list[tuple[str, ...]]:
    """The profiles as text, under `PROFILE_HEADS`."""
    rows = []
    for name, one in ({} if result.profiles is None else result.profiles.parameters).items():
        parameter = result.parameters[name]
        away = [abs(end - parameter.value) for end in (*one.interval_68, *one.interval_95) if end is not None]
        error = parameter.stderr or min(away, default=None)
        value = format_measurement(parameter.value, error)[0]
        intervals = (_interval(ends, error) for ends in (one.interval_68, one.interval_95))
        stderr = format_measurement(parameter.value, parameter.stderr)[1]
        rows.append((name, value, stderr, *intervals, parameter.unit))
    return rows


def _interval(ends: tuple[float | None, float | None], error: float | None) -> str:
    return " … ".join(OPEN if end is None else format_measurement(end, error)[0] for end in ends)


def refits_table(title: str, heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    """Table of estimates by parameter, such as `bootstrap_rows` under `BOOTSTRAP_HEADS`."""
    table = new_table(title)
    for name in heads:
        table.add_column(name, justify="left" if name in REFITS_WORDS else "right", no_wrap=True)
    for cells in rows:
        add_row(table, cells, False, OPEN in " ".join(cells))
    return table


def angle_table(result: Result) -> Table:
    """The maps, evenly selected where there are many."""
    shown = shown_angles(len(result.angles))
    title = "Maps"
    if len(shown) < len(result.angles):
        title += f" ({len(shown)} of {len(result.angles)}, evenly spread; all of them are in result.json)"
    table = new_table(title)
    for name in angle_heads(result):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("note")
    for index in shown:
        angle = result.angles[index]
        note = "" if angle.quality == "not judged" else angle.quality
        warn = note not in {"", "excellent", "acceptable"}
        add_row(table, (*angle_cells(angle, result), note), False, warn)
    return table


def method_table(result: Result) -> Table:
    """The methods that were tried."""
    table = new_table("Methods")
    for name in METHOD_HEADS:
        table.add_column(name, justify="left" if name in {"method", "status"} else "right", no_wrap=True)
    for cells, method in zip(method_rows(result), result.methods.values(), strict=True):
        add_row(table, cells, False, method.status != "converged")
    return table


def optima_table(result: Result, optima: list[OptimumResult]) -> Table:
    """The free parameters at the result and at other optima side by side."""
    table = new_table("Other optima of the search")
    table.add_column("parameter", no_wrap=True)
    table.add_column("result", justify="right", no_wrap=True)
    for one in optima:
        table.add_column(f"{100.0 * one.excess:+.3g} % chi²", justify="right", no_wrap=True)
    for name, parameter in result.parameters.items():
        if not parameter.fixed:
            values = [format_number(value) for value in (parameter.value, *(one.values[name] for one in optima))]
            add_row(table, (name, *values), False, False)
    return table
