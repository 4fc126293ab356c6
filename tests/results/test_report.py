"""report.html is one self-contained, well-formed, accessible page with the verdict first."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from hetdask.results import Result
from hetdask.results.figures import FigureFile
from hetdask.results.report import render_report
from hetdask.results.sections import flatten

VOID = {"meta", "img", "link", "br", "hr", "input"}


class _Page(HTMLParser):
    """Elements with their attributes, and a check that every tag closes."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and self._open[-1] != "style":
            self.text.append(" ".join(data.split()))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def source(run_folder: Path) -> str:
    return (run_folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(source: str) -> _Page:
    return _Page(source)


def test_page_stands_alone(page: _Page, source: str) -> None:
    assert not page.all("script")
    assert not page.all("link")
    assert not re.search(r"(?:src|href)\s*=\s*\"(?!data:)|url\(|@import", source)
    assert all((image["src"] or "").startswith("data:image/png;base64,") for image in page.all("img"))


def test_images_are_whole_and_described(page: _Page, run_folder: Path) -> None:
    images = page.all("img")
    assert len(images) == 9
    assert all(len(image["alt"] or "") > 20 for image in images)
    first = base64.b64decode((images[0]["src"] or "").partition(",")[2])
    assert first == (run_folder / "dynamics.png").read_bytes()


def test_verdict_is_the_first_heading_and_concerns_follow(page: _Page) -> None:
    headings = [tag for tag, _ in page.elements if re.fullmatch(r"h\d", tag)]
    assert headings[0] == "h1"
    assert headings.count("h1") == 1
    body = page.text[1:]
    assert body[1] == "Converged"
    assert body.index("f3 ended at its upper bound 1: change parameters.f3.max, or fix f3.") < body.index("Parameters")


def test_every_parameter_is_shown_with_unit(page: _Page, run_folder: Path) -> None:
    position = page.text.index("v0")
    assert page.text[position : position + 4] == ["v0", "22.000", "0.052", "Å/s^(β+1)"]
    assert all(name in page.text for name in Result.load(run_folder).parameters)


def test_page_serves_phones_dark_screens_and_paper(page: _Page, source: str) -> None:
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")
    assert page.all("html")[0]["lang"] == "en"
    assert "prefers-color-scheme: dark" in source
    assert "@media print" in source


def test_unconverged_fit_is_not_reported_as_a_result(failed: Result) -> None:
    page = _Page(render_report(failed))
    assert "Not converged: these values are not a result" in page.text
    assert failed.message in page.text
    assert not page.all("img")


def test_several_methods_are_compared(compared: Result, result: Result) -> None:
    page = _Page(render_report(compared))
    position = page.text.index("nelder-mead")
    assert page.text[position : position + 7] == [
        "nelder-mead", "2338.4025", "1.124", "7,000", "10,000", "1 min 23 s", "not converged",
    ]  # fmt: skip
    assert "Parameters by each method" in page.text
    position = len(page.text) - page.text[::-1].index("v0") - 1
    assert page.text[position : position + 4] == ["v0", "Å/s^(β+1)", "22", "22.022"]
    assert "Parameters by each method" not in _Page(render_report(result)).text


def test_all_values_are_escaped(result: Result, tmp_path: Path) -> None:
    evil = "<script>alert('x')</script>"
    figure = FigureFile(tmp_path / "map-000.png", evil, f'">{evil}')
    figure.path.write_bytes(b"\x89PNG")
    marked = result.model_copy(
        update={"message": evil, "provenance": {"source": f"/data/{evil}", evil: evil}, "best_method": evil}
    )
    source = render_report(marked, [figure])
    assert "<script" not in source
    page = _Page(source)
    assert evil in page.text
    assert page.all("img")[0]["alt"] == f'">{evil}'


def test_selection_of_maps_is_admitted(result: Result, tmp_path: Path) -> None:
    figure = FigureFile(tmp_path / "map-000.png", "Map", "Map at 10 degrees")
    figure.path.write_bytes(b"\x89PNG")
    assert "1 of 3 maps are shown, evenly spread;" in _Page(render_report(result, [figure])).text


def test_provenance_is_flattened_without_empty_rows() -> None:
    record = {"a": {"b": {"c": 1}, "d": None}, "e": [], "f": [0.5, "x"], "g": "", "maps": [{"noise": 0.1}] * 300}
    assert list(flatten(record)) == [("a.b.c", "1"), ("f", "0.5, x"), ("maps", "300 entries, in result.json")]
