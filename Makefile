# make report   the demo, from nothing to report/index.html       make test      the tests
# make lint     format, lint, types, workflow, schema              make restore   results from the DVC remote
# make reference MINUTES=60   goes on with the reference runs for an hour (docs/reference-runs.md)
# make clean    remove what runs made (not downloads)              make lock      refresh the pinned versions
#
# Everything is installed into .venv. Another Python: make report PYTHON=python3.12
PYTHON ?= python3
CORES ?= all
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.SILENT:
.PHONY: report test lint restore reference clean lock runtime dev
.DEFAULT_GOAL := report

define OLD_PYTHON
Python 3.11 or newer is needed, and $(PYTHON) is not; name one with: make $(MAKECMDGOALS) PYTHON=python3.12
endef

# $(call install,LOCK): makes .venv hold the versions of LOCK; does nothing where it already does.
define install
if ! cmp -s $(1) $(VENV)/$(1); then
  if [ ! -x $(VENV)/bin/python ]; then
    "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "$(OLD_PYTHON)." >&2; exit 1; }
    "$(PYTHON)" -m venv $(VENV)
  fi
  echo "Installing $(1) into $(VENV) ..."
  python -m pip install --quiet --disable-pip-version-check -r $(1)
  cp $(1) $(VENV)/$(1)
  echo "Installed $(1) in $$SECONDS s."
fi
endef

runtime:
	$(call install,requirements.lock)

dev: runtime
	$(call install,requirements-dev.lock)

report: runtime
	start=$$(date +%s)
	snakemake --cores $(CORES)
	python tools/costs.py --since $$start
	echo "Report: $(CURDIR)/report/index.html"

test: dev
	python -m pytest -n 2

lint: dev
	ruff format --check .
	ruff check .
	mypy
	snakefmt --check Snakefile workflow
	snakemake --lint
	python -m replicate params --check-schema

restore: runtime
	python tools/restore.py

reference: runtime
	python -m replicate reference $(if $(MINUTES),--minutes $(MINUTES))

clean:
	find results -mindepth 1 -maxdepth 1 ! -name published ! -name reference ! -name tuning -exec rm -rf {} +
	rm -rf report/*.html report/*.comparison.json report.zip dvc_plots logs .snakemake
	[ ! -d .replicate ] || find .replicate -mindepth 1 -maxdepth 1 ! -name reference -exec rm -rf {} +

lock:
	"$(PYTHON)" tools/lock.py
