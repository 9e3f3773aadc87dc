"""Random numbers keyed by (seed, purpose, step, part), without any state.

Every draw is a pure function of its key, so a run resumes at any step with the same numbers, and a
seed draws the same numbers alone and in a block (contract 4). On the CPU the generator is NumPy's
counter-based Philox-4x64 (Salmon et al. 2011): the key is a hash of (seed, purpose), the counter
holds (step, part). On a GPU it is torch's own Philox, seeded by a hash of the whole key.
"""

import hashlib
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Purpose = Literal["init", "order", "noise", "dropout", "evaluation"]


def _digest(*key: object) -> bytes:
    """16 bytes that depend on every entry of the key."""
    # Text, since Python's own `hash` is salted in every process; the slash keeps (1, 23) from (12,
    # 3).
    text = "/".join(map(str, key))
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


class Streams:
    """The streams of a block of seeds.

    Args:
        seeds: the block's seeds, one per entry of the leading dimension of every draw.
        device: where the drawn tensors live.
        dtype: floating type of the drawn tensors. Numbers are drawn in float32 and then converted,
            so that a float64 run sees the numbers of the float32 run.
    """

    def __init__(
        self, seeds: Sequence[int], device: torch.device, dtype: torch.dtype = torch.float32
    ) -> None:
        self.seeds = tuple(seeds)
        self.device = device
        self.dtype = dtype
        self._keys: dict[tuple[int, Purpose], np.ndarray] = {}

    def _numpy_generator(
        self, seed: int, purpose: Purpose, step: int, part: int
    ) -> np.random.Generator:
        key = self._keys.get((seed, purpose))
        if key is None:
            # Hashed and not added up: seeds and purposes that are neighbours must not have
            # neighbouring keys.
            digest = _digest(seed, purpose)
            key = np.frombuffer(digest, dtype=np.uint64)
            self._keys[seed, purpose] = key
        # Philox counts up from the low word: no part of a step runs into the next one.
        counter = np.array([0, 0, part, step], dtype=np.uint64)
        bits = np.random.Philox(key=key, counter=counter)
        return np.random.Generator(bits)

    def _torch_generator(
        self, seed: int, purpose: Purpose, step: int, part: int
    ) -> torch.Generator:
        # torch's generator takes one seed and no counter, so the whole key goes into it.
        digest = _digest(seed, purpose, step, part)
        word = int.from_bytes(digest[:8], "little")
        number = word >> 1  # torch's seeds have 63 bits
        generator = torch.Generator(device=self.device)
        return generator.manual_seed(number)

    def _draw(
        self,
        distribution: Literal["uniform", "normal"],
        purpose: Purpose,
        step: int,
        shape: tuple[int, ...],
        part: int,
    ) -> Tensor:
        if self.device.type == "cpu":
            numbers = self._draw_by_numpy(distribution, purpose, step, shape, part)
        else:
            numbers = self._draw_by_torch(distribution, purpose, step, shape, part)
        return numbers.to(self.dtype)

    def _draw_by_numpy(
        self, distribution: str, purpose: Purpose, step: int, shape: tuple[int, ...], part: int
    ) -> Tensor:
        shape_of_block = (len(self.seeds), *shape)
        # Filled in place, row by row: no second array of the size of a batch is made.
        numbers = np.empty(shape_of_block, dtype=np.float32)
        for seed, numbers_of_seed in zip(self.seeds, numbers, strict=True):
            # A generator for every seed: one for the block would tie its numbers to who else is in
            # it.
            generator = self._numpy_generator(seed, purpose, step, part)
            if distribution == "uniform":
                generator.random(out=numbers_of_seed, dtype=np.float32)
            else:
                generator.standard_normal(out=numbers_of_seed, dtype=np.float32)
        return torch.from_numpy(numbers)

    def _draw_by_torch(
        self, distribution: str, purpose: Purpose, step: int, shape: tuple[int, ...], part: int
    ) -> Tensor:
        shape_of_block = (len(self.seeds), *shape)
        numbers = torch.empty(shape_of_block, device=self.device)
        for seed, numbers_of_seed in zip(self.seeds, numbers, strict=True):
            generator = self._torch_generator(seed, purpose, step, part)
            if distribution == "uniform":
                numbers_of_seed.uniform_(generator=generator)
            else:
                numbers_of_seed.normal_(generator=generator)
        return numbers

    def uniform(self, purpose: Purpose, step: int, *shape: int, part: int = 0) -> Tensor:
        """Numbers uniform on [0, 1), shape (seeds, *shape)."""
        return self._draw("uniform", purpose, step, shape, part)

    def normal(self, purpose: Purpose, step: int, *shape: int, part: int = 0) -> Tensor:
        """Standard normal numbers, shape (seeds, *shape)."""
        return self._draw("normal", purpose, step, shape, part)

    def mask(self, keep: float, step: int, *shape: int, part: int = 0) -> Tensor:
        """Dropout masks, (seeds, *shape): 1 / keep with probability `keep`, else 0.

        From the stream `dropout`. On the CPU every entry takes 16 random bits, so the probability
        is `keep` to within 1 / 65536.
        """
        if self.device.type != "cpu":
            uniform = self.uniform("dropout", step, *shape, part=part)
            # Divided by `keep`, so that the mean of a masked unit is that of the unit (inverted
            # dropout).
            return uniform.lt_(keep).div_(keep)
        size = math.prod(shape)
        # 16 bits decide a unit: a raw word is enough for four of them.
        word_count = math.ceil(size / 4)
        threshold = round(keep * 65536)
        scale = np.float32(1 / keep)
        masks = np.empty((len(self.seeds), *shape), dtype=np.float32)
        for seed, mask in zip(self.seeds, masks, strict=True):
            generator = self._numpy_generator(seed, "dropout", step, part)
            # The raw words: floats would cost two or four times as many bits, most of which decide
            # nothing.
            words = generator.bit_generator.random_raw(word_count)  # 64 bits each
            integers = words.view(np.uint16)[:size].reshape(shape)
            np.multiply(integers < threshold, scale, out=mask)
        return torch.from_numpy(masks).to(self.dtype)

    def order(self, epoch: int, count: int) -> Tensor:
        """A permutation of 0 .. count - 1 per seed for this epoch, (seeds, count) int64.

        Always drawn on the CPU: it is small, and then the order is the same on every device.
        """
        permutations = []
        for seed in self.seeds:
            # The key is the epoch, not the step: a run that resumes within an epoch finds the same
            # order.
            generator = self._numpy_generator(seed, "order", epoch, 0)
            permutation = generator.permutation(count)
            permutations.append(permutation)
        of_seeds = torch.from_numpy(np.stack(permutations))
        return of_seeds.to(self.device)
