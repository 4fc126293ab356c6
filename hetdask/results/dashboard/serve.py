"""Where the page of a run is shown: on the dashboard of a Dask scheduler, or by a server of its own."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hetdask.errors import ConfigError

if TYPE_CHECKING:
    from bokeh.document import Document
    from bokeh.server.server import Server

    from hetdask_cluster.runner import Runner

ROUTE: Final = "/hetdask"
"""Path of the page on the dashboard of a scheduler."""

SHOWN: Final = "hetdask-run"
"""Extension of the scheduler that holds the folder of the last run."""


def attach(runner: Runner, folder: Path) -> str | None:
    """Put the page of a run on the dashboard of the scheduler that it computes on; its address.

    None where there is no dashboard. The scheduler reads the run folder: one on another machine needs to see it.
    """
    link = runner.dashboard
    if link is None:
        return None
    runner.on_scheduler(add_page, str(folder))
    return link.removesuffix("/status") + ROUTE


def add_page(dask_scheduler: Any, folder: str) -> None:
    """Run by the scheduler: show this run from now on; the page itself is added once."""
    known = SHOWN in dask_scheduler.extensions
    dask_scheduler.extensions[SHOWN] = Path(folder)
    if known:
        return
    # What distributed does for its own pages.
    from distributed.dashboard.core import BokehApplication
    from tornado.ioloop import IOLoop

    application = BokehApplication({ROUTE: _document}, dask_scheduler)  # type: ignore[no-untyped-call]
    dask_scheduler.http_application.add_application(application)
    application.initialize(IOLoop.current())


def _document(scheduler: Any, _: Any, document: Document) -> None:
    from hetdask.results.dashboard.page import show_run

    show_run(document, scheduler.extensions[SHOWN])


def run_server(folder: Path, port: int, address: str) -> Server:
    """Server of the page of a run, started; port 0 takes any free one.

    Raises
    ------
    ConfigError
        If the address or port can't be had.
    """
    from bokeh.application import Application
    from bokeh.application.handlers.function import FunctionHandler
    from bokeh.server.server import Server

    from hetdask.results.dashboard.page import show_run

    application = Application(FunctionHandler(partial(show_run, folder=folder)))
    try:
        server = Server({"/": application}, port=port, address=address, allow_websocket_origin=None)
    except OSError as error:
        raise ConfigError(
            f"can't listen on {address}:{port} ({error.strerror}): choose another port: --port 0 takes any free one"
        ) from error
    server.start()
    return server
