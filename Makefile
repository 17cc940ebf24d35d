# make setup | setup-hashed | lock | demo | ui | deploy | test | test-slow | lint
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# The tests in a file share fixtures, so each pytest worker gets whole files. tests/flows comes first, because it takes
# longest.
ON_TWO_CORES := --numprocesses 2 --dist loadfile --no-loadscope-reorder

# Lines of a lock file from pip's report: a name, a version and the hash of the file that pip chose for this machine.
LOCK_LINE := "{0[metadata][name]}=={0[metadata][version]} --hash=sha256:{0[download_info][archive_info][hashes][sha256]}"

.PHONY: setup setup-hashed lock demo ui deploy test test-slow lint

deploy: export PREFECT_API_URL ?= http://127.0.0.1:4200/api

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || python3.11 -m venv $(VENV) || python3 -m venv $(VENV)
	$(BIN)/pip install --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

# Installs only files whose SHA-256 is in requirements.lock. The lock is for Linux on x86-64 with CPython 3.11.
setup-hashed:
	test -x $(BIN)/python || python3.11 -m venv $(VENV)
	$(BIN)/pip install --require-hashes --no-deps --requirement requirements.lock
	$(BIN)/pip install --no-deps --editable .
	touch $(STAMP)

lock: setup
	$(BIN)/pip install --quiet --dry-run --ignore-installed --no-deps --report lock.json --requirement constraints.txt
	$(BIN)/python -c 'import json; print(*sorted(map($(LOCK_LINE).format, json.load(open("lock.json"))["install"])), sep="\n")' \
		> requirements.lock
	rm lock.json

demo: setup
	$(BIN)/clipes run configs/demo.yaml $(ARGS)

ui: setup
	$(BIN)/clipes ui

# `prefect deploy` needs the work pools, so create those that are missing. Existing pools keep their settings.
deploy: setup
	@$(BIN)/prefect server status # fails with one line if no server runs
	for pool in clipes-cpu clipes-gpu; do \
		$(BIN)/prefect work-pool inspect $$pool > /dev/null 2>&1 || \
		$(BIN)/prefect work-pool create $$pool --type process || exit 1; \
	done
	$(BIN)/prefect --no-prompt deploy --all

test: setup
	$(BIN)/python -m pytest tests/flows tests -m "not slow" $(ON_TWO_CORES)

test-slow: setup
	$(BIN)/python -m pytest tests/flows tests -m slow $(ON_TWO_CORES)

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy -p clipes -p clipes_core
