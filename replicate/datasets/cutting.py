"""Random cuts that a seed alone decides, the same on every machine and with every version of numpy."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def shares(counts: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """Splits `total` over classes in proportion to `counts`: largest remainder, ties to the lower class."""
    given, remainder = np.divmod(counts * total, counts.sum())
    short = total - int(given.sum())
    given[np.argsort(-remainder, kind="stable")[:short]] += 1
    shared: NDArray[np.int64] = given
    return shared


def shuffled(count: int, seed: int) -> NDArray[np.int64]:
    """The numbers 0..count-1 in a random order.

    They are put in order by the raw 64-bit words of a Philox generator, whose algorithm is fixed, and not by a
    shuffle of numpy's, which may change from version to version.
    """
    return np.argsort(np.random.Philox(key=seed).random_raw(count), kind="stable")


def cut(labels: NDArray[np.int64], seed: int, held_out: Sequence[str], count: int) -> dict[str, NDArray[np.int64]]:
    """Row numbers of each split, stratified by class, in a random order as `shuffled` makes it.

    Each split of `held_out` gets `count` images, and each class its share of them (`shares`); `train` gets the rest.
    A class too small for its share in every held-out split gives what it has.
    """
    words = np.random.Philox(key=seed).random_raw(2 * len(labels))
    order = np.argsort(words[: len(labels)], kind="stable")
    parts: dict[str, list[NDArray[np.int64]]] = {split: [] for split in ("train", *held_out)}
    for label, share in enumerate(shares(np.bincount(labels), count)):
        rows = order[labels[order] == label]
        for place, split in enumerate(held_out):
            parts[split].append(rows[place * share : (place + 1) * share])
        parts["train"].append(rows[len(held_out) * share :])
    rank = words[len(labels) :]
    joined = {split: np.concatenate(part) for split, part in parts.items()}
    return {split: rows[np.argsort(rank[rows], kind="stable")] for split, rows in joined.items()}
