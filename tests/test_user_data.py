"""Whether a user's own images are those that a run was made of, judged by their content."""

import json
import os
import shutil
from pathlib import Path

import pytest

from replicate.__main__ import main
from replicate.datasets.images import DATASET
from replicate.jobs.context import keep_plan
from replicate.jobs.digests import Digests
from replicate.jobs.job_list import Job, JobList
from replicate.jobs.plan import Plan
from replicate.jobs.standing import DIGESTS, Finding, Standing, user_files
from replicate.storage.files import sha256_json
from tests.datasets.data_helpers import write_images

RUN = {
    "datasets": {"images": {"folder": "mine", "size": 8}},
    "models": {"k_means": {"images": {"batch_size": 5}}},
}


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """The job `fetch` of fourteen images, done in the current folder."""
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "mine", [f"{number}.png" for number in range(14)])
    jobs = JobList(Plan(RUN))
    job = jobs.all["fetch", "images"]
    plan = keep_plan(RUN, "params.yaml")
    words = ["job", "fetch", "images", "--plan", plan, "then", *jobs.command("fetch", job)]
    assert main(words) == 0
    return job


def findings(job: Job, fresh: bool = False) -> list[Finding]:
    return Standing(JobList(Plan(RUN)), Digests(DIGESTS, fresh)).findings([job])


def _edited(path: Path) -> None:
    """Changes a picture; its size and its time of change stay, as a copy may keep them."""
    times = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_an_edit_that_keeps_size_and_time_is_noticed(fetched: Job) -> None:
    assert findings(fetched) == []
    _edited(Path("mine/3.png"))
    (finding,) = findings(fetched)
    assert finding.reason == "the files of the data set images are not those that it listed"


def test_a_copy_is_the_same_set_and_is_read_once(
    fetched: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree("mine", "copy", copy_function=shutil.copy)
    shutil.rmtree("mine")
    Path("copy").rename("mine")
    listed = []
    inventory = type(DATASET).inventory
    monkeypatch.setattr(
        type(DATASET),
        "inventory",
        lambda self, path: listed.append(path) or inventory(self, path),
    )
    assert findings(fetched) == []
    assert len(listed) == 1
    assert findings(fetched) == []
    assert len(listed) == 1
    assert findings(fetched, fresh=True) == []
    assert len(listed) == 2, "`check` reads every byte"


def test_a_flip_that_no_time_shows_is_found_by_reading(fetched: Job) -> None:
    """A kept digest for a stamp of other bytes stands for a disk that changes them on its own."""
    _edited(Path("mine/3.png"))
    jobs = JobList(Plan(RUN))
    stamp = jobs.plan.stamp("images")
    kept = json.loads(DIGESTS.read_text())
    before = user_files(jobs, Digests(Path("none.json")))
    assert before.keys() == {"images"}
    manifest = json.loads(Path(fetched.outputs[1]).read_text())
    kept["own files of images"] = [stamp, sha256_json(manifest["sources"])]
    DIGESTS.write_text(json.dumps(kept))
    assert findings(fetched) == []
    assert len(findings(fetched, fresh=True)) == 1
    assert len(findings(fetched)) == 1, "what was read once is known from then on"


def test_dvc_is_told_the_content(fetched: Job) -> None:
    first = user_files(JobList(Plan(RUN)), Digests(DIGESTS))
    Path("mine/3.png").touch()
    assert user_files(JobList(Plan(RUN)), Digests(DIGESTS)) == first
    _edited(Path("mine/3.png"))
    assert user_files(JobList(Plan(RUN)), Digests(DIGESTS)) != first
    shutil.rmtree("mine")
    gone = {**RUN, "datasets": {**RUN["datasets"], "digits": {}}}
    gone["models"] = {"k_means": {"images": {"batch_size": 5}, "digits": {}}}
    told = user_files(JobList(Plan(gone)), Digests(DIGESTS))
    assert told["images"].startswith("needs a folder of images")


@pytest.mark.parametrize("content", ["", "[]", '{"sources": []}'])
def test_a_damaged_manifest_stands_for_nothing(fetched: Job, content: str) -> None:
    """Else `dvc repro` ended before it could make the manifest anew."""
    before = user_files(JobList(Plan(RUN)), Digests(DIGESTS))
    Path(fetched.outputs[1]).write_text(content)
    assert user_files(JobList(Plan(RUN)), Digests(DIGESTS)) == before
