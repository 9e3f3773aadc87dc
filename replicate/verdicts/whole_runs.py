"""Runs of a row's recipe with half and with twice the epochs, which say whether it had ended.

Where the number of epochs decides how a rate falls, or when a layer begins, a shorter run is not
the beginning of a longer one, and no curve could say so (docs/protocol.md, section 8;
protocol.yaml, `rising.whole_runs`).
"""

from collections.abc import Sequence
from typing import NamedTuple

from replicate.records.schema import Evaluation, PooledSeeds, Training, WholeRun
from replicate.verdicts.pooled_seeds import pool_seeds

#: Epochs of the other runs, relative to those of the row's own.
LENGTHS = (0.5, 2.0)


class OtherRun(NamedTuple):
    """All blocks of a row in another run: (file, content) of evaluations and of trainings."""

    evaluations: Sequence[tuple[str, Evaluation]]
    trainings: Sequence[tuple[str, Training]]


def is_other_length(training: Training, other: Training) -> bool:
    """Whether another training is of the same recipe, with half or with twice the epochs."""
    if other["epochs"] not in [length * training["epochs"] for length in LENGTHS]:
        return False
    return _recipe(training) == _recipe(other)


def _recipe(training: Training) -> dict[str, object]:
    """All parameters of a training but its seeds and its epochs."""
    recipe = dict(training["parameters"])
    del recipe["block"]
    config = training["parameters"]["config"]
    recipe["config"] = {name: value for name, value in config.items() if name != "epochs"}
    return recipe


def _common_training(trainings: Sequence[tuple[str, Training]]) -> Training | None:
    """The training that stands for all blocks of a run; None where they are not of one recipe."""
    if not trainings:
        return None
    (_, first), *rest = trainings
    for _, training in rest:
        # Blocks of other lengths, as after a change of the plan, are no run of half or of twice.
        if training["epochs"] != first["epochs"] or _recipe(training) != _recipe(first):
            return None
    return first


def _seeds(trainings: Sequence[tuple[str, Training]]) -> set[int]:
    seeds: set[int] = set()
    for _, training in trainings:
        seeds.update(training["seeds"])
    return seeds


def _weight(measured: PooledSeeds) -> tuple[bool, int]:
    """What makes one of two runs count: first that no seed failed, then how many there are."""
    return not measured["failed"], len(measured["per_seed"])


def runs_of_other_lengths(
    trainings: Sequence[tuple[str, Training]], others: Sequence[OtherRun]
) -> list[WholeRun]:
    """What half and twice the epochs measured, shorter runs first.

    None of a row whose blocks have other numbers of epochs or other recipes among themselves.

    Args:
        trainings: (file, training) of every block of the row.
        others: runs of the same model on the same data set.
    """
    training = _common_training(trainings) if others else None
    if training is None:
        return []
    runs: dict[int, WholeRun] = {}
    for other in others:
        other_training = _common_training(other.trainings)
        if other_training is None or not is_other_length(training, other_training):
            continue
        measured = pool_seeds(other.evaluations)
        # Seeds whose training is not known may have had any number of epochs.
        if measured is None or not _seeds(other.trainings).issuperset(measured["seeds"]):
            continue
        run: WholeRun = {"epochs": other_training["epochs"], "measured": measured}
        known = runs.get(run["epochs"])
        # One of two runs of one length: pooled, seeds might count twice.
        if known is None or _weight(measured) > _weight(known["measured"]):
            runs[run["epochs"]] = run
    return [runs[epochs] for epochs in sorted(runs)]
