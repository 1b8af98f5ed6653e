# From a bare checkout: `make demo`, `make test`. Everything is set up in .venv, once.
VENV := .venv
BIN := $(VENV)/bin
SUITABLE := import sys; sys.exit(sys.version_info < (3, 11))
CANDIDATES := python3 python3.14 python3.13 python3.12 python3.11 python
PYTHON ?= $(shell for p in $(CANDIDATES); do $$p -c '$(SUITABLE)' 2>/dev/null && echo $$p && break; done)
ARGS ?=
.PHONY: demo test dashboard check test-clients soak search bench bench-full bench-long bench-peers fmt clean
demo: $(VENV)/.installed-demo            # three nodes, two kills, every event accounted for
	@$(BIN)/trimaran demo $(ARGS)
test: $(VENV)/.installed-test            # static checks and the whole suite
	@$(BIN)/python -m pytest $(ARGS)
dashboard: $(VENV)/.installed-test       # build the page again, if its sources changed
	@$(BIN)/python dashboard/build.py
check: $(VENV)/.installed-test           # static checks and documents only
	@$(BIN)/python -m pytest -q tests/test_tidy.py tests/test_layers.py tests/test_docs.py $(ARGS)
test-clients: $(VENV)/.installed-test    # every client there is, frameworks, Kafka as an oracle
	@$(BIN)/python -m tests.clients $(ARGS)
soak: $(VENV)/.installed-test            # simulated seeds for an hour; goes on where it stopped
	@$(BIN)/python -m trimaran.sim.soak $(ARGS)
search: $(VENV)/.installed-test          # every interleaving of three cores, 5,000,000 states
	@$(BIN)/python -m trimaran.sim.search $(ARGS)
bench bench-full bench-long bench-peers: $(VENV)/.installed-demo  # docs/performance.md says what
	@$(BIN)/python -m bench $@ $(ARGS)
fmt: $(VENV)/.installed-test             # format, and fix what can be fixed by machine
	@$(BIN)/ruff format src tests dashboard bench *.py && $(BIN)/ruff check --fix src tests dashboard bench *.py && \
	 $(BIN)/python -m tests.test_docs && $(BIN)/python dashboard/api_types.py
clean:
	rm -rf $(VENV) build dist dashboard/node_modules .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

$(BIN)/python:
	@test -n "$(PYTHON)" && $(PYTHON) -c '$(SUITABLE)' || { echo "trimaran needs Python >= 3.11 and\
	 found none (tried: $(or $(PYTHON),$(CANDIDATES))); make PYTHON=/path/to/python3.12" >&2; exit 2; }
	@echo "virtualenv in $(VENV) with $(PYTHON)" && $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 2; }
$(VENV)/.installed-%: pyproject.toml constraints.txt $(wildcard src/trimaran/*/*.c) | $(BIN)/python
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt \
	 -e '.[$(if $(filter test,$*),demo$(comma)test,$*)]' && $(BIN)/python -m compileall -q src/trimaran
	@touch $@ $(if $(filter test,$*),$(VENV)/.installed-demo)
comma := ,
