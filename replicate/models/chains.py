"""Sampling by Markov chains: many side by side, each with a burn-in, every so-manieth state kept."""

from abc import abstractmethod

import torch
from torch import Tensor

from replicate.loops import steps
from replicate.models.base import GenerativeModel, ModelConfig
from replicate.params import OURS, setting


class ChainConfig(ModelConfig):
    """The settings of every sampler that runs chains."""

    chains: int = setting(100, "Markov chains that run side by side when images are drawn", OURS, ge=1)
    burn_in: int = setting(200, "steps of every chain before its first image is kept", OURS, ge=0)
    thinning: int = setting(10, "steps between two kept images of a chain", OURS, ge=1)


class ChainModel(GenerativeModel):
    """A model that is sampled by Markov chains; its config extends `ChainConfig`.

    Random numbers of the chains come from the stream `evaluation` with the step `draw`, and a part that the
    model numbers by the chain's step: so the first images of a long run are those of a short one.
    """

    @property
    def chains(self) -> int:
        """Markov chains that run side by side."""
        count: int = self.config.chains
        return count

    @abstractmethod
    def chain_start(self, draw: int) -> Tensor:
        """The states in which the chains of `draw` start, (seeds, chains, state dimension). Never held-out images."""

    @abstractmethod
    def chain_step(self, state: Tensor, draw: int, step: int) -> Tensor:
        """The next state of every chain; `step` counts from 0 over the whole run of the chain."""

    @abstractmethod
    def chain_images(self, state: Tensor, draw: int, step: int) -> Tensor:
        """The images of states, (seeds, chains, dimension): means of p(x | hidden), as the paper's baselines keep."""

    @torch.no_grad()
    def sample(self, count: int, draw: int) -> Tensor:
        """(seeds, count, dimension) images; image i is of chain i modulo the number of chains."""
        c = self.config
        state = self.chain_start(draw)
        kept: list[Tensor] = []
        last = c.burn_in + (-(-count // c.chains) - 1) * c.thinning
        for step in steps(last + 1, "step"):
            if step >= c.burn_in and (step - c.burn_in) % c.thinning == 0:
                kept.append(self.chain_images(state, draw, step))
            if step < last:
                state = self.chain_step(state, draw, step)
        return torch.cat(kept, dim=1)[:, :count]
