"""Digits: 1,797 images of 8x8 pixels that ship with scikit-learn, so that a run needs no download.

The images are the test part of "Optical Recognition of Handwritten Digits" (E. Alpaydin and C.
Kaynak, UCI Machine Learning Repository, 1998), as scikit-learn embeds them: counts 0..16 of ink in
4x4 blocks.
"""

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from replicate.datasets.base import SPLITS, PinnedDataset, Source, Splits
from replicate.datasets.readers.cutting import cut
from replicate.errors import ReplicateError
from replicate.params import OURS, Section, Settings, setting

LEVELS = 16  # highest stored value
#: MNIST's 50,000 : 10,000 : 10,000 images for training, validation and test.
PARTS = 5 + 1 + 1


class DigitsConfig(Settings):
    """How the digits are cut."""

    split_seed: int = setting(
        0, "seed of the cut into training, validation and test images", OURS, ge=0, lt=2**32
    )


class Digits(PinnedDataset):
    """The digits of scikit-learn in 1,283 training, 257 validation and 257 test images.

    MNIST's protocol is 50,000 : 10,000 : 10,000, that is 5 : 1 : 1. Scaled to 1,797 images,
    validation and test get 1,797 / 7 = 256.7, rounded to 257 each, and training gets the rest. The
    cut is stratified by class. The images of each split are in a random order, so that the first k
    validation images are a fair sample of them.
    """

    name = "digits"
    title = "Digits"
    Config = DigitsConfig
    image_shape = (1, 8, 8)
    train_count = 1283
    sources = (
        Source(
            name="digits.csv.gz",
            size=57523,
            sha256="09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22",
        ),
    )

    def locate(self, source: Source, folder: Path) -> Path:
        """The file inside the installed scikit-learn; found without importing it."""
        # Stages that read no image ask for the path too, and importing scikit-learn is slow.
        spec = importlib.util.find_spec("sklearn")
        if spec is None or spec.origin is None:
            raise ReplicateError(
                "scikit-learn is not installed; the data set 'digits' ships with it."
            )
        package = Path(spec.origin).parent
        return package / "datasets" / "data" / source.name

    def prepare(self, files: Mapping[str, Path], config: Section) -> Splits:
        """Images (n, 1, 8, 8) uint8 with values 0..16, and their classes."""
        # Not above: a plan loads every data set's module, and needs none of their libraries.
        from sklearn.datasets import load_digits

        assert isinstance(config, DigitsConfig)
        values, classes = load_digits(return_X_y=True)
        # scikit-learn gives float64; whole numbers fit into bytes, as every stored image here.
        stored = values.astype(np.uint8)
        labels = classes.astype(np.int64)
        are_whole_numbers = np.array_equal(stored, values)
        if stored.shape != (1797, 64) or not are_whole_numbers or stored.max() != LEVELS:
            raise ReplicateError(
                f"{files['digits.csv.gz']} does not hold 1797 images of 64 whole numbers "
                "from 0 to 16."
            )
        images = stored.reshape(-1, 1, 8, 8)
        count = round(len(labels) / PARTS)
        rows = cut(labels, config.split_seed, ("valid", "test"), count)
        return Splits(
            images={split: images[rows[split]] for split in SPLITS},
            labels={split: labels[rows[split]] for split in SPLITS},
            divisor=float(LEVELS),
        )


DATASET = Digits()
