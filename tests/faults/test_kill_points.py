"""A training killed, starved or damaged at every point of its writing: the same command ends in the
same bits.

Real processes and real signals (tests/faults/launcher.py). A point is the moment before, in the
middle of or after a write, a rename or a removal. The long tier is `pytest -m "slow or faults" -rP
tests/faults/test_kill_points.py`, which also says how many kills there were.
"""

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from replicate.storage.files import read_json
from tests.faults.launching import MODELS, Ended, Launcher, Run, complaints, launching, parts_of
from tests.stages.pipeline import Pipeline

MAIN = "adversarial_nets"
STEPS_PER_EPOCH = 2
slow = pytest.mark.slow
EVERY_MODEL = [pytest.param(name, marks=slow) for name in MODELS]


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    with launching(tmp_path_factory.mktemp("launcher")) as running:
        yield running


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pipeline = Pipeline(tmp_path_factory.mktemp("data"))
    pipeline.call("fetch", "--dataset", "digits", "--out", pipeline.manifest)
    pipeline.call(
        "prepare", "--dataset", "digits", "--manifest", pipeline.manifest, "--out", pipeline.data
    )
    return pipeline.data


class Whole(NamedTuple):
    """An undisturbed run: what it leaves, and the seconds it took."""

    results: tuple[bytes, bytes]
    seconds: float


@pytest.fixture(scope="module")
def whole(
    launcher: Launcher, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Whole]:
    known: dict[str, Whole] = {}

    def of(model: str) -> Whole:
        if model not in known:
            run, started = Run(tmp_path_factory.mktemp("whole"), data, model), time.monotonic()
            assert launcher.run(run.words).status == 0
            known[model] = Whole(run.results(), time.monotonic() - started)
            run.assert_tidy()
        return known[model]

    return of


def resumed_at(ended: Ended) -> int:
    """The step that a run says it goes on from; 0 if it began anew."""
    found = re.search(r"goes on from epoch (\d+), step (\d+)\.", ended.out)
    return int(found[1]) * STEPS_PER_EPOCH + int(found[2]) if found else 0


def assert_nothing_lost(run: Run, point: str, whole: tuple[bytes, bytes]) -> None:
    """After a kill: results whole or absent, and the checkpoint before the one that was being
    written still there.
    """
    files = (run.weights, run.weights.with_suffix(".json"))
    for path, content in zip(files, whole, strict=True):
        assert not path.exists() or path.read_bytes() == content, point
    writing = re.search(r"step-(\d+)", point)
    if writing and int(writing[1]) > 0 and not run.weights.exists():
        assert run.saved()[-1:] >= [int(writing[1]) - 1], point


def assert_goes_on(
    launcher: Launcher, run: Run, whole: tuple[bytes, bytes], *warnings: str
) -> Ended:
    """The same command again: from the newest whole checkpoint, to the same bits, without a word of
    complaint.

    Where something is damaged, there is one line for each of `warnings`, a regular expression.
    """
    saved = run.saved()
    ended = launcher.run(run.words)
    assert ended.status == 0, ended.err
    told = complaints(ended.err)
    assert len(told) == len(warnings), told
    for line, warning in zip(told, warnings, strict=True):
        assert re.search(warning, line), line
    if not warnings:
        assert resumed_at(ended) == (saved[-1] if saved else 0)
    assert run.results() == whole
    run.assert_tidy()
    return ended


@pytest.mark.parametrize(
    ("stride", "least"),
    [pytest.param(19, 8, id="some"), pytest.param(1, 150, marks=pytest.mark.faults)],
)
def test_killed_at_each_point_of_a_run_from_nothing(
    launcher: Launcher,
    data: Path,
    whole: Callable[[str], Whole],
    tmp_path: Path,
    stride: int,
    least: int,
) -> None:
    """At least `least` kills, one for each run; every other run is the one that goes on."""
    results, kills = whole(MAIN).results, 0
    while True:
        run = Run(tmp_path / "run", data, MAIN)
        ended = launcher.run(run.words, at=1 + kills * stride)
        if ended.status == 0:
            break
        assert ended.status == -signal.SIGKILL, ended.err
        kills += 1
        assert_nothing_lost(run, launcher.point(), results)
        counted = sum(
            json.loads(path.read_text())["starts"]
            for path in run.state.glob("checkpoints/*/attempts.json")
        )
        assert_goes_on(launcher, run, results)
        assert read_json(run.weights.with_suffix(".run.json"))["earlier_attempts"] == counted
        shutil.rmtree(run.folder)
    assert run.results() == results
    assert kills >= least
    print(kills, "kills")


@pytest.mark.parametrize("model", EVERY_MODEL)
def test_killed_again_and_again_one_point_later_each_time(
    launcher: Launcher, data: Path, whole: Callable[[str], Whole], tmp_path: Path, model: str
) -> None:
    """Every run finds what the kill before left: the n-th is killed at its n-th point, until one
    ends first.
    """
    run, results, kills = Run(tmp_path, data, model), whole(model).results, 0
    while (ended := launcher.run(run.words, at=kills + 1)).status:
        assert ended.status == -signal.SIGKILL, ended.err
        assert not complaints(ended.err)
        kills += 1
        assert_nothing_lost(run, launcher.point(), results)
        assert len(parts_of(run.folder)) <= 2, "temporary files pile up"
        assert len(list(run.state.glob("checkpoints/*/step-*.safetensors"))) <= 3, (
            "checkpoints pile up"
        )
    assert run.results() == results
    run.assert_tidy()
    assert kills > 50, "a run has that many points at which a kill can lose something"
    print(kills, "kills")


@pytest.mark.parametrize("model", EVERY_MODEL)
def test_killed_at_random_moments(
    launcher: Launcher, data: Path, whole: Callable[[str], Whole], tmp_path: Path, model: str
) -> None:
    """Six kills of each model within the time that a whole run takes; after a run that ends first
    comes a new one.
    """
    results, chance, kills, place = whole(model).results, random.Random(model), 0, 0
    while kills < 6:
        run = Run(tmp_path / str(place), data, model)
        child = launcher.start(run.words)
        time.sleep(chance.uniform(0, whole(model).seconds))
        os.kill(
            child, signal.SIGKILL
        )  # not yet waited for: at worst a zombie, never another process
        ended = launcher.wait(child)
        if ended.status == 0:
            place += 1
            continue
        assert ended.status == -signal.SIGKILL, ended.err
        assert not complaints(ended.err)
        kills += 1
    assert_goes_on(launcher, run, results)


@pytest.mark.parametrize("stride", [pytest.param(53, id="some"), pytest.param(4, marks=slow)])
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=slow)])
def test_asked_to_stop_at_each_point(
    launcher: Launcher,
    data: Path,
    whole: Callable[[str], Whole],
    tmp_path: Path,
    number: int,
    stride: int,
) -> None:
    """Also in the middle of a write: while it trains, it stops with everything saved, and goes
    on.
    """
    results, at, stopped = whole(MAIN).results, 1, 0
    while True:
        run = Run(tmp_path / "run", data, MAIN)
        ended = launcher.run(run.words, at=at, number=number)
        if not launcher.point():
            break
        at += stride
        assert ended.status in (130, -signal.SIGTERM), ended
        if "stopped in epoch" in ended.err:
            stopped += 1
            assert ended.status == 130
            assert not parts_of(run.folder)
            assert run.saved()
        assert "Traceback" not in ended.err
        assert_goes_on(launcher, run, results)
        shutil.rmtree(run.folder)
    assert ended.status == 0
    assert stopped >= 60 // stride


@pytest.mark.parametrize(
    ("model", "number"),
    [(MAIN, signal.SIGTERM), (MAIN, signal.SIGINT)]
    + [pytest.param(name, signal.SIGTERM, marks=slow) for name in MODELS if name != MAIN],
)
def test_a_first_signal_saves_after_the_step(
    launcher: Launcher,
    data: Path,
    whole: Callable[[str], Whole],
    tmp_path: Path,
    model: str,
    number: int,
) -> None:
    run = Run(tmp_path, data, model)
    child = launcher.start(run.rarely(), slow_step=(1, 0.3))
    while launcher.line(child) != "in the slow step\n":
        pass
    os.kill(child, number)
    ended = launcher.wait(child)
    assert ended.status == 130
    assert complaints(ended.err) == [
        "stopping after this step; once more to stop at once.",
        f"stopped in epoch {min(2, run.epochs)} of {run.epochs}; "
        "the same command goes on from here.",
        "replicate train: interrupted.",
    ]
    assert run.saved() == [2]
    assert not run.weights.exists()
    assert resumed_at(assert_goes_on(launcher, run, whole(model).results)) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=slow)])
def test_a_second_signal_stops_at_once(
    launcher: Launcher, data: Path, whole: Callable[[str], Whole], tmp_path: Path, number: int
) -> None:
    """In a step of 30 seconds, which is not ended: nothing is saved after it, and what was saved
    before it stays.
    """
    run = Run(tmp_path, data, MAIN)
    child = launcher.start(run.words, slow_step=(3, 30.0))
    while launcher.line(child) != "in the slow step\n":
        pass
    os.kill(child, number)
    time.sleep(0.3)  # or the two would be one to the kernel
    os.kill(child, number)
    ended = launcher.wait(child)
    assert ended.status == 130
    told = ["stopping after this step; once more to stop at once.", "replicate train: interrupted."]
    assert complaints(ended.err) == told
    assert run.saved() == [2, 3]
    assert resumed_at(assert_goes_on(launcher, run, whole(MAIN).results)) == 3


@pytest.fixture
def half(launcher: Launcher, data: Path, tmp_path: Path) -> Run:
    """A run that was stopped with checkpoints of steps 2 and 3."""
    run = Run(tmp_path / "half", data, MAIN)
    child = launcher.start(run.words, slow_step=(3, 30.0))
    while launcher.line(child) != "in the slow step\n":
        pass
    os.kill(child, signal.SIGKILL)
    assert launcher.wait(child).status == -signal.SIGKILL
    assert run.saved() == [2, 3]
    return run


def copy_of(run: Run, data: Path, folder: Path) -> Run:
    shutil.copytree(run.folder, folder)
    return Run(folder, data, run.model, run.epochs)


def assert_one_sentence(ended: Ended, *pieces: str) -> None:
    """A fault that the run can do nothing about: exit status 2, and one line that says what to
    do.
    """
    assert ended.status == 2, ended
    (line,) = complaints(ended.err)
    assert line.startswith("replicate train: ")
    for piece in pieces:
        assert piece in line


def test_files_that_may_not_grow(
    launcher: Launcher, data: Path, whole: Callable[[str], Whole], half: Run, tmp_path: Path
) -> None:
    """The limit strikes the lock, the settings, or the next checkpoint: its beginning, its middle
    or its last byte.
    """
    checkpoint = max(path.stat().st_size for path in half.checkpoints.glob("*.safetensors"))
    for place, limit in enumerate((0, 3, 1000, checkpoint // 2, checkpoint - 1)):
        for begun in (True, False):
            folder = tmp_path / f"{place}-{begun}"
            run = copy_of(half, data, folder) if begun else Run(folder, data, MAIN)
            before = run.saved()
            assert_one_sentence(
                launcher.run(run.words, file_size=limit), "cannot write", "ulimit -f"
            )
            assert set(before) <= set(run.saved())
            assert not parts_of(folder)
            assert_goes_on(launcher, run, whole(MAIN).results)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB, mounted for the test; skips where this user may not mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(disk: Path, free: int) -> Path:
    """A file that leaves so many bytes of a disk free."""
    space, filler = os.statvfs(disk), disk / "filler"
    filler.write_bytes(bytes(space.f_bavail * space.f_frsize - free))
    return filler


@pytest.mark.parametrize(
    "free", [0, 8192, *(pytest.param(free, marks=slow) for free in (4096, 12288, 20480))]
)
def test_a_full_disk(
    launcher: Launcher,
    data: Path,
    whole: Callable[[str], Whole],
    half: Run,
    small_disk: Path,
    free: int,
) -> None:
    """Nothing that was saved is lost, and with space again the same command goes on from it."""
    run = copy_of(half, data, small_disk / "run")
    filler = fill(small_disk, free)
    assert_one_sentence(
        launcher.run(run.words),
        "cannot write",
        "the disk is full; free some space and run the same",
    )
    assert run.saved() == [2, 3]
    assert not parts_of(run.folder)
    filler.unlink()
    assert resumed_at(assert_goes_on(launcher, run, whole(MAIN).results)) == 3


def test_a_full_disk_at_the_very_start(
    launcher: Launcher, data: Path, whole: Callable[[str], Whole], small_disk: Path
) -> None:
    run, filler = Run(small_disk / "run", data, MAIN), fill(small_disk, 0)
    assert_one_sentence(launcher.run(run.words), "cannot write", "the disk is full")
    filler.unlink()
    assert_goes_on(launcher, run, whole(MAIN).results)


def test_a_read_only_disk(
    launcher: Launcher, data: Path, whole: Callable[[str], Whole], half: Run, small_disk: Path
) -> None:
    run = copy_of(half, data, small_disk / "run")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert_one_sentence(
        launcher.run(run.words),
        "cannot write",
        "the file system is read-only; choose another folder",
    )
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert_goes_on(launcher, run, whole(MAIN).results)


def test_progress_that_cannot_be_written_stops_nothing(
    launcher: Launcher, data: Path, whole: Callable[[str], Whole], tmp_path: Path
) -> None:
    """It only informs; a training of days must not end for it."""
    run = Run(tmp_path / "run", data, MAIN)
    obstacle = run.state / "progress"
    obstacle.parent.mkdir(parents=True)
    obstacle.write_text("mine")
    ended = launcher.run(run.words)
    assert ended.status == 0, ended.err
    assert complaints(ended.err) == []
    assert run.results() == whole(MAIN).results
    assert obstacle.read_text() == "mine"


@pytest.mark.parametrize(
    "place",
    [
        "state/checkpoints",
        "out",
        pytest.param("state", marks=slow),
    ],
)
def test_a_file_in_the_place_of_a_folder(
    launcher: Launcher, data: Path, whole: Callable[[str], Whole], tmp_path: Path, place: str
) -> None:
    run = Run(tmp_path / "run", data, MAIN)
    obstacle = run.folder / place
    obstacle.parent.mkdir(parents=True)
    obstacle.write_text("mine")
    assert_one_sentence(launcher.run(run.words), "cannot write", "move that file away")
    assert obstacle.read_text() == "mine"
    obstacle.unlink()
    assert_goes_on(launcher, run, whole(MAIN).results)


def flipped(content: bytes, bit: int) -> bytes:
    return content[: bit // 8] + bytes([content[bit // 8] ^ 1 << bit % 8]) + content[bit // 8 + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        "cut",
        "older",
        "note edited",
        *(
            pytest.param(name, marks=slow)
            for name in ("empty", "missing", "note cut", "note empty", "note of another")
        ),
    ],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    launcher: Launcher, data: Path, whole: Callable[[str], Whole], half: Run, damage: str
) -> None:
    notes = sorted(half.checkpoints.glob("step-*.json"))
    (old, new), (old_note, note) = [path.with_suffix(".safetensors") for path in notes], notes
    if damage == "cut":
        new.write_bytes(new.read_bytes()[:-1])
    elif damage == "empty":
        new.write_bytes(b"")
    elif damage == "missing":
        new.unlink()
    elif damage == "older":
        new.write_bytes(old.read_bytes())
    elif damage == "note cut":
        note.write_bytes(note.read_bytes()[:-20])
    elif damage == "note empty":
        note.write_bytes(b"")
    elif damage == "note edited":
        content = json.loads(note.read_bytes())
        content["history"]["chosen_epoch"] = [2, 2]
        note.write_text(json.dumps(content))
    else:
        note.write_bytes(old_note.read_bytes())
    told = r"warning: checkpoint step-0+3 is damaged \(.*\); the one before it is used\.$"
    assert resumed_at(assert_goes_on(launcher, half, whole(MAIN).results, told)) == 2


@pytest.mark.parametrize("count", [2, pytest.param(40, marks=slow)])
@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
def test_a_flipped_bit_is_seen(
    launcher: Launcher,
    data: Path,
    whole: Callable[[str], Whole],
    half: Run,
    tmp_path: Path,
    suffix: str,
    count: int,
) -> None:
    """Bits of tensors and of notes, drawn by chance; one that leaves the note's meaning (1e-05,
    1E-05) may pass.
    """
    chance = random.Random(f"{suffix} {count}")
    for place in range(count):
        run = copy_of(half, data, tmp_path / str(place))
        path = sorted(run.checkpoints.glob(f"step-*{suffix}"))[-1]
        content = path.read_bytes()
        path.write_bytes(flipped(content, chance.randrange(len(content) * 8)))
        told = ["step-0+3 is damaged .*; the one before it is used"]
        try:
            same = suffix == ".json" and json.loads(path.read_bytes()) == json.loads(content)
        except ValueError:
            same = False
        assert_goes_on(launcher, run, whole(MAIN).results, *([] if same else told))


def test_with_no_whole_checkpoint_left_it_begins_anew_and_says_so(
    launcher: Launcher, data: Path, whole: Callable[[str], Whole], half: Run
) -> None:
    for path in half.checkpoints.glob("step-*.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])
    told = (
        "step-0+3 is damaged .*; the one before it is used",
        "step-0+2 is damaged .*; training starts from the beg",
    )
    assert_goes_on(launcher, half, whole(MAIN).results, *told)
    assert half.steps_here() == (4, 4)


def test_two_at_once(
    launcher: Launcher, data: Path, whole: Callable[[str], Whole], tmp_path: Path
) -> None:
    """The second is told who trains, and the first is not disturbed."""
    run = Run(tmp_path, data, MAIN)
    first = launcher.start(run.words, slow_step=(2, 1.0))
    while launcher.line(first) != "in the slow step\n":
        pass
    assert_one_sentence(
        launcher.run(run.words),
        f"another process (pid {first} of {socket.gethostname()}) is training this very run; wait until",
    )
    ended = launcher.wait(first)
    assert ended.status == 0
    assert not complaints(ended.err)
    assert run.results() == whole(MAIN).results
    run.assert_tidy()


def test_files_that_are_not_ours_stay(
    launcher: Launcher, data: Path, whole: Callable[[str], Whole], half: Run
) -> None:
    """Even with names that look like ours, in the folder of checkpoints and beside the results."""
    names = (
        "mine.txt",
        "step-1.json",
        "step-1.safetensors",
        "step-000000000001.safetensors.bak",
        "step-000000000004.npz",
        ".step-000000000001.json.part",
        ".mine.12345678.part",
        ".step-000000000003.json.ABCDEFGH.part",
    )
    out = half.weights.parent
    out.mkdir(exist_ok=True)
    mine = [
        *(half.checkpoints / name for name in names),
        out / ".weights.json.part",
        out / ".other.json.abcdefgh.part",
    ]
    for path in mine:
        path.write_text(path.name)
    (half.checkpoints / "step-000000000005.json").mkdir()
    folder = half.checkpoints
    assert launcher.run(half.words).status == 0
    assert half.results() == whole(MAIN).results
    assert [path.read_text() for path in mine] == [path.name for path in mine]
    ours = ["step-000000000004.json", "step-000000000004.safetensors", "run.json", "lock"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*names, "step-000000000005.json", *ours]
    )


def test_checkpoints_of_other_settings_are_told_about(
    launcher: Launcher, data: Path, half: Run, tmp_path: Path
) -> None:
    """Which settings differ, once, when the new run begins; not where it goes on, nor where nothing
    was saved.
    """
    other = Run(half.folder, data, MAIN, batch_size=599)
    old = half.checkpoints
    child = launcher.start(other.words, slow_step=(1, 30.0))
    while launcher.line(child) != "in the slow step\n":
        pass
    os.kill(child, signal.SIGKILL)
    (line,) = complaints(launcher.wait(child).err)
    assert line == (
        f"note: {old} holds a checkpoint of other settings, which is not used: "
        "config.batch_size: 600 -> 599. This run starts from the beginning; with the old settings "
        "it would go on. Delete that folder if nobody needs it."
    )
    ended = launcher.run(other.words)
    assert ended.status == 0
    assert not complaints(ended.err)
    assert half.saved() == [2, 3, 4], "the other settings' checkpoints stay"
    for path in old.glob("step-*"):
        path.unlink()
    ended = launcher.run(Run(half.folder, data, MAIN, batch_size=598).words)
    assert ended.status == 0
    assert not complaints(ended.err)
