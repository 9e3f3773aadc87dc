"""Random cuts that a seed alone decides, on every machine and with every version of numpy."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def shares(counts: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """Splits `total` over classes in proportion to `counts`, by the largest-remainder method; ties
    go to the lower class.

    Args:
        counts: (classes,) images of every class.
        total: sum of the shares.
    """
    quotas: NDArray[np.int64]
    # Integers: a quotient's rounding could decide which remainder is the larger one.
    quotas, remainders = np.divmod(counts * total, counts.sum())
    missing = total - int(quotas.sum())
    by_remainder = np.argsort(-remainders, kind="stable")
    # Stable order: of equal remainders the lower class comes first, on every machine.
    quotas[by_remainder[:missing]] += 1
    return quotas


def shuffled(count: int, seed: int) -> NDArray[np.int64]:
    """The numbers 0..count-1 in a random order.

    They are put in order by the raw 64-bit words of a Philox generator, whose algorithm is fixed,
    and not by a shuffle of numpy's, which may change from version to version.
    """
    words = np.random.Philox(key=seed).random_raw(count)
    return np.argsort(words, kind="stable")


def cut(
    labels: NDArray[np.int64], seed: int, held_out: Sequence[str], count: int
) -> dict[str, NDArray[np.int64]]:
    """Row numbers of each split, stratified by class, in a random order as `shuffled` makes it.

    Each split of `held_out` gets `count` images, and each class its share of them (`shares`);
    `train` gets the rest. A class too small for its share in every held-out split gives what it
    has.

    Args:
        labels: (n,) class of every image.
        seed: of the cut and of the order.
        held_out: names of the splits beside `train`.
        count: images of each of them.
    """
    # One half orders the rows before the cut, the other one mixes classes after it.
    words = np.random.Philox(key=seed).random_raw(2 * len(labels))
    order_words = words[: len(labels)]
    ranks = words[len(labels) :]
    order = np.argsort(order_words, kind="stable")
    rows_of: dict[str, list[NDArray[np.int64]]] = {split: [] for split in ("train", *held_out)}
    share_of = shares(np.bincount(labels), count)
    for label, share in enumerate(share_of):
        # The rows of one class in random order: their first `share` are a random choice.
        rows = order[labels[order] == label]
        for split in held_out:
            rows_of[split].append(rows[:share])
            rows = rows[share:]
        rows_of["train"].append(rows)
    splits = {}
    for split, rows_by_class in rows_of.items():
        rows = np.concatenate(rows_by_class)
        # Class by class until here; the other half of the words mixes them.
        random_order = np.argsort(ranks[rows], kind="stable")
        splits[split] = rows[random_order]
    return splits
