"""A file of heterodyne-analysis in the native format, with comments that say where each value came from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from hetdask.config.original.reader import grouped
from hetdask.config.original.table import TABLE
from hetdask.config.original.translate import is_original, translate
from hetdask.config.template import aligned
from hetdask.errors import ConfigError

HEAD: Final = """\
# Configuration of hetdask, from {name} in the format of heterodyne-analysis.
# Keys that are left out keep their defaults; `hetdask config new` shows them all.
# Beside each value stands where it came from.
"""

DEFAULT: Final = "as heterodyne-analysis does where nothing else is said"

NOTES: Final = "# What has no effect here, or another one, and why:"


def migrated(content: Mapping[str, Any], name: str) -> str:
    """YAML text with the settings of a file, and in comments what is left out.

    Parameters
    ----------
    content : mapping
        Of the file.
    name : str
        Its name, for the first line.

    Raises
    ------
    ConfigError
        If the file is in the native format already, or a key holds something else than it should.
    """
    if not is_original(content):
        raise ConfigError(
            f"{name} is in the native format already: `hetdask config check {name}` shows what it resolves to"
        )
    settings, notes, origin = translate(content)
    lines = [HEAD.format(name=name)]
    for section, entries in settings.items():
        if entries:
            told = _table(entries, origin) if section == "parameters" else _lines(entries, section, origin)
            lines += [f"{section}:", *told, ""]
    if notes:
        lines += [NOTES, *(f"# {line}" for line in grouped(notes))]
    return "\n".join(lines).rstrip() + "\n"


def _table(parameters: Mapping[str, Any], origin: Mapping[str, list[str]]) -> list[str]:
    """One line for each parameter."""
    return aligned(
        (f"{name}: {_yaml(value)}", ", ".join(origin[f"parameters.{name}"])) for name, value in parameters.items()
    )


def _lines(entries: Mapping[str, Any], section: str, origin: Mapping[str, list[str]]) -> Iterator[str]:
    """Lines of a section, each below its comment; those of an inner section further in."""
    for key, value in entries.items():
        native = f"{section}.{key}"
        if not isinstance(value, Mapping):
            yield f"  # {_comment(origin[native]) if native in origin else DEFAULT}"
            yield f"  {key}: {_yaml(value)}"
        elif value:
            yield f"  {key}:"
            yield from (f"  {line}" for line in _lines(value, native, origin))


def _yaml(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_yaml(entry)}' for key, entry in value.items())}}}"
    return json.dumps(value, ensure_ascii=False)


def _comment(paths: list[str]) -> str:
    """Paths in the file, those after the first of a section by their last names; of a single one how it acts."""
    told, section = [], ""
    for path in paths:
        before, _, last = path.rpartition(".")
        told.append(last if before == section else path)
        section = before
    text = TABLE[paths[0]].text if len(paths) == 1 and paths[0] in TABLE else ""
    return ": ".join(part for part in (", ".join(told), text) if part)
