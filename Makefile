# The two commands are `make demo` and `make test`; each sets up all that it needs inside this clone.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup demo demo-retrain test test-fast test-arm lint bench wheel clean
BIN := .venv/bin
# Without cached bytecode every process of the fleet would compile its imports again: slow, and 8 MB more of an agent.
unexport PYTHONDONTWRITEBYTECODE

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

setup: ## the virtual environment .venv alone
	@scripts/setup

demo: setup ## the whole loop on this machine, about three minutes; KEEP=1 leaves it running
	@if found=$$(scripts/mosquitto); then export EDGELOOP_MOSQUITTO="$$found"; \
	else echo "going on with the built-in broker for trying out"; fi; \
	$(BIN)/edgeloop demo $(if $(filter-out 0,$(KEEP)),--keep)

demo-retrain: setup ## drift, a proposal, a retraining that must win, a canary: unattended; DATA=folder of Occupancy
	@if found=$$(scripts/mosquitto); then export EDGELOOP_MOSQUITTO="$$found"; \
	else echo "going on with the built-in broker for trying out"; fi; \
	$(BIN)/edgeloop demo --retraining $(if $(DATA),--data "$(DATA)") $(if $(filter-out 0,$(KEEP)),--keep)

test: setup ## every test: lint, types, import rules, units, and the system with real processes
	@EDGELOOP_MOSQUITTO="$$(scripts/mosquitto)" && { EDGELOOP_BWRAP="$$(scripts/bubblewrap)" || true; } && \
	export EDGELOOP_MOSQUITTO EDGELOOP_BWRAP && \
	$(BIN)/pytest -n 2 --dist worksteal -m "not system" $(ARGS); first=$$?; \
	$(BIN)/pytest -m system $(ARGS); second=$$?; [ $$first -eq 0 ] && [ $$second -eq 0 ]

test-fast: setup ## the tests that start no processes, fit no hundreds of estimators and besiege nothing
	@EDGELOOP_TESTS=fast $(BIN)/pytest -n 2 -m "not system and not compiler and not siege" $(ARGS)

test-arm: setup ## what is built, proven on emulated boards (aarch64 and 32-bit) with the wheels of real ones
	@scripts/arm aarch64 >/dev/null && scripts/arm armv7l >/dev/null && $(BIN)/pytest -n 2 -m arm tests/arm $(ARGS)

lint: setup ## ruff, mypy and the import rules alone
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

bench: setup ## measure footprint, latency and the compiler here, and print them
	@EDGELOOP_MOSQUITTO="$$(scripts/mosquitto)" && export EDGELOOP_MOSQUITTO && \
	for script in benchmarks/agent/*.py benchmarks/broker/*.py benchmarks/compile; do echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

wheel: ## dist/edgeloop-*.whl, to install on a board
	@uv="$$(scripts/setup --uv)" && "$$uv" build --quiet --wheel --out-dir dist . && ls dist/*.whl

clean: ## remove everything that these commands made in this clone
	rm -rf .venv .cache .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
