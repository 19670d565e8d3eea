# Two commands matter: `make demo` and `make test`. Each target is one line over a script in scripts/.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo tour test prove bench

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what building and testing need
	@scripts/setup.sh all

demo: ## build Heddle and a bank that runs on it, and open the bank (ARGS=--once: one bounded round, audited)
	@scripts/demo.sh $(ARGS)

tour: ## the mesh alone on two small services: split, slow replica, dead replica (ARGS=--once: one round)
	@scripts/tour.sh $(ARGS)

test: ## everything that CI runs (STEPS="fmt unit" for some of it)
	@scripts/test.sh $(STEPS)

prove: ## the same suites at full size
	@scripts/prove.sh $(STEPS)

bench: ## compare Heddle with other proxies on this machine
	@scripts/bench.sh $(ARGS)
