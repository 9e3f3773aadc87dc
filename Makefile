# make report   the demo, from nothing to report/index.html       make test      the tests
# make faults   every accident that is tried, some hours
# make mutants ROOM=likelihood MINUTES=30   the share of small faults that the tests notice (docs/mutants.md)
# make cluster  what docs/clusters.md needs besides the runtime
# make lint     format, lint, types, workflow, schemas             make restore   results from the DVC remote
# make reference MINUTES=60   goes on with the reference runs for an hour (docs/reference-runs.md)
# make clean    remove what runs made (not downloads)              make lock      refresh the pinned versions
# make site     the documentation as a site, in site/
# make release VERSION=0.2.0   checks, tests, the demo, then a tag and dist/0.2.0/; pushes nothing (CONTRIBUTING.md)
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
.PHONY: report test faults mutants cluster lint restore reference clean lock ready release site runtime dev
.DEFAULT_GOAL := report

runtime:
	PYTHON="$(PYTHON)" sh tools/environment.sh requirements.lock

dev: runtime
	PYTHON="$(PYTHON)" sh tools/environment.sh requirements-dev.lock

report: runtime
	start=$$(date +%s) && $(VENV)/bin/snakemake --cores $(CORES) && $(VENV)/bin/python tools/costs.py --since $$start
	$(VENV)/bin/python tools/print_answer.py
	echo "Report: $$PWD/report/index.html"

test: dev
	$(VENV)/bin/python -m pytest -n 2

faults: dev
	$(VENV)/bin/python -m pytest -n 2 -m "slow or faults" tests/faults tests/workflow

# Apart from the lock files: libcst, which mutmut needs, needs pyyaml-ft on Python 3.13 alone, and their lines
# hold for every Python.
mutants: dev
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check mutmut==3.8.1
	$(VENV)/bin/python tools/mutants.py $(if $(ROOM),--room $(ROOM)) $(if $(MINUTES),--minutes $(MINUTES))

# Apart from the lock files: only a cluster needs it.
cluster: runtime
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
		snakemake-executor-plugin-slurm==2.8.0 snakemake-executor-plugin-slurm-jobstep==0.6.1

lint: dev
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/snakefmt --check Snakefile workflow
	$(VENV)/bin/snakemake --lint
	$(VENV)/bin/python -m replicate params --check-schema
	$(VENV)/bin/python tools/readability.py
	$(VENV)/bin/python tools/result_files.py --check
	$(VENV)/bin/python tools/cards.py --check
	$(VENV)/bin/python tools/readme_results.py --check

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

# Apart from the lock files: neither runs nor tests need it. The variable spares a notice about other versions.
site: dev
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-docs.txt
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --strict

# Looks before it spends minutes; `release` looks again.
ready: dev
	$(VENV)/bin/python tools/release.py "$(VERSION)" --check

release: ready lint test report
	$(VENV)/bin/python tools/release.py "$(VERSION)"
