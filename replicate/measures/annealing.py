"""Annealed importance sampling of log p(x) of a decoder, forwards and backwards.

Neal 2001; Wu, Burda, Salakhutdinov and Grosse 2017. A chain leads from a draw of p(z) to
the posterior p(z | x) over temperatures k_0 = 0 < ... < k_T = 1. Its weight

    log w = sum_t (k_t - k_(t-1)) log p(x | z_(t-1))

has E[w] = p(x), so log of the mean weight is a lower bound on log p(x) in expectation. For an image
that the model itself made, z is an exact draw of the posterior; a chain from there back to p(z)
has E[1 / w] = 1 / p(x), and gives an upper bound (bidirectional Monte Carlo: Grosse, Ghahramani and
Adams 2015). The gap between both, on simulated images, bounds the error.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from replicate.measures.hamiltonian import (
    Decoder,
    Observations,
    Randomness,
    State,
    transition,
)
from replicate.progress.loops import steps
from replicate.training.streams import Streams

#: Share of proposals that is aimed at (Wu et al. 2017), and how fast steps follow it: the
#: change of log e for each unit of the difference.
ACCEPTANCE, ADAPTATION = 0.65, 0.2
#: Step size of the first transition, in deviations of p(z).
FIRST_STEP = 0.5
#: Temperatures follow a logistic curve from - to + this (tonywu95/eval_gen, `sigmoid_schedule`).
STEEPNESS = 4.0


def temperatures(count: int) -> list[float]:
    """`count` + 1 inverse temperatures from 0 to 1, close to each other at both ends."""

    def logistic(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    # A logistic curve has neither 0 nor 1: what it has is stretched to them.
    low, high = logistic(-STEEPNESS), logistic(STEEPNESS)
    curve = [logistic(STEEPNESS * (2 * t / count - 1)) for t in range(count + 1)]
    # The ends are exact: at 0 the target is p(z) itself, from which chains start by exact draws.
    inner = [(value - low) / (high - low) for value in curve[1:-1]]
    return [0.0, *inner, 1.0]


@dataclass(frozen=True)
class Annealing:
    """How chains run.

    Attributes:
        decoder: the model.
        streams: of the stream `evaluation`.
        draw: its step for these chains; no other chains and samples have it.
        temperatures: inverse, ascending from 0 to 1.
        leapfrogs: steps of a transition.
    """

    decoder: Decoder
    streams: Streams
    draw: int
    temperatures: list[float]
    leapfrogs: int

    def start(self, count: int, observations: Observations) -> State:
        """Chains at draws of p(z)."""
        position = self.decoder.prior.draw(count, self.draw, 0)
        return State.at(position, self.decoder, observations)

    def randomness(self, number: int, position: Tensor) -> Randomness:
        """What the transition of a number, from 1, draws."""
        _, count, dimension = position.shape
        # Parts 0 and 1 are those of p(z).
        part = 2 * number
        momentum = self.streams.normal("evaluation", self.draw, count, dimension, part=part)
        uniform = self.streams.uniform("evaluation", self.draw, count, part=part + 1)
        return Randomness(momentum, uniform)

    def step(
        self, state: State, number: int, step_size: Tensor, observations: Observations
    ) -> tuple[State, Tensor]:
        """The transition of a number, at its temperature: the state and its acceptance."""
        return transition(
            state,
            self.temperatures[number],
            step_size,
            self.leapfrogs,
            self.randomness(number, state.position),
            self.decoder,
            observations,
        )


@dataclass(frozen=True)
class Pilot:
    """A first run that finds step sizes.

    Attributes:
        log_weights: (seeds, groups, chains of a group) nats. Their steps depend on the chains, so
            they choose, and are no result.
        step_sizes: (temperatures - 1, seeds, groups), of every transition.
        acceptance: mean share of accepted proposals, (seeds, groups).
    """

    log_weights: Tensor
    step_sizes: Tensor
    acceptance: Tensor


def pilot(annealing: Annealing, observations: Observations, groups: int) -> Pilot:
    """Runs chains forwards while the step size of each group follows its acceptance.

    Args:
        annealing: how.
        observations: chains of a group stand side by side.
        groups: equally many chains in each.
    """
    sigma = observations.sigma
    seeds, count = sigma.shape
    state = annealing.start(count, observations)
    # Codes of an autoencoder have other deviations than 1, and steps have to fit them.
    spread = state.position.double().flatten(1).std(1)[:, None]
    log_step = (FIRST_STEP * spread).log().expand(seeds, groups)
    log_weights = torch.zeros_like(sigma)
    used_steps, acceptances = [], []
    ladder = annealing.temperatures
    for number in steps(len(ladder) - 1):
        # Before the transition: the weight is of the state drawn at the temperature before (Neal
        # 2001).
        log_weights += (ladder[number + 1] - ladder[number]) * state.log_likelihood
        used_steps.append(log_step.exp())
        step_size = used_steps[-1].repeat_interleave(count // groups, 1)
        state, acceptance = annealing.step(state, number + 1, step_size, observations)
        # One step a group and not a chain: the forward run takes it for other images of that width.
        of_groups = acceptance.reshape(seeds, groups, -1).mean(2)
        acceptances.append(of_groups)
        # In the logarithm, so that no correction makes a step negative.
        log_step = log_step + ADAPTATION * (of_groups - ACCEPTANCE)
    return Pilot(
        log_weights.reshape(seeds, groups, -1),
        torch.stack(used_steps),
        torch.stack(acceptances).mean(0),
    )


def forward(annealing: Annealing, observations: Observations, step_sizes: Tensor) -> Tensor:
    """Log weights of chains from p(z) to the posterior, (seeds, n) nats.

    Args:
        annealing: how.
        observations: n chains.
        step_sizes: (temperatures - 1, seeds), fixed beforehand.
    """
    count = observations.sigma.shape[1]
    state = annealing.start(count, observations)
    log_weights = torch.zeros_like(observations.sigma)
    ladder = annealing.temperatures
    last = len(ladder) - 1
    for number in steps(last):
        log_weights += (ladder[number + 1] - ladder[number]) * state.log_likelihood
        # No weight follows the last transition.
        if number + 1 < last:
            # Fixed beforehand: a step that follows its own chain would bias the weights.
            step_size = step_sizes[number][:, None].expand(-1, count)
            state, _ = annealing.step(state, number + 1, step_size, observations)
    return log_weights


def backward(
    annealing: Annealing, observations: Observations, step_sizes: Tensor, position: Tensor
) -> Tensor:
    """Log weights of chains from exact draws of the posterior back to p(z), (seeds, n) nats.

    Args:
        annealing: how.
        observations: n chains.
        step_sizes: as of `forward`.
        position: (seeds, n, k), of which the images were made.
    """
    count = observations.sigma.shape[1]
    # An exact draw of the posterior: the images were made of these very codes.
    state = State.at(position, annealing.decoder, observations)
    log_weights = torch.zeros_like(observations.sigma)
    ladder = annealing.temperatures
    last = len(ladder) - 1
    for turn in steps(last):
        # The forward chain's temperatures in reverse, with the same step size at each.
        number = last - turn - 1
        # The first one, at the posterior itself, would change nothing.
        if turn > 0:
            step_size = step_sizes[number][:, None].expand(-1, count)
            state, _ = annealing.step(state, number + 1, step_size, observations)
        log_weights += (ladder[number + 1] - ladder[number]) * state.log_likelihood
    return log_weights


def lower_bounds(log_weights: Tensor) -> Tensor:
    """log of the mean weight over chains, (..., chains) -> (...)."""
    # In the logarithm: weights of hundreds of nats overflow.
    return log_weights.logsumexp(-1) - math.log(log_weights.shape[-1])


def upper_bounds(log_weights: Tensor) -> Tensor:
    """-log of the mean inverse weight over chains that ran backwards, (..., chains) -> (...)."""
    # E[1 / w] = 1 / p(x), so the mean is of inverse weights.
    return -lower_bounds(-log_weights)
