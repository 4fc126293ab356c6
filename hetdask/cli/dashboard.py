"""`hetdask dashboard`: the page of a run, while it goes on or afterwards."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("dashboard")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--port", type=click.IntRange(0, 65535), default=8790, show_default=True, help="0 takes any free one.")
@click.option("--address", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--open", "show", is_flag=True, help="Show the page in the browser.")
def command(run: Path, port: int, address: str, show: bool) -> None:
    """Show RUN, the folder of a fit that goes on or has ended, as a page that follows it. Ctrl-C ends the server."""
    from hetdask.errors import DataError
    from hetdask.results.dashboard.serve import run_server
    from hetdask.results.files import HISTORY_FILE, LOG_FILE
    from hetdask.results.result import RESULT_FILE

    if not any((run / name).exists() for name in (LOG_FILE, HISTORY_FILE, RESULT_FILE)):
        raise DataError(
            f"there is no run in {run}: give the folder that `hetdask fit -o` writes, such as runs/sample-1"
        )
    server = run_server(run.absolute(), port, address)
    link = f"http://{address}:{server.port}/"
    click.echo(f"dashboard: {link}")
    if show:
        click.launch(link)
    try:
        server.io_loop.start()
    except KeyboardInterrupt:
        click.echo("", err=True)
    finally:
        server.stop()
