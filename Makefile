# Each target sets up what it needs; Python 3.11 or later and make are all that must be there.
#   make            what can be made
#   make PYTHON=/path/to/python3 test    to choose the Python that the environment is made from

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
SHELL := /bin/sh
PYTHON ?=
BIN := .venv/bin
READY := .venv/.ready
DEMO := data/demo/customers.parquet
EVIDENCE := $(patsubst notebooks/%,reports/evidence/%,$(wildcard notebooks/models/*.ipynb))
TESTS := $(BIN)/python -m pytest -q -n 2 --dist loadfile --nbmake --nbmake-timeout=300
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# the tests start Python hundreds of times: each would compile the package anew
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help reports test slow lint lab docs bench evidence strip lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

reports: $(READY) | $(DEMO) ## the demo portfolio's reports: the whole portfolio and its riskiest customers
	$(BIN)/healthseg report --portfolio data/demo --overview --riskiest 5 --out reports
	@echo "Open $(CURDIR)/reports/index.html"

test: lint | $(DEMO) ## lint, then the tests and doctests but the slow ones
	$(TESTS) -m 'not slow' tests healthseg

slow: $(READY) | $(DEMO) ## the tests that take long, and every notebook; CI runs them as well
	$(TESTS) -m slow

lint: $(READY) ## style, formatting and types, and notebooks without outputs
	$(BIN)/ruff check
	$(BIN)/ruff format --check healthseg tests benchmarks
	$(BIN)/mypy
	find notebooks -name '*.ipynb' -exec $(BIN)/nbstripout --keep-id --verify {} +

lab: $(READY) | $(DEMO) ## JupyterLab on the notebooks
	$(BIN)/jupyter lab notebooks

docs: $(READY) | $(DEMO) ## the documentation site, with the demo portfolio's pages as its gallery
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html
	$(BIN)/healthseg report --portfolio data/demo --overview --riskiest 1 --out docs/_build/html/gallery
	@echo "Open $(CURDIR)/docs/_build/html/index.html"

bench: $(READY) ## what is measured, each beside what one would use instead
	$(BIN)/python -m benchmarks

evidence: $(EVIDENCE) ## the long studies: figures into docs/evidence.md, notebooks of models into reports/evidence
	$(BIN)/python -m benchmarks --full --write docs/evidence.md

reports/evidence/%.ipynb: notebooks/%.ipynb $(READY) | $(DEMO)
	@mkdir -p $(@D)
	$(BIN)/papermill $< $@

strip: $(READY) ## remove the outputs from all notebooks
	find notebooks -name '*.ipynb' -exec $(BIN)/nbstripout --keep-id {} +

# The newest versions that pyproject.toml allows, found in an environment of its own.
lock: $(READY) ## renew requirements.lock
	rm -rf .venv/lock && $(BIN)/python -m venv .venv/lock
	.venv/lock/bin/python -m pip install -q '.[dask,docs,lab,mcp,mixpanel,mysql,s3,test]'
	{ echo '# Exact versions of all that healthseg with all extras needs; "make lock" renews them.'; \
	  .venv/lock/bin/python -m pip freeze --exclude healthseg; } > requirements.lock.new
	mv requirements.lock.new requirements.lock
	rm -rf .venv/lock

clean: ## remove what was generated (the environment .venv stays)
	rm -rf data/demo build dist docs/_build docs/_generated .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find reports -mindepth 1 ! -name README.md -delete

$(DEMO): | $(READY)
	$(BIN)/healthseg demo --out data/demo

# The newest Python that has what an environment needs; the names are tried in this order.
$(READY): requirements.lock pyproject.toml
	@if ! $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	  for name in $(PYTHON) python3.14 python3.13 python3.12 python3.11 python3 python none; do \
	    if $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	      new_enough="$$new_enough $$name"; \
	      if $$name -c 'import ensurepip, venv' 2>/dev/null; then break; fi; \
	    fi; \
	  done; \
	  if [ $$name = none ] && [ -z "$$new_enough" ]; then \
	    echo "healthseg needs Python 3.11 or later, and none was found; install one, or name it: make PYTHON=/path/to/python3" >&2; \
	    exit 1; \
	  elif [ $$name = none ]; then \
	    echo "Found$$new_enough, which cannot make environments; install its venv package (Debian: apt install python3-venv)" >&2; \
	    exit 1; \
	  fi; \
	  echo "Making .venv with $$($$name --version)"; \
	  $$name -m venv --clear .venv; \
	fi
	@echo "Installing requirements.lock into .venv"
	@$(BIN)/python -m pip install -q -r requirements.lock
	@$(BIN)/python -m pip install -q --no-deps -e .
	@touch $@
