"""A worker whose network goes: silent or cut in the middle of a fit, the fit goes on to the same answer."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

import hetdask
from hetdask.data.store import Store
from hetdask.results import Result
from hetdask_cluster.local import open_runner

from .conftest import CONFIG, At, assert_same, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SILENT_SECONDS = 8
"""A machine that stands still for so long looks as if its network had gone: the other worker has a nanny for that."""


class Link:
    """Relays of TCP connections through this process, until the line is cut or nothing comes through any more."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._through = asyncio.Event()
        self._through.set()
        self._open: set[asyncio.StreamWriter] = set()
        self._relays: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []
        self._gone = False
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def relay(self, port: int) -> int:
        """Port that leads to another one of this machine."""

        async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if self._gone:
                writer.close()
                return
            task = asyncio.current_task()
            assert task is not None
            self._relays.add(task)
            other_reader, other_writer = await asyncio.open_connection("127.0.0.1", port)
            self._open |= {writer, other_writer}
            await asyncio.gather(self._copy(reader, other_writer), self._copy(other_reader, writer))

        async def listen() -> int:
            server = await asyncio.start_server(connect, "127.0.0.1", 0)
            self._servers.append(server)
            return int(server.sockets[0].getsockname()[1])

        return asyncio.run_coroutine_threadsafe(listen(), self._loop).result(30)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                await self._through.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    def silence(self) -> None:
        """Let nothing through, and tell nobody."""
        self._loop.call_soon_threadsafe(self._through.clear)

    def cut(self) -> None:
        """Break all connections, and accept no new ones."""

        self._loop.call_soon_threadsafe(self._abort)

    def _abort(self) -> None:
        self._gone = True
        self._through.set()
        for writer in self._open:
            writer.transport.abort()

    def close(self) -> None:
        """End the relays."""

        async def end() -> None:
            self._abort()
            for server in self._servers:
                server.close()
            if self._relays:
                await asyncio.wait(self._relays, timeout=10)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def cluster(folder: Path, link: Link) -> Iterator[str]:
    """Scheduler and two workers as processes of their own, all that one of them says and hears going over a link."""
    file = folder / "scheduler.json"
    options: dict[str, Any] = {
        "cwd": folder,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        "env": os.environ | {"OMP_NUM_THREADS": "1", "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": f"{SILENT_SECONDS}s"},
    }
    with ExitStack() as stack:

        def start(*arguments: object) -> None:
            words = [sys.executable, "-m", "dask", *(str(argument) for argument in arguments), "--no-dashboard"]
            process = stack.enter_context(subprocess.Popen(words, **options))
            stack.callback(process.kill)

        start("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", file)
        wait_until(file.exists, 60, "no scheduler")
        address = str(json.loads(file.read_text())["address"])
        worker = ("--nthreads", "1", "--death-timeout", "60")
        start("worker", address, *worker)
        here = free_port()
        listening = ("--listen-address", f"tcp://127.0.0.1:{here}")
        contact = ("--contact-address", f"tcp://127.0.0.1:{link.relay(here)}")
        to_scheduler = f"tcp://127.0.0.1:{link.relay(int(address.rpartition(':')[2]))}"
        start("worker", to_scheduler, *worker, "--no-nanny", *listening, *contact)
        yield address


@pytest.fixture
def link() -> Iterator[Link]:
    made = Link()
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("event", ["silence", "cut"])
def test_a_worker_whose_network_goes_costs_time_only(
    link: Link, store: Store, expected: Result, tmp_path: Path, event: str
) -> None:
    happened: list[int] = []
    with cluster(tmp_path, link) as address, open_runner(address, workers=2) as runner:

        def drop() -> None:
            happened.append(runner.n_workers)
            getattr(link, event)()

        found = hetdask.fit(store, CONFIG, client=runner, folder=tmp_path / "run", progress=At(3, drop))
        assert happened == [2]
        assert_same(found, expected)
        wait_until(lambda: runner.n_workers == 1, 60, "the lost worker is still counted on")
