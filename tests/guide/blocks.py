"""The code blocks of the guide of heterodyne-analysis: those kept here, and those of its text."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "blocks"

FENCE: Final = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One code block: its language, the section it stands in, and its text."""

    name: str
    language: str
    text: str


def kept_blocks() -> list[Block]:
    """The blocks kept here, in the order of the guide."""
    paths = sorted(path for path in FOLDER.iterdir() if path.suffix in {".python", ".json", ".bash"})
    return [Block(path.stem, path.suffix[1:], path.read_text(encoding="utf-8")) for path in paths]


def blocks_of(text: str) -> list[Block]:
    """The blocks of a guide, named by their number and section."""
    blocks = []
    for number, found in enumerate(FENCE.finditer(text), start=1):
        section = re.findall(r"^#+ (.*)$", FENCE.sub("", text[: found.start()]), re.MULTILINE)[-1]
        slug = re.sub(r"[^a-z0-9]+", "-", section.lower()).strip("-")
        blocks.append(Block(f"{number:02}-{slug}", found[2], textwrap.dedent(found[3])))
    return blocks
