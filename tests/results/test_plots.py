"""Figures show the right numbers on labelled axes, at any number of maps, without touching pyplot."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.image import imread as read_png
from matplotlib.text import Text
from PIL import Image

from hetdask.data.store import Store
from hetdask.errors import DataError
from hetdask.fitting import Refinement
from hetdask.results import Result
from hetdask.results.figures import write_figures, write_paper_figures
from hetdask.results.files import write_run
from hetdask.results.plots import PlotKind, Width, plot, save_figure
from hetdask.results.plots.curves import RATE_PANELS, cuts_panel, history_panel, rate_panel, scaling_panel
from hetdask.results.plots.cuts import CutNoise, spread, thin
from hetdask.results.plots.page import HEAD, panel_figure
from hetdask.results.plots.palette import indexed_png, repalette
from hetdask.results.plots.style import limits
from hetdask.results.plots.thumbnails import block_means

from .conftest import contents_of

KINDS: tuple[PlotKind, ...] = ("maps", "cuts", "dynamics", "history", "overview", "correlations", "profile")


@pytest.fixture
def dataset(run_folder: Path) -> xr.Dataset:
    return Result.load(run_folder).to_xarray()


def _texts_overlap(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts whose boxes overlap by more than a pixel."""
    figure.canvas.draw()
    boxes = [
        (text.get_text(), text.get_window_extent().padded(-0.5))
        for text in figure.findobj(Text)
        if isinstance(text, Text) and text.get_visible() and text.get_text() and text.axes is not None
    ]
    shown = [(text, box) for text, box in boxes if figure.bbox.padded(1.0).overlaps(box)]
    return [(a, b) for k, (a, one) in enumerate(shown) for b, other in shown[:k] if one.overlaps(other)]


def _is_whole(figure: Figure) -> bool:
    """Whether nothing that is drawn reaches beyond the edge of the figure."""
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    return bool(box.x0 > -0.02 and box.y0 > -0.02 and box.x1 < width + 0.02 and box.y1 < height + 0.02)


@pytest.mark.parametrize("width", ["screen", "single", "double"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_figure_is_whole_and_nothing_overlaps(dataset: xr.Dataset, kind: PlotKind, width: Width) -> None:
    values = np.array([[380.0, 395.0, 401.0, 410.0, np.nan], [20.0, 21.9, 22.0, 22.1, 22.3]])
    dataset = dataset.assign(
        profiled=["D0_ref", "v0"],
        profile_values=(("profiled", "step"), values),
        profile_deviance=(("profiled", "step"), [[9.0, 2.0, 0.0, 1.1, np.nan], [4.5, 0.7, 0.0, 0.9, 4.2]]),
    )
    figure = plot(contents_of(dataset.assign(expected_rms=1.1 * dataset["sigma"])), kind, 1, width)
    assert not _texts_overlap(figure)
    assert _is_whole(figure)
    if kind == "maps":
        side = figure.axes[0].get_window_extent().width / figure.dpi
        assert side > {"screen": 2.2, "single": 1.1, "double": 1.4}[width], "maps fill their figure"
    if width != "screen":
        assert figure.get_figwidth() == pytest.approx({"single": 3.4, "double": 7.0}[width], abs=0.61)
        assert figure.get_suptitle() == ""


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_figures_are_saved_whole_or_not_at_all(dataset: xr.Dataset, kind: str, tmp_path: Path) -> None:
    figure = plot(contents_of(dataset), "dynamics")
    first = save_figure(figure, tmp_path / f"figure.{kind}").read_bytes()
    assert first == save_figure(plot(contents_of(dataset), "dynamics"), tmp_path / f"figure.{kind}").read_bytes()
    assert [file.name for file in tmp_path.iterdir()] == [f"figure.{kind}"]
    if kind == "png":
        assert min(read_png(tmp_path / "figure.png").shape[:2]) > 400


def test_figures_for_papers_come_in_both_widths(dataset: xr.Dataset, tmp_path: Path) -> None:
    paths = write_paper_figures(tmp_path / "figures", contents_of(dataset), "svg", most=1)
    names = ("dynamics", "overview", "map-000", "cuts-000", "history", "correlations")
    assert [path.name for path in paths] == [
        f"{name}-{text}.svg" for name in names for text in ("1-column", "2-columns")
    ]
    assert all("<text" not in path.read_text() or "DejaVu" in path.read_text() for path in paths)


@pytest.mark.parametrize("factor", [1.0, 1e-4, 1e7, -1e5])
def test_panels_of_the_page_hold_numbers_of_any_size(dataset: xr.Dataset, factor: float) -> None:
    scaled = dataset.load().copy(deep=True)
    for name in ("velocity", "contrast"):
        scaled[name] = factor * scaled[name]
    contents = contents_of(scaled)
    for draw in (
        lambda figure: rate_panel(figure.subplots(), contents, RATE_PANELS[2]),
        lambda figure: scaling_panel(figure.subplots(), contents, "contrast", "contrast"),
        lambda figure: cuts_panel(*figure.subplots(2, 1, sharex=True, height_ratios=[3, 1]), contents, 0),
        lambda figure: history_panel(figure.subplots(), contents),
    ):
        figure = panel_figure(draw, 2.6, HEAD)
        assert _is_whole(figure)
        assert not _texts_overlap(figure)


def test_palette_keeps_every_pixel(tmp_path: Path) -> None:
    values = np.linspace(0.0, 1.0, 300).reshape(15, 20)
    values[3, 4] = np.nan
    (tmp_path / "small.png").write_bytes(indexed_png(values, "viridis"))
    shown = read_png(tmp_path / "small.png")
    assert shown[3, 4, 3] == 0.0
    np.testing.assert_allclose(
        shown[..., :3][np.isfinite(values)], mpl.colormaps["viridis"](values)[np.isfinite(values)][:, :3], atol=0.02
    )
    for colours in (200, 300):
        full = np.zeros((20, 20, 4), np.uint8)
        full[..., 3] = 255
        index = np.arange(400) % colours
        full[..., 0], full[..., 1] = (index % 256).reshape(20, 20), (index // 256).reshape(20, 20)
        out = io.BytesIO()
        Image.fromarray(full).save(out, "PNG")
        again = Image.open(io.BytesIO(repalette(out.getvalue())))
        assert (again.mode == "P") == (colours == 200)
        np.testing.assert_array_equal(np.asarray(again.convert("RGBA")), full)


@given(st.integers(2, 100), st.integers(1, 70))
def test_thumbnails_are_means_over_blocks(size: int, side: int) -> None:
    values = np.random.default_rng(size).normal(size=(size, size))
    values[values > 1.5] = np.nan
    values[0, 0] = 1.0
    small = block_means(values, side)
    assert small.shape[0] <= side
    step = -(-size // side)
    block = values[:step, :step]
    assert small[0, 0] == pytest.approx(np.nanmean(block), nan_ok=True)


def test_error_bars_average_white_noise_only() -> None:
    rng = np.random.default_rng(3)
    lag = 0.1 * np.arange(400)
    pixels = np.full(400, 8.0)
    for noise in (CutNoise(0.01, 0.0), CutNoise(0.01, 0.004)):
        means, errors = [], np.empty(0)
        for _ in range(200):
            common = noise.speckle * rng.normal()
            x, y, errors = thin(lag, common + noise.white / np.sqrt(pixels) * rng.normal(size=400), pixels, noise)
            means.append(y)
        assert x.size <= 40
        np.testing.assert_allclose(np.std(means, axis=0), errors, rtol=0.25)
    x, y, error = thin(lag, np.full(400, np.nan), pixels, CutNoise(0.01, 0.0))
    assert x.size == y.size == error.size == 0


@given(st.integers(1, 5000))
def test_model_lines_keep_their_ends(count: int) -> None:
    index = spread(count)
    assert index[0] == 1
    assert index[-1] == max(count - 1, 1)
    assert np.all(np.diff(index) > 0)
    assert index.size <= 240


def _images(dataset: xr.Dataset, angle: int) -> list[AxesImage]:
    return [axes.images[0] for axes in plot(contents_of(dataset), "maps", angle).axes[:3]]


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
    figure = plot(contents_of(dataset), "maps", 1)
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
    top, bottom = plot(contents_of(dataset), "cuts", 0).axes
    legend = top.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["t₁ = 1.25 s", "t₁ = 7.25 s", "t₁ = 13.25 s"]
    assert top.get_xscale() == "log"
    assert bottom.get_xlabel() == "lag τ (s)"


def test_dynamics_carry_their_units(dataset: xr.Dataset) -> None:
    labels = [axes.get_ylabel() for axes in plot(contents_of(dataset), "dynamics").axes]
    assert [label.split("(")[-1] for label in labels] == ["Å²/s)", "Å²/s)", "Å/s)", "s"]


def test_rate_that_diverges_at_the_origin_leaves_the_rest_readable(dataset: xr.Dataset) -> None:
    diverging = dataset[["J_ref", "J_sample", "velocity", "fraction"]].load().copy(deep=True)
    diverging["J_ref"][0] = np.inf
    low, high = plot(contents_of(diverging), "dynamics").axes[0].get_ylim()
    assert -50.0 < low < high < 1000.0


def test_history_is_logarithmic_over_decades_and_marks_rounds(dataset: xr.Dataset) -> None:
    axes = plot(contents_of(dataset), "history").axes[0]
    assert axes.get_yscale() == "log"
    assert [text.get_text() for text in axes.texts] == ["round 1", "round 2"]
    assert not plot(contents_of(dataset.isel(evaluation=slice(0))), "history").axes[0].texts
    flat = dataset.isel(evaluation=slice(4, 6))
    assert plot(contents_of(flat), "history").axes[0].get_yscale() == "linear"


def test_map_without_data_or_scaling_still_draws(dataset: xr.Dataset, tmp_path: Path) -> None:
    empty = dataset.load().copy(deep=True)
    for name in ("data", "model", "residual", "cut_data", "cut_model", "contrast", "offset", "residual_rms"):
        empty[name][:] = np.nan
    for kind in ("maps", "cuts", "overview"):
        save_figure(plot(contents_of(empty), kind, 0), tmp_path / f"{kind}.png")


def test_several_q_get_a_colour_scale(dataset: xr.Dataset) -> None:
    mixed = dataset.assign_coords(q=("phi", [0.004, 0.005, 0.006]))
    assert len(plot(contents_of(dataset), "overview").axes) == 3
    assert plot(contents_of(mixed), "overview").axes[3].get_ylabel() == "q (Å⁻¹)"


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
        plot(contents_of(dataset), "map")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no map with index 3: the result has 3, so an index of 0 to 2"):
        plot(contents_of(dataset), "maps", 3)


def test_many_maps_get_an_even_selection_and_the_log_says_so(
    make_store: Callable[..., Store],
    make_refinement: Callable[[Store], Refinement],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = make_store(n_phi=5, frames=20)
    result = write_run(tmp_path / "run", make_refinement(store), store, plots=False)
    with caplog.at_level(logging.INFO):
        figures = write_figures(tmp_path, result.contents(), most=2)
    assert [path.name for path in figures] == [
        "dynamics.png",
        "overview.png",
        "map-000.png",
        "map-004.png",
        "history.png",
    ]
    assert "figures of 2 of 5 maps, evenly spread" in caplog.text


def test_single_map_needs_no_overview(
    make_store: Callable[..., Store], make_refinement: Callable[[Store], Refinement], tmp_path: Path
) -> None:
    store = make_store(n_phi=1, frames=20)
    write_run(tmp_path / "run", make_refinement(store), store)
    assert not (tmp_path / "run" / "overview.png").exists()


def test_settings_of_the_caller_stay_as_they_were(dataset: xr.Dataset) -> None:
    with mpl.rc_context({"font.size": 31.0}):
        plot(contents_of(dataset), "history")
        assert mpl.rcParams["font.size"] == 31.0


def test_pyplot_is_never_imported() -> None:
    code = "import sys, hetdask.results.files; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0


def test_result_alone_loads_no_plotting() -> None:
    code = "import sys, hetdask.results; sys.exit(bool({'matplotlib', 'xarray', 'zarr'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0
