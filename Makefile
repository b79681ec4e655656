# Everything here runs in .venv, which is made on first use: with uv where it is installed, else with venv and pip.
# PYTHON names the interpreter (3.11 or newer) that .venv is made from: make test PYTHON=python3.13

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
REQUESTS ?= 1350

# Compiling what is imported costs each of the many processes more than the rest of its start: keep what was compiled.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-matrix race check bench faults docs clean

help:  ## say what there is to make
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' Makefile

demo: $(STAMP)  ## record, design, check, simulate, serve and verify the example; figures in out/
	@$(BIN)/cachewright demo --requests $(REQUESTS)

test: $(STAMP)  ## run the tests, a process for each processor
	@$(BIN)/python -m pytest -n auto --dist loadfile

race: $(STAMP)  ## let several processes race, with 108,000 reads each time: takes some minutes
	@RACE_READS=36000 $(BIN)/python -m pytest tests/runtime/test_race.py --timeout 0

test-matrix: $(STAMP)  ## run what meets FastAPI and SQLAlchemy on the oldest and the newest of them
	@$(BIN)/python tests/matrix.py

check: $(STAMP)  ## lint, format, types, and the floors between rooms
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(VENV)/.peers  ## print how fast things are, as ratios measured side by side
	@$(BIN)/python benchmarks/http_hit.py
	@$(BIN)/python benchmarks/http_miss.py
	@$(BIN)/python benchmarks/cache.py
	@$(BIN)/python benchmarks/recording.py
	@$(BIN)/python benchmarks/curves.py
	@$(BIN)/python benchmarks/large_traces.py

faults: $(STAMP)  ## print what faults of servers cost the requests of an application, and how late word is on the bus
	@$(BIN)/python benchmarks/faults.py

docs: $(STAMP)  ## write the generated pages of docs/reference
	@$(BIN)/python docs/generate.py

clean:  ## remove what make made: the environment, caches, out/
	@rm -rf $(VENV) out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Others' caches, which only the benchmarks know.
$(VENV)/.peers: $(STAMP)
	@if command -v uv >/dev/null; then VIRTUAL_ENV="$$PWD/$(VENV)" uv pip install --quiet --group bench; \
	else $(BIN)/python -m pip install --quiet --disable-pip-version-check --group bench; fi
	@touch $@

# The stamp holds what was installed from, so that a fresh checkout's file times do not matter.
$(STAMP): pyproject.toml
	@if ! cmp -s pyproject.toml $(STAMP); then \
	  if [ -z "$(PYTHON)" ]; then echo "make: no Python 3.11 or newer was found; set PYTHON" >&2; exit 1; fi; \
	  echo "Preparing $(VENV) …" >&2; \
	  if command -v uv >/dev/null; then \
	    test -x $(BIN)/python || uv venv --quiet --python "$(PYTHON)" $(VENV); \
	    VIRTUAL_ENV="$$PWD/$(VENV)" uv pip install --quiet --editable '.[all]' --group dev; \
	  else \
	    test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV); \
	    $(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip --upgrade >/dev/null; \
	    $(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'; \
	    $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[all]' --group dev; \
	  fi; \
	fi
	@cp pyproject.toml $(STAMP)
