# What a contributor types. `make demo` and `make test` need Python 3.11+ and nothing else set up beforehand.
#     make demo                          the main job on real photos, on this machine
#     make demo DATA=path/to/photos      the same on your class folders or zip
#     TORCH_INDEX=<url>                  take torch from that package index (a CPU build is a tenth of the size)

PYTHON ?= python3
DATA ?=
TORCH_INDEX ?=
BIN := .venv/bin
INSTALL := $(BIN)/pip install --disable-pip-version-check -qq
export TORCH_INDEX
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help demo test-unit test test-all check synth audit bench down

help:
	@echo "make demo    the main job, end to end, on this machine (DATA=folder-or-zip for your own photos)"
	@echo "make down    stop what the demo started"
	@echo "make test-unit  the unit tests: no process, no socket, a minute"
	@echo "make test    all tests that need nothing large: unit, functional, end to end"
	@echo "make test-all   the same and what takes long or large installs"
	@echo "make check   lint, format, types"
	@echo "make synth   the CloudFormation template, in cdk.out"
	@echo "make audit   checkov's opinion of the template, without and with a key of the account (its own environment, in .local)"
	@echo "make bench   the measurements, into benchmarks/results"

demo: .venv/installed node_modules/installed
	@$(BIN)/python -m cli.demo.main $(if $(DATA),--data "$(DATA)")

down: .venv/installed
	@$(BIN)/whippet down --local

# Tests wait for processes more than they compute: one process more than there are cores.
PYTEST := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/pytest --numprocesses 3 --dist loadscope --no-loadscope-reorder --durations 25
test-unit: .venv/developing
	$(PYTEST) tests/unit

test: .venv/developing node_modules/installed
	$(PYTEST) -m "not long"

test-all: .venv/developing node_modules/installed
	$(PYTEST)

check: .venv/developing
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

synth: .venv/installed node_modules/installed
	node_modules/.bin/cdk synth --quiet

# Checkov pins another boto3 than the product, so it has an environment of its own. What it must not fail on is said in the template.
CHECKOV := .local/checkov
audit: .venv/installed node_modules/installed $(CHECKOV)/installed
	node_modules/.bin/cdk synth --quiet --output .local/audit/default
	node_modules/.bin/cdk synth --quiet --output .local/audit/kms --context encryption=kms
	$(CHECKOV)/bin/checkov --config-file .checkov.yaml -f .local/audit/default/whippet.template.json
	$(CHECKOV)/bin/checkov --config-file .checkov.yaml -f .local/audit/kms/whippet.template.json

$(CHECKOV)/installed: | .venv/bin/python
	$(BIN)/python -m venv $(CHECKOV)
	$(CHECKOV)/bin/pip install --disable-pip-version-check -qq checkov==3.3.30
	@touch $@

bench: .venv/developing node_modules/installed
	$(BIN)/python -m benchmarks.accuracy
	$(BIN)/python -m benchmarks.fresh_clone

.venv/bin/python:
	@command -v $(PYTHON) > /dev/null || { echo "Python is not installed. Install Python 3.11 or later, or name it: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or later is needed; $(PYTHON) is $$($(PYTHON) -V 2>&1). Name another one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "Python's venv module is missing. Debian, Ubuntu: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv .venv

# The lock is complete but for NVIDIA's packages: the third step brings those along where torch is a build for CUDA.
# smdebug is installed again before it is repaired, since the repairs may have changed.
.venv/installed: requirements.txt lock.txt pyproject.toml stacks/smdebug_repairs.py | .venv/bin/python
	@echo "Installing Python packages into .venv (minutes the first time)"
	$(if $(TORCH_INDEX),$(INSTALL) --no-deps --index-url $(TORCH_INDEX) -c lock.txt torch torchvision)
	$(INSTALL) --no-deps -r lock.txt
	$(INSTALL) -c lock.txt torch torchvision
	$(INSTALL) --no-deps --force-reinstall -c lock.txt smdebug
	$(BIN)/python -m stacks.smdebug_repairs
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/developing: .venv/installed requirements-dev.txt lock-dev.txt
	$(INSTALL) --no-deps -r lock-dev.txt
	@touch $@

node_modules/installed: package.json package-lock.json | .venv/installed
	$(BIN)/npm ci --no-audit --no-fund --loglevel=error
	@touch $@
