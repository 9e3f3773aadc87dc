"""The two objectives of the adversarial game, as functions of the discriminator's logits.

With a = logit D(x) and b = logit D(G(z)): log D = -softplus(-a) and log(1 - D) = -softplus(b), which is
exact where D itself would round to 0 or 1. All means are over the minibatch, the last dimension.
"""

from typing import Literal

from torch import Tensor
from torch.nn.functional import softplus

Objective = Literal["non_saturating", "saturating"]


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """The negative of V(D, G), equation 1: -E[log D(x)] - E[log(1 - D(G(z)))].

    Args:
        real: logits of D on data, shape (..., batch).
        fake: logits of D on generated images, shape (..., batch).

    Returns:
        Shape (...), in nats; 2 log 2 where D is 1/2 everywhere.
    """
    return softplus(-real).mean(-1) + softplus(fake).mean(-1)


def generator_loss(fake: Tensor, objective: Objective) -> Tensor:
    """What G descends, shape (...), in nats.

    saturating: E[log(1 - D(G(z)))], the minimax game of equation 1; its gradient by the logit is -D.
    non_saturating: -E[log D(G(z))] (section 3: "stronger gradients early in learning"); -(1 - D).
    """
    if objective == "saturating":
        return -softplus(fake).mean(-1)
    return softplus(-fake).mean(-1)
