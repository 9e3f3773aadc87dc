"""The training loop: a block of seeds side by side, watched by the validation log-likelihood.

A seed that diverges is recorded with its epoch and left behind; the others go on, because no seed reads
another's slice of any tensor. The weights that are kept are those of the epoch with the highest validation
log-likelihood (docs/protocol.md, section 2).
"""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from replicate.likelihood.parzen import log_densities
from replicate.models.base import GenerativeModel
from replicate.params import Likelihood, Precision, Selection
from replicate.training.checkpoint import CheckpointFolder
from replicate.training.products import products_in
from replicate.training.progress import Progress, clear_line, stop_requests

#: Draws of the evaluation stream at or above this number belong to looks during training, those below to the test.
LOOK_DRAWS = 1 << 32


@dataclass
class History:
    """What a run has seen so far; part of every checkpoint."""

    epochs: list[int] = field(default_factory=list)
    log_likelihood: list[list[float | None]] = field(default_factory=list)
    sigma: list[list[float | None]] = field(default_factory=list)
    losses: dict[str, list[list[float | None]]] = field(default_factory=dict)
    chosen_epoch: list[int | None] = field(default_factory=list)
    chosen_log_likelihood: list[float | None] = field(default_factory=list)
    failed: dict[str, dict[str, Any]] = field(default_factory=dict)


def _numbers(values: Tensor) -> list[float | None]:
    """Floats for JSON; what is not finite becomes None."""
    return [float(v) if np.isfinite(v) else None for v in values.double().cpu().numpy()]


class Sweep:
    """Trains `model` on `train`, looking at `valid`.

    Args:
        model: initialised by this class, from scratch or from a checkpoint.
        train: (n, dimension) training rows on the model's device.
        valid: (k, dimension) validation rows, already cut to the protocol's first ones; None where no epoch is to be
            chosen by images: then the last one is taken.
        selection, likelihood: how an epoch is chosen, and the bandwidths to try.
        checkpoints: where to keep the state; held by this process.
        checkpoint_every: seconds between two checkpoints: what a kill may cost, against the time that writing takes.
        precision: of the products in training; whatever looks at the validation images is float32.
    """

    def __init__(
        self,
        model: GenerativeModel,
        train: Tensor,
        valid: Tensor | None,
        selection: Selection,
        likelihood: Likelihood,
        checkpoints: CheckpointFolder,
        checkpoint_every: float = 60.0,
        precision: Precision = "float32",
    ) -> None:
        self.model, self.train, self.valid = model, train, valid
        self.selection, self.sigmas = selection, likelihood.sigmas
        self.checkpoints, self.checkpoint_every = checkpoints, checkpoint_every
        self.precision: Precision = precision
        self.seeds = model.streams.seeds
        self.rows = model.config.batch_size * model.batches_per_step
        self.steps_per_epoch = len(train) // self.rows
        self.last_step = model.config.epochs * self.steps_per_epoch
        model.train = train
        model.initialise(train)
        model.settle(train)
        self.best = {name: value.clone() for name, value in model.parameters.items()}
        nothing: list[Any] = [None] * len(self.seeds)
        self.history = History(chosen_epoch=list(nothing), chosen_log_likelihood=list(nothing))
        self.sums: dict[str, Tensor] = {}
        self.step = self.resumed_at = 0
        #: Seconds that earlier processes spent on this run, up to the checkpoint that it goes on from.
        self.earlier_seconds = 0.0
        self._saved = self._started = time.monotonic()

    def run(self, progress: Progress) -> bool:
        """Trains to the end; returns False if a signal asked it to stop first (the state is saved)."""
        self._restore()
        images = len(self.seeds) * self.rows * self.steps_per_epoch
        with stop_requests() as stop, progress.running(self.step / self.steps_per_epoch, images):
            if self.sums and self.step % self.steps_per_epoch == 0:  # the last state of this run, or of a shorter one
                self._end_of_epoch(self.step // self.steps_per_epoch)
            while self.step < self.last_step:
                if len(self.history.failed) == len(self.seeds):
                    break
                epoch, place = divmod(self.step, self.steps_per_epoch)
                order = self.model.streams.order(epoch, len(self.train))
                for batch in range(place, self.steps_per_epoch):
                    # Saved before a step; between an epoch's last step and its look only at the end of the run.
                    if time.monotonic() - self._saved > self.checkpoint_every:
                        self._save()
                    self._train_step(order[:, batch * self.rows : (batch + 1) * self.rows], epoch)
                    if progress.due():
                        progress.update(self.step / self.steps_per_epoch, self._summary())
                    if stop.is_set():
                        break
                if self.step == self.last_step:
                    self._save()  # before a look that a longer run may not have
                if self.step % self.steps_per_epoch == 0 and self.step > epoch * self.steps_per_epoch:
                    self._end_of_epoch(epoch + 1)
                    progress.update(epoch + 1, self._summary())
                if stop.is_set():
                    if self.step < self.last_step:
                        self._save()
                    return False
        return True

    def _train_step(self, chosen: Tensor, epoch: int) -> None:
        batch = self.train[chosen.reshape(-1)].view(*chosen.shape, -1)
        with products_in(self.precision):
            losses = self.model.train_step(batch, epoch, self.step)
        for name, value in losses.items():
            total = self.sums.get(name)
            self.sums[name] = value.double() if total is None else total + value
        self.step += 1

    def _end_of_epoch(self, epoch: int) -> None:
        last = epoch == self.model.config.epochs
        losses = {name: total / self.steps_per_epoch for name, total in self.sums.items()}
        self.sums = {}
        finite = torch.stack([total.isfinite() for total in losses.values()]).all(0)
        for value in self.model.parameters.values():
            finite &= value.flatten(1).isfinite().all(1)
        for place, fine in enumerate(finite.tolist()):
            if not fine:
                self._fail(place, epoch, "the loss or a weight is not a finite number")
        if last or (epoch >= self.model.whole_from and epoch % self.selection.every == 0):
            self._look(epoch, losses)

    def _fail(self, place: int, epoch: int, reason: str) -> None:
        seed = str(self.seeds[place])
        if seed not in self.history.failed:
            self.history.failed[seed] = {"epoch": epoch, "reason": reason}
            clear_line()
            print(f"seed {seed} failed in epoch {epoch}: {reason}; the other seeds go on.", flush=True)

    def _look(self, epoch: int, losses: dict[str, Tensor]) -> None:
        """Measures the validation log-likelihood and keeps the weights of every seed that is better than before."""
        self.model.settle(self.train)
        nothing: list[float | None] = [None] * len(self.seeds)
        found, widths = nothing, nothing
        if self.valid is None:
            self._take_last(epoch)
        else:
            found, widths = self._measure(epoch, self.valid)
        self.history.epochs.append(epoch)
        self.history.log_likelihood.append(found)
        self.history.sigma.append(widths)
        for name, value_of in losses.items():
            self.history.losses.setdefault(name, []).append(_numbers(value_of))

    def _take_last(self, epoch: int) -> None:
        """Keeps the weights as they are, of every seed that has not failed."""
        for place, seed in enumerate(self.seeds):
            if str(seed) not in self.history.failed:
                self._keep(place, epoch)

    def _keep(self, place: int, epoch: int) -> None:
        self.history.chosen_epoch[place] = epoch
        for name, weights in self.model.parameters.items():
            self.best[name][place] = weights[place]

    def _measure(self, epoch: int, valid: Tensor) -> tuple[list[float | None], list[float | None]]:
        """The validation log-likelihood of every seed and its bandwidth; keeps the weights of those that improved."""
        samples = self.model.sample(self.selection.samples, LOOK_DRAWS + epoch)
        found: list[float | None] = []
        widths: list[float | None] = []
        for place, seed in enumerate(self.seeds):
            value = sigma = None
            if str(seed) not in self.history.failed:
                curve = log_densities(samples[place], valid, self.sigmas).mean(1)
                value, sigma = float(curve.max()), self.sigmas[int(curve.argmax())]
                if not np.isfinite(value):
                    self._fail(place, epoch, "a generated image is not a finite number")
                    value = sigma = None
            found.append(value)
            widths.append(sigma)
            before = self.history.chosen_log_likelihood[place]
            if value is not None and (before is None or value > before):
                self.history.chosen_log_likelihood[place] = value
                self._keep(place, epoch)
        return found, widths

    def _summary(self) -> str:
        known = [value for value in self.history.chosen_log_likelihood if value is not None]
        best = f"best validation log-likelihood {np.mean(known):.1f} nats" if known else "not yet evaluated"
        return best + (f", {len(self.history.failed)} failed" if self.history.failed else "")

    def _groups(self) -> dict[str, dict[str, Tensor]]:
        return {"parameter": self.model.parameters, "slot": self.model.slots, "best": self.best, "sum": self.sums}

    def _save(self) -> None:
        tensors = {
            f"{group}/{name}": value.detach().cpu().numpy()
            for group, values in self._groups().items()
            for name, value in values.items()
        }
        seconds = self.earlier_seconds + time.monotonic() - self._started
        self.checkpoints.save(self.step, tensors, {"history": vars(self.history), "seconds": seconds})
        self._saved = time.monotonic()

    def _restore(self) -> None:
        found = self.checkpoints.load(self.last_step)
        if found is None:
            return
        tensors, note = found
        groups = self._groups()
        for name, value in tensors.items():
            group, key = name.split("/", 1)
            tensor = torch.from_numpy(value).to(self.train.device)
            if group == "sum":
                self.sums[key] = tensor
            else:
                groups[group][key].copy_(tensor)
        self.history = History(**note["history"])
        self.step = self.resumed_at = int(note["step"])
        self.earlier_seconds = float(note.get("seconds", 0.0))  # a note of an earlier version has none
        epoch = self.step // self.steps_per_epoch
        print(f"goes on from epoch {epoch}, step {self.step % self.steps_per_epoch}.", flush=True)
