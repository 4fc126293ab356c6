"""The content of a file by the paths of the table, and what of it has no effect."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import Any, NamedTuple

from hetdask.config.original.key import Fate
from hetdask.config.original.table import TABLE, find
from hetdask.errors import ConfigError


class Note(NamedTuple):
    """A key that has no effect here, or another one.

    Attributes
    ----------
    path : str
    text : str
        Why, and what to use instead.
    value : object
        What the file has there.
    """

    path: str
    text: str
    value: Any = None

    def __str__(self) -> str:
        return f"  {self.path}: {self.text}"


def grouped(notes: list[Note]) -> list[str]:
    """A line for each reason, with the keys that it holds for; what their paths have in common is told once."""
    reasons: dict[str, list[list[str]]] = {}
    for note in notes:
        reasons.setdefault(note.text, []).append(note.path.split("."))
    lines = []
    for text, paths in reasons.items():
        sections = zip(*(path[:-1] for path in paths), strict=False)
        common = sum(1 for _ in takewhile(lambda names: len({*names}) == 1, sections))
        section, names = ".".join(paths[0][:common]), [".".join(path[common:]) for path in paths]
        told = ", ".join(names)
        if section:
            told = f"{section} ({told})" if len(names) > 1 else f"{section}.{told}"
        lines.append(f"  {told}: {text}")
    return lines


class Reader:
    """Hands out the values of keys that act."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._content = content

    def take(self, path: str, default: Any = None) -> Any:
        """Value of a key; null counts as missing.

        Raises
        ------
        KeyError
            If the table does not say that the key acts: a mistake of the caller.
        """
        if not TABLE[path].acts:
            raise KeyError(f"{path} is read, and the table says that it does not act")
        value = self._value(path)
        return default if value is None else value

    def take_entries(self, path: str, *keys: str) -> list[Mapping[str, Any]]:
        """List of mappings with `keys` that act.

        Raises
        ------
        ConfigError
            If it is something else.
        """
        if not all(TABLE[f"{path}.{key}"].acts for key in keys):
            raise KeyError(f"{path} is read, and the table says that it does not act")
        entries = self._value(path) or []
        if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
            raise ConfigError(f"{path}: found {entries!r}, expected a list of entries with {', '.join(keys)}")
        return entries

    def _value(self, path: str) -> Any:
        place: Any = self._content
        for part in path.split("."):
            if not isinstance(place, Mapping) or part not in place:
                return None
            place = place[part]
        return place

    def origin(self) -> dict[str, list[str]]:
        """Paths in this file from which each native key has its value."""
        found: dict[str, list[str]] = {}
        for path in dict.fromkeys(path for path, _ in leaves(self._content)):
            key = find(path)
            for native in key.to if key is not None else ():
                found.setdefault(native, []).append(path)
        return found

    def without_effect(self) -> list[Note]:
        """Keys that do not act, unless they ask for what is done anyway."""
        notes: dict[str, Note] = {}
        for path, value in leaves(self._content):
            key = find(path)
            if key is None:
                near = difflib.get_close_matches(path, TABLE, n=1, cutoff=0.8)
                hint = f"did you mean {near[0]}?" if near else "see `hetdask config schema` for the keys that act"
                notes.setdefault(path, Note(path, f"unknown; {hint}", value))
            elif key.fate is Fate.IGNORED and not key.fulfilled(value):
                notes.setdefault(path, Note(path, key.advice, value))
        return list(notes.values())


def leaves(content: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted paths and values, without names that begin with an underscore; indices of lists are left out."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            if not str(key).startswith("_"):
                yield from leaves(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(content, list) and any(isinstance(entry, Mapping) for entry in content):
        for entry in content:
            yield from leaves(entry, prefix)
    elif prefix:
        yield prefix, content
