# PYTHON: any Python of at least 3.11. PIP_ARGS: for instance --extra-index-url https://download.pytorch.org/whl/cpu
# CONSTRAINTS: a file of the versions that are installed; the tested ones. Empty: the newest that pyproject.toml allows.
# VENV: the environment's folder. Another Python: make test VENV=.venv-3.13 PYTHON=python3.13
PYTHON ?= python3
PIP_ARGS ?=
PYTEST_ARGS ?=
CONSTRAINTS ?= constraints.txt
# The tests of a file stay together; a process for each core, at most four, each with one thread.
WORKERS := -n auto --maxprocesses 4 --dist loadfile
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOWEST := .venv-lowest/lowest.txt
NEWEST := .venv-newest
RECIPE := fetch train_vae train_judge judge_error train_clip train_simclr train_clip_informed train_diffusion train_dit train_ddpm measure measure_clip measure_simclr measure_dit measure_ddpm

.PHONY: quickstart install help docs test test-lowest check constraints emoji-world clean
.DELETE_ON_ERROR:

quickstart: $(STAMP)  ## the shipped model, vanilla against guided, and a report
	$(BIN)/selfdebias
	@echo "selfdebias is in the environment: . $(BIN)/activate"

install: $(STAMP)  ## the environment alone, with all extras that the tests need

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

docs: $(STAMP)  ## the documentation, in site/; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build
	@echo "open site/index.html, or with search: $(BIN)/python -m http.server -b 127.0.0.1 -d site"

test: $(STAMP)  ## the fast tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --durations=10 $(WORKERS) $(PYTEST_ARGS)

test-lowest:  ## the fast tests on the lowest versions that pyproject.toml allows; on Python 3.11, not all have wheels for others
	$(MAKE) test VENV=.venv-lowest CONSTRAINTS=$(LOWEST)

check: $(STAMP)  ## linter, formatter, types, layers of imports, fast tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q $(WORKERS) $(PYTEST_ARGS)

constraints:  ## constraints.txt anew: the newest versions that pyproject.toml allows; run the tests with them then
	rm -rf $(NEWEST)
	$(MAKE) $(NEWEST)/.installed VENV=$(NEWEST) CONSTRAINTS=
	$(NEWEST)/bin/python -m pip install -q -U setuptools  # which newer Pythons come without, and torch then asks for
	$(NEWEST)/bin/python -m pip freeze --all --exclude-editable > $(NEWEST)/frozen.txt
	$(PYTHON) tests/pins.py < $(NEWEST)/frozen.txt > $(NEWEST)/constraints.txt
	cp $(NEWEST)/constraints.txt constraints.txt

emoji-world: $(STAMP)  ## trains the shipped models again, from the drawings on; hours on 2 cores, resumes where it stopped
	set -e; for step in $(RECIPE); do echo "== $$step"; $(BIN)/python -m experiments.emoji_world.$$step; done

clean:  ## removes the environments and what tools left; runs/ stays
	rm -rf $(VENV) .venv-* dist site .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(LOWEST): pyproject.toml tests/lowest.py
	mkdir -p $(@D)
	$(PYTHON) tests/lowest.py > $@

$(STAMP): pyproject.toml $(CONSTRAINTS)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV): about 7 GB, about four minutes, quietly"
	$(BIN)/python -m pip install -q $(PIP_ARGS) $(if $(CONSTRAINTS),-c $(CONSTRAINTS)) -e '.[dev]'
	touch $(STAMP)
