"""Memorisation (`replicate.diagnostics.samples`) as a measure among others."""

from replicate.diagnostics.samples import held_out_images, nearer_to_training
from replicate.measures.compared_images import chosen_rows
from replicate.measures.resampling import Estimate, mean_of
from replicate.measures.sample_set import SampleSet

#: Samples whose nearest image is looked for.
COMPARED = 1000


def measure(sample_set: SampleSet) -> Estimate:
    """The excess share of samples whose nearest image is a training image: 0 by chance, 1 copies.

    Held-out images are those of validation and test. Of samples that are as new as these the value
    is about 0; that of samples which are among them is far below.
    """
    # Stream 3, after those of the comparison (1 and 2): other samples, in random order as well.
    samples = chosen_rows(sample_set.samples, COMPARED, 3)
    held_out = held_out_images(sample_set.splits).to(samples.device)
    train = sample_set.true_images("train")
    is_nearer = nearer_to_training(samples, train, held_out)
    share = mean_of(is_nearer, sample_set.settings.resamples)
    # By chance the nearest image is a training image as often as those are among all.
    expected = len(train) / (len(train) + len(held_out))
    assert share.interval is not None
    low, high = share.interval

    # Scaled as `diagnostics.samples.memorisation` scales it, at the ends of the interval too.
    def excess(value: float) -> float:
        return (value - expected) / (1 - expected)

    return Estimate(excess(share.value), (excess(low), excess(high)), len(samples))
