# make reproduce   set up and run the embedded default; after a crash the same command goes on
# make test        set up and run the tests (under 15 minutes on two cores); make test-slow: the rest
# VENV=path reuses an environment; CORES=n limits the cores; CONFIG=file runs another configuration;
# TESTS="file ..." chooses tests. make witness BASE=commit: this checkout gives the results of that.
# make wheel: a package for pip in dist/.

VENV ?= .venv
PYTHON ?= python3
CORES ?= all
CONFIG ?= config/config.yaml
TESTS ?=

ifneq ($(words $(VENV)),1)
$(error VENV is '$(VENV)', expected a path without spaces)
endif
STAMP := $(VENV)/.lemore-$(shell cat requirements.lock pyproject.toml | sha256sum | cut -c1-16)
BIN := $(if $(filter /%,$(VENV)),$(VENV),$(CURDIR)/$(VENV))/bin
export PATH := $(BIN):$(PATH)

.PHONY: setup reproduce wheel test test-slow witness check clean

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "lemore needs Python 3.11 or newer; set PYTHON=python3.11")'
	test -x "$(BIN)/python" || $(PYTHON) -m venv $(VENV)
	"$(BIN)/python" -m pip install --quiet --requirement requirements.lock
	"$(BIN)/python" -m pip install --quiet --no-deps --editable .
	rm -f $(VENV)/.lemore-*
	touch $@

# The lock is held by whatever still runs, so that two pipelines in one folder refuse each other.
reproduce: setup
	@test -f "$(CONFIG)" || { echo "CONFIG=$(CONFIG): no such file" >&2; exit 2; }
	@mkdir -p .snakemake
	@flock --wait 60 --conflict-exit-code 75 .snakemake/reproduce.lock sh -c '\
	  snakemake --quiet --configfile "$(CONFIG)" --unlock; \
	  snakemake --cores $(CORES) --configfile "$(CONFIG)" --quiet rules reason' \
	  || { code=$$?; [ $$code -ne 75 ] || echo "another pipeline runs in this folder" >&2; exit $$code; }

# A package for pip, with configurations, workflow and published weights in it.
wheel: setup
	rm -rf build
	python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	rm -rf build

# Two processes of one thread each: most tests keep one core busy.
test: setup
	OMP_NUM_THREADS=1 python -m pytest --numprocesses 2 --dist loadfile $(TESTS)

test-slow: setup
	python -m pytest -m slow --numprocesses 2 --dist loadfile $(TESTS)

# Runs a short training in a checkout of BASE and in this one; both must give the same results.
witness: setup
	python tests/witness.py $(BASE)

check: setup
	ruff check .
	ruff format --check .
	pyright
	snakefmt --check Snakefile workflow
	snakemake --lint

clean:
	rm -rf results logs
