"""Adam (Kingma & Ba 2015, Algorithm 1) on parameters that a model stacks over its seeds."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim.adam import adam


def moments(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The slots at the start: for every parameter zero `<name>.first` and `<name>.second`, m and v, of its shape."""
    return {
        f"{name}.{moment}": torch.zeros_like(value)
        for name, value in parameters.items()
        for moment in ("first", "second")
    }


def adam_step(
    parameters: Mapping[str, Tensor],
    slots: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
    step: int,
    learning_rate: float,
    decays: tuple[float, float] = (0.9, 0.999),
    epsilon: float = 1e-8,
) -> None:
    """In place, one update of the parameters that have gradients. With t = step + 1, elementwise:

    m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g^2,
    theta <- theta - rate * m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + epsilon).

    Args:
        slots: m and v, as `moments` names them.
        step: updates made before this one.
        decays: b1 and b2; they and epsilon as Algorithm 1 suggests.
    """
    updated = [parameters[name] for name in gradients]
    counts = [torch.tensor(float(step), device=value.device) for value in updated]  # torch adds the 1 itself
    adam(
        updated, list(gradients.values()), [slots[f"{name}.first"] for name in gradients],
        [slots[f"{name}.second"] for name in gradients], [], counts, fused=True, foreach=False, amsgrad=False,
        beta1=decays[0], beta2=decays[1], lr=learning_rate, weight_decay=0.0, eps=epsilon, maximize=False,
    )  # fmt: skip
