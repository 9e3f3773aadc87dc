"""Whether a training had ended: how far the mean curve over seeds still rose over its last fifth.

Looks are smoothed over a tenth of the run, so that neither one lucky look nor the noise of the samples decides: the
mean of the looks in (0.9 E, E] less that of those in (0.7 E, 0.8 E], E the last epoch. The shares stand in
protocol.yaml (`rising`), the reasons in docs/protocol.md, section 8.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from replicate.protocol import Rising


def _mean_until(end: float, width: float, epochs: Sequence[int], values: Sequence[float]) -> float | None:
    """The mean of the looks in (end - width, end], in epochs; None where there is none."""
    inside = [v for epoch, v in zip(epochs, values, strict=True) if end - width < epoch <= end]
    return float(np.mean(inside)) if inside else None


def rise(epochs: Sequence[int], values: Sequence[float], rules: Rising) -> float | None:
    """Nats that a curve of looks rose over the end of its run; None where either side has no look.

    Args:
        epochs: of the looks, ascending.
        values: validation log-likelihood at each, the mean over seeds, nats.
    """
    if not epochs:
        return None
    end = float(epochs[-1])
    width = rules.smoothed_over * end
    last = _mean_until(end, width, epochs, values)
    before = _mean_until(round((1 - rules.over) * end, 6), width, epochs, values)
    return None if last is None or before is None else last - before


def mean_curve(blocks: Sequence[Mapping[str, Any]]) -> tuple[list[int], list[float]]:
    """The mean over the seeds that did not fail, at the looks that all blocks have: epochs, and nats.

    Args:
        blocks: results of the stage `train`, of one model on one data set.
    """
    shared = set.intersection(*(set(block["curve"]["epoch"]) for block in blocks))
    found: dict[int, list[float]] = {epoch: [] for epoch in sorted(shared)}
    for block in blocks:
        good = [place for place, seed in enumerate(block["seeds"]) if str(seed) not in block["failed"]]
        for epoch, looks in zip(block["curve"]["epoch"], block["curve"]["log_likelihood"], strict=True):
            if epoch in found:
                found[epoch] += [looks[place] for place in good]
    known = {epoch: values for epoch, values in found.items() if values and None not in values}
    return list(known), [float(np.mean(values)) for values in known.values()]


def rise_of(blocks: Sequence[tuple[str, Mapping[str, Any]]], rules: Rising) -> dict[str, Any] | None:
    """How far the mean curve of a row rose at its end; None where no training is known.

    Args:
        blocks: (file, result of the stage `train`) of every block.
    """
    if not blocks:
        return None
    epochs, values = mean_curve([content for _, content in blocks])
    return {
        "rise": rise(epochs, values, rules),
        "epochs": epochs[-1] if epochs else None,
        "looks": len(epochs),
        "files": [file for file, _ in blocks],
    }
