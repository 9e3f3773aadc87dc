"""The Parzen estimate from many more samples than the paper's 10,000.

With more samples the best bandwidth falls and the estimate rises, slowly in many dimensions (Theis,
van den Oord and Bethge 2016). Published columns with 10,000,000 samples are of this
kind. Samples are drawn, summed and dropped 10,000 at a time.
"""

import torch
from torch import Tensor

from replicate.likelihood.parzen import KernelSums, is_at_edge, kernel_sums
from replicate.measures.model_set import FIRST_DRAW, ModelSet
from replicate.measures.resampling import Estimate, mean_of
from replicate.progress.loops import each

#: Samples that are drawn and summed at a time.
CHUNK = 10_000
#: Step of the stream `evaluation` of the first of them.
_DRAW = FIRST_DRAW + 1000


def _sums_of_seeds(model_set: ModelSet, rows: Tensor) -> list[KernelSums]:
    """Of each seed: the kernel sums of all samples at rows (n, dimension)."""
    count, sigmas = model_set.settings.many_samples, model_set.likelihood.sigmas
    totals: list[KernelSums] = []
    for number, start in enumerate(each(range(0, count, CHUNK), "samples from {}")):
        # A draw for every chunk: one draw of a million would hold them all at once.
        samples = model_set.model.sample(min(CHUNK, count - start), _DRAW + number)
        sums = [kernel_sums(of_seed, rows, sigmas) for of_seed in samples]
        if totals:
            sums = [total + new for total, new in zip(totals, sums, strict=True)]
        # Sums over disjoint samples add up, log-densities do not.
        totals = sums
    return totals


def measure(model_set: ModelSet) -> list[Estimate]:
    """Of each seed: the mean log-density of the test images, nats.

    The bandwidth is the best of the protocol's on validation images. These and the test images are
    summed together, so that every sample is drawn once.
    """
    likelihood = model_set.likelihood
    limit = likelihood.validation_limit
    validation = torch.from_numpy(model_set.splits.validation(limit))
    test = model_set.images("test")
    rows = torch.cat([validation.to(test.device), test])
    estimates = []
    for sums in _sums_of_seeds(model_set, rows):
        densities = sums.log_densities()
        curve = densities[:, : len(validation)].mean(1).nan_to_num(-torch.inf)
        best = int(curve.argmax())
        of_test = densities[best, len(validation) :]
        estimate = mean_of(of_test, model_set.settings.resamples)
        estimate.details["sigma"] = likelihood.sigmas[best]
        estimate.details["at_edge"] = float(is_at_edge(best, len(curve)))
        estimate.details["samples"] = float(model_set.settings.many_samples)
        estimates.append(estimate)
    return estimates
