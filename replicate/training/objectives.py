"""The two objectives of the adversarial game, as functions of the discriminator's logits.

With a = logit D(x) and b = logit D(G(z)): log D(x) = logsigmoid(a) and log(1 - D(G(z))) = logsigmoid(-b), exact
where D itself would round to 0 or 1 (torch's softplus is not: it is linear beyond 20). All means are over the
minibatch, the last dimension.
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
    return -logsigmoid(real).mean(-1) - logsigmoid(-fake).mean(-1)


def generator_loss(fake: Tensor, objective: Objective) -> Tensor:
    """What G descends, shape (...), in nats.

    saturating: E[log(1 - D(G(z)))], the minimax game of equation 1; its gradient by the logit is -D.
    non_saturating: -E[log D(G(z))] (section 3: "stronger gradients early in learning"); -(1 - D).
    """
    if objective == "saturating":
        return logsigmoid(-fake).mean(-1)
    return -logsigmoid(fake).mean(-1)


def discriminator_slopes(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Derivatives of `discriminator_loss` by the logits: -(1 - D(x)) / n and D(G(z)) / n, shapes as given."""
    return -torch.sigmoid(-real) / real.shape[-1], torch.sigmoid(fake) / fake.shape[-1]


def generator_slope(fake: Tensor, objective: Objective) -> Tensor:
    """Derivative of `generator_loss` by the logits: -D / n if saturating, -(1 - D) / n if not; shape as given."""
    return -torch.sigmoid(fake if objective == "saturating" else -fake) / fake.shape[-1]
