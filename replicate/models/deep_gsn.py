"""The deep generative stochastic network (Bengio, Thibodeau-Laufer & Yosinski 2013).

Network, walkback training and chain are in `walkback.py`; this is the recipe of yaoli/GSN
run_gsn.py, with three differences. There are 50,000 training images instead of 60,000 (the
validation images are held out). Every epoch has minibatches of its own; the source shuffles the
images once, and all its epochs have the same. Many chains start at training images, with burn-in;
the source runs one chain from test image 0 and keeps that image as a sample.

On digits chains forget their start slowly: from training images the validation log-likelihood of
their states falls from 24 nats at first to 20 after 100 steps and 16 after 400. Chains that start
at fair coins stay below 9.
"""

from collections.abc import Mapping
from typing import ClassVar

from replicate.models.base import Recipe, Recipes
from replicate.models.parts.walkback import SOURCE, WalkbackConfig, WalkbackModel
from replicate.params import TUNED, setting


class DeepGSNConfig(WalkbackConfig):
    """The recipe; defaults are those of the released MNIST run."""

    epochs: int = setting(
        1000, "passes over the training images", f"{SOURCE} run_gsn.py --n_epoch", ge=1
    )


class DeepGSN(WalkbackModel):
    """A block of seeds of deep GSNs."""

    Config = DeepGSNConfig
    config: DeepGSNConfig
    #: Fewer and longer chains than elsewhere: they forget slowly, and each step is expensive.
    mixed: ClassVar[Mapping[str, int]] = {"chains": 100, "burn_in": 2000, "thinning": 20}
    recipes: ClassVar[Recipes] = {
        "mnist": Recipe({}, f"{SOURCE} run_gsn.py"),
        "digits": Recipe(
            {
                "epochs": 50,
                "batch_size": 20,
                "hidden": (200, 200),
                "input_noise": 0.1,
                "hidden_noise": 0.5,
                "learning_rate": 1.0,
                "learning_rate_decay": 0.96,
                "thinning": 2,
            },
            TUNED,
        ),
    }


MODEL = DeepGSN
