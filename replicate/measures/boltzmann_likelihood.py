"""The log-likelihood of bits under a Boltzmann machine, with Z by annealed importance sampling.

log p(x) = -F(x) - log Z of a restricted machine (Salakhutdinov and Murray 2008); of a deep one the
variational bound in place of -F(x) (Salakhutdinov and Hinton 2009). Pixels are probabilities of
bits, which are drawn once. Nats of bits are no nats of real pixels: never compared with the Parzen
estimate.
"""

import torch

from replicate.measures.model_set import FIRST_DRAW, ModelSet
from replicate.measures.partition_function import log_partition
from replicate.measures.resampling import Estimate, mean_of
from replicate.models.parts.boltzmann import BoltzmannModel, Draws

#: Steps of the stream `evaluation`.
_BITS, _CHAINS = FIRST_DRAW + 10, FIRST_DRAW + 11


@torch.no_grad()
def measure(model_set: ModelSet) -> list[Estimate]:
    """Of each seed: the mean over test images, nats of bits.

    Details: `log_z` with its interval of three standard errors, `log_z_low` and `log_z_high`.
    Chains that miss a mode make log Z too low, and the value too high.
    """
    model, settings = model_set.model, model_set.settings
    assert isinstance(model, BoltzmannModel)
    layer = model.partition_layer
    assert layer is not None
    test = model_set.images("test").expand(model.seed_count, -1, -1)
    # One draw for all: each seed's bits are its own stream's.
    bits = Draws(model.streams, "evaluation", _BITS).bits(test)
    unnormalised = model.log_unnormalised(bits)
    count = settings.partition_temperatures
    ladder = [step / count for step in range(count + 1)]
    # The machine without weights that has the same visible biases: its Z is known.
    partition = log_partition(
        layer, layer.visible, ladder, settings.partition_chains, model.streams, _CHAINS
    )
    estimates = []
    for seed in range(model.seed_count):
        log_z = float(partition.estimate[seed])
        log_likelihoods = unnormalised[seed].double() - log_z
        estimate = mean_of(log_likelihoods, settings.resamples)
        estimate.details["log_z"] = log_z
        # Where the interval of Z reaches down to 0, its logarithm has no lower end.
        if bool(partition.low[seed].isfinite()):
            estimate.details["log_z_low"] = float(partition.low[seed])
        estimate.details["log_z_high"] = float(partition.high[seed])
        estimates.append(estimate)
    return estimates
