# Each target makes what it needs and nothing twice. On a fresh machine: `make demo`, `make test`, `make check`.
#
#   make demo [ONCE=1] [ENTRIES=20000]   the whole service on embedded servers; ONCE=1 ends after the exports
#   make test [ARGS="-k queue"]          all tests
#   make test-faults                     those of crashes, hangs and lost connections alone
#   make test-conformance                queue, sources, delivery and deletions against the MongoDB and the S3 that
#                                        VFEXPORT_TEST_MONGO_URI and VFEXPORT_TEST_S3_ENDPOINT name (else embedded ones)
#   make test-deploy                     what deploy/ describes, started on this machine: needs PostgreSQL's programs, and
#                                        some minutes; promtool, if there is one, tests the alert rules
#   make test-browser                    the administrators' page and Dagster's UI in Chromium; skipped with a word where there is none
#   make check                           format, lint, types, layers, tests: what has to pass before a change goes in
#   make lock                            requirements.lock and deploy/requirements.lock anew from pyproject.toml, with as
#                                        little change as can be; UPGRADE="--upgrade-package boto3" raises one
#   make sbom                            what is in the image, as sbom.json (CycloneDX)
#   make venv                            the environment alone; PYTHON=python3.12 chooses the interpreter

SHELL = /bin/sh
.SUFFIXES:

PYTHON = python3
VENV = .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready
ENTRIES = 20000
ONCE =
ARGS =
UPGRADE =
# Processes, each with embedded servers of its own. Most tests wait more than they compute: three of them fill a core.
WORKERS = 6
# Containers often forbid Python to write bytecode: then every process of the tests compiles again what it imports.
unexport PYTHONDONTWRITEBYTECODE
PYTEST = $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadgroup

.PHONY: help venv demo test test-faults test-conformance test-deploy test-browser check format-check lint types layers lock sbom hooks clean

help:
	@sed -n 's/^#   //p' Makefile

venv: $(READY)

# pip keeps no cache in the home directory: nothing outside the checkout is written. It would compile one file after the
# other, which is a third of its time; here all cores do, without the libraries' own tests. What is no valid Python (a few
# templates) is left as it is.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; for another interpreter: make PYTHON=..." >&2; exit 1; }
	@test -x $(BIN)/pip || { echo "making $(VENV) with $(PYTHON)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing requirements.lock into $(VENV) (a minute or two the first time)"
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-cache-dir --no-compile \
		-r requirements.lock
	@$(BIN)/python -m compileall -qq -j 0 -x /tests/ $(VENV)/lib || :
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-cache-dir --no-deps -e .
	@touch $(READY)

demo: $(READY)
	@$(BIN)/vfexport demo --entries $(ENTRIES) $(if $(filter-out 0,$(ONCE)),--once)

test: $(READY)
	@$(PYTEST) $(ARGS)

test-faults: $(READY)
	@$(PYTEST) tests/faults $(ARGS)

# What leans on the servers themselves; tests that need a server's test commands say so and are skipped.
CONFORMANCE = tests/integration/storage $(addprefix tests/integration/, \
	$(addprefix test_, ccpa_*.py cli_queue.py golden.py pipeline_reference.py queue_*.py raw_batches.py readers.py \
	source_indexes.py split_files.py worker.py documented_calls.py))

test-conformance: $(READY)
	@$(PYTEST) $(CONFORMANCE) $(ARGS)

# One process: an image is built once, and the service is brought up twice.
test-deploy: $(READY)
	@$(BIN)/python -m pytest -q tests/deploy tests/unit/test_deploy.py tests/unit/test_alerts.py $(ARGS)

# Selenium is in no lock: it is installed here where it is missing. One process: the tests share a browser.
test-browser: $(READY)
	@$(BIN)/python -c 'import selenium' 2>/dev/null || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-cache-dir 'selenium>=4.36'
	@$(BIN)/python -m pytest -q tests/browser $(ARGS)

check: format-check lint types layers test

format-check: $(READY)
	@echo "ruff format"; $(BIN)/ruff format --check --quiet .

lint: $(READY)
	@echo "ruff check"; $(BIN)/ruff check --quiet .

types: $(READY)
	@echo "basedpyright"; log=$$($(BIN)/basedpyright --level error 2>&1) || { echo "$$log"; exit 1; }

layers: $(READY)
	@echo "import-linter"; log=$$($(BIN)/lint-imports --no-logo 2>&1) || { echo "$$log"; exit 1; }

# The hashes are those of all files of a version, so that the locks are good for every system. The second lock is a part
# of the first: what the image installs.
LOCK = $(BIN)/uv pip compile --quiet --no-cache --universal --python-version 3.11 --generate-hashes --no-header \
	--no-annotate --no-strip-extras

lock:
	@$(LOCK) $(UPGRADE) --extra demo --extra deploy --extra dev --output-file requirements.lock pyproject.toml
	@$(LOCK) --extra deploy --constraint requirements.lock --output-file deploy/requirements.lock pyproject.toml

sbom: $(READY)
	@$(BIN)/uv tool run --quiet --no-cache --from cyclonedx-bom==7.5.0 cyclonedx-py requirements \
		--pyproject pyproject.toml --output-reproducible --output-file sbom.json deploy/requirements.lock

# Runs the quick checks at every commit.
hooks: $(READY)
	@$(BIN)/pre-commit install

clean:
	rm -rf $(VENV) sbom.json .demo .pytest_cache .ruff_cache .hypothesis .import_linter_cache
