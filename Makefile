# SPDX-License-Identifier: Apache-2.0
# `make help` lists the targets. Everything they make is in .venv, .lab, .bench, .build and dist.

.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON := .venv/bin/python
SERVICE_TESTS := $(PYTHON) -m pytest
say = @printf '==> %s\n'

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-22s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# -- environments ----------------------------------------------------------------------------

.PHONY: venv lab-venv bench-venv
venv: ## Make .venv: this project, its tools, and the Debian packages they need
	@tools/bootstrap.sh venv

lab-venv: ## Make .lab/venv: Keystone, Heat, Placement, Glance, Nova, and their packages
	@tools/bootstrap.sh lab-venv

bench-venv: ## Make .bench: what the benchmarks compare with, Aodh, Gnocchi, Prometheus
	@tools/bootstrap.sh bench-venv

# -- the lab ---------------------------------------------------------------------------------

.PHONY: lab-up lab-down lab-status
lab-up: lab-venv ## Start a real cloud on this machine (see docs/lab.md)
	$(say) "starting the lab; its logs are in .lab/run/log"
	@$(PYTHON) -m tests.lab up

lab-down: venv ## End it: all processes and guests
	@$(PYTHON) -m tests.lab down

lab-status: venv ## What of it runs, and how much memory it takes
	@$(PYTHON) -m tests.lab status

# -- the demonstration -------------------------------------------------------------------------

.PHONY: demo demo-down
demo: lab-venv ## Show the loop: a loaded stack grows, an idle one shrinks
	@$(PYTHON) -m demo up

demo-down: venv ## Stop and remove what the demonstration left running
	@$(PYTHON) -m demo down

# -- tests: the fastest first ------------------------------------------------------------------

# What waits much runs beside something else: then all of it takes 20 minutes on two cores, not 28.
.PHONY: test lint types test-unit test-services test-contract test-crash test-heat test-lab
test: ## Run every test
	@$(MAKE) --no-print-directory lint types
	@$(MAKE) --no-print-directory -j2 test-unit lab-venv
	@$(MAKE) --no-print-directory test-heat
	@$(MAKE) --no-print-directory -j2 test-services test-collection
	$(say) "all tests passed"

lint: venv ## Check style and form: ruff
	$(say) "style: ruff check, ruff format --check"
	@.venv/bin/ruff check --quiet .
	@.venv/bin/ruff format --check --quiet . || \
	    { .venv/bin/ruff format --check .; exit 1; }

types: venv ## Check types: mypy --strict
	$(say) "types: mypy --strict"
	@.venv/bin/mypy

test-unit: venv ## Run the unit tests of the services
	$(say) "unit tests of the services"
	@$(SERVICE_TESTS) -n auto --dist worksteal tests/service/unit \
	    --ignore tests/service/unit/heat_plugins

# `loadfile`: tests that would get in each other's way run in turn (tests/service/conftest.py).
test-services: lab-venv ## Run the contract, crash and lab tests side by side
	$(say) "contract tests; kill -9 and faults; a real cloud, its logs are in .lab/run/log"
	@$(SERVICE_TESTS) -n 3 --dist loadfile $(addprefix tests/service/,contract broker crash lab)

test-contract: venv ## Run the contract tests: stores, transports, the broker, the API from outside
	$(say) "contract tests of the services"
	@$(SERVICE_TESTS) tests/service/contract tests/service/broker -m "not lab"

test-crash: venv ## Kill the server 220 times, the notifier 100 times; break its targets and its database
	$(say) "kill -9 at random instants, beside a run that nobody disturbs; faults (about 3 minutes)"
	@$(SERVICE_TESTS) tests/service/crash

test-heat: lab-venv ## Run the tests of the Heat resource types in Heat's own environment
	$(say) "tests of the Heat resource types"
	@.lab/venv/bin/python -m pytest tests/service/unit/heat_plugins

test-lab: lab-venv ## Run what needs the real cloud, starting it unless it runs
	$(say) "tests on a real cloud; the lab's logs are in .lab/run/log"
	@$(SERVICE_TESTS) -n 2 --dist loadfile -m lab $(addprefix tests/service/,contract broker lab)

# -- documentation -----------------------------------------------------------------------------

.PHONY: api-ref
api-ref: venv ## Write docs/api-ref from the code, as the API describes itself
	@$(PYTHON) tools/api_ref.py

# -- benchmarks --------------------------------------------------------------------------------

.PHONY: bench
bench: bench-venv lab-venv ## Measure: one line of JSON per figure (see docs/benchmarks.md)
	@$(PYTHON) -m bench

# -- packages and collection: dist, collection, test-collection ... ------------------------------

include tools/collection.mk

# ----------------------------------------------------------------------------------------------

.PHONY: clean
clean: ## Remove what was built; environments and lab stay (.venv, .lab, .bench)
	$(say) "removing .build, dist, caches"
	@rm -rf .build dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis tests/output
	@find . -name __pycache__ -not -path './.venv/*' -not -path './.lab/*' -not -path './.bench/*' -prune -exec rm -rf {} +
