"""The deep Boltzmann machine with two hidden layers (Salakhutdinov and Hinton 2009).

Two restricted machines are pre-trained first, one on the other, with the weights doubled on the
side where the deep machine has another neighbour. Then all layers learn together, with the data's
statistics by mean field and the model's by persistent chains.
"""

from typing import ClassVar, Self

import torch
from pydantic import model_validator
from torch import Tensor

from replicate.models.base import Recipe, Recipes
from replicate.models.parts.boltzmann import (
    RETUNED,
    BoltzmannConfig,
    BoltzmannModel,
    Deep,
    Draws,
    Layer,
    Phase,
    bias_gradient,
    correlation_gradient,
    deep_gibbs,
    deep_visible_means,
    folded,
    hidden_means,
    lower_bound,
    mean_field,
)
from replicate.models.parts.chains import START_AT_IMAGES
from replicate.params import TUNED, setting
from replicate.training.momentum import zero_averages

_PAPER = "Salakhutdinov & Hinton 2009, section 4.1"
#: The phase in which all layers learn together; those before it pre-train one machine each.
_JOINT_PHASE = 2
#: Updates of the means for the bound on the likelihood; none lowers it.
BOUND_STEPS = 50


class DBMConfig(BoltzmannConfig):
    """The recipe."""

    hidden: int = setting(500, "units of the first hidden layer", _PAPER, ge=1)
    top: int = setting(1000, "units of the second hidden layer", _PAPER, ge=1)
    pretraining_epochs: int = setting(
        20, "epochs of each restricted machine; the rest is learnt jointly", RETUNED, ge=1
    )
    pretraining_rate: float = setting(
        0.05, "learning rate of the pre-training, else as `learning_rate`", RETUNED, gt=0
    )
    mean_field_steps: int = setting(10, "updates of both layers' means for the data", RETUNED, ge=1)
    gibbs_steps: int = setting(5, "steps of the persistent chains per joint update", RETUNED, ge=1)

    @model_validator(mode="after")
    def _check_joint_epochs(self) -> Self:
        if self.epochs <= 2 * self.pretraining_epochs:
            raise ValueError(
                "epochs must be more than twice pretraining_epochs, so that all layers learn "
                "jointly"
            )
        return self


class DeepBoltzmannMachine(BoltzmannModel):
    """A block of seeds of one machine; a chain's state is the units of its first hidden layer."""

    Config = DBMConfig
    config: DBMConfig
    recipes: ClassVar[Recipes] = {
        "mnist": Recipe(
            {
                "epochs": 60,
                "pretraining_epochs": 10,
                "learning_rate": 0.01,
                "mean_field_steps": 5,
                "chains": 1000,
                "burn_in": 500,
                "thinning": 20,
            },
            f"sizes: {_PAPER}; rates, epochs and the chains of sampling are {RETUNED}",
        ),
        "digits": Recipe(
            {
                "epochs": 150,
                "pretraining_epochs": 20,
                "batch_size": 64,
                "hidden": 400,
                "top": 100,
                "learning_rate": 0.2,
                "mean_field_steps": 5,
                "chains": 1000,
                "burn_in": 100,
                "thinning": 10,
            },
            TUNED,
        ),
    }

    @property
    def starts(self) -> tuple[int, ...]:
        """The first epochs of the lower machine, the upper machine, and all layers."""
        pretraining = self.config.pretraining_epochs
        return (0, pretraining, 2 * pretraining)

    @property
    def deep(self) -> Deep:
        """The machine's parameters."""
        return Deep(
            lower=self.parameters["machine.0.weight"],
            upper=self.parameters["machine.1.weight"],
            visible=self.parameters["machine.0.bias"],
            hidden=self.parameters["machine.1.bias"],
            top=self.parameters["machine.2.bias"],
        )

    def initial_rate(self, phase: Phase) -> float:
        """The learning rate of a phase's first update."""
        if phase.number == _JOINT_PHASE:
            return self.config.learning_rate
        return self.config.pretraining_rate

    def initialise(self, train: Tensor) -> None:
        """Small normal weights; visible biases are the log-odds of the mean pixels.

        Particles are drawn from the hidden biases.
        """
        c = self.config
        dimension = self.dimension
        self.steps_per_epoch = len(train) // c.batch_size
        self.parameters = {
            "machine.0.weight": self._normal_weight(dimension, c.hidden, 0),
            "machine.1.weight": self._normal_weight(c.hidden, c.top, 1),
            "machine.0.bias": self._pixel_bias(train),
            "machine.1.bias": self._bias(c.hidden, c.hidden_bias),
            "machine.2.bias": self._bias(c.top),
        }
        self.slots = zero_averages(self.parameters)
        hidden_bias = self.deep.hidden
        # h alone: given h, Gibbs sampling draws x and t anew, so they are no state.
        self.slots["particles"] = self._first_particles(hidden_bias, 2)

    @property
    def partition_layer(self) -> Layer:
        """The machine folded at its first hidden layer."""
        return folded(self.deep)

    def log_unnormalised(self, bits: Tensor) -> Tensor:
        """The variational bound on log p(x) + log Z, (seeds, n) nats."""
        # More rounds than in training: here the bound is a result.
        hidden, top = mean_field(self.deep, bits, BOUND_STEPS)
        return lower_bound(self.deep, bits, hidden, top)

    @torch.no_grad()
    def train_step(self, batch: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
        """One update of the machine that is being pre-trained, or of all layers."""
        draws = Draws(self.streams, "noise", step)
        data = self._presented(batch, draws)
        phase = self.phase(epoch)
        if phase.number == _JOINT_PHASE:
            gradients = self._joint_gradients(data, draws)
        else:
            gradients = self._pretraining_gradients(data, phase.number, draws)
        return self._descend(gradients, epoch, step)

    def _pretraining_gradients(self, data: Tensor, number: int, draws: Draws) -> dict[str, Tensor]:
        """CD-1 of one machine; the two machines share the bias of the layer between them."""
        deep = self.deep
        # In the deep machine h has neighbours on both sides; alone, one side counts twice.
        lower = Layer(deep.lower, deep.visible, deep.hidden, up=2)
        upper = Layer(deep.upper, deep.hidden, deep.top, down=2)
        if number == 0:
            weight, visible, hidden = self._contrast(lower, data, 1, draws)
        else:
            # By the doubled weights, under which the finished machine has learnt.
            data_of_upper = hidden_means(lower, data)
            weight, visible, hidden = self._contrast(upper, data_of_upper, 1, draws)
        return {
            f"machine.{number}.weight": weight,
            f"machine.{number}.bias": visible,
            f"machine.{number + 1}.bias": hidden,
        }

    def _joint_gradients(self, data: Tensor, draws: Draws) -> dict[str, Tensor]:
        """Gradients of the mean variational bound on -log p(x); updates the particles."""
        deep = self.deep
        particles = self.slots["particles"]
        # The data's statistics are those of q(h, t | x), the model's those of the particles.
        hidden, top = mean_field(deep, data, self.config.mean_field_steps)
        model = deep_gibbs(deep, particles, self.config.gibbs_steps, draws)
        # In place: checkpoints hold this tensor.
        particles.copy_(model.hidden)
        lower = correlation_gradient(data=(data, hidden), model=(model.visible, model.hidden_means))
        # Means of h where the sampler has them: they vary less than bits drawn from them.
        upper = correlation_gradient(data=(hidden, top), model=(model.hidden_means, model.top))
        return {
            "machine.0.weight": lower,
            "machine.1.weight": upper,
            "machine.0.bias": bias_gradient(data, model.visible),
            "machine.1.bias": bias_gradient(hidden, model.hidden_means),
            "machine.2.bias": bias_gradient(top, model.top),
        }

    def chain_start(self, draw: int) -> Tensor:
        """Units of the first hidden layer, drawn from their biases."""
        hidden_bias = self.deep.hidden
        return self._chain_start(hidden_bias, draw)

    def chain_start_at_images(self, draw: int) -> Tensor:
        """Bits of the first hidden layer, drawn from its mean-field means given training images."""
        images = self.drawn_images(draw)
        # As in training: the posterior of h has no closed form in a deep machine.
        hidden, _ = mean_field(self.deep, images, self.config.mean_field_steps)
        draws = Draws(self.streams, "evaluation", draw, START_AT_IMAGES + 1)
        return draws.bits(hidden)

    def chain_step(self, state: Tensor, draw: int, step: int) -> Tensor:
        """One step of Gibbs sampling: image and top layer given h, then h given both."""
        # Three parts a step: bits of the image, of the top layer and of h.
        draws = Draws(self.streams, "evaluation", draw, 1 + 3 * step)
        sampled = deep_gibbs(self.deep, state, 1, draws)
        return sampled.hidden

    def chain_images(self, state: Tensor, draw: int, step: int) -> Tensor:
        """The means of p(x | h)."""
        return deep_visible_means(self.deep, state)


MODEL = DeepBoltzmannMachine
