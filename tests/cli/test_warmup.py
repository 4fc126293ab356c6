"""Workers load kernels and compile none: compiling takes memory that no plan counts, and all would do it at once."""

from __future__ import annotations

import json
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
