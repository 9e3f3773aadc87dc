"""What an experiment is: a typed config, and a function from it to measured values.

Experiments decide what the paper states in words. For every statement an experiment measures the
checks that its entry in `protocol.yaml` names. `replicate.verdicts.statements` takes the
verdict from them, never the experiment. The module of the experiment's name in
`replicate.figures.experiments` draws its figures from the result. Most experiments train what they
need (`Experiment`). Those about the models of Table 1 look at the samples of the run
(`SampleStudy`), at what the measures say of these (`MeasureStudy`), or at the trials by which the
models were tuned (`TrialStudy`).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Generic, Literal, TypeGuard, TypeVar

import numpy as np
import torch
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.experiments import DEFAULT_DATASET
from replicate.params import OURS, Block, Settings, setting

#: One number a seed; None where the seed failed.
PerSeed = list[float | None]
#: The checks of one statement: check -> one number (exact), or one number a seed.
StatementChecks = Mapping[str, float | Sequence[float | None] | None]
#: Statement -> its checks.
Checks = Mapping[str, StatementChecks]


class ExperimentConfig(Settings):
    """The parameters every experiment has; an experiment's own config extends it."""

    seeds: Block = setting("0-9", "seeds, side by side in one job", OURS)


class DataConfig(ExperimentConfig):
    """Parameters of an experiment on images."""

    dataset: str = setting(DEFAULT_DATASET, "the data set, one of `datasets` of the run", OURS)


class SampleConfig(Settings):
    """Parameters of a study of the run's samples; its seeds are those of the run."""

    dataset: str = setting(DEFAULT_DATASET, "the data set, one of `datasets` of the run", OURS)


class TrialConfig(Settings):
    """Parameters of a study of the trials of a tuning budget."""

    dataset: Literal["digits"] = setting(
        "digits", "the data set; of no other one are trials kept yet", OURS
    )


class MeasureConfig(Settings):
    """Parameters of a study of the measures of the run's models; its seeds are those of the run."""

    dataset: str = setting(DEFAULT_DATASET, "the data set, one of `datasets` of the run", OURS)


class NotApplicable(Exception):
    """The experiment says nothing about this data set; the report shows the message as reason."""


@dataclass(frozen=True)
class ExperimentResult:
    """What an experiment measured.

    Attributes:
        checks: what decides its statements.
        series: curves, tables and single numbers that the figures show; JSON.
    """

    checks: Checks
    series: Mapping[str, object]


@dataclass(frozen=True)
class ModelSamples:
    """What a model of the run generated.

    Attributes:
        images: seed -> (n, dimension), its first draw; None where the seed failed.
        chains: Markov chains that the images come from, image i of chain i % chains; None where
            drawn independently.
        steps: steps of a chain from one of its images to the next; 1 where drawn independently.
    """

    images: Mapping[int, Tensor | None]
    chains: int | None
    steps: int = 1


@dataclass(frozen=True)
class ModelMeasures:
    """What the measures say of a model of the run.

    Attributes:
        values: seed -> measure with its space, such as `precision/pixels` -> value; None where the
            seed failed. Measures that say nothing are left out.
        sampler: the sampler's name in the model's settings; None where images are independent.
        gaps: seed -> nats from lower to upper bounds of annealed importance sampling, on images
            that the model made; only where it has a value.
    """

    values: Mapping[int, Mapping[str, float] | None]
    sampler: str | None
    gaps: Mapping[int, float] = field(default_factory=dict)


ExperimentConfigT = TypeVar("ExperimentConfigT", bound=ExperimentConfig)
SampleConfigT = TypeVar("SampleConfigT", bound=SampleConfig)


class Study:
    """What decides one statement of the paper, or a close family of them."""

    Config: ClassVar[
        type[ExperimentConfig] | type[SampleConfig] | type[TrialConfig] | type[MeasureConfig]
    ]
    #: Data set -> the settings of the full form that differ from the defaults, which are for
    #: digits.
    recipes: ClassVar[Mapping[str, Mapping[str, object]]] = {}
    #: The statements that it decides, as in protocol.yaml.
    statements: ClassVar[tuple[str, ...]]

    def recipe(self, changes: Mapping[str, object]) -> dict[str, object]:
        """The full form's settings other than the defaults, on the data set of `changes`."""
        dataset = str(changes.get("dataset", DEFAULT_DATASET))
        # By the data set that the user names: defaults are for digits alone.
        return dict(self.recipes.get(dataset, {}))


class Experiment(Study, ABC, Generic[ExperimentConfigT]):
    """A study that trains or computes what it measures."""

    Config: ClassVar[type[ExperimentConfig]] = ExperimentConfig

    @abstractmethod
    def run(
        self,
        config: ExperimentConfigT,
        seeds: Sequence[int],
        device: torch.device,
        splits: Splits | None,
    ) -> ExperimentResult:
        """Measures; a pure function of its arguments.

        Args:
            config: of the class's `Config`.
            device: where tensors live.
            splits: the prepared data set, where the config names one.

        Raises:
            NotApplicable: the data set cannot answer, for instance because it has no labels.
        """


class SampleStudy(Study, ABC, Generic[SampleConfigT]):
    """A study of the samples of the run's models on one data set."""

    Config: ClassVar[type[SampleConfig]] = SampleConfig

    @abstractmethod
    def measure(
        self,
        config: SampleConfigT,
        models: Mapping[str, ModelSamples],
        seeds: Sequence[int],
        splits: Splits,
    ) -> ExperimentResult:
        """Measures; a pure function of its arguments.

        Args:
            models: name -> its samples, for every model that the run trains on the data set.
            seeds: those of the run.

        Raises:
            NotApplicable: the run lacks models that the study needs.
        """


class MeasureStudy(Study, ABC):
    """A study of what the measures say of the run's models (`replicate.stages.measures`)."""

    Config: ClassVar[type[MeasureConfig]] = MeasureConfig

    @abstractmethod
    def measure(
        self, config: MeasureConfig, models: Mapping[str, ModelMeasures], seeds: Sequence[int]
    ) -> ExperimentResult:
        """Measures; a pure function of its arguments.

        Args:
            models: name -> its measures, for every model that the run trains on the data set.
            seeds: of the run, in the order of its checks.

        Raises:
            NotApplicable: the data set cannot answer.
        """


class TrialStudy(Study, ABC):
    """A study of the trials by which all models were tuned (`replicate.stages.tune`)."""

    Config: ClassVar[type[TrialConfig]] = TrialConfig

    @abstractmethod
    def measure(
        self, config: TrialConfig, trials: Mapping[str, Sequence[float | None]]
    ) -> ExperimentResult:
        """Measures; a pure function of its arguments. In its checks a trial stands for a seed.

        Args:
            trials: model -> the validation log-likelihood of every trial, None where it failed;
                equally many for all models.
        """


def ascending(numbers: tuple[float, ...]) -> tuple[float, ...]:
    """The numbers, for a setting whose order is relied on; refuses any other order, and repeats."""
    if list(numbers) != sorted(set(numbers)):
        raise ValueError("the numbers must be distinct and in ascending order")
    return numbers


def geometric_looks(last: int, count: int) -> list[int]:
    """At most `count` numbers of updates from 1 to `last`, ever further apart, ascending."""
    # Rounded, neighbours may fall together: a set has each of them once.
    updates = set()
    for k in range(count):
        # Geometric, as most happens early, and figures have logarithmic axes.
        exponent = k / (count - 1)
        updates.add(round(last**exponent))
    return sorted(updates)


def per_seed(values: Tensor) -> PerSeed:
    """One number a seed, (seeds,), for a check; None where it is not finite: the seed failed."""
    numbers = values.double().cpu().numpy()
    results: PerSeed = []
    for number in numbers:
        result = float(number) if np.isfinite(number) else None
        results.append(result)
    return results


def where_finite(values: Tensor, samples: Tensor) -> PerSeed:
    """The values (seeds,), with None where a seed's samples (seeds, n, 2) are not all finite."""
    # By the samples and not by the value: measures count or sort, and NaN comes out as a number.
    is_finite = samples.isfinite()
    of_seeds = is_finite.all(2).all(1).tolist()
    results: PerSeed = []
    for value, is_sound in zip(values, of_seeds, strict=True):
        result = float(value) if is_sound else None
        results.append(result)
    return results


def differences(
    minuends: Sequence[float | None],
    subtrahends: Sequence[float | None],
    scale: Callable[[float], float] = float,
) -> PerSeed:
    """scale(a) - scale(b) per seed; None where a or b is None."""
    result: PerSeed = []
    pairs = zip(minuends, subtrahends, strict=True)
    for a, b in pairs:
        if a is None or b is None:
            result.append(None)
        else:
            difference = scale(a) - scale(b)
            result.append(difference)
    return result


def log_ratios(numerators: Sequence[float | None], denominators: Sequence[float | None]) -> PerSeed:
    """log(a / b) per seed; None where a or b is None, not finite or not above 0."""
    result: PerSeed = []
    pairs = zip(numerators, denominators, strict=True)
    for a, b in pairs:
        # Where there is no logarithm the seed counts as failed.
        if _is_positive(a) and _is_positive(b):
            log_ratio = math.log(a / b)
            result.append(log_ratio)
        else:
            result.append(None)
    return result


def _is_positive(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value) and value > 0
