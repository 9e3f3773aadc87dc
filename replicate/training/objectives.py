"""The two objectives of the adversarial game, as functions of the discriminator's logits.

With a = logit D(x) and b = logit D(G(z)): log D(x) = logsigmoid(a) and log(1 - D(G(z))) =
logsigmoid(-b), accurate where D itself would round to 0 or 1 (torch's softplus is not: it is linear
beyond 20). All means are over the minibatch, the last dimension.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

Objective = Literal["non_saturating", "saturating"]


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """The negative of V(D, G), equation 1: -E[log D(x)] - E[log(1 - D(G(z)))].

    Args:
        real: logits of D on data, shape (..., batch).
        fake: logits of D on generated images, shape (..., batch).

    Returns:
        Shape (...), in nats; 2 log 2 where D is 1/2 everywhere.
    """
    # log(1 - sigmoid(b)) = log sigmoid(-b), which stays finite where D is sure.
    on_data = -logsigmoid(real).mean(-1)
    on_images = logsigmoid(-fake).mean(-1)
    return on_data - on_images


def generator_loss(fake: Tensor, objective: Objective) -> Tensor:
    """The loss of G, shape (...), in nats.

    Saturating: E[log(1 - D(G(z)))], the minimax game of equation 1; its derivative with respect to
    the logit is -D. Non-saturating: -E[log D(G(z))] (section 3: "stronger gradients early in
    learning"); its derivative is -(1 - D).

    Args:
        fake: logits of D on generated images, shape (..., batch).
        objective: which of the two.
    """
    if objective == "saturating":
        log_probabilities = logsigmoid(-fake)
        return log_probabilities.mean(-1)
    # -log D has its largest slope where D rejects an image, so G learns most when it is worst.
    log_probabilities = logsigmoid(fake)
    return -log_probabilities.mean(-1)


def discriminator_slopes(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Derivatives of `discriminator_loss` with respect to the logits, of their shapes.

    -(1 - D(x)) / n for the data and D(G(z)) / n for the generated images.
    """
    real_count = real.shape[-1]
    fake_count = fake.shape[-1]
    # sigmoid(-a) and not 1 - sigmoid(a), which is 0 in float32 where D is sure.
    real_slope = -torch.sigmoid(-real) / real_count
    fake_slope = torch.sigmoid(fake) / fake_count
    return real_slope, fake_slope


def generator_slope(fake: Tensor, objective: Objective) -> Tensor:
    """Derivative of `generator_loss` with respect to the logits, of their shape.

    -D / n if saturating, -(1 - D) / n if not.
    """
    count = fake.shape[-1]
    if objective == "saturating":
        # D near 0 makes this slope vanish: the saturation of section 3.
        probability = torch.sigmoid(fake)
    else:
        probability = torch.sigmoid(-fake)
    return -probability / count
