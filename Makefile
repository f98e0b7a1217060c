# The two commands of a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
DEMO := runs/demo
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: help setup demo test test-setup lint types docs check clean

help:  ## Show what there is to make.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: .venv/setup.done  ## Build .venv with what the demo needs.

.venv/setup.done: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
		|| { echo "palate needs Python 3.11 to 3.13; name one with PYTHON=python3.12"; exit 2; }
	@echo "Installing palate into .venv (about a minute)"
	@$(PYTHON) -m venv .venv
	@$(INSTALL) --editable '.[minilm]'
	@touch $@

test-setup: .venv/test.done

.venv/test.done: .venv/setup.done
	@echo "Installing what the tests need"
	@command -v initdb > /dev/null || ls /usr/lib/postgresql/*/bin/initdb > /dev/null 2>&1 \
		|| { echo "Installing PostgreSQL"; S=$$([ $$(id -u) = 0 ] || echo sudo); $$S apt-get update -q \
		&& $$S apt-get install --yes --no-install-recommends -q postgresql; } > /dev/null
	@$(INSTALL) --editable '.[minilm,test]'
	@touch $@

demo: setup  ## Train on the Attributes world, adapt to a new user, rank for her.
	@rm -rf $(DEMO)
	@echo; echo "1. Comparisons of users whose tastes are known, and a new user, Alice:"
	$(BIN)/palate data attributes $(DEMO)/world
	@echo; echo "2. Train on the other users:"
	$(BIN)/palate train $(DEMO)/world/comparisons.parquet --method vrf --backbone minilm --out $(DEMO)/model
	@echo; echo "3. How well it does, on users and texts it has never met:"
	$(BIN)/palate evaluate $(DEMO)/model
	@echo; echo "4. Ten answers of Alice:"
	$(BIN)/palate adapt $(DEMO)/model $(DEMO)/world/alice.jsonl --out $(DEMO)/alice.json
	@echo; echo "5. New candidates in the order of her expected reward:"
	$(BIN)/palate rank $(DEMO)/model --user $(DEMO)/alice.json \
		--prompt "$$(cat $(DEMO)/world/prompt.txt)" $(DEMO)/world/candidates.json
	@$(BIN)/python -c 'import json; truth = json.load(open("$(DEMO)/world/truth.json")); \
		print("True rewards, which no command reads:", \
		{i: c["reward"] for i, c in enumerate(truth["candidates"])})'

test: test-setup  ## Run the whole test suite.
	$(BIN)/python -m pytest

lint: test-setup  ## Style of the code.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: test-setup  ## Types of the code.
	$(BIN)/mypy

docs: test-setup  ## Every Python example and every command of the documentation.
	$(BIN)/python -m pytest tests/docs -q

check: lint types test  ## What CI runs.

clean:  ## Remove what was built, and the demo's runs.
	rm -rf .venv runs dist build
