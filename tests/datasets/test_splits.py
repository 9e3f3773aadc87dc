"""What every stage reads: splits with and without folds, in memory and in their file."""

from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from replicate.datasets.base import SPLITS, Splits
from replicate.errors import ReplicateError
from replicate.storage.files import sha256_file, write_json, write_tensors


def folded(whole_validation: bool = True) -> Splits:
    """Three unlabelled images of the values 0, 1, 2, and six labelled ones of 10..15 with the
    labels 0..5.
    """
    ones = np.ones((1, 1, 2, 2), np.uint8)
    unlabelled = np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1) * ones
    labelled = np.arange(10, 16, dtype=np.uint8).reshape(6, 1, 1, 1) * ones
    return Splits(
        images={"train": unlabelled, "labelled": labelled},
        labels={"labelled": np.arange(6)},
        divisor=2.0,
        folds=[
            {"train": np.array([0, 1]), "valid": np.array([4, 2, 3]), "test": np.array([5])},
            {"train": np.array([2, 3, 4]), "valid": np.array([5]), "test": np.array([0, 1])},
        ],
        whole_validation=whole_validation,
    )


def plain(**changes: object) -> Splits:
    images = {split: np.full((n, 1, 2, 2), n, np.uint8) for n, split in enumerate(SPLITS, 3)}
    return Splits(images, {"train": np.array([2, 0, 1])}, divisor=2.0, **changes)  # type: ignore[arg-type]


def values(rows: np.ndarray) -> list[float]:
    """The one value of every image."""
    assert (rows == rows[:, :1]).all()
    return rows[:, 0].tolist()


def test_training_images_are_the_unlabelled_ones_in_every_fold() -> None:
    splits = folded()
    assert [values(splits.flat("train", fold)) for fold in range(2)] == [[0.0, 0.5, 1.0]] * 2
    assert values(splits.flat("labelled")) == [5.0, 5.5, 6.0, 6.5, 7.0, 7.5]


def test_validation_and_test_images_and_their_labels_are_the_folds_own() -> None:
    splits = folded()
    assert [values(splits.flat("valid", fold)) for fold in range(2)] == [[7.0, 6.0, 6.5], [7.5]]
    assert [values(splits.flat("test", fold)) for fold in range(2)] == [[7.5], [5.0, 5.5]]
    assert [splits.labels_of("valid", fold).tolist() for fold in range(2)] == [[4, 2, 3], [5]]
    assert [splits.labels_of("train", fold).tolist() for fold in range(2)] == [[0, 1], [2, 3, 4]]
    assert (splits.fold_count, splits.shape) == (2, (1, 2, 2))
    assert [splits.count(split, 1) for split in (*SPLITS, "labelled")] == [3, 1, 2, 6]


def test_a_limit_cuts_the_validation_images_unless_all_of_them_choose() -> None:
    assert values(folded().validation(2)) == [7.0, 6.0, 6.5]
    assert values(folded(whole_validation=False).validation(2)) == [7.0, 6.0]
    assert len(plain().validation(2)) == 2
    assert len(plain().validation(1000)) == 4
    assert len(plain(whole_validation=True).validation(2)) == 4


def test_one_cut_is_one_fold() -> None:
    splits = plain()
    assert splits.fold_count == 1
    assert np.array_equal(splits.flat("test", 0), splits.flat("test"))
    assert splits.labels_of("train").tolist() == [2, 0, 1]
    assert [splits.count(split) for split in SPLITS] == [3, 4, 5]


@pytest.mark.parametrize(("splits", "fold"), [(folded(), 2), (folded(), -1), (plain(), 1)])
def test_a_fold_that_is_not_there_is_an_error(splits: Splits, fold: int) -> None:
    for split in ("valid", "test"):
        with pytest.raises(IndexError, match=f"there is no fold {fold}"):
            splits.labels_of(split, fold)
    if splits.folds:
        with pytest.raises(IndexError):
            splits.flat("test", fold)


@pytest.mark.parametrize(
    "splits", [folded(), folded(False), plain(), plain(display="largest", value_range=(-3.0, 3.0))]
)
def test_the_file_gives_back_what_was_written(tmp_path: Path, splits: Splits) -> None:
    splits.write(tmp_path / "x.safetensors")
    read = Splits.read(tmp_path / "x.safetensors")
    for name in ("divisor", "value_range", "whole_validation", "display", "fold_count", "shape"):
        assert getattr(read, name) == getattr(splits, name), name
    for ours, theirs in ((read.images, splits.images), (read.labels, splits.labels)):
        assert ours.keys() == theirs.keys()
        assert all(
            np.array_equal(ours[key], theirs[key]) and ours[key].dtype == theirs[key].dtype
            for key in ours
        )
    for one, other in zip(read.folds, splits.folds, strict=True):
        assert {split: rows.tolist() for split, rows in one.items()} == {
            k: rows.tolist() for k, rows in other.items()
        }
    again = tmp_path / "y.safetensors"
    read.write(again)
    assert again.read_bytes() == (tmp_path / "x.safetensors").read_bytes()


def test_a_set_without_folds_is_stored_as_before_there_were_any(tmp_path: Path) -> None:
    plain().write(tmp_path / "x.safetensors")
    with safe_open(tmp_path / "x.safetensors", framework="np") as stream:
        assert stream.metadata() == {"divisor": "2.0", "low": "0.0", "high": "1.0"}
        assert sorted(stream.keys()) == ["test", "train", "train_labels", "valid"]


def test_other_bytes_than_the_description_beside_it_names_are_refused(tmp_path: Path) -> None:
    """One pixel differs: the file is whole, and the description of the data alone can tell."""
    path = tmp_path / "x.safetensors"
    plain().write(path)
    write_json(path.with_suffix(".json"), {"stage": "prepare", "sha256": sha256_file(path)})
    assert Splits.read(path).divisor == 2.0
    path.write_bytes(path.read_bytes()[:-1] + b"\x09")
    with pytest.raises(
        ReplicateError, match=r"is not the data set that .*x.json tells of; run `prepare` again"
    ):
        Splits.read(path)
    path.with_suffix(".json").unlink()
    assert Splits.read(path).divisor == 2.0


@pytest.mark.parametrize("lacking", ["labelled", "fold0_valid", "fold1_train", "fold0_test"])
def test_a_folded_file_that_lacks_a_part_is_refused(tmp_path: Path, lacking: str) -> None:
    splits = folded()
    tensors = dict(splits.images)
    for number, fold in enumerate(splits.folds):
        for split, rows in fold.items():
            tensors[f"fold{number}_{split}"] = rows
    del tensors[lacking]
    write_tensors(
        tmp_path / "x.safetensors", tensors, {"divisor": "2.0", "low": "0.0", "high": "1.0"}
    )
    with pytest.raises(ReplicateError, match="is not a prepared data set"):
        Splits.read(tmp_path / "x.safetensors")


def test_what_a_panel_shows_as_black_and_white() -> None:
    panel = np.array([[-4.0, 2.0], [1.0, 3.0]])
    assert plain(value_range=(-2.0, 5.0)).shown_range(panel) == (-2.0, 5.0)
    assert plain(display="largest").shown_range(panel) == (-4.0, 4.0)
    assert plain(display="largest").shown_range(np.zeros((2, 2))) == (-1.0, 1.0)
