"""Figures of a result, drawn with matplotlib's object interface (Agg): no global state, no display."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, get_args

from hetdask.errors import DataError
from hetdask.results.plots.correlations import correlations_figure
from hetdask.results.plots.curves import cuts_figure, dynamics_figure, history_figure, overview_figure
from hetdask.results.plots.maps import maps_figure
from hetdask.results.plots.profiles import profile_figure
from hetdask.results.plots.style import FigureFormat, Width, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hetdask.results.dataset import Contents

__all__ = [
    "FigureFormat",
    "PlotKind",
    "Width",
    "correlations_figure",
    "cuts_figure",
    "dynamics_figure",
    "history_figure",
    "maps_figure",
    "overview_figure",
    "plot",
    "profile_figure",
    "save_figure",
]

PlotKind = Literal["maps", "cuts", "dynamics", "history", "overview", "correlations", "profile"]
_WITHOUT_ANGLE: Final = {
    "dynamics": dynamics_figure,
    "history": history_figure,
    "overview": overview_figure,
    "correlations": correlations_figure,
}
_WITH_ANGLE: Final = {"maps": maps_figure, "cuts": cuts_figure}


def plot(contents: Contents, kind: PlotKind, angle: int = 0, width: Width = "screen") -> Figure:
    """Figure of one aspect of a result; see `hetdask.results.Result.plot`."""
    if kind in _WITHOUT_ANGLE:
        return _WITHOUT_ANGLE[kind](contents, width)
    if kind == "profile":
        count = contents.sizes.get("profiled", 0)
        if not 0 <= angle < count:
            raise DataError(
                f"no profile with index {angle}: the result has {count}; ask for some with fit.profile, for example "
                "profile: [v0]"
            )
        return profile_figure(contents, angle, width)
    if kind not in _WITH_ANGLE:
        raise DataError(f"no plot of kind {kind!r}: expected one of {', '.join(get_args(PlotKind))}, such as 'maps'")
    if "data" not in contents:
        raise DataError(
            f"this result holds no maps, which a plot of kind {kind!r} shows: load it from its run folder, "
            "such as Result.load('runs/sample-1'), or choose 'dynamics', 'history', 'overview' or 'correlations'"
        )
    count = contents.sizes["phi"]
    if not 0 <= angle < count:
        raise DataError(f"no map with index {angle}: the result has {count}, so an index of 0 to {count - 1}")
    return _WITH_ANGLE[kind](contents, angle, width)
