"""Locks by files, where the file system has none: between real processes whose kernel refuses flock."""

import errno
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from replicate.datasets.sources.download import folder_lock
from replicate.errors import ReplicateError
from replicate.jobs import context
from replicate.storage import filesystem
from replicate.storage.lock_files import BETWEEN, LockFile
from replicate.storage.locks import Lock
from replicate.storage.paths import package_root
from replicate.storage.processes import Process, this_process
from replicate.training.checkpoint import CheckpointFolder

#: A program whose kernel has no flock; what follows runs in it.
WITHOUT_LOCKS = """
import errno, fcntl, sys
from pathlib import Path

def refused(*words):
    raise OSError(errno.ENOSYS, "Function not implemented")

fcntl.flock = refused
"""
#: It trains a run until its input ends.
TRAINING = """
from replicate.training.checkpoint import CheckpointFolder
with CheckpointFolder(Path("run")).locked():
    print("trains", flush=True)
    sys.stdin.read()
"""
ELSEWHERE = Process("node7.example.org", 12, "345")


@pytest.fixture(autouse=True)
def without_locks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(filesystem.NOTED, "locks")
    monkeypatch.chdir(tmp_path)

    def refused(*words: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refused)


@pytest.fixture
def training(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that trains the run in the folder `run`."""
    process = subprocess.Popen(
        [sys.executable, "-c", WITHOUT_LOCKS + TRAINING],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(package_root())},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "trains\n"
    yield process
    process.kill()
    process.communicate()


def held_by(process: Process, folder: Path, how: str = "alone") -> Path:
    """The lock file that another process left."""
    words = (how, process.host, str(process.number), process.began, "01234567")
    file = folder / BETWEEN.join(words)
    folder.mkdir(parents=True, exist_ok=True)
    file.touch()
    return file


def dead_process() -> Process:
    """One of this host that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return this_process()._replace(number=ended.pid)


@pytest.mark.skipif(not Path("/proc/self/comm").is_file(), reason="needs Linux")
def test_a_process_whose_name_is_cut_within_a_letter_is_known() -> None:
    """Linux keeps 15 bytes of a name, whatever letter they end in."""
    code = (
        "import sys; open('/proc/self/comm', 'wb').write('a학습학습학습'.encode())\n"
        "from replicate.storage.processes import this_process; print(this_process().began)"
    )
    environment = os.environ | {"PYTHONPATH": str(package_root())}
    words = [sys.executable, "-c", code]
    began = subprocess.run(words, capture_output=True, text=True, env=environment, check=True)
    assert began.stdout.strip().isdecimal()


def test_a_second_training_of_a_run_is_refused_until_the_first_ends(
    training: subprocess.Popen[str], tmp_path: Path
) -> None:
    run = CheckpointFolder(tmp_path / "run")
    with (
        pytest.raises(ReplicateError, match=rf"another process \(pid {training.pid} of "),
        run.locked(),
    ):
        pytest.fail("both train")
    training.communicate("")
    with run.locked():
        pass
    assert not (tmp_path / "run/lock.holders").exists()


def test_what_a_killed_process_held_is_taken_over(
    training: subprocess.Popen[str], tmp_path: Path
) -> None:
    training.kill()
    training.wait()
    (left,) = (tmp_path / "run/lock.holders").iterdir()
    with CheckpointFolder(tmp_path / "run").locked():
        assert not left.exists()


def test_a_number_that_was_given_again_is_another_process(tmp_path: Path) -> None:
    held_by(this_process()._replace(began="1"), tmp_path / "holders")
    assert LockFile(tmp_path / "holders").take()


def test_a_process_of_another_host_is_named_with_what_to_do(tmp_path: Path) -> None:
    file = held_by(ELSEWHERE, tmp_path / "run/lock.holders")
    run = CheckpointFolder(tmp_path / "run")
    with pytest.raises(ReplicateError) as refused, run.locked():
        pytest.fail("both train")
    assert str(refused.value).startswith(
        "another process (pid 12 of node7.example.org; if it no longer runs there, remove "
        f"{file}) is training this very run; wait until it has ended"
    )
    file.unlink()
    with run.locked():
        pass


def test_those_that_share_a_lock_keep_out_who_wants_it_alone(tmp_path: Path) -> None:
    one, other, alone = (LockFile(tmp_path / "holders") for _ in range(3))
    assert one.take(shared=True)
    assert other.take(shared=True)
    assert not alone.take()
    assert [holder.process for holder in alone.others] == [this_process()] * 2
    one.release()
    assert not alone.take()
    other.release()
    assert alone.take()
    assert not one.take(shared=True)
    alone.release()
    assert not (tmp_path / "holders").exists()


def test_of_many_that_ask_at_once_never_two_hold_it_and_all_get_their_turn(tmp_path: Path) -> None:
    inside: list[int] = []
    most = 0

    def work(number: int) -> None:
        nonlocal most
        lock = LockFile(tmp_path / "holders")
        while not lock.take():
            time.sleep(0.001)
        inside.append(number)
        most = max(most, len(inside))
        time.sleep(0.002)
        inside.remove(number)
        lock.release()

    with ThreadPoolExecutor(6) as pool:
        done = [pool.submit(work, number) for number in range(12)]
        for one in done:
            one.result(60)
    assert most == 1


def test_other_files_beside_lock_files_are_left_alone(tmp_path: Path) -> None:
    own = tmp_path / "holders" / "notes.txt"
    own.parent.mkdir()
    own.touch()
    lock = LockFile(own.parent)
    assert lock.take()
    lock.release()
    assert own.exists()


def test_an_engine_waits_for_jobs_and_says_whose_they_are(tmp_path: Path) -> None:
    with context.jobs_lock(shared=True) as in_the_way:
        assert in_the_way == ""
        with context.jobs_lock(shared=True) as in_the_way:
            assert in_the_way == ""
        with context.jobs_lock(shared=False) as in_the_way:
            assert in_the_way == f"jobs of an earlier run ({this_process()})"
    file = held_by(ELSEWHERE, Path(".replicate/jobs.lock.holders"), "shared")
    with context.jobs_lock(shared=False) as in_the_way:
        assert in_the_way == (
            "jobs of an earlier run (pid 12 of node7.example.org; if it no longer runs there, "
            f"remove {file})"
        )
    held_by(dead_process(), file.parent, "shared")
    file.unlink()
    with context.jobs_lock(shared=False) as in_the_way:
        assert in_the_way == ""


def test_a_second_fetch_waits_for_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = held_by(ELSEWHERE, tmp_path / "mnist/.lock.holders")

    def fetched() -> bool:
        with folder_lock(tmp_path / "mnist"):
            return not file.exists()

    with ThreadPoolExecutor(1) as pool:
        fetch = pool.submit(fetched)
        time.sleep(1)
        assert not fetch.done()
        file.unlink()
        assert fetch.result(20)
    said = capsys.readouterr().err
    assert "another fetch is at work" in said
    assert f"pid 12 of node7.example.org; if it no longer runs there, remove {file}" in said


def test_a_file_system_that_takes_no_files_either_is_a_failure(tmp_path: Path) -> None:
    """A lock that nobody could write down is none."""
    file = tmp_path / "lock"
    (tmp_path / "lock.holders").touch()
    handle = os.open(file, os.O_RDWR | os.O_CREAT)
    with pytest.raises(FileExistsError):
        Lock(handle, file).take()
    os.close(handle)
