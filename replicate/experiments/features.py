"""Features of D, or of the inference net, for classifiers with few labels (X4, section 7.4).

The paper claims: features of the discriminator or of the inference net could improve classifiers
where few labelled data are there.

Measured: the test error of a linear classifier that sees few labelled images, by D's hidden layers,
those of the inference net of section 7.2, those of D before its training, and raw pixels;
validation images choose its regularisation. The statement is about the error that features of D
save against raw pixels.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import PositiveFloat, PositiveInt
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.experiments.base import Experiment, ExperimentResult, NotApplicable, PerSeed
from replicate.experiments.games.image_game import ON_MNIST, initial, labelled, pixels, play
from replicate.experiments.games.sample_judge import ONE_CLASS
from replicate.experiments.inference import InferenceConfig, train_inference
from replicate.models.parts import perceptron
from replicate.params import OURS, setting
from replicate.progress.loops import each, task
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
        (0.001, 0.01, 0.1, 1.0, 10.0),
        "C of the classifier, chosen on validation images; ties to the smallest",
        OURS,
        min_length=1,
    )


class TrainedNetwork(NamedTuple):
    """Parameters of all seeds, and the network among them that makes features."""

    parameters: Mapping[str, Tensor]
    network: str


def hidden_layers(
    parameters: Mapping[str, Tensor], network: str, layers: int, images: Tensor
) -> Tensor:
    """All rectified units of a network, joined, (seeds, n, units).

    Args:
        layers: of the network.
        images: (seeds, n, dimension).
    """
    units = []
    for layer in range(1, layers):
        inputs = perceptron.outputs(images, parameters, network, layer)
        # `outputs` leaves its last layer linear, and here every layer is once the last.
        units.append(inputs.relu())
    return torch.cat(units, 2)


def standardised(sets: Mapping[str, Array]) -> dict[str, Array]:
    """Every set less the mean of `train`, by one scale: the features' root mean variance there.

    One scale for all of them leaves to raw pixels that those at the rim hardly vary. Features that
    never vary become 0.
    """
    train = sets["train"]
    # Of training images alone, as everything that a classifier may know.
    mean = train.mean(0)
    mean_variance = train.var(0).mean()
    scale = np.sqrt(mean_variance)
    # Features that are all constant have no scale, and tell nothing in any.
    divisor = scale or 1.0
    results = {}
    for name, rows in sets.items():
        results[name] = (rows - mean) / divisor
    return results


def stratified(labels: Labels, drawn: NDArray[np.float32]) -> Labels:
    """An order of all rows whose every prefix is class-balanced.

    To within one, and while a class has images left.

    Args:
        labels: (n,).
        drawn: (n,) random numbers that decide which images of a class come first.
    """
    rank = np.empty_like(labels)
    for number in np.unique(labels):
        rows = np.flatnonzero(labels == number)
        # Stable, so that equal numbers leave the order the same on every machine.
        order = np.argsort(drawn[rows], kind="stable")
        ranks_in_class = np.arange(len(rows))
        rank[rows[order]] = ranks_in_class
    # The first of every class, then the second of every class, and so on.
    return np.lexsort((drawn, rank))


def classifier_error(
    sets: Mapping[str, Array],
    labels: Mapping[str, Labels],
    rows: Labels,
    penalties: Sequence[float],
) -> tuple[float, float]:
    """The share of test images that a linear classifier gets wrong, and its C.

    The penalty does not change under rotations, and the weights that it leaves best lie in the span
    of the images that the classifier learns from. Coordinates of that span thus give the same
    classifier with at most as many weights per class as images. Every C starts from the weights of
    the one before.

    Args:
        rows: of `train`, on which it is trained.
    """
    learnt_from = sets["train"][rows]
    classes = labels["train"][rows]
    _, _, directions = np.linalg.svd(learnt_from, full_matrices=False)
    span = directions.T
    train = learnt_from @ span
    valid = sets["valid"] @ span
    test = sets["test"] @ span
    classifier = LogisticRegression(
        solver="newton-cg", tol=TOLERANCE, max_iter=STEPS, warm_start=True
    )
    best_share, error, best_c = -1.0, 1.0, 0.0
    # Ascending, so that each starts near its solution: weights grow with C.
    for c in sorted(penalties):
        classifier.set_params(C=c)
        classifier.fit(train, classes)
        share = float(classifier.score(valid, labels["valid"]))
        if share > best_share:  # the first of a tie
            best_share, best_c = share, c
            # Test images are scored for the C that leads on validation images, and choose nothing.
            accuracy = float(classifier.score(test, labels["test"]))
            error = 1 - accuracy
    return error, best_c


class Features(Experiment[FeaturesConfig]):
    """X4.

    Args:
        beneficial: the features that are to beat raw pixels.
    """

    Config = FeaturesConfig
    recipes: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "mnist": {**ON_MNIST, "label_counts": (100, 1000, 3000)}
    }
    statements: ClassVar[tuple[str, ...]] = ("X4",)

    def __init__(self, beneficial: Literal["discriminator", "untrained"] = "discriminator") -> None:
        self._beneficial = beneficial

    def run(
        self,
        config: FeaturesConfig,
        seeds: Sequence[int],
        device: torch.device,
        splits: Splits | None,
    ) -> ExperimentResult:
        """Trains the game and E on all training images without labels, classifiers on few with."""
        assert splits is not None
        images: dict[str, Tensor] = {}
        labels: dict[str, Labels] = {}
        for split in ("train", "valid", "test"):
            images[split], classes = labelled(splits, split, device)
            labels[split] = classes.cpu().numpy()
        _check_counts(config, labels["train"])
        streams = Streams(seeds, device)
        networks = _networks(config, streams, pixels(splits, "train", device))
        count = len(labels["train"])
        # By the seed, and the same for all features: they are compared on equal images.
        drawn = streams.uniform("evaluation", 0, count, part=PART).cpu().numpy()
        errors: dict[str, list[PerSeed]] = {name: [] for name in FEATURES}
        chosen: dict[str, list[PerSeed]] = {name: [] for name in FEATURES}
        for seed_index, _ in each([*enumerate(seeds)], "classifiers of seed {0[1]}"):
            order = stratified(labels["train"], drawn[seed_index])
            for name in each([*FEATURES]):
                sets: dict[str, Array] = {}
                for split, rows in images.items():
                    sets[split] = _features(config, networks.get(name), seed_index, rows)
                error_curve, c_curve = _curves(config, sets, labels, order)
                errors[name].append(error_curve)
                chosen[name].append(c_curve)
        pairs = zip(errors["pixels"], errors[self._beneficial], strict=True)
        gains = [_mean_difference(of_pixels, of_features) for of_pixels, of_features in pairs]
        series = {
            "label_counts": list(config.label_counts),
            "errors": errors,
            "chosen": chosen,
            "test_images": len(labels["test"]),
            "unlabelled": splits.count("train"),
        }
        return ExperimentResult({"X4": {"error_saved_by_features_of_d": gains}}, series)


def _check_counts(config: FeaturesConfig, labels: Labels) -> None:
    """Refuses a data set of one class, or with fewer labels, or more classes, than a classifier is
    to see images.
    """
    classes = len(np.unique(labels))
    if classes < 2:
        raise NotApplicable(ONE_CLASS)
    fewest = min(config.label_counts)
    most = max(config.label_counts)
    if most > len(labels):
        raise NotApplicable(
            f"it asks for {most} labelled images, and the data set has {len(labels)}"
        )
    if fewest < classes:
        raise NotApplicable(
            f"it asks for {fewest} labelled images, and the data set has {classes} classes"
        )


def _networks(config: FeaturesConfig, streams: Streams, train: Tensor) -> dict[str, TrainedNetwork]:
    """What makes the features, but for raw pixels, by name."""
    with task("the game", 0.6):
        game = play(config, streams, train)
    with task("the inference net", 0.2):
        inference, _ = train_inference(config, streams, game, train.shape[1])
    return {
        # The same streams give D's own start, so this is D before its training and not another net.
        "untrained": TrainedNetwork(initial(config, streams, train), "discriminator"),
        "discriminator": TrainedNetwork(game, "discriminator"),
        "inference": TrainedNetwork(inference, "inference"),
    }


def _features(
    config: FeaturesConfig, trained: TrainedNetwork | None, seed_index: int, images: Tensor
) -> Array:
    """The features of one seed for images (n, dimension), raw pixels without a network.

    Returns:
        (n, features) float64.
    """
    if trained is None:
        return images.double().cpu().numpy()
    # A slice keeps the seeds' dimension, which the networks need.
    rows = slice(seed_index, seed_index + 1)
    of_seed = {name: value[rows] for name, value in trained.parameters.items()}
    units = hidden_layers(of_seed, trained.network, config.layers, images[None])
    return units[0].double().cpu().numpy()


def _curves(
    config: FeaturesConfig, sets: Mapping[str, Array], labels: Mapping[str, Labels], order: Labels
) -> tuple[PerSeed, PerSeed]:
    """Test error and C for every number of labels; None where the network failed."""
    counts = config.label_counts
    are_finite = [bool(np.isfinite(rows).all()) for rows in sets.values()]
    if not all(are_finite):
        failed: PerSeed = [None] * len(counts)
        return failed, list(failed)
    scaled = standardised(sets)
    error_curve: PerSeed = []
    c_curve: PerSeed = []
    for count in counts:
        rows_with_labels = order[:count]
        error, c = classifier_error(scaled, labels, rows_with_labels, config.penalties)
        error_curve.append(error)
        c_curve.append(c)
    return error_curve, c_curve


def _mean_difference(
    minuends: Sequence[float | None], subtrahends: Sequence[float | None]
) -> float | None:
    """The mean difference over the numbers of labels; None where the seed failed."""
    gaps: list[float] = []
    pairs = zip(minuends, subtrahends, strict=True)
    for a, b in pairs:
        if a is None or b is None:
            return None
        gap = a - b
        gaps.append(gap)
    return float(np.mean(gaps))


EXPERIMENT = Features()
