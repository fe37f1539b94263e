# The commands of this project. `make help` lists them; each installs what it needs, can be repeated, and says what it does.
SHELL := /bin/bash
.DEFAULT_GOAL := help
REGIONS ?= euw
PYTHON := .venv/bin/python
PLAYBOOK := .venv/bin/ansible-playbook
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# The files that the linters of YAML and roles look at; services/ is Python and has its own tests.
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg

.PHONY: help bootstrap platform test lint unit scenarios scenario e2e bench diagram check-inventory lock destroy

help: ## list the commands
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

bootstrap: ## install what this machine needs (apt, .venv, collections); nothing to do takes a second
	@tools/bootstrap.sh

platform: bootstrap ## the whole platform from nothing: hosts, converge, health, real events  [REGIONS="euw"]
	@$(PYTHON) -m tools.platform up --regions "$(REGIONS)"

test: bootstrap ## what CI runs: lint, unit tests, every scenario, end to end
	@$(PYTHON) -m tools.check all

lint: bootstrap ## ansible-lint (production profile), yamllint, ruff, mypy
	@$(PYTHON) -m tools.check lint

unit: bootstrap ## unit tests of plugins, tools and services, and the conventions
	@$(PYTHON) -m tools.check unit

scenarios: bootstrap ## every molecule scenario, two side by side
	@$(PYTHON) -m tools.scenarios

scenario: bootstrap ## one molecule scenario  NAME=kafka
	@$(PYTHON) -m tools.scenarios $(NAME)

e2e: bootstrap ## the end-to-end test on a one-region fleet of its own
	@$(PYTHON) -m tools.check e2e

bench: bootstrap ## measure; writes bench/results/*.json
	@$(PYTHON) -m bench

diagram: bootstrap ## draw docs/platform.svg from the inventory and the connection table
	@$(PYTHON) -m tools.diagram

check-inventory: bootstrap ## the rules of both inventories, without touching a host
	@$(PYTHON) -m tools.check inventories

lock: bootstrap ## renew the lock files (hashes, no addresses)
	@for file in requirements/*.in; do \
	  .venv/bin/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
	    --output-file $${file%.in}.txt $$file || exit; done
	@$(PYTHON) -m tools.release lock

destroy: ## remove the fleets, their networks and what they raised; caches and image stay
	@test ! -x $(PYTHON) || $(PYTHON) -m tools.fleet down
	@test ! -x $(PYTHON) || OPTIMIZE_FLEET=test $(PYTHON) -m tools.fleet down
