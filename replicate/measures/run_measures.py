"""Runs the registered measures on samples of anyone, on a trained model, and on controls."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor

from replicate.datasets.base import Splits
from replicate.diagnostics.classifier import Classifier
from replicate.measures import (
    REGISTRY,
    Needs,
    Space,
    annealed_likelihood,
    boltzmann_likelihood,
    class_shares,
    classifier_test,
    coverage,
    density,
    frechet_distance,
    kernel_distance,
    memorisation,
    nearest_neighbour_test,
    parzen_many,
    parzen_measure,
    precision,
    recall,
)
from replicate.measures.model_set import ModelSet
from replicate.measures.resampling import Estimate
from replicate.measures.sample_set import SampleSet
from replicate.models.parts.boltzmann import BoltzmannModel
from replicate.params import Likelihood, MeasureSettings
from replicate.progress.loops import each
from replicate.records.schema import Measured

#: Measure -> its function. Imported here and not by name, so that a change of one of them is a
#: change of the stages that run it.
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "parzen": parzen_measure.measure,
    "parzen_many": parzen_many.measure,
    "annealed_likelihood": annealed_likelihood.measure,
    "boltzmann_likelihood": boltzmann_likelihood.measure,
    "precision": precision.measure,
    "recall": recall.measure,
    "density": density.measure,
    "coverage": coverage.measure,
    "frechet_distance": frechet_distance.measure,
    "kernel_distance": kernel_distance.measure,
    "nearest_neighbour_test": nearest_neighbour_test.measure,
    "classifier_test": classifier_test.measure,
    "memorisation": memorisation.measure,
    "class_shares": class_shares.measure,
}
#: What needs no model.
_OF_SAMPLES: tuple[Needs, ...] = ("comparison", "samples", "classifier")
_SPACES: tuple[Space, ...] = ("pixels", "features")


def names_that_need(*needs: Needs) -> list[str]:
    """The registered measures that read one of these, in the registry's order."""
    return [name for name, entry in REGISTRY.items() if entry.needs in needs]


def measure_samples(
    samples: Tensor,
    splits: Splits,
    classifier: Classifier | None,
    settings: MeasureSettings | None = None,
    likelihood: Likelihood | None = None,
    compared: Tensor | None = None,
) -> list[Measured]:
    """Every measure that needs samples alone.

    Args:
        samples: (n, dimension) float32, finite, in the pixels of the data set.
        splits: the data set.
        classifier: of its classes, on the samples' device; None where it has no labels.
        settings, likelihood: None: their defaults.
        compared: (m, dimension), what comparisons take in place of the samples; None: the samples.

    Returns:
        One entry for each measure, and for each space where it compares images in both.
    """
    # The tool `score` names no settings of measures: it takes what a run has by default.
    settings = settings or MeasureSettings()
    likelihood = likelihood or Likelihood()
    sample_set = SampleSet(samples, splits, classifier, settings, likelihood, compared)
    return list(_of_samples(sample_set))


def _of_samples(sample_set: SampleSet) -> Iterator[Measured]:
    for name in each(names_that_need(*_OF_SAMPLES), "{}"):
        if REGISTRY[name].needs == "comparison":
            for space in _SPACES:
                yield _compared(name, space, sample_set)
            continue
        obstacle = _obstacle_of_samples(name, sample_set)
        if obstacle is None:
            yield measured(name, FUNCTIONS[name](sample_set))
        else:
            yield without_value(name, obstacle)


def _obstacle_of_samples(name: str, sample_set: SampleSet) -> str | None:
    """Why a measure says nothing of samples; None where it does."""
    if REGISTRY[name].needs == "classifier" and sample_set.classifier is None:
        return "the data set has no classifier"
    # Images of one's own (`score`) may come without those that a model was trained on.
    if name == "memorisation" and sample_set.splits.count("train") == 0:
        return "there are no training images"
    return None


def _compared(name: str, space: Space, sample_set: SampleSet) -> Measured:
    """A measure that compares images in a space."""
    # Before any space is prepared, which may run the classifier.
    if not sample_set.is_comparable:
        return without_value(name, "too few images", space)
    comparison = sample_set.pixels if space == "pixels" else sample_set.features
    if comparison is None:
        return without_value(name, "the data set has no classifier", space)
    return measured(name, FUNCTIONS[name](comparison), space)


def measured(name: str, estimate: Estimate, space: Space | None = None) -> Measured:
    """A measure with its value."""
    return {
        "measure": name,
        "space": space,
        "value": estimate.value,
        "interval": None if estimate.interval is None else list(estimate.interval),
        "images": estimate.images,
        "details": estimate.details,
        "reason": None,
    }


def without_value(name: str, reason: str, space: Space | None = None) -> Measured:
    """A measure that says nothing, and why."""
    return {
        "measure": name,
        "space": space,
        "value": None,
        "interval": None,
        "images": 0,
        "details": {},
        "reason": reason,
    }


def measure_model(model_set: ModelSet) -> list[list[Measured]]:
    """Every measure that needs the model itself: of each seed of the block, one entry a measure."""
    seeds = model_set.model.seed_count
    per_seed: list[list[Measured]] = [[] for _ in range(seeds)]
    for name in each(names_that_need("generator", "decoder", "boltzmann"), "{}"):
        obstacle = _obstacle(name, model_set)
        if obstacle is not None:
            # Named and not left out: a reader of the result sees what was not measured, and why.
            for entries in per_seed:
                entries.append(without_value(name, obstacle))
            continue
        estimates: list[Estimate] = FUNCTIONS[name](model_set)
        for entries, estimate in zip(per_seed, estimates, strict=True):
            entries.append(measured(name, estimate))
    return per_seed


def _obstacle(name: str, model_set: ModelSet) -> str | None:
    """Why a measure says nothing of a model; None where it does."""
    model, settings = model_set.model, model_set.settings
    needs = REGISTRY[name].needs
    if needs == "boltzmann":
        if not isinstance(model, BoltzmannModel) or model.partition_layer is None:
            return "the model has no partition function"
        is_off = settings.partition_temperatures == 0
    # Of the kinds `generator` and `decoder`: both need codes that can be drawn at will.
    elif not model.has_latent:
        return "the model has no latent code"
    elif needs == "decoder":
        is_off = settings.annealing is None
    else:
        is_off = settings.many_samples == 0
    return "left out by the parameters (measures)" if is_off else None
