"""Fixtures that tests of several parts share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hetdask_cluster.local import open_runner
from hetdask_cluster.runner import DaskRunner, InlineRunner


@pytest.fixture(scope="session")
def inline_runner() -> InlineRunner:
    """Runs in this process and pickles all that would travel."""
    return InlineRunner()


@pytest.fixture(scope="session")
def dask_runner() -> Iterator[DaskRunner]:
    """Two worker processes for the whole session."""
    with open_runner("local", workers=2, memory_limit="4GiB") as runner:
        assert isinstance(runner, DaskRunner)
        yield runner
