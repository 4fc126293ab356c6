"""Figures show the right numbers on labelled axes, at any number of maps, without touching pyplot."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from matplotlib.image import AxesImage
from matplotlib.image import imread as read_png

from hetdask.data.store import Store
from hetdask.errors import DataError
from hetdask.fitting import Refinement
from hetdask.results import Result
from hetdask.results.figures import write_figures
from hetdask.results.files import write_run
from hetdask.results.plots import PlotKind, plot, save_figure
from hetdask.results.plots.style import limits

KINDS: tuple[PlotKind, ...] = ("maps", "cuts", "dynamics", "history", "overview")


@pytest.fixture
def dataset(run_folder: Path) -> xr.Dataset:
    return Result.load(run_folder).to_xarray()


@pytest.mark.parametrize("kind", KINDS)
def test_every_figure_draws_without_a_warning(dataset: xr.Dataset, kind: PlotKind, tmp_path: Path) -> None:
    path = save_figure(plot(dataset, kind, 1), tmp_path / "figure.png")
    image = read_png(path)
    assert min(image.shape[:2]) > 400
    assert [file.name for file in tmp_path.iterdir()] == ["figure.png"]


def _images(dataset: xr.Dataset, angle: int) -> list[AxesImage]:
    return [axes.images[0] for axes in plot(dataset, "maps", angle).axes[:3]]


def test_data_and_model_share_a_scale_and_the_residual_is_symmetric(dataset: xr.Dataset) -> None:
    data, model, residual = _images(dataset, 0)
    assert data.get_clim() == model.get_clim()
    low, high = residual.get_clim()
    assert low == -high


def test_maps_are_drawn_symmetric_with_a_filled_diagonal(dataset: xr.Dataset) -> None:
    data = _images(dataset, 1)[0].get_array()
    assert data is not None
    shown = np.ma.filled(data.astype(float), np.nan)
    np.testing.assert_array_equal(shown, shown.T)
    assert np.isfinite(np.diagonal(shown)).sum() == 39
    assert not np.isfinite(shown[13]).any()


def test_map_axes_are_in_seconds_and_equal(dataset: xr.Dataset) -> None:
    figure = plot(dataset, "maps", 1)
    axes = figure.axes[0]
    assert axes.get_xlim() == axes.get_ylim() == (0.0, 20.0)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("t₁ (s)", "t₂ (s)")
    assert axes.get_aspect() == 1.0
    assert figure.get_suptitle() == "φ = 10°,  q = 0.0054 Å⁻¹"


def test_colour_maps_are_uniform_and_empty_pixels_stand_out(dataset: xr.Dataset) -> None:
    assert [image.get_cmap().name for image in _images(dataset, 0)] == ["viridis", "viridis", "RdBu_r"]
    bad = _images(dataset, 0)[0].get_cmap().get_bad()
    assert np.ptp(bad[:3]) < 0.05


def test_cuts_show_three_waiting_times(dataset: xr.Dataset) -> None:
    top, bottom = plot(dataset, "cuts", 0).axes
    legend = top.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["t₁ = 1.25 s", "t₁ = 7.25 s", "t₁ = 13.25 s"]
    assert top.get_xscale() == "log"
    assert bottom.get_xlabel() == "lag τ (s)"


def test_dynamics_carry_their_units(dataset: xr.Dataset) -> None:
    labels = [axes.get_ylabel() for axes in plot(dataset, "dynamics").axes]
    assert [label.split("(")[-1] for label in labels] == ["Å²/s)", "Å²/s)", "Å/s)", "s"]


def test_rate_that_diverges_at_the_origin_leaves_the_rest_readable(dataset: xr.Dataset) -> None:
    diverging = dataset[["J_ref", "J_sample", "velocity", "fraction"]].load().copy(deep=True)
    diverging["J_ref"][0] = np.inf
    low, high = plot(diverging, "dynamics").axes[0].get_ylim()
    assert -50.0 < low < high < 1000.0


def test_history_is_logarithmic_over_decades_and_marks_rounds(dataset: xr.Dataset) -> None:
    axes = plot(dataset, "history").axes[0]
    assert axes.get_yscale() == "log"
    assert [text.get_text() for text in axes.texts] == ["round 1", "round 2"]
    assert not plot(dataset.isel(evaluation=slice(0)), "history").axes[0].texts
    flat = dataset.isel(evaluation=slice(4, 6))
    assert plot(flat, "history").axes[0].get_yscale() == "linear"


def test_map_without_data_or_scaling_still_draws(dataset: xr.Dataset, tmp_path: Path) -> None:
    empty = dataset.load().copy(deep=True)
    for name in ("data", "model", "residual", "cut_data", "cut_model", "contrast", "offset", "residual_rms"):
        empty[name][:] = np.nan
    for kind in ("maps", "cuts", "overview"):
        save_figure(plot(empty, kind, 0), tmp_path / f"{kind}.png")


def test_several_q_get_a_colour_scale(dataset: xr.Dataset) -> None:
    mixed = dataset.assign_coords(q=("phi", [0.004, 0.005, 0.006]))
    assert len(plot(dataset, "overview").axes) == 3
    assert plot(mixed, "overview").axes[3].get_ylabel() == "q (Å⁻¹)"


def test_colour_limits_never_collapse() -> None:
    assert limits(np.full(4, np.nan)) == (0.0, 1.0)
    low, high = limits(np.full(4, 2.5))
    assert low < 2.5 < high


def test_result_without_maps_says_how_to_get_them(result: Result) -> None:
    assert result.plot("dynamics").axes
    with pytest.raises(
        DataError, match="holds no maps, which a plot of kind 'maps' shows: load it from its run folder"
    ):
        result.plot()


def test_wrong_kind_or_index_is_named(dataset: xr.Dataset) -> None:
    with pytest.raises(DataError, match="no plot of kind 'map': expected one of maps, cuts"):
        plot(dataset, "map")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no map with index 3: the result has 3, so an index of 0 to 2"):
        plot(dataset, "maps", 3)


def test_many_maps_get_an_even_selection_and_the_log_says_so(
    make_store: Callable[..., Store],
    make_refinement: Callable[[Store], Refinement],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = make_store(n_phi=5, frames=20)
    result = write_run(tmp_path / "run", make_refinement(store), store, plots=False)
    with caplog.at_level(logging.INFO):
        figures = write_figures(tmp_path, result.to_xarray(), most=2)
    assert [figure.path.name for figure in figures] == [
        "dynamics.png",
        "overview.png",
        "map-000.png",
        "cuts-000.png",
        "map-004.png",
        "cuts-004.png",
        "history.png",
    ]
    assert "figures of 2 of 5 maps, evenly spread" in caplog.text
    assert "Contrast, offset and root mean square residual of 5 maps" in figures[1].description


def test_single_map_needs_no_overview(
    make_store: Callable[..., Store], make_refinement: Callable[[Store], Refinement], tmp_path: Path
) -> None:
    store = make_store(n_phi=1, frames=20)
    write_run(tmp_path / "run", make_refinement(store), store)
    assert not (tmp_path / "run" / "overview.png").exists()


def test_settings_of_the_caller_stay_as_they_were(dataset: xr.Dataset) -> None:
    with mpl.rc_context({"font.size": 31.0}):
        plot(dataset, "history")
        assert mpl.rcParams["font.size"] == 31.0


def test_pyplot_is_never_imported() -> None:
    code = "import sys, hetdask.results.files; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0


def test_result_alone_loads_no_plotting() -> None:
    code = "import sys, hetdask.results; sys.exit(bool({'matplotlib', 'xarray', 'zarr'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0
