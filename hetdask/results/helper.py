"""A process that renders the report while this one draws figures: in turns they take longer than a small fit.

It starts before the fit and imports in the meantime what it will need. It knows of a run what is in the folder, and
ends with the process that started it.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Self

from hetdask.stack import roomy


class ReportProcess:
    """Renders one report; use as a context manager, which ends it.

    What goes wrong in it is not told: whoever asked for the report renders it then, and learns what is wrong.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - this module
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # Ctrl-C is for the fit
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def begin(self, folder: Path, most: int) -> None:
        """Let it render the report of a run folder, with so many maps in detail at most."""
        with suppress(BrokenPipeError):  # it has ended, as `finished` will find
            print(json.dumps([str(folder), most]), file=self._process.stdin, flush=True)

    def close(self) -> None:
        """Tell it that there is nothing to do."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def finished(self) -> bool:
        """Wait for it; whether the report is there."""
        return self._process.wait() == 0


@roomy
def main() -> None:
    """Import what reports need, and render the one that a line of input asks for."""
    gc.disable()
    import hetdask.results.plots.page  # noqa: F401 - sections of a report import it
    from hetdask.results.files import write_text
    from hetdask.results.report import write_report
    from hetdask.results.result import Result
    from hetdask_cluster.pages import keep_few_file_pages, share_one_heap

    share_one_heap()
    keep_few_file_pages()
    if line := sys.stdin.readline():
        folder, most = json.loads(line)
        result = Result.load(folder)
        write_report(Path(folder), result, result.contents(), write_text, most=most)
    gc.freeze()


if __name__ == "__main__":
    main()
