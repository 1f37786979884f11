PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed

.PHONY: run test lab doctor store bench clean

run: $(STAMP)
	$(BIN)/python -m sslnb.doctor --quiet
	$(BIN)/python -m sslnb.run --out runs

test: $(STAMP)
	$(BIN)/python -m pytest -m "not slow"
	$(BIN)/python -m pytest -m slow
	$(BIN)/python -m pytest --nbval --nbval-cell-timeout 300 -p no:cacheprovider notebooks

lab: $(STAMP)
	$(BIN)/jupyter lab notebooks

doctor: $(STAMP)
	$(BIN)/python -m sslnb.doctor

# Execute the notebooks in place, as they are committed
store: $(STAMP)
	$(BIN)/python -m sslnb.run --store

bench: $(STAMP)
	$(BIN)/python -m benchmarks.scenes

# Everything that is installed, once, and again only when these files change
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than 3.11; try make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv .venv || \
	  { echo "error: no venv; on Debian and Ubuntu: sudo apt install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@

clean:
	rm -rf .venv runs
