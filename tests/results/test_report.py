"""report.html is one self-contained, well-formed, accessible page with the verdict first."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import xarray as xr

from hetdask.data.store import Store
from hetdask.fitting import Refinement
from hetdask.results import Result
from hetdask.results.describe import cuts_text, history_text, map_text, rate_text, scaling_text
from hetdask.results.figures import detailed_angles
from hetdask.results.files import write_run
from hetdask.results.plots.page import DARK
from hetdask.results.report import render_report
from hetdask.results.sections import SECTIONS, Page
from hetdask.results.sections.numbers import flatten

from .conftest import contents_of

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


@pytest.fixture(scope="module")
def dataset(run_folder: Path) -> xr.Dataset:
    return Result.load(run_folder).to_xarray()


def _image(uri: str | None) -> tuple[str, bytes]:
    kind, _, content = (uri or "").partition(";base64,")
    return kind.removeprefix("data:image/"), base64.b64decode(content)


def test_page_stands_alone(page: _Page, source: str) -> None:
    assert not page.all("script")
    assert not re.search(r"(?:src|href)\s*=\s*\"(?!data:|#)|@import", source)
    for image in page.all("img"):
        kind, content = _image(image["src"])
        if kind == "svg+xml":
            assert not re.search(rb"(?:href=\"|url\()(?!data:|#)", content)
        else:
            assert content.startswith(b"\x89PNG")


def test_every_section_is_there_with_its_images(page: _Page) -> None:
    anchors = [attributes["id"] for attributes in page.all("h2")]
    asked_for = {"weights", "refits"}
    assert anchors == [section.name for section in SECTIONS if section.name not in asked_for]
    assert [link["href"] for link in page.all("a")] == ["#content", *(f"#{anchor}" for anchor in anchors)]
    dynamics, scaling, thumbnails, details, history = 4, 3, 2 * 3, 4 * 3, 1
    assert len(page.all("img")) == dynamics + scaling + thumbnails + details + history


def test_images_say_in_numbers_what_they_show(page: _Page) -> None:
    texts = [image["alt"] or "" for image in page.all("img")]
    assert all(len(re.findall(r"\d", text)) >= 3 for text in texts)
    assert len(set(texts)) >= len(texts) - 6  # a thumbnail shows what its detail shows


def test_alternative_texts_are_right(dataset: xr.Dataset) -> None:
    assert rate_text(contents_of(dataset), "velocity").startswith(
        "Velocity against time: 20.2 Å/s at 0.25 s, 30.6 Å/s at 19.8 s;"
    )
    assert scaling_text(contents_of(dataset), "contrast", "Contrast") == (
        "Contrast of 3 maps against azimuth from -20° to 90°: 0.2 to 0.3."
    )
    assert "root mean square 0.0042 per pixel." in map_text(contents_of(dataset), 1, "residual")
    assert map_text(contents_of(dataset), 0, "data").startswith(
        "Measured two-time correlation at φ = −20°: 1.026 to 1.245"
    )
    assert "from t₁ = 1.25 s" in cuts_text(contents_of(dataset), 0)
    assert history_text(contents_of(dataset)).startswith(
        "Chi-squared per degree of freedom of 6 evaluations in 2 rounds"
    )
    empty = dataset.load().copy(deep=True)
    for name in ("J_ref", "cut_data", "history_chi_squared"):
        empty[name][:] = np.nan
    assert rate_text(contents_of(empty), "J_ref").endswith("no finite values.")
    assert cuts_text(contents_of(empty), 0).endswith("no data.")
    assert history_text(contents_of(empty)).endswith("no finite values.")


def test_bands_are_drawn_and_described_where_there_are_errors(result: Result) -> None:
    banded = result.to_xarray()
    plain = banded.drop_vars([name for name in banded.data_vars if str(name).endswith("_stderr")])
    banded = plain.assign(J_ref_stderr=("time", 0.1 * plain["J_ref"].to_numpy()))
    assert "band" not in rate_text(contents_of(plain), "J_ref")
    assert "Standard error 2" in rate_text(contents_of(banded), "J_ref")
    first, second = (_Page(render_report(Page(result, contents_of(data)))) for data in (plain, banded))
    sizes = [len(_image(one.all("img")[0]["src"])[1]) for one in (first, second)]
    assert sizes[1] > sizes[0]
    assert any(text.startswith("Bands: one standard error") for text in second.text)


def test_figures_follow_the_page_from_light_to_dark(page: _Page) -> None:
    for image in page.all("img"):
        kind, content = _image(image["src"])
        if kind == "svg+xml":
            text = content.decode()
            ElementTree.fromstring(text)
            assert "prefers-color-scheme:dark" in text
            assert not [colour for colour in DARK if f": {colour}" in text], "a colour that no page can change"
            assert "DejaVu" not in text


def test_tables_have_heads_for_readers_of_cells(page: _Page) -> None:
    assert all(attributes.get("scope") in {"col", "row"} for attributes in page.all("th"))
    regions = [attributes for attributes in page.all("div") if attributes.get("role") == "region"]
    names = {attributes.get("id") for _, attributes in page.elements}
    assert len(regions) == len(page.all("table"))
    assert all(region["aria-labelledby"] in names and region["tabindex"] == "0" for region in regions)


def test_verdict_is_the_first_heading_and_concerns_follow(page: _Page) -> None:
    headings = [tag for tag, _ in page.elements if re.fullmatch(r"h\d", tag)]
    assert headings[0] == "h1"
    assert headings.count("h1") == 1
    assert page.text.index("Converged") < page.text.index("Parameters")
    concern = page.text.index("f3 ended at its upper bound 1: change parameters.f3.max, or fix f3.")
    assert concern < page.text.index("Parameters")


def test_every_parameter_is_shown_with_unit(page: _Page, run_folder: Path) -> None:
    position = page.text.index("v0")
    assert page.text[position : position + 5] == ["v0", "22.000", "0.052", "Å/s", "β+1"]
    assert all(name in page.text for name in Result.load(run_folder).parameters)


def test_correlations_are_a_table_with_the_strong_ones_in_words(page: _Page, result: Result) -> None:
    assert "No two parameters are correlated by 0.9 or more." in page.text
    assert page.text.count("0.30") == 12 * 11
    matrix = [list(row) for row in result.correlations.matrix]
    matrix[1][0] = matrix[0][1] = -0.987
    strong = result.model_copy(update={"correlations": result.correlations.model_copy(update={"matrix": matrix})})
    assert "Correlated by 0.9 or more: D0_ref and alpha_ref (−0.99)." in _Page(render_report(Page(strong))).text


def test_page_serves_phones_dark_screens_and_paper(page: _Page, source: str) -> None:
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")
    assert page.all("html")[0]["lang"] == "en"
    assert "prefers-color-scheme: dark" in source
    assert "@media print" in source
    assert len(page.all("main")) == len(page.all("header")) == len(page.all("footer")) == len(page.all("nav")) == 1


def test_unconverged_fit_is_not_reported_as_a_result(failed: Result) -> None:
    page = _Page(render_report(Page(failed)))
    assert "Not converged: these values are not a result" in page.text
    assert failed.message in page.text
    assert not page.all("img")


def test_several_methods_are_compared(compared: Result, result: Result) -> None:
    page = _Page(render_report(Page(compared)))
    position = page.text.index("nelder-mead")
    assert page.text[position : position + 7] == [
        "nelder-mead", "2338.4025", "1.124", "7,000", "10,000", "1 min 23 s", "not converged",
    ]  # fmt: skip
    assert "Parameters by each method" in page.text
    position = len(page.text) - page.text[::-1].index("v0") - 1
    assert page.text[position : position + 5] == ["v0", "Å/s", "β+1", "22", "22.022"]
    assert "Parameters by each method" not in _Page(render_report(Page(result))).text


def test_all_values_are_escaped(result: Result) -> None:
    evil = "<script>alert('x')</script>"
    first = result.angles[0].model_copy(update={"quality": f'">{evil}'})
    marked = result.model_copy(
        update={
            "message": evil,
            "provenance": {"source": f"/data/{evil}", evil: evil},
            "best_method": evil,
            "angles": [first, *result.angles[1:]],
            "timings": {evil: 1.0},
        }
    )
    source = render_report(Page(marked, marked.contents()))
    assert "<script" not in source
    page = _Page(source)
    assert evil in page.text
    assert f'">{evil}' in page.text


def test_many_maps_stay_within_a_bounded_page(
    make_store: Callable[..., Store], make_refinement: Callable[[Store], Refinement], tmp_path: Path
) -> None:
    store = make_store(n_phi=64, frames=20)
    refinement = make_refinement(store)
    result = write_run(tmp_path / "run", refinement, store, plots=False)
    marked = result.to_xarray().load().copy(deep=True)
    marked["residual_rms"][17] = 0.1
    assert detailed_angles(contents_of(marked)) == [0, 17, 32, 63]
    assert detailed_angles(contents_of(marked), 1) == [0]
    for worst, most in product(range(0, 64, 9), (2, 4)):
        marked["residual_rms"][:] = 0.01
        marked["residual_rms"][worst] = 0.1
        shown = detailed_angles(contents_of(marked), most)
        assert worst in shown
        assert shown == sorted(set(shown))
        assert len(shown) == most
    marked["residual_rms"][:] = 0.01
    marked["residual_rms"][17] = 0.1
    source = render_report(Page(result, contents_of(marked), most=2))
    assert len(source) < 3_000_000
    page = _Page(source)
    assert "60 of 64 maps, evenly spread;" in page.text
    assert any(text.startswith("2 of 64 maps are shown, evenly spread") for text in page.text)
    assert "largest residual beside the expected one" in page.text
    assert len(page.all("img")) == 4 + 3 + 2 * 60 + 2 * 4 + 1
    assert page.text.count("not judged") == 64


def test_provenance_is_flattened_without_empty_rows() -> None:
    record = {"a": {"b": {"c": 1}, "d": None}, "e": [], "f": [0.5, "x"], "g": "", "maps": [{"noise": 0.1}] * 300}
    assert list(flatten(record)) == [("a.b.c", "1"), ("f", "0.5, x"), ("maps", "300 entries, in result.json")]
