"""The examples in the docstrings run."""

from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["ingest", "inspect", "noise", "readers", "reduction", "selection", "store", "tiling"])
def test_examples_run(name: str) -> None:
    module = importlib.import_module(f"hetdask.data.{name}")
    result = doctest.testmod(module, extraglobs={"np": importlib.import_module("numpy")})
    assert result.attempted > 0
    assert result.failed == 0
