"""Users' own data in the workflow: a change of a file re-runs what depends on it, and a missing set
is left out.
"""

import shutil
from pathlib import Path

import pytest

from tests.datasets.data_helpers import write_faces, write_images
from tests.workflow.conftest import Project, _pristine

PARAMS = """
preset: test
seeds: ["0"]
compute: {{}}
likelihood: {{}}
selection: {{}}
datasets: {{images: {{folder: {folder}, size: 8}}, tfd: {{}}, digits: {{}}}}
models: {{adversarial_nets: {{images: {{batch_size: 5}}, tfd: {{batch_size: 5}}, digits: {{}}}}}}
samplers: {{}}
measures: {{}}
experiments: {{}}
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A copy of the project whose run has digits, a folder of images, and no Toronto Face
    Database.
    """
    write_images(tmp_path / "photos", [f"c{k % 2}/{k}.png" for k in range(28)])
    project = _pristine(tmp_path / "project")
    (project / "params.yaml").write_text(
        PARAMS.format(folder=tmp_path / "photos"), encoding="utf-8"
    )
    return project


@pytest.mark.slow
def test_a_changed_file_runs_its_data_set_again_and_no_other(
    project: Project, tmp_path: Path
) -> None:
    project.good("snakemake", "--cores", "2", "data")
    made = {path.name for path in (project / "results/data").glob("*.safetensors")}
    assert made == {"digits.safetensors", "images.safetensors"}
    assert project.planned("data") == {}
    before = (project / "results/data/images.json").read_bytes()
    for change in (
        lambda: write_images(tmp_path / "photos", ["c0/more.png"]),
        lambda: write_images(tmp_path / "photos", ["c0/more.png"], seed=9),
        lambda: (tmp_path / "photos/c0/more.png").unlink(),
    ):
        change()
        assert project.planned("data") == {"fetch": 1, "prepare": 1, "data": 1}
        project.good("snakemake", "--cores", "2", "data")
        assert project.planned("data") == {}
    after = (project / "results/data/images.json").read_bytes()
    assert after == before, "the same files, the same result"


@pytest.mark.slow
def test_data_that_come_later_join_the_run(project: Project) -> None:
    """Absent, there is no job for them; once they are there, their jobs are added and the others
    rest.
    """
    whole = project.planned()
    assert (whole["fetch"], whole["train"]) == (2, 2)
    project.good("snakemake", "--cores", "2", "data")
    write_faces(project / "data/tfd/TFD_48x48.mat")
    assert project.planned("data") == {"fetch": 1, "prepare": 1, "data": 1}
    assert project.planned()["train"] == 3
    shutil.rmtree(project / "data/tfd")
    assert project.planned("data") == {}


@pytest.mark.slow
def test_dvc_goes_on_from_what_snakemake_noticed(project: Project, tmp_path: Path) -> None:
    project.with_git()
    project.good("dvc", "repro", "data")
    assert "snakemake" not in project.good("dvc", "repro", "data")
    write_images(tmp_path / "photos", ["c0/more.png"])
    project.good("snakemake", "--cores", "2", "data")
    assert "results/data" in project.good("dvc", "status", "data")
    before = project.records()
    assert "Nothing to be done" in project.good("dvc", "repro", "data")
    assert project.records() == before
    assert "snakemake" not in project.good("dvc", "repro", "data")
