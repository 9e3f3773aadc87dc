"""A run whose files lie in a store of objects: nothing but what a job needs is here while it runs."""

import json
import shutil
from pathlib import Path

import pytest

from tests.workflow.clouds.conftest import BUCKET, Store
from tests.workflow.conftest import Project

pytestmark = pytest.mark.slow

RUN = (
    *("snakemake", "--cores", "2", "--default-storage-provider", "s3"),
    *("--default-storage-prefix", f"s3://{BUCKET}/one"),
)


@pytest.fixture
def project(fresh: Project) -> Project:
    """A copy that has never run, with the smoke preset."""
    shutil.copy(fresh / "presets/smoke.yaml", fresh / "params.yaml")
    return fresh


def made_here(project: Project) -> list[str]:
    """Files of the run that lie in the project's own folders."""
    kept = {"published", "reference", "tuning"}
    folders = [path for path in (project / "results").iterdir() if path.name not in kept]
    pages = (project / "report").glob("*.html")
    return [path.name for path in (*folders, *pages)]


def planned(project: Project, store: Store, *options: str) -> set[str]:
    """The rules of which `snakemake -n` would run jobs."""
    text = project.good(*RUN, "-n", *options, **store.environment)
    if "Nothing to be done" in text:
        return set()
    table = text.split("Job stats:")[1].split("total")[0].splitlines()
    return {line.split()[0] for line in table[3:] if line.strip()} - {"all"}


def without_the_store(whole: Project, store: Store) -> None:
    """What is in the store is a whole run: in a copy of the project nothing is left to do."""
    store.download("one/", whole.folder)
    assert "all files of 16 jobs are what their records say" in whole.good(
        "python", "-m", "replicate", "check"
    )
    assert whole.planned() == {}


def test_a_run_in_a_store_has_the_bytes_of_a_local_one(
    project: Project, finished: Project, store: Store, tmp_path: Path
) -> None:
    whole = project.copy(tmp_path / "whole")
    project.good(*RUN, **store.environment)
    assert made_here(project) == []
    without_the_store(whole, store)
    whole.good("python", "tools/same_results.py", str(finished.folder), str(whole.folder))

    # Judged by what the records in the store say, also where Snakemake has no memory of the run.
    assert planned(project, store) == set()
    shutil.rmtree(project / ".snakemake")
    assert planned(project, store) == set()
    project.edit("protocol.yaml", r"\Z", "# Another protocol.\n")
    assert planned(project, store) == {"statements", "table", "metrics", "report"}
    project.edit("params.yaml", r"epochs: 4\b", "epochs: 5")
    changed = planned(project, store)
    assert {"train", "measure", "inspect", "measures", "ranks", "curves"} < changed
    assert not changed & {"fetch", "prepare", "classifier", "experiment"}


def test_a_record_that_was_changed_in_the_store_is_made_anew(
    project: Project, store: Store
) -> None:
    """A training alone, whose record then says other than it was written as."""
    target = "results/train/digits/adversarial_nets/0-1"
    project.good(*RUN, f"{target}.json", **store.environment)
    assert planned(project, store, f"{target}.json") == set()
    name = f"{BUCKET}/one/{target}.run.json"
    record = json.loads(store.ask("GET", name))
    record["job"]["given"] = "0" * 64
    store.ask("PUT", name, json.dumps(record).encode())
    assert planned(project, store, f"{target}.json") == {"train"}
