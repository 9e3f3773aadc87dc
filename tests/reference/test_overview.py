"""What `--status` says of fabricated blocks; it starts and writes nothing."""

import fcntl
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from replicate.__main__ import main
from replicate.reference_runs.blocks import RESULTS, Block, Folders, blocks_of
from replicate.reference_runs.overview import Standing, lines, standings
from replicate.reference_runs.plan import read_plan
from replicate.storage.files import write_json
from tests.reference.project import PLAN

ENTRY = PLAN["entries"][0] | {
    "seeds": ["0", "1", "2", "3"],
    "models": {"vae": {"digits": {"epochs": 100}}, "rbm": {"digits": {"epochs": 10}}},
    "seconds_per_epoch": {"vae": 7200.0, "rbm": 360.0},
}

COMMAND = ["reference", "--plan", "plan.yaml", "--folder", "work", "--results", "results"]


@pytest.fixture
def blocks(tmp_path: Path) -> list[Block]:
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(PLAN | {"entries": [ENTRY]}, sort_keys=False))
    return blocks_of(read_plan(path), Folders(tmp_path / "work", tmp_path / "results"))


def finish(block: Block, epochs: int, seconds: float) -> None:
    record: dict[str, Any] = {
        "epochs": epochs,
        "steps": 10 * epochs,
        "steps_in_this_process": 5 * epochs,
        "wall_seconds": seconds,
    }
    for name in RESULTS:
        result = {"epochs": epochs, "seeds": [0], "failed": {}}
        write_json(block.results_folder / f"{name}.json", result)
        write_json(block.results_folder / f"{name}.run.json", record)


def begin(block: Block, epoch: int, seconds: float) -> Path:
    progress = {
        "epoch": epoch,
        "seconds_per_epoch": seconds,
        "seconds_left": seconds * (block.epochs - epoch),
    }
    write_json(block.state / "progress" / f"digits-{block.model}-{block.seeds}.json", progress)
    lock = block.state / "checkpoints" / "a" / "lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    return lock


def test_states_epochs_and_hours(blocks: list[Block]) -> None:
    """Of the VAE seed 0 is done, 1 runs, 2 goes on, and 3 has a rate of another; none of the RBM.

    By hand: 75 times 72 s are left of seed 1.
    """
    vae = [block for block in blocks if block.model == "vae"]
    finish(vae[0], 100, 3600.0)  # half of the steps in an hour: 72 s an epoch
    lock = begin(vae[1], 25, 72.0)
    begin(vae[2], 50, 144.0)
    handle = os.open(lock, os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        overview = standings(blocks)
    finally:
        os.close(handle)
    done, running, begun, untouched = (row for row in overview if row.block.model == "vae")
    rbm = [row for row in overview if row.block.model == "rbm"]
    assert (done.state, done.epoch, done.seconds) == ("done", 100, 0.0)
    assert (running.state, running.epoch, running.seconds) == ("running", 25, 75 * 72.0)
    assert (begun.state, begun.epoch, begun.seconds) == ("pending", 50, 50 * 144.0)
    assert (untouched.state, untouched.epoch) == ("pending", 0)
    assert untouched.seconds in (100 * 72.0, 100 * 144.0)
    assert [row.seconds for row in rbm] == [3600.0] * 4
    assert all(row.measured for row in (done, running, begun, untouched))
    assert not any(row.measured for row in rbm)
    assert untouched.seconds is not None
    hours = (75 * 72 + 50 * 144 + untouched.seconds + 4 * 3600) / 3600
    # In the order of the plan, seed by seed: rbm 0 beside vae 1, rbm 1 beside it, ...
    first = second = 0.0
    for row in overview:
        assert row.seconds is not None
        if first <= second:
            first += row.seconds
        else:
            second += row.seconds
    together = max(first, second) / 3600
    text = lines(overview, 2)
    assert text[0] == "8 blocks: 1 done, 1 running, 6 pending"
    assert "  running  first vae seeds 1: epoch 25/100, 1 h 30 min left" in text
    assert "  pending  first rbm seeds 0, 1, 2, 3: 10 epochs, about 60 min each" in text
    assert text[-1].startswith(
        f"Left on a CPU: 7 blocks, {hours:.1f} hours of training, "
        f"{together:.1f} with 2 side by side"
    )
    assert "the rates of 4 are the plan's" in text[-1]


def _standing(block: Block, seconds: float | None) -> Standing:
    return Standing(block, "pending", 0, seconds, measured=True)


@pytest.mark.parametrize(
    ("seconds", "at_once", "words"),
    [
        # One block is no faster with eight lanes.
        ([36_000.0], 8, "1 blocks, 10.0 hours of training, 10.0 with 1 side by side."),
        # The last one begins when both lanes have an hour behind them.
        ([3600.0, 3600.0, 7200.0], 2, "3 blocks, 4.0 hours of training, 3.0 with 2 side by side."),
        ([None, None], 2, "2 blocks, of which none has a rate yet."),
        ([3600.0, None], 1, "2 blocks, 1.0 hours of training, 1.0 with 1 side by side; 1 of them"),
    ],
)
def test_hours_are_those_of_a_schedule(
    blocks: list[Block], seconds: list[float | None], at_once: int, words: str
) -> None:
    rows = [_standing(block, each) for block, each in zip(blocks, seconds, strict=False)]
    assert lines(rows, at_once)[-1].startswith(f"Left on a CPU: {words}")


def test_a_block_whose_seeds_all_failed_early_has_the_rate_of_its_own_epochs(
    blocks: list[Block],
) -> None:
    """Ten of 100 epochs in 3600 s, half of them in this process: 720 s an epoch."""
    vae = [block for block in blocks if block.model == "vae"]
    finish(vae[0], 100, 3600.0)
    failed = {"epochs": 100, "seeds": [0], "failed": {"0": {"epoch": 10, "reason": "nan"}}}
    write_json(vae[0].results_folder / "train.json", failed)
    row = next(row for row in standings(blocks) if row.block == vae[1])
    assert row.seconds == 100 * 720.0


def test_a_longer_plan_makes_a_done_block_pending(blocks: list[Block]) -> None:
    finish(blocks[0], 60, 2160.0)
    standing = standings(blocks)[0]
    assert (standing.state, standing.epoch, standing.seconds) == ("pending", 60, 40 * 72.0)


def test_results_that_are_not_whole_are_not_done(blocks: list[Block]) -> None:
    finish(blocks[0], 100, 1.0)
    (blocks[0].results_folder / "recognition.run.json").unlink()
    assert standings(blocks)[0].state == "pending"


def test_status_writes_nothing(
    blocks: list[Block], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert main([*COMMAND, "--status"]) == 0
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
    blocks: list[Block],
    tmp_path: Path,
    words: list[str],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as caught:
        main([*COMMAND, *words])
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert sentence in message
    assert message.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before
