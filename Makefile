# Every command of the project. Each sets up what it needs; where it cannot, it says what is missing.
PYTHON ?= python3
BIN = .venv/bin
# Modules are compiled once, not by each of the some hundred processes that the tests start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run demo demo-offline test test-rest test-long deployment-test deployment-smoke soak soak-stations check format servers docs lock bench clean

help:           ## show this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/' | expand -t 16

.venv/done: requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "Farmgate needs Python 3.11 to 3.13, and $(PYTHON) is another: make PYTHON=python3.12 …"; exit 1; }
	@$(PYTHON) -m venv .venv \
	  || { echo "Python's venv is missing: apt-get install python3-venv"; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@# setuptools warns of folders that are named like packages: they are the packages.
	PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --disable-pip-version-check --no-deps \
	  --no-build-isolation -e .
	@touch $@

run: .venv/done  ## all four services in this process, with sample data, on http://127.0.0.1:8000
	$(BIN)/farmgate up --sample --hold 20

demo: .venv/done  ## 200 orders through the running system
	$(BIN)/farmgate demo

demo-offline: .venv/done  ## 20 stations that sell while cut off, beside online buyers
	$(BIN)/farmgate demo --offline

servers:            ## make sure that RabbitMQ's and PostgreSQL's programs are installed
	@sh tests/install-servers

# One process more than processors: the tests wait about as long as they compute.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
PYTEST = $(BIN)/pytest --servers -n $(WORKERS) --dist loadgroup

test: .venv/done servers    ## every promise, against a RabbitMQ and a PostgreSQL of its own; 10 minutes
	$(PYTEST) $(ARGS)

test-rest: .venv/done servers  ## what CI runs besides: the rest of faults, system and pages
	$(PYTEST) -m rest $(ARGS)

test-long: .venv/done servers  ## by night: faults that last minutes, all restore drills
	$(PYTEST) --long -m long $(ARGS)

deployment-test deployment-smoke: .venv/done
	@docker info >/dev/null 2>&1 || { echo "This needs a Docker engine that answers, and docker-compose."; exit 1; }
	$(BIN)/pytest -q -p no:randomly tests/deployment $(if $(findstring smoke,$@),-m smoke) $(ARGS)
deployment-test:    ## what docker-compose.yml promises, on a deployment of its own
deployment-smoke:   ## the same in short: up, both demos, two kills, backup and restore, down

# Another SEED begins elsewhere. The model of stations tells ROUNDS stories, and the running system
# one for every hundred of them.
SEED ?= 1
FAULTS ?= 300
ROUNDS ?= 1000
soak: .venv/done servers    ## faults under load on real processes, with a ledger: make soak FAULTS=300 SEED=7
	$(BIN)/python -m tests.faults.soak --faults $(FAULTS) --seed $(SEED) $(ARGS)

soak-stations: .venv/done servers  ## the random tests of stations, for long: make soak-stations SEED=7 ROUNDS=5000
	SOAK_SEED=$(SEED) SOAK_ROUNDS=$(ROUNDS) $(BIN)/pytest --servers -q tests/stations \
	  tests/system/test_stations.py $(ARGS)

check: .venv/done  ## format, lint, types, architecture, generated pages
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m farmgate.catalogue --check
	$(BIN)/python -m farmgate.contracts --check
	$(BIN)/python -m farmgate.numbering --check

format: .venv/done  ## put the code in shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: .venv/done  ## write the generated pages again
	$(BIN)/python -m farmgate.catalogue
	$(BIN)/python -m farmgate.contracts
	$(BIN)/python -m farmgate.numbering

lock: .venv/done  ## choose the newest versions that fit, and write them down with their hashes
	$(BIN)/pip-compile -q -U --generate-hashes --no-emit-index-url --no-emit-trusted-host \
	  --no-emit-find-links --no-header --strip-extras -o requirements/run.txt pyproject.toml
	$(BIN)/pip-compile -q --generate-hashes --no-emit-index-url --no-emit-trusted-host \
	  --no-emit-find-links --no-header --strip-extras --extra otel \
	  -c requirements/run.txt -o requirements/otel.txt pyproject.toml
	$(BIN)/pip-compile -q --generate-hashes --no-emit-index-url --no-emit-trusted-host \
	  --no-emit-find-links --no-header --strip-extras --allow-unsafe --extra dev --extra otel \
	  -c requirements/otel.txt -o requirements/dev.txt pyproject.toml

bench: .venv/done servers   ## the figures of docs/performance.md, half an hour; in short: make bench QUICK=1
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(ARGS)

clean:              ## remove the environment and the embedded mode's data
	rm -rf .venv var
