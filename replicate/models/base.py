"""What a model is: a typed config, networks whose tensors begin with a seed dimension, a step and a sampler.

The pipeline trains, samples, evaluates and plots every model through this class and never asks which
one it is. docs/adding-a-model.md shows a small one.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from replicate.params import OURS, Settings, checked, setting
from replicate.training.streams import Streams

#: Images generated at a time: bounds memory whatever the number of samples.
SAMPLE_CHUNK = 1000


class ModelConfig(Settings):
    """The parameters every model has; a model's own config extends it."""

    epochs: int = setting(100, "passes over the training images", OURS, ge=1)
    batch_size: int = setting(100, "images per minibatch; a last partial batch is left out of its epoch", OURS, ge=1)


class GenerativeModel(ABC):
    """A block of seeds of one model, trained side by side.

    Every tensor in `parameters` and `slots` has shape (seeds, ...); a seed never reads another's slice.
    `parameters` is what a weights file keeps; `slots` (velocities, persistent chains) is what training
    needs besides, and goes into checkpoints only.

    Args:
        config: of the class's `Config`.
        shape: (channels, height, width) of an image.
        streams: the block's random streams, which also name its seeds, device and floating type.
    """

    Config: ClassVar[type[ModelConfig]]
    #: Data set -> (changes to the config's defaults, where they come from).
    recipes: ClassVar[Mapping[str, tuple[Mapping[str, Any], str]]] = {}
    #: Whether an epoch is the same however many follow, so that a run goes on where a shorter one ended; not where
    #: `epochs` decides when a layer starts or how a rate falls.
    extends: ClassVar[bool] = True
    #: Whether images are a function of a latent code (`latent`, `decode`).
    has_latent: ClassVar[bool] = False
    #: Whether sampling reads training images (`train`), as the reference rows do.
    samples_from_train: ClassVar[bool] = False
    #: (n, dimension) training images, where sampling reads them; set by whoever builds the model.
    train: Tensor

    def __init__(self, config: Any, shape: tuple[int, int, int], streams: Streams) -> None:
        self.config = config
        self.shape = shape
        self.dimension = shape[0] * shape[1] * shape[2]
        self.streams = streams
        self.parameters: dict[str, Tensor] = {}
        self.slots: dict[str, Tensor] = {}

    @classmethod
    def config_for(
        cls, dataset: str, changes: Mapping[str, Any], where: str = "parameters", prefix: str = ""
    ) -> ModelConfig:
        """The recipe for `dataset` with `changes` on top; faults are named with their path below `prefix`."""
        recipe, _ = cls.recipes.get(dataset, ({}, ""))
        return checked(cls.Config, {**recipe, **changes}, where, prefix)

    @property
    def batches_per_step(self) -> int:
        """Minibatches of data that one training step consumes."""
        return 1

    @property
    def whole_from(self) -> int:
        """Epochs until every part has been trained at least once; no earlier epoch is looked at or chosen.

        Greedy models train layer by layer, and what they are before the last layer is another model.
        """
        return 1

    @property
    def chains(self) -> int | None:
        """Markov chains that `sample` runs side by side; None where images are drawn independently.

        Image i then belongs to chain i % chains, and is the (i // chains)-th that was kept of it.
        """
        return None

    def settle(self, train: Tensor) -> None:  # noqa: B027 (most models have nothing to settle)
        """Sets the parameters that are estimated from all training images at once; called before every look.

        Args:
            train: (n, dimension); for instance an autoencoder fits the density of its codes here.
        """

    @abstractmethod
    def initialise(self, train: Tensor) -> None:
        """Fills `parameters` and `slots`; `train` is (n, dimension), for statistics such as pixel means."""

    @abstractmethod
    def train_step(self, batch: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
        """One update of every seed.

        Args:
            batch: (seeds, batches_per_step * batch_size, dimension); each seed has its own order.
            epoch: counted from 0.
            step: updates made before this one, over all epochs.

        Returns:
            name -> (seeds,), the losses to log; not-a-number marks a diverged seed.
        """

    @torch.no_grad()
    def sample_chunk(self, count: int, draw: int, part: int) -> Tensor:
        """(seeds, count, dimension) images of the independent draw `draw`; `part` numbers its chunks.

        Those of fresh codes; a model without a latent space has its own, or its own `sample`.
        """
        return self.decode(self.latent(count, draw, part))

    def sample(self, count: int, draw: int) -> Tensor:
        """(seeds, count, dimension) images; the same `draw` gives the same images."""
        parts = [
            self.sample_chunk(min(SAMPLE_CHUNK, count - start), draw, start // SAMPLE_CHUNK)
            for start in range(0, count, SAMPLE_CHUNK)
        ]
        return torch.cat(parts, dim=1)

    def latent(self, count: int, draw: int, part: int = 0) -> Tensor:
        """(seeds, count, code dimension) codes drawn from the prior; only where `has_latent`."""
        raise NotImplementedError(f"{type(self).__name__} has no latent space")

    def decode(self, code: Tensor) -> Tensor:
        """(seeds, n, dimension) images of codes (seeds, n, code dimension); only where `has_latent`."""
        raise NotImplementedError(f"{type(self).__name__} has no latent space")

    def parameter_count(self) -> dict[str, int]:
        """Numbers per network of one seed; a network is the part of a parameter's name before the first dot."""
        counts: dict[str, int] = {}
        for name, tensor in self.parameters.items():
            network = name.split(".")[0]
            counts[network] = counts.get(network, 0) + tensor[0].numel()
        return counts
