# Two commands on a fresh clone, with nothing but Python 3.12+ and make:
#
#   make demo    simulate an experiment, ingest it, fit it on a local Dask cluster, plot it
#   make test    everything that CI runs
#
# PYTHON=/path/to/python chooses the interpreter, VENV=/path the virtual environment.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV ?= .venv
DEMO ?= demo
BUILD := build
SITE := site
BIN := $(VENV)/bin

# The first that really runs and is new enough: a shim may stand on the path and start nothing.
ifndef PYTHON
PYTHON := $(shell for p in python3.13 python3.12 python3 python; do \
	$$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 12))' >/dev/null 2>&1 && { echo $$p; break; }; done)
endif

.PHONY: help
help:
	@sed -n '2,7s/^# \{0,1\}//p' Makefile

.PHONY: demo
demo: $(VENV)/.installed
	$(BIN)/hetdask demo $(DEMO)

# Two at a time: the tests take both cores for most of the time, checks and installing the wheel fill the gaps.
.PHONY: test
test: $(VENV)/.installed
	$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint docs pytest wheel

.PHONY: lint
lint: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Every warning counts: a broken link, a page that nothing leads to, a docstring that can't be read.
.PHONY: docs
docs: $(VENV)/.installed
	$(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --quiet --doctree-dir $(SITE)/.doctrees docs $(SITE)

# A browser for the tests of the report, which are skipped where there is none.
.PHONY: browser
browser:
	@command -v chromium chromium-browser google-chrome >/dev/null || { \
	    test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
	    apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y chromium >/dev/null; } || \
	    echo "NO BROWSER: install chromium, or the tests of the report in a browser are skipped" >&2

# Kernels are compiled once, before the processes of pytest would do it side by side.
.PHONY: pytest
pytest: $(VENV)/.installed browser
	$(BIN)/python -m hetdask.compilation
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --quiet

# The wheel alone, installed outside the checkout, runs the whole way from an experiment to a report.
.PHONY: wheel
wheel: $(VENV)/.installed
	rm -rf $(BUILD)
	$(BIN)/python -m build --wheel --no-isolation --outdir $(BUILD)
	sed -E '/^ /d; s/ \\$$//' requirements.lock > $(BUILD)/constraints.txt
	place=$$(mktemp -d) && trap 'rm -rf "$$place"' EXIT && \
	$(BIN)/python -m venv "$$place/venv" && \
	"$$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile \
	    --constraint $(BUILD)/constraints.txt $(BUILD)/hetdask-*.whl && \
	mkdir "$$place/empty" && cd "$$place/empty" && \
	"$$place/venv/bin/hetdask" demo && test -s demo/run/result.json

.PHONY: venv
venv: $(VENV)/.installed

$(VENV)/.installed: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "found no Python 3.12 or newer: install one, or name it with PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 12) and f"{sys.executable} is Python {v[0]}.{v[1]}, expected 3.12 or newer: name another with PYTHON=/path/to/python")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes \
	    --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

# The page of the docs that lists the keys of heterodyne-analysis; a test says when it is behind.
.PHONY: keys
keys: $(VENV)/.installed
	$(BIN)/python -m hetdask.config.original.page docs/configuration-keys.md

# Needs uv. One file for Python 3.12 and 3.13 on every platform.
.PHONY: lock
lock:
	uv pip compile pyproject.toml --extra dev --extra docs --universal --python-version 3.12 --generate-hashes \
	    --no-header --no-annotate --no-emit-index-url --no-emit-find-links --output-file requirements.lock

.PHONY: clean
clean:
	rm -rf $(VENV) $(BUILD) $(SITE) $(DEMO) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
