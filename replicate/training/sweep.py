"""The training loop: a block of seeds side by side, with each epoch chosen by validation.

A seed that diverges is recorded with its epoch and left out; the others go on, because no seed
reads another's slice of any tensor. The chosen weights are those of the epoch with the highest
validation log-likelihood (docs/protocol.md, section 2).
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from replicate.likelihood.parzen import log_densities
from replicate.params import Likelihood, Precision, Selection
from replicate.progress.reporting import Progress, clear_line, stop_requests
from replicate.records.schema import Failure
from replicate.training.checkpoint import CheckpointFolder
from replicate.training.products import products_in

if TYPE_CHECKING:
    from replicate.models.base import GenerativeModel

#: The validation of epoch e samples with draw `VALIDATION_DRAW_OFFSET` + e; the test uses the draws
#: below, so the epoch is never chosen by the noise that it is tested with.
#: The parameters allow at most 10**9 draws (`params.LARGEST`), so none of them reaches it.
VALIDATION_DRAW_OFFSET = 1 << 32
#: Of the time between two checkpoints, the most that writing one may take: a block of many seeds on
#: a GPU has gigabytes of state, and trains quickly.
WRITING_SHARE = 1 / 20


@dataclass
class History:
    """The course of a run so far; part of every checkpoint.

    Attributes:
        epochs: the validated epochs, counted from 1.
        log_likelihood, sigma: of every validated epoch one value per seed: the validation
            log-likelihood in nats and its bandwidth; None for a seed that has failed.
        losses: loss -> the same, as means over an epoch.
        chosen_epoch, chosen_log_likelihood: one value per seed; None: no epoch is chosen yet.
        failed: seed -> when and why it failed.
    """

    epochs: list[int] = field(default_factory=list)
    log_likelihood: list[list[float | None]] = field(default_factory=list)
    sigma: list[list[float | None]] = field(default_factory=list)
    losses: dict[str, list[list[float | None]]] = field(default_factory=dict)
    chosen_epoch: list[int | None] = field(default_factory=list)
    chosen_log_likelihood: list[float | None] = field(default_factory=list)
    failed: dict[str, Failure] = field(default_factory=dict)


def _finite_or_none(values: Tensor) -> list[float | None]:
    """Floats for JSON, which has no NaN and no infinities: None stands for them."""
    numbers = values.double().cpu().numpy()
    results: list[float | None] = []
    for number in numbers:
        result = float(number) if np.isfinite(number) else None
        results.append(result)
    return results


class Sweep:
    """Trains `model` on `train` and chooses each seed's epoch on `valid`.

    Args:
        model: not yet initialised.
        train: (n, dimension) training rows on the model's device.
        valid: (k, dimension) validation rows, already cut to the protocol's first ones; None: no
            epoch is chosen by images, the last one is taken.
        selection: how often an epoch is validated, and with how many samples.
        likelihood: the bandwidths to try.
        checkpoints: where to store the state; locked by this process.
        checkpoint_every: the least seconds between two checkpoints, which a kill may cost; more
            where writing one takes long (`WRITING_SHARE`). Negative: one before every step.
        precision: of matrix products in training; validation is always in float32.
    """

    def __init__(
        self,
        model: "GenerativeModel",
        train: Tensor,
        valid: Tensor | None,
        selection: Selection,
        likelihood: Likelihood,
        checkpoints: CheckpointFolder,
        checkpoint_every: float = 60.0,
        precision: Precision = "float32",
    ) -> None:
        self.model = model
        self.train = train
        self.valid = valid
        self.selection = selection
        self.sigmas = likelihood.sigmas
        self.checkpoints = checkpoints
        self.checkpoint_every = checkpoint_every
        self.precision: Precision = precision

        self.seeds = model.streams.seeds
        self.rows_per_step = model.config.batch_size * model.batches_per_step
        # Rounded down: a last partial batch is left out of its epoch.
        self.steps_per_epoch = len(train) // self.rows_per_step
        self.last_step = model.config.epochs * self.steps_per_epoch

        # The reference rows, and chains that start at images, draw from it.
        model.train = train
        model.initialise(train)
        model.fit_statistics(train)
        # After `fit_statistics`, which may add parameters (an autoencoder's density of codes):
        # `_choose` copies every one of them, so `best` must have them all.
        self.best = {name: value.clone() for name, value in model.parameters.items()}
        seed_count = len(self.seeds)
        self.history = History(
            chosen_epoch=[None] * seed_count, chosen_log_likelihood=[None] * seed_count
        )
        #: Loss -> its sum over the steps of this epoch so far, (seeds,).
        self.sums: dict[str, Tensor] = {}
        self.step = 0
        self.resumed_at = 0
        #: Seconds that earlier processes spent on this run, up to the checkpoint.
        self.earlier_seconds = 0.0
        self._started = time.monotonic()
        self._saved = self._started
        #: Seconds that the latest checkpoint took to write.
        self._writing_seconds = 0.0

    def run(self, progress: Progress) -> bool:
        """Trains to the end; False: a signal stopped it before that, and the state is saved."""
        self._restore()
        images_per_epoch = len(self.seeds) * self.rows_per_step * self.steps_per_epoch
        epochs_done = self.step / self.steps_per_epoch
        with (
            stop_requests() as stop,
            progress.running(epochs_done, images_per_epoch),
        ):
            # Only the save after a run's last step comes before that epoch's validation, and so has
            # sums at an epoch's end; a run that goes on from there owes that validation.
            if self.sums and self.step % self.steps_per_epoch == 0:
                self._end_of_epoch(self.step // self.steps_per_epoch)
            while self.step < self.last_step and not self._all_failed():
                epoch = self.step // self.steps_per_epoch
                self._train_epoch(epoch, progress, stop)
                if self.step == self.last_step:
                    self._save()  # a longer run may not validate this epoch
                if self.step % self.steps_per_epoch == 0:
                    self._end_of_epoch(epoch + 1)
                    progress.update(epoch + 1, self._summary())
                if stop.is_set():
                    # After the last step it was saved above.
                    if self.step < self.last_step:
                        self._save()
                    return False
        return True

    def _all_failed(self) -> bool:
        failed = self.history.failed
        return len(failed) == len(self.seeds)

    def _has_failed(self, seed: int) -> bool:
        # As text: the history is kept as JSON, whose keys are text.
        return str(seed) in self.history.failed

    def _train_epoch(self, epoch: int, progress: Progress, stop: threading.Event) -> None:
        """Trains from the current step to the end of the epoch, or to the step after a signal."""
        streams = self.model.streams
        # Of the whole epoch even where it is resumed in the middle: the rows before are those
        # already seen.
        order = streams.order(epoch, len(self.train))
        first_batch = self.step % self.steps_per_epoch
        for batch in range(first_batch, self.steps_per_epoch):
            if self._checkpoint_is_due():
                self._save()
            start = batch * self.rows_per_step
            rows = order[:, start : start + self.rows_per_step]
            self._train_step(rows, epoch)
            if progress.should_report():
                epochs_done = self.step / self.steps_per_epoch
                summary = self._summary()
                progress.update(epochs_done, summary)
            if stop.is_set():
                return

    def _train_step(self, rows: Tensor, epoch: int) -> None:
        """One update on the training rows (seeds, rows per step)."""
        seeds, rows_per_step = rows.shape
        # One gather for all seeds; the view gives each seed its own batch again.
        images = self.train[rows.reshape(-1)]
        batch = images.view(seeds, rows_per_step, -1)
        # Around the step alone: validation and samples stay in float32 whatever training does.
        with products_in(self.precision):
            losses = self.model.train_step(batch, epoch, self.step)
        sums = self.sums
        for name, value in losses.items():
            # In float64: thousands of steps are summed.
            if name in sums:
                sums[name] = sums[name] + value
            else:
                sums[name] = value.double()
        self.step += 1

    def _end_of_epoch(self, epoch: int) -> None:
        """Records the seeds that diverged in this epoch; validates the epoch if that is due."""
        losses = {name: total / self.steps_per_epoch for name, total in self.sums.items()}
        self.sums = {}
        # Once an epoch is enough: a loss that is no number in any step leaves its sum none.
        for seed_index, is_finite in enumerate(self._finite_seeds(losses)):
            if not is_finite:
                self._fail(seed_index, epoch, "the loss or a weight is not a finite number")
        is_last = epoch == self.model.config.epochs
        # Before every layer has learnt, a model's samples say nothing of it.
        is_complete = epoch >= self.model.first_complete_epoch
        is_due = epoch % self.selection.every == 0
        if is_last or (is_complete and is_due):
            self._validate(epoch, losses)

    def _finite_seeds(self, losses: Mapping[str, Tensor]) -> list[bool]:
        """For every seed whether all its losses and weights are finite."""
        of_losses = [loss.isfinite() for loss in losses.values()]
        is_finite = torch.stack(of_losses).all(0)
        for value in self.model.parameters.values():
            # Weights too: the last update of an epoch can spoil them after its loss was still
            # finite.
            is_finite &= value.flatten(1).isfinite().all(1)
        of_seeds: list[bool] = is_finite.tolist()
        return of_seeds

    def _fail(self, seed_index: int, epoch: int, reason: str) -> None:
        seed = self.seeds[seed_index]
        # The first reason counts: what follows is its consequence.
        if self._has_failed(seed):
            return
        failed = self.history.failed
        failed[str(seed)] = {"epoch": epoch, "reason": reason}
        clear_line()
        print(f"seed {seed} failed in epoch {epoch}: {reason}; the other seeds go on.", flush=True)

    def _validate(self, epoch: int, losses: Mapping[str, Tensor]) -> None:
        """Updates the history and, of every seed that improved, the chosen weights."""
        # Statistics that need all images belong to the weights of this epoch, not of the last one
        # validated.
        self.model.fit_statistics(self.train)
        seed_count = len(self.seeds)
        log_likelihoods: list[float | None] = [None] * seed_count
        sigmas: list[float | None] = [None] * seed_count
        if self.valid is None:
            self._choose_for_all(epoch)
        else:
            log_likelihoods, sigmas = self._choose_best(epoch, self.valid)
        # Failed and unchosen seeds keep their place as None, so that every row has one entry a
        # seed.
        history = self.history
        history.epochs.append(epoch)
        history.log_likelihood.append(log_likelihoods)
        history.sigma.append(sigmas)
        for name, loss in losses.items():
            curve = history.losses.setdefault(name, [])
            of_seeds = _finite_or_none(loss)
            curve.append(of_seeds)

    def _choose_for_all(self, epoch: int) -> None:
        """Chooses this epoch for every seed that has not failed."""
        for seed_index, seed in enumerate(self.seeds):
            if not self._has_failed(seed):
                self._choose(seed_index, epoch)

    def _choose(self, seed_index: int, epoch: int) -> None:
        self.history.chosen_epoch[seed_index] = epoch
        for name, value in self.model.parameters.items():
            self.best[name][seed_index] = value[seed_index]

    def _choose_best(
        self, epoch: int, valid: Tensor
    ) -> tuple[list[float | None], list[float | None]]:
        """Chooses this epoch for every seed whose validation log-likelihood improved.

        Returns:
            Every seed's validation log-likelihood and its bandwidth; None for a failed seed.
        """
        draw = VALIDATION_DRAW_OFFSET + epoch
        # Of every seed, failed ones too: a model samples its whole block.
        samples = self.model.sample(self.selection.samples, draw)
        best_values = self.history.chosen_log_likelihood
        log_likelihoods: list[float | None] = []
        sigmas: list[float | None] = []
        for seed_index, seed in enumerate(self.seeds):
            value = sigma = None
            if not self._has_failed(seed):
                samples_of_seed = samples[seed_index]
                by_image = log_densities(samples_of_seed, valid, self.sigmas)
                # (bandwidths, images) -> (bandwidths,)
                curve = by_image.mean(1)
                value = float(curve.max())
                best_index = int(curve.argmax())
                sigma = self.sigmas[best_index]
                # Finite weights, and still an overflow on the way to the image.
                if not np.isfinite(value):
                    self._fail(seed_index, epoch, "a generated image is not a finite number")
                    value = sigma = None
            log_likelihoods.append(value)
            sigmas.append(sigma)
            # Of equal epochs the first one counts.
            best = best_values[seed_index]
            if value is not None and (best is None or value > best):
                best_values[seed_index] = value
                self._choose(seed_index, epoch)
        return log_likelihoods, sigmas

    def _summary(self) -> str:
        """The state of the run in words, for the progress line."""
        summary = "not yet evaluated"
        values = [value for value in self.history.chosen_log_likelihood if value is not None]
        if values:
            summary = f"best validation log-likelihood {np.mean(values):.1f} nats"
        if self.history.failed:
            summary += f", {len(self.history.failed)} failed"
        return summary

    def _groups(self) -> dict[str, dict[str, Tensor]]:
        """The tensors of a checkpoint, which names each `<group>/<name>`."""
        return {
            "parameter": self.model.parameters,
            "slot": self.model.slots,
            "best": self.best,
            "sum": self.sums,
        }

    def _checkpoint_is_due(self) -> bool:
        if self.checkpoint_every < 0:
            return True
        seconds_since_checkpoint = time.monotonic() - self._saved
        seconds_of_training = self._writing_seconds / WRITING_SHARE
        return seconds_since_checkpoint > max(self.checkpoint_every, seconds_of_training)

    def _save(self) -> None:
        started = time.monotonic()
        tensors: dict[str, np.ndarray] = {}
        for group, values in self._groups().items():
            for name, value in values.items():
                array = value.detach().cpu().numpy()
                tensors[f"{group}/{name}"] = array
        seconds_of_process = started - self._started
        note = {
            "history": vars(self.history),
            "seconds": self.earlier_seconds + seconds_of_process,
        }
        self.checkpoints.save(self.step, tensors, note)
        self._saved = time.monotonic()
        self._writing_seconds = self._saved - started

    def _restore(self) -> None:
        """Continues from the newest usable checkpoint, if there is one."""
        checkpoint = self.checkpoints.load(self.last_step)
        if checkpoint is None:
            return
        tensors, note = checkpoint
        groups = self._groups()
        for full_name, array in tensors.items():
            group, name = full_name.split("/", 1)
            value = torch.from_numpy(array).to(self.train.device)
            # The sums are made by an epoch's first step, so there is no tensor yet to copy into.
            if group == "sum":
                self.sums[name] = value
            else:
                # In place: the model's own tensors, which other objects may hold too.
                tensor = groups[group][name]
                tensor.copy_(value)
        self.history = History(**note["history"])
        self.step = int(note["step"])
        self.resumed_at = self.step
        # Notes of earlier versions hold no seconds.
        self.earlier_seconds = float(note.get("seconds", 0.0))
        epoch, step_in_epoch = divmod(self.step, self.steps_per_epoch)
        print(f"goes on from epoch {epoch}, step {step_in_epoch}.", flush=True)
