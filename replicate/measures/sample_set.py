"""Samples with the data set that they are compared with: what measures of samples read."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.diagnostics.classifier import Classifier
from replicate.measures.compared_images import FEWEST, Comparison, chosen_rows
from replicate.params import Likelihood, MeasureSettings


@dataclass(frozen=True)
class SampleSet:
    """Samples of one seed, or of nobody known.

    Where a data set has folds, its first one is used.

    Attributes:
        samples: (n, dimension) float32, in the pixels of the data set.
        splits: the data set.
        classifier: of the data set's classes; None where it has no labels.
        settings: of the measures.
        likelihood: of the Parzen estimate.
        compared: (m, dimension), what comparisons take in place of the samples; None: the samples.
    """

    samples: Tensor
    splits: Splits
    classifier: Classifier | None
    settings: MeasureSettings
    likelihood: Likelihood
    compared: Tensor | None = None

    def true_images(self, split: str) -> Tensor:
        """The images of a split, (n, dimension) float32, on the samples' device."""
        return torch.from_numpy(self.splits.flat(split)).to(self.samples.device)

    @cached_property
    def _compared(self) -> tuple[Tensor, Tensor]:
        """As many samples as test images, float32."""
        test = self.true_images("test")
        samples = self.samples if self.compared is None else self.compared
        count = min(self.settings.images, len(test), len(samples))
        # Chosen once and used in both spaces, so that pixels and features judge the same images.
        return chosen_rows(samples, count, 1), chosen_rows(test, count, 2)

    def _comparison(self, samples: Tensor, true_images: Tensor) -> Comparison:
        resamples, updates = self.settings.resamples, self.settings.classifier_updates
        # float64 from here on: distances of near copies are differences of large squares.
        return Comparison(samples.double(), true_images.double(), resamples, updates)

    @property
    def is_comparable(self) -> bool:
        """Whether there are enough images to have neighbours."""
        # Both sets have as many images, so the first one speaks for both.
        return len(self._compared[0]) >= FEWEST

    @cached_property
    def pixels(self) -> Comparison:
        """In pixels."""
        return self._comparison(*self._compared)

    @cached_property
    def features(self) -> Comparison | None:
        """In the last hidden layer of the classifier; None without one."""
        if self.classifier is None:
            return None
        features = []
        for images in self._compared:
            # The classifier convolves, so flat rows become images again.
            pictures = images.reshape(-1, *self.splits.shape)
            features.append(self.classifier.features(pictures))
        return self._comparison(*features)
