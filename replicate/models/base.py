"""The interface of every model: typed config, parameters stacked over seeds, train step, sampler.

The pipeline trains, samples, evaluates and plots every model through this class and never asks
which one it is. docs/adding-a-model.md shows a small one.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from replicate.models.parts.priors import Prior
from replicate.params import OURS, Settings, checked, setting
from replicate.training.streams import Streams

#: Images generated at a time: bounds memory whatever the number of samples.
SAMPLE_CHUNK = 1000


class ModelConfig(Settings):
    """The parameters every model has; a model's own config extends it."""

    epochs: int = setting(100, "passes over the training images", OURS, ge=1)
    batch_size: int = setting(
        100, "images per minibatch; a last partial batch is left out of its epoch", OURS, ge=1
    )


class Recipe(NamedTuple):
    """What a model's config changes for one data set, and the source of these values."""

    changes: Mapping[str, Any]
    source: str


#: Data set -> recipe; a data set without an entry has the config's defaults.
Recipes = Mapping[str, Recipe]


class GenerativeModel(ABC):
    """A block of seeds of one model, trained side by side.

    Every tensor in `parameters` and `slots` has shape (seeds, ...); a seed never reads another's
    slice. A weights file holds `parameters`. `slots` (velocities, persistent chains) is the rest of
    the training state and goes into checkpoints only.

    Args:
        config: an instance of the class's `Config`.
        shape: (channels, height, width) of an image.
        streams: the block's random streams; they also hold its seeds, device and floating type.
    """

    Config: ClassVar[type[ModelConfig]]
    recipes: ClassVar[Recipes] = {}
    #: Whether a run can go on from a shorter one: an epoch must not depend on how many follow.
    #: False where `epochs` decides when a layer starts or how a rate falls.
    extends: ClassVar[bool] = True
    #: Whether images are a function of a latent code (`latent`, `decode`).
    has_latent: ClassVar[bool] = False
    #: Whether training is given classes: each image in `train` and in a batch is then followed by
    #: its class as a row of 0 and a 1 (`parts/classes.py`); samples are images alone.
    conditional: ClassVar[bool] = False
    #: Whether sampling reads training images (`train`), as the reference rows do.
    samples_from_train: ClassVar[bool] = False
    #: (n, dimension) training images, where sampling reads them; the caller sets it.
    train: Tensor
    #: A subclass narrows the type to its own config.
    config: ModelConfig

    def __init__(self, config: ModelConfig, shape: tuple[int, int, int], streams: Streams) -> None:
        channels, height, width = shape
        self.config = config
        self.shape = shape
        self.dimension = channels * height * width
        self.streams = streams
        self.parameters: dict[str, Tensor] = {}
        self.slots: dict[str, Tensor] = {}

    @classmethod
    def config_for(
        cls, dataset: str, changes: Mapping[str, Any], where: str = "parameters", prefix: str = ""
    ) -> ModelConfig:
        """The recipe for `dataset` with `changes` on top; errors name settings below `prefix`."""
        no_recipe = Recipe({}, "")
        recipe = cls.recipes.get(dataset, no_recipe)
        # The user's changes last: they override a recipe, never the other way round.
        settings = {**recipe.changes, **changes}
        return checked(cls.Config, settings, where, prefix)

    @property
    def class_count(self) -> int:
        """Numbers behind the pixels of a row of `train`, one a class; 0 unless `conditional`."""
        return 0

    @property
    def seed_count(self) -> int:
        """Seeds of the block, the first dimension of every tensor."""
        return len(self.streams.seeds)

    @property
    def batches_per_step(self) -> int:
        """Minibatches of data that one training step consumes."""
        return 1

    @property
    def first_complete_epoch(self) -> int:
        """The first epoch, counted from 1, in which the whole model is trained.

        Greedy models train layer by layer: until the last layer learns, they are another model, so
        no earlier epoch is validated or chosen.
        """
        return 1

    @property
    def chains(self) -> int | None:
        """Markov chains that `sample` runs side by side; None where images are drawn independently.

        Image i is state i // chains of chain i % chains.
        """
        return None

    def fit_statistics(self, train: Tensor) -> None:  # noqa: B027 (most models have none)
        """Fits the parameters that need all training images at once; called before each validation.

        An autoencoder fits the density of its codes here.

        Args:
            train: (n, dimension).
        """

    @abstractmethod
    def initialise(self, train: Tensor) -> None:
        """Fills `parameters` and `slots`.

        Args:
            train: (n, dimension), for statistics such as pixel means.
        """

    @abstractmethod
    def train_step(self, batch: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
        """One update of every seed.

        Args:
            batch: (seeds, batches_per_step * batch_size, dimension); each seed has its own order.
            epoch: counted from 0.
            step: updates made before this one, over all epochs.

        Returns:
            name -> (seeds,), the losses to log; NaN marks a diverged seed.
        """

    @torch.no_grad()
    def sample_chunk(self, count: int, draw: int, part: int) -> Tensor:
        """(seeds, count, dimension) images, decoded from fresh codes.

        A model without a latent space overrides this method or `sample`.

        Args:
            count: images of each seed.
            draw: number of the independent draw of samples.
            part: number of the chunk within the draw.
        """
        code = self.latent(count, draw, part)
        return self.decode(code)

    def sample(self, count: int, draw: int) -> Tensor:
        """(seeds, count, dimension) images; the same `draw` gives the same images."""
        chunks: list[Tensor] = []
        starts = range(0, count, SAMPLE_CHUNK)
        # A part of the stream a chunk: the same images whether more follow or not.
        for part, start in enumerate(starts):
            # The last chunk may be a smaller one; its images are the first of what a whole one
            # would hold.
            left = count - start
            size = min(SAMPLE_CHUNK, left)
            images = self.sample_chunk(size, draw, part)
            chunks.append(images)
        return torch.cat(chunks, dim=1)

    def latent(self, count: int, draw: int, part: int = 0) -> Tensor:
        """(seeds, count, code dimension) codes drawn from the prior; only where `has_latent`."""
        kind = type(self).__name__
        raise NotImplementedError(f"{kind} has no latent space")

    def prior(self) -> Prior:
        """The density of the codes that `latent` draws; only where `has_latent`."""
        kind = type(self).__name__
        raise NotImplementedError(f"{kind} has no latent space")

    def decode(self, code: Tensor) -> Tensor:
        """(seeds, n, dimension) images of codes (seeds, n, k); only where `has_latent`.

        Differentiable with respect to the codes.
        """
        kind = type(self).__name__
        raise NotImplementedError(f"{kind} has no latent space")

    def parameter_count(self) -> dict[str, int]:
        """Network (a parameter's name up to the first dot) -> numbers of one seed."""
        counts: dict[str, int] = {}
        for name, tensor in self.parameters.items():
            network = name.split(".")[0]
            # The recipe's size, as papers print it; the block holds it once a seed.
            of_one_seed = tensor[0]
            counts.setdefault(network, 0)
            counts[network] += of_one_seed.numel()
        return counts
