"""What `--status` says of fabricated blocks; it starts and writes nothing."""

import fcntl
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from replicate.__main__ import main
from replicate.files import write_json
from replicate.reference.blocks import RESULTS, Block, Folders, blocks_of
from replicate.reference.overview import lines, standings
from replicate.reference.plan import read_plan
from tests.reference.project import PLAN

ENTRY = PLAN["entries"][0] | {
    "seeds": ["0", "1", "2", "3"],
    "models": {"vae": {"digits": {"epochs": 100}}, "rbm": {"digits": {"epochs": 10}}},
    "seconds_per_epoch": {"vae": 7200.0, "rbm": 360.0},
}


@pytest.fixture
def blocks(tmp_path: Path) -> list[Block]:
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(PLAN | {"entries": [ENTRY]}, sort_keys=False))
    return blocks_of(read_plan(tmp_path / "plan.yaml"), Folders(tmp_path / "work", tmp_path / "results"))


def finish(block: Block, epochs: int, seconds: float) -> None:
    record: dict[str, Any] = {"epochs": epochs, "steps": 10 * epochs, "steps_in_this_process": 5 * epochs}
    for name in RESULTS:
        write_json(block.kept / f"{name}.json", {"epochs": epochs})
        write_json(block.kept / f"{name}.run.json", record | {"wall_seconds": seconds})


def begin(block: Block, epoch: int, seconds: float) -> Path:
    said = {"epoch": epoch, "seconds_per_epoch": seconds, "seconds_left": seconds * (block.epochs - epoch)}
    write_json(block.state / "progress" / f"digits-{block.model}-{block.seeds}.json", said)
    lock = block.state / "checkpoints" / "a" / "lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    return lock


def test_states_epochs_and_hours(blocks: list[Block]) -> None:
    """By hand: seed 0 is done; 1 runs: 75 times 72 s left; 2 goes on from epoch 50; 3 has another's rate."""
    finish(blocks[0], 100, 3600.0)  # half of the steps in an hour: 72 s an epoch
    lock = begin(blocks[1], 25, 72.0)
    begin(blocks[2], 50, 144.0)
    handle = os.open(lock, os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        found = standings(blocks)
    finally:
        os.close(handle)
    assert [(one.state, one.epoch) for one in found[:4]] == [
        ("done", 100),
        ("running", 25),
        ("pending", 50),
        ("pending", 0),
    ]
    assert [one.seconds for one in found[:3]] == [0.0, 75 * 72.0, 50 * 144.0]
    assert found[3].seconds in (100 * 72.0, 100 * 144.0)
    assert [one.seconds for one in found[4:]] == [3600.0] * 4
    assert [one.measured for one in found] == [True] * 4 + [False] * 4
    hours = (75 * 72 + 50 * 144 + found[3].seconds + 4 * 3600) / 3600
    shown = lines(found, 2)
    assert shown[0] == "8 blocks: 1 done, 1 running, 6 pending"
    assert "  running  first vae seeds 1: epoch 25/100, 1 h 30 min left" in shown
    assert "  pending  first rbm seeds 0, 1, 2, 3: 10 epochs, about 60 min each" in shown
    assert shown[-1].startswith(
        f"Left on a CPU: 7 blocks, {hours:.1f} hours of training, {hours / 2:.1f} with 2 side by side"
    )
    assert "the rates of 4 are the plan's" in shown[-1]


def test_a_longer_plan_makes_a_done_block_pending(blocks: list[Block]) -> None:
    finish(blocks[0], 60, 2160.0)
    one = standings(blocks)[0]
    assert (one.state, one.epoch, one.seconds) == ("pending", 60, 40 * 72.0)


def test_results_that_are_not_whole_are_not_done(blocks: list[Block]) -> None:
    finish(blocks[0], 100, 1.0)
    (blocks[0].kept / "recognition.run.json").unlink()
    assert standings(blocks)[0].state == "pending"


def test_status_writes_nothing(blocks: list[Block], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert main(["reference", "--status", "--plan", "plan.yaml", "--folder", "work", "--results", "results"]) == 0
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--plan", "none.yaml"], "none.yaml does not exist"),
        (["--side-by-side", "0"], "--side-by-side 0: a whole number from 1"),
        (["--minutes", "0"], "--minutes 0: a number above 0"),
        (["--minutes", "nan"], "--minutes nan: a number above 0"),
        (["--pack", "there", "--largest", "1x"], "--largest 1x: a size such as 16M"),
        (["--unpack", "there"], "there holds no pack"),
    ],
)
def test_what_cannot_be_done_ends_with_a_sentence_and_status_2(
    blocks: list[Block], tmp_path: Path, words: list[str], sentence: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as caught:
        main(["reference", "--plan", "plan.yaml", "--folder", "work", "--results", "results", *words])
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before
