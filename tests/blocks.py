"""Code blocks of a text in Markdown: their language, what is noted behind it, and the section they stand in."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FENCE: Final = re.compile(r"^( *)```(\S*)[ \t]*([^\n`]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One code block.

    Attributes
    ----------
    name : str
        Its number and section: "03-the-fit".
    language, text : str
    note : str
        What follows the language: "(not run: needs a queue)".
    """

    name: str
    language: str
    text: str
    note: str = ""


def kept_blocks(folder: Path) -> list[Block]:
    """Blocks that are kept in a folder as ``NAME.LANGUAGE``, in order."""
    paths = sorted(path for path in folder.iterdir() if path.suffix in {".python", ".json", ".bash"})
    return [Block(path.stem, path.suffix[1:], path.read_text(encoding="utf-8")) for path in paths]


def blocks_of(text: str) -> list[Block]:
    """The blocks of a text, named by their number and section."""
    blocks = []
    for number, found in enumerate(FENCE.finditer(text), start=1):
        section = re.findall(r"^#+ (.*)$", FENCE.sub("", text[: found.start()]), re.MULTILINE)[-1]
        slug = re.sub(r"[^a-z0-9]+", "-", section.lower()).strip("-")
        blocks.append(Block(f"{number:02}-{slug}", found[2], textwrap.dedent(found[4]), found[3].strip()))
    return blocks
