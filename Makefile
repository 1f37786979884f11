# make run      set everything up, and run all notebooks into runs/
# make test     every check
# make check    what a commit must pass: ruff, mypy, import-linter, the notebooks' linter; under a minute
# make lab      JupyterLab on the notebooks
# make demo     the widgets of the notebooks as pages, without Jupyter
# make book     the series as a site: runs/book/html/index.html, half a minute
# make doctor   what this machine has, and what to do about what is missing
# make experiments  the runs of notebook 08 that are not done yet; all of them: two hours
# make bench    every benchmark: about 35 minutes
# make install  only set up; `make run`, `test` and `lab` do it themselves
# make lock     pin anew what is installed; make audit: its known vulnerabilities
# make newest   the fast tests with the newest versions of everything: a report
#
# PyTorch with CUDA, or not: make install TORCH=cuda, or TORCH=cpu; else what fits
# Another Python:         make PYTHON=python3.13 install
# Parameters, notebooks:  make run ARGS="05 -p epochs 3"
# JupyterLab elsewhere:   make lab ARGS="--no-browser --port 8890"
# Every command:          .venv/bin/sslnb --help

TORCH ?= auto
ARGS ?=
# python3 where it is new enough, else one that is
NEW_ENOUGH = -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
    $$p $(NEW_ENOUGH) && echo $$p && exit; done; echo python3)
BIN := .venv/bin
STAMP := .venv/installed
SSLNB = $(BIN)/python -m sslnb
PYTEST = $(BIN)/python -m pytest

# What a user's shell holds must not decide what runs here
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONWARNINGS MPLBACKEND JUPYTER_PATH
unexport PYTEST_ADDOPTS
export PYTHONNOUSERSITE := 1
export JUPYTER_PREFER_ENV_PATH := 1

.DEFAULT_GOAL := run
.DELETE_ON_ERROR:
.PHONY: run test check lab demo book doctor install store bench experiments lock audit newest clean

run: $(STAMP)
	@$(SSLNB) doctor --quiet
	@echo "Running the notebooks into runs/: 10 to 15 minutes on two CPU cores."
	@$(SSLNB) run $(ARGS)

check: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(SSLNB) lint

test: check
	@echo "Running every check: 30 to 45 minutes on two CPU cores."
	$(PYTEST) -m "not slow" tests
	$(PYTEST) -m slow -v -o console_output_style=times tests
	$(PYTEST) --nbval --nbval-cell-timeout 1200 --durations 10 notebooks

lab: $(STAMP)
	@$(SSLNB) lab $(ARGS)

demo: $(STAMP)
	@$(SSLNB) demo $(ARGS)

# The site of the series, from the stored outputs
book: $(STAMP)
	@$(BIN)/python book/build.py $(ARGS)

# Tells what is missing, so it must not need an install
doctor:
	@$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) sslnb/series/doctor.py

# Execute the notebooks in place, as they are committed
store: $(STAMP)
	@$(SSLNB) run --store $(ARGS)

# Every benchmark in turn, into benchmarks/ledger.jsonl, and the README's table
bench: $(STAMP)
	@$(SSLNB) bench $(ARGS)

# The runs of data/experiments/grid.toml that are not done yet
experiments: $(STAMP)
	@$(SSLNB) experiments $(ARGS)

lock:
	$(PYTHON) .ci/lock.py

audit:
	$(PYTHON) .ci/audit.py

newest:
	$(PYTHON) .ci/newest.py

install: $(STAMP)

# Everything that is installed: once, and again only when these files change
$(STAMP): pyproject.toml $(wildcard lock/*.txt)
	@command -v $(PYTHON) >/dev/null || \
	  { echo "error: no $(PYTHON); on Debian and Ubuntu: sudo apt install python3-venv"; exit 1; }
	@$(PYTHON) .ci/install.py --torch $(TORCH)
	@touch $@

clean:
	rm -rf .venv runs
