"""The report as a browser shows it: nothing overlaps, nothing is cut off, nothing is fetched, on any screen."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

SCREENS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]

BOXES = """
[...document.querySelectorAll("h1,h2,h3,p,li,dt,dd,th,td,figcaption,a,code,img")].map(element => {
  const box = element.getBoundingClientRect(), frame = element.closest(".scroll")?.getBoundingClientRect();
  const clip = frame ?? {left: -1e9, right: 1e9, top: -1e9, bottom: 1e9};
  return {
    tag: element.tagName, text: (element.innerText ?? "").slice(0, 40), framed: frame !== undefined,
    own: element.tagName === "IMG" || [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim()),
    left: Math.max(box.left, clip.left), right: Math.min(box.right, clip.right),
    top: Math.max(box.top, clip.top), bottom: Math.min(box.bottom, clip.bottom),
    hidden: element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 0,
    skip: element.classList.contains("skip"), inline: getComputedStyle(element).display === "inline",
  };
}).filter(box => !box.skip && box.right > box.left && box.bottom > box.top)
"""


def _overlaps(boxes: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Pairs of texts that overlap by more than two pixels each way, unless one lies within the other."""
    own = [box for box in boxes if box["own"]]
    left, right, top, bottom = (np.array([box[side] for box in own]) for side in ("left", "right", "top", "bottom"))
    across = np.minimum.outer(right, right) - np.maximum.outer(left, left)
    down = np.minimum.outer(bottom, bottom) - np.maximum.outer(top, top)
    smaller = np.minimum.outer((right - left) * (bottom - top), (right - left) * (bottom - top))
    within = across * down > 0.98 * smaller
    pairs = np.argwhere(np.triu((across > 2.0) & (down > 2.0) & ~within, 1))
    return [(own[a]["text"] or own[a]["tag"], own[b]["text"] or own[b]["tag"]) for a, b in pairs]


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_nothing_overlaps_or_is_cut_off(tab: Any, run_folder: Path, width: int, scheme: str) -> None:
    tab.open(run_folder / "report.html", width, scheme)
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    boxes = tab.evaluate(BOXES)
    assert len(boxes) > 300
    assert [box for box in boxes if box["left"] < -0.5 or box["right"] > width + 0.5] == []
    assert [box for box in boxes if box["hidden"] and not box["inline"]] == []
    assert _overlaps(boxes) == []


def test_overlaps_and_cut_off_text_would_be_found(tab: Any, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(
        "<p style='width:3rem;overflow:hidden;white-space:nowrap'>much too long for this</p>"
        "<p>first</p><p style='margin-top:-1.8rem;padding-left:10px'>second, over the first</p>"
    )
    boxes = tab.open(page, 1280, "light").evaluate(BOXES)
    assert [box["text"][:4] for box in boxes if box["hidden"]] == ["much"]
    assert ("first", "second, over the first") in _overlaps(boxes)


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_page_is_silent_and_fetches_nothing(tab: Any, run_folder: Path, width: int, scheme: str) -> None:
    page = run_folder / "report.html"
    tab.open(page, width, scheme)
    assert tab.said == []
    assert [url for url in tab.requests if not url.startswith("data:")] == [page.as_uri()]


@pytest.mark.parametrize("width", [1280, 390])
def test_figures_turn_dark_with_the_page_and_stay_legible(tab: Any, run_folder: Path, width: int) -> None:
    for scheme in ("light", "dark"):
        tab.open(run_folder / "report.html", width, scheme)
        box = tab.evaluate("(({x, y, width, height}) => [x, y, x + width, y + height])"
                           "(document.images[0].getBoundingClientRect())")  # fmt: skip
        shot = Image.open(io.BytesIO(tab.picture())).convert("L").crop(tuple(round(edge) for edge in box))
        shades = np.asarray(shot, dtype=float)
        paper, ink = np.median(shades), np.percentile(shades, 0.5 if scheme == "light" else 99.5)
        assert (paper > 240) if scheme == "light" else (paper < 40)
        assert abs(paper - ink) > 110


def test_images_are_decoded_and_described(tab: Any, run_folder: Path) -> None:
    tab.open(run_folder / "report.html", 1280, "light")
    images = tab.evaluate("[...document.images].map(one => [one.naturalWidth, one.alt.length])")
    assert len(images) == 26
    assert all(width > 0 and text > 20 for width, text in images)


def test_paper_shows_all_rows_and_no_navigation(tab: Any, run_folder: Path) -> None:
    tab.open(run_folder / "report.html", 1280, "dark", "print")
    assert tab.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.evaluate(
        "[...document.querySelectorAll('.tall')].every(one => one.scrollHeight <= one.clientHeight + 1)"
    )
    assert tab.pdf().startswith(b"%PDF")
