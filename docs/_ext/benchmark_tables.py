"""Tables of recorded benchmarks in Markdown, from the files that the benchmarks write."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

TIMING: Final = {"runs", "min", "median", "max"}

MOST_ROWS: Final = 40
"""Longer tables stay in the records."""

MOST_COLUMNS: Final = 18
"""Parts of parts are columns of the same table up to so many."""

LEFT_OUT: Final = ("cases", "values", "truth", "start")
"""What a reader looks up in the record."""


def all_records(folder: Path, level: int = 2) -> str:
    """A section for each record in a folder, by name."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    return "\n".join(line for one in records for line in record(one, level))


def record(content: Mapping[str, Any], level: int = 2) -> list[str]:
    """Section of one record: where and when, ratios, times, other figures, notes."""
    name, machine, versions = content["benchmark"], content["machine"], content["versions"]
    where = f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}"
    with_what = ", ".join(f"{package} {number}" for package, number in versions.items())
    lines = [f"{'#' * level} {name.replace('_', ' ').capitalize()}", ""]
    lines += [
        f"`benchmarks/{name}.py`, recorded on {content['recorded']} on {where}; load before {machine['load_average']}."
    ]
    lines += [f"Versions: {with_what}.", ""]
    lines += [f"{note}\n" for note in content["notes"]]
    lines += _ratios(content["ratios"])
    lines += _times(content["figures"])
    for title, rows in _tables(content["figures"], ()):
        lines += _table(title, rows)
    return lines


def _ratios(ratios: Mapping[str, Any]) -> list[str]:
    rows = [
        f"| {key} | {_number(one['ratio'])} | {one['reference']} | {one.get('goal', '')} | {_met(one)} |"
        for key, one in ratios.items()
    ]
    return ["| ratio | | to | goal | |", "|---|--:|---|---|---|", *rows, ""] if rows else []


def _met(one: Mapping[str, Any]) -> str:
    return "" if "met" not in one else "met" if one["met"] else "missed"


def _times(figures: Mapping[str, Any]) -> list[str]:
    rows = [
        f"| {' · '.join(path)} | {' | '.join(duration(one[key]) for key in ('median', 'min', 'max'))} | {one['runs']} |"
        for path, one in _timings(figures, ())
    ]
    return ["| time | median | least | most | runs |", "|---|--:|--:|--:|--:|", *rows, ""] if rows else []


def _timings(part: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    for key, value in part.items():
        if isinstance(value, Mapping):
            if value.keys() >= TIMING:
                yield (*path, *([] if key == "seconds" else [key.replace("_seconds", "").replace("_", " ")])), value
            else:
                yield from _timings(value, (*path, key))


def _tables(
    part: Mapping[str, Any], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], list[tuple[str, dict[str, Any]]]]]:
    """Tables of figures that are no times: parts side by side are the rows of one, numbers alone a row by itself."""
    alone = {key: value for key, value in part.items() if _is_figure(value)}
    inner = {
        key: value
        for key, value in part.items()
        if isinstance(value, Mapping) and not value.keys() >= TIMING and key not in LEFT_OUT
    }
    rows = [(key, row) for key, value in inner.items() if (row := _row(value))]
    if alone and len(path) == 0:
        yield path, [("", alone)]
    for group in _alike(rows):
        if len(group) <= MOST_ROWS:
            yield path, group
    for key, value in inner.items():
        if not _is_shallow(value):
            yield from _tables(value, (*path, key))


def _row(part: Mapping[str, Any]) -> dict[str, Any]:
    """Figures of a part, with those of parts within it where these have nothing but figures."""
    row = {name: one for name, one in part.items() if _is_figure(one)}
    if _is_shallow(part):
        inner = {name: one for name, one in part.items() if isinstance(one, Mapping) and not one.keys() >= TIMING}
        row.update({f"{name}: {key}": one[key] for name, one in inner.items() for key in one if _is_figure(one[key])})
    return row


def _is_shallow(part: Mapping[str, Any]) -> bool:
    """Whether a part and the parts within it are one row of a table, and not too long a one."""
    inner = [one for name, one in part.items() if isinstance(one, Mapping) and name not in LEFT_OUT]
    deeper = any(isinstance(value, Mapping) for one in inner for value in one.values())
    return not deeper and len(part) + sum(map(len, inner)) <= MOST_COLUMNS


def _alike(rows: list[tuple[str, dict[str, Any]]]) -> list[list[tuple[str, dict[str, Any]]]]:
    """Rows in groups that share columns: those of one group fit into one table."""
    groups: list[list[tuple[str, dict[str, Any]]]] = []
    for key, row in rows:
        group = next((group for group in groups if group[0][1].keys() & row.keys()), None)
        if group is None:
            groups.append([(key, row)])
        else:
            group.append((key, row))
    return groups


def _is_figure(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _table(title: tuple[str, ...], rows: list[tuple[str, dict[str, Any]]]) -> list[str]:
    columns = list(dict.fromkeys(name for _, row in rows for name in row))
    if len(rows) == 1:
        # One row reads better as a column.
        [(key, row)] = rows
        head = " · ".join([*title, *([key] if key else [])]) or "figure"
        body = [f"| {name.replace('_', ' ')} | {_number(value)} |" for name, value in row.items()]
        return [f"| {head} | |", "|---|--:|", *body, ""]
    body = [f"| {key} | {' | '.join(_number(row.get(name)) for name in columns)} |" for key, row in rows]
    head = " | ".join(name.replace("_", " ") for name in columns)
    return [f"| {' · '.join(title)} | {head} |", "|---|" + "--:|" * len(columns), *body, ""]


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def duration(value: float) -> str:
    """Seconds as text, in ms below one second."""
    return f"{value * 1e3:.3g} ms" if value < 1.0 else f"{value:.3g} s"
