"""A few hundred of scikit-learn's digits as splits, and verdicts on checks that a test measured:
for experiments.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from replicate.datasets.base import Splits
from tests.experiments.controls import protocol, statement_verdicts, verdicts_of


def small_digits(classes: int = 10, train: int = 400, held_out: int = 65) -> Splits:
    """Digits below `classes`: `train` images, and `held_out` each for validation and test, at
    most.
    """
    bunch = load_digits()
    rows = np.flatnonzero(bunch.target < classes)[: train + 2 * held_out]
    parts = dict(
        zip(("train", "valid", "test"), np.split(rows, (train, train + held_out)), strict=True)
    )
    images = {name: bunch.images[part].astype(np.uint8)[:, None] for name, part in parts.items()}
    return Splits(
        images,
        {name: bunch.target[part].astype(np.int64) for name, part in parts.items()},
        divisor=16.0,
    )


def states(claim: str, measured: Mapping[str, Any]) -> dict[str, str | None]:
    """What `protocol.yaml` says of each check of a claim, from one number a seed."""
    checks = protocol().statements[claim].checks
    assert measured.keys() == checks.keys()
    verdicts_of({claim: measured})
    entry = statement_verdicts(protocol(), {claim: measured})[claim]
    return {name: check["state"] for name, check in zip(checks, entry["checks"], strict=True)}
