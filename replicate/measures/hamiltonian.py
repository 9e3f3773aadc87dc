"""Hamiltonian Monte Carlo in the codes of a decoder, for all seeds, images and chains at once.

The target at the inverse temperature k is f(u) = p(u) N(x; g(u), s^2 I)^k, with the decoder g and a
window of width s on every pixel. A transition draws a momentum, follows the leapfrog integrator
with steps of size e, and accepts where log of a uniform number lies below the fall of the energy
(Neal 2011, "MCMC using Hamiltonian dynamics", figure 2). It leaves f unchanged and is reversible,
so the same transitions serve a chain that runs backwards.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from replicate.models.parts.priors import Prior

#: Codes (seeds, n, k) -> images (seeds, n, dimension), differentiable.
Decode = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Decoder:
    """A model of images x = g(z) + s * noise.

    Attributes:
        prior: p(z).
        decode: g.
    """

    prior: Prior
    decode: Decode

    def images(self, position: Tensor) -> Tensor:
        """g of positions (seeds, n, k), (seeds, n, dimension)."""
        return self.decode(self.prior.code(position))


@dataclass(frozen=True)
class Observations:
    """What the chains are to explain.

    Attributes:
        images: (seeds, n, dimension), or (1, n, dimension) where they are the same for all seeds.
        sigma: (seeds, n) float64, the width s for every chain.
    """

    images: Tensor
    sigma: Tensor

    def log_likelihood(self, means: Tensor) -> Tensor:
        """log N(x; means, s^2 I) of means (seeds, n, dimension), (seeds, n) float64 nats."""
        # float64 before the square: at a width of .01 one unit of squared distance is 5,000 nats.
        squares = (self.images - means).double().square().sum(2)
        log_volume = self.images.shape[2] * torch.log(self.sigma * math.sqrt(2 * math.pi))
        return -0.5 * squares / self.sigma.square() - log_volume


@dataclass(frozen=True)
class State:
    """Where the chains are.

    Attributes:
        position: (seeds, n, k).
        log_prior, log_likelihood: (seeds, n) float64, nats.
        prior_gradient, likelihood_gradient: of both with respect to the positions.
    """

    position: Tensor
    log_prior: Tensor
    log_likelihood: Tensor
    prior_gradient: Tensor
    likelihood_gradient: Tensor

    @classmethod
    def at(cls, position: Tensor, decoder: Decoder, observations: Observations) -> "State":
        """The state at positions (seeds, n, k)."""
        with torch.enable_grad():
            # A new leaf at every position: gradients must not run back through the chain's past.
            leaf = position.detach().requires_grad_()
            log_prior = decoder.prior.log_density(leaf).double()
            log_likelihood = observations.log_likelihood(decoder.images(leaf))
        # Apart, because the next temperature weighs them anew; the state keeps both.
        (prior_gradient,) = torch.autograd.grad(log_prior.sum(), leaf)
        (likelihood_gradient,) = torch.autograd.grad(log_likelihood.sum(), leaf)
        return cls(
            position=leaf.detach(),
            log_prior=log_prior.detach(),
            log_likelihood=log_likelihood.detach(),
            prior_gradient=prior_gradient,
            likelihood_gradient=likelihood_gradient,
        )

    def log_target(self, temperature: float) -> Tensor:
        """log f at an inverse temperature, (seeds, n)."""
        return self.log_prior + temperature * self.log_likelihood

    def gradient(self, temperature: float) -> Tensor:
        """Its gradient, (seeds, n, k)."""
        return self.prior_gradient + temperature * self.likelihood_gradient

    def where(self, condition: Tensor, other: "State") -> "State":
        """This state in chains where `condition` (seeds, n) holds, the other one elsewhere."""
        wide = condition[..., None]
        return State(
            position=self.position.where(wide, other.position),
            log_prior=self.log_prior.where(condition, other.log_prior),
            log_likelihood=self.log_likelihood.where(condition, other.log_likelihood),
            prior_gradient=self.prior_gradient.where(wide, other.prior_gradient),
            likelihood_gradient=self.likelihood_gradient.where(wide, other.likelihood_gradient),
        )


@dataclass(frozen=True)
class Randomness:
    """What one transition draws.

    Attributes:
        momentum: (seeds, n, k) standard normal.
        uniform: (seeds, n) on [0, 1).
    """

    momentum: Tensor
    uniform: Tensor


def transition(
    state: State,
    temperature: float,
    step_size: Tensor,
    leapfrogs: int,
    randomness: Randomness,
    decoder: Decoder,
    observations: Observations,
) -> tuple[State, Tensor]:
    """One transition that leaves f at an inverse temperature unchanged.

    Args:
        state: of the chains.
        temperature: k.
        step_size: (seeds, n) of the leapfrog integrator.
        leapfrogs: its steps, at least 1.
        randomness: of this transition.
        decoder, observations: the target.

    Returns:
        The new state, and the probability (seeds, n) with which the proposal was accepted; a
        proposal that is not finite is never accepted.
    """
    # Steps are adapted in float64, positions are the model's float32.
    step = step_size[..., None].to(state.position.dtype)
    proposal = state
    # Half a step of the momentum, whole steps of position and momentum, half a step back.
    momentum = randomness.momentum + 0.5 * step * state.gradient(temperature)
    for _ in range(leapfrogs):
        position = proposal.position + step * momentum
        proposal = State.at(position, decoder, observations)
        momentum = momentum + step * proposal.gradient(temperature)
    # The loop's last step of the momentum was a whole one, half a step too far.
    momentum = momentum - 0.5 * step * proposal.gradient(temperature)
    kinetic_rise = 0.5 * (_squared_norm(momentum) - _squared_norm(randomness.momentum))
    rise = proposal.log_target(temperature) - state.log_target(temperature) - kinetic_rise
    # A step that is too long leads to infinities: NaN compares false, but would spoil the mean
    # share.
    rise = torch.where(rise.isfinite(), rise, -torch.inf)
    # A uniform number of 0 has the logarithm -inf, and accepts all but an infinite fall.
    accepted = torch.log(randomness.uniform.double()) < rise
    return proposal.where(accepted, state), rise.clamp(max=0).exp()


def _squared_norm(vectors: Tensor) -> Tensor:
    # In float64: the acceptance hangs on a difference of two large energies.
    return vectors.double().square().sum(2)
