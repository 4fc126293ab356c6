"""What is ready before a fit needs it, and what a fit does not wait for.

Workers load kernels and compile none: compiling takes memory that no plan counts, and all would do it at once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

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


def test_the_first_fit_in_this_process_has_every_kernel_compiled_and_says_so(config: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "numba")}
    command = [sys.executable, "-m", "hetdask", "fit", str(config), "--no-plots", "--scheduler", "inline"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=200, env=environment)
    assert done.stderr.count("compiling") == 1
    look = [sys.executable, "-c", "from hetdask.compilation import compiled; print(compiled())"]
    assert subprocess.run(look, capture_output=True, text=True, check=True, env=environment).stdout.strip() == "True"


def test_a_fit_without_figures_loads_nothing_for_drawing_learning_or_pages(config: Path) -> None:
    code = (
        "import sys; from hetdask.cli.main import run; "
        "status = run(['fit', sys.argv[1], '-q', '--no-plots', '--scheduler', 'inline']); print(status, *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(config)], capture_output=True, text=True, check=True)
    status, *modules = done.stdout.splitlines()[-1].split()
    assert status == "0"
    assert not {"matplotlib", "PIL", "xarray", "sklearn", "bokeh", "scipy.stats", "scipy.interpolate"} & set(modules)
