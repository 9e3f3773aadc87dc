"""The Parzen estimate as one measure beside the others; `replicate.likelihood.parzen` computes it,
here as for Table 1.
"""

import torch

from replicate.likelihood.parzen import choose_bandwidth, log_density
from replicate.measures.resampling import Estimate, mean_of
from replicate.measures.sample_set import SampleSet


def measure(sample_set: SampleSet) -> Estimate:
    """The mean log-density of the test images, nats.

    The bandwidth is chosen on validation images, as the protocol has it.
    """
    limit = sample_set.likelihood.validation_limit
    validation = torch.from_numpy(sample_set.splits.validation(limit))
    samples = sample_set.samples
    # The same functions as Table 1's stages call: this row of a comparison is that very estimate.
    choice = choose_bandwidth(samples, validation.to(samples.device), sample_set.likelihood.sigmas)
    densities = log_density(samples, sample_set.true_images("test"), choice.sigma)
    estimate = mean_of(densities, sample_set.settings.resamples)
    estimate.details["sigma"] = choice.sigma
    estimate.details["at_edge"] = float(choice.at_edge)
    estimate.details["samples"] = float(len(samples))
    return estimate
