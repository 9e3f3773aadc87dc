"""Section 7.2: after training, a network learns to predict z from x (X2).

With G fixed, a network E is trained on pairs (z, G(z)) to give z back, which minimises E|z - E(G(z))|^2. Pairs that it
never saw tell how much of z it recovers; test images, which G never made, how well G(E(x)) shows them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from pydantic import PositiveFloat
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.experiments.base import Experiment, Found
from replicate.experiments.game import ON_MNIST, GameConfig, generate, per_seed, pixels, play
from replicate.loops import steps, task
from replicate.models import perceptron
from replicate.params import OURS, setting
from replicate.training.adam import adam_step, moments
from replicate.training.streams import Streams

#: Parts of the stream `noise` below this one are the game's.
PART = 10
#: Looks at E while it learns.
LOOKS = 16

Parameters = Mapping[str, Tensor]
#: The images of a minibatch (seeds, n, dimension) as E sees them beside the codes that they were made from.
Pairing = Callable[[Tensor], Tensor]


class InferenceConfig(GameConfig):
    """The game, and how E is trained."""

    code_dimension: int = setting(8, "length of z, which is standard normal", OURS, ge=1)
    inference_updates: int = setting(2000, "updates of E", OURS, ge=1)
    inference_rate: PositiveFloat = setting(0.003, "of Adam for E at the start; it falls linearly to 0", OURS)
    fresh_pairs: int = setting(1000, "pairs (z, G(z)) that E is judged on, per seed", OURS, ge=2)


def their_own(images: Tensor) -> Tensor:
    """Every code with the image made from it: section 7.2."""
    return images


def infer(config: InferenceConfig, parameters: Parameters, images: Tensor) -> Tensor:
    """E(x) of images (seeds, n, dimension): (seeds, n, code dimension)."""
    return perceptron.outputs(images, parameters, "inference", config.layers)


def explained_variance(code: Tensor, found: Tensor) -> Tensor:
    """1 - sum |z - found|^2 / sum |z - mean z|^2, of codes (seeds, n, code dimension): (seeds,)."""
    code, found = code.double(), found.double()
    about_the_mean = (code - code.mean(1, keepdim=True)).square().sum((1, 2))
    return 1 - (code - found).square().sum((1, 2)) / about_the_mean


def train_inference(
    config: InferenceConfig, streams: Streams, game: Parameters, dimension: int, pairing: Pairing = their_own
) -> tuple[dict[str, Tensor], dict[str, list[Any]]]:
    """E's parameters, and the share of variance that it explains on fresh pairs while it learns.

    Args:
        game: the parameters of G, which stay as they are.
        dimension: pixels of an image.
    """
    sizes = (dimension, *config.hidden, config.code_dimension)
    parameters = perceptron.initial(streams, "inference", sizes, 2 * config.layers)
    slots = moments(parameters)
    fresh = streams.normal("evaluation", 0, config.fresh_pairs, config.code_dimension)
    looks = sorted({round(config.inference_updates ** (k / (LOOKS - 1))) for k in range(LOOKS)})
    curve: dict[str, list[Any]] = {"update": looks, "explained": []}
    with torch.no_grad():
        made_of_fresh = generate(config, game, fresh)
    for update in steps(config.inference_updates):
        code = streams.normal("noise", update, config.batch_size, config.code_dimension, part=PART)
        with torch.no_grad():
            made = pairing(generate(config, game, code))
        leaves = {name: value.detach().requires_grad_() for name, value in parameters.items()}
        loss = (infer(config, leaves, made) - code).square().sum(2).mean(1).sum()
        found = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))
        adam_step(parameters, slots, found, update, config.inference_rate * (1 - update / config.inference_updates))
        if update + 1 in looks:
            curve["explained"].append(per_seed(explained_variance(fresh, infer(config, parameters, made_of_fresh))))
    return parameters, curve


def squared_errors(
    config: InferenceConfig, streams: Streams, game: Parameters, inference: Parameters, images: Tensor, mean: Tensor
) -> dict[str, Tensor]:
    """The mean squared error per pixel of images (n, dimension) shown in four ways, each (seeds,) float64.

    reconstruction: by G(E(x)). other: by that of the next image, which is as likely an image of G and knows nothing of
    x. random: by G of a random code for each image. mean: by the `mean` image.
    """
    every = images.expand(len(streams.seeds), -1, -1)
    random = streams.normal("evaluation", 1, len(images), config.code_dimension)
    reconstruction = generate(config, game, infer(config, inference, every))
    shown = {
        "reconstruction": reconstruction,
        "other": reconstruction.roll(-1, 1),
        "random": generate(config, game, random),
        "mean": mean.expand_as(every),
    }
    return {name: (every - one).double().square().mean((1, 2)) for name, one in shown.items()}


class Inference(Experiment):
    """X2."""

    Config = InferenceConfig
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {"mnist": ON_MNIST}
    claims: ClassVar[tuple[str, ...]] = ("X2",)

    def __init__(self, pairing: Pairing = their_own) -> None:
        self._pairing = pairing

    def run(self, config: InferenceConfig, seeds: Sequence[int], device: torch.device, splits: Splits | None) -> Found:
        """Trains the game, then E; test images need no labels."""
        assert splits is not None
        streams = Streams(seeds, device)
        train, test = (pixels(splits, split, device) for split in ("train", "test"))
        with task("the game", 0.7):
            game = play(config, streams, train)
        inference, curve = train_inference(config, streams, game, train.shape[1], self._pairing)
        errors = squared_errors(config, streams, game, inference, test, train.mean(0))
        checks: dict[str, dict[str, float | list[float | None]]] = {
            "X2": {
                "explained_variance_of_z": curve["explained"][-1],
                "reconstruction_against_that_of_another_image": per_seed(
                    (errors["other"] / errors["reconstruction"]).log()
                ),
            }
        }
        series = {
            "curve": curve, "code_dimension": config.code_dimension, "test_images": len(test),
            "errors": {name: per_seed(values) for name, values in errors.items()},
        }  # fmt: skip
        return Found(checks, series)


EXPERIMENT = Inference()
