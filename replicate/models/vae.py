"""The variational autoencoder (Kingma & Welling 2014): a Gaussian code, and Bernoulli or Gaussian pixels.

p(z) = N(0, I), p(x|z) by the decoder, q(z|x) = N(m(x), diag(s(x)^2)) by the encoder. Training ascends the bound

    log p(x) >= E_q[log p(x|z)] - KL(q(z|x) || p(z)),

its first term by one draw z = m + s * noise per image, its second in closed form (their appendix B).
Samples are the decoder's means, E[x|z], as in the published Parzen estimates.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor

from replicate.models import perceptron
from replicate.models.autoencoder import Pixels, distance, start_of_pixels
from replicate.models.base import GenerativeModel, ModelConfig
from replicate.params import TUNED, setting
from replicate.training.adam import adam_step, moments

_EPITOMIC = "Epitomic VAE (Yeung et al. 2017): 3 x 500 units and 8 codes do best under Parzen, 325 nats on MNIST"


class VaeConfig(ModelConfig):
    """The recipe; sizes are those of the best published Parzen row of a VAE."""

    hidden: tuple[PositiveInt, ...] = setting(
        (500, 500, 500), "rectified units per layer of the encoder; the decoder mirrors it", _EPITOMIC
    )
    code_dimension: int = setting(8, "length of z", _EPITOMIC, ge=1)
    pixels: Pixels = setting(
        "bernoulli", "p(x|z): pixels in [0, 1] as probabilities, or Gaussian of one learned spread",
        "pylearn2 vae.yaml (Bernoulli)",
    )  # fmt: skip
    learning_rate: PositiveFloat = setting(0.001, "of Adam", "Kingma & Ba 2015, Algorithm 1")


class Vae(GenerativeModel):
    """A block of seeds of encoder and decoder."""

    Config = VaeConfig
    has_latent = True
    recipes: ClassVar[Mapping[str, tuple[Mapping[str, Any], str]]] = {
        "mnist": ({}, _EPITOMIC),
        "digits": (
            {
                "epochs": 80,
                "batch_size": 64,
                "hidden": (200, 200),
                "pixels": "gaussian",
                "learning_rate": 0.003,
            },
            TUNED,
        ),
    }

    def initialise(self, train: Tensor) -> None:
        """Glorot's uniform weights; the decoder's output bias is that of the mean training image."""
        c = self.config
        decoder = (c.code_dimension, *c.hidden[::-1], self.dimension)
        encoder = (self.dimension, *c.hidden, 2 * c.code_dimension)
        self.parameters = perceptron.initial(self.streams, "encoder", encoder, 0)
        self.parameters |= perceptron.initial(self.streams, "decoder", decoder, len(encoder))
        self.parameters[f"decoder.{len(c.hidden)}.bias"] += start_of_pixels(train, c.pixels)
        if c.pixels == "gaussian":
            shape = (len(self.streams.seeds), 1)
            self.parameters["decoder.log_spread"] = train.std(0).mean().log().expand(shape).clone()
        self.slots = moments(self.parameters)

    def _run(self, inputs: Tensor, network: str, parameters: Mapping[str, Tensor]) -> Tensor:
        return perceptron.outputs(inputs, parameters, network, len(self.config.hidden) + 1)

    def bound(self, batch: Tensor, noise: Tensor, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The two terms of the bound of every image, each (seeds, n), nats: log p(x|z), and KL(q(z|x) || p(z)).

        Args:
            batch: (seeds, n, dimension).
            noise: (seeds, n, code dimension) standard normal.
            parameters: named as the model's own.
        """
        mean, log_variance = self._run(batch, "encoder", parameters).chunk(2, dim=2)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(2)
        found = self._run(mean + (0.5 * log_variance).exp() * noise, "decoder", parameters)
        cost = distance(batch, found, self.config.pixels)
        if self.config.pixels == "gaussian":
            log_spread = parameters["decoder.log_spread"]
            cost = cost * (-2 * log_spread).exp() + self.dimension * (log_spread + 0.5 * math.log(2 * math.pi))
        return -cost, divergence

    def train_step(self, batch: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
        """One update by Adam of every seed's mean negative bound; both of its terms are logged."""
        leaves = {name: value.detach().requires_grad_() for name, value in self.parameters.items()}
        noise = self.streams.normal("noise", step, batch.shape[1], self.config.code_dimension)
        log_likelihood, divergence = (term.mean(1) for term in self.bound(batch, noise, leaves))
        gradients = torch.autograd.grad((divergence - log_likelihood).sum(), list(leaves.values()))
        rate = self.config.learning_rate
        adam_step(self.parameters, self.slots, dict(zip(leaves, gradients, strict=True)), step, rate)
        return {"reconstruction": -log_likelihood.detach(), "divergence": divergence.detach()}

    def latent(self, count: int, draw: int, part: int = 0) -> Tensor:
        """(seeds, count, code dimension) draws of p(z), standard normal."""
        return self.streams.normal("evaluation", draw, count, self.config.code_dimension, part=part)

    @torch.no_grad()
    def decode(self, code: Tensor) -> Tensor:
        """Means of p(x|z) for codes (seeds, n, code dimension): (seeds, n, dimension), in (0, 1) where Bernoulli."""
        found = self._run(code, "decoder", self.parameters)
        return found.sigmoid_() if self.config.pixels == "bernoulli" else found


MODEL = Vae
