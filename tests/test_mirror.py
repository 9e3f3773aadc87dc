"""The folder in which jobs run whose files lie in a store: links, and digests by records alone."""

import hashlib
import os
from pathlib import Path

import pytest

from replicate.errors import ReplicateError
from replicate.jobs.job_list import JobList
from replicate.jobs.mirror import LINKED, StoredDigests, lead_jobs_back, make_mirror
from replicate.jobs.plan import Plan
from replicate.jobs.seal import Seal, write_seal

RUN = {"seeds": ["0"], "datasets": {"digits": {}}, "models": {"k_means": {"digits": {}}}}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    for name in LINKED:
        (folder / name).mkdir(parents=True)
    return folder


def test_what_no_job_makes_is_linked_and_what_jobs_make_is_not(
    project: Path, tmp_path: Path
) -> None:
    mirror = tmp_path / "mirror"
    (project / "results/train").mkdir()
    for _ in range(2):  # the second time over what is there
        make_mirror(project, mirror)
    assert {name for name in LINKED if (mirror / name).readlink() == project / name} == set(LINKED)
    assert not (mirror / "results/train").exists()
    assert not (mirror / "results").is_symlink()


def test_jobs_find_the_code_first_and_raw_files_where_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REPLICATE_DATA", "elsewhere")
    monkeypatch.setenv("PYTHONPATH", "plugins")
    lead_jobs_back(Path("/project"))
    assert os.environ["REPLICATE_DATA"] == str(tmp_path / "elsewhere")
    assert os.environ["PYTHONPATH"] == f"/project{os.pathsep}plugins"
    monkeypatch.delenv("PYTHONPATH")
    lead_jobs_back(Path("/project"))
    assert os.environ["PYTHONPATH"] == "/project"


def test_a_folder_that_cannot_be_made_is_named(project: Path, tmp_path: Path) -> None:
    (tmp_path / "mirror").write_text("no folder")
    with pytest.raises(ReplicateError, match=r"mirror/protocol\.yaml cannot be made"):
        make_mirror(project, tmp_path / "mirror")


def test_what_a_job_made_has_the_digest_of_its_record_and_all_else_that_of_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    jobs = JobList(Plan(RUN)).all
    prepare = jobs["prepare", "digits"]
    made = prepare.outputs[1]
    record = Path(prepare.record)
    record.parent.mkdir(parents=True)
    write_seal(record, Seal("prepare", "digits", "", "", {}, {made: "1" * 64}))
    Path("protocol.yaml").write_bytes(b"here")
    digests = StoredDigests(Path("digests.json"), jobs.values())
    assert digests.of(Path(made)) == "1" * 64
    assert digests.has(Path(made))
    assert digests.of(Path("protocol.yaml")) == hashlib.sha256(b"here").hexdigest()
    # No record says anything of a training, so it counts as not there.
    weights = Path(jobs["train", "digits/k_means/0"].outputs[1])
    assert digests.of(weights) is None
    assert not digests.has(weights)
    # Nor does one that was edited.
    record.write_text(record.read_text().replace("1" * 64, "2" * 64))
    assert StoredDigests(Path("digests.json"), jobs.values()).of(Path(made)) is None
