"""Correlation coefficients of the free parameters."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from hetdask.errors import DataError
from hetdask.results.dataset import Contents
from hetdask.results.plots.style import (
    EMPTY,
    INCHES,
    INK,
    RESIDUAL_COLOURS,
    Width,
    figure_title,
    new_figure,
    styled,
)


@styled
def correlations_figure(contents: Contents, width: Width = "screen") -> Figure:
    """Matrix of the correlation coefficients, with numbers in hundredths where there is room for them."""
    import matplotlib as mpl

    free = ~contents["fixed"]
    if not free.any():
        raise DataError(
            "this result has no free parameter, so no correlations: choose 'maps', 'dynamics' or 'overview'"
        )
    names = contents["parameter"][free]
    matrix = contents["correlation"][np.ix_(free, free)]
    inches = min(INCHES[width], 6.4)
    figure = new_figure(inches, 0.92 * inches)
    axes = figure.subplots()
    colours = mpl.colormaps[RESIDUAL_COLOURS].with_extremes(bad=EMPTY)
    image = axes.imshow(matrix, cmap=colours, vmin=-1.0, vmax=1.0)
    axes.grid(visible=False)
    small = 6.0 if width == "single" else 8.0
    axes.set_xticks(range(names.size), names, rotation=90, fontsize=small)
    axes.set_yticks(range(names.size), names, fontsize=small)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if width != "single":
        for (row, column), value in np.ndenumerate(matrix):
            if np.isfinite(value):
                colour = "white" if abs(value) > 0.6 else INK
                text = f"{100.0 * value:.0f}".replace("-", "−")
                axes.text(column, row, text, ha="center", va="center", fontsize=6.5, color=colour)
    bar = figure.colorbar(image, ax=axes, fraction=0.045, pad=0.02)
    bar.set_label("correlation coefficient" + ("" if width == "single" else "; numbers: hundredths"))
    bar.outline.set_visible(False)
    figure_title(figure, "Correlations of the parameters", width)
    return figure
