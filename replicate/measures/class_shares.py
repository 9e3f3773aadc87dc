"""The share of the rarest class among samples: of a model that has dropped a class it is 0."""

import numpy as np
import torch

from replicate.measures.resampling import QUANTILES, SEED, Estimate
from replicate.measures.sample_set import SampleSet


def measure(sample_set: SampleSet) -> Estimate:
    """The smallest share of a class by the data set's classifier, 0 to 1 / classes.

    Details: `class_0`, `class_1`, ...: the share of each.
    """
    # `scoring` names this measure as without a value where the data set has no labels.
    assert sample_set.classifier is not None
    pictures = sample_set.samples.reshape(-1, *sample_set.splits.shape)
    probabilities = sample_set.classifier.probabilities(pictures)
    count, classes = probabilities.shape
    # `minlength`: a class that no sample has still counts, with 0.
    numbers = torch.bincount(probabilities.argmax(1).cpu(), minlength=classes)
    shares = numbers.double().numpy() / count
    # Images drawn with replacement have multinomial numbers of each class.
    generator = np.random.default_rng(SEED)
    resampled = generator.multinomial(count, shares, sample_set.settings.resamples) / count
    # The minimum is taken in every resample: which class is the rarest is uncertain too.
    low, high = np.quantile(resampled.min(1), QUANTILES)
    details = {f"class_{number}": float(share) for number, share in enumerate(shares)}
    return Estimate(float(shares.min()), (float(low), float(high)), count, details)
