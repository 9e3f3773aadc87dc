"""Adversarial nets are hard to train (L3, lecture slides): how many settings of an equal budget come near the best one.

Every model had the same number of trials when it was tuned (docs/protocol.md, section 2). A trial counts as near if its
validation log-likelihood lies within a stated distance of the best trial of the same model, so that a model is compared
with nothing but itself. One that is easy to train comes near by most of its settings; a failed trial is not near.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from replicate.errors import ReplicateError
from replicate.experiments.base import Found, TrialConfig, TrialStudy

JUDGED = "adversarial_nets"
#: Adversarial nets of another kind are none of the other models.
ALIKE = frozenset({JUDGED, "adversarial_nets_conv"})
#: Nats on digits: as many for each of their 64 pixels as the 11 nats on which Table 1's order turns, for MNIST's 784.
DISTANCE = 11 * 64 / 784

Trials = Mapping[str, Sequence[float | None]]


def behind_the_best(values: Sequence[float | None]) -> list[float | None]:
    """How far each trial of a model lies below the best one, nats; None where it failed."""
    best = max((value for value in values if value is not None), default=0.0)
    return [None if value is None else best - value for value in values]


def near(values: Sequence[float | None], distance: float) -> list[bool]:
    """Whether each trial of a model ends within that many nats of the best one."""
    return [gap is not None and gap <= distance for gap in behind_the_best(values)]


class Tuning(TrialStudy):
    """L3."""

    claims: ClassVar[tuple[str, ...]] = ("L3",)

    def judge(self, config: TrialConfig, trials: Trials) -> Found:
        """Compares adversarial nets with the mean of all other models, trial by trial."""
        counts = {len(values) for values in trials.values()}
        others = [name for name in trials if name not in ALIKE]
        if JUDGED not in trials or not others or len(counts) != 1:
            raise ReplicateError(
                "the trials must be as many of adversarial nets as of at least one other model; run `tune` for all."
            )
        close = {name: near(values, DISTANCE) for name, values in trials.items()}
        beyond = [
            sum(close[name][trial] for name in others) / len(others) - close[JUDGED][trial]
            for trial in range(counts.pop())
        ]
        series = {
            "distance": DISTANCE, "dataset": config.dataset, "others": others,
            "behind": {name: behind_the_best(values) for name, values in trials.items()},
        }  # fmt: skip
        return Found({"L3": {"trials_near_the_best_beyond_adversarial_nets": [*map(float, beyond)]}}, series)


EXPERIMENT = Tuning()
