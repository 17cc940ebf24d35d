# make setup | setup-hashed | lock | demo | ui | deploy | browser | test | test-slow | lint | bench
VENV ?= .venv
BIN := $(VENV)/bin
# Two stamps: clipes, and clipes with the packages that the tests and `make lint` need.
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev
INSTALL := $(BIN)/pip install --constraint constraints.txt --editable
# What `make demo` needs, and what photos on S3 and tables of results need. The file requirements.lock has them too.
STANDARD := .[notebook,s3,train]

# PYTHON=python3.13 chooses the interpreter of a new environment.
NEW_VENV := $(if $(PYTHON),$(PYTHON) -m venv $(VENV),python3.11 -m venv $(VENV) || python3 -m venv $(VENV))

# The tests in a file share fixtures, so each pytest worker gets whole files. tests/flows comes first, because it takes
# longest.
ON_TWO_CORES := --numprocesses 2 --dist loadfile --no-loadscope-reorder

# Lines of a lock file from pip's report: a name, a version and the hash of the file that pip chose for this machine.
LOCK_LINE := "{0[metadata][name]}=={0[metadata][version]} --hash=sha256:{0[download_info][archive_info][hashes][sha256]}"

.PHONY: setup setup-hashed lock demo ui deploy browser test test-slow lint bench

deploy: export PREFECT_API_URL ?= http://127.0.0.1:4200/api

setup: $(INSTALLED_DEV)

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(NEW_VENV)
	$(INSTALL) '$(STANDARD)'
	touch $(INSTALLED)

# datumaro reads exports for CVAT, and label-studio-sdk those for Label Studio. They ask for older versions of packages
# than clipes, and for another build of OpenCV. Their readers need neither, so pip must not look at what they ask for.
$(INSTALLED_DEV): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(NEW_VENV)
	$(INSTALL) '.[dev]'
	$(BIN)/pip install --no-deps --constraint constraints.txt datumaro label-studio-sdk
	touch $(INSTALLED) $(INSTALLED_DEV)

# Installs only files whose SHA-256 is in requirements.lock. The lock is for Linux on x86-64 with CPython 3.11.
setup-hashed:
	test -x $(BIN)/python || python3.11 -m venv $(VENV)
	$(BIN)/pip install --require-hashes --no-deps --requirement requirements.lock
	$(BIN)/pip install --no-deps --editable .
	touch $(INSTALLED)

lock: $(INSTALLED)
	$(BIN)/pip install --quiet --dry-run --ignore-installed --report lock.json --constraint constraints.txt '$(STANDARD)'
	$(BIN)/python -c 'import json; print(*sorted($(LOCK_LINE).format(each) for each in json.load(open("lock.json"))["install"] \
		if not each["requested"]), sep="\n")' > requirements.lock
	rm lock.json

demo: $(INSTALLED)
	$(BIN)/clipes run configs/demo.yaml $(ARGS)

ui: $(INSTALLED)
	$(BIN)/clipes ui

# `prefect deploy` needs the work pools, so create those that are missing. Existing pools keep their settings.
deploy: $(INSTALLED)
	@$(BIN)/prefect server status # fails with one line if no server runs
	for pool in process:clipes-cpu process:clipes-gpu kubernetes:clipes-kubernetes; do \
		$(BIN)/prefect work-pool inspect $${pool#*:} > /dev/null 2>&1 || \
		$(BIN)/prefect work-pool create $${pool#*:} --type $${pool%%:*} || exit 1; \
	done
	$(BIN)/prefect --no-prompt deploy --all

# Installs Chromium for the tests of the report; needs Debian and root.
browser:
	command -v chromium > /dev/null || (apt-get update && apt-get install --yes --no-install-recommends chromium)

# Keep compiled files even if the environment forbids it; otherwise, each of the hundreds of processes that the tests
# start would compile all modules.
test test-slow: export PYTHONDONTWRITEBYTECODE =

test: setup
	$(BIN)/python -m pytest tests/flows tests -m "not slow" $(ON_TWO_CORES)

test-slow: setup
	$(BIN)/python -m pytest tests/flows tests -m slow $(ON_TWO_CORES)

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy -p clipes -p clipes_core

# Compares the CRF backends, and the CAMs with the published program, and measures whole runs and the bookkeeping of large
# ones. VOC names the folder of the photos.
bench: VOC ?= ../shared/voc_mini
bench: setup
	$(BIN)/python benchmarks/crf.py --voc $(VOC) --sizes 94x125,1500x2000
	OMP_WAIT_POLICY=passive $(BIN)/python benchmarks/cams.py --voc $(VOC)
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/scale.py
