"""Sampling by Markov chains: many side by side, each with a burn-in, every so-manieth state kept.

Which chains draw the images decides what the estimate says, so a sampler is a setting of its own with a name. The same
weights can be sampled by several (`python -m replicate samplers`). protocol.yaml fixes which one decides.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from replicate.loops import steps
from replicate.models.base import GenerativeModel, ModelConfig
from replicate.params import OURS, setting
from replicate.sampling.settings import LONGER, Sampler, SamplerName

#: Parts of the evaluation stream that no chain and no down-pass uses: images as starts, and pixels as bits.
START_AT_IMAGES, PIXEL_BITS = 1 << 41, 1 << 42


class ChainConfig(ModelConfig):
    """The settings of every model that is sampled by chains."""

    sampler: SamplerName = setting(
        "recipe",
        "whose images are measured and choose the epoch; `recipe` has the chains, burn_in and thinning given here",
        OURS,
    )
    chains: int = setting(100, "Markov chains that run side by side when images are drawn", OURS, ge=1)
    burn_in: int = setting(200, "steps of every chain before its first image is kept", OURS, ge=0)
    thinning: int = setting(10, "steps between two kept images of a chain", OURS, ge=1)


class ChainModel(GenerativeModel):
    """A model that is sampled by Markov chains; its config extends `ChainConfig`.

    Random numbers of the chains come from the stream `evaluation` with the step `draw`, and a part that the
    model numbers by the chain's step: so the first images of a long run are those of a short one.
    """

    #: Where chains start if nothing else is asked for.
    own_start: ClassVar[Literal["own", "images"]] = "own"
    #: The chains that should have forgotten their start on MNIST; what differs from `recipe`.
    mixed: ClassVar[Mapping[str, Any]] = {"chains": 1000, "burn_in": 500, "thinning": 20}
    #: The sampler in use; None for the config's.
    sampler: Sampler | None = None

    @classmethod
    def sampler_named(cls, name: SamplerName, config: ChainConfig) -> Sampler:
        """The sampler of that name for a model with this config."""
        changes: dict[SamplerName, Mapping[str, Any]] = {
            "recipe": {},
            "published": {"chains": 1, "burn_in": 0, "thinning": 1},
            "mixed": cls.mixed,
            "longer": {**cls.mixed, "burn_in": LONGER * cls.mixed["burn_in"]},
            "ten_chains": {"chains": 10, "burn_in": 0, "thinning": 1},
            "from_images": {"chains": 1000, "burn_in": 0, "thinning": 1, "start": "images"},
            "bits": {**cls.mixed, "pixels": "bits"},
        }
        recipe = {"chains": config.chains, "burn_in": config.burn_in, "thinning": config.thinning}
        return Sampler(**{**recipe, "start": cls.own_start, "pixels": "means", **changes[name]})

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
        """The states in which the chains of `draw` start, (seeds, chains, state dimension). Never held-out images."""
        at_images = self.used_sampler.start == "images"
        return self.chain_start_at_images(draw) if at_images else self.chain_start(draw)

    def drawn_images(self, draw: int, part: int = START_AT_IMAGES) -> Tensor:
        """(seeds, chains, dimension) training images, drawn with replacement."""
        chosen = self.streams.uniform("evaluation", draw, self.chains, part=part)
        return self.train[chosen.mul_(len(self.train)).long()]

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
        """The images of states, (seeds, chains, dimension): means of p(x | hidden), as the paper's baselines keep."""

    def _pixels(self, means: Tensor, draw: int, step: int) -> Tensor:
        """The images that are kept: the means themselves, or bits drawn from them."""
        if self.used_sampler.pixels == "means":
            return means
        uniform = self.streams.uniform("evaluation", draw, *means.shape[1:], part=PIXEL_BITS + step)
        return (uniform < means).to(means.dtype)

    @torch.no_grad()
    def sample(self, count: int, draw: int) -> Tensor:
        """(seeds, count, dimension) images; image i is of chain i modulo the number of chains."""
        s = self.used_sampler
        state = self.starting_states(draw)
        kept: list[Tensor] = []
        last = s.burn_in + (-(-count // s.chains) - 1) * s.thinning
        for step in steps(last + 1, "step"):
            if step >= s.burn_in and (step - s.burn_in) % s.thinning == 0:
                kept.append(self._pixels(self.chain_images(state, draw, step), draw, step))
            if step < last:
                state = self.chain_step(state, draw, step)
        return torch.cat(kept, dim=1)[:, :count]
