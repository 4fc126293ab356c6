"""What becomes of a key of heterodyne-analysis: the words in which the table is written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final


class Fate(StrEnum):
    """What becomes of a key."""

    ACTS = "acts"
    DIFFERS = "acts differently"
    IGNORED = "no effect"
    COMMENT = "text for people"


ANYTHING: Final = "*"
"""Last part of a path that stands for every key of its section that has no entry of its own."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key, or with `ANYTHING` at the end a whole section.

    Attributes
    ----------
    path : str
        Dotted, without indices of lists.
    fate : Fate
    to : tuple of str
        Native keys that it sets.
    copied : bool
        Whether its value is theirs as it is; else a function of `translate` reads it.
    text : str
        How it acts differently, or why it has no effect.
    use : tuple of str
        Native keys, options and commands to use instead.
    asked : tuple
        Values that ask for what is done anyway: nothing to tell.
    """

    path: str
    fate: Fate
    to: tuple[str, ...] = ()
    copied: bool = False
    text: str = ""
    use: tuple[str, ...] = ()
    asked: tuple[Any, ...] = ()

    @property
    def acts(self) -> bool:
        """Whether it has an effect."""
        return self.fate in {Fate.ACTS, Fate.DIFFERS}

    @property
    def advice(self) -> str:
        """Why it has no effect, and what to use instead."""
        instead = f"use {' or '.join(self.use)}" if self.use else ""
        return "; ".join(part for part in (self.text, instead) if part)

    def fulfilled(self, value: Any) -> bool:
        """Whether a value, or each of a list, asks for what is done anyway."""
        if isinstance(value, list):
            return all(self.fulfilled(entry) for entry in value)
        # True is 1 in Python, and not in a file.
        return value is None or any(type(one) is type(value) and one == value for one in self.asked)


def acts(section: str, names: str, to: str, text: str = "", *, copied: bool = False) -> list[Key]:
    """Keys with an effect; `names`, and the native keys that they set, stand in one text with spaces."""
    fate = Fate.DIFFERS if text else Fate.ACTS
    return [Key(path, fate, tuple(to.split()), copied, text) for path in _paths(section, names)]


def copies(section: str, name: str, to: str, text: str = "") -> list[Key]:
    """A key whose value is that of native keys."""
    return acts(section, name, to, text, copied=True)


def ignored(section: str, names: str, text: str = "", *, use: Iterable[str] = (), asked: Any = ()) -> list[Key]:
    """Keys without an effect."""
    wanted = asked if isinstance(asked, tuple) else (asked,)
    return [Key(path, Fate.IGNORED, text=text, use=tuple(use), asked=wanted) for path in _paths(section, names)]


def comment(section: str, names: str) -> list[Key]:
    """Texts for people."""
    return [Key(path, Fate.COMMENT) for path in _paths(section, names)]


def _paths(section: str, names: str) -> list[str]:
    return [f"{section}.{name}" if section else name for name in names.split()]
