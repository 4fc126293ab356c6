"""The page on moving from heterodyne-analysis names tests that exist, and shows every promise by one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "heterodyne-analysis.md").read_text()
BLOCKS = {path.stem for path in (Path(__file__).parent / "blocks").iterdir()}
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)(?:\[([\w-]+)\])?`", PAGE)


def test_every_promise_is_shown_by_tests() -> None:
    rows = PAGE[PAGE.index("| promise | here | shown by |") :].splitlines()[2:]
    assert len(rows) > 25
    assert [row for row in rows if not re.search(r"`tests/[^`]+::test_\w+", row)] == []


def test_tests_that_are_named_exist() -> None:
    assert PAGE.count("::test_") == len(NAMED)
    for file, name, block in NAMED:
        tree = ast.parse((ROOT / file).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{file}::{name}"
        assert not block or block in BLOCKS, block
