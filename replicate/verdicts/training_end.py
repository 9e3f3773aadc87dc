"""Whether a training had ended: how far the mean curve over seeds rose over its last fifth.

Looks are smoothed over a tenth of the run, so that neither one lucky look nor the noise of the
samples decides: the mean of the looks in (0.9 E, E] less that of those in (0.7 E, 0.8 E], where E
is the last epoch. The shares stand in protocol.yaml (`rising`), the reasons in docs/protocol.md,
section 8.
"""

from collections.abc import Collection, Sequence
from itertools import chain

import numpy as np

from replicate.records.schema import Training, TrainingEnd
from replicate.verdicts.protocol import Rising


def _mean_until(
    end: float, width: float, epochs: Sequence[int], values: Sequence[float]
) -> float | None:
    """The mean of the looks in (end - width, end], in epochs; None where there is none."""
    start = end - width
    window = []
    for epoch, value in zip(epochs, values, strict=True):
        # Open below, so that windows side by side share no look.
        if start < epoch <= end:
            window.append(value)
    if not window:
        return None
    return float(np.mean(window))


def rise(epochs: Sequence[int], values: Sequence[float], rules: Rising) -> float | None:
    """Nats that a curve rose over the end of its run; None where either window has no look.

    Args:
        epochs: of the looks, ascending.
        values: validation log-likelihood at each, the mean over seeds, nats.
        rules: of the protocol.
    """
    if not epochs:
        return None
    # The last look, not the recipe's last epoch: a run may have been cut short.
    end = float(epochs[-1])
    width = rules.smoothed_over * end
    # Rounded, because 0.8 E must not fall short of a look at that epoch.
    earlier_end = round((1 - rules.over) * end, 6)
    last = _mean_until(end, width, epochs, values)
    earlier = _mean_until(earlier_end, width, epochs, values)
    if last is None or earlier is None:
        return None
    return last - earlier


def mean_curve(trainings: Sequence[Training]) -> tuple[list[int], list[float]]:
    """The mean over the seeds that did not fail, at the looks that all blocks have.

    Args:
        trainings: of all blocks of one model on one data set.

    Returns:
        The epochs, and the mean log-likelihood at each, nats.
    """
    # Blocks that trained for other numbers of epochs share the looks of the shortest.
    epochs_of_blocks = [set(training["curve"]["epoch"]) for training in trainings]
    shared_epochs = sorted(set.intersection(*epochs_of_blocks))
    looks: dict[int, list[float | None]] = {epoch: [] for epoch in shared_epochs}
    for training in trainings:
        columns = _sound_columns(training)
        curve = training["curve"]
        for epoch, values in zip(curve["epoch"], curve["log_likelihood"], strict=True):
            if epoch in looks:
                looks[epoch] += [values[k] for k in columns]
    means = {}
    for epoch, look in looks.items():
        known = [value for value in look if value is not None]
        # A mean over fewer seeds than at other looks would move by who is in it.
        if known and len(known) == len(look):
            means[epoch] = float(np.mean(known))
    return list(means), list(means.values())


def _sound_columns(training: Training) -> list[int]:
    """The indices of the seeds of a block that did not fail."""
    columns = []
    for k, seed in enumerate(training["seeds"]):
        if str(seed) not in training["failed"]:
            columns.append(k)
    return columns


def rise_of(
    blocks: Sequence[tuple[str, Training]], seeds: Collection[int], rules: Rising
) -> TrainingEnd | None:
    """How far the mean curve of a row rose at its end.

    None where the training of some seed is not known: the mean of the others is another curve.

    Args:
        blocks: (file, training) of every block.
        seeds: of the row.
        rules: of the protocol.
    """
    trainings = [training for _, training in blocks]
    trained = set(chain.from_iterable(training["seeds"] for training in trainings))
    if not blocks or not trained.issuperset(seeds):
        return None
    # One curve of all blocks: a rule for each would let a single seed hold back the row.
    epochs, values = mean_curve(trainings)
    return {
        "rise": rise(epochs, values, rules),
        # Of the trainings and not of the looks: where images choose no epoch there are none.
        "epochs": min(training["epochs"] for training in trainings),
        "looks": len(epochs),
        "files": [file for file, _ in blocks],
    }
