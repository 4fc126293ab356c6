"""Sections with figures. matplotlib is imported when one is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

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
from hetdask.results.summary import (
    BOOTSTRAP_HEADS,
    METHOD_HEADS,
    PROFILE_HEADS,
    REFITS_WORDS,
    angle_cells,
    angle_heads,
    bootstrap_rows,
    method_rows,
    profile_rows,
    search_line,
    shown_angles,
)

if TYPE_CHECKING:
    import xarray as xr

THUMBNAILS: Final = 60
"""Most maps among the thumbnails."""


def refits(page: Page) -> Fields | None:
    """Bootstrap and profiles, beside the standard errors."""
    result, dataset = page.result, page.dataset
    bootstrap, profiles = bootstrap_rows(result), profile_rows(result)
    if not bootstrap and not profiles:
        return None
    pictures = []
    if dataset is not None and "profile_values" in dataset:
        from hetdask.results.plots.page import profile_image

        pictures = [
            svg_picture(name, profile_text(dataset, index), profile_image(dataset, index))
            for index, name in enumerate(dataset["profiled"].to_numpy().tolist())
        ]
    return {
        "words": REFITS_WORDS,
        "bootstrap": {"heads": BOOTSTRAP_HEADS, "rows": bootstrap} if bootstrap else None,
        "profiles": {"heads": PROFILE_HEADS, "rows": profiles} if profiles else None,
        "pictures": pictures,
    }


def dynamics(page: Page) -> Fields | None:
    """Rates, velocity and fraction against time."""
    if page.dataset is None:
        return None
    from hetdask.results.plots.curves import RATE_PANELS
    from hetdask.results.plots.page import rate_image

    dataset = page.dataset
    return {
        "banded": any(f"{panel.name}_stderr" in dataset for panel in RATE_PANELS),
        "pictures": [
            svg_picture(panel.title, rate_text(dataset, panel.name), rate_image(dataset, panel))
            for panel in RATE_PANELS
        ],
    }


def maps(page: Page) -> Fields:
    """All maps: scaling and residuals, thumbnails, and the table."""
    result, dataset = page.result, page.dataset
    fields: Fields = {
        "pictures": [] if dataset is None or len(result.angles) < 2 else list(_scaling(dataset)),
        "thumbnails": [],
        "count": len(result.angles),
        "heads": (*angle_heads(result), "pixels", "quality"),
        "rows": [(*angle_cells(angle, result), f"{angle.n_points:,}", angle.quality) for angle in result.angles],
    }
    if dataset is not None and "data" in dataset:
        fields.update(_thumbnails(dataset))
    return fields


def _scaling(dataset: xr.Dataset) -> Iterator[Picture]:
    from hetdask.results.plots.curves import SCALING_PANELS
    from hetdask.results.plots.page import scaling_image

    for name, label in SCALING_PANELS:
        title = label.capitalize()
        yield svg_picture(title, scaling_text(dataset, name, title), scaling_image(dataset, name, label))


def _thumbnails(dataset: xr.Dataset) -> Fields:
    from hetdask.results.plots.style import MAP_COLOURS, RESIDUAL_COLOURS
    from hetdask.results.plots.thumbnails import gradient, thumbnails

    angles = shown_angles(dataset.sizes["phi"], THUMBNAILS)
    made = thumbnails(dataset, angles)
    rms = dataset["residual_rms"].to_numpy()
    return {
        "thumbnails": [
            {
                "name": angle_name(dataset, angle),
                "rms": format_number(float(rms[angle]), 2),
                "data": png_picture("", map_text(dataset, angle, "data"), images.data),
                "residual": png_picture("", map_text(dataset, angle, "residual"), images.residual),
            }
            for angle, images in zip(angles, made.images, strict=True)
        ],
        "span": format_number(made.span, 2),
        "data_colours": gradient(MAP_COLOURS),
        "residual_colours": gradient(RESIDUAL_COLOURS),
    }


def details(page: Page) -> Fields | None:
    """Data, model, residual and cuts of some maps."""
    dataset = page.dataset
    if dataset is None or "data" not in dataset:
        return None
    angles = detailed_angles(dataset, page.most)
    worst = worst_angle(dataset) if len(angles) > 1 else None
    return {
        "count": dataset.sizes["phi"],
        "block": int(dataset["t1"].attrs["frames_per_block"]),
        "maps": [
            {
                "name": angle_name(dataset, angle),
                "worst": angle == worst,
                "pictures": list(_detail(dataset, angle)),
            }
            for angle in angles
        ],
        "judged": bool(dataset["expected_rms"].notnull().any()),
    }


def _detail(dataset: xr.Dataset, angle: int) -> Iterator[Picture]:
    from hetdask.results.plots.maps import MAP_PANELS
    from hetdask.results.plots.page import cuts_image, map_images

    images = map_images(dataset, angle)
    for name, title in MAP_PANELS:
        yield svg_picture(title, map_text(dataset, angle, name), images[name])
    yield svg_picture("One-time cuts", cuts_text(dataset, angle), cuts_image(dataset, angle))


def convergence(page: Page) -> Fields:
    """The way of the fit, its methods, and other optima of a search."""
    result, dataset = page.result, page.dataset
    picture = None
    if dataset is not None and dataset.sizes["evaluation"]:
        from hetdask.results.plots.page import history_image

        picture = svg_picture("Way of the fit", history_text(dataset), history_image(dataset))
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
