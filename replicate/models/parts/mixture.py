"""Mixtures of Gaussians with full covariances: one per seed, fitted side by side by EM.

EM (Dempster, Laird & Rubin 1977) runs in float64 for a fixed number of rounds: a test of
convergence over the block would tie the seeds together.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

#: Rows whose responsibilities are held at a time: bounds memory whatever the number of rows.
ROWS = 4096
#: Added to the diagonal of every covariance, as a share of the mean variance: keeps a component of
#: few rows regular.
RIDGE = 1e-6


@dataclass(frozen=True)
class Mixture:
    """The mixtures of a block of seeds.

    Attributes:
        weight: (seeds, components), each seed's add up to 1.
        mean: (seeds, components, dimension).
        factor: (seeds, components, dimension, dimension), lower triangular; factor @ factor.mT is
            the covariance. NaN where a seed's rows have no regular covariance.
    """

    weight: Tensor
    mean: Tensor
    factor: Tensor

    def log_density(self, rows: Tensor) -> Tensor:
        """Log-density of rows (seeds, n, dimension), (seeds, n) in nats."""
        log_norm = 0.5 * rows.shape[2] * math.log(2 * math.pi)
        return _log_densities(rows, self).logsumexp(1) - log_norm

    def draw(self, choice: Tensor, noise: Tensor) -> Tensor:
        """Rows drawn from the mixtures, (seeds, count, dimension).

        Args:
            choice: (seeds, count) uniform on [0, 1), which choose the components.
            noise: (seeds, count, dimension) standard normal.
        """
        components = self.weight.shape[1]
        # Cumulative sums by a matrix product: torch.cumsum is not deterministic on a GPU.
        summation = self.weight.new_ones(components, components).triu()
        upper_bounds = self.weight @ summation
        # Of all but the last component, so that rounding names none that is not there.
        inner_bounds = upper_bounds[:, None, :-1]
        is_above = choice[:, :, None] >= inner_bounds
        component = is_above.sum(2)
        seeds = torch.arange(len(component), device=component.device)
        seed = seeds[:, None]
        factor = self.factor[seed, component]
        deviation = (factor @ noise[..., None]).squeeze(-1)
        return self.mean[seed, component] + deviation


def _factors(covariance: Tensor, ridge: Tensor) -> Tensor:
    """Cholesky factors of covariance + ridge * identity; NaN where it is not positive definite."""
    dimension = covariance.shape[-1]
    identity = torch.eye(dimension, dtype=covariance.dtype, device=covariance.device)
    regular = covariance + ridge * identity
    factor, fault = torch.linalg.cholesky_ex(regular)
    # A failed seed must not raise for the block: its factor says so by NaN, and the others go on.
    is_regular = (fault == 0)[..., None, None]
    return torch.where(is_regular, factor, torch.nan)


def _log_densities(rows: Tensor, mixture: Mixture) -> Tensor:
    """log(weight * Gaussian density) without its constant, (seeds, components, n)."""
    # With the factor L of the covariance: (x - mu)^T (L L^T)^-1 (x - mu) = |L^-1 (x - mu)|^2.
    means = mixture.mean[:, :, None]
    deviations = (rows[:, None] - means).mT
    whitened = torch.linalg.solve_triangular(mixture.factor, deviations, upper=False)
    squared_distance: Tensor = whitened.square().sum(2)
    diagonal = mixture.factor.diagonal(dim1=-2, dim2=-1)
    log_determinant = diagonal.log().sum(-1)
    log_scale = mixture.weight.log() - log_determinant
    return log_scale[..., None] - 0.5 * squared_distance


def _em_round(rows: Tensor, mixture: Mixture, ridge: Tensor) -> Mixture:
    """One round of EM."""
    # The E step's sums over rows of r, r x and r x x^T, for responsibilities r.
    share = torch.zeros_like(mixture.weight)
    first_moment = torch.zeros_like(mixture.mean)
    second_moment = torch.zeros_like(mixture.factor)
    for chunk in torch.split(rows, ROWS, dim=1):
        log_densities = _log_densities(chunk, mixture)
        responsibility = torch.softmax(log_densities, dim=1)
        of_components = chunk[:, None]
        weighted = responsibility[..., None] * of_components
        share += responsibility.sum(2)
        first_moment += responsibility @ chunk
        second_moment += weighted.mT @ of_components
    # The M step; the clamp is for a component without rows, which gets weight 0.
    smallest = torch.finfo(rows.dtype).tiny
    mass = share.clamp(min=smallest)
    mean = first_moment / mass[..., None]
    mean_square = second_moment / mass[..., None, None]
    squared_mean = mean[..., None] * mean[..., None, :]
    covariance = mean_square - squared_mean
    return Mixture(share / rows.shape[1], mean, _factors(covariance, ridge))


@torch.no_grad()
def fit(rows: Tensor, chosen: Tensor, rounds: int) -> Mixture:
    """Maximum-likelihood mixtures by EM; with one component the exact ones.

    Args:
        rows: (seeds, n, dimension), any floating type; the result has it too.
        chosen: (seeds, components) indices of the rows at which the components start, with the
            covariance of all rows.
        rounds: of EM.
    """
    components = chosen.shape[1]
    seed = torch.arange(len(rows), device=rows.device)[:, None]
    # Centred, so that covariances lose little to cancellation.
    centre = rows.double().mean(1, keepdim=True)
    centred = rows.double() - centre
    covariance = centred.mT @ centred / rows.shape[1]
    mean_variance = covariance.diagonal(dim1=1, dim2=2).mean(1)
    ridge = RIDGE * mean_variance[:, None, None, None]
    initial_covariance = covariance[:, None].expand(-1, components, -1, -1)
    mixture = Mixture(
        weight=torch.full(chosen.shape, 1 / components, dtype=torch.float64, device=rows.device),
        mean=centred[seed, chosen],
        factor=_factors(initial_covariance, ridge),
    )
    for _ in range(rounds):
        mixture = _em_round(centred, mixture, ridge)
    return Mixture(
        weight=mixture.weight.to(rows.dtype),
        mean=(mixture.mean + centre).to(rows.dtype),
        factor=mixture.factor.to(rows.dtype),
    )
