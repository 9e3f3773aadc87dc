"""The registry of experiments, which decide what the paper states beside Table 1.

An experiment's module is loaded only when it is needed.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from replicate.errors import ReplicateError

if TYPE_CHECKING:
    from replicate.experiments.base import Study
    from replicate.figures.drawing import Drawing

#: name -> (title, module); the module has one public object, `EXPERIMENT`. Its figures are drawn by
#: the module of that name in `replicate.figures.experiments`.
REGISTRY: dict[str, tuple[str, str]] = {
    "theory": ("The optimal discriminator and the global optimum", "replicate.experiments.theory"),
    "figure1": ("Figure 1: a game on a line at its four stages", "replicate.experiments.figure1"),
    "synchrony": (
        "How often each player moves: k, and too much G",
        "replicate.experiments.synchrony",
    ),
    "gradients": ("The gradient that D leaves to G", "replicate.experiments.gradients"),
    "degenerate": ("Sharp and degenerate distributions", "replicate.experiments.degenerate"),
    "estimator": (
        "The Parzen estimate where the density is known",
        "replicate.experiments.estimator",
    ),
    "noise_contrastive": (
        "Noise-contrastive estimation beside the game",
        "replicate.experiments.noise_contrastive",
    ),
    "symbols": ("Symbols in place of pixels", "replicate.experiments.symbols"),
    "tuning": ("How many trials come near the best", "replicate.experiments.tuning"),
    "sampling": (
        "Samples of the run: memory, correlation, chains",
        "replicate.experiments.sampling",
    ),
    "agreement": ("Whether measures order the rows alike", "replicate.experiments.agreement"),
    "decoders": (
        "Decoders by the Parzen estimate and by annealed importance sampling",
        "replicate.experiments.decoders",
    ),
    "conditional": ("Conditional adversarial nets", "replicate.experiments.conditional"),
    "interpolation": ("Figure 3: straight lines in z", "replicate.experiments.interpolation"),
    "collapse": ("Too much G on images", "replicate.experiments.collapse"),
    "inference": (
        "Inference by a network that predicts z from x",
        "replicate.experiments.inference",
    ),
    "inpainting": (
        "In-painting by one family of conditional models",
        "replicate.experiments.inpainting",
    ),
    "data_size": ("How much data adversarial nets need", "replicate.experiments.data_size"),
    "acceleration": (
        "What speeds training: coordination and p(z)",
        "replicate.experiments.acceleration",
    ),
    "features": (
        "Features of D and of the inference net with few labels",
        "replicate.experiments.features",
    ),
}
#: Experiments on images; their setting `dataset` names the data set.
ON_IMAGES: frozenset[str] = frozenset(
    {
        "acceleration",
        "agreement",
        "collapse",
        "conditional",
        "data_size",
        "decoders",
        "features",
        "inference",
        "inpainting",
        "interpolation",
        "sampling",
    }
)
#: Experiments on images that look at the samples of the run's models on that data set.
ON_SAMPLES: frozenset[str] = frozenset({"sampling"})
#: Experiments that look at the trials by which the models were tuned on their data set
#: (`results/tuning`).
ON_TRIALS: frozenset[str] = frozenset({"tuning"})
#: Experiments that compare what the measures say of the run's models on their data set.
ON_MEASURES: frozenset[str] = frozenset({"agreement", "decoders"})
#: The data set of an experiment on images that names none.
DEFAULT_DATASET = "digits"


def _check_known(name: str) -> None:
    if name not in REGISTRY:
        raise ReplicateError(
            f"there is no experiment {name!r}; the registered ones are {', '.join(REGISTRY)}."
        )


def load_experiment(name: str) -> "Study":
    """The registered experiment of that name; an unknown name lists the known ones."""
    _check_known(name)
    experiment: Study = importlib.import_module(REGISTRY[name][1]).EXPERIMENT
    return experiment


def drawing_module(name: str) -> str:
    """The module that draws the figures of a registered experiment."""
    _check_known(name)
    return f"replicate.figures.experiments.{name}"


def load_drawing(name: str) -> "Callable[[Mapping[str, object]], dict[str, Drawing]]":
    """The function from a registered experiment's result to its figures by name.

    It loads neither the experiment nor torch.
    """
    module = importlib.import_module(drawing_module(name))
    draw: Callable[[Mapping[str, object]], dict[str, Drawing]] = module.draw
    return draw
