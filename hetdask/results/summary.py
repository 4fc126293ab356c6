"""The result in words and tables, for terminals, log files and notebooks."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Final

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from hetdask.data.selection import evenly_spread
from hetdask.model.parameters import SPECS, unknown_name
from hetdask.results.formatting import (
    MISSING,
    format_fixed,
    format_measurement,
    format_number,
    format_seconds,
    frames_text,
    sentence,
)
from hetdask.results.goodness import outlier_line
from hetdask.results.intervals import bootstrap_concerns, profile_concerns
from hetdask.results.result import (
    STATUS_TEXT,
    AngleResult,
    LearnedSummary,
    MethodResult,
    OptimumResult,
    ParameterResult,
    Result,
    SearchSummary,
)

TEXT_WIDTH: Final = 112
"""Columns of the plain text, where no terminal says how many there are."""

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

STRONG: Final = 0.95
"""Correlation of two parameters that a reader is told of."""

SHOWN_PAIRS: Final = 4

SHOWN_OPTIMA: Final = 3
"""Other optima in the table; all of them are in result.json."""

SHOWN_REGIONS: Final = 4
"""Outlying frames that are named; all of them are in result.json."""

SHOWN_ANGLES: Final = 20
"""Rows of the table of maps; of more maps an even selection is shown."""

CHI_SQUARED_NOTE: Final = (
    "Reduced chi-squared is reported, not judged: sigma holds the white noise, not the speckle noise."
)


def parameter_note(parameter: ParameterResult) -> str:
    """What must be known beside the value, in words; empty for a free, identified parameter inside its bounds."""
    if parameter.fixed:
        return "fixed"
    notes = []
    if parameter.at_bound is not None:
        notes.append({"min": "at its lower bound", "max": "at its upper bound"}[parameter.at_bound])
    if not parameter.identified:
        notes.append("not determined by these data")
    return ", ".join(notes)


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


def facts_line(result: Result) -> str:
    """Method, quality and size in one line."""
    parts = [
        f"method {result.best_method}",
        f"reduced chi-squared {format_number(result.reduced_chi_squared)}",
        f"{len(result.angles)} {'map' if len(result.angles) == 1 else 'maps'}",
        f"{result.n_points:,} pixels",
    ]
    if result.goodness is not None:
        parts.insert(1, f"quality {result.goodness.quality}")
    if result.resolution == "reduced":
        kept = result.identifiability.retained_information
        parts.append("fit of block means" + ("" if kept is None else f" with {kept:.1%} of the information"))
    if "total" in result.timings:
        parts.append(format_seconds(result.timings["total"]))
    return " · ".join(parts)


def status_line(result: Result) -> str:
    """Verdict on the run, with method, quality and size."""
    return f"{STATUS_TEXT[result.status]} · {facts_line(result)}"


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


def search_line(search: SearchSummary) -> str:
    """What the search did, in a sentence."""
    why = "those given led to no optimum at the noise level; " if search.doubted else ""
    line = (
        f"Start values: {why}global search, {search.agreed} of {search.starts} starts reached the best optimum "
        f"({search.evaluations:,} evaluations on reduced data, {format_seconds(search.seconds)})"
    )
    if search.confirmed:
        line += ", which is that of those given"
    if search.gap is None:
        return f"{line}; no other optimum was found."
    if search.gap >= 1.0:
        return f"{line}; the next one had {format_number(1.0 + search.gap, 2)} times as much chi-squared there."
    return f"{line}; the next one had {100.0 * search.gap:.2g} % more chi-squared there."


def learned_line(learned: LearnedSummary) -> str:
    """What the learned start did, in a sentence."""
    where = f"(distance {learned.distance:.2f}, limit {learned.limit:.2f})"
    if learned.outside:
        return f"Learned start: not used, these data are unlike what it was trained on {where}; a search ran instead."
    line = (
        f"Learned start: {learned.starts} start values {where}, {learned.polished} polished with "
        f"{learned.evaluations:,} evaluations on reduced data"
    )
    origin = {
        "prediction": "the prediction itself led to the best optimum",
        "spread": "one within its doubt led to the best optimum",
        "history": "an earlier fit led to the best optimum",
        None: "none led to the best optimum",
    }[learned.winner]
    if learned.sufficed:
        return f"{line}; {origin}."
    return f"{line}; they did not agree on an optimum at the noise level, so a search followed; {origin}."


def shown_angles(count: int, most: int = SHOWN_ANGLES) -> list[int]:
    """Indices of the maps that are shown; see `hetdask.data.selection.evenly_spread`."""
    return evenly_spread(count, most)


def concerns(result: Result) -> list[str]:
    """What a reader of the numbers must look at, in sentences; empty if nothing."""
    lines = []
    contenders = [] if result.search is None else [one for one in result.search.optima if one.contender]
    if contenders:
        lines.append(
            f"{len(contenders)} other optim{'um' if len(contenders) == 1 else 'a'} cannot be excluded by these data: "
            "tighten the bounds, fix what is known, or measure at more angles."
        )
    for name, parameter in result.parameters.items():
        if parameter.at_bound is not None:
            side, key, bound = (
                ("lower", "min", parameter.min) if parameter.at_bound == "min" else ("upper", "max", parameter.max)
            )
            lines.append(
                f"{name} ended at its {side} bound {format_number(bound)}: change parameters.{name}.{key}, "
                f"or fix {name}."
            )
    lines.extend(sentence(weak.text) for weak in result.identifiability.weak)
    lines.extend(sentence(caution) for caution in result.identifiability.cautions)
    failed = [angle for angle in result.angles if angle.quality.startswith("failed")]
    if failed:
        angles = ", ".join(f"{angle.phi:g}°" for angle in failed[:8]) + (" …" if len(failed) > 8 else "")
        lines.append(
            f"No positive contrast in {len(failed)} of {len(result.angles)} maps (phi = {angles}): the model does "
            "not describe them. Leave them out, or start nearer to the data."
        )
    if result.goodness is not None:
        lines.extend([] if result.goodness.consistent else [result.goodness.text])
        lines.extend(result.goodness.recommendations)
    lines.extend(filter(None, [outlier_line(result.outliers, SHOWN_REGIONS)]))
    lines.extend(line for name, method in result.methods.items() for line in _outlier_lines(name, method))
    if result.weighting is not None and result.weighting.used == "plain":
        lines.append(sentence(result.weighting.note))
    if result.bootstrap is not None:
        errors = {name: parameter.stderr for name, parameter in result.parameters.items()}
        lines.extend(bootstrap_concerns(result.bootstrap, errors))
    if result.profiles is not None:
        lines.extend(profile_concerns(result.profiles))
    return lines


def _outlier_lines(name: str, method: MethodResult) -> Iterator[str]:
    """What a robust method gave little weight, one sentence for all maps."""
    found = method.outliers or []
    if found:
        parts = [f"{frames_text(one.frames, one.other_frames)} at {one.phi:g}°" for one in found[:SHOWN_REGIONS]]
        more = f" and {len(found) - SHOWN_REGIONS} more" if len(found) > SHOWN_REGIONS else ""
        yield f"{name} gave little or no weight to {', '.join(parts)}{more}: look at these data."


def notes(result: Result) -> list[str]:
    """How to read the numbers, in sentences."""
    lines = [] if result.learned is None else [learned_line(result.learned)]
    if result.search is not None:
        lines.append(search_line(result.search))
    lines.append(CHI_SQUARED_NOTE)
    if result.goodness is not None and result.goodness.consistent:
        lines.append(result.goodness.text)
    if result.errors_note:
        lines.append(sentence(result.errors_note))
    if result.bootstrap is not None and result.bootstrap.experiments:
        lines.append(f"Bootstrap: {result.bootstrap.note} ({format_seconds(result.bootstrap.seconds)}).")
    if result.profiles is not None and result.profiles.parameters:
        lines.append(f"Profiles: {result.profiles.note} ({format_seconds(result.profiles.seconds)}).")
    lines.extend(_strong_correlations(result))
    lines.extend(_data_notes(result))
    return lines


def _strong_correlations(result: Result) -> Iterator[str]:
    """Pairs of parameters that are known together better than each alone."""
    names, matrix = result.correlations.names, result.correlations.matrix
    pairs = [
        (value, names[b], names[a]) for a in range(len(names)) for b in range(a) if (value := matrix[a][b]) is not None
    ]
    strong = sorted((pair for pair in pairs if abs(pair[0]) > STRONG), key=lambda pair: -abs(pair[0]))
    if strong:
        listed = ", ".join(f"{one} and {other} ({value:+.3f})" for value, one, other in strong[:SHOWN_PAIRS])
        more = f" and {len(strong) - SHOWN_PAIRS} more" if len(strong) > SHOWN_PAIRS else ""
        yield f"Strongly correlated: {listed}{more}; each error includes what the other leaves open."


def _data_notes(result: Result) -> Iterator[str]:
    """What the ingest found in the maps and left out or changed."""
    recorded = result.provenance.get("maps")
    maps = [entry for entry in recorded if isinstance(entry, dict)] if isinstance(recorded, list) else []
    frames = [len(bad) for entry in maps if isinstance(bad := entry.get("bad_frames"), list) and bad]
    if frames:
        yield (
            f"Frames without data are left out: up to {max(frames)} of {result.n_frames} frames "
            f"in {len(frames)} of {len(maps)} maps."
        )
    missing = [count for entry in maps if isinstance(count := entry.get("missing"), int) and count]
    if missing:
        yield f"Missing pixels of good frames are left out: {sum(missing):,} in {len(missing)} of {len(maps)} maps."
    averaged = sum(entry.get("averaged") is True for entry in maps)
    if averaged:
        yield f"The two triangles of {averaged} of {len(maps)} maps differed and were averaged."


class _ParameterTable:
    """The parameters; start and bounds are left out where the terminal is too narrow for them."""

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


def _refits_table(title: str, heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    table = new_table(title)
    for name in heads:
        table.add_column(name, justify="left" if name in REFITS_WORDS else "right", no_wrap=True)
    for cells in rows:
        add_row(table, cells, False, OPEN in " ".join(cells))
    return table


def _angle_table(result: Result) -> Table:
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


def _method_table(result: Result) -> Table:
    table = new_table("Methods")
    for name in METHOD_HEADS:
        table.add_column(name, justify="left" if name in {"method", "status"} else "right", no_wrap=True)
    for cells, method in zip(method_rows(result), result.methods.values(), strict=True):
        add_row(table, cells, False, method.status != "converged")
    return table


def _optima_table(result: Result, optima: list[OptimumResult]) -> Table:
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


def summary(result: Result) -> RenderableType:
    """Status line, parameters, methods if there are several, maps and notes, for `rich.print`."""
    parts: list[RenderableType]
    if result.status == "converged":
        parts = [Text(status_line(result), style="bold green")]
    else:
        parts = [Text(STATUS_TEXT[result.status], style="bold red"), Text(result.message), Text(facts_line(result))]
    parts.extend(Text(line, style="yellow") for line in concerns(result))
    parts.extend((Text(), _ParameterTable(result)))
    if result.weighting is not None and result.weighting.plain:
        parts.append(_refits_table("Weights", WEIGHTS_HEADS, weights_rows(result)))
    if result.bootstrap is not None and result.bootstrap.parameters:
        parts.append(_refits_table("Bootstrap", BOOTSTRAP_HEADS, bootstrap_rows(result)))
    if result.profiles is not None and result.profiles.parameters:
        parts.append(_refits_table("Profiles", PROFILE_HEADS, profile_rows(result)))
    if len(result.methods) > 1:
        parts.append(_method_table(result))
    if result.search is not None and result.search.optima:
        parts.append(_optima_table(result, result.search.optima[:SHOWN_OPTIMA]))
    parts.append(_angle_table(result))
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
