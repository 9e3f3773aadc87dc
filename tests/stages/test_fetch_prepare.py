"""The stages `fetch` and `prepare`, from the command line to the bytes of their files."""

import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors import safe_open

import replicate
from replicate.__main__ import main
from replicate.datasets import digits, mnist
from replicate.datasets.base import SPLITS, Splits
from replicate.jobs.plan import Plan
from replicate.jobs.subject import Subject
from replicate.records.run_record import StageMeter
from replicate.storage.files import sha256_file
from tests.datasets.data_helpers import (
    clean_environment,
    tiny_cifar,
    tiny_mnist,
    write_faces,
    write_images,
)

ROOT = Path(replicate.__file__).parents[1]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    clean_environment(monkeypatch)


def run(*words: object) -> int:
    return main([str(word) for word in words])


def prepared(folder: Path, *words: object, name: str = "digits") -> Path:
    out = folder / f"{name}.safetensors"
    assert (
        run("fetch", "--dataset", name, "--data-dir", folder / "raw", "--out", folder / "m.json")
        == 0
    )
    assert prepare(folder, out, *words, name=name) == 0
    return out


def prepare(folder: Path, out: Path, *words: object, name: str = "digits") -> int:
    manifest = folder / "m.json"
    return run(
        "prepare",
        "--dataset",
        name,
        "--data-dir",
        folder / "raw",
        "--manifest",
        manifest,
        "--out",
        out,
        *words,
    )


def test_the_files_of_digits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = prepared(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "digits.json",
        "digits.run.json",
        "digits.safetensors",
        "m.json",
        "m.run.json",
    ]
    described = json.loads((tmp_path / "digits.json").read_text())
    assert described["counts"] == {"train": 1283, "valid": 257, "test": 257}
    assert (described["dataset"], described["title"], described["stage"]) == (
        "digits",
        "Digits",
        "prepare",
    )
    assert (described["shape"], described["value_range"]) == ([1, 8, 8], [0.0, 1.0])
    assert described["parameters"] == {"datasets": {"digits": {"split_seed": 0}}}
    assert described["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert (
        described["inputs"]["manifest"]
        == hashlib.sha256((tmp_path / "m.json").read_bytes()).hexdigest()
    )
    assert described["inputs"]["digits.csv.gz"] == described["sources"][0]["sha256"]
    record = json.loads((tmp_path / "digits.run.json").read_text())
    assert (record["stage"], record["result"]) == ("prepare", "digits.json")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2, "a stage prints one line of result"
    assert lines[1].startswith("prepare digits: 1283 train, 257 valid, 257 test images of 1x8x8")


def test_the_tensors_are_those_of_the_data_set(tmp_path: Path) -> None:
    out = prepared(tmp_path, "--params", '{"datasets": {"digits": {"split_seed": 5}}}')
    expected = digits.DATASET.prepare({}, digits.DigitsConfig(split_seed=5))
    read = Splits.read(out)
    for split in SPLITS:
        assert np.array_equal(read.images[split], expected.images[split])
        assert np.array_equal(read.labels[split], expected.labels[split])
    assert (read.divisor, read.value_range) == (16.0, (0.0, 1.0))
    with safe_open(out, framework="np") as stream:
        assert stream.metadata() == {"divisor": "16.0", "low": "0.0", "high": "1.0"}
        assert set(stream.keys()) == {*SPLITS, *(f"{split}_labels" for split in SPLITS)}
    assert stat.S_IMODE(out.stat().st_mode) == 0o644


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    """Eight times, since safetensors left to itself orders its metadata at random."""
    names = ("m.json", "digits.json", "digits.safetensors")
    outcomes = set()
    for k in range(8):
        folder = tmp_path / str(k)
        prepared(folder)
        outcomes.add(tuple((folder / name).read_bytes() for name in names))
    assert len(outcomes) == 1


def test_a_manifest_names_no_path_of_this_machine(tmp_path: Path) -> None:
    prepared(tmp_path)
    for name in ("m.json", "digits.json"):
        text = (tmp_path / name).read_text()
        assert str(tmp_path) not in text
        assert sys.prefix not in text
    manifest = json.loads((tmp_path / "m.json").read_text())
    assert manifest["sources"] == [
        {
            "name": "digits.csv.gz",
            "size": 57523,
            "sha256": "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22",
        }
    ]


def test_the_code_digest_is_the_plans(tmp_path: Path) -> None:
    prepared(tmp_path)
    plan = Plan({"datasets": {"digits": {}}, "models": {"adversarial_nets": {"digits": {}}}})
    assert json.loads((tmp_path / "m.json").read_text())["code"] == plan.rerun_key(
        "fetch", Subject(dataset="digits")
    )
    assert json.loads((tmp_path / "digits.json").read_text())["code"] == plan.rerun_key(
        "prepare", Subject(dataset="digits")
    )


def test_options_may_come_from_a_file_of_a_whole_run(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("datasets: {digits: {split_seed: 3}, mnist: }\nseeds: [0-1]\n")
    prepared(tmp_path, "--params", params)
    described = json.loads((tmp_path / "digits.json").read_text())
    assert described["parameters"] == {"datasets": {"digits": {"split_seed": 3}}}


def test_mnist_from_a_file_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_mnist(monkeypatch, tmp_path / "usb")
    monkeypatch.setenv("REPLICATE_DATA", str(tmp_path / "raw"))
    usb = (tmp_path / "usb").as_uri()
    assert (
        run(
            "fetch",
            "--dataset",
            "mnist",
            "--out",
            tmp_path / "m.json",
            "--mirror",
            usb,
            "--offline",
        )
        == 0
    )
    raw = tmp_path / "raw" / "mnist"
    assert sorted(path.name for path in raw.iterdir()) == [
        ".lock",
        *sorted(s.name for s in mnist.DATASET.sources),
    ]
    out = tmp_path / "x.safetensors"
    assert (
        run("prepare", "--dataset", "mnist", "--manifest", tmp_path / "m.json", "--out", out) == 0
    )
    assert Splits.read(out).images["train"].shape == (50, 1, 28, 28)
    described = json.loads((tmp_path / "x.json").read_text())
    assert described["counts"] == {"train": 50, "valid": 10, "test": 10}
    assert set(described["inputs"]) == {
        "manifest",
        *(source.name for source in mnist.DATASET.sources),
    }


def test_faces_that_the_user_brought(tmp_path: Path) -> None:
    write_faces(tmp_path / "raw" / "tfd" / "TFD_48x48.mat")
    out = prepared(tmp_path, name="tfd")
    manifest, described = (
        json.loads((tmp_path / name).read_text()) for name in ("m.json", "tfd.json")
    )
    content = (tmp_path / "raw" / "tfd" / "TFD_48x48.mat").read_bytes()
    entry = {
        "name": "TFD_48x48.mat",
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    assert manifest["sources"] == described["sources"] == [entry]
    assert manifest["inputs"] == {"TFD_48x48.mat": entry["sha256"]}
    assert set(described["inputs"]) == {"manifest", "TFD_48x48.mat"}
    assert described["counts"] == {"train": 7, "labelled": 20}
    assert described["folds"] == [{"train": 14, "valid": 2, "test": 4}] * 5
    read = Splits.read(out)
    assert (read.fold_count, read.whole_validation, read.shape) == (5, True, (1, 48, 48))


def test_a_folder_of_images_leaves_no_path_in_any_result(tmp_path: Path) -> None:
    write_images(tmp_path / "photos", [f"c{k % 2}/{k}.png" for k in range(28)])
    params = json.dumps({"datasets": {"images": {"folder": str(tmp_path / "photos"), "size": 8}}})
    manifest, out = tmp_path / "m.json", tmp_path / "x.safetensors"
    assert run("fetch", "--dataset", "images", "--params", params, "--out", manifest) == 0
    assert (
        run(
            "prepare",
            "--dataset",
            "images",
            "--params",
            params,
            "--manifest",
            manifest,
            "--out",
            out,
        )
        == 0
    )
    described = json.loads((tmp_path / "x.json").read_text())
    assert described["counts"] == {"train": 20, "valid": 4, "test": 4}
    assert described["parameters"]["datasets"]["images"] == {
        "size": 8, "grayscale": False, "crop": "centre", "split_seed": 0,
    }  # fmt: skip
    assert described["sources"][0]["files"] == 28
    assert str(tmp_path) not in manifest.read_text() + (tmp_path / "x.json").read_text()


def test_a_folder_of_the_name_of_another_input_replaces_none(tmp_path: Path) -> None:
    write_images(tmp_path / "manifest", [f"{k}.png" for k in range(14)])
    params = json.dumps({"datasets": {"images": {"folder": str(tmp_path / "manifest"), "size": 8}}})
    manifest, out = tmp_path / "m.json", tmp_path / "x.safetensors"
    assert run("fetch", "--dataset", "images", "--params", params, "--out", manifest) == 0
    assert (
        run(
            "prepare",
            "--dataset",
            "images",
            "--params",
            params,
            "--manifest",
            manifest,
            "--out",
            out,
        )
        == 0
    )
    (source,) = json.loads(manifest.read_text())["sources"]
    inputs = json.loads((tmp_path / "x.json").read_text())["inputs"]
    assert inputs == {"manifest": sha256_file(manifest), "data/manifest": source["sha256"]}


def test_cifar_is_stored_in_its_own_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_cifar(monkeypatch, tmp_path / "raw" / "cifar10")
    read = Splits.read(prepared(tmp_path, name="cifar10"))
    assert read.images["train"].dtype == np.float32
    assert (read.value_range, read.display) == ((-55.0, 55.0), "largest")
    assert json.loads((tmp_path / "cifar10.json").read_text())["counts"] == {
        "train": 40,
        "valid": 10,
        "test": 10,
    }


@pytest.mark.parametrize(("name", "file"), [("tfd", "TFD_48x48.mat"), ("images", "images")])
def test_data_that_nobody_brought_end_fetch_with_the_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, file: str
) -> None:
    assert (
        run("fetch", "--dataset", name, "--data-dir", tmp_path, "--out", tmp_path / "m.json") == 2
    )
    message = capsys.readouterr().err
    assert f"{name} needs " in message
    assert f"{tmp_path / name}{'/' + file if name == 'tfd' else ''} is missing; " in message
    assert len(message.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ('{"datasets": {"digits": {"split_seed": -1}}}', "datasets.digits.split_seed: "),
        ('{"datasets": {"digits": {"seed": 1}}}', "datasets.digits.seed: unknown key"),
        ('{"data": {}}', "data: unknown key"),
        ("nowhere.yaml", "nowhere.yaml does not exist"),
    ],
)
def test_wrong_parameters_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], params: str, message: str
) -> None:
    prepared(tmp_path)
    assert prepare(tmp_path, tmp_path / "y.safetensors", "--params", params) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("y*"))


def test_an_unknown_data_set_lists_the_known_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("fetch", "--dataset", "mnits", "--out", tmp_path / "m.json") == 2
    assert (
        "there is no data set 'mnits'; the registered ones are digits, mnist"
        in capsys.readouterr().err
    )


def test_out_must_be_a_tensor_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepared(tmp_path)
    assert prepare(tmp_path, tmp_path / "y.json") == 2
    assert "the name must end in .safetensors" in capsys.readouterr().err


def _images(value: float, dtype: type = np.float32) -> dict[str, np.ndarray]:
    return {split: np.full((2, 1, 2, 2), value, dtype) for split in SPLITS}


BROKEN = {
    "not finite": (Splits(_images(np.nan)), "some pixels are not finite"),
    "infinite": (Splits(_images(np.inf)), "some pixels are not finite"),
    "too high": (Splits(_images(1.001)), "outside the data set's range of 0.0 to 1.0"),
    "too low": (Splits(_images(-0.001)), "outside the data set's range of 0.0 to 1.0"),
    "over the divisor": (
        Splits(_images(17, np.uint8), divisor=16.0),
        "pixels from 1.0625 to 1.0625",
    ),
    "doubles": (
        Splits(_images(0.5, np.float64)),
        "float64 (2, 1, 2, 2) instead of uint8 or float32",
    ),
    "flat": (
        Splits(_images(0.5) | {"test": np.zeros((2, 4), np.float32)}),
        "test: float32 (2, 4) instead of uint8 or float32, (n, c, h, w)",
    ),
    "two shapes": (
        Splits(_images(0.5) | {"valid": np.zeros((2, 1, 2, 3), np.float32)}),
        "valid: images of (1, 2, 3) beside training images of (1, 2, 2)",
    ),
    "empty": (
        Splits(_images(0.5) | {"test": np.zeros((0, 1, 2, 2), np.float32)}),
        "test: 0 images",
    ),
    "a fold's pool too high": (
        Splits(
            {
                "train": np.zeros((2, 1, 2, 2), np.float32),
                "labelled": np.full((2, 1, 2, 2), 2, np.float32),
            }
        ),
        "labelled: pixels from 2.0 to 2.0",
    ),
    "labels short": (Splits(_images(0.5), {"train": np.zeros(1, np.int64)}), "train: 2 images"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_images_are_refused_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    prepared(tmp_path)
    splits, message = BROKEN[name]
    monkeypatch.setattr(digits.Digits, "prepare", lambda self, files, config: splits)
    assert prepare(tmp_path, tmp_path / "y.safetensors") == 2
    assert message in capsys.readouterr().err
    assert not [path for path in tmp_path.iterdir() if "y" in path.name]


def test_sound_images_of_the_same_kind_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control for the test above: the ends of the range are inside it, and labels are
    optional.
    """
    splits = Splits(_images(1.0) | {"test": np.zeros((2, 1, 2, 2), np.float32)})
    monkeypatch.setattr(digits.Digits, "prepare", lambda self, files, config: splits)
    out = prepared(tmp_path)
    assert Splits.read(out).labels == {}


def test_all_files_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last thing that is written fails; the earlier result stays whole and no part is left."""
    out = prepared(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}

    def fail(self: StageMeter, result: Path, **facts: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(StageMeter, "write", fail)
    assert prepare(tmp_path, out, "--params", '{"datasets": {"digits": {"split_seed": 1}}}') == 2
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


@pytest.mark.parametrize("stage", ["fetch", "prepare"])
def test_help_teaches(stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(stage, "--help")
    assert caught.value.code == 0
    assert f"python -m replicate {stage} --dataset" in capsys.readouterr().out


def test_the_documents_run_of_photographs_is_a_plan(tmp_path: Path) -> None:
    """Its parameters, with the reader's folder in them, plan both of its models."""
    page = (ROOT / "docs" / "adding-a-dataset.md").read_text()
    (text,) = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    folder = tmp_path / "photos"
    write_images(folder, ["a.png", "b.png"])
    values = yaml.safe_load(text.replace("/media/usb/photos", str(folder)))
    runs = Plan(values).params.runs
    assert {run[:2] for run in runs} == {("images", "vae"), ("images", "true_distribution")}


def test_the_documents_example_works(tmp_path: Path) -> None:
    """A reader's steps: save the file, add the registry line, run both commands."""
    page = (ROOT / "docs" / "adding-a-dataset.md").read_text()
    module, line = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    package = tmp_path / "replicate"
    shutil.copytree(ROOT / "replicate", package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "datasets" / "flower.py").write_text(module)
    registry = package / "datasets" / "__init__.py"
    registry.write_text(registry.read_text().replace('    "digits":', f'{line}    "digits":', 1))
    commands = re.findall(r"^python -m replicate (.*)$", page, flags=re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        words = [sys.executable, "-W", "error", "-m", "replicate", *command.split()]
        environment = os.environ | {"PYTHONPATH": str(tmp_path)}
        answer = subprocess.run(
            words, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert answer.returncode == 0, answer.stderr
    described = json.loads((tmp_path / "flower.json").read_text())
    assert described["counts"] == {"train": 3028, "valid": 606, "test": 606}
    assert Splits.read(tmp_path / "flower.safetensors").images["train"].std() > 10
    declared = (
        "from replicate.datasets.flower import DATASET as d; print([*d.image_shape], d.train_count)"
    )
    told = subprocess.check_output(
        [sys.executable, "-c", declared], cwd=tmp_path, env=environment, text=True
    )
    assert told.strip() == f"{described['shape']} {described['counts']['train']}"
