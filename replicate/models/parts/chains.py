"""Sampling by many Markov chains side by side, with burn-in and thinning.

The estimate depends on the chains, so a sampler is a setting of its own and has a name. The same
weights can be sampled by several samplers (`python -m replicate samplers`); protocol.yaml fixes
which one decides.
"""

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from replicate.models.base import GenerativeModel, ModelConfig
from replicate.models.parts.samplers import LONGER, Sampler, SamplerName
from replicate.params import OURS, setting
from replicate.progress.loops import steps

#: Parts of the evaluation stream that no chain and no down-pass uses.
START_AT_IMAGES, PIXEL_BITS = 1 << 41, 1 << 42


class ChainConfig(ModelConfig):
    """Settings of every model that is sampled by chains."""

    sampler: SamplerName = setting(
        "recipe",
        "whose images are measured and choose the epoch; `recipe` has the chains, burn_in and "
        "thinning given here",
        OURS,
    )
    chains: int = setting(
        100, "Markov chains that run side by side when images are drawn", OURS, ge=1
    )
    burn_in: int = setting(200, "steps of every chain before its first image is kept", OURS, ge=0)
    thinning: int = setting(10, "steps between two kept images of a chain", OURS, ge=1)


class ChainModel(GenerativeModel):
    """A model that is sampled by Markov chains; its config extends `ChainConfig`.

    Random numbers of the chains come from the stream `evaluation` with the step `draw` and a part
    that depends on the chain's step, so the first images of a long run equal those of a short one.
    """

    config: ChainConfig
    #: Where the model's chains start by default.
    own_start: ClassVar[Literal["own", "images"]] = "own"
    #: The sampler `mixed`: chains that should have forgotten their start on MNIST.
    mixed: ClassVar[Mapping[str, int]] = {"chains": 1000, "burn_in": 500, "thinning": 20}
    #: The sampler in use; None: the config's.
    sampler: Sampler | None = None

    @classmethod
    def sampler_named(cls, name: SamplerName, config: ChainConfig) -> Sampler:
        """The sampler of that name for a model with this config."""
        # If ten times the burn-in moves the value, the chains of `mixed` had not forgotten their
        # start.
        longer = {**cls.mixed, "burn_in": LONGER * cls.mixed["burn_in"]}
        changes: dict[SamplerName, Mapping[str, Any]] = {
            "recipe": {},
            "published": {"chains": 1, "burn_in": 0, "thinning": 1},
            "mixed": cls.mixed,
            "longer": longer,
            "ten_chains": {"chains": 10, "burn_in": 0, "thinning": 1},
            "from_images": {"chains": 1000, "burn_in": 0, "thinning": 1, "start": "images"},
            "bits": {**cls.mixed, "pixels": "bits"},
        }
        # Settings that a sampler does not change are the recipe's.
        recipe = {
            "chains": config.chains,
            "burn_in": config.burn_in,
            "thinning": config.thinning,
            "start": cls.own_start,
            "pixels": "means",
        }
        return Sampler(**{**recipe, **changes[name]})

    @property
    def used_sampler(self) -> Sampler:
        """`sampler`, or the one that the config names."""
        if self.sampler is not None:
            return self.sampler
        return self.sampler_named(self.config.sampler, self.config)

    @property
    def chains(self) -> int:
        """Markov chains that run side by side."""
        return self.used_sampler.chains

    def starting_states(self, draw: int) -> Tensor:
        """The first states of the chains of `draw`, (seeds, chains, state dimension).

        They never depend on held-out images.
        """
        if self.used_sampler.start == "images":
            return self.chain_start_at_images(draw)
        return self.chain_start(draw)

    def drawn_images(self, draw: int, part: int = START_AT_IMAGES) -> Tensor:
        """(seeds, chains, dimension) training images, drawn with replacement."""
        uniform = self.streams.uniform("evaluation", draw, self.chains, part=part)
        count = len(self.train)
        # With replacement: there may be more chains than images.
        rows = uniform.mul_(count).long()
        return self.train[rows]

    @abstractmethod
    def chain_start(self, draw: int) -> Tensor:
        """The model's own starting states, (seeds, chains, state dimension)."""

    @abstractmethod
    def chain_start_at_images(self, draw: int) -> Tensor:
        """The states of chains that start at training images, (seeds, chains, state dimension)."""

    @abstractmethod
    def chain_step(self, state: Tensor, draw: int, step: int) -> Tensor:
        """The next state of every chain; `step` counts from 0 over the whole run of the chain."""

    @abstractmethod
    def chain_images(self, state: Tensor, draw: int, step: int) -> Tensor:
        """The images of states, (seeds, chains, dimension): means of p(x | hidden)."""

    def _pixels(self, means: Tensor, draw: int, step: int) -> Tensor:
        """The images that the sampler returns: the means themselves, or bits drawn from them."""
        if self.used_sampler.pixels == "means":
            return means
        _, *shape = means.shape
        # Parts beyond those of the chain, so that bits of pixels leave the walk as it is.
        part = PIXEL_BITS + step
        uniform = self.streams.uniform("evaluation", draw, *shape, part=part)
        bits = uniform < means
        return bits.to(means.dtype)

    @torch.no_grad()
    def sample(self, count: int, draw: int) -> Tensor:
        """(seeds, count, dimension) images; image i is of chain i modulo the number of chains."""
        sampler = self.used_sampler
        rounds = math.ceil(count / sampler.chains)
        # The first image comes right after the burn-in, so there is one step of thinning less than
        # rounds.
        last_step = sampler.burn_in + (rounds - 1) * sampler.thinning
        state = self.starting_states(draw)
        images: list[Tensor] = []
        for step in steps(last_step + 1, "step"):
            since_burn_in = step - sampler.burn_in
            is_sampled = since_burn_in >= 0 and since_burn_in % sampler.thinning == 0
            if is_sampled:
                # Of kept states alone: the steps between them need no pass down to the pixels.
                means = self.chain_images(state, draw, step)
                pixels = self._pixels(means, draw, step)
                images.append(pixels)
            # After the last images nothing is left to walk for.
            if step < last_step:
                state = self.chain_step(state, draw, step)
        in_rounds = torch.cat(images, dim=1)
        # The last round may be larger than what is left.
        return in_rounds[:, :count]
