# The two commands: `make run` and `make test`. The rest is for who works on llmchat.
# ENGINE=no leaves llama.cpp out: no compiler needed, remote servers only. ARGS=... goes to the command behind a target.
PYTHON ?= python3
VENV ?= .venv
ARGS ?=
ENGINE ?= yes
BIN = $(VENV)/bin
PIP = $(BIN)/pip --disable-pip-version-check
CONSTRAINTS = -c constraints.txt

.PHONY: run test lint format screenshots fuzz eval-demo bench-screen bench-faults bench-engine snapshots clean

run: $(VENV)/run  ## install into .venv (first time: builds llama.cpp) and open the chat
	@$(BIN)/llmchat $(ARGS)

test: $(VENV)/test  ## install what tests need and run them
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/lint  ## formatting, lints, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/lint
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

screenshots: $(VENV)/screenshots  ## draw screenshots/ from the running app
	$(BIN)/python -m tui.screenshots screenshots

snapshots: $(VENV)/test  ## accept the screen as it is now as the tests' reference
	$(BIN)/python -m pytest tests/tui --snapshot-update

fuzz: $(VENV)/fuzz  ## ask `llmchat serve` what its OpenAPI description allows, and what it does not
	$(BIN)/python -m tests.serve.fuzz $(ARGS)

eval-demo: $(VENV)/run  ## measure the demo model
	$(BIN)/python -m backends.demo.evaluate $(ARGS)

bench-screen: $(VENV)/test  ## race the chat against other terminal clients; ARGS=--help tells more
	$(BIN)/python -m tests.bench.screen $(ARGS)

bench-faults: $(VENV)/test  ## every fault of a server or a network, and what is shown of it
	$(BIN)/python -m tests.bench.faults $(ARGS)

bench-engine: $(VENV)/run  ## measure the engine beside llama-server, which is built first; ARGS=--help tells more
	$(BIN)/python -m tests.bench.engine.llama_server
	$(BIN)/llmchat bench engine $(ARGS)

$(VENV)/python:
	@$(PYTHON) -c 'import sys; sys.exit("llmchat needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/run: $(VENV)/python pyproject.toml constraints.txt
ifeq ($(ENGINE),no)
	@$(BIN)/python -c 'import tomllib; needs = tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]; print(*(need for need in needs if not need.startswith("llama")), sep="\n")' > $(VENV)/needs
	@$(PIP) install --quiet $(CONSTRAINTS) -r $(VENV)/needs
	@$(PIP) install --quiet --no-deps -e .
else
	@$(BIN)/python backends/engine/build.py $(CONSTRAINTS)
	@echo "Installing llmchat."
	@$(PIP) install --quiet $(CONSTRAINTS) -e .
endif
	@touch $@

$(VENV)/test: $(VENV)/run
	@$(PIP) install --quiet $(CONSTRAINTS) -e '.[test]'
	@touch $@

$(VENV)/lint: $(VENV)/run
	@$(PIP) install --quiet $(CONSTRAINTS) -e '.[test,lint]'
	@touch $@

$(VENV)/fuzz: $(VENV)/test
	@$(PIP) install --quiet $(CONSTRAINTS) -e '.[test,fuzz]'
	@touch $@

$(VENV)/screenshots: $(VENV)/run
	@$(PIP) install --quiet $(CONSTRAINTS) -e '.[screenshots]'
	@touch $@

clean:
	rm -rf $(VENV)
