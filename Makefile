# PYTHON: any Python of at least 3.11. PIP_ARGS: for instance --extra-index-url https://download.pytorch.org/whl/cpu
PYTHON ?= python3
PIP_ARGS ?=
PYTEST_ARGS ?=
# The tests of a file stay together; a process for each core, at most four, each with one thread.
WORKERS := -n auto --maxprocesses 4 --dist loadfile
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RECIPE := fetch train_vae train_judge judge_error train_clip train_diffusion train_ddpm measure measure_ddpm

.PHONY: quickstart test check emoji-world clean

quickstart: $(STAMP)  ## the shipped model, vanilla against guided, and a report
	$(BIN)/selfdebias

test: $(STAMP)  ## the fast tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --durations=10 $(WORKERS) $(PYTEST_ARGS)

check: $(STAMP)  ## linter, formatter, types, fast tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q $(WORKERS) $(PYTEST_ARGS)

emoji-world: $(STAMP)  ## trains the shipped models again, from the drawings on; hours on 2 cores, resumes where it stopped
	set -e; for step in $(RECIPE); do echo "== $$step"; $(BIN)/python -m experiments.emoji_world.$$step; done

clean:  ## removes the environment and what tools left; runs/ stays
	rm -rf $(VENV) dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q $(PIP_ARGS) -e '.[dev]'
	touch $(STAMP)
