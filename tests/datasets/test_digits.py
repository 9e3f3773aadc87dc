"""The digits: what they hold, and a cut that is stratified, complete, fair and never changes."""

import hashlib
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicate.datasets.base import SPLITS, Splits
from replicate.datasets.digits import DATASET, DigitsConfig
from replicate.datasets.readers import cutting
from replicate.datasets.readers.cutting import shares
from replicate.datasets.sources.verify import verified_files
from replicate.errors import ReplicateError
from replicate.params import checked

#: Images per class in scikit-learn's description of the set (its source's optdigits.names, testing
#: part).
PER_CLASS = (178, 182, 177, 183, 181, 182, 181, 179, 174, 180)


def cut(labels: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """The cut of the digits: 257 images each for validation and test."""
    return cutting.cut(labels, seed, ("valid", "test"), 257)


@pytest.fixture(scope="module")
def splits() -> Splits:
    return DATASET.prepare(verified_files(DATASET, Path("unused")), DigitsConfig())


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    from sklearn.datasets import load_digits

    return load_digits().target.astype(np.int64)


def test_counts_shapes_and_values(splits: Splits) -> None:
    assert {split: splits.images[split].shape for split in SPLITS} == {
        "train": (1283, 1, 8, 8),
        "valid": (257, 1, 8, 8),
        "test": (257, 1, 8, 8),
    }
    assert (DATASET.image_shape, DATASET.train_count) == ((1, 8, 8), 1283)
    assert splits.divisor == 16
    assert {images.dtype for images in splits.images.values()} == {np.dtype(np.uint8)}
    pixels = np.concatenate([splits.flat(split) for split in SPLITS])
    assert set(np.unique(pixels)) == {np.float32(k) / np.float32(16) for k in range(17)}


def test_every_image_is_there_once_with_its_own_label(splits: Splits) -> None:
    from sklearn.datasets import load_digits

    original = load_digits()
    ours = np.concatenate([splits.images[split].reshape(-1, 64) for split in SPLITS])
    labels = np.concatenate([splits.labels[split] for split in SPLITS])
    rows = sorted(
        (*pixels, label) for pixels, label in zip(ours.tolist(), labels.tolist(), strict=True)
    )
    expected = zip(original.data.astype(int).tolist(), original.target.tolist(), strict=True)
    assert rows == sorted((*pixels, label) for pixels, label in expected)


def test_an_image_stands_upright(splits: Splits) -> None:
    """Rows of pixels are neither flipped nor transposed on the way to (1, 8, 8)."""
    from sklearn.datasets import load_digits

    first = load_digits().images[0]
    images = np.concatenate([splits.images[split] for split in SPLITS])
    assert any(np.array_equal(image[0], first) for image in images)


def test_the_cut_is_stratified(splits: Splits) -> None:
    for split in ("valid", "test"):
        counts = np.bincount(splits.labels[split], minlength=10)
        for label, count in enumerate(counts):
            share = Fraction(PER_CLASS[label] * 257, 1797)
            assert abs(count - share) < 1, (split, label)
    assert sum(np.bincount(splits.labels[split]) for split in SPLITS).tolist() == list(PER_CLASS)


def test_the_cut_has_no_overlap(labels: np.ndarray) -> None:
    rows = cut(labels, 3)
    assert sorted(np.concatenate(list(rows.values())).tolist()) == list(range(1797))


def test_the_cut_is_decided_by_its_seed(labels: np.ndarray) -> None:
    one, again, two = cut(labels, 0), cut(labels, 0), cut(labels, 1)
    for split in SPLITS:
        assert np.array_equal(one[split], again[split])
        assert not np.array_equal(np.sort(one[split]), np.sort(two[split]))


def test_the_cut_never_changes(labels: np.ndarray) -> None:
    """Results on digits are comparable only while this holds. The digest was taken when the cut was
    written.
    """
    rows = cut(labels, 0)
    digest = hashlib.sha256(
        b"".join(rows[split].astype("<i8").tobytes() for split in SPLITS)
    ).hexdigest()
    assert digest[:16] == "4fc921dd2deeb5de"


def test_the_order_within_a_split_is_random(labels: np.ndarray) -> None:
    """Over 200 seeds, the first 50 validation images hold each class in proportion, and rows are
    unsorted.
    """
    counts = np.zeros(10)
    for seed in range(200):
        valid = cut(labels, seed)["valid"]
        counts += np.bincount(labels[valid[:50]], minlength=10)
        assert not np.array_equal(valid, np.sort(valid))
    expected = 200 * 50 * np.array(PER_CLASS) / 1797
    assert np.sum((counts - expected) ** 2 / expected) < 27.9  # chi-square, 9 degrees, p = 0.001


def test_every_image_reaches_the_test_part(labels: np.ndarray) -> None:
    """A seed chooses among all images: over 200 seeds each is held out for the test about one time
    in seven.
    """
    chosen = np.zeros(1797)
    for seed in range(200):
        chosen[cut(labels, seed)["test"]] += 1
    assert chosen.min() > 0
    assert abs(chosen.mean() - 200 * 257 / 1797) < 1e-9
    assert 3 < chosen.std() < 7  # binomial: sqrt(200 * 1/7 * 6/7) = 4.9


@given(st.lists(st.integers(1, 500), min_size=1, max_size=12), st.data())
def test_shares_are_proportional_and_add_up(counts: list[int], data: st.DataObject) -> None:
    total = data.draw(st.integers(0, sum(counts)))
    given_out = shares(np.array(counts), total).tolist()
    assert sum(given_out) == total
    for count, share in zip(counts, given_out, strict=True):
        assert abs(share - Fraction(count * total, sum(counts))) < 1


def test_shares_of_a_tie_go_to_the_lower_class() -> None:
    assert shares(np.array([5, 5, 5]), 4).tolist() == [2, 1, 1]


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, "one"])
def test_a_wrong_seed_is_named(seed: object) -> None:
    with pytest.raises(ReplicateError, match=r"params.yaml: datasets\.digits\.split_seed: "):
        checked(DigitsConfig, {"split_seed": seed}, "params.yaml", prefix="datasets.digits")


def test_data_sets_load_without_their_libraries() -> None:
    code = (
        "import sys, replicate.jobs.plan, replicate.stages.fetch, replicate.stages.prepare; "
        "from replicate.datasets import REGISTRY, load_dataset; [load_dataset(name) for name "
        "in REGISTRY]; "
        "print(*{'torch', 'torchvision', 'sklearn', 'scipy', 'PIL'} & set(sys.modules))"
    )
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == ""
