# First-to-Claim: every chore of the repository. `make` lists them.
#
# Needs Python 3.11 or later with pip, nothing else: linters, buf and the Protobuf compiler come as Python
# packages, pinned in constraints.txt. PYTHON chooses the interpreter, VENV the place of the environment.

PYTHON ?= python3
VENV ?= .venv

BIN := $(VENV)/bin
PROTOS := $(shell find proto -name '*.proto')
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

##@ Use

.PHONY: demo
demo: $(READY) ## Claim three simulated devices through real sockets and the real API
	$(BIN)/ftc demo

.PHONY: setup
setup: $(READY) ## Make the environment and generate the API code, no more

# The pinned packages first, then this one without an index: a requirement that has no pin fails here.
$(READY): pyproject.toml constraints.txt setup.py tools/protos.py $(PROTOS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is $$($(PYTHON) -V 2>&1); Python 3.11 or later is needed: make PYTHON=python3.12 …" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ echo "cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PIP) install --requirement constraints.txt
	$(PIP) install --no-index --no-build-isolation --editable '.[dev]'
	@touch $@

##@ Test

.PHONY: test
test: $(READY) ## Run the default suite on all cores (ARGS="-k name" narrows it)
	$(BIN)/python -m pytest -n auto $(ARGS)

.PHONY: proof
proof: $(READY) ## Judge what concurrent clients of a real instance see of ownership (SECONDS=120 SEED=7)
	$(BIN)/python -m tests.proof --seconds $(or $(SECONDS),120) $(if $(SEED),--seed $(SEED))

.PHONY: soak
soak: $(READY) ## The same for eight hours, or as long as you like (SECONDS=600 SEED=7)
	$(BIN)/python -m tests.proof --seconds $(or $(SECONDS),28800) $(if $(SEED),--seed $(SEED))

.PHONY: interop
interop: $(READY) ## Run clients that we did not write against a real server
	@VENV=$(VENV) tests/interop/install-peers
	$(BIN)/python -m pytest tests/interop $(ARGS)

.PHONY: check
check: $(READY) ## Check format, lint, types, protos, pages made from code, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m tools.protos lint
	$(BIN)/python -m tools.protos breaking
	$(BIN)/python -m tools.errors --check
	$(BIN)/lint-imports --no-logo

.PHONY: bench
bench: $(READY) ## Measure onboardings and API calls against what no server can do without (minutes)
	$(BIN)/python -m benchmarks.run

.PHONY: bench-smoke
bench-smoke: $(READY) ## Run every benchmark once, briefly, to see that it works
	$(BIN)/python -m benchmarks.run --smoke

.PHONY: storm
storm: $(READY) ## Power a fleet of 2,000 on at once, and report how it went (ARGS="--devices 20000")
	$(PIP) install --requirement benchmarks/requirements.txt
	$(BIN)/ftc storm $(ARGS)

.PHONY: storm-smoke
storm-smoke: $(READY) ## The same in bad weather, small: a fifth of all datagrams lost each way, a worker killed
	$(BIN)/ftc storm --devices 500 --loss 20 --duplicates 5 --reordering 5 --deaths 2 \
		--workers 2 --kill-at 25 --patience 40 --backoff 1 --limit 540

.PHONY: storm-picture
storm-picture: $(READY) ## Draw the README's picture: a fleet powers on at once
	$(PIP) install --requirement benchmarks/requirements.txt
	$(BIN)/ftc storm --calm --devices 1000 --curve even --rate 500 --picture docs/images/power-on.svg

.PHONY: peers
peers: $(READY) ## Measure beside other servers: libcoap and, with Java at hand, Leshan
	@benchmarks/peers/install
	$(BIN)/python -m benchmarks.peers.run $(ARGS)

##@ Change

.PHONY: fmt
fmt: $(READY) ## Format, and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/buf format proto --write

.PHONY: proto
proto: $(READY) ## Generate the API code again
	$(BIN)/python -m tools.protos generate

.PHONY: publish-proto
publish-proto: $(READY) ## With a release: promise the API as it is now to its callers
	$(BIN)/python -m tools.protos publish

.PHONY: docs
docs: $(READY) ## Write the pages that are made from code: docs/errors.md
	$(BIN)/python -m tools.errors

.PHONY: constraints
constraints: ## Pin the newest versions that pyproject.toml allows
	tools/pin-constraints $(PYTHON)

.PHONY: clean
clean: ## Remove the environment and everything generated
	rm -rf $(VENV) build dist *.egg-info ftc_grpc/_gen \
		.hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

##@ Help

.PHONY: help
help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
