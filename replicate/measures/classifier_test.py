"""The two-sample test by a classifier (Lopez-Paz and Oquab 2017).

A net with one hidden layer is trained to tell samples from true images, on a random half of both.
Its accuracy on the other half is the value: one half where it can tell nothing, 1 where it can tell
all.
"""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from replicate.measures.compared_images import Comparison
from replicate.measures.resampling import Estimate, mean_of_halves
from replicate.models.parts import perceptron
from replicate.training.adam import adam_step, moments
from replicate.training.streams import Streams

#: Hidden rectified units, images of either kind in a minibatch, and Adam's rate.
HIDDEN, BATCH, RATE = 64, 64, 3e-3
_NETWORK, _LAYERS = "classifier", 2


def _standardised(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float32, by mean and deviation of the training images; constant inputs become 0."""
    # Of the training half alone: the held-out images must not tell anything of themselves.
    mean, deviation = train.mean(0), train.std(0)
    scale = torch.where(deviation > 1e-6, deviation, torch.inf)
    return ((train - mean) / scale).float(), ((test - mean) / scale).float()


def _trained(samples: Tensor, true_images: Tensor, updates: int) -> dict[str, Tensor]:
    """The net's parameters after so many updates, from images (n, d) of either kind."""
    streams = Streams((0,), samples.device)
    sizes = (samples.shape[1], HIDDEN, 1)
    parameters = perceptron.initial(streams, _NETWORK, sizes, 0)
    slots = moments(parameters)
    # Small data sets have fewer images of a kind than a minibatch takes.
    batch = min(BATCH, len(samples))
    batches_per_epoch = len(samples) // batch
    for update in range(updates):
        epoch, number = divmod(update, batches_per_epoch)
        if number == 0:
            # Even epochs of the stream for samples, odd ones for true images: independent orders.
            (sample_order,) = streams.order(2 * epoch, len(samples))
            (true_order,) = streams.order(2 * epoch + 1, len(true_images))
        rows = slice(number * batch, (number + 1) * batch)
        leaves = {name: value.detach().requires_grad_() for name, value in parameters.items()}
        images = torch.cat([samples[sample_order[rows]], true_images[true_order[rows]]])
        logits = perceptron.outputs(images[None], leaves, _NETWORK, _LAYERS)[0, :, 0]
        # Cross-entropy: samples are class 1, true images class 0.
        loss = softplus(-logits[:batch]).mean() + softplus(logits[batch:]).mean()
        gradients = torch.autograd.grad(loss, list(leaves.values()))
        gradient_of = dict(zip(leaves, gradients, strict=True))
        adam_step(parameters, slots, gradient_of, update, RATE * (1 - update / updates))
    return parameters


def measure(comparison: Comparison) -> Estimate:
    """The accuracy on held-out images, 0 to 1."""
    # The images are in random order already (`chosen_rows`).
    half = len(comparison.samples) // 2
    train = torch.cat([comparison.samples[:half], comparison.true_images[:half]])
    test = torch.cat([comparison.samples[half:], comparison.true_images[half:]])
    train, test = _standardised(train, test)
    parameters = _trained(train[:half], train[half:], comparison.updates)
    logits = perceptron.outputs(test[None], parameters, _NETWORK, _LAYERS)[0, :, 0]
    held_out = len(comparison.samples) - half
    # A logit of 0 counts for true images: a net that says nothing is right half of the time.
    halves = [logits[:held_out] > 0, logits[held_out:] <= 0]
    return mean_of_halves(halves, comparison.resamples)
