"""Digits, a classifier of them and small settings, for the tests of measures."""

from functools import cache
from pathlib import Path

import torch

from replicate.datasets import load_dataset
from replicate.datasets.base import PinnedDataset, Splits
from replicate.diagnostics import classifier
from replicate.diagnostics.classifier import Classifier
from replicate.params import AnnealingSettings, MeasureSettings

#: Two orders below the defaults: for the machinery, not for the numbers.
SMALL = MeasureSettings(
    images=60,
    resamples=20,
    classifier_updates=20,
    many_samples=2500,
    annealing=AnnealingSettings(
        images=4,
        validation=3,
        simulated=2,
        chains=2,
        temperatures=6,
        leapfrogs=2,
        sigmas=(0.2, 0.4),
    ),
    partition_chains=10,
    partition_temperatures=20,
)


@cache
def splits() -> Splits:
    dataset = load_dataset("digits")
    assert isinstance(dataset, PinnedDataset)
    files = {source.name: dataset.locate(source, Path()) for source in dataset.sources}
    return dataset.prepare(files, dataset.Config())


@cache
def small_classifier() -> Classifier:
    """Trained for a tenth of its updates: good enough to tell noise from digits."""
    data = splits()
    images = torch.from_numpy(data.flat("train")).reshape(-1, *data.shape)
    updates, classifier.UPDATES = classifier.UPDATES, 200
    try:
        return classifier.fit(images, torch.from_numpy(data.labels_of("train")), 10)
    finally:
        classifier.UPDATES = updates
