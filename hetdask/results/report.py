"""report.html: one self-contained page of the sections in `hetdask.results.sections`, the verdict first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hetdask.results.figures import FigureFile
from hetdask.results.result import Result
from hetdask.results.sections import SECTIONS, Fields, source_name, verdict

REPORT_FILE: Final = "report.html"
TEMPLATE: Final = "report.html.j2"


def render_report(result: Result, figures: Sequence[FigureFile] = ()) -> str:
    """The page as text.

    Parameters
    ----------
    result : Result
    figures : sequence of FigureFile
        Embedded as data URIs, in this order.
    """
    environment = Environment(
        loader=PackageLoader("hetdask.results"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def render(name: str, fields: Fields) -> Markup:
        # Every section has been escaped by its own template.
        return Markup(environment.get_template(f"sections/{name}.html.j2").render(fields))  # noqa: S704

    filled = [(section, section.fields(result, figures)) for section in SECTIONS]
    return environment.get_template(TEMPLATE).render(
        title=f"hetdask · {source_name(result)}",
        header=render("verdict", verdict(result)),
        sections=[
            {"name": section.name, "title": section.title, "html": render(section.name, fields)}
            for section, fields in filled
            if fields is not None
        ],
    )


def write_report(
    folder: Path, result: Result, figures: Sequence[FigureFile], write: Callable[[Path, str], None]
) -> Path:
    """Render the page into `folder` by `write` (path, text); returns its path."""
    path = folder / REPORT_FILE
    write(path, render_report(result, figures))
    return path
