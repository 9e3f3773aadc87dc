"""An evaluation in parts: the same result as in one go, and no result from parts that do not belong
together.
"""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from replicate.__main__ import main
from replicate.datasets.base import Splits
from replicate.errors import ReplicateError
from replicate.likelihood import parzen
from replicate.likelihood.shards import Part, Shard
from replicate.storage.files import read_json, read_tensors, write_tensors

COUNT, SEEDS, DRAWS = 650, 3, 2


class Run:
    """Small samples of three seeds, the last of which failed, and data with two folds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.samples, self.data = folder / "samples.safetensors", folder / "data.safetensors"
        self.bandwidth, self.plain = folder / "bandwidth.json", folder / "plain.json"

    def words(self, *more: object) -> list[str]:
        given = {"--samples": self.samples, "--bandwidth": self.bandwidth, "--data": self.data}
        return [
            "evaluate",
            *(str(word) for pair in given.items() for word in pair),
            *map(str, more),
        ]

    def parts(self, folder: Path, total: int) -> list[Path]:
        """Every part, computed as on one of many machines."""
        paths = [folder / f"part-{number}.safetensors" for number in range(1, total + 1)]
        for number, path in enumerate(paths, 1):
            assert main(self.words("--shard", f"{number}/{total}", "--out", path)) == 0
        return paths

    def merge(self, out: Path, paths: list[Path]) -> int:
        return main(self.words("--merge", *paths, "--out", out))


def _write_samples(path: Path, seed: int, failing: tuple[int, ...] = (2,)) -> None:
    images = np.random.default_rng(seed).random((SEEDS, DRAWS, COUNT, 16), dtype=np.float32)
    failed = {str(one): {"epoch": 1, "reason": "the loss is not a number"} for one in failing}
    about = {
        "dataset": "digits",
        "model": "vae",
        "block": "0-2",
        "seeds": [0, 1, 2],
        "failed": failed,
        "chains": None,
    }
    write_tensors(path, {"samples": images}, {"about": json.dumps(about)})


def _write_data(path: Path, seed: int) -> None:
    generator = np.random.default_rng(seed)
    pools = {
        name: generator.random((60, 1, 4, 4), dtype=np.float32) for name in ("train", "labelled")
    }
    folds = []
    for _ in range(2):
        rows = generator.permutation(60)
        folds.append({"train": rows[:10], "valid": rows[10:25], "test": rows[25:]})
    Splits(pools, folds=folds).write(path)


@pytest.fixture(autouse=True)
def blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """650 samples are seven blocks."""
    monkeypatch.setattr(parzen, "SAMPLES", 100)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that was evaluated in one go."""
    run = Run(tmp_path_factory.mktemp("shards"))
    _write_samples(run.samples, 0)
    _write_data(run.data, 1)
    words = ["bandwidth", "--samples", run.samples, "--data", run.data, "--out", run.bandwidth]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parzen, "SAMPLES", 100)
        assert main([str(word) for word in words]) == 0
        assert main(run.words("--out", run.plain)) == 0
    return run


@pytest.fixture(scope="module")
def seven(evaluated: Run) -> list[Path]:
    """Seven parts, not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parzen, "SAMPLES", 100)
        return evaluated.parts(evaluated.folder, 7)


def _flat(value: Any, where: str = "") -> dict[str, Any]:
    """Every leaf of a JSON value by its path."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        return {
            path: leaf
            for key, entry in pairs
            for path, leaf in _flat(entry, f"{where}/{key}").items()
        }
    return {where: value}


def _same(one: Path, other: Path) -> None:
    """Two evaluations say the same: numbers to 1e-12, all else exactly."""
    first, second = _flat(read_json(one)), _flat(read_json(other))
    assert first.keys() == second.keys()
    for path, value in first.items():
        assert second[path] == (
            pytest.approx(value, rel=1e-12) if isinstance(value, float) else value
        ), path
    images, others = (read_tensors(path.with_suffix(".safetensors"))[0] for path in (one, other))
    assert images.keys() == others.keys() == {"fold0", "fold1"}
    for name, values in images.items():
        np.testing.assert_allclose(others[name], values, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize(
    "total", [3, pytest.param(2, marks=pytest.mark.slow), pytest.param(9, marks=pytest.mark.slow)]
)
def test_any_number_of_parts_gives_the_result_of_one_go(
    evaluated: Run, tmp_path: Path, total: int
) -> None:
    """Also nine of seven blocks, so that two parts are empty."""
    paths = evaluated.parts(tmp_path, total)
    assert sum(Part.read(path).about["count"] for path in paths) == COUNT
    assert evaluated.merge(tmp_path / "e.json", paths) == 0
    _same(evaluated.plain, tmp_path / "e.json")
    assert (tmp_path / "e.run.json").is_file()


def test_one_part_gives_the_same_bytes(evaluated: Run, tmp_path: Path) -> None:
    assert evaluated.merge(tmp_path / "e.json", evaluated.parts(tmp_path, 1)) == 0
    for suffix in (".json", ".safetensors"):
        assert (tmp_path / "e.json").with_suffix(
            suffix
        ).read_bytes() == evaluated.plain.with_suffix(suffix).read_bytes()


def test_parts_of_seeds_that_all_failed_give_what_one_go_gives(tmp_path: Path) -> None:
    run = Run(tmp_path)
    _write_samples(run.samples, 0, failing=(0, 1, 2))
    _write_data(run.data, 1)
    words = ["bandwidth", "--samples", run.samples, "--data", run.data, "--out", run.bandwidth]
    assert main([str(word) for word in words]) == 0
    assert main(run.words("--out", run.plain)) == 0
    assert run.merge(tmp_path / "e.json", run.parts(tmp_path, 2)) == 0
    assert (tmp_path / "e.json").read_bytes() == run.plain.read_bytes()


def test_parts_are_added_in_their_own_order_whatever_that_of_the_files(
    evaluated: Run, seven: list[Path], tmp_path: Path
) -> None:
    assert evaluated.merge(tmp_path / "a.json", seven) == 0
    assert evaluated.merge(tmp_path / "b.json", seven[3:] + seven[2::-1]) == 0
    _same(evaluated.plain, tmp_path / "a.json")
    for suffix in (".json", ".safetensors"):
        one, other = (tmp_path / f"{name}{suffix}" for name in "ab")
        assert one.read_bytes() == other.read_bytes()


def test_a_part_says_what_it_is(evaluated: Run, seven: list[Path]) -> None:
    part, plain = Part.read(seven[6]), read_json(evaluated.plain)
    assert part.shard == Shard(7, 7)
    assert part.about["count"] == 50
    for name in ("schema", "code", "inputs", "parameters"):
        assert part.about[name] == plain[name]
    assert part.sums.keys() == {
        (seed, draw, fold) for seed in (0, 1) for draw in (0, 1) for fold in (0, 1)
    }
    chosen = plain["per_seed"][1]["draws"][0]["folds"][1]
    assert part.about["sigmas"]["1.0.1"] == [chosen["sigma"], chosen["fine_sigma"]]
    assert seven[6].with_suffix(".run.json").is_file()


@pytest.mark.parametrize("total", [1, 2, 5, 7, 8, 40])
@pytest.mark.parametrize("count", [1, 99, 100, 101, 650, 10_000])
def test_parts_cover_every_sample_once_and_are_as_equal_as_blocks_allow(
    total: int, count: int
) -> None:
    rows = [Shard(number, total).rows(count) for number in range(1, total + 1)]
    assert [row for part in rows for row in range(count)[part]] == list(range(count))
    assert all(part.start % 100 == 0 or part.start == part.stop for part in rows)
    sizes = [-(-(part.stop - part.start) // 100) for part in rows]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    "words", ["0/7", "8/7", "a/b", "7", "2/", "-1/7", "1/0", "2 / 7", "\u0662/7", ""]
)
def test_words_that_name_no_part_are_refused(
    evaluated: Run, tmp_path: Path, words: str, capsys: Any
) -> None:
    out = tmp_path / "p.safetensors"
    assert main(evaluated.words(f"--shard={words}", "--out", out)) == 2
    assert f"--shard {words}: write K/N with K from 1 to N" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_part_is_not_written_under_the_name_of_a_result(
    evaluated: Run, tmp_path: Path, capsys: Any
) -> None:
    assert main(evaluated.words("--shard", "1/7", "--out", tmp_path / "e.json")) == 2
    assert "the name of a part must end in .safetensors" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def _refused(run: Run, folder: Path, paths: list[Path], capsys: Any) -> str:
    """The sentence with which parts are refused; nothing is written."""
    capsys.readouterr()
    out = folder / "refused" / "e.json"
    assert run.merge(out, paths) == 2
    assert not out.parent.exists()
    (sentence,) = capsys.readouterr().err.strip().splitlines()
    return str(sentence)


def test_missing_and_doubled_parts_are_named(
    evaluated: Run, seven: list[Path], tmp_path: Path, capsys: Any
) -> None:
    sentence = _refused(evaluated, tmp_path, [*seven[:2], *seven[3:6]], capsys)
    assert "2 of 7 parts are not given: 3/7, 7/7;" in sentence
    copy = Path(shutil.copy(seven[1], tmp_path / "copy.safetensors"))
    assert f"{seven[1]} and {copy} are both part 2/7;" in _refused(
        evaluated, tmp_path, [*seven, copy], capsys
    )
    assert "does not exist" in _refused(
        evaluated, tmp_path, [*seven[:6], tmp_path / "none.safetensors"], capsys
    )


def test_parts_of_another_cut_are_refused(
    evaluated: Run, seven: list[Path], tmp_path: Path, capsys: Any
) -> None:
    other = evaluated.parts(tmp_path, 2)[1]
    assert f"{other} is part 2/2, but {seven[0]} is part 1/7;" in _refused(
        evaluated, tmp_path, [seven[0], other], capsys
    )


@pytest.mark.parametrize("name", ["samples", "bandwidth", "data"])
def test_parts_of_another_evaluation_are_refused(
    evaluated: Run, seven: list[Path], tmp_path: Path, name: str, capsys: Any
) -> None:
    """What is merged was evaluated on other files than those that are given now."""
    other = Run(tmp_path / "other")
    shutil.copytree(evaluated.folder, other.folder)
    if name == "data":
        _write_data(other.data, 5)
    else:
        if name == "samples":
            _write_samples(other.samples, 5)
        words = [
            "bandwidth",
            "--samples",
            other.samples,
            "--data",
            other.data,
            "--out",
            other.bandwidth,
        ]
        sigmas = '{"likelihood": {"sigmas": [0.3, 0.4]}}'
        assert main([*map(str, words), "--params", sigmas]) == 0
    sentence = _refused(other, tmp_path, seven, capsys)
    assert f"{seven[0]} was computed with another file as --{name};" in sentence
    assert "--shard 1/7" in sentence


def test_parts_of_other_code_are_refused(
    evaluated: Run, seven: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr("replicate.jobs.subject.code_digest", lambda _: "0" * 16)
    assert "was computed by another version of this project;" in _refused(
        evaluated, tmp_path, seven, capsys
    )


def test_damaged_parts_and_other_files_are_refused(
    evaluated: Run, seven: list[Path], tmp_path: Path, capsys: Any
) -> None:
    content, damaged = seven[1].read_bytes(), tmp_path / "damaged.safetensors"
    parts = [seven[0], damaged, *seven[2:]]
    damaged.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert f"{damaged} is damaged: it does not match its SHA-256;" in _refused(
        evaluated, tmp_path, parts, capsys
    )
    for length in (0, 7, 100, len(content) // 2, len(content) - 1):
        damaged.write_bytes(content[:length])
        assert f"{damaged} is not a whole safetensors file" in _refused(
            evaluated, tmp_path, parts, capsys
        )
    for file in (evaluated.samples, evaluated.plain.with_suffix(".safetensors")):
        assert f"{file} is no part of an evaluation;" in _refused(
            evaluated, tmp_path, [file], capsys
        )


def test_flipped_bits_are_seen_wherever_they_are(seven: list[Path], tmp_path: Path) -> None:
    content, path = seven[6].read_bytes(), tmp_path / "p.safetensors"
    header = 8 + int.from_bytes(content[:8], "little")
    generator = random.Random(0)
    for place in [
        *generator.sample(range(header), 300),
        *generator.sample(range(header, len(content)), 100),
    ]:
        path.write_bytes(
            content[:place]
            + bytes([content[place] ^ 1 << generator.randrange(8)])
            + content[place + 1 :]
        )
        with pytest.raises(ReplicateError):
            Part.read(path)
