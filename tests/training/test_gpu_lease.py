"""Leases of GPUs, between real processes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from replicate.storage.locks import LockState
from replicate.storage.paths import package_root
from replicate.training import gpu_lease

#: A job that leases a card, says which it sees, and computes until its input ends.
JOB = """
import os, sys
from replicate.training.gpu_lease import lease_card
lease_card()
print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
sys.stdin.read()
"""


class Host:
    """A host with some cards, and the jobs on it."""

    def __init__(self, folder: Path, cards: str) -> None:
        self.environment = os.environ | {"TMPDIR": str(folder), "CUDA_VISIBLE_DEVICES": cards}
        self.jobs: list[subprocess.Popen[str]] = []

    def start(self) -> tuple[str, subprocess.Popen[str]]:
        """The cards that a new job sees, and the job."""
        job = subprocess.Popen(
            [sys.executable, "-c", JOB],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
            cwd=package_root(),
        )
        self.jobs.append(job)
        assert job.stdout is not None
        return job.stdout.readline().strip(), job


def messages_of(job: subprocess.Popen[str]) -> str:
    """What a job says, which ends it."""
    return job.communicate()[1]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host with two cards."""
    host = Host(tmp_path, "5,7")
    yield host
    for job in host.jobs:
        job.kill()
        job.communicate()


def test_jobs_see_a_card_each_and_a_killed_one_gives_its_card_back(host: Host) -> None:
    (first, killed), (second, _) = host.start(), host.start()
    assert (first, second) == ("5", "7")
    killed.kill()
    killed.wait()
    again, job = host.start()
    assert again == "5"
    assert "computes on GPU 5 of the 2 of " in messages_of(job)


def test_a_job_too_many_shares_a_card_and_says_so(host: Host) -> None:
    host.start()
    host.start()
    third, job = host.start()
    assert third in ("5", "7")
    assert "perhaps shared: none of them could be leased" in messages_of(job)


def test_jobs_of_a_scheduler_that_numbers_the_cards_of_each_do_not_meet(host: Host) -> None:
    seen = []
    for job_id in ("1", "2"):
        host.environment["SLURM_JOB_ID"] = job_id
        seen.append(host.start()[0])
    assert seen == ["5", "5"]


def test_without_locks_no_card_counts_as_leased(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    monkeypatch.setattr(gpu_lease, "gpu_cards", lambda: ("5", "7"))
    monkeypatch.setattr(gpu_lease, "try_lock", lambda *_: LockState.UNSUPPORTED)
    gpu_lease.lease_card()
    assert os.environ["CUDA_VISIBLE_DEVICES"] in ("5", "7")
    assert "perhaps shared" in capsys.readouterr().err


@pytest.mark.parametrize("cards", ["3", "", "GPU-8d2"])
def test_a_job_that_was_given_one_card_or_none_keeps_to_it(tmp_path: Path, cards: str) -> None:
    host = Host(tmp_path, cards)
    seen, job = host.start()
    assert seen == cards
    assert messages_of(job) == ""
    assert list(tmp_path.iterdir()) == []
