"""A plain autoencoder with a bottleneck, sampled through a density fitted to its codes.

The autoencoder itself is no density. After training, a mixture of Gaussians is fitted to the codes
of all training images; images are decoded from its draws. A single Gaussian puts much of its mass
between the classes, where no training image has its code: on validation digits a mixture of ten
gains seven nats. Encoder and decoder are rectifier networks with a linear code (Hinton &
Salakhutdinov 2006).
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from replicate.errors import ReplicateError
from replicate.models.base import SAMPLE_CHUNK, GenerativeModel, ModelConfig, Recipe, Recipes
from replicate.models.parts import mixture, perceptron, priors
from replicate.models.parts.priors import Prior
from replicate.params import OURS, TUNED, setting
from replicate.training.adam import adam_step, moments

#: Bernoulli: sigmoid pixels and cross-entropy; Gaussian: linear pixels and squared error.
Pixels = Literal["bernoulli", "gaussian"]
_ADAM = "Kingma & Ba 2015, Algorithm 1"


class AutoencoderConfig(ModelConfig):
    """The recipe; the slides give no numbers for this model, so these are ours."""

    hidden: tuple[PositiveInt, ...] = setting(
        (1024,),
        "rectified units per layer of the encoder; the decoder mirrors it",
        "GMMN+AE (Li et al. 2015): 1024",
    )
    code_dimension: int = setting(8, "length of the code", "ours: re-tuning", ge=1)
    pixels: Pixels = setting(
        "bernoulli",
        "sigmoid pixels in [0, 1] with cross-entropy, or linear ones with squared error",
        "Hinton & Salakhutdinov 2006 (cross-entropy)",
    )
    learning_rate: PositiveFloat = setting(0.001, "of Adam", _ADAM)
    components: int = setting(10, "Gaussians of the density of the codes", "ours: re-tuning", ge=1)
    rounds: int = setting(50, "rounds of EM that fit the density", OURS, ge=1)


def mean_image_bias(train: Tensor, pixels: Pixels) -> Tensor:
    """The output bias that gives the mean training image, (dimension,); logits where Bernoulli.

    Args:
        train: (n, dimension).
        pixels: kind of the pixels.

    Raises:
        ReplicateError: Bernoulli pixels, and a training pixel outside [0, 1].
    """
    if pixels == "gaussian":
        return train.mean(0)
    if train.min() < 0 or train.max() > 1:
        raise ReplicateError(
            "Bernoulli pixels are for images in [0, 1]; set `pixels: gaussian` for others."
        )
    # The log-odds of a pixel that is always 0 or always 1 would be infinite.
    mean_image = train.mean(0).clamp(1e-3, 1 - 1e-3)
    return torch.logit(mean_image)


def reconstruction_error(images: Tensor, outputs: Tensor, pixels: Pixels) -> Tensor:
    """Cross-entropy in nats or half the squared error, summed over pixels: (seeds, n).

    Args:
        images: (seeds, n, dimension).
        outputs: of the decoder, of the same shape; logits where Bernoulli.
        pixels: kind of the pixels.
    """
    if pixels == "bernoulli":
        cross_entropy = binary_cross_entropy_with_logits(outputs, images, reduction="none")
        return cross_entropy.sum(2)
    # Half, so that it is -log N(x; outputs, I) but for a constant; `vae.py` divides by its
    # variance.
    return 0.5 * (images - outputs).square().sum(2)


class Autoencoder(GenerativeModel):
    """A block of seeds of encoder, decoder and density."""

    Config = AutoencoderConfig
    config: AutoencoderConfig
    has_latent = True
    recipes: ClassVar[Recipes] = {
        "mnist": Recipe({}, "ours: re-tuning"),
        "digits": Recipe(
            {"epochs": 100, "batch_size": 64, "hidden": (400,), "components": 40}, TUNED
        ),
    }

    def initialise(self, train: Tensor) -> None:
        """Glorot's uniform weights; pixels start at the mean training image."""
        c = self.config
        encoder = (self.dimension, *c.hidden, c.code_dimension)
        decoder = encoder[::-1]
        self.parameters = perceptron.initial(self.streams, "encoder", encoder, 0)
        # The encoder's layers have used the parts below.
        first_part = len(encoder)
        self.parameters |= perceptron.initial(self.streams, "decoder", decoder, first_part)
        top = len(c.hidden)
        output_bias = self.parameters[f"decoder.{top}.bias"]
        output_bias += mean_image_bias(train, c.pixels)
        self.slots = moments(self.parameters)

    def _run(self, inputs: Tensor, network: str, parameters: Mapping[str, Tensor]) -> Tensor:
        """The outputs of "encoder" or "decoder"."""
        hidden = self.config.hidden
        layers = len(hidden) + 1
        return perceptron.outputs(inputs, parameters, network, layers)

    def train_step(self, batch: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
        """One update by Adam of every seed's mean reconstruction loss."""
        config = self.config
        leaves: dict[str, Tensor] = {}
        for name, value in self.parameters.items():
            # The density of the codes is fitted in closed form, not trained.
            if not name.startswith("density."):
                leaves[name] = value.detach().requires_grad_()
        code = self._run(batch, "encoder", leaves)
        outputs = self._run(code, "decoder", leaves)
        errors = reconstruction_error(batch, outputs, config.pixels)
        loss = errors.mean(1)
        # The sum over seeds: no seed's loss depends on another's weights, so each gets its own
        # gradient.
        total = loss.sum()
        gradients = torch.autograd.grad(total, list(leaves.values()))
        gradient_of = dict(zip(leaves, gradients, strict=True))
        adam_step(self.parameters, self.slots, gradient_of, step, config.learning_rate)
        return {"reconstruction": loss.detach()}

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """The codes (seeds, n, code dimension) of images (n, dimension) under every seed."""
        seeds = self.seed_count
        codes = []
        # In chunks: the units of all training images at once would need a lot of memory.
        for chunk in torch.split(images, SAMPLE_CHUNK):
            chunk_of_seeds = chunk.expand(seeds, -1, -1)
            code = self._run(chunk_of_seeds, "encoder", self.parameters)
            codes.append(code)
        return torch.cat(codes, 1)

    def fit_statistics(self, train: Tensor) -> None:
        """Fits the density to the codes of all training images, (n, dimension).

        The components start at randomly chosen codes.
        """
        config = self.config
        # Step 1 of the stream `init`; step 0 drew the weights.
        # An order by random numbers: the chosen codes are those of distinct images.
        uniform = self.streams.uniform("init", 1, len(train))
        order = uniform.argsort(dim=1, stable=True)
        chosen = order[:, : config.components]
        codes = self.encode(train)
        density = mixture.fit(codes, chosen, config.rounds)
        parameters = self.parameters
        parameters["density.weight"] = density.weight
        parameters["density.mean"] = density.mean
        parameters["density.factor"] = density.factor

    @property
    def density(self) -> mixture.Mixture:
        """The density of the codes."""
        p = self.parameters
        return mixture.Mixture(
            weight=p["density.weight"], mean=p["density.mean"], factor=p["density.factor"]
        )

    def prior(self) -> Prior:
        """The mixture of Gaussians that was fitted to the codes."""
        return priors.of_codes(self.latent, self.density.log_density)

    def latent(self, count: int, draw: int, part: int = 0) -> Tensor:
        """(seeds, count, code dimension) draws from the density of the codes."""
        dimension = self.config.code_dimension
        # Two parts a chunk: which Gaussian, and where in it.
        choice = self.streams.uniform("evaluation", draw, count, part=2 * part)
        noise = self.streams.normal("evaluation", draw, count, dimension, part=2 * part + 1)
        return self.density.draw(choice, noise)

    def decode(self, code: Tensor) -> Tensor:
        """The images (seeds, n, dimension) of codes (seeds, n, code dimension).

        Bernoulli pixels are in (0, 1).
        """
        outputs = self._run(code, "decoder", self.parameters)
        if self.config.pixels == "bernoulli":
            return outputs.sigmoid_()
        return outputs


MODEL = Autoencoder
