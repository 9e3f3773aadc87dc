"""The deep generative stochastic network (Bengio, Thibodeau-Laufer & Yosinski 2013): layers of tanh units, walkback.

The network, its training and its chain are in `walkback.py`; this is the recipe of yaoli/GSN run_gsn.py. What
differs from it: 50,000 training images instead of 60,000 (validation images are kept apart); many chains that start
at random images, with burn-in, where the source runs one chain from test image 0 and keeps that image as a sample.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from replicate.models.walkback import SOURCE, WalkbackConfig, WalkbackModel
from replicate.params import OURS, setting


class DeepGSNConfig(WalkbackConfig):
    """The recipe; defaults are those of the released MNIST run."""

    epochs: int = setting(1000, "passes over the training images", f"{SOURCE} run_gsn.py --n_epoch", ge=1)
    chains: int = setting(1000, "Markov chains that run side by side when images are drawn", OURS, ge=1)
    burn_in: int = setting(100, "steps of every chain before its first image is kept", OURS, ge=0)


class DeepGSN(WalkbackModel):
    """A block of seeds of deep GSNs."""

    Config = DeepGSNConfig
    recipes: ClassVar[Mapping[str, tuple[Mapping[str, Any], str]]] = {
        "mnist": ({}, f"{SOURCE} run_gsn.py"),
        "digits": ({"epochs": 60, "hidden": (300, 300), "batch_size": 20}, "ours: re-tuning"),
    }


MODEL = DeepGSN
