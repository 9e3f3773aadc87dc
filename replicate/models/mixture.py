"""Mixtures of Gaussians with full covariances: one for every seed, fitted side by side by EM, and sampled.

EM (Dempster, Laird & Rubin 1977) runs in float64 for a fixed number of rounds: a test of convergence over the
block would tie the seeds together.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

#: Rows whose responsibilities are held at a time: bounds memory whatever the number of rows.
ROWS = 4096
#: Added to the diagonal of every covariance, as a share of the mean variance: keeps a component of few rows regular.
RIDGE = 1e-6


@dataclass(frozen=True)
class Mixture:
    """The mixtures of a block of seeds.

    Attributes:
        weight: (seeds, components), each seed's add up to 1.
        mean: (seeds, components, dimension).
        factor: (seeds, components, dimension, dimension), lower triangular; factor @ factor.mT is the covariance.
            Not-a-number where a seed's rows have no regular covariance.
    """

    weight: Tensor
    mean: Tensor
    factor: Tensor

    def draw(self, choice: Tensor, noise: Tensor) -> Tensor:
        """Rows of the mixtures, (seeds, count, dimension).

        Args:
            choice: (seeds, count) uniform on [0, 1), which choose the components.
            noise: (seeds, count, dimension) standard normal.
        """
        components = self.weight.shape[1]
        below = torch.ones(components, components, dtype=self.weight.dtype, device=self.weight.device).triu()
        bounds = self.weight @ below  # a cumulative sum, whose CUDA kernel is not deterministic
        chosen = (choice[:, :, None] >= bounds[:, None, :-1]).sum(2)
        seed = torch.arange(len(chosen), device=chosen.device)[:, None]
        spread = self.factor[seed, chosen] @ noise[..., None]
        return self.mean[seed, chosen] + spread.squeeze(-1)


def _factors(covariance: Tensor, ridge: Tensor) -> Tensor:
    """Cholesky factors of covariance + ridge * identity; not-a-number, without an exception, where there is none."""
    identity = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
    factor, fault = torch.linalg.cholesky_ex(covariance + ridge * identity)
    return torch.where((fault == 0)[..., None, None], factor, torch.nan)


def _log_densities(rows: Tensor, mixture: Mixture) -> Tensor:
    """log(weight * Gaussian density) but for its constant, (seeds, components, n)."""
    whitened = torch.linalg.solve_triangular(mixture.factor, (rows[:, None] - mixture.mean[:, :, None]).mT, upper=False)
    log_volume = mixture.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    found: Tensor = (mixture.weight.log() - log_volume)[..., None] - 0.5 * whitened.square_().sum(2)
    return found


def _round(rows: Tensor, mixture: Mixture, ridge: Tensor) -> Mixture:
    """One round of EM: responsibilities at the present mixture, and the mixture that fits them best."""
    share = torch.zeros_like(mixture.weight)
    first = torch.zeros_like(mixture.mean)
    second = torch.zeros_like(mixture.factor)
    for chunk in torch.split(rows, ROWS, dim=1):
        responsibility = torch.softmax(_log_densities(chunk, mixture), dim=1)
        share += responsibility.sum(2)
        first += responsibility @ chunk
        second += (responsibility[..., None] * chunk[:, None]).mT @ chunk[:, None]
    held = share.clamp(min=torch.finfo(rows.dtype).tiny)  # a component that no row belongs to has weight 0
    mean = first / held[..., None]
    covariance = second / held[..., None, None] - mean[..., None] * mean[..., None, :]
    return Mixture(share / rows.shape[1], mean, _factors(covariance, ridge))


@torch.no_grad()
def fit(rows: Tensor, chosen: Tensor, rounds: int) -> Mixture:
    """The mixtures of maximum likelihood that EM finds; with one component, the exact one.

    Args:
        rows: (seeds, n, dimension), any floating type; the result has it too.
        chosen: (seeds, components) numbers of the rows at which the components start, with the covariance of all rows.
        rounds: of EM.
    """
    seed = torch.arange(len(rows), device=rows.device)[:, None]
    centre = rows.double().mean(1, keepdim=True)
    centred = rows.double() - centre  # so that covariances lose little to cancellation
    pooled = centred.mT @ centred / rows.shape[1]
    ridge = RIDGE * pooled.diagonal(dim1=1, dim2=2).mean(1)[:, None, None, None]
    start = pooled[:, None].expand(-1, chosen.shape[1], -1, -1)
    mixture = Mixture(
        torch.full(chosen.shape, 1 / chosen.shape[1], dtype=torch.float64, device=rows.device),
        centred[seed, chosen],
        _factors(start, ridge),
    )
    for _ in range(rounds):
        mixture = _round(centred, mixture, ridge)
    return Mixture(mixture.weight.to(rows.dtype), (mixture.mean + centre).to(rows.dtype), mixture.factor.to(rows.dtype))
