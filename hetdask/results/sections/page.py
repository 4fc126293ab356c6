"""What a page of a report is made from."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hetdask.results.figures import ANGLE_FIGURES
from hetdask.results.result import Result

if TYPE_CHECKING:
    from hetdask.results.dataset import Contents

type Fields = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """The material of a page.

    Attributes
    ----------
    result : Result
    contents : Contents or None
        Of the run, for the figures; None draws none.
    most : int
        Most maps that are shown in detail.
    """

    result: Result
    contents: Contents | None = None
    most: int = ANGLE_FIGURES


@dataclass(frozen=True, slots=True)
class Picture:
    """An image on the page.

    Attributes
    ----------
    title : str
        Shown above it.
    text : str
        What is to be seen, in numbers, for readers who can't see it.
    uri : str
        The image itself.
    """

    title: str
    text: str
    uri: str


def svg_picture(title: str, text: str, svg: str) -> Picture:
    """Picture of an SVG image."""
    return Picture(title, text, _uri("svg+xml", svg.encode()))


def png_picture(title: str, text: str, png: bytes) -> Picture:
    """Picture of a PNG image."""
    return Picture(title, text, _uri("png", png))


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64," + base64.b64encode(content).decode("ascii")
