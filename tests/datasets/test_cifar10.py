"""CIFAR-10: the archive's members, the contrast normalisation, and archives that are not what they
say.
"""

import gzip
import io
import math
import tarfile
from pathlib import Path

import numpy as np
import pytest

from replicate.datasets import UNBOUNDED, cifar10
from replicate.datasets.base import Splits
from replicate.datasets.cifar10 import DATASET, TEST, TRAINING, Cifar10Config, contrast_normalised
from replicate.errors import ReplicateError
from tests.datasets.data_helpers import cifar_members, tar_gz, tiny_cifar

FILE = "cifar-10-binary.tar.gz"


def prepared(path: Path) -> Splits:
    return DATASET.prepare({FILE: path}, Cifar10Config())


def slow_normalised(values: list[int]) -> list[float]:
    """Global contrast normalisation of one image, number by number."""
    mean = math.fsum(values) / len(values)
    norm = math.sqrt(math.fsum((value - mean) ** 2 for value in values))
    return [55 * (value - mean) / norm for value in values]


def test_records_become_images_in_the_files_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    members = tiny_cifar(monkeypatch, tmp_path)
    splits = prepared(tmp_path / FILE)
    records = b"".join(members[name] for name in TRAINING)
    assert {split: images.shape for split, images in splits.images.items()} == {
        "train": (40, 3, 32, 32),
        "valid": (10, 3, 32, 32),
        "test": (10, 3, 32, 32),
    }
    assert splits.images["train"].dtype == np.float32
    for split, row, source in (
        ("train", 0, records[:3073]),
        ("train", 39, records[39 * 3073 : 40 * 3073]),
        ("valid", 0, records[40 * 3073 : 41 * 3073]),
        ("test", 9, members[TEST][9 * 3073 :]),
    ):
        assert splits.labels[split][row] == source[0]
        np.testing.assert_allclose(
            splits.flat(split)[row], slow_normalised(list(source[1:])), rtol=2e-7, atol=1e-7
        )


def test_the_planes_are_red_green_and_blue_by_rows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One pixel of one plane is bright: byte 1 + 1024 of a record is green, row 0, column 0; the
    next is column 1.
    """
    members = {name: bytes(10 * 3073) for name in (*TRAINING, TEST)}
    image = bytearray(3073)
    image[1 + 1024 + 1] = 255
    members[TEST] = bytes(image) * 10
    tiny_cifar(monkeypatch, tmp_path)
    (tmp_path / FILE).write_bytes(tar_gz(members))
    place = np.unravel_index(prepared(tmp_path / FILE).images["test"][0].argmax(), (3, 32, 32))
    assert place == (1, 0, 1)


def test_every_image_has_mean_zero_and_norm_55() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 3072), dtype=np.uint8)
    normalised = contrast_normalised(pixels).astype(np.float64)
    np.testing.assert_allclose(normalised.mean(axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(normalised, axis=1), 55, rtol=1e-6)


@pytest.mark.parametrize("value", [0, 1, 77, 255])
def test_a_constant_image_becomes_zeros(value: int) -> None:
    assert not contrast_normalised(np.full((2, 3072), value, np.uint8)).any()


def test_the_largest_possible_value_lies_inside_the_declared_range() -> None:
    pixels = np.zeros((2, 3072), np.uint8)
    pixels[0, 0], pixels[1, 1:] = 255, 255
    normalised = contrast_normalised(pixels)
    largest = 55 * math.sqrt(3071 / 3072)  # one pixel apart from all the others
    np.testing.assert_allclose([normalised.max(), normalised.min()], [largest, -largest], rtol=1e-6)
    assert np.abs(normalised).max() < cifar10.SCALE


def test_its_space_is_declared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tiny_cifar(monkeypatch, tmp_path)
    splits = prepared(tmp_path / FILE)
    assert (splits.value_range, splits.divisor, splits.display) == ((-55.0, 55.0), 1.0, "largest")
    assert "cifar10" in UNBOUNDED


def test_the_pinned_file() -> None:
    """Size and digests of the original archive, as published by those who mirror it."""
    (source,) = DATASET.sources
    assert (source.name, source.size) == (FILE, 170_052_171)
    assert source.sha256 == "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
    assert source.addresses[0] == "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
    assert all(
        address.startswith("https://") and address.endswith(FILE) for address in source.addresses
    )
    assert (DATASET.image_shape, DATASET.train_count) == ((3, 32, 32), 40_000)
    assert cifar10.RECORD * cifar10.RECORDS == 30_730_000


def header(name: str, kind: bytes, target: str = "", size: int = 0) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.size = kind, target, size
    return entry


GOOD = cifar_members()
FIRST = TRAINING[0]
WITHOUT = {name: content for name, content in GOOD.items() if name != FIRST}
BAD: dict[str, tuple[bytes, str]] = {
    "a member is missing": (tar_gz(WITHOUT), f"has no whole {FIRST}"),
    "a member is short": (
        tar_gz(GOOD | {FIRST: GOOD[FIRST][:-1]}),
        "as a plain file of 30729 bytes instead of",
    ),
    "a member is long": (
        tar_gz(GOOD | {FIRST: GOOD[FIRST] + b"x"}),
        "as a plain file of 30731 bytes instead of",
    ),
    "a symlink": (
        tar_gz({FIRST: header(FIRST, tarfile.SYMTYPE, "/etc/passwd")} | WITHOUT),
        "something else than",
    ),
    "a symlink of the right size": (
        tar_gz({FIRST: header(FIRST, tarfile.SYMTYPE, TEST, 30730)} | WITHOUT),
        "something else than",
    ),
    "a hard link": (
        tar_gz(WITHOUT | {FIRST: header(FIRST, tarfile.LNKTYPE, TEST)}),
        "something else than",
    ),
    "a folder": (tar_gz({FIRST: header(FIRST, tarfile.DIRTYPE)} | WITHOUT), "something else than"),
    "a device": (tar_gz({FIRST: header(FIRST, tarfile.CHRTYPE)} | WITHOUT), "something else than"),
    "an absolute name": (tar_gz(WITHOUT | {"/" + FIRST: GOOD[FIRST]}), f"has no whole {FIRST}"),
    "a name that climbs": (tar_gz(WITHOUT | {"../" + FIRST: GOOD[FIRST]}), f"has no whole {FIRST}"),
    "a name with a dot": (tar_gz(WITHOUT | {"./" + FIRST: GOOD[FIRST]}), f"has no whole {FIRST}"),
    "another case": (tar_gz(WITHOUT | {FIRST.upper(): GOOD[FIRST]}), f"has no whole {FIRST}"),
    "a class of 10": (
        tar_gz(GOOD | {FIRST: b"\x0a" + GOOD[FIRST][1:]}),
        "has a class of 10; classes are 0 to 9",
    ),
    "cut short": (tar_gz(GOOD)[:-5000], "is not a whole .tar.gz file"),
    "only half of it": (tar_gz(GOOD)[:100_000], "is not a whole .tar.gz file"),
    "no gzip": (gzip.decompress(tar_gz(GOOD)), "is not a whole .tar.gz file"),
    "no tar": (gzip.compress(b"<html>503</html>" * 100), "is not a whole .tar.gz file"),
    "empty": (b"", "is not a whole .tar.gz file"),
    "an empty archive": (tar_gz({}), f"has no whole {FIRST}"),
}


def refusal(path: Path) -> str:
    with pytest.raises(ReplicateError) as caught:
        prepared(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert len(message.splitlines()) == 1
    assert "run `python -m replicate fetch --dataset cifar10`, which keeps it aside" in message
    return message


@pytest.mark.parametrize("name", BAD)
def test_another_archive_is_refused_and_nothing_is_extracted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    content, words = BAD[name]
    tiny_cifar(monkeypatch, tmp_path)
    (tmp_path / FILE).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    assert words in refusal(tmp_path / FILE)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_a_member_that_comes_twice_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tiny_cifar(monkeypatch, tmp_path)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in [*GOOD.items(), (FIRST, GOOD[TEST])]:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    (tmp_path / FILE).write_bytes(stream.getvalue())
    assert f"has {FIRST} twice" in refusal(tmp_path / FILE)


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_bomb_is_unpacked_to_the_limit_and_no_further(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: bytes
) -> None:
    """A member, or a header that tarfile reads into memory, of 1 GB of zeros in an archive of 20 MB
    at most.
    """
    tiny_cifar(monkeypatch, tmp_path)
    monkeypatch.setattr(cifar10, "LIMIT", 1_000_000)
    bomb = header("bomb", kind, size=1_000_000_000)
    content = gzip.compress(bomb.tobuf(tarfile.GNU_FORMAT) + bytes(20_000_000))
    (tmp_path / FILE).write_bytes(content)
    taken: list[int] = []
    read = gzip.GzipFile.read
    monkeypatch.setattr(
        gzip.GzipFile, "read", lambda self, n=-1: (taken.append(n), read(self, n))[1]
    )
    assert "it unpacks to more than 1000000 bytes" in refusal(tmp_path / FILE)
    assert sum(taken) < 1_100_000


def test_a_folder_in_the_place_of_the_archive_is_named(tmp_path: Path) -> None:
    assert "is not a whole .tar.gz file" in refusal(tmp_path)
