"""Samples that nothing speaks against: draws from a mixture of normal distributions, one a class,
that is fitted to training images.
"""

import numpy as np
from numpy.typing import NDArray

from replicate.datasets import load_dataset
from replicate.datasets.base import Splits

#: Principal directions of a class in which its distribution varies.
DIRECTIONS = 20
Rows = NDArray[np.float32]


def digits() -> Splits:
    dataset = load_dataset("digits")
    return dataset.prepare({}, dataset.Config())


def draws(splits: Splits, count: int, seed: int = 0) -> Rows:
    """`count` samples in a random order, cut to the data's range."""
    generator = np.random.default_rng(seed)
    train, labels = splits.flat("train").astype(np.float64), splits.labels["train"]
    classes = np.unique(labels)
    parts = []
    for label, share in zip(classes, np.array_split(np.arange(count), len(classes)), strict=True):
        rows = train[labels == label]
        _, deviations, directions = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
        scale = deviations[:DIRECTIONS] / np.sqrt(len(rows))
        noise = generator.standard_normal((len(share), DIRECTIONS))
        parts.append(rows.mean(0) + (noise * scale) @ directions[:DIRECTIONS])
    samples = generator.permutation(np.concatenate(parts))
    low, high = splits.value_range
    return samples.clip(low, high).astype(np.float32)
