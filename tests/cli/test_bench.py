"""`hetdask bench` measures, records and compares."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hetdask.data.ingest import ingest
from hetdask.diagnosis.bench import EVALUATIONS
from hetdask_cluster.runner import InlineRunner

from .conftest import Program

QUICK = ["bench", "--scheduler", "inline", "--max-runs", "3"]
FIGURES = ["BLAS", "kernel, value", "kernel, derivatives", "pass", "fit"]


def test_figures_are_recorded_and_compared_with_an_earlier_run(program: Program, tmp_path: Path) -> None:
    file, size = tmp_path / "bench.json", ["--maps", "2", "--frames", "100"]
    first = program([*QUICK, *size, "--json", file])
    assert first.status == 0, first.err
    found = json.loads(file.read_text())
    assert [*found["figures"]] == FIGURES
    pixels = 2 * 100 * 99 // 2
    assert found["settings"] == {"store": "synthetic", "maps": 2, "frames": 100, "pixels": pixels, "workers": 0}
    figures = found["figures"]
    assert figures["pass"]["pixels"] == pixels
    assert (
        figures["kernel, value"]["pixels"] == figures["kernel, derivatives"]["pixels"] == pixels // 2
    )  # one map a shard
    assert figures["fit"]["pixels"] % pixels == 0
    assert figures["fit"]["note"].endswith("converged")
    assert figures["fit"]["seconds"]["median"] > figures["pass"]["seconds"]["median"]
    for name, figure in figures.items():
        seconds = figure["seconds"]
        assert 2 <= seconds["total_runs"] == len(seconds["times"]) <= 3
        assert figure["pixels_per_second"] == pytest.approx(figure["pixels"] / seconds["median"])
        assert f"{name:<20} {seconds['median'] * 1e3:>7.2f} ms" in first.out

    # An earlier run that was ten times as fast, without scatter, on another machine.
    for figure in figures.values():
        figure["seconds"] |= {"median": figure["seconds"]["median"] / 10.0, "cv": 0.0}
    figures["pass"]["seconds"] |= {"cv": 10.0}
    found["machine"]["processor"] = "abacus"
    file.write_text(json.dumps(found))
    second = program([*QUICK, *size, "--compare", file])
    assert second.status == 0, second.err
    verdicts = {name: line for line in second.out.splitlines() for name in FIGURES if line.startswith(f"  {name}  ")}
    assert verdicts["fit"].endswith("slower")
    assert verdicts["pass"].endswith("within the spread")
    assert "processor: " in second.out
    assert "then abacus" in second.out

    other = program([*QUICK, "--maps", "1", "--frames", "100", "--compare", file])
    assert other.status == 2
    assert "maps: 1 here, 2 there" in other.err


def test_the_users_own_store_and_start_values_are_measured(
    program: Program, config: Path, source: Path, tmp_path: Path, inline_runner: InlineRunner
) -> None:
    store = ingest(source, tmp_path / "mine.zarr", q=0.0054, runner=inline_runner)
    outcome = program([*QUICK, "--store", store.path, "--config", config, "--json", tmp_path / "mine.json"])
    assert outcome.status == 0, outcome.err
    assert "mine.zarr: 3 maps of 60 × 60, this process" in outcome.out
    assert "converged" in outcome.out
    # From the default start values, which are far off, it takes what it may take.
    outcome = program([*QUICK, "--store", store.path, "--json", tmp_path / "other.json"])
    assert outcome.status == 0, outcome.err
    figure = json.loads((tmp_path / "other.json").read_text())["figures"]["fit"]
    assert figure["pixels"] // store.n_points <= EVALUATIONS + 1


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file"), ("{", "is no JSON"), ('{"schema": "hetdask.result/1"}', "is no record of a benchmark")],
)
def test_what_is_no_record_is_refused_before_anything_is_measured(
    content: str | None, said: str, program: Program, tmp_path: Path
) -> None:
    file = tmp_path / "earlier.json"
    if content is not None:
        file.write_text(content)
    outcome = program(["bench", "--compare", file])
    assert outcome.status == 2
    assert said in outcome.err
    assert "simulating" not in outcome.err
    assert program(["bench", "--config", "mine.yaml"]).status == 2
