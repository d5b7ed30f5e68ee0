# Everything below works on a fresh clone: each target makes what it needs.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv/.ready
RUN := PYTHONPATH=operator:e2e .venv/bin/python
# Tests side by side, for instance WORKERS=4: those on a real API server wait more than they compute.
WORKERS ?= 0
export CLUSTER ENGINE

.PHONY: help venv demo demo-clean test e2e lint generate bench cluster cluster-clean lock

help: ## this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(VENV) ## .venv with everything for development

$(VENV): requirements/dev.txt pyproject.toml
	@echo "==> make .venv (Python packages, about 1.3 GiB; about 90 s)"
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else f"Python 3.11 to 3.13 is needed, this is {v[0]}.{v[1]}: make PYTHON=python3.12 ...")'
	@$(PYTHON) -m venv .venv
	@.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/dev.txt
	@.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(VENV) ## a cluster, the operator, a service, traffic: see the ratio follow (CLUSTER=kind|node|lab ENGINE=vllm|sim)
	@$(RUN) -m demo up

demo-clean: $(VENV) ## remove every trace of the demo, the cache left out
	@$(RUN) -m demo down

test: $(VENV) ## all tests that need no vLLM, those on a real API server and on the lab included
	@CLUSTER=lab ENGINE=sim $(RUN) -m pytest --numprocesses=$(WORKERS) --dist=loadgroup tests e2e/scenarios

e2e: $(VENV) ## the scenarios on the best cluster of this machine, with real vLLM where it can run
	@$(RUN) -m pytest e2e/scenarios -v

lint: $(VENV) ## style, types, layers, generated files
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy && .venv/bin/lint-imports && .venv/bin/python tools/generate.py --check

generate: $(VENV) ## the CRD, from the API models
	@.venv/bin/python tools/generate.py

lock: $(VENV) ## requirements with hashes, from pyproject.toml
	@.venv/bin/python tools/lock.py

bench: $(VENV) ## benchmarks, one JSON object each; not the matrices of policies and modes, which take hours
	@for bench in $(filter-out benchmarks/policies.py benchmarks/modes.py,$(wildcard benchmarks/*.py)); do $(RUN) $$bench --json || exit 1; done

cluster: $(VENV) ## a cluster alone (CLUSTER=kind|node|lab)
	@$(RUN) -m cluster up --kind $${CLUSTER:-auto}

cluster-clean: $(VENV) ## remove every cluster of ours
	@$(RUN) -m cluster down
