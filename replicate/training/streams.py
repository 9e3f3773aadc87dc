"""Streams of random numbers keyed by (seed, purpose, step): no state to save, nothing global.

Every draw is a pure function of its key, so that a run resumes at any step with the same numbers, and a
seed draws the same numbers alone and in company (contract 4). On the CPU the generator is NumPy's
Philox-4x64 (Salmon et al. 2011), a counter-based generator: the key is a hash of (seed, purpose), the
counter holds (step, part). On a GPU it is torch's own Philox, seeded by a hash of the whole key.
"""

import hashlib
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Purpose = Literal["init", "order", "noise", "dropout", "evaluation"]


def _digest(*words: object) -> bytes:
    return hashlib.blake2b("/".join(map(str, words)).encode(), digest_size=16).digest()


class Streams:
    """The streams of a block of seeds.

    Args:
        seeds: the block's seeds, one per entry of the leading dimension of every draw.
        device: where the drawn tensors live.
        dtype: floating type of the drawn tensors. Numbers are drawn in float32 and then converted, so that
            a float64 run sees the numbers of the float32 run.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        self.seeds = tuple(seeds)
        self.device = device
        self.dtype = dtype
        self._keys: dict[tuple[int, Purpose], np.ndarray] = {}

    def _numpy(self, seed: int, purpose: Purpose, step: int, part: int) -> np.random.Generator:
        key = self._keys.get((seed, purpose))
        if key is None:
            key = self._keys[seed, purpose] = np.frombuffer(_digest(seed, purpose), dtype=np.uint64)
        return np.random.Generator(np.random.Philox(key=key, counter=np.array([0, 0, part, step], dtype=np.uint64)))

    def _torch(self, seed: int, purpose: Purpose, step: int, part: int) -> torch.Generator:
        number = int.from_bytes(_digest(seed, purpose, step, part)[:8], "little") >> 1
        return torch.Generator(device=self.device).manual_seed(number)

    def _draw(self, kind: str, purpose: Purpose, step: int, shape: tuple[int, ...], part: int) -> Tensor:
        if self.device.type == "cpu":
            drawn = np.empty((len(self.seeds), *shape), dtype=np.float32)
            for row, seed in zip(drawn, self.seeds, strict=True):
                generator = self._numpy(seed, purpose, step, part)
                if kind == "uniform":
                    generator.random(out=row, dtype=np.float32)
                else:
                    generator.standard_normal(out=row, dtype=np.float32)
            result = torch.from_numpy(drawn)
        else:
            result = torch.empty((len(self.seeds), *shape), device=self.device)
            for slot, seed in zip(result, self.seeds, strict=True):
                source = self._torch(seed, purpose, step, part)
                slot.uniform_(generator=source) if kind == "uniform" else slot.normal_(generator=source)
        return result.to(self.dtype)

    def uniform(self, purpose: Purpose, step: int, *shape: int, part: int = 0) -> Tensor:
        """Numbers uniform on [0, 1), shape (seeds, *shape)."""
        return self._draw("uniform", purpose, step, shape, part)

    def normal(self, purpose: Purpose, step: int, *shape: int, part: int = 0) -> Tensor:
        """Standard normal numbers, shape (seeds, *shape)."""
        return self._draw("normal", purpose, step, shape, part)

    def mask(self, keep: float, step: int, *shape: int, part: int = 0) -> Tensor:
        """Dropout masks, (seeds, *shape): 1 / keep with probability `keep`, else 0; from the stream `dropout`.

        A decision takes 16 random bits on the CPU, so that `keep` is met to within 1 / 65536.
        """
        if self.device.type != "cpu":
            return self.uniform("dropout", step, *shape, part=part).lt_(keep).div_(keep)
        size = math.prod(shape)
        drawn = np.empty((len(self.seeds), *shape), dtype=np.float32)
        for row, seed in zip(drawn, self.seeds, strict=True):
            words = self._numpy(seed, "dropout", step, part).bit_generator.random_raw(-(-size // 4))
            halves = words.view(np.uint16)[:size].reshape(shape)
            np.multiply(halves < round(keep * 65536), np.float32(1 / keep), out=row)
        return torch.from_numpy(drawn).to(self.dtype)

    def order(self, epoch: int, count: int) -> Tensor:
        """For each seed a permutation of 0 .. count-1 for this epoch, shape (seeds, count) int64.

        Always drawn on the CPU: it is small, and then the order of the examples is the same on every device.
        """
        rows = [self._numpy(seed, "order", epoch, 0).permutation(count) for seed in self.seeds]
        return torch.from_numpy(np.stack(rows)).to(self.device)
