"""What an experiment is: a typed config, a function from parameters and seeds to measured values, and its figures.

It decides claims that are not Table 1's. For every claim it measures the checks that the claim's entry in
`protocol.yaml` names; the verdict is taken from them by `replicate.claims`, never here.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from replicate.datasets.base import Splits
from replicate.experiments import DEFAULT_DATASET
from replicate.params import OURS, Block, Section, setting

#: Claim -> check -> one number (exact), or one number a seed; None where a seed failed.
Checks = dict[str, dict[str, float | list[float | None]]]


class ExperimentConfig(Section):
    """The parameters every experiment has; an experiment's own config extends it."""

    seeds: Block = setting("0-9", "seeds, side by side in one job", OURS)


class DataConfig(ExperimentConfig):
    """Of an experiment on images."""

    dataset: str = setting(DEFAULT_DATASET, "the data set, one of `datasets` of the run", OURS)


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
class Drawing:
    """A figure: SVG, and the sentence below it, which says what it shows, of how many seeds, in which units."""

    svg: bytes
    caption: str


class Experiment(ABC):
    """One claim of the paper, or a close family of them."""

    Config: ClassVar[type[ExperimentConfig]] = ExperimentConfig
    #: The claims that it decides, as in protocol.yaml.
    claims: ClassVar[tuple[str, ...]]

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

    @abstractmethod
    def draw(self, result: Mapping[str, Any]) -> dict[str, Drawing]:
        """Name -> figure, from a result of the stage `experiment` alone; nothing is trained or measured here."""
