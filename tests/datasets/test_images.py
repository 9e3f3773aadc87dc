"""A folder of images: layouts, cuts, labels, one digest for folder and archive, and folders that
cannot be used.
"""

import hashlib
import itertools
import os
import shutil
import struct
import subprocess
import unicodedata
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from replicate.datasets.base import SPLITS, Splits
from replicate.datasets.images import DATASET, ImagesConfig, is_split, rows_of
from replicate.datasets.sources import store
from replicate.datasets.sources.store import opened
from replicate.errors import ReplicateError
from replicate.params import checked
from tests.datasets.data_helpers import write_images, zipped


def prepared(path: Path, **options: object) -> Splits:
    return DATASET.prepare({path.name: path}, ImagesConfig(size=8, **options))  # type: ignore[arg-type]


def names_by_split(splits: Splits, written: dict[str, np.ndarray]) -> dict[str, list[str]]:
    """Split -> the names of its images, recognised by their pixels."""
    name_of = {array.tobytes(): name for name, array in written.items()}
    names: dict[str, list[str]] = {split: [] for split in SPLITS}
    for split in SPLITS:
        for image in splits.images[split]:
            pixels = np.ascontiguousarray(image.transpose(1, 2, 0))  # type: ignore[attr-defined]
            names[split].append(name_of[pixels.tobytes()])
    return names


def many(*folders: str, count: int = 14) -> list[str]:
    pairs = itertools.product(folders, range(count))
    return [f"{folder}{number}.png" for folder, number in pairs]


def test_given_splits_stay_as_they_are(tmp_path: Path) -> None:
    written = write_images(tmp_path, many("train/a/", "train/b/", "valid/a/", "test/b/", count=5))
    splits = prepared(tmp_path)
    names_of = names_by_split(splits, written)
    for split, names in names_of.items():
        assert sorted(names) == sorted(name for name in written if name.startswith(split))
        assert splits.labels[split].tolist() == ["ab".index(name.split("/")[1]) for name in names]
    assert splits.divisor == 255.0


@pytest.mark.parametrize(
    "names",
    [
        ("train", "val", "test"),
        ("Train", "Validation", "Test"),
        ("TRAIN", "VALID", "TEST"),
        ("Training", "dev", "Testing"),
        ("train_set", "val-set", "testset"),
        ("Train Images", "Val images", "Test.data"),
        ("training_", "Dev", "testing_imgs"),
    ],
)
def test_splits_in_any_case_and_common_spelling(
    tmp_path: Path, names: tuple[str, str, str]
) -> None:
    written = write_images(tmp_path, many(*(f"{name}/" for name in names), count=3))
    splits = prepared(tmp_path)
    for name, images in zip(names, names_by_split(splits, written).values(), strict=True):
        assert sorted(images) == [f"{name}/{k}.png" for k in range(3)]
    assert splits.labels == {}


def test_without_a_validation_folder_a_sixth_of_the_training_images_is_it(tmp_path: Path) -> None:
    written = write_images(
        tmp_path, many("train/a/", "train/b/", count=27) + many("test/a/", count=4)
    )
    splits = prepared(tmp_path)
    names_of = names_by_split(splits, written)
    assert [len(names_of[split]) for split in SPLITS] == [45, 9, 4]
    assert not set(names_of["train"]) & set(names_of["valid"])
    assert {name.split("/")[0] for name in names_of["valid"]} == {"train"}
    assert sorted(np.bincount(splits.labels["valid"])) == [4, 5], "stratified"
    assert splits.labels["valid"].tolist() == [
        "ab".index(name.split("/")[1]) for name in names_of["valid"]
    ]


@pytest.mark.parametrize(
    ("names", "labelled"), [(many("", count=70), False), (many("a/", "b/", count=35), True)]
)
def test_images_in_one_piece_are_cut_5_1_1(
    tmp_path: Path, names: list[str], labelled: bool
) -> None:
    written = write_images(tmp_path, names)
    splits = prepared(tmp_path)
    names_of = names_by_split(splits, written)
    assert [len(names_of[split]) for split in SPLITS] == [50, 10, 10]
    assert sorted(itertools.chain(*names_of.values())) == sorted(names)
    if labelled:
        assert [np.bincount(splits.labels[split]).tolist() for split in SPLITS] == [
            [25, 25],
            [5, 5],
            [5, 5],
        ]
        for split in SPLITS:
            assert splits.labels[split].tolist() == [
                "ab".index(name[0]) for name in names_of[split]
            ]
    else:
        assert splits.labels == {}


def test_classes_too_small_for_a_share_are_cut_as_one(tmp_path: Path) -> None:
    write_images(tmp_path, [f"class{k:02}/x.png" for k in range(21)])
    splits = prepared(tmp_path)
    assert [len(splits.images[split]) for split in SPLITS] == [15, 3, 3]
    assert sorted(np.concatenate([splits.labels[split] for split in SPLITS])) == list(range(21))


def test_the_cut_is_decided_by_its_seed_and_the_order_is_random(tmp_path: Path) -> None:
    written = write_images(
        tmp_path, many("train/a/", "train/b/", "valid/", "test/", count=30)[:60] + many("test/a/")
    )
    one, again, two = (
        names_by_split(prepared(tmp_path, split_seed=seed), written) for seed in (0, 0, 1)
    )
    assert one == again
    assert all(one[split] != sorted(one[split]) for split in SPLITS)
    assert set(one["valid"]) != set(two["valid"])
    assert set(one["test"]) == set(two["test"])
    assert one["test"] != two["test"]


def test_the_cut_never_changes() -> None:
    """Results are comparable only while this holds. The digest was taken when the cut was
    written.
    """
    labels = np.arange(1000) % 7
    rows = [rows_of({"all": labels}, 0), rows_of({"train": labels, "test": labels}, 0)]
    content = b""
    for rows_of_split in rows:
        for split in SPLITS:
            content += rows_of_split[split].rows.astype("<i8").tobytes()
    assert hashlib.sha256(content).hexdigest()[:16] == "35bb1d0511aa70cc"


def test_nothing_depends_on_the_order_of_the_file_system(tmp_path: Path) -> None:
    names = many("b/", "a/", count=20)
    one, two = tmp_path / "one", tmp_path / "two"
    for name, array in write_images(one, names).items():
        write_images(tmp_path / "kept", {name: array})
    for name in reversed(names):
        (two / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(one / name, two / name)
    assert DATASET.inventory(one) | {"name": ""} == DATASET.inventory(two) | {"name": ""}
    first, second = prepared(one), prepared(two)
    assert all(np.array_equal(first.images[split], second.images[split]) for split in SPLITS)


@pytest.mark.parametrize("prefix", ["", "photos/"])
def test_a_zip_archive_is_the_same_data_as_its_folder(tmp_path: Path, prefix: str) -> None:
    write_images(tmp_path / "f", many("train/a/", "train/b/", "test/a/", count=9))
    archive = zipped(tmp_path / "f", tmp_path / "f.zip", prefix)
    folder = DATASET.inventory(tmp_path / "f")
    assert folder == DATASET.inventory(archive) | {"name": "f"}
    assert (folder["files"], folder["size"]) == (
        27,
        sum(p.stat().st_size for p in (tmp_path / "f").rglob("*.png")),
    )
    one, two = prepared(tmp_path / "f"), prepared(archive)
    for split in SPLITS:
        assert np.array_equal(one.images[split], two.images[split])
        assert np.array_equal(one.labels[split], two.labels[split])


def test_the_digest_is_that_of_the_lines_of_sha256sum(tmp_path: Path) -> None:
    names = many("b/", "a/", count=3)
    write_images(tmp_path / "f", names)
    lines = subprocess.check_output(["sha256sum", *sorted(names)], cwd=tmp_path / "f")
    assert DATASET.inventory(tmp_path / "f")["sha256"] == hashlib.sha256(lines).hexdigest()


def test_names_are_compared_in_one_unicode_form(tmp_path: Path) -> None:
    for form in ("NFC", "NFD"):
        write_images(
            tmp_path / form,
            {unicodedata.normalize(form, "caf\u00e9.png"): np.zeros((8, 8, 3), np.uint8)},
        )
    one, two = (DATASET.inventory(tmp_path / form) | {"name": ""} for form in ("NFC", "NFD"))
    assert one == two


def test_a_change_of_any_image_changes_the_digest_and_the_stamp(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    write_images(folder, many("", count=8))
    seen = {(DATASET.inventory(folder)["sha256"], DATASET.stamp(folder))}

    def changed() -> None:
        seen.add((DATASET.inventory(folder)["sha256"], DATASET.stamp(folder)))

    content = bytearray((folder / "3.png").read_bytes())
    content[-20] ^= 1
    (folder / "3.png").write_bytes(content)
    changed()
    (folder / "3.png").rename(folder / "9.png")
    changed()
    (folder / "9.png").unlink()
    changed()
    write_images(folder, ["10.png"])
    changed()
    assert (
        len({digest for digest, _ in seen}) == len({stamp for _, stamp in seen}) == len(seen) == 5
    )


def test_an_archives_stamp_is_its_content(tmp_path: Path) -> None:
    write_images(tmp_path / "f", many("", count=3))
    path = zipped(tmp_path / "f", tmp_path / "f.zip")
    before = DATASET.stamp(path)
    os.utime(path, (1, 1))
    assert DATASET.stamp(path) == before == hashlib.sha256(path.read_bytes()).hexdigest()
    assert DATASET.stamp(tmp_path / "nowhere") == ""


def test_what_is_no_image_is_left_out_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path / "f", many("a/", "b/", count=7))
    before = DATASET.inventory(tmp_path / "f")
    (tmp_path / "f" / "labels.csv").write_text("x")
    (tmp_path / "f" / "a" / "notes.txt").write_text("x")
    (tmp_path / "f" / ".DS_Store").write_text("x")
    write_images(tmp_path / "f", ["__MACOSX/a/1.png", ".thumbs/1.png"])
    assert DATASET.inventory(tmp_path / "f") == before
    assert len(prepared(tmp_path / "f").images["train"]) == 10
    assert capsys.readouterr().err == (
        f"prepare: 2 file(s) in {tmp_path / 'f'} are no PNG or JPEG by name: left out\n"
        f"prepare: 1 image(s) in {tmp_path / 'f'} have hidden names, which begin with a dot: "
        "left out\n"
    )


@pytest.mark.parametrize("archive", [False, True])
def test_images_with_hidden_names_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], archive: bool
) -> None:
    """A class of that kind would vanish without a word; what programs keep is nobody's class."""
    names = [*many("cat/", ".dog/", count=7), "cat/._1.png", ".git/annex/1.png", "__MACOSX/1.png"]
    write_images(tmp_path / "f", names)
    path = zipped(tmp_path / "f", tmp_path / "f.zip") if archive else tmp_path / "f"
    prepared(path)
    assert f"prepare: 7 image(s) in {path} have hidden names" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".jpe", ".JFIF"])
def test_a_jpeg_file_may_be_called_in_four_ways(tmp_path: Path, suffix: str) -> None:
    write_images(tmp_path, many("", count=14))
    for number in range(7):
        picture = Image.open(tmp_path / f"{number}.png").convert("RGB")
        (tmp_path / f"{number}.png").unlink()
        picture.save(tmp_path / f"{number}{suffix}", "JPEG")
    assert DATASET.inventory(tmp_path)["files"] == 14


@pytest.mark.parametrize("name", ["b/3.webp", "b/3.GIF", "b/3.tif"])
def test_pictures_of_other_kinds_are_refused_and_named(tmp_path: Path, name: str) -> None:
    """A class that consists of them would be missing."""
    write_images(tmp_path / "f", many("a/", "c/", count=7))
    (tmp_path / "f/b").mkdir()
    (tmp_path / "f" / name).write_bytes(b"x")
    assert f"has 1 picture(s) that are no PNG or JPEG: {name}; convert" in refusal(tmp_path / "f")


def test_two_archives_one_after_the_other_are_refused(tmp_path: Path) -> None:
    """Readers of zip files see the second one alone; a program in front is part of one archive."""
    archives = []
    for name in ("one", "two"):
        write_images(tmp_path / name, [f"{name}{number}.png" for number in range(7)])
        archives.append(zipped(tmp_path / name, tmp_path / f"{name}.zip").read_bytes())
    both = tmp_path / "both.zip"
    both.write_bytes(b"".join(archives))
    assert "has members that it does not list" in refusal(both)
    both.write_bytes(b"#!/bin/sh\n" + archives[0])
    assert DATASET.inventory(both)["files"] == 7


@pytest.mark.parametrize("other", ["Cat", "cat ", "_cat", "\uff43\uff41\uff54"])
def test_a_class_in_two_spellings_is_refused(tmp_path: Path, other: str) -> None:
    write_images(tmp_path / "f", many("train/cat/", "train/dog/", "test/dog/", f"test/{other}/"))
    message = refusal(tmp_path / "f")
    assert repr(other) in message
    assert "'cat'" in message
    assert "may be one class in two spellings; give it one name" in message


def test_two_classes_may_differ_by_case_where_both_are_in_one_split(tmp_path: Path) -> None:
    write_images(tmp_path, many("train/a/", "train/A/", "test/a/", "test/A/"))
    assert sorted(set(prepared(tmp_path).labels["test"].tolist())) == [0, 1]


def test_links_are_followed_and_a_circle_of_them_ends(tmp_path: Path) -> None:
    write_images(tmp_path / "f", many("a/", count=7))
    (tmp_path / "f" / "b").symlink_to(tmp_path / "f" / "a")
    assert len(prepared(tmp_path / "f").images["train"]) == 10
    (tmp_path / "f" / "a" / "self").symlink_to(tmp_path / "f")
    (
        tmp_path / "f" / "b"
    ).unlink()  # with two links the ways through the circle double at every turn
    with pytest.raises(ReplicateError, match="lies too deep") as caught:
        prepared(tmp_path / "f")
    assert str(caught.value).count("/self") == 2, "it is not walked until the system refuses"


@pytest.mark.parametrize("options", [{}, {"grayscale": True}, {"size": 5}])
@pytest.mark.parametrize(
    "names",
    [many(""), many("a/", "b/"), many("train/", "test/"), many("train/a/", "val/a/", "test/a/")],
)
def test_the_extent_is_that_of_the_prepared_images(
    tmp_path: Path, names: list[str], options: dict[str, object]
) -> None:
    write_images(tmp_path, names)
    config = ImagesConfig(folder=str(tmp_path), **({"size": 8} | options))  # type: ignore[arg-type]
    splits = DATASET.prepare({"x": tmp_path}, config)
    assert DATASET.extent(Path("unused"), config) == (splits.shape, len(splits.images["train"]))


def test_where_the_images_lie() -> None:
    assert DATASET.data_path(Path("data/images"), ImagesConfig()) == Path("data/images")
    assert DATASET.data_path(Path("data/images"), ImagesConfig(folder="/x/y.zip")) == Path(
        "/x/y.zip"
    )
    assert DATASET.data_path(Path("data/images"), ImagesConfig(folder="~/x")) == Path.home() / "x"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 0}, "datasets.images.size: "),
        ({"size": "big"}, "datasets.images.size: "),
        ({"crop": "left"}, "datasets.images.crop: "),
        ({"grayscale": "maybe"}, "datasets.images.grayscale: "),
        ({"split_seed": -1}, "datasets.images.split_seed: "),
        ({"path": "x"}, "datasets.images.path: unknown key"),
        ({"folder": 3}, "datasets.images.folder: "),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, object], words: str) -> None:
    with pytest.raises(ReplicateError, match=words.replace(".", r"\.")):
        checked(ImagesConfig, options, "params.yaml", "datasets.images")


def refusal(path: Path) -> str:
    with pytest.raises(ReplicateError) as caught:
        prepared(path)
    message = str(caught.value)
    assert str(path) in message
    assert len(message.splitlines()) == 1
    return message


DOUBTFUL = {
    ("tran", "test"): "'test' and 'tran' may be splits or classes: rename 'tran' to 'train'",
    (
        "train",
        "tests_old",
    ): "'tests_old' and 'train' may be splits or classes: rename 'tests_old' to 'test'",
    ("Trian", "Tset"): "'Trian' and 'Tset' may be splits or classes: rename 'Trian' to 'train'",
    ("trainA", "trainB", "testA", "testB"): "may be splits or classes: rename 'testA' to 'test'",
    ("my_train", "old-test"): "may be splits or classes: rename 'my_train' to 'train'",
    ("train", "validatoin"): "may be splits or classes: rename 'validatoin' to 'valid'",
    ("train", "eval"): "'eval' and 'train' may be splits or classes: rename 'eval' to 'test'",
    ("Train", "held-out"): "may be splits or classes: rename 'held-out' to 'test'",
    ("tr", "te"): "may be splits or classes: rename 'te' to 'test'",
    ("entraînement", "essai"): "may be splits or classes: rename 'entraînement' to 'train'",
    ("학습", "테스트"): "may be splits or classes: rename",
    ("학습데이터", "평가 데이터"): "may be splits or classes: rename",
    ("训练集", "测试集"): "may be splits or classes: rename",
    ("train", "test", "tests_old"): "has 'tests_old' beside train and test; move it",
    ("Train", "Val", "cat"): "has 'cat' beside Train and Val; move it",
    (
        "Train",
        "training",
        "test",
    ): "has 'Train' and 'training', which both say train; put them into one folder",
    ("Train", "Val"): "has Train, Val but no test; add it",
}


@pytest.mark.parametrize("folders", DOUBTFUL)
def test_folders_that_may_be_splits_or_classes_are_refused(
    tmp_path: Path, folders: tuple[str, ...]
) -> None:
    write_images(tmp_path / "f", many(*(f"{folder}/" for folder in folders), count=7))
    assert DOUBTFUL[folders] in refusal(tmp_path / "f")


@pytest.mark.parametrize(
    "folders",
    [
        ("rain", "rest"),
        ("train", "bus", "car"),
        ("tent", "train", "bus", "car", "tram"),
        ("test", "x"),
        ("contest", "y"),
    ],
)
def test_folders_that_only_sound_like_splits_are_classes(
    tmp_path: Path, folders: tuple[str, ...]
) -> None:
    write_images(tmp_path, many(*(f"{folder}/" for folder in folders), count=7))
    assert np.bincount(prepared(tmp_path).labels["train"]).tolist() == [5] * len(folders)


LAYOUTS = {
    "no test folder": (many("train/", "valid/"), "has train, valid but no test"),
    "no train folder": (many("test/a/"), "has test but no train"),
    "a folder beside train and test": (
        many("train/", "test/", "more/"),
        "has 'more' beside train and test",
    ),
    "images beside train and test": (
        many("train/", "test/", ""),
        "has 'images' beside train and test",
    ),
    "classes and no classes": (many("a/", ""), "some images lie in class folders and some do not"),
    "classes in one split only": (
        many("train/a/", "test/"),
        "some images lie in class folders and some do not",
    ),
    "too deep in a split": (many("train/a/b/", "test/a/"), "lies too deep"),
    "too deep without splits": (many("x/a/b/", "x/c/b/", "y/c/b/"), "lies too deep"),
    "much too deep": (many("x/a/b/c/d/"), "lies too deep"),
}


@pytest.mark.parametrize("archive", [False, True])
@pytest.mark.parametrize("name", LAYOUTS)
def test_another_layout_is_refused(tmp_path: Path, name: str, archive: bool) -> None:
    names, words = LAYOUTS[name]
    write_images(tmp_path / "f", names)
    assert words in refusal(
        zipped(tmp_path / "f", tmp_path / "f.zip") if archive else tmp_path / "f"
    )


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    write_images(tmp_path, many("bus/", "car/", "train/", count=7))
    assert sorted(np.bincount(prepared(tmp_path).labels["train"])) == [5, 5, 5]


def test_unreadable_images_are_counted_and_named(tmp_path: Path) -> None:
    write_images(tmp_path, many("", count=20))
    for k in range(8):
        (tmp_path / f"{k}.png").write_bytes((tmp_path / f"{k}.png").read_bytes()[:100])
    (tmp_path / "0.png").write_bytes(b"")
    message = refusal(tmp_path)
    assert (
        f"8 of 20 images in {tmp_path} cannot be used: 0.png is no PNG or JPEG image; "
        "1.png is damaged (" in message
    )
    assert "5.png" not in message
    assert message.endswith(" and 3 more; repair them or take them out.")


def test_empty_places(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no PNG or JPEG file" in refusal(tmp_path / "empty")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a/readme.txt", "x")
    assert "holds no PNG or JPEG file" in refusal(tmp_path / "x.zip")
    assert "is missing; put PNG or JPEG images there" in (
        DATASET.missing(tmp_path / "nowhere") or ""
    )
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert "mount it or remove the link" in (DATASET.missing(tmp_path / "link") or "")


def test_three_images_are_too_few_to_cut(tmp_path: Path) -> None:
    write_images(tmp_path, many("", count=3))
    assert [len(images) for images in prepared(tmp_path).images.values()] == [
        3,
        0,
        0,
    ]  # `prepare` then refuses it


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_named(tmp_path: Path) -> None:
    write_images(tmp_path, many("a/", "b/"))
    (tmp_path / "a" / "1.png").chmod(0)
    assert "1 of 28 entries" in refusal(tmp_path)
    assert "a/1.png may not be read by this user" in refusal(tmp_path)
    (tmp_path / "a").chmod(0)
    assert "cannot read" in refusal(tmp_path)


def test_links_to_nothing_and_what_is_no_file_are_counted_and_named(tmp_path: Path) -> None:
    """As git-annex leaves them, or a disk that is not mounted: without them it would be another
    data set.
    """
    folder = tmp_path / "f"
    write_images(folder, many("a/", "b/", count=8))
    for k in range(6):
        (folder / "b" / f"far{k}.png").symlink_to(f"/annex/{k}.png")
    (folder / "c").symlink_to("/disk/c")
    os.mkfifo(folder / "a" / "pipe.png")
    (folder / ".hidden.png").symlink_to("/annex/hidden.png")
    before = DATASET.stamp(folder)
    for attempt in (prepared, DATASET.inventory, lambda path: DATASET.extent(path, ImagesConfig())):
        with pytest.raises(ReplicateError) as caught:
            attempt(folder)
        assert str(caught.value) == (
            f"8 of 24 entries in {folder} cannot be read: a/pipe.png is no file or folder; "
            "b/far0.png is a link to nothing; b/far1.png is a link to nothing; "
            "b/far2.png is a link to nothing; b/far3.png is a link to nothing and 3 more; "
            "get or mount what links point to (`git annex get`), make files readable, "
            "or take them out."
        )
    (folder / "c").unlink()
    assert DATASET.stamp(folder) != before, "so that `fetch` looks again"


def test_names_that_are_not_utf_8_are_read_like_any_other(tmp_path: Path) -> None:
    """As an old disk has them; the digest is still that of the lines that sha256sum prints."""
    folder = tmp_path / "f"
    write_images(folder, many("", count=12))
    odd = os.fsencode(folder) + b"/Mu\xf1oz.png"
    Path(os.fsdecode(odd)).write_bytes((folder / "1.png").read_bytes())
    assert sum(map(len, prepared(folder).images.values())) == 13
    names = sorted(os.fsencode(path.name) for path in folder.iterdir())
    lines = subprocess.check_output(["sha256sum", *names], cwd=folder)
    assert DATASET.inventory(folder)["sha256"] == hashlib.sha256(lines).hexdigest()
    assert len(DATASET.stamp(folder)) == 64
    folder = folder.rename(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xf1")))
    assert DATASET.inventory(folder)["name"] == "\\udcf1"
    Path(os.fsdecode(os.fsencode(folder) + b"/\xf2.png")).write_bytes(b"")
    with pytest.raises(ReplicateError, match="udcf2.png is no PNG or JPEG image") as caught:
        prepared(folder)
    str(caught.value).encode()


def with_member(path: Path, name: str, content: bytes = b"x") -> Path:
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo(name), content)
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    write_images(tmp_path / "f", many("a/", count=14))
    return zipped(tmp_path / "f", tmp_path / "f.zip")


@pytest.mark.parametrize(
    "name", ["../../x.png", "/etc/x.png", "a/../../x.png", "C:/x.png", "\\\\host\\x.png"]
)
def test_a_member_that_points_out_of_the_archive_is_refused(archive: Path, name: str) -> None:
    assert "points out of the archive" in refusal(with_member(archive, name))


@pytest.mark.parametrize(
    "form", ["train\\{}\\{}", "./train/{}/{}", "train//{}/./{}", "x\\train/{}\\{}", "Train/{}/{}"]
)
def test_member_names_are_made_plain(tmp_path: Path, form: str) -> None:
    """As old .NET and other tools write them: the same splits and labels as with slashes."""
    write_images(tmp_path / "f", many("train/a/", "train/b/", "test/a/", "test/b/", count=9))
    written = tmp_path / "x.zip"
    with zipfile.ZipFile(written, "w") as archive:
        for file in sorted((tmp_path / "f").rglob("*.png")):
            split, label, name = file.relative_to(tmp_path / "f").parts
            member = zipfile.ZipInfo("x")
            member.filename = (
                form.format(label, name).replace("train", split).replace("Train", split.title())
            )
            archive.writestr(member, file.read_bytes())
        folder = zipfile.ZipInfo("x")
        folder.filename = "train\\"
        archive.writestr(folder, b"")
    one, two = prepared(tmp_path / "f"), prepared(written)
    for split in SPLITS:
        assert np.array_equal(one.images[split], two.images[split])
        assert np.array_equal(one.labels[split], two.labels[split])
    if not form.startswith("T"):
        assert DATASET.inventory(tmp_path / "f") | {"name": ""} == DATASET.inventory(written) | {
            "name": ""
        }


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "cp932"])
def test_members_whose_names_are_in_another_encoding(tmp_path: Path, encoding: str) -> None:
    """Without the flag for UTF-8 a name is in whatever the archiver thought of; it is read, and
    UTF-8 is seen.
    """
    names = {"utf-8": "Mu\u00f1oz", "latin-1": "Mu\u00f1oz", "cp932": "\u732b"}
    write_images(
        tmp_path / "f",
        {f"{names[encoding]}{k}.png": np.full((8, 8, 3), k, np.uint8) for k in range(14)},
    )
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted((tmp_path / "f").iterdir()):
            stand_in = "?" * len(file.name.encode(encoding))
            archive.writestr(
                zipfile.ZipInfo(stand_in.replace("?", "q")[:-6] + file.name[-6:]), file.read_bytes()
            )
    content = path.read_bytes()
    for file in sorted((tmp_path / "f").iterdir()):
        raw = file.name.encode(encoding)
        content = content.replace(b"q" * (len(raw) - 6) + raw[-6:], raw)
    path.write_bytes(content)
    assert sum(map(len, prepared(path).images.values())) == 14
    if encoding == "utf-8":
        assert DATASET.inventory(path) == DATASET.inventory(tmp_path / "f") | {"name": "x.zip"}


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_in_any_compression_is_one_sentence(tmp_path: Path, method: int) -> None:
    write_images(tmp_path / "f", many("a/", count=8))
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        for file in sorted((tmp_path / "f/a").iterdir()):
            archive.write(file, file.name)
    content, generator = path.read_bytes(), np.random.default_rng(3)
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("3.png").header_offset + 40
    for _ in range(30):
        damaged = bytearray(content)
        for place in generator.integers(start, start + 60, 4):
            damaged[place] ^= int(generator.integers(1, 256))
        path.write_bytes(damaged)
        with pytest.raises(ReplicateError) as caught:
            prepared(path)
            DATASET.inventory(path)
        assert len(str(caught.value).splitlines()) == 1


def test_a_member_that_comes_twice_is_refused(archive: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        with_member(archive, "a/0.png")
    assert "has two members of the name a/0.png" in refusal(archive)


def test_an_encrypted_member_is_refused(archive: Path) -> None:
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= (
        1  # the flag in the central directory (APPNOTE 4.4.4)
    )
    archive.write_bytes(content)
    assert "is encrypted" in refusal(archive)


def test_a_file_that_is_too_large_is_refused_unread(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bomb: 1 MB of zeros in 1 kB; the size that the archive declares is enough to refuse it."""
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as one:
        one.writestr("a/bomb.png", bytes(1_000_000))
    monkeypatch.setattr(store, "MAX_BYTES", 900_000)
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *given: pytest.fail("it was read"))
    assert "a/bomb.png has 1000000 bytes, more than 900000; take it out" in refusal(archive)


def test_a_damaged_member_is_named(archive: Path) -> None:
    content = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as one:
        start = one.getinfo("a/3.png").header_offset + 100
    content[start] ^= 255
    archive.write_bytes(content)
    assert "1 of 14 images" in refusal(archive)
    assert "3.png is damaged (" in refusal(archive)


def test_a_damaged_archive_is_refused_or_read_but_never_a_traceback(archive: Path) -> None:
    content, generator, refused = archive.read_bytes(), np.random.default_rng(0), []
    directory = content.index(b"PK\x01\x02")
    for k in range(200):
        damaged = bytearray(content[: int(generator.integers(len(content)))] if k < 50 else content)
        if k >= 50:
            damaged[int(generator.integers(directory, len(content)))] ^= 1 << int(
                generator.integers(8)
            )
        archive.write_bytes(damaged)
        try:
            DATASET.inventory(archive)
            prepared(archive)
        except ReplicateError as error:
            refused.append(str(error))
    assert len(refused) > 50
    assert all(len(message.splitlines()) == 1 for message in refused)


def test_another_file_than_an_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"<html>")
    assert "is not a whole zip archive of images" in refusal(tmp_path / "x.zip")


@pytest.fixture(scope="session")
def real() -> Path:
    named = os.environ.get("REPLICATE_TEST_IMAGES")
    if not named or not Path(named).exists():
        pytest.skip(
            "needs a folder or zip archive of CIFAR-10 images: set REPLICATE_TEST_IMAGES to it"
        )
    return Path(named)


def slow_png(content: bytes) -> np.ndarray:
    """The pixels (height, width, 3) of an 8-bit RGB PNG without interlacing, by its specification
    (ISO/IEC 15948).
    """
    place, packed, width, height = 8, b"", 0, 0
    while place < len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        chunk = content[place + 8 : place + 8 + length]
        if kind == b"IHDR":
            width, height, *rest = struct.unpack(">IIBBBBB", chunk)
            assert rest == [8, 2, 0, 0, 0]
        packed += chunk if kind == b"IDAT" else b""
        place += 12 + length
    raw, above, rows = zlib.decompress(packed), [0] * (3 * width), []
    for row in range(height):
        start = row * (3 * width + 1)
        line = list(raw[start + 1 : start + 1 + 3 * width])
        for k in range(3 * width):
            left, up, corner = (
                (line[k - 3] if k > 2 else 0),
                above[k],
                (above[k - 3] if k > 2 else 0),
            )
            nearest = min((left, up, corner), key=lambda v: abs(left + up - corner - v))
            line[k] = (line[k] + (0, left, up, (left + up) // 2, nearest)[raw[start]]) % 256
        rows.append(line)
        above = line
    return np.array(rows, np.uint8).reshape(height, width, 3)


@pytest.mark.slow
def test_real_images(real: Path) -> None:
    """18,000 + 2,000 images of CIFAR-10, 10 classes: counts, stratified cut, and pixels by another
    reader.
    """
    splits = DATASET.prepare({real.name: real}, ImagesConfig())
    assert [splits.images[split].shape for split in SPLITS] == [
        (n, 3, 32, 32) for n in (15_000, 3_000, 2_000)
    ]
    assert np.bincount(splits.labels["valid"]).tolist() == [300] * 10
    assert splits.images["test"].dtype == np.uint8
    with opened(real, is_split) as files:
        names = [name for name in files.sizes if name.startswith("test/")][::37]
        read = [slow_png(files.read(name)) for name in names]
    there = {
        np.ascontiguousarray(image.transpose(1, 2, 0)).tobytes() for image in splits.images["test"]
    }
    assert len(read) > 50
    assert all(image.tobytes() in there for image in read)
