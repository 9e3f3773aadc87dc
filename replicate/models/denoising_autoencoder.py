"""The denoising autoencoder as a generative model (Bengio, Yao, Alain & Vincent 2013).

The one-layer version of the deep GSN: network, walkback training and chain are those of
`walkback.py`, with one hidden layer of sigmoid units and noise on the image only. The recipe is
yaoli/GSN run_dae_walkback.py, with the differences of `deep_gsn.py` and one more: the source trains
on images cut to black and white at one half; here the pixels keep their greys, as in every other
row of the table.

Its chains forget their start within 30 steps, on digits and on MNIST: from then on chains from
training images and chains from fair coins have the same validation log-likelihood, to half a nat.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import PositiveFloat, PositiveInt

from replicate.models.base import Recipe, Recipes
from replicate.models.parts.walkback import SOURCE, WalkbackConfig, WalkbackModel
from replicate.params import TUNED, setting

_SCRIPT = f"{SOURCE} run_dae_walkback.py"


class DenoisingAutoencoderConfig(WalkbackConfig):
    """The recipe; defaults are those of the released MNIST run."""

    epochs: int = setting(500, "passes over the training images", f"{_SCRIPT} --n_epoch", ge=1)
    hidden: tuple[PositiveInt] = setting(
        (2000,), "units of the hidden layer", f"{_SCRIPT} --hidden_size"
    )
    activation: Literal["tanh", "sigmoid"] = setting(
        "sigmoid", "of the hidden units", f"{_SCRIPT} --act"
    )
    walkback: int = setting(5, "updates of the network per training image", f"{_SCRIPT} --N", ge=1)
    hidden_noise: float = setting(
        0.0,
        "only for layers above the first, which this model lacks",
        f"{_SCRIPT} --hidden_add_noise_sigma",
        ge=0,
        le=0,
    )
    learning_rate: PositiveFloat = setting(
        10.0, "in the first epoch, on a mean over pixels", _SCRIPT
    )
    learning_rate_decay: PositiveFloat = setting(
        1.0, "factor of the rate after every epoch", f"{_SCRIPT} --annealing"
    )
    momentum: float = setting(0.0, "share of the old average of gradients", _SCRIPT, ge=0, lt=1)


class DenoisingAutoencoder(WalkbackModel):
    """A block of seeds of denoising autoencoders."""

    Config = DenoisingAutoencoderConfig
    config: DenoisingAutoencoderConfig
    mixed: ClassVar[Mapping[str, int]] = {"chains": 1000, "burn_in": 100, "thinning": 5}
    recipes: ClassVar[Recipes] = {
        "mnist": Recipe({}, _SCRIPT),
        "digits": Recipe(
            {
                "epochs": 120,
                "batch_size": 20,
                "hidden": (300,),
                "input_noise": 0.05,
                "learning_rate": 6.0,
                "learning_rate_decay": 0.98,
                "thinning": 2,
            },
            TUNED,
        ),
    }


MODEL = DenoisingAutoencoder
