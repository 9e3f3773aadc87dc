"""After training, a network learns to predict z from x (X2, section 7.2).

The paper claims: learned approximate inference can be performed by training an auxiliary network to
predict z given x, with G fixed.

A network E is trained on pairs (z, G(z)) to give z back, which minimises E|z - E(G(z))|^2.
Measured: how much of the variance of z it explains on pairs that it never saw; and how well G(E(x))
shows test images, which G never made, against G(E(another image)).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, TypedDict

import torch
from pydantic import PositiveFloat
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.experiments.base import (
    Checks,
    Experiment,
    ExperimentResult,
    PerSeed,
    geometric_looks,
    per_seed,
)
from replicate.experiments.games.image_game import ON_MNIST, GameConfig, generate, pixels, play
from replicate.models.parts import perceptron
from replicate.params import OURS, setting
from replicate.progress.loops import steps, task
from replicate.training.adam import adam_step, moments
from replicate.training.streams import Streams

#: Parts of the stream `noise` below this one are the game's.
PART = 10
#: Looks at E while it learns.
LOOKS = 16

Parameters = Mapping[str, Tensor]
#: The images of a minibatch (seeds, n, dimension) as E sees them beside the codes that they were
#: made from.
Pairing = Callable[[Tensor], Tensor]


class InferenceConfig(GameConfig):
    """The game, and how E is trained."""

    code_dimension: int = setting(8, "length of z, which is standard normal", OURS, ge=1)
    inference_updates: int = setting(2000, "updates of E", OURS, ge=1)
    inference_rate: PositiveFloat = setting(
        0.003, "of Adam for E at the start; it falls linearly to 0", OURS
    )
    fresh_pairs: int = setting(1000, "pairs (z, G(z)) that E is judged on, per seed", OURS, ge=2)


class InferenceCurve(TypedDict):
    """The share of the variance of z that E explains after some updates, rows of one a seed."""

    update: list[int]
    explained: list[PerSeed]


def their_own(images: Tensor) -> Tensor:
    """Every code with the image made from it: section 7.2."""
    return images


def infer(config: InferenceConfig, parameters: Parameters, images: Tensor) -> Tensor:
    """E(x) of images (seeds, n, dimension): (seeds, n, code dimension)."""
    return perceptron.outputs(images, parameters, "inference", config.layers)


def explained_variance(code: Tensor, inferred: Tensor) -> Tensor:
    """1 - sum |z - E(x)|^2 / sum |z - mean z|^2, of codes (seeds, n, code dimension): (seeds,)."""
    # Float64: near 1 the share is a difference of almost equal sums.
    code = code.double()
    inferred = inferred.double()
    mean = code.mean(1, keepdim=True)
    errors = code - inferred
    deviations = code - mean
    unexplained = errors.square().sum((1, 2))
    total = deviations.square().sum((1, 2))
    return 1 - unexplained / total


def train_inference(
    config: InferenceConfig,
    streams: Streams,
    game: Parameters,
    dimension: int,
    pairing: Pairing = their_own,
) -> tuple[dict[str, Tensor], InferenceCurve]:
    """E's parameters, and the share of variance that it explains on fresh pairs while it learns.

    Args:
        game: the parameters of G, which stay as they are.
        dimension: pixels of an image.
    """
    dimension_of_code = config.code_dimension
    sizes = (dimension, *config.hidden, dimension_of_code)
    # G and D have used the parts below.
    parameters = perceptron.initial(streams, "inference", sizes, 2 * config.layers)
    slots = moments(parameters)
    updates = config.inference_updates
    looks = geometric_looks(updates, LOOKS)
    curve: InferenceCurve = {"update": looks, "explained": []}
    # Of another stream than training: E has never seen these pairs.
    fresh_code = streams.normal("evaluation", 0, config.fresh_pairs, dimension_of_code)
    with torch.no_grad():
        fresh_images = generate(config, game, fresh_code)
    for update in steps(updates):
        code = streams.normal("noise", update, config.batch_size, dimension_of_code, part=PART)
        # G has been trained before: E learns to read it as it is.
        with torch.no_grad():
            images = pairing(generate(config, game, code))
        leaves = {name: value.detach().requires_grad_() for name, value in parameters.items()}
        errors = infer(config, leaves, images) - code
        # Over the code, then images, then seeds, of which none depends on another.
        loss = errors.square().sum(2).mean(1).sum()
        slopes = torch.autograd.grad(loss, list(leaves.values()))
        gradients = dict(zip(leaves, slopes, strict=True))
        rate = config.inference_rate * (1 - update / updates)
        adam_step(parameters, slots, gradients, update, rate)
        if update + 1 in looks:
            inferred = infer(config, parameters, fresh_images)
            explained = explained_variance(fresh_code, inferred)
            curve["explained"].append(per_seed(explained))
    return parameters, curve


def squared_errors(
    config: InferenceConfig,
    streams: Streams,
    game: Parameters,
    inference: Parameters,
    images: Tensor,
    mean: Tensor,
) -> dict[str, Tensor]:
    """The mean squared error per pixel of images shown in four ways, each (seeds,) float64.

    reconstruction: by G(E(x)). other: by that of the next image, which is as likely an image of G
    and knows nothing of x. random: by G of a random code for each image. mean: by the mean image.

    Args:
        images: (n, dimension).
        mean: the mean training image, (dimension,).
    """
    seeds = len(streams.seeds)
    of_seeds = images.expand(seeds, -1, -1)
    code = infer(config, inference, of_seeds)
    reconstruction = generate(config, game, code)
    count = len(images)
    random_code = streams.normal("evaluation", 1, count, config.code_dimension)
    stand_ins = {
        "reconstruction": reconstruction,
        # As sharp as a reconstruction, and of another image.
        "other": reconstruction.roll(-1, 1),
        "random": generate(config, game, random_code),
        # Shown and not judged: blurred means have a small squared error without knowing anything of
        # x.
        "mean": mean.expand_as(of_seeds),
    }
    errors: dict[str, Tensor] = {}
    for name, stand_in in stand_ins.items():
        differences = (of_seeds - stand_in).double()
        squares = differences.square()
        errors[name] = squares.mean((1, 2))
    return errors


class Inference(Experiment[InferenceConfig]):
    """X2.

    Args:
        pairing: the images that E sees beside the codes.
    """

    Config = InferenceConfig
    recipes: ClassVar[Mapping[str, Mapping[str, object]]] = {"mnist": ON_MNIST}
    statements: ClassVar[tuple[str, ...]] = ("X2",)

    def __init__(self, pairing: Pairing = their_own) -> None:
        self._pairing = pairing

    def run(
        self,
        config: InferenceConfig,
        seeds: Sequence[int],
        device: torch.device,
        splits: Splits | None,
    ) -> ExperimentResult:
        """Trains the game, then E; test images need no labels."""
        assert splits is not None
        streams = Streams(seeds, device)
        train = pixels(splits, "train", device)
        test = pixels(splits, "test", device)
        with task("the game", 0.7):
            game = play(config, streams, train)
        inference, curve = train_inference(config, streams, game, train.shape[1], self._pairing)
        errors = squared_errors(config, streams, game, inference, test, train.mean(0))
        # The reconstruction of another image is as sharp and as typical: only what E read from x
        # differs.
        ratio = errors["other"] / errors["reconstruction"]
        checks: Checks = {
            "X2": {
                "explained_variance_of_z": curve["explained"][-1],
                "reconstruction_against_that_of_another_image": per_seed(ratio.log()),
            }
        }
        series = {
            "curve": curve,
            "code_dimension": config.code_dimension,
            "test_images": len(test),
            "errors": {name: per_seed(values) for name, values in errors.items()},
        }
        return ExperimentResult(checks, series)


EXPERIMENT = Inference()
