"""The deep generative stochastic network (Bengio, Thibodeau-Laufer & Yosinski 2013): layers of tanh units, walkback.

The network, its training and its chain are in `walkback.py`; this is the recipe of yaoli/GSN run_gsn.py. What
differs from it: 50,000 training images instead of 60,000 (validation images are kept apart); many chains that start
at training images, with burn-in, where the source runs one chain from test image 0 and keeps that image as a sample.

On digits chains forget their start slowly: from training images the validation log-likelihood of their states falls
from 24 nats at first to 20 after 100 steps and 16 after 400. Chains started at fair coins stay below 9.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from replicate.models.walkback import SOURCE, WalkbackConfig, WalkbackModel
from replicate.params import TUNED, setting


class DeepGSNConfig(WalkbackConfig):
    """The recipe; defaults are those of the released MNIST run."""

    epochs: int = setting(1000, "passes over the training images", f"{SOURCE} run_gsn.py --n_epoch", ge=1)


class DeepGSN(WalkbackModel):
    """A block of seeds of deep GSNs."""

    Config = DeepGSNConfig
    #: Fewer chains than elsewhere, for longer: they forget slowly, and each step is dear.
    mixed: ClassVar[Mapping[str, Any]] = {"chains": 100, "burn_in": 2000, "thinning": 20}
    recipes: ClassVar[Mapping[str, tuple[Mapping[str, Any], str]]] = {
        "mnist": ({}, f"{SOURCE} run_gsn.py"),
        "digits": (
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
