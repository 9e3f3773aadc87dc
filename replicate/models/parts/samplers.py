"""The samplers of Markov chains and their names; does not import torch."""

from typing import Literal, get_args

from replicate.params import OURS, Section, Settings, setting

#: `recipe`: the chains of the model's own config. `published`: one chain, every state, as in
#: yaoli/GSN model.py `sample_some_numbers`. `mixed`: chains that should have forgotten their start.
#: `longer`: the same with ten times the burn-in, as a check of that. The others show how much
#: depends on the choice.
SamplerName = Literal["recipe", "published", "mixed", "longer", "ten_chains", "from_images", "bits"]
SAMPLERS: tuple[SamplerName, ...] = get_args(SamplerName)
#: For tables and figures.
TITLES: dict[str, str] = {
    "recipe": "chains of the recipe",
    "published": "one chain, every state",
    "mixed": "many chains, burnt in",
    "longer": "ten times that burn-in",
    "ten_chains": "ten chains, every state",
    "from_images": "from training images, no burn-in",
    "bits": "burnt in, pixels as bits",
}
#: The burn-in of `longer` in multiples of that of `mixed`.
LONGER = 10


class Sampler(Section):
    """How images are drawn from a trained model by Markov chains.

    Attributes:
        chains: number of chains that run side by side.
        burn_in: steps of every chain before its first image is kept.
        thinning: steps between two kept images of a chain.
        start: at the model's own states (`own`), or at training images drawn with replacement.
        pixels: the means of p(x | hidden), or bits drawn from them.
    """

    chains: int
    burn_in: int
    thinning: int
    start: Literal["own", "images"]
    pixels: Literal["means", "bits"]


class Compared(Settings):
    """The samplers that are compared for a model on a data set."""

    names: tuple[SamplerName, ...] = setting(
        ("published", "mixed", "longer"),
        "samplers that draw from the same weights",
        OURS,
        min_length=1,
    )
    draws: int = setting(
        1, "independent sets of samples by each, of each seed", OURS, ge=1, le=1000
    )
