"""A headless Chromium, driven through its DevTools protocol: nothing is needed but the browser."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self

import pytest
from tornado.httpclient import AsyncHTTPClient
from tornado.websocket import WebSocketClientConnection, websocket_connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--remote-debugging-port=0",
)  # fmt: skip
DEADLINE = 60.0
"""Seconds within which the browser must start, and answer each question."""

Scheme = Literal["light", "dark"]


class Tab:
    """A page of the browser, with what it has said since it was opened."""

    def __init__(self, socket: WebSocketClientConnection, loop: asyncio.AbstractEventLoop) -> None:
        self._socket, self._loop, self._count = socket, loop, 0
        self.said: list[str] = []
        self.requests: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and wait for its answer."""
        return self._loop.run_until_complete(asyncio.wait_for(self._call(method, parameters), DEADLINE))

    async def _call(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self._count += 1
        await self._socket.write_message(json.dumps({"id": self._count, "method": method, "params": parameters}))
        while True:
            message = await self._read()
            if message.get("id") == self._count:
                assert "error" not in message, f"{method}: {message['error']}"
                return dict(message["result"])

    async def _read(self) -> dict[str, Any]:
        text = await self._socket.read_message()
        assert text is not None, "the browser has closed the connection"
        message: dict[str, Any] = json.loads(text)
        self._record(message)
        return message

    def _record(self, message: dict[str, Any]) -> None:
        content = message.get("params", {})
        match message.get("method"):
            case "Log.entryAdded":
                self.said.append(f"{content['entry']['level']}: {content['entry']['text']}")
            case "Runtime.consoleAPICalled":
                self.said.append(f"{content['type']}: {[one.get('value') for one in content['args']]}")
            case "Runtime.exceptionThrown":
                self.said.append(f"exception: {content['exceptionDetails']['text']}")
            case "Network.requestWillBeSent":
                self.requests.append(str(content["request"]["url"]))

    def open(self, page: Path | str, width: int, scheme: Scheme, media: Literal["", "print"] = "") -> Self:
        """Show a file or an address at a width in CSS pixels, on a light or a dark screen, with all its images."""
        self.said.clear()
        self.requests.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)
        self.call("Page.navigate", url=page if isinstance(page, str) else page.resolve().as_uri())
        self.loaded()
        return self

    def loaded(self) -> None:
        """Wait until all images have been decoded, those beyond the screen too."""
        script = """
            new Promise(done => {
              const start = () => Promise.all([...document.images].map(image => {
                image.loading = "eager";
                return image.decode();
              })).then(() => done(document.images.length));
              document.readyState === "complete" ? start() : addEventListener("load", start);
            })"""
        self.evaluate(script)

    def evaluate(self, script: str) -> Any:
        """Value of a JavaScript expression, as JSON."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def picture(self) -> bytes:
        """The whole page as PNG."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(answer["data"])

    def pdf(self) -> bytes:
        """The page as it would be printed."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=False)["data"])


@pytest.fixture(scope="session")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """A browser with an empty profile."""
    program = next((path for name in NAMES if (path := shutil.which(name)) is not None), None)
    if program is None:
        pytest.skip("NO BROWSER: run `make browser` (Debian: apt-get install chromium), or the page is not looked at")
    with _browser(program, tmp_path_factory.mktemp("profile")) as one:
        yield one


@contextmanager
def _browser(program: str, folder: Path) -> Iterator[Tab]:
    port = folder / "DevToolsActivePort"
    process = subprocess.Popen(
        [program, *FLAGS, f"--user-data-dir={folder}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    loop = asyncio.new_event_loop()
    try:
        address = _address(port, process)
        socket = loop.run_until_complete(_connect(address))
        yield Tab(socket, loop)
        loop.run_until_complete(_close(socket))
    finally:
        process.kill()
        process.wait(DEADLINE)
        loop.close()


def _address(port: Path, process: subprocess.Popen[bytes]) -> str:
    """Port and path of the browser's socket, as soon as it has written them."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        assert process.poll() is None, f"the browser has ended with status {process.returncode}"
        lines = port.read_text().split() if port.exists() else []
        if len(lines) == 2:
            return lines[0]
        time.sleep(0.02)  # a poll with a deadline: the browser tells nobody that it listens
    raise TimeoutError(f"{process.args!r} opened no port within {DEADLINE} s")


async def _connect(port: str) -> WebSocketClientConnection:
    """Socket of the first page."""
    answer = await AsyncHTTPClient().fetch(f"http://127.0.0.1:{port}/json/list")
    pages = [target for target in json.loads(answer.body) if target["type"] == "page"]
    return await websocket_connect(pages[0]["webSocketDebuggerUrl"], max_message_size=2**28)


async def _close(socket: WebSocketClientConnection) -> None:
    socket.close()
