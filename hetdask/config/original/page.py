"""The page in docs that lists every key: ``python -m hetdask.config.original.page docs/configuration-keys.md``."""

from __future__ import annotations

import json
import sys
from itertools import groupby
from pathlib import Path
from typing import Final

from hetdask.config.original.key import ANYTHING, Fate, Key
from hetdask.config.original.table import TABLE

HEAD: Final = """\
# Keys of a heterodyne-analysis configuration

What each key of the two templates of heterodyne-analysis 1.0.1 does here. Names that begin with an underscore are
comments. Keys without an effect are named in one warning, unless their value asks for what is done anyway; keys that
are not listed are told as unknown. `hetdask config check FILE` says it for a file, one line for each key, and
`hetdask config migrate FILE` writes the file in the native format. `*` stands for any other key of its section.

This page is written by `make keys` from the table that translates and warns: `hetdask/config/original/table`.
"""


def page() -> str:
    """Text of the page, in Markdown."""
    lines = [HEAD]
    for section, keys in groupby(TABLE.values(), lambda key: key.path.partition(".")[0]):
        lines += [f"## {section}", "", "| key | here | native keys | |", "|---|---|---|---|"]
        lines += [_row(key, section) for key in keys]
        lines.append("")
    return "\n".join(lines)


def _row(key: Key, section: str) -> str:
    name = key.path.removeprefix(f"{section}.")
    natives = ", ".join(f"`{native}`" for native in key.to)
    text = key.text
    if key.fate is Fate.IGNORED:
        text = key.advice
        if key.asked:
            values = " or ".join(f"`{json.dumps(value, ensure_ascii=False)}`" for value in key.asked)
            text += f"; {values} is what is done"
    shown = f"`{name}`" if name != ANYTHING else "any other"
    return f"| {shown} | {key.fate} | {natives} | {text} |"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
