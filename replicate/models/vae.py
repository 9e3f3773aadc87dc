"""The variational autoencoder (Kingma & Welling 2014) with Bernoulli or Gaussian pixels.

p(z) = N(0, I), p(x|z) by the decoder, q(z|x) = N(m(x), diag(s(x)^2)) by the encoder. Training
ascends the bound

    log p(x) >= E_q[log p(x|z)] - KL(q(z|x) || p(z)),

its first term by one draw z = m + s * noise per image, its second in closed form (their appendix
B). Samples are the decoder's means, E[x|z], as in the published Parzen estimates.
"""

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor

from replicate.models.autoencoder import Pixels, mean_image_bias, reconstruction_error
from replicate.models.base import GenerativeModel, ModelConfig, Recipe, Recipes
from replicate.models.parts import perceptron, priors
from replicate.models.parts.priors import Prior
from replicate.params import TUNED, setting
from replicate.training.adam import adam_step, moments

_EPITOMIC = (
    "Epitomic VAE (Yeung et al. 2017): 3 x 500 units and 8 codes do best under Parzen, "
    "325 nats on MNIST"
)


class VaeConfig(ModelConfig):
    """The recipe; sizes are those of the best published Parzen row of a VAE."""

    hidden: tuple[PositiveInt, ...] = setting(
        (500, 500, 500),
        "rectified units per layer of the encoder; the decoder mirrors it",
        _EPITOMIC,
    )
    code_dimension: int = setting(8, "length of z", _EPITOMIC, ge=1)
    pixels: Pixels = setting(
        "bernoulli",
        "p(x|z): pixels in [0, 1] as probabilities, or Gaussian of one learned spread",
        "pylearn2 vae.yaml (Bernoulli)",
    )
    learning_rate: PositiveFloat = setting(0.001, "of Adam", "Kingma & Ba 2015, Algorithm 1")


class Vae(GenerativeModel):
    """A block of seeds of encoder and decoder."""

    Config = VaeConfig
    config: VaeConfig
    has_latent = True
    recipes: ClassVar[Recipes] = {
        "mnist": Recipe({}, _EPITOMIC),
        "digits": Recipe(
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
        """Glorot's uniform weights; pixels start at the mean training image."""
        c = self.config
        # Two outputs a number of the code: its mean and the logarithm of its variance.
        encoder = (self.dimension, *c.hidden, 2 * c.code_dimension)
        decoder = (c.code_dimension, *c.hidden[::-1], self.dimension)
        self.parameters = perceptron.initial(self.streams, "encoder", encoder, 0)
        # The encoder's layers have used the parts below.
        first_part = len(encoder)
        self.parameters |= perceptron.initial(self.streams, "decoder", decoder, first_part)
        top = len(c.hidden)
        output_bias = self.parameters[f"decoder.{top}.bias"]
        output_bias += mean_image_bias(train, c.pixels)
        if c.pixels == "gaussian":
            # A decoder starts at the mean image, and pixels lie this far from it.
            log_spread = train.std(0).mean().log()
            of_seeds = log_spread.expand(self.seed_count, 1)
            # A copy: an expanded tensor is one number for all seeds, and Adam writes in place.
            self.parameters["decoder.log_spread"] = of_seeds.clone()
        self.slots = moments(self.parameters)

    def _run(self, inputs: Tensor, network: str, parameters: Mapping[str, Tensor]) -> Tensor:
        """The outputs of "encoder" or "decoder"."""
        hidden = self.config.hidden
        layers = len(hidden) + 1
        return perceptron.outputs(inputs, parameters, network, layers)

    def bound(
        self, batch: Tensor, noise: Tensor, parameters: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """The two terms of the bound for every image, in nats.

        Args:
            batch: (seeds, n, dimension).
            noise: (seeds, n, code dimension) standard normal.
            parameters: named as the model's own.

        Returns:
            log p(x|z) and KL(q(z|x) || p(z)), each (seeds, n).
        """
        encoded = self._run(batch, "encoder", parameters)
        mean, log_variance = encoded.chunk(2, dim=2)
        # KL(q(z|x) || p(z)) = 1/2 sum_j (m_j^2 + s_j^2 - 1 - log s_j^2)
        divergences = mean.square() + log_variance.exp() - 1 - log_variance
        divergence = 0.5 * divergences.sum(2)
        # z = m + s * noise
        # The encoder gives log variances: the variance is positive whatever its weights are.
        spread_of_code = (0.5 * log_variance).exp()
        code = mean + spread_of_code * noise
        outputs = self._run(code, "decoder", parameters)
        error = reconstruction_error(batch, outputs, self.config.pixels)
        if self.config.pixels == "bernoulli":
            return -error, divergence
        # -log N(x; outputs, s^2 I) = |x - outputs|^2 / (2 s^2) + d (log s + 1/2 log 2 pi)
        log_spread = parameters["decoder.log_spread"]
        log_norm = self.dimension * (log_spread + 0.5 * math.log(2 * math.pi))
        precision = (-2 * log_spread).exp()
        # `reconstruction_error` is half the squared distance already.
        negative_log_density = error * precision + log_norm
        return -negative_log_density, divergence

    def train_step(self, batch: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
        """One update by Adam of every seed's mean negative bound; both of its terms are logged."""
        leaves = {name: value.detach().requires_grad_() for name, value in self.parameters.items()}
        rows = batch.shape[1]
        noise = self.streams.normal("noise", step, rows, self.config.code_dimension)
        log_likelihoods, divergences = self.bound(batch, noise, leaves)
        log_likelihood = log_likelihoods.mean(1)
        divergence = divergences.mean(1)
        negative_bound = divergence - log_likelihood
        # The sum over seeds: each seed's gradient is its own.
        gradients = torch.autograd.grad(negative_bound.sum(), list(leaves.values()))
        gradient_of = dict(zip(leaves, gradients, strict=True))
        rate = self.config.learning_rate
        adam_step(self.parameters, self.slots, gradient_of, step, rate)
        reconstruction = -log_likelihood.detach()
        return {"reconstruction": reconstruction, "divergence": divergence.detach()}

    def prior(self) -> Prior:
        """p(z), standard normal."""
        return priors.normal(self.streams, self.config.code_dimension)

    def latent(self, count: int, draw: int, part: int = 0) -> Tensor:
        """(seeds, count, code dimension) draws of p(z), standard normal."""
        dimension = self.config.code_dimension
        return self.streams.normal("evaluation", draw, count, dimension, part=part)

    def decode(self, code: Tensor) -> Tensor:
        """Means of p(x|z), (seeds, n, dimension), for codes (seeds, n, code dimension).

        Bernoulli pixels are in (0, 1).
        """
        outputs = self._run(code, "decoder", self.parameters)
        if self.config.pixels == "bernoulli":
            # In place: samples of many images are large, and the logits are not needed again.
            return outputs.sigmoid_()
        return outputs


MODEL = Vae
