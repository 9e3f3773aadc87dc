"""Adversarial nets are hard to train: how many settings come near the best one (L3, slides).

The lecture slides claim: adversarial nets are hard to train.

Measured, on the trials by which all models were tuned, equally many of each (docs/protocol.md,
section 2): the share that comes near the best. A trial counts as near if its validation
log-likelihood lies within a stated distance of the best trial of the same model, so that a model is
compared with nothing but itself. One that is easy to train comes near by most of its settings; a
failed trial is not near.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from replicate.errors import ReplicateError
from replicate.experiments.base import ExperimentResult, PerSeed, TrialConfig, TrialStudy

ADVERSARIAL_NETS = "adversarial_nets"
#: Adversarial nets of another kind are none of the other models.
ALIKE = frozenset({ADVERSARIAL_NETS, "adversarial_nets_conv", "conditional_adversarial_nets"})
#: Nats on digits: as many for each of their 64 pixels as the 11 nats on which Table 1's order
#: turns, for MNIST's 784.
DISTANCE = 11 * 64 / 784

#: Model -> the validation log-likelihood of every trial in nats, None where it failed.
Trials = Mapping[str, Sequence[float | None]]


def behind_the_best(log_likelihoods: Sequence[float | None]) -> PerSeed:
    """How far each trial of a model lies below the best one, nats; None where it failed."""
    known = [value for value in log_likelihoods if value is not None]
    # Where every trial failed there are no gaps either, so that this number is never used.
    best = max(known, default=0.0)
    gaps: PerSeed = []
    for value in log_likelihoods:
        gap = None if value is None else best - value
        gaps.append(gap)
    return gaps


def near(log_likelihoods: Sequence[float | None], distance: float) -> list[bool]:
    """Whether each trial of a model ends within that many nats of the best one."""
    gaps = behind_the_best(log_likelihoods)
    return [gap is not None and gap <= distance for gap in gaps]


class Tuning(TrialStudy):
    """L3."""

    statements: ClassVar[tuple[str, ...]] = ("L3",)

    def measure(self, config: TrialConfig, trials: Trials) -> ExperimentResult:
        """Compares adversarial nets with the mean of all other models, trial by trial."""
        counts = {len(log_likelihoods) for log_likelihoods in trials.values()}
        others = [name for name in trials if name not in ALIKE]
        if ADVERSARIAL_NETS not in trials or not others or len(counts) != 1:
            raise ReplicateError(
                "the trials must be as many of adversarial nets as of at least one other model; "
                "run `tune` for all."
            )
        is_near = {name: near(values, DISTANCE) for name, values in trials.items()}
        of_nets = is_near[ADVERSARIAL_NETS]
        excess: list[float] = []
        for trial in range(counts.pop()):
            near_count = sum(is_near[name][trial] for name in others)
            # The mean over models: their trials have different settings, so only their number pairs
            # them.
            share_of_others = near_count / len(others)
            difference = share_of_others - of_nets[trial]
            excess.append(float(difference))
        series = {
            "distance": DISTANCE,
            "dataset": config.dataset,
            "others": others,
            "behind": {name: behind_the_best(values) for name, values in trials.items()},
        }
        checks = {"L3": {"trials_near_the_best_beyond_adversarial_nets": excess}}
        return ExperimentResult(checks, series)


EXPERIMENT = Tuning()
