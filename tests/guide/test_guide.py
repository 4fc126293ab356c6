"""Every code block of the guide of heterodyne-analysis, with our imports and command, and what it promises.

The guide itself is not part of the project, its code blocks are (``blocks/``). With HETDASK_GUIDE set to the path of
its text, a test makes sure that these are all of them.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import hetdask
from hetdask.config import ConfigWarning
from hetdask.data.writers import write_store
from hetdask.model import simulate_gaussian
from hetdask.passes.plan import FitPlan
from hetdask.results import Result
from hetdask_cluster.local import available_cores

from ..blocks import blocks_of, kept_blocks  # noqa: TID252 (tests are no package)

HERE = Path(__file__).parent
BLOCKS = {block.name: block for block in kept_blocks(HERE / "blocks")}
GUIDE = os.environ.get("HETDASK_GUIDE")


@pytest.mark.skipif(GUIDE is None, reason="THE GUIDE IS NOT COMPARED: set HETDASK_GUIDE to the path of its text")
def test_the_blocks_kept_here_are_all_of_the_guide() -> None:
    assert blocks_of(Path(str(GUIDE)).read_text(encoding="utf-8")) == list(BLOCKS.values())


def test_every_block_is_run() -> None:
    assert {*PYTHON, *SHELL, *SETTINGS} == {*BLOCKS}
    languages = {name: language for table, language in TABLES for name in table}
    assert languages == {name: block.language for name, block in BLOCKS.items()}


# Python: blocks follow upon each other in the guide, which loads the data in between.


@pytest.fixture(scope="module")
def names(experiment: Path) -> Iterator[dict[str, Any]]:
    """What the guide's blocks take for granted, in the folder of the experiment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(experiment)
        config = json.loads(Path("my_config.json").read_text())
        core = hetdask.HeterodyneAnalysisCore(config)
        c2_data, _, phi_angles, _ = hetdask.load_xpcs_data("my_config.json")
        yield {
            "config": config,
            "config_file": "my_config.json",
            "core": core,
            "classical": hetdask.ClassicalOptimizer(core, config),
            "load_xpcs_data": hetdask.load_xpcs_data,
            "c2_data": c2_data,
            "phi_angles": phi_angles,
        }


def engine_is_ready(names: dict[str, Any], out: str) -> None:
    assert not out
    assert isinstance(names["core"], hetdask.HeterodyneAnalysisCore)
    assert names["core"].config is names["config"]


def kernels_are_warm(names: dict[str, Any], out: str) -> None:
    assert re.fullmatch(r"Kernels compiled in \d+\.\d{3}s\n", out)
    assert names["warmup_results"]["total_warmup_time"] > 0


def ellipsoidal_fit_within_the_limit(names: dict[str, Any], out: str) -> None:
    assert not out
    results = names["results"]
    assert names["robust"]._settings([]).compute.memory_limit == 0.9
    assert results["success"]
    assert results["status"] == "optimal"
    assert results["method"] == "ellipsoidal"
    assert results["chi_squared"] == results.chi_squared == pytest.approx(1.0, abs=0.2)
    assert results["parameters"].shape == (14,)


def timings_are_told(names: dict[str, Any], out: str) -> None:
    assert re.fullmatch(r"Data loading: \d+\.\d{3}s\nOptimization: \d+\.\d{3}s\n", out)
    assert names["results"].success
    assert names["c2_data"].shape == (names["num_angles"], names["time_length"], names["time_length"])
    assert names["stats"]["classical_optimization"] > 0


def benchmarks_are_told(names: dict[str, Any], out: str) -> None:
    assert re.fullmatch(r"Mean time: \d+\.\d{4}s ± \d+\.\d{3} CV\nAchieved \d+\.\d{3} CV in \d+ runs\n", out)
    assert 10 <= names["results"]["total_runs"] <= 30


PYTHON: dict[str, Callable[[dict[str, Any], str], None]] = {
    "02-automatic-jit-compilation": engine_is_ready,
    "03-manual-kernel-warmup": kernels_are_warm,
    "06-memory-optimization-strategies": ellipsoidal_fit_within_the_limit,
    "08-built-in-performance-tracking": timings_are_told,
    "09-stable-benchmarking": benchmarks_are_told,
}


@pytest.mark.parametrize("name", PYTHON)
def test_python_block_runs(name: str, names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    text = re.sub(r"^from heterodyne[\w.]* import", "from hetdask import", BLOCKS[name].text, flags=re.MULTILINE)
    assert "heterodyne." not in text
    space = dict(names)
    hetdask.performance_monitor.reset()
    exec(compile(text, name, "exec"), space)
    PYTHON[name](space, capsys.readouterr().out)


# Shell. Lines that set up an environment would change the one that runs the tests, and need a network: conda is not
# ours, and of pip's arguments it is checked that they are requirements that this project can meet.


def run_block(name: str, folder: Path) -> str:
    """Run a block's other lines in a folder; what it prints."""
    text = BLOCKS[name].text.replace("heterodyne-analysis", "hetdask").replace("heterodyne", "hetdask")
    script = []
    for line in text.splitlines():
        if line.startswith("pip install"):
            can_be_installed(line.split("install ")[1].removeprefix("--upgrade "))
        elif not line.startswith("conda "):
            script.append(line)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    # Python sees the packages that this process sees, in a folder of its own.
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(script)],
        cwd=folder, env=environment, check=False, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def can_be_installed(text: str) -> None:
    wanted = Requirement(text)
    project = tomllib.loads((HERE.parents[1] / "pyproject.toml").read_text())["project"]
    if wanted.name == project["name"]:
        assert wanted.extras <= project["optional-dependencies"].keys()
        return
    known = [Requirement(line) for line in project["dependencies"]]
    ours = next(requirement for requirement in known if requirement.name == wanted.name)
    # Any later release may come.
    assert all(bound.operator == ">=" for bound in ours.specifier)
    assert metadata.version(wanted.name) in ours.specifier


def python_is_new_enough(out: str, _: Path) -> None:
    assert Version(out.removeprefix("Python ")) >= Version("3.12")


def nothing_is_printed(out: str, _: Path) -> None:
    assert not out


def classical_fit_with_threads(_: str, folder: Path) -> None:
    result = fitted(folder)
    assert result.method == "classical"
    assert [*result.methods] == ["trust-region"]
    cluster = result.provenance["cluster"]
    assert isinstance(cluster, dict)
    # The block sets 4 first and then, for larger machines, 8.
    assert cluster["library_threads"] == 8


def all_methods_run(_: str, folder: Path) -> None:
    result = fitted(folder)
    assert result.method == "all"
    assert {"trust-region", "nelder-mead", "wasserstein", "scenario", "ellipsoidal"} <= {*result.methods}
    cluster = result.provenance["cluster"]
    assert isinstance(cluster, dict)
    # Whatever the configuration says: one.
    assert cluster["workers"] == available_cores()


def fitted(folder: Path) -> Result:
    result = Result.load(folder / "hetdask_run")
    assert result.status == "converged"
    return result


SHELL: dict[str, Callable[[str, Path], None]] = {
    "01-python-3-12-compatibility": python_is_new_enough,
    "10-thread-configuration": classical_fit_with_threads,
    "11-performance-mode": all_methods_run,
    "15-numba-compilation-errors": python_is_new_enough,
    "16-numba-compilation-errors": nothing_is_printed,
}


@pytest.mark.parametrize("name", SHELL)
def test_shell_block_runs(name: str, experiment: Path, tmp_path: Path) -> None:
    (tmp_path / "my_config.json").write_bytes((experiment / "my_config.json").read_bytes())
    SHELL[name](run_block(name, tmp_path), tmp_path)


# Settings: each block is laid over the configuration of the experiment.


def core_with(name: str, content: dict[str, Any], **data: Any) -> hetdask.HeterodyneAnalysisCore:
    content["experimental_data"].update(data)
    return hetdask.HeterodyneAnalysisCore(content, json.loads(BLOCKS[name].text))


def told_by(name: str, content: dict[str, Any]) -> tuple[hetdask.HeterodyneAnalysisCore, list[str]]:
    """The core, and the keys that its one warning names."""
    with pytest.warns(ConfigWarning) as told:
        core = core_with(name, content)
    return core, re.findall(r"^  ([\w.]+):", str(told[0].message), re.MULTILINE)


def threads_are_limited(name: str, content: dict[str, Any]) -> None:
    content["analyzer_parameters"]["computational"]["num_threads"] = "auto"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hetdask_cluster.local.available_cores", lambda: 16)
        core, told = told_by(name, content)
        assert core.settings.compute.workers == 4
    assert core.settings.compute.numba
    numba = "performance_settings.numba_optimization"
    assert told == [f"{numba}.parallel_numba", f"{numba}.stability_enhancements.warmup_iterations"]


def to_the_last_digits(content: dict[str, Any]) -> None:
    """Let fits go on until rounding is all that sets them apart; usually it may decide which step is the last."""
    content["optimization_config"]["classical_optimization"] = {"method_options": {"Gurobi": {"tolerance": 1e-12}}}


def nothing_stays_in_memory(name: str, content: dict[str, Any]) -> None:
    to_the_last_digits(content)
    core, told = told_by(name, content)
    assert core.settings.compute.resident_limit == 0
    assert FitPlan(core.open_store().tiling, None, limit=0).resident == 0
    assert told == ["performance_settings.memory_management.garbage_collection_frequency"]
    parameters, results = hetdask.ClassicalOptimizer(core).run_classical_optimization_optimized()
    assert results.success
    np.testing.assert_allclose(parameters, plain_fit(content), rtol=1e-7)


def passes_are_numpy_with_the_same_answer(name: str, content: dict[str, Any]) -> None:
    to_the_last_digits(content)
    core = core_with(name, content)
    expected = plain_fit(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr("hetdask.passes.run.evaluate_shard")
        parameters, results = hetdask.ClassicalOptimizer(core).run_classical_optimization_optimized()
    assert results.success
    np.testing.assert_allclose(parameters, expected, rtol=1e-6)


def plain_fit(content: dict[str, Any]) -> np.ndarray:
    core = hetdask.HeterodyneAnalysisCore(content)
    return hetdask.ClassicalOptimizer(core).run_classical_optimization_optimized()[0]


def fits_of_many_points_are_reduced(name: str, content: dict[str, Any]) -> None:
    core = core_with(name, content)
    reduction = core.settings.fit.reduction
    assert reduction is not None
    assert (reduction.max_points, reduction.time_factor, reduction.angle_factor) == (100_000, 4, 2)
    n, dt, q = 270, 0.1, 0.0054
    assert 3 * n * (n - 1) / 2 > reduction.max_points
    truth = dict(
        zip(content["initial_parameters"]["parameter_names"], content["initial_parameters"]["values"], strict=True)
    )
    phi = [0.0, 60.0, 175.0]
    rng = np.random.default_rng(3)
    maps = simulate_gaussian(truth, dt * np.arange(n), phi, q, contrast=0.3, offset=1.0, sigma=0.01, rng=rng)
    store = write_store(core.folder.path / "large.zarr", maps, phi, q, dt)
    result = hetdask.fit(store, core.settings)
    assert (result.status, result.resolution) == ("converged", "reduced")
    for parameter, row in result.parameters.items():
        if not row.fixed:
            # Block means with the means of the model: no rate is multiplied by a stride.
            assert row.value == pytest.approx(truth[parameter], rel=0.05)


def only_these_move(name: str, content: dict[str, Any]) -> None:
    content["initial_parameters"]["active_parameters"] = ["phi0"]
    core = core_with(name, content)
    parameters, results = hetdask.ClassicalOptimizer(core).run_classical_optimization_optimized()
    wanted = ["D0_ref", "D0_sample", "v0", "f0"]
    moved = np.flatnonzero(parameters != results.initial_parameters)
    assert [hetdask.PARAMETERS[k].name for k in moved] == wanted


def only_these_angles_are_fitted(name: str, content: dict[str, Any]) -> None:
    core = core_with(name, content)
    c2, frames, phi, count = core.load_experimental_data()
    assert (phi.tolist(), count, c2.shape) == ([0.0, 175.0], 2, (2, frames, frames))
    # Of given arrays too, once.
    plain = hetdask.load_xpcs_data(content)
    results = hetdask.ClassicalOptimizer(core).optimize(plain[0], plain[2])
    again = hetdask.ClassicalOptimizer(core).optimize(c2, phi)
    assert (
        [angle.phi for angle in results.result.angles] == [angle.phi for angle in again.result.angles] == [0.0, 175.0]
    )
    assert results.chi_squared == again.chi_squared


SETTINGS: dict[str, Callable[[str, dict[str, Any]], None]] = {
    "04-configuration-control": threads_are_limited,
    "05-memory-optimization-strategies": fits_of_many_points_are_reduced,
    "07-memory-optimization-strategies": nothing_stays_in_memory,
    "12-slow-optimization": fits_of_many_points_are_reduced,
    "13-slow-optimization": only_these_move,
    "14-slow-optimization": only_these_angles_are_fitted,
    "17-numba-compilation-errors": passes_are_numpy_with_the_same_answer,
}

TABLES: list[tuple[dict[str, Any], str]] = [(PYTHON, "python"), (SHELL, "bash"), (SETTINGS, "json")]


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_block_has_its_effect(name: str, content: dict[str, Any]) -> None:
    SETTINGS[name](name, content)
