"""Fixtures that tests of several parts share."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import hypothesis
import pytest

from hetdask_cluster.dask_runner import DaskRunner
from hetdask_cluster.local import open_runner
from hetdask_cluster.runner import InlineRunner

# Machines are slow at times, which says nothing about the code; and a failure on CI can be had again.
hypothesis.settings.register_profile("suite", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("suite")

# A shell that starts the tests in the background lets them ignore Ctrl-C, and so would every program that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def own_history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fits of the tests are no part of the user's history."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HETDASK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


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
