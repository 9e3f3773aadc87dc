# make report   the demo, from nothing to report/index.html       make test      the tests
# make faults   every accident that is tried, some hours
# make lint     format, lint, types, workflow, schema              make restore   results from the DVC remote
# make reference MINUTES=60   goes on with the reference runs for an hour (docs/reference-runs.md)
# make clean    remove what runs made (not downloads)              make lock      refresh the pinned versions
#
# Everything is installed into .venv. Another Python: make report PYTHON=python3.12
# For GNU make 3.81 (macOS) and any /bin/sh: each line of a recipe is a shell of its own.
PYTHON ?= python3
CORES ?= all
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# A user without a name and a home, as in a container: Snakemake asks for one before it reads anything.
HOME ?= /
export HOME
# Settings for another Python or another way to install; they would lead pip and the jobs elsewhere.
unexport PYTHONPATH PYTHONHOME PYTHONSAFEPATH PYTHONSTARTUP PYTHONINSPECT PYTHONUSERBASE PYTHONPLATLIBDIR
unexport PYTHONEXECUTABLE __PYVENV_LAUNCHER__ VIRTUAL_ENV
unexport PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT PIP_PYTHON PIP_REQUIRE_VIRTUALENV PIP_REQUIREMENT PIP_EDITABLE
unexport PIP_NO_DEPS PIP_DRY_RUN PIP_IGNORE_INSTALLED PIP_FORCE_REINSTALL PIP_UPGRADE PIP_PRE
unexport PIP_PLATFORM PIP_PYTHON_VERSION PIP_IMPLEMENTATION PIP_ABI PIP_REQUIRE_HASHES
.SILENT:
.PHONY: report test faults lint restore reference clean lock runtime dev
.DEFAULT_GOAL := report

runtime:
	PYTHON="$(PYTHON)" sh tools/environment.sh requirements.lock

dev: runtime
	PYTHON="$(PYTHON)" sh tools/environment.sh requirements-dev.lock

report: runtime
	start=$$(date +%s) && $(VENV)/bin/snakemake --cores $(CORES) && $(VENV)/bin/python tools/costs.py --since $$start
	echo "Report: $$PWD/report/index.html"

test: dev
	$(VENV)/bin/python -m pytest -n 2

faults: dev
	$(VENV)/bin/python -m pytest -n 2 -m "slow or faults" tests/faults tests/workflow

lint: dev
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/snakefmt --check Snakefile workflow
	$(VENV)/bin/snakemake --lint
	$(VENV)/bin/python -m replicate params --check-schema

restore: runtime
	$(VENV)/bin/python tools/restore.py

reference: runtime
	$(VENV)/bin/python -m replicate reference $(if $(MINUTES),--minutes $(MINUTES))

clean:
	find results -mindepth 1 -maxdepth 1 ! -name published ! -name reference ! -name tuning -exec rm -rf {} +
	rm -rf report/*.html report/*.run.json report/*.comparison.json report.zip dvc_plots logs .snakemake
	[ ! -d .replicate ] || find .replicate -mindepth 1 -maxdepth 1 ! -name reference -exec rm -rf {} +

lock:
	"$(PYTHON)" tools/lock.py
