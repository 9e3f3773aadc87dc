"""Adam (Kingma & Ba 2015, Algorithm 1) on parameters that are stacked over seeds."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim.adam import adam


def moments(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Initial moments of every parameter: zero m `<name>.first` and v `<name>.second`."""
    slots: dict[str, Tensor] = {}
    for name, value in parameters.items():
        # In the slots and not in an optimiser object: slots are what checkpoints hold.
        zero = torch.zeros_like(value)
        slots[f"{name}.first"] = zero
        slots[f"{name}.second"] = zero.clone()
    return slots


def adam_step(
    parameters: Mapping[str, Tensor],
    slots: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
    step: int,
    learning_rate: float,
    decays: tuple[float, float] = (0.9, 0.999),
    epsilon: float = 1e-8,
) -> None:
    """In place, one update of the parameters that have gradients.

    With t = step + 1, elementwise:

        m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g^2,
        theta <- theta - rate * m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + epsilon).

    Args:
        parameters: theta, by name.
        slots: m and v, as `moments` names them.
        gradients: g, by the name of the parameter.
        step: updates made before this one.
        learning_rate: the rate.
        decays: b1 and b2; the defaults are Algorithm 1's, as is that of epsilon.
        epsilon: see above.
    """
    updated = [parameters[name] for name in gradients]
    # Of updates before this one: torch adds the 1 of t = step + 1 itself. Filled on the device:
    # a number that is copied there would make the host wait in every step.
    counts = torch.full((len(updated),), float(step), device=updated[0].device)
    step_counts = list(counts.unbind())
    beta1, beta2 = decays
    # torch's function, not its class: making an `Adam` loads torch's compiler, for over a second.
    # Elementwise, so that seeds stay apart although their parameters are stacked.
    adam(
        params=updated,
        grads=list(gradients.values()),
        exp_avgs=[slots[f"{name}.first"] for name in gradients],
        exp_avg_sqs=[slots[f"{name}.second"] for name in gradients],
        # Of AMSGrad alone, which is off.
        max_exp_avg_sqs=[],
        state_steps=step_counts,
        foreach=False,
        fused=True,
        amsgrad=False,
        beta1=beta1,
        beta2=beta2,
        lr=learning_rate,
        weight_decay=0.0,
        eps=epsilon,
        maximize=False,
    )
