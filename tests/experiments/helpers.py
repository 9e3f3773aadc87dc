"""What tests of experiments share."""

from collections.abc import Sequence

import torch

from replicate.datasets.base import Splits
from replicate.experiments.base import Experiment, ExperimentConfig
from tests.experiments.controls import verdicts_of


def verdict(
    experiment: Experiment,
    config: ExperimentConfig,
    seeds: Sequence[int],
    splits: Splits | None = None,
) -> dict[str, str]:
    """Statement -> state, by the project's own protocol."""
    return verdicts_of(experiment.run(config, seeds, torch.device("cpu"), splits).checks)
