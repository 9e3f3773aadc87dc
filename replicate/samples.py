"""The samples of a block, read back from their file."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from replicate.errors import ReplicateError
from replicate.files import read_tensors


@dataclass(frozen=True)
class Samples:
    """The samples of a block.

    Attributes:
        images: (seeds, draws, n, dimension).
        about: what the weights file said of the model.
    """

    images: Tensor
    about: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> "Samples":
        """Reads what `sample` wrote."""
        tensors, metadata = read_tensors(path)
        about = json.loads(metadata.get("about", "{}"))
        if "chains" not in about or "samples" not in tensors:
            raise ReplicateError(f"{path} holds no samples of this project; run `sample` again.")
        return cls(torch.from_numpy(tensors["samples"]), about)

    @property
    def chains(self) -> int | None:
        """Markov chains that the images come from, image i of chain i % chains; None where they are independent."""
        count: int | None = self.about["chains"]
        return count

    def per_seed(self) -> Iterator[tuple[int, Tensor | None, dict[str, Any] | None]]:
        """(seed, (draws, n, dimension), None), or (seed, None, why it failed)."""
        for seed, images in zip(self.about["seeds"], self.images, strict=True):
            failed = self.about["failed"].get(str(seed))
            yield seed, (None if failed else images), failed

    def fit(self, rows: Tensor, where: Path) -> None:
        """Refuses rows of another dimension, and samples that are not finite."""
        if rows.shape[1] != self.images.shape[-1]:
            raise ReplicateError(
                f"the samples have {self.images.shape[-1]} pixels, the images of {where} {rows.shape[1]}; "
                "they are of different data sets."
            )
        for seed, images, _ in self.per_seed():
            if images is not None and not bool(images.isfinite().all()):
                raise ReplicateError(f"the samples of seed {seed} hold values that are not finite; run `train` again.")
