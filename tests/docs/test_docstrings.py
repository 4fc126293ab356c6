"""The examples in the docstrings run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from types import ModuleType

import numpy as np
import pytest

import hetdask
import hetdask_cluster
import hetdask_kernels


def modules_of(package: ModuleType) -> list[str]:
    """Names of a package and of all modules in it that can be imported without being run."""
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    return [package.__name__, *(module.name for module in found)]


@pytest.mark.parametrize("package", [hetdask, hetdask_cluster, hetdask_kernels], ids=lambda package: package.__name__)
def test_examples_run(package: ModuleType) -> None:
    attempted = 0
    for name in modules_of(package):
        result = doctest.testmod(importlib.import_module(name), extraglobs={"np": np})
        assert result.failed == 0, name
        attempted += result.attempted
    assert attempted > 0
