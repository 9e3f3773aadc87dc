"""The training loop: repeatable bits, seeds that do not touch each other, failures that stay
visible.
"""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from replicate.errors import ReplicateError
from replicate.models.adversarial_nets import AdversarialConfig, AdversarialNets
from replicate.params import LARGEST, Likelihood, Selection
from replicate.progress.reporting import Progress
from replicate.training.checkpoint import CheckpointFolder
from replicate.training.streams import Streams
from replicate.training.sweep import VALIDATION_DRAW_OFFSET, Sweep

SMALL = {
    "batch_size": 10,
    "noise_dimension": 4,
    "generator_hidden": (12,),
    "discriminator_hidden": (6,),
    "pieces": 3,
    "epochs": 6,
    "discriminator_range": 0.1,
    "momentum_epochs": 4,
}


def images(count: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).random((count, 16), dtype=np.float32))


def make(
    folder: Path,
    seeds: tuple[int, ...] = (0, 1, 2),
    dtype: torch.dtype = torch.float32,
    kind: type[AdversarialNets] = AdversarialNets,
    every: float = 60.0,
    device: str = "cpu",
    **changes: Any,
) -> Sweep:
    model = kind(
        AdversarialConfig(**{**SMALL, **changes}),
        (1, 4, 4),
        Streams(seeds, torch.device(device), dtype),
    )
    selection, likelihood = Selection(every=2, samples=50), Likelihood(sigmas=(0.2, 0.4, 0.8))
    train, valid = (images(count).to(dtype).to(device) for count in (50, 20))
    return Sweep(
        model, train, valid, selection, likelihood, CheckpointFolder(folder / "checkpoints"), every
    )


def progress(folder: Path) -> Progress:
    return Progress(folder / "progress.json", "test", 6)


def run(folder: Path, *arguments: Any, **changes: Any) -> Sweep:
    sweep = make(folder, *arguments, **changes)
    assert sweep.run(progress(folder))
    return sweep


def assert_equal(one: Sweep, other: Sweep) -> None:
    assert vars(one.history) == vars(other.history)
    for group in ("parameters", "slots"):
        for name, value in getattr(one.model, group).items():
            assert torch.equal(value, getattr(other.model, group)[name]), name
    for name, value in one.best.items():
        assert torch.equal(value, other.best[name]), name


def test_the_same_run_twice_gives_the_same_bits(tmp_path: Path) -> None:
    assert_equal(run(tmp_path / "a"), run(tmp_path / "b"))


@pytest.mark.parametrize("schedule", ["simultaneous", "alternating"])
def test_a_seed_alone_agrees_with_itself_in_company(tmp_path: Path, schedule: str) -> None:
    """Contract 4: within 1e-10 in float64 over the first steps (30 here)."""
    company = run(tmp_path / "a", (0, 1, 2), torch.float64, schedule=schedule)
    for place, seed in enumerate((0, 1, 2)):
        alone = run(tmp_path / str(seed), (seed,), torch.float64, schedule=schedule)
        for name, value in alone.model.parameters.items():
            torch.testing.assert_close(
                value[0], company.model.parameters[name][place], rtol=0, atol=1e-10
            )
        assert alone.history.chosen_epoch[0] == company.history.chosen_epoch[place]


def test_seeds_differ(tmp_path: Path) -> None:
    sweep = run(tmp_path)
    weights = sweep.model.parameters["generator.0.weight"]
    assert not torch.equal(weights[0], weights[1])


class Stopping(AdversarialNets):
    """Sends this process a real SIGINT in the middle of the given step."""

    at = 0

    def train_step(self, batch: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
        if step == self.at:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGINT)
        return super().train_step(batch, epoch, step)


@pytest.mark.parametrize("at", [0, 3, 4, 9, 14, 17, 28, 29])
def test_interrupted_and_resumed_is_the_uninterrupted_run(
    tmp_path: Path, at: int, monkeypatch: Any
) -> None:
    """5 steps an epoch: in the middle of an epoch, at its end (a look is due), in the first and the
    last step.
    """
    whole = run(tmp_path / "whole")
    monkeypatch.setattr(Stopping, "at", at)
    first = make(tmp_path / "parts", kind=Stopping)
    assert not first.run(progress(tmp_path))
    assert first.step == at + 1
    assert_equal(run(tmp_path / "parts"), whole)


def run_of(
    folder: Path, epochs: int, kind: type[AdversarialNets] = AdversarialNets, rate: float = 0.1
) -> Sweep:
    """A run of so many epochs as the stage `train` makes it: it ends, or its state is kept."""
    sweep = make(folder, kind=kind, epochs=epochs)
    settings = {"config": {"epochs": epochs, "rate": rate}}
    sweep.checkpoints = CheckpointFolder.of_run(
        folder / "checkpoints", "run", settings, extends=True
    )
    with sweep.checkpoints.locked():
        if sweep.run(progress(folder)):
            sweep.checkpoints.end()
    return sweep


@pytest.mark.parametrize("first", [1, 2, 3])
def test_more_epochs_go_on_from_the_end_of_fewer(tmp_path: Path, first: int) -> None:
    """Every second epoch has a look: the last one of 1 and 3 epochs is none of the longer run's."""
    whole = run_of(tmp_path / "whole", 6)
    short = run_of(tmp_path / "parts", first)
    assert_equal(short, run_of(tmp_path / "again", first))
    longer = run_of(tmp_path / "parts", 6)
    assert longer.resumed_at == 5 * first
    assert_equal(longer, whole)
    (folder,) = (tmp_path / "parts" / "checkpoints").iterdir()
    assert folder == longer.checkpoints.folder, "the longer run's state holds the shorter one's"
    assert [path.name for path in folder.glob("step-*.json")] == ["step-000000000030.json"]


def test_the_same_run_again_ends_at_once_in_the_same_bits(tmp_path: Path) -> None:
    whole, again = run_of(tmp_path, 5), run_of(tmp_path, 5)
    assert again.resumed_at == again.step == 25
    assert_equal(again, whole)


def test_a_stopped_run_goes_on_under_another_number_of_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in step 12 of 30: 4 epochs (20 steps) go on from there, and 2 epochs (10 steps) start
    anew.
    """
    monkeypatch.setattr(Stopping, "at", 11)
    run_of(tmp_path / "parts", 6, kind=Stopping)
    fewer = run_of(tmp_path / "parts", 2)
    assert fewer.resumed_at == 0
    assert_equal(fewer, run_of(tmp_path / "two", 2))
    other = run_of(tmp_path / "parts", 4, rate=0.2)
    assert other.resumed_at == 0, "another recipe's states are another run's"
    four = run_of(tmp_path / "parts", 4)
    assert four.resumed_at == 12
    assert_equal(four, run_of(tmp_path / "four", 4))


def test_a_run_stopped_at_an_epoch_s_end_is_no_state_of_a_run_that_ends_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The longer run has no look at its third epoch, which the shorter one must have."""
    monkeypatch.setattr(Stopping, "at", 14)
    run_of(tmp_path / "parts", 6, kind=Stopping)
    three = run_of(tmp_path / "parts", 3)
    assert three.history.epochs == [2, 3]
    assert_equal(three, run_of(tmp_path / "three", 3))


def test_a_damaged_state_of_another_length_is_not_used(tmp_path: Path) -> None:
    run_of(tmp_path, 3)
    (state,) = tmp_path.glob("checkpoints/*/step-*.safetensors")
    state.write_bytes(state.read_bytes()[:-1])
    longer = run_of(tmp_path, 6)
    assert longer.resumed_at == 0
    assert_equal(longer, run_of(tmp_path / "whole", 6))


@pytest.mark.slow
@pytest.mark.usefixtures("flushed_to_disk")
def test_writing_checkpoints_takes_a_small_share_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that steps of training and checkpoints move on, writing a checkpoint being as slow
    as 8 steps.
    """
    now, writes = 0.0, 0

    class Ticking(AdversarialNets):
        def train_step(self, batch: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
            nonlocal now
            now += 1.0
            return super().train_step(batch, epoch, step)

    class SlowFolder(CheckpointFolder):
        def save(self, step: int, tensors: Any, note: Any) -> None:
            nonlocal now, writes
            now += 8.0
            writes += 1
            super().save(step, tensors, note)

    monkeypatch.setattr("replicate.training.sweep.time.monotonic", lambda: now)
    monkeypatch.setattr("replicate.progress.reporting.time.monotonic", lambda: now)
    sweep = make(tmp_path, seeds=(0,), kind=Ticking, every=3.0, epochs=100)
    sweep.checkpoints = SlowFolder(tmp_path / "checkpoints")
    assert sweep.run(progress(tmp_path))
    steps = sweep.last_step
    # What the first costs is not known before; the last, at the end of the run, is always written.
    free = 2
    assert writes > free
    assert (writes - free) * 8.0 <= 0.05 * (steps + 8.0 * writes)


def test_checkpoints_by_time_are_resumed_from(tmp_path: Path) -> None:
    """With a checkpoint before every step, a run that breaks anywhere goes on to the same bits."""
    whole = run(tmp_path / "whole")

    class Breaking(AdversarialNets):
        def train_step(self, batch: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
            if step == 10:
                raise RuntimeError("power cut")
            return super().train_step(batch, epoch, step)

    began = time.monotonic()
    with pytest.raises(RuntimeError, match="power cut"):
        make(tmp_path / "parts", kind=Breaking, every=-1).run(progress(tmp_path))
    resumed = make(tmp_path / "parts")
    resumed._restore()
    assert resumed.step == 10
    assert 0 < resumed.earlier_seconds < time.monotonic() - began
    assert_equal(run(tmp_path / "parts"), whole)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing", "note"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = run(tmp_path / "whole")
    for at in (7, 12):
        monkeypatch.setattr(Stopping, "at", at)
        assert not make(tmp_path / "parts", kind=Stopping).run(progress(tmp_path))
    newest = max((tmp_path / "parts" / "checkpoints").glob("*.safetensors"))
    content = newest.read_bytes()
    if damage == "truncated":
        newest.write_bytes(content[:-5])
    elif damage == "flipped":
        newest.write_bytes(content[:-5] + bytes([content[-5] ^ 1]) + content[-4:])
    elif damage == "missing":
        newest.unlink()
    else:
        newest.with_suffix(".json").write_text("{")
    resumed = make(tmp_path / "parts")
    resumed._restore()
    assert resumed.step == 8
    assert "is damaged" in capsys.readouterr().err
    assert_equal(run(tmp_path / "parts"), whole)


def test_only_the_last_two_checkpoints_stay(tmp_path: Path) -> None:
    run(tmp_path, every=-1)
    assert len(list((tmp_path / "checkpoints").glob("*.safetensors"))) == 2
    assert len(list((tmp_path / "checkpoints").glob("*.json"))) == 2


class Diverging(AdversarialNets):
    """Seed number 1 of the block gets a weight that is not a number in epoch 3."""

    def train_step(self, batch: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
        if step == 12:
            self.parameters["generator.0.weight"][1, 0, 0] = torch.nan
        return super().train_step(batch, epoch, step)


def test_a_diverged_seed_is_named_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    healthy, found = run(tmp_path / "a"), run(tmp_path / "b", kind=Diverging)
    assert found.history.failed == {
        "1": {"epoch": 3, "reason": "the loss or a weight is not a finite number"}
    }
    assert "seed 1 failed in epoch 3" in capsys.readouterr().out
    for place in (0, 2):
        assert (
            found.history.chosen_log_likelihood[place]
            == healthy.history.chosen_log_likelihood[place]
        )
        for name, value in found.model.parameters.items():
            assert torch.equal(value[place], healthy.model.parameters[name][place])
    assert [row[1] for row in found.history.log_likelihood] == [
        healthy.history.log_likelihood[0][1],
        None,
        None,
    ]
    json.dumps(vars(found.history), allow_nan=False)


class Overflowing(AdversarialNets):
    """From epoch 4 on, seed number 1 draws an image that is no number, by weights that all are."""

    def sample(self, count: int, draw: int) -> Tensor:
        images = super().sample(count, draw)
        if draw >= VALIDATION_DRAW_OFFSET + 4:
            images[1, 0] = torch.nan
        return images


def test_a_seed_that_draws_no_numbers_is_named_and_keeps_the_epoch_before(tmp_path: Path) -> None:
    healthy, found = run(tmp_path / "a"), run(tmp_path / "b", kind=Overflowing)
    history = found.history
    assert history.failed == {
        "1": {"epoch": 4, "reason": "a generated image is not a finite number"}
    }
    assert history.chosen_epoch[1] == 2
    assert history.chosen_log_likelihood[1] == healthy.history.log_likelihood[0][1]
    for rows, expected in (
        (history.log_likelihood, healthy.history.log_likelihood),
        (history.sigma, healthy.history.sigma),
    ):
        assert rows == [expected[0], *([row[0], None, row[2]] for row in expected[1:])]


def test_a_checkpoint_names_its_tensors_by_what_they_are(tmp_path: Path) -> None:
    """Other versions resume from it, so these names are those of a format."""
    sweep = run(tmp_path, epochs=2)
    checkpoint = sweep.checkpoints.load(sweep.last_step)
    assert checkpoint is not None
    tensors, note = checkpoint
    names = {
        "parameter": sweep.model.parameters,
        "slot": sweep.model.slots,
        "best": sweep.best,
        "sum": sweep.history.losses,
    }
    assert tensors.keys() == {f"{group}/{name}" for group in names for name in names[group]}
    assert {"history", "seconds", "step"} <= note.keys()


def test_a_run_whose_seeds_all_failed_ends_early(tmp_path: Path) -> None:
    sweep = make(tmp_path)
    sweep.train[3, 2] = torch.nan
    assert sweep.run(progress(tmp_path))
    assert sorted(sweep.history.failed) == ["0", "1", "2"]
    assert sweep.step == 5  # one epoch


def test_the_chosen_weights_are_those_of_the_best_look(tmp_path: Path) -> None:
    sweep = run(tmp_path)
    for place in range(3):
        curve = [row[place] for row in sweep.history.log_likelihood]
        assert sweep.history.chosen_log_likelihood[place] == max(v for v in curve if v is not None)
        assert sweep.history.chosen_epoch[place] == sweep.history.epochs[int(np.argmax(curve))]  # type: ignore[arg-type]
    again = make(tmp_path / "again", epochs=sweep.history.chosen_epoch[0])
    assert again.run(progress(tmp_path))
    for name, value in again.model.parameters.items():
        assert torch.equal(value[0], sweep.best[name][0])


def test_the_losses_of_an_epoch_are_the_means_over_its_steps(tmp_path: Path) -> None:
    losses_of_steps: list[dict[str, Tensor]] = []

    class Observed(AdversarialNets):
        def train_step(self, batch: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
            losses = super().train_step(batch, epoch, step)
            losses_of_steps.append({name: loss.double() for name, loss in losses.items()})
            return losses

    sweep = run(tmp_path, kind=Observed)
    steps = sweep.steps_per_epoch
    assert len(losses_of_steps) == 6 * steps > 6
    assert sweep.history.epochs == [2, 4, 6]
    assert sweep.history.losses.keys() == losses_of_steps[0].keys()
    for name, curve in sweep.history.losses.items():
        for epoch, means in zip(sweep.history.epochs, curve, strict=True):
            of_epoch = losses_of_steps[(epoch - 1) * steps : epoch * steps]
            expected = torch.stack([losses[name] for losses in of_epoch]).mean(0)
            assert means == pytest.approx(expected.tolist(), rel=1e-12)


def test_a_checkpoint_without_its_seconds_is_resumed_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As earlier versions wrote it."""
    save = CheckpointFolder.save

    def save_without_seconds(
        folder: CheckpointFolder, step: int, tensors: dict[str, np.ndarray], note: dict[str, Any]
    ) -> None:
        save(folder, step, tensors, {"history": note["history"]})

    monkeypatch.setattr(CheckpointFolder, "save", save_without_seconds)
    first = run(tmp_path, epochs=2)
    again = run(tmp_path, epochs=2)
    assert again.resumed_at == again.last_step
    assert again.earlier_seconds == 0
    assert_equal(first, again)


def test_after_every_epoch_the_progress_says_how_many_are_done(tmp_path: Path) -> None:
    done: list[float] = []

    class Observed(Progress):
        def should_report(self) -> bool:
            return False

        def update(self, epoch: float, text: str, state: str = "running") -> None:
            done.append(epoch)
            super().update(epoch, text, state)

    assert make(tmp_path).run(Observed(tmp_path / "progress.json", "test", 6))
    assert done == [1, 2, 3, 4, 5, 6]


def test_no_epoch_is_chosen_by_the_noise_of_a_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test samples with the draws 0, 1, ...; as a setting their number is at most `LARGEST`."""
    draws: list[int] = []
    sample = AdversarialNets.sample

    def recorded(self: AdversarialNets, count: int, draw: int) -> Tensor:
        draws.append(draw)
        return sample(self, count, draw)

    monkeypatch.setattr(AdversarialNets, "sample", recorded)
    run(tmp_path)
    assert len(set(draws)) == 3, "every validated epoch has noise of its own"
    assert min(draws) > LARGEST


def test_two_processes_cannot_train_the_same_run(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "run")
    with (
        folder.locked(),
        pytest.raises(ReplicateError, match="is training this very run"),
        CheckpointFolder(tmp_path / "run").locked(),
    ):
        pass
    with folder.locked():
        pass


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_repeats_its_bits_and_agrees_with_the_cpu_at_first(tmp_path: Path) -> None:
    one, two = (run(tmp_path / name, device="cuda") for name in "ab")
    assert_equal(one, two)
    noise = {
        name: Streams((0,), torch.device(name)).uniform("noise", 0, 5).shape
        for name in ("cpu", "cuda")
    }
    assert noise["cpu"] == noise["cuda"]
    assert one.history.chosen_epoch != [None] * 3
