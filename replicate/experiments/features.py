"""Section 7.4: features of D, or of the inference net, help classifiers where labels are few (X4).

D's hidden layers, those of the inference net of section 7.2, those of D before its training, and raw pixels go to the
same linear classifier, which sees few labelled images; validation images choose its regularisation.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import PositiveFloat, PositiveInt
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.experiments.base import Experiment, Found, NotApplicable
from replicate.experiments.game import ON_MNIST, initial, labelled, pixels, play
from replicate.experiments.inference import InferenceConfig, train_inference
from replicate.loops import each, task
from replicate.models import perceptron
from replicate.params import OURS, setting
from replicate.training.streams import Streams

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
#: What a classifier is given.
FEATURES = ("pixels", "untrained", "discriminator", "inference")
#: Part of the stream `evaluation` that draws the labelled images.
PART = 20
#: Steps of the solver, more than it needs.
STEPS = 5000
#: Where the solver stops: the largest entry of the gradient.
TOLERANCE = 1e-6


class FeaturesConfig(InferenceConfig):
    """The game and E, and what the classifiers see."""

    label_counts: tuple[PositiveInt, ...] = setting(
        (50, 100, 300), "labelled images of a classifier", OURS, min_length=1
    )
    penalties: tuple[PositiveFloat, ...] = setting(
        (0.001, 0.01, 0.1, 1.0, 10.0), "C of the classifier, chosen on validation images; ties to the smallest", OURS,
        min_length=1,
    )  # fmt: skip


def hidden_layers(parameters: Mapping[str, Tensor], network: str, layers: int, images: Tensor) -> Tensor:
    """All rectified units of a network of `layers` for images (seeds, n, dimension), joined: (seeds, n, units)."""
    return torch.cat([perceptron.outputs(images, parameters, network, k).relu() for k in range(1, layers)], 2)


def standardised(sets: Mapping[str, Array]) -> dict[str, Array]:
    """Every set less the mean of `train`, by one scale: the features' root mean variance there.

    One scale for all of them leaves to raw pixels that those at the rim hardly vary. Features that never vary become 0.
    """
    mean, scale = sets["train"].mean(0), np.sqrt(sets["train"].var(0).mean())
    return {name: (rows - mean) / (scale or 1.0) for name, rows in sets.items()}


def stratified(labels: Labels, drawn: NDArray[np.float32]) -> Labels:
    """All rows in an order of which every beginning has equally many images of each class, to within one.

    Args:
        labels: (n,); while a class has images left.
        drawn: (n,) random numbers that decide which images of a class come first.
    """
    rank = np.empty_like(labels)
    for number in np.unique(labels):
        rows = np.flatnonzero(labels == number)
        rank[rows[np.argsort(drawn[rows], kind="stable")]] = np.arange(len(rows))
    return np.lexsort((drawn, rank))


def classifier_error(
    sets: Mapping[str, Array], labels: Mapping[str, Labels], rows: Labels, penalties: Sequence[float]
) -> tuple[float, float]:
    """The share of test images that a linear classifier trained on `rows` of `train` gets wrong, and its C.

    The penalty does not change under rotations, and the weights that it leaves best lie in the span of the images that
    the classifier learns from. Coordinates of that span thus give the same classifier with at most as many weights per
    class as images. Every C starts from the weights of the one before.
    """
    span = np.linalg.svd(sets["train"][rows], full_matrices=False)[2].T
    coordinates = {name: images @ span for name, images in {**sets, "train": sets["train"][rows]}.items()}
    classifier = LogisticRegression(solver="newton-cg", tol=TOLERANCE, max_iter=STEPS, warm_start=True)
    best = (-1.0, 1.0, 0.0)
    for c in sorted(penalties):
        classifier.set_params(C=c).fit(coordinates["train"], labels["train"][rows])
        share = float(classifier.score(coordinates["valid"], labels["valid"]))
        if share > best[0]:  # the first of a tie
            best = (share, 1 - float(classifier.score(coordinates["test"], labels["test"])), c)
    return best[1:]


class Features(Experiment):
    """X4; `judged` names the features that are to beat raw pixels."""

    Config = FeaturesConfig
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {"mnist": {**ON_MNIST, "label_counts": (100, 1000, 3000)}}
    claims: ClassVar[tuple[str, ...]] = ("X4",)

    def __init__(self, judged: Literal["discriminator", "untrained"] = "discriminator") -> None:
        self._judged = judged

    def run(self, config: FeaturesConfig, seeds: Sequence[int], device: torch.device, splits: Splits | None) -> Found:
        """Trains the game and E on all training images without labels, then the classifiers on a few with."""
        assert splits is not None
        parts = {name: labelled(splits, name, device) for name in ("train", "valid", "test")}
        labels = {name: found.cpu().numpy() for name, (_, found) in parts.items()}
        _check_counts(config, labels["train"])
        streams = Streams(seeds, device)
        networks = _networks(config, streams, pixels(splits, "train", device))
        drawn = streams.uniform("evaluation", 0, len(labels["train"]), part=PART).cpu().numpy()
        errors: dict[str, list[list[float | None]]] = {name: [] for name in FEATURES}
        chosen: dict[str, list[list[float | None]]] = {name: [] for name in FEATURES}
        for place, _ in each([*enumerate(seeds)], "classifiers of seed {0[1]}"):
            order = stratified(labels["train"], drawn[place])
            for name in each([*FEATURES]):
                sets = {part: _features(config, networks, name, place, rows) for part, (rows, _) in parts.items()}
                found = _curve(config, sets, labels, order)
                errors[name].append([error for error, _ in found])
                chosen[name].append([penalty for _, penalty in found])
        gains = [_gain(raw, ours) for raw, ours in zip(errors["pixels"], errors[self._judged], strict=True)]
        checks: dict[str, dict[str, float | list[float | None]]] = {"X4": {"error_saved_by_features_of_d": gains}}
        series = {
            "label_counts": list(config.label_counts), "errors": errors, "chosen": chosen,
            "test_images": len(labels["test"]), "unlabelled": splits.count("train"),
        }  # fmt: skip
        return Found(checks, series)


def _check_counts(config: FeaturesConfig, labels: Labels) -> None:
    classes, fewest, most = len(np.unique(labels)), min(config.label_counts), max(config.label_counts)
    if most > len(labels):
        raise NotApplicable(f"it asks for {most} labelled images, and the data set has {len(labels)}")
    if fewest < classes:
        raise NotApplicable(f"it asks for {fewest} labelled images, and the data set has {classes} classes")


def _networks(config: FeaturesConfig, streams: Streams, train: Tensor) -> dict[str, tuple[dict[str, Tensor], str]]:
    """What makes the features, but for raw pixels, by name: parameters of all seeds, and the network among them."""
    with task("the game", 0.6):
        game = play(config, streams, train)
    with task("the inference net", 0.2):
        inference, _ = train_inference(config, streams, game, train.shape[1])
    return {
        "untrained": (initial(config, streams, train), "discriminator"),
        "discriminator": (game, "discriminator"), "inference": (inference, "inference"),
    }  # fmt: skip


def _features(
    config: FeaturesConfig, networks: Mapping[str, tuple[Mapping[str, Tensor], str]], name: str, seed: int, rows: Tensor
) -> Array:
    """The features of one seed, by its place, for images (n, dimension): (n, features) float64."""
    if name not in networks:
        return rows.double().cpu().numpy()
    parameters, network = networks[name]
    own = {key: value[seed : seed + 1] for key, value in parameters.items()}
    return hidden_layers(own, network, config.layers, rows[None])[0].double().cpu().numpy()


def _curve(
    config: FeaturesConfig, sets: Mapping[str, Array], labels: Mapping[str, Labels], order: Labels
) -> list[tuple[float | None, float | None]]:
    """Test error and C for every number of labels; None where the network failed."""
    if not all(np.isfinite(rows).all() for rows in sets.values()):
        return [(None, None)] * len(config.label_counts)
    scaled = standardised(sets)
    return [classifier_error(scaled, labels, order[:count], config.penalties) for count in config.label_counts]


def _gain(ones: Sequence[float | None], others: Sequence[float | None]) -> float | None:
    """The mean difference over the numbers of labels; None where the seed failed."""
    pairs = [(one, other) for one, other in zip(ones, others, strict=True) if one is not None and other is not None]
    return float(np.mean([one - other for one, other in pairs])) if len(pairs) == len(ones) else None


EXPERIMENT = Features()
