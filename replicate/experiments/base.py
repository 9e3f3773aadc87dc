"""What an experiment is: a typed config, and a function to measured values.

It decides claims that are not Table 1's. For every claim it measures the checks that the claim's entry in
`protocol.yaml` names; the verdict is taken from them by `replicate.claims`, never here, and the figures are drawn from
its result by the module of its name in `replicate.figures.experiments`. Most experiments train what they need
(`Experiment`); those about the models of Table 1 look at the samples of the run (`SampleStudy`), or at the trials by
which the models were tuned (`TrialStudy`).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.experiments import DEFAULT_DATASET
from replicate.params import OURS, Block, Settings, setting

#: Claim -> check -> one number (exact), or one number a seed; None where a seed failed.
Checks = dict[str, dict[str, float | list[float | None]]]


class ExperimentConfig(Settings):
    """The parameters every experiment has; an experiment's own config extends it."""

    seeds: Block = setting("0-9", "seeds, side by side in one job", OURS)


class DataConfig(ExperimentConfig):
    """Of an experiment on images."""

    dataset: str = setting(DEFAULT_DATASET, "the data set, one of `datasets` of the run", OURS)


class SampleConfig(Settings):
    """Of a study of the run's samples; its seeds are those of the run."""

    dataset: str = setting(DEFAULT_DATASET, "the data set, one of `datasets` of the run", OURS)


class TrialConfig(Settings):
    """Of a study of the trials of a tuning budget."""

    dataset: Literal["digits"] = setting("digits", "the data set; of no other one are trials kept yet", OURS)


class NotApplicable(Exception):
    """The experiment says nothing about this data set; the message is the reason that the report shows."""


@dataclass(frozen=True)
class Found:
    """What an experiment measured.

    Attributes:
        checks: what decides its claims.
        series: curves, tables and single numbers that the figures show; JSON.
    """

    checks: Checks
    series: Mapping[str, Any]


@dataclass(frozen=True)
class ModelSamples:
    """What a model of the run generated.

    Attributes:
        images: seed -> (n, dimension), its first draw; None where the seed failed.
        chains: Markov chains that the images come from, image i of chain i % chains; None where drawn independently.
        steps: steps of a chain from one of its images to the next; 1 where drawn independently.
    """

    images: Mapping[int, Tensor | None]
    chains: int | None
    steps: int = 1


class Study:
    """What decides one claim of the paper, or a close family of them."""

    Config: ClassVar[type[ExperimentConfig] | type[SampleConfig] | type[TrialConfig]]
    #: Data set -> the settings of its full form that differ from the defaults, which are those of digits.
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    #: The claims that it decides, as in protocol.yaml.
    claims: ClassVar[tuple[str, ...]]

    def recipe(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of the full form on the data set that `changes` name, where they are not the defaults."""
        return dict(self.recipes.get(str(changes.get("dataset", DEFAULT_DATASET)), {}))


class Experiment(Study, ABC):
    """A study that trains or computes what it judges."""

    Config: ClassVar[type[ExperimentConfig]] = ExperimentConfig

    @abstractmethod
    def run(self, config: Any, seeds: Sequence[int], device: torch.device, splits: Splits | None) -> Found:
        """Measures; a pure function of its arguments.

        Args:
            config: of the class's `Config`.
            device: where tensors live.
            splits: the prepared data set, where the config names one.

        Raises:
            NotApplicable: the data set cannot answer, for instance because it has no labels.
        """


class SampleStudy(Study, ABC):
    """A study of the samples of the run's models on one data set."""

    Config: ClassVar[type[SampleConfig]] = SampleConfig

    @abstractmethod
    def judge(self, config: Any, models: Mapping[str, ModelSamples], seeds: Sequence[int], splits: Splits) -> Found:
        """Measures; a pure function of its arguments.

        Args:
            models: name -> its samples, for every model that the run trains on the data set.
            seeds: those of the run.

        Raises:
            NotApplicable: the run has not the models that it takes.
        """


class TrialStudy(Study, ABC):
    """A study of the trials that all models had when they were tuned on one data set (`replicate.stages.tune`)."""

    Config: ClassVar[type[TrialConfig]] = TrialConfig

    @abstractmethod
    def judge(self, config: Any, trials: Mapping[str, Sequence[float | None]]) -> Found:
        """Measures; a pure function of its arguments. In its checks a trial takes the place of a seed.

        Args:
            trials: model -> the validation log-likelihood of every trial, None where it failed; of all models as many.
        """
