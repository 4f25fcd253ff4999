# radloop: `make demo` shows the whole loop, `make test` proves it. Every target sets up what it needs.

SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
STATIC := radloop/viewer/static/index.html
WEB_SOURCES := $(shell find viewer -type f -not -path '*/node_modules/*' -not -path '*/dist/*' 2>/dev/null)
DATA := $(abspath ../shared/data)

export RADLOOP_TEST_DATA ?= $(DATA)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup demo serve test check format bench bench-gate bench-orthanc bench-viewer check-infra containers browser ohif peers lab clean

help:  ## What there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/.ready $(STATIC)  ## The .venv and the web page

.venv/.ready: pyproject.toml constraints.txt tools/setup.sh
	bash tools/setup.sh "$(PYTHON)"
	touch $@

$(STATIC): .venv/.ready $(WEB_SOURCES)
	bash tools/web.sh
	touch $@

demo: setup  ## Walk the whole loop; DEMO_ARGS passes options on
	$(BIN)/radloop demo $(DEMO_ARGS)

serve: setup  ## Doors, viewer and worker of ./radloop-home
	$(BIN)/radloop up --open --no-tls $(SERVE_ARGS)

ohif: setup  ## The OHIF viewer on a running radloop; OHIF_ARGS="URL PORT"
	bash tools/ohif.sh $(OHIF_ARGS)

browser:
	@bash tools/browser.sh

peers:
	@bash tools/peers.sh

test: setup browser peers  ## All tests; TEST_ARGS passes options on
	bash tools/test.sh $(TEST_ARGS)

check: setup  ## Format, lint, types, import rules, unused code and dependencies
	@$(BIN)/mypy & types=$$!; ( set -ex; \
	$(BIN)/ruff format --check .; \
	$(BIN)/ruff check .; \
	$(BIN)/lint-imports; \
	$(BIN)/vulture radloop --min-confidence 80; \
	$(BIN)/deptry radloop; \
	bash tools/web.sh check \
	); rest=$$?; wait $$types && exit $$rest

check-infra: setup  ## infra/ without touching AWS: format, validity, tests with mocks, policies, misconfiguration; INFRA_ARGS passes options on
	$(BIN)/python tools/check_infra.py --setup $(INFRA_ARGS)

lab: setup  ## The development stack on emulators of AWS, from apply to a model at the registry; LAB_ARGS passes options on
	$(BIN)/python tools/lab.py $(LAB_ARGS)

containers: setup  ## The containers of SageMaker: build, walk the pipeline's steps in them, ask the endpoint; needs docker or podman; CONTAINERS_ARGS passes options on
	$(BIN)/python tools/containers.py $(CONTAINERS_ARGS)

format:  ## Put every file into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only -q .

bench: setup  ## Benchmarks: a table here, JSON in bench/results
	$(BIN)/python bench/store.py
	$(BIN)/python bench/frames.py
	$(BIN)/python bench/index.py
	$(BIN)/python bench/isolated.py

bench-gate: setup  ## 29 bad candidates that gate or release must refuse, 14 good ones; ONLY="shortcut good" WORK=DIR
	$(BIN)/python bench/gate.py $(if $(ONLY),--only $(ONLY)) $(if $(WORK),--work $(WORK))

bench-orthanc: setup  ## Beside Orthanc and nginx, where they are installed; PARTS="frames stow" runs some parts only
	$(BIN)/python bench/orthanc.py $(PARTS)

bench-viewer: setup browser  ## The viewer on a phone's link, beside Cornerstone3D and OHIF; PARTS="ours", RUNS=1
	$(BIN)/python bench/viewer.py $(PARTS)

clean:  ## Forget everything that was made
	rm -rf .venv radloop/viewer/static viewer/node_modules bench/results bench/viewer-peers/*/node_modules bench/viewer-peers/*/dist
