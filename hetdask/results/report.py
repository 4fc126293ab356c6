"""report.html: one self-contained page of the sections in `hetdask.results.sections`, the verdict first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hetdask.results.result import Result
from hetdask.results.sections import SECTIONS, Fields, Page
from hetdask.results.sections.numbers import raised_unit, source_name, verdict

if TYPE_CHECKING:
    from hetdask.results.dataset import Contents

REPORT_FILE: Final = "report.html"
TEMPLATE: Final = "report.html.j2"


def render_report(page: Page) -> str:
    """The page as text."""
    environment = Environment(
        loader=PackageLoader("hetdask.results"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["raised"] = raised_unit

    def render(name: str, fields: Fields) -> Markup:
        # Every section has been escaped by its own template.
        return Markup(environment.get_template(f"sections/{name}.html.j2").render(fields))  # noqa: S704

    filled = [(section, section.fields(page)) for section in SECTIONS]
    return environment.get_template(TEMPLATE).render(
        title=f"hetdask · {source_name(page.result)}",
        header=render("verdict", verdict(page)),
        sections=[
            {"name": section.name, "title": section.title, "html": render(section.name, fields)}
            for section, fields in filled
            if fields is not None
        ],
    )


def write_report(
    folder: Path,
    result: Result,
    contents: Contents | None,
    write: Callable[[Path, str], None],
    *,
    most: int,
) -> Path:
    """Render the page into `folder` by `write` (path, text); returns its path.

    Parameters
    ----------
    folder : Path
    result : Result
    contents : Contents or None
        For the figures; None draws none.
    write : callable
    most : int
        Most maps that are shown in detail.
    """
    path = folder / REPORT_FILE
    write(path, render_report(Page(result, contents, most)))
    return path
