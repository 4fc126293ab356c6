"""What is ready before a fit needs it, and what a fit does not wait for.

Workers load kernels and compile none: compiling takes memory that no plan counts, and all would do it at once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FIT = """
import importlib, json, pkgutil, sys
import hetdask_kernels
from numba.core.dispatcher import Dispatcher

modules = [importlib.import_module(f"hetdask_kernels.{found.name}") for found in
           pkgutil.iter_modules(hetdask_kernels.__path__) if found.name != "__main__"]
kernels = {value.py_func.__name__: value for module in modules for value in vars(module).values()
           if isinstance(value, Dispatcher)}

def signatures():
    return {name: {str(types) for types in kernel.signatures} for name, kernel in kernels.items()}

hetdask_kernels.warmup_numba_kernels()
before = signatures()
from hetdask.cli.main import run
status = run(["fit", sys.argv[1], "--quiet", "--no-plots", "--scheduler", "inline", *sys.argv[2:]])
after = signatures()
compiled = {name: sorted(after[name] - before[name]) for name in kernels if after[name] - before[name]}
print(json.dumps([status, compiled, sum(map(len, before.values()))]))
"""

SUMS = """
import sys
from hashlib import md5
import numpy as np
from hetdask.data.reduction import reduce_store
from hetdask.data.writers import write_store
from hetdask.model import simulate_gaussian
from hetdask.passes import Passes
from hetdask.passes.reduced import ReducedPasses
from hetdask.passes.run import series_of
from hetdask_cluster.runner import InlineRunner
from hetdask_kernels.scores import model_rows
from hetdask_kernels.speckles import block_covariance, photon_covariance

vector = np.array([120.0, -0.3, 5.0, 900.0, -0.2, 3.0, 300.0, 0.1, 5.0, 0.5, -0.01, 0.0, 0.2, 10.0])
rng = np.random.default_rng(0)
time, phi, free, here = 0.1 * np.arange(150), np.array([0.0, 60.0]), tuple(range(14)), InlineRunner()
maps = simulate_gaussian(vector, time, phi, 0.0054, contrast=0.3, offset=1.0, sigma=0.01, rng=rng)
store = write_store(sys.argv[1], maps.astype(np.float32), phi=phi, q=0.0054, dt=0.1)
nodes, chain = np.arange(6), rng.standard_normal((6, 6, 2, 2)) + 0j
coherence, places = rng.uniform(0.0, 1.0, (6, 6)), np.column_stack([nodes, nodes, nodes + 1])
found = [
    ReducedPasses(series_of(store), reduce_store(store, here, level=0))(vector, free).gram,
    *(Passes(store, here, resident_bytes=size)(vector, some).gram for size in (None, 0) for some in (free, ())),
    model_rows(*(rng.uniform(0.5, 1.0, shape) for shape in ((150, 4), (150, 6), 150, (150, 16)))),
    block_covariance(nodes[:-1], nodes[1:], coherence, chain, 0.5),
    photon_covariance(nodes[:-1], nodes[1:], places, np.ones(6), coherence, chain, 0.5),
]
print(*(md5(x.tobytes()).hexdigest() for x in found))
"""


@pytest.fixture
def own_cache(tmp_path: Path) -> dict[str, str]:
    """Environment of a process that finds nothing compiled."""
    return {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "numba")}


def test_kernels_round_alike_whether_they_were_compiled_just_now_or_are_loaded(
    tmp_path: Path, own_cache: dict[str, str]
) -> None:
    said = [
        subprocess.run(
            [sys.executable, "-c", SUMS, tmp_path / f"{turn}.zarr"],
            capture_output=True, text=True, check=True, timeout=200, env=own_cache,
        ).stdout
        for turn in range(2)
    ]  # fmt: skip
    assert len(said[0].split()) == 8
    assert said[0] == said[1]


def test_a_fit_compiles_nothing_that_was_not_compiled_before_workers_start(config: Path) -> None:
    command = [sys.executable, "-c", FIT, str(config), "--method", "all", "--start", "search", "--bootstrap", "40"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=200).stdout
    status, compiled, known = json.loads(said.splitlines()[-1])
    assert status == 0
    assert known > 20
    assert compiled == {}


def test_whether_kernels_are_compiled_is_known_without_loading_them(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "hetdask.compilation"], check=True, timeout=200)
    look = [sys.executable, "-c", "from hetdask.compilation import compiled; print(compiled())"]
    for folder, found in (({}, "True"), ({"NUMBA_CACHE_DIR": str(tmp_path)}, "False")):
        done = subprocess.run(look, capture_output=True, text=True, check=True, env={**os.environ, **folder})
        assert done.stdout.strip() == found


def test_the_first_fit_in_this_process_has_every_kernel_compiled_and_says_so(
    config: Path, own_cache: dict[str, str]
) -> None:
    command = [sys.executable, "-m", "hetdask", "fit", str(config), "--no-plots", "--scheduler", "inline"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=200, env=own_cache)
    assert done.stderr.count("compiling") == 1
    look = [sys.executable, "-c", "from hetdask.compilation import compiled; print(compiled())"]
    assert subprocess.run(look, capture_output=True, text=True, check=True, env=own_cache).stdout.strip() == "True"


def test_a_fit_without_figures_loads_nothing_for_drawing_learning_or_pages(config: Path) -> None:
    code = (
        "import sys; from hetdask.cli.main import run; "
        "status = run(['fit', sys.argv[1], '-q', '--no-plots', '--scheduler', 'inline']); print(status, *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(config)], capture_output=True, text=True, check=True)
    status, *modules = done.stdout.splitlines()[-1].split()
    assert status == "0"
    assert not {"matplotlib", "PIL", "xarray", "sklearn", "bokeh", "scipy.stats", "scipy.interpolate"} & set(modules)


def test_kernels_from_before_a_source_changed_are_compiled_anew(own_cache: dict[str, str]) -> None:
    script = (
        "import os, sys; from pathlib import Path; import numpy as np; from hetdask.compilation import compiled;"
        "from hetdask_kernels.speckles import _mean_decay, mean_decay; folder = Path(_mean_decay.stats.cache_path);"
        "[os.utime(file, (0, 0)) for file in folder.glob('*mean_decay*.nbi') if len(sys.argv) > 1];"
        "compiled(); mean_decay(np.ones(1), np.ones(1), 1); print(sum(_mean_decay.stats.cache_hits.values()))"
    )
    hits = [
        subprocess.run(
            [sys.executable, "-c", script, *old], capture_output=True, text=True, check=True, timeout=200, env=own_cache
        ).stdout.strip()
        for old in ((), (), ("old",))
    ]
    assert hits == ["0", "1", "0"]
