"""The z that a seed draws on the play page: the numbers of `report/assets/play/network.js`."""

import math

import numpy as np
from numpy.typing import NDArray

#: Numbers of 32 bits, and the step from one state of mulberry32 to the next.
_BITS = np.uint64(0xFFFFFFFF)
_STEP = 0x6D2B79F5


def _product(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The lower 32 bits of products, as JavaScript's `Math.imul`."""
    return (one * other) & _BITS


def uniform_numbers(seed: int, count: int) -> NDArray[np.float64]:
    """The first numbers on [0, 1) of the public-domain generator mulberry32: (count,)."""
    updates = np.arange(1, count + 1, dtype=np.uint64)
    start = np.uint64(seed % 2**32)
    state = (start + updates * np.uint64(_STEP)) & _BITS
    # The constants 15, 7, 61 and 14 are mulberry32's own; `network.js` has the same lines.
    bits = _product(state ^ (state >> np.uint64(15)), state | np.uint64(1))
    added = _product(bits ^ (bits >> np.uint64(7)), bits | np.uint64(61))
    bits = ((bits + added) & _BITS) ^ bits
    mixed = bits ^ (bits >> np.uint64(14))
    # Every number of 32 bits is exact in float64, and so is its product with a power of 2.
    return mixed.astype(np.float64) / 2.0**32


def codes_of_seed(seed: int, count: int, length: int) -> NDArray[np.float64]:
    """The first z of a seed, uniform with the variance 1 as in the released recipe.

    Args:
        seed: a whole number.
        count: how many z.
        length: of each.

    Returns:
        (count, length).
    """
    numbers = uniform_numbers(seed, count * length)
    spread = (2.0 * numbers - 1.0) * math.sqrt(3.0)
    return spread.reshape(count, length)
