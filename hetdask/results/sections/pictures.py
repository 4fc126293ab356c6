"""Sections with figures. matplotlib is imported when one is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

import numpy as np

from hetdask.results.describe import (
    angle_name,
    cuts_text,
    history_text,
    map_text,
    profile_text,
    rate_text,
    scaling_text,
)
from hetdask.results.figures import detailed_angles, worst_angle
from hetdask.results.formatting import format_number
from hetdask.results.result import Result
from hetdask.results.sections.page import Fields, Page, Picture, png_picture, svg_picture
from hetdask.results.tables import (
    BOOTSTRAP_HEADS,
    METHOD_HEADS,
    PROFILE_HEADS,
    REFITS_WORDS,
    angle_cells,
    angle_heads,
    bootstrap_rows,
    method_rows,
    profile_rows,
    shown_angles,
)
from hetdask.results.wording import search_line

if TYPE_CHECKING:
    from hetdask.results.dataset import Contents

THUMBNAILS: Final = 60
"""Most maps among the thumbnails."""


def refits(page: Page) -> Fields | None:
    """Bootstrap and profiles, beside the standard errors."""
    result, contents = page.result, page.contents
    bootstrap, profiles = bootstrap_rows(result), profile_rows(result)
    if not bootstrap and not profiles:
        return None
    pictures = []
    if contents is not None and "profile_values" in contents:
        from hetdask.results.plots.page import profile_image

        pictures = [
            svg_picture(name, profile_text(contents, index), profile_image(contents, index))
            for index, name in enumerate(contents["profiled"].tolist())
        ]
    return {
        "words": REFITS_WORDS,
        "bootstrap": {"heads": BOOTSTRAP_HEADS, "rows": bootstrap} if bootstrap else None,
        "profiles": {"heads": PROFILE_HEADS, "rows": profiles} if profiles else None,
        "pictures": pictures,
    }


def dynamics(page: Page) -> Fields | None:
    """Rates, velocity and fraction against time."""
    if page.contents is None:
        return None
    from hetdask.results.plots.curves import RATE_PANELS
    from hetdask.results.plots.page import rate_image

    contents = page.contents
    return {
        "banded": any(f"{panel.name}_stderr" in contents for panel in RATE_PANELS),
        "pictures": [
            svg_picture(panel.title, rate_text(contents, panel.name), rate_image(contents, panel))
            for panel in RATE_PANELS
        ],
    }


def maps(page: Page) -> Fields:
    """All maps: scaling and residuals, thumbnails, and the table."""
    result, contents = page.result, page.contents
    fields: Fields = {
        "pictures": [] if contents is None or len(result.angles) < 2 else list(_scaling(contents)),
        "thumbnails": [],
        "count": len(result.angles),
        "heads": (*angle_heads(result), "pixels", "quality"),
        "rows": [(*angle_cells(angle, result), f"{angle.n_points:,}", angle.quality) for angle in result.angles],
    }
    if contents is not None and "data" in contents:
        fields.update(_thumbnails(contents))
    return fields


def _scaling(contents: Contents) -> Iterator[Picture]:
    from hetdask.results.plots.curves import SCALING_PANELS
    from hetdask.results.plots.page import scaling_image

    for name, label in SCALING_PANELS:
        title = label.capitalize()
        yield svg_picture(title, scaling_text(contents, name, title), scaling_image(contents, name, label))


def _thumbnails(contents: Contents) -> Fields:
    from hetdask.results.plots.style import MAP_COLOURS, RESIDUAL_COLOURS
    from hetdask.results.plots.thumbnails import gradient, thumbnails

    angles = shown_angles(contents.sizes["phi"], THUMBNAILS)
    made = thumbnails(contents, angles)
    rms = contents["residual_rms"]
    return {
        "thumbnails": [
            {
                "name": angle_name(contents, angle),
                "rms": format_number(float(rms[angle]), 2),
                "data": png_picture("", map_text(contents, angle, "data"), images.data),
                "residual": png_picture("", map_text(contents, angle, "residual"), images.residual),
            }
            for angle, images in zip(angles, made.images, strict=True)
        ],
        "span": format_number(made.span, 2),
        "data_colours": gradient(MAP_COLOURS),
        "residual_colours": gradient(RESIDUAL_COLOURS),
    }


def details(page: Page) -> Fields | None:
    """Data, model, residual and cuts of some maps."""
    contents = page.contents
    if contents is None or "data" not in contents:
        return None
    angles = detailed_angles(contents, page.most)
    worst = worst_angle(contents) if len(angles) > 1 else None
    return {
        "count": contents.sizes["phi"],
        "block": contents.frames_per_block,
        "maps": [
            {
                "name": angle_name(contents, angle),
                "worst": angle == worst,
                "pictures": list(_detail(contents, angle)),
            }
            for angle in angles
        ],
        "judged": bool(np.isfinite(contents["expected_rms"]).any()),
    }


def _detail(contents: Contents, angle: int) -> Iterator[Picture]:
    from hetdask.results.plots.maps import MAP_PANELS
    from hetdask.results.plots.page import cuts_image, map_images

    images = map_images(contents, angle)
    for name, title in MAP_PANELS:
        yield svg_picture(title, map_text(contents, angle, name), images[name])
    yield svg_picture("One-time cuts", cuts_text(contents, angle), cuts_image(contents, angle))


def convergence(page: Page) -> Fields:
    """The way of the fit, its methods, and other optima of a search."""
    result, contents = page.result, page.contents
    picture = None
    if contents is not None and contents.sizes["evaluation"]:
        from hetdask.results.plots.page import history_image

        picture = svg_picture("Way of the fit", history_text(contents), history_image(contents))
    return {
        "picture": picture,
        "heads": METHOD_HEADS,
        "rows": method_rows(result),
        "messages": [f"{name}: {method.message}" for name, method in result.methods.items()],
        "value_heads": ("parameter", "unit", *result.methods),
        "values": list(_values_by_method(result)) if len(result.methods) > 1 else [],
        "search": None if result.search is None else search_line(result.search),
        "optima": _optima(result),
    }


def _values_by_method(result: Result) -> Iterator[tuple[str, ...]]:
    """Parameter, unit, and its value by each method."""
    for name, parameter in result.parameters.items():
        values = (format_number(method.values[name], 6) for method in result.methods.values())
        yield name, parameter.unit, *values


def _optima(result: Result) -> Mapping[str, object] | None:
    """The free parameters at other optima of a search, one row each."""
    optima = result.search.optima if result.search is not None else []
    if not optima:
        return None
    return {
        "heads": ["parameter", "result", *(f"{100.0 * one.excess:+.3g} % χ²" for one in optima)],
        "rows": [
            (name, format_number(parameter.value), *(format_number(one.values[name]) for one in optima))
            for name, parameter in result.parameters.items()
            if not parameter.fixed
        ],
    }
