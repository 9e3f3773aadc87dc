"""What tests of experiments share."""

from collections.abc import Sequence

import torch

from replicate.claims import judged_statement
from replicate.codedigest import package_root
from replicate.datasets.base import Splits
from replicate.experiments.base import Experiment, ExperimentConfig
from replicate.protocol import read_protocol


def verdict(
    experiment: Experiment, config: ExperimentConfig, seeds: Sequence[int], splits: Splits | None = None
) -> dict[str, str]:
    """Claim -> state, by the project's own protocol."""
    protocol = read_protocol(package_root() / "protocol.yaml")
    found = experiment.run(config, seeds, torch.device("cpu"), splits)
    content = {
        "experiment": "test",
        "not_applicable": None,
        "changed": [],
        "parameters": {"config": {}},
        "checks": found.checks,
    }
    results = dict.fromkeys(experiment.claims, ("test.json", content))
    return {claim: judged_statement(claim, protocol, results)["state"] for claim in experiment.claims}
