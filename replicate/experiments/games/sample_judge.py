"""Judges of generated images: a classifier of the data set's labels, and the mean distance of two
images. A classifier that is often wrong on test images is no judge.
"""

import torch
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.diagnostics.classifier import CHANNELS, UPDATES, Classifier, fit
from replicate.experiments.base import NotApplicable
from replicate.experiments.games.image_game import labelled
from replicate.progress.loops import task

#: Test accuracy below which the classifier is no judge of samples.
RELIABLE = 0.97
#: Why nothing can be said of the classes of a data set.
ONE_CLASS = "its images are of one class, and there is nothing to tell apart"


def train_judge(splits: Splits, device: torch.device, updates: int) -> tuple[Classifier, float]:
    """The classifier of the data set's labels, and its accuracy on test images.

    Args:
        updates: of the games that follow, each about as long as one of the classifier's; for the
            progress alone.

    Raises:
        NotApplicable: the images are too small or of one class, or the classifier is poor.
    """
    _, height, width = splits.shape
    # Every layer of the classifier halves the image.
    if min(height, width) < 2 ** len(CHANNELS):
        raise NotApplicable(f"images of {height}x{width} pixels are too small for the classifier")
    images, labels = labelled(splits, "train", device)
    classes = int(labels.max()) + 1
    # Every sample would be of the class that is asked for, and the judge be right of all of them.
    if int(labels.min()) == int(labels.max()):
        raise NotApplicable(ONE_CLASS)
    with task("its classifier", UPDATES / (UPDATES + updates)):
        classifier = fit(images.reshape(-1, *splits.shape), labels, classes)
    # On test images, because it judges images that it has not learnt.
    images, labels = labelled(splits, "test", device)
    is_correct = classes_of(classifier, images, splits.shape) == labels
    accuracy = float(is_correct.double().mean())
    if accuracy < RELIABLE:
        raise NotApplicable(
            f"its classifier is right on {accuracy:.1%} of the test images, too few to judge "
            "samples"
        )
    return classifier, accuracy


def classes_of(classifier: Classifier, images: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """The most probable class of every image of that shape, (..., dimension): (...) int64."""
    leading = images.shape[:-1]
    rows = images.reshape(-1, *shape)
    probabilities = classifier.probabilities(rows)
    most_probable = probabilities.argmax(1)
    return most_probable.view(leading)


def mean_distance(images: Tensor) -> Tensor:
    """The mean Euclidean distance between two of the images (..., n, dimension): (...)."""
    count = images.shape[-2]
    # By a matrix product, near images would lose their distance to rounding.
    distances = torch.cdist(images, images, compute_mode="donot_use_mm_for_euclid_dist")
    # Every pair is there twice, and the n distances of an image to itself are 0.
    pairs = count**2 - count
    return distances.sum((-1, -2)) / pairs
