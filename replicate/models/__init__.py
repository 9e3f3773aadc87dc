"""The registry of models; a model's module is imported only when the model is needed."""

import importlib
from typing import TYPE_CHECKING

from replicate.errors import ReplicateError

if TYPE_CHECKING:
    from replicate.models.base import GenerativeModel

#: name -> (title as in Table 1, module); the module's `MODEL` is the class.
REGISTRY: dict[str, tuple[str, str]] = {
    "dbn": ("DBN", "replicate.models.dbn"),
    "stacked_cae": ("Stacked CAE", "replicate.models.stacked_cae"),
    "deep_gsn": ("Deep GSN", "replicate.models.deep_gsn"),
    "adversarial_nets": ("Adversarial nets", "replicate.models.adversarial_nets"),
    "adversarial_nets_conv": (
        "Adversarial nets, convolutional",
        "replicate.models.adversarial_nets_conv",
    ),
    "conditional_adversarial_nets": (
        "Conditional adversarial nets",
        "replicate.models.conditional_adversarial_nets",
    ),
    "rbm": ("RBM", "replicate.models.rbm"),
    "dbm": ("DBM", "replicate.models.dbm"),
    "denoising_autoencoder": (
        "Denoising autoencoder, walkback",
        "replicate.models.denoising_autoencoder",
    ),
    "autoencoder": ("Autoencoder", "replicate.models.autoencoder"),
    "vae": ("Variational autoencoder", "replicate.models.vae"),
    "gmmn": ("GMMN", "replicate.models.gmmn"),
    "gmmn_autoencoder": ("GMMN on an autoencoder's code", "replicate.models.gmmn_autoencoder"),
    "true_distribution": ("True distribution", "replicate.models.true_distribution"),
    "k_means": ("k-means, each centroid once", "replicate.models.k_means"),
    "k_means_weighted": ("k-means, drawn by cluster size", "replicate.models.k_means_weighted"),
}

#: Models whose pixels may lie outside [0, 1]; the others cannot be applied to such a data set.
UNBOUNDED = frozenset(
    {
        "adversarial_nets",
        "adversarial_nets_conv",
        "true_distribution",
        "k_means",
        "k_means_weighted",
    }
)

#: Models that are sampled by Markov chains; their samplers can be compared.
CHAINS = frozenset({"dbn", "stacked_cae", "deep_gsn", "rbm", "dbm", "denoising_autoencoder"})


def load_model(name: str) -> "type[GenerativeModel]":
    """The registered model class of that name.

    Raises:
        ReplicateError: no model has that name; the message lists the registered ones.
    """
    if name not in REGISTRY:
        raise ReplicateError(
            f"there is no model {name!r}; the registered ones are {', '.join(REGISTRY)}."
        )
    _, module = REGISTRY[name]
    # Imported here and not above: `--help`, `list` and the page name models without loading torch.
    model: type[GenerativeModel] = importlib.import_module(module).MODEL
    return model
