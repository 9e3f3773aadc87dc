"""The command `score`: the pipeline's own numbers, its lines, its page, and what it refuses."""

import base64
import hashlib
import json
import math
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from lxml import html as lxml_html

from replicate.__main__ import main
from replicate.measures.run_measures import measure_samples
from replicate.records.frame import read_result
from replicate.records.schema import Evaluation, Score
from replicate.scoring.context import neighbours, standing
from replicate.storage.files import write_tensors
from replicate.storage.paths import package_root
from replicate.verdicts.published import read_published
from tests.result_kinds import undeclared
from tests.scoring.honest import digits, draws
from tests.scoring.test_estimate import splits_with_folds

PARAMS = '{"likelihood": {"sigmas": [0.1, 0.15, 0.3, 1.0]}}'


@pytest.fixture(scope="module")
def honest() -> np.ndarray:
    return draws(digits(), 300)


def call(folder: Path, *words: object) -> int:
    command = ["score", *map(str, words), "--state", str(folder / "state")]
    if "--params" not in command:
        command += ["--params", PARAMS]
    return main(command)


def write_block(path: Path, images: np.ndarray) -> None:
    """A block of two seeds, (2, 1, n, 64), as the stage `sample` writes it."""
    about = {
        "dataset": "digits", "model": "vae", "block": "0-1", "seeds": [0, 1], "failed": {},
        "chains": None, "shape": [1, 8, 8],
    }  # fmt: skip
    write_tensors(path, {"samples": images}, {"about": json.dumps(about)})


def test_it_gives_what_the_pipeline_gives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The stages on a block of two seeds, and the command on each seed's images."""
    data, block = tmp_path / "digits.safetensors", tmp_path / "block.safetensors"
    digits().write(data)
    images = np.stack([draws(digits(), 300, seed)[None] for seed in (0, 1)])
    write_block(block, images)
    bandwidth, evaluated = tmp_path / "b.json", tmp_path / "e.json"
    common = ["--samples", str(block), "--data", str(data), "--state", str(tmp_path / "state")]
    assert main(["bandwidth", *common, "--out", str(bandwidth)]) == 0
    words = ["--bandwidth", str(bandwidth), "--out", str(evaluated)]
    assert main(["evaluate", *common, *words]) == 0
    evaluation = read_result(evaluated, Evaluation)
    capsys.readouterr()
    for seed in (0, 1):
        np.save(tmp_path / "s.npy", images[seed, 0])
        out = tmp_path / "score.json"
        words = ["--dataset", "digits", "--data", str(data), "--json", str(out), "--params", "{}"]
        assert call(tmp_path, tmp_path / "s.npy", *words) == 0
        (fold,) = evaluation["per_seed"][seed]["draws"][0]["folds"]
        result = read_result(out, Score)
        measured = {name: result["folds"][0][name] for name in fold}  # type: ignore[literal-required]
        assert measured == fold
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == f"Using Sigma: {fold['sigma']}"
        assert lines[1] == (
            f"Log-Likelihood of test set = {fold['log_likelihood']}, se: {fold['standard_error']}"
        )


def test_the_result_is_what_its_type_says(tmp_path: Path, honest: np.ndarray) -> None:
    np.save(tmp_path / "s.npy", honest)
    out = tmp_path / "new" / "score.json"
    assert call(tmp_path, tmp_path / "s.npy", "--dataset", "digits", "--json", out) == 0
    result = read_result(out, Score)
    assert not undeclared(result, Score)
    digest = hashlib.sha256((tmp_path / "s.npy").read_bytes()).hexdigest()
    assert result["inputs"]["samples"] == digest
    assert result["samples"]["count"] == 300
    low, high = result["interval"]
    assert (low + high) / 2 == pytest.approx(result["log_likelihood"])
    assert (high - low) / 2 == pytest.approx(1.96 * result["standard_error"], rel=1e-4)
    assert result["neighbours"] == []
    assert result["standing"] is None, "nothing was published on digits"
    assert [path.name for path in out.parent.iterdir()] == ["score.json"], "no file beside it"


def test_the_estimate_is_the_direct_sum(tmp_path: Path) -> None:
    """Images of one's own of another shape, by broadcast differences in float64."""
    generator = np.random.default_rng(3)
    samples = generator.random((40, 3, 4)).astype(np.float32)
    test, valid = generator.random((2, 30, 12))
    files = {"s": samples, "t": test, "v": valid}
    for name, values in files.items():
        np.save(tmp_path / f"{name}.npy", values)
    np.save(tmp_path / "t.npy", test.reshape(30, 3, 4))
    out = tmp_path / "score.json"
    names = {name: tmp_path / f"{name}.npy" for name in files}
    words = ["--test-file", names["t"], "--valid-file", names["v"], "--json", out]
    assert call(tmp_path, names["s"], *words) == 0
    result = read_result(out, Score)
    centres = samples.reshape(40, 12).astype(np.float64)

    def mean(rows: np.ndarray, sigma: float) -> float:
        squared = ((rows[:, None] - centres) ** 2).sum(2)
        densities = np.exp(-squared / (2 * sigma**2)).mean(1)
        return float(np.log(densities).mean()) - 12 * math.log(sigma * math.sqrt(2 * math.pi))

    best = max(result["sigmas"], key=lambda sigma: mean(valid, sigma))
    assert result["folds"][0]["sigma"] == best
    assert result["log_likelihood"] == pytest.approx(mean(test, best), abs=1e-4)
    assert result["samples"]["shape"] == [1, 3, 4]


def test_the_page_is_one_file_without_an_address(tmp_path: Path, honest: np.ndarray) -> None:
    np.save(tmp_path / "<b>&.npy", 2 * honest - 1)
    page, out = tmp_path / "score.html", tmp_path / "score.json"
    words = ["--dataset", "digits", "--html", page, "--json", out]
    assert call(tmp_path, tmp_path / "<b>&.npy", *words) == 0
    text = page.read_text(encoding="utf-8")
    assert "<b>" not in text, "escaped"
    assert not re.search(r"(?:src|href)=\"https?:", text)
    assert len(text) < 400_000
    tree = lxml_html.fromstring(text)
    policy = tree.xpath("//meta[@http-equiv]/@content")[0]
    style = tree.xpath("string(//style)")
    digest = hashlib.sha256(style.encode()).digest()
    assert f"sha256-{base64.b64encode(digest).decode()}" in policy
    assert "default-src 'none'" in policy
    assert not tree.xpath("//*[@style]")
    result = json.loads(out.read_text())
    for place in tree.xpath("//data[@title]"):
        file, pointer = place.get("title").split("#")
        assert file == "score.json"
        value = result
        for step in pointer.strip("/").split("/"):
            value = value[int(step) if isinstance(value, list) else step]
        assert float(place.get("value")) == value
    shown = tree.text_content()
    for trap in result["traps"]:
        assert trap["sentence"] in shown
    titles = [heading.text for heading in tree.xpath("//h2")]
    assert {"Samples", "Nearest training images", "Bandwidth"} <= set(titles)
    assert all(
        section.xpath(".//p|.//ul|.//figure|.//table") for section in tree.xpath("//section")
    )


def test_with_folds_the_page_shows_the_error_over_folds(tmp_path: Path) -> None:
    """As Table 1 does for TFD, and as the interval beside it is."""
    data, page, out = tmp_path / "tfd.safetensors", tmp_path / "s.html", tmp_path / "s.json"
    generator = np.random.default_rng(3)
    splits_with_folds(generator, 3).write(data)
    np.save(tmp_path / "s.npy", generator.random((200, 4)).astype(np.float32))
    words = ["--dataset", "tfd", "--data", data, "--html", page, "--json", out]
    assert call(tmp_path, tmp_path / "s.npy", *words) == 0
    means = [fold["log_likelihood"] for fold in read_result(out, Score)["folds"]]
    (error,) = lxml_html.fromstring(page.read_text()).xpath("//p[@class='estimate']/data[2]")
    assert float(error.get("value")) == pytest.approx(np.std(means, ddof=1) / np.sqrt(3))


def test_other_measures_are_taken_where_they_are_asked_for(
    tmp_path: Path, honest: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    """The values of `measure_samples` on the same array, in the result, in print and on the page;
    without the option none.
    """
    np.save(tmp_path / "samples.npy", honest)
    page, out = tmp_path / "score.html", tmp_path / "score.json"
    words = [tmp_path / "samples.npy", "--dataset", "digits", "--json", out, "--html", page]
    assert call(tmp_path, *words) == 0
    assert json.loads(out.read_text())["measures"] == []
    capsys.readouterr()
    assert call(tmp_path, *words, "--measures") == 0
    taken = {entry["measure"]: entry for entry in json.loads(out.read_text())["measures"]}
    assert set(taken) == {
        "precision", "recall", "density", "coverage", "frechet_distance", "kernel_distance",
        "nearest_neighbour_test", "classifier_test", "memorisation",
    }  # fmt: skip
    samples = torch.from_numpy(honest.astype(np.float32))
    for entry in measure_samples(samples, digits(), None):
        if entry["measure"] in taken and entry["value"] is not None:
            assert taken[entry["measure"]]["value"] == entry["value"]
    printed = [line for line in capsys.readouterr().out.splitlines() if "  measure " in line]
    assert len(printed) == len(taken)
    rows = lxml_html.fromstring(page.read_text(encoding="utf-8")).xpath(
        "//section[@aria-labelledby='measures-title']//tbody/tr"
    )
    assert [float(row.xpath("./td[1]/data/@value")[0]) for row in rows] == [
        entry["value"] for entry in taken.values()
    ]


@pytest.mark.filterwarnings("error")
def test_data_without_any_ink(tmp_path: Path) -> None:
    """Whatever their one value, nothing is divided by the width of their range."""
    samples = digits().flat("train")[:50]
    for value in (0.0, 0.5, -3.0):
        for name, pixels in {"s": samples, "d": np.full((40, 64), value, np.float32)}.items():
            np.save(tmp_path / f"{name}.npy", pixels)
        out = tmp_path / "score.json"
        words = [f"--{split}-file={tmp_path / 'd.npy'}" for split in ("test", "valid", "train")]
        assert (
            call(tmp_path, tmp_path / "s.npy", *words, "--json", out, "--html", tmp_path / "p") == 0
        )
        expected = -np.square(samples.astype(np.float64) - value).sum(1)
        result = json.loads(out.read_text())
        exponents = expected / (2 * result["folds"][0]["sigma"] ** 2)
        mean = np.logaddexp.reduce(exponents) - math.log(50)
        mean -= 64 * math.log(result["folds"][0]["sigma"] * math.sqrt(2 * math.pi))
        assert result["log_likelihood"] == pytest.approx(mean, rel=1e-5)


def test_a_bandwidth_that_was_chosen_on_the_test_images_is_noted(tmp_path: Path) -> None:
    splits, out = digits(), tmp_path / "score.json"
    for name, split in {"s": "train", "t": "test", "v": "valid", "copy": "test"}.items():
        np.save(tmp_path / f"{name}.npy", splits.flat(split))
    for valid, count in {"v": 0, "t": 1, "copy": 1}.items():
        words = ["--test-file", tmp_path / "t.npy", "--valid-file", tmp_path / f"{valid}.npy"]
        assert call(tmp_path, tmp_path / "s.npy", *words, "--json", out) == 0
        notes = json.loads(out.read_text())["notes"]
        assert sum("test and validation images are the same" in note for note in notes) == count


def test_the_page_has_the_intervals_that_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A Fréchet distance that is large beside its interval, far from grey images."""
    splits = digits()
    np.save(tmp_path / "s.npy", splits.flat("train")[:300])
    np.save(tmp_path / "t.npy", np.full((50, 64), 0.5, np.float32))
    page = tmp_path / "score.html"
    files = ["--test-file", tmp_path / "t.npy", "--valid-file", tmp_path / "t.npy"]
    assert call(tmp_path, tmp_path / "s.npy", *files, "--measures", "--html", page) == 0
    printed = re.findall(r"measure .*interval (\S+) to (\S+)", capsys.readouterr().out)
    tree = lxml_html.fromstring(page.read_text(encoding="utf-8"))
    cells = tree.xpath("//section[@aria-labelledby='measures-title']//tbody/tr/td[1]")
    shown = [re.search(r"(\S+) to (\S+)", cell.text_content()) for cell in cells]
    assert len(printed) == len(shown) > 0
    for ends, match in zip(printed, shown, strict=True):
        assert match is not None
        on_page = [float(word.replace("\u2212", "-")) for word in match.groups()]
        assert on_page == [float(word) for word in ends]


def test_a_measure_without_value_is_named_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = np.random.default_rng(4)
    for name, count in {"s": 30, "t": 5, "v": 20}.items():
        np.save(tmp_path / f"{name}.npy", generator.random((count, 16)))
    page, out = tmp_path / "score.html", tmp_path / "score.json"
    words = ["--test-file", tmp_path / "t.npy", "--valid-file", tmp_path / "v.npy"]
    words += ["--json", out, "--html", page]
    assert call(tmp_path, tmp_path / "s.npy", *words, "--measures") == 0
    result = json.loads(out.read_text())
    assert result["measures"] == []
    printed = capsys.readouterr().out
    text = lxml_html.fromstring(page.read_text(encoding="utf-8")).text_content()
    reasons = {"too few images": "Classifier test", "there are no training images": "Memorisation"}
    for reason, title in reasons.items():
        (note,) = [note for note in result["notes"] if reason in note]
        assert title in note
        assert note in printed
        assert note in text
    assert call(tmp_path, tmp_path / "s.npy", *words) == 0
    assert json.loads(out.read_text())["notes"] == []


def test_the_page_of_rows_that_are_no_pictures(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    for name in "stv":
        np.save(tmp_path / f"{name}.npy", generator.random((30, 5)))
    page = tmp_path / "score.html"
    words = ["--test-file", tmp_path / "t.npy", "--valid-file", tmp_path / "v.npy", "--html", page]
    assert call(tmp_path, tmp_path / "s.npy", *words) == 0
    titles = [heading.text for heading in lxml_html.fromstring(page.read_text()).xpath("//h2")]
    assert "Samples" not in titles
    assert "Nearest training images" not in titles


def test_the_same_file_gives_the_same_bytes(tmp_path: Path, honest: np.ndarray) -> None:
    np.save(tmp_path / "s.npy", honest)
    files = []
    for name in "ab":
        out, page = tmp_path / name / "s.json", tmp_path / name / "s.html"
        words = ["--dataset", "digits", "--json", out, "--html", page]
        assert call(tmp_path, tmp_path / "s.npy", *words) == 0
        files.append((out.read_bytes(), page.read_bytes()))
    assert files[0] == files[1]


def test_a_kept_row_with_folds_has_the_error_over_folds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the published values that it stands beside, whose error on TFD is over folds."""
    root = package_root()
    shutil.copytree(root / "results/published", tmp_path / "results/published")
    source = root / "results/reference/mnist-1-seed/k_means/evaluation.json"
    content = json.loads(source.read_text())
    draw, *_ = content["per_seed"][0]["draws"]
    errors = [3.0, 5.0]
    draws = [{**draw, "standard_error": 40.0, "standard_error_folds": error} for error in errors]
    content |= {"dataset": "tfd", "per_seed": [{**content["per_seed"][0], "draws": draws}]}
    kept = tmp_path / "results/reference/tfd/k_means/evaluation.json"
    kept.parent.mkdir(parents=True)
    kept.write_text(json.dumps(content))
    monkeypatch.setattr("replicate.scoring.context.package_root", lambda: tmp_path)
    rows = {row["title"]: row["standard_error"] for row in neighbours("tfd", content["dimension"])}
    assert rows["k-means"] == pytest.approx(np.mean(errors))
    assert rows["DBN"] == 66.0


def test_where_a_number_lies_among_others() -> None:
    rows = [
        {"title": title, "log_likelihood": value, "standard_error": 1.0, "samples": 1,
         "kind": "published", "source": ""}
        for title, value in (("A", 100.0), ("B", 200.0))
    ]  # fmt: skip
    assert standing(50, rows) == "below all of them, the lowest being A (100)"  # type: ignore[arg-type]
    assert standing(150, rows) == "between A (100) and B (200)"  # type: ignore[arg-type]
    assert standing(250, rows) == "above all of them, the highest being B (200)"  # type: ignore[arg-type]
    assert standing(250, []) is None


def times(folder: Path) -> dict[Path, int]:
    """The files below a folder, without the lock that a download takes, and when they changed."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {path: path.stat().st_mtime_ns for path in paths}


REFUSED = {
    "no such file": (["x.npy", "--dataset", "digits"], "does not exist"),
    "no such data set": (["s.npy", "--dataset", "letters"], "there is no data set 'letters'"),
    "nothing to compare with": (["s.npy"], "--dataset (digits"),
    "both": (
        ["s.npy", "--dataset", "digits", "--test-file", "s.npy"],
        "--test-file and a data set",
    ),
    "no validation images": (["s.npy", "--test-file", "s.npy"], "--valid-file is missing"),
    "data without its name": (["s.npy", "--data", "s.npy"], "name it by --dataset"),
    "another size": (["big.npy", "--dataset", "digits"], "8 x 8 pixels are needed"),
    "not finite": (["nan.npy", "--dataset", "digits"], "1 NaN pixel values, first in image 7"),
    "a fix without need": (["s.npy", "--dataset", "digits", "--fix", "range"], "leave it out"),
    "over its input": (["s.npy", "--dataset", "digits", "--json", "s.npy"], "name another file"),
    "one output twice": (
        ["s.npy", "--dataset", "digits", "--json", "o", "--html", "o"],
        "name two",
    ),
    "a folder as output": (["s.npy", "--dataset", "digits", "--json", "folder"], "it is a folder"),
    "a fault in the parameters": (
        ["s.npy", "--dataset", "digits", "--params", '{"likelihood": {"sigmas": [-1]}}'],
        "likelihood.sigmas",
    ),
    "no threads": (["s.npy", "--dataset", "digits", "--threads", "0"], "compute.threads"),
    "data that lack": (["s.npy", "--dataset", "tfd"], "tfd needs"),
    "offline": (["s.npy", "--dataset", "mnist", "--offline"], "train-images-idx3-ubyte.gz"),
}


@pytest.mark.parametrize("title", REFUSED)
def test_bad_input_is_one_sentence_and_nothing_is_written(
    title: str,
    tmp_path: Path,
    honest: np.ndarray,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words, sentence = REFUSED[title]
    monkeypatch.chdir(tmp_path)
    np.save("s.npy", honest)
    np.save("big.npy", np.zeros((10, 9, 9)))
    broken = honest.copy()
    broken[7, 3] = np.nan
    np.save("nan.npy", broken)
    Path("folder").mkdir()
    before = times(tmp_path)
    outputs = [] if "--json" in words else ["--json", "o.json", "--html", "o.html"]
    assert main(["score", *words, *outputs, "--data-dir", str(tmp_path / "none")]) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.err.count("\n") == 1 or title == "offline"
    assert captured.out == ""
    assert "Traceback" not in captured.err
    assert times(tmp_path) == before


def test_a_block_of_this_project_is_sent_to_its_own_stages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.numpy import save_file

    path = tmp_path / "s.safetensors"
    save_file({"samples": np.zeros((1, 2, 3, 64), np.float32)}, path, {"about": "{}"})
    assert call(tmp_path, path, "--dataset", "digits") == 2
    assert "`bandwidth` and `evaluate`" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["s.npy", "s.safetensors"])
def test_other_stages_send_samples_of_ones_own_here(
    name: str, tmp_path: Path, honest: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.numpy import save_file

    path = tmp_path / name
    if name == "s.npy":
        np.save(path, honest)
    else:
        save_file({"samples": honest}, path)
    words = ["--samples", str(path), "--data", str(path), "--out", str(tmp_path / "b.json")]
    assert main(["bandwidth", *words]) == 2
    message = capsys.readouterr().err
    assert "python -m replicate score" in message
    assert "delete" not in message


@pytest.mark.slow
def test_published_values_stand_beside_the_estimate_on_mnist(
    mnist_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Images of the training file: the estimate of 10,000 is the 243 nats of Theis et al. (2016)."""
    from replicate.datasets import load_dataset

    dataset = load_dataset("mnist")
    files = {source.name: mnist_folder / source.name for source in dataset.sources}
    splits = dataset.prepare(files, dataset.Config())
    np.save(tmp_path / "s.npy", splits.images["train"][:10_000, 0])
    out, page = tmp_path / "score.json", tmp_path / "score.html"
    words = ["--data-dir", mnist_folder.parent, "--json", out, "--html", page, "--params", "{}"]
    assert call(tmp_path, tmp_path / "s.npy", "--dataset", "mnist", *words) == 0
    result = read_result(out, Score)
    assert abs(result["log_likelihood"] - 243) < 6
    assert [trap["name"] for trap in result["traps"]] == ["memorised"]
    published = read_published(Path("results/published/table1.csv"))
    values = {row["log_likelihood"] for (_, name), row in published.items() if name == "mnist"}
    beside = {row["log_likelihood"] for row in result["neighbours"] if row["kind"] == "published"}
    assert beside == values
    for row in result["neighbours"]:
        if row["kind"] == "measured":
            kept = read_result(Path(row["source"]), Evaluation)
            means = [seed["log_likelihood"] for seed in kept["per_seed"]]
            assert row["log_likelihood"] == pytest.approx(np.mean(means))
    assert "Adversarial nets 225" in capsys.readouterr().out


@pytest.mark.slow
def test_ten_thousand_samples_of_mnist_take_less_than_ten_seconds(
    mnist_folder: Path, tmp_path: Path
) -> None:
    """Seconds of the processor on one core, from the start of Python on."""
    from replicate.datasets import load_dataset

    dataset = load_dataset("mnist")
    files = {source.name: mnist_folder / source.name for source in dataset.sources}
    samples = draws(dataset.prepare(files, dataset.Config()), 10_000)
    np.save(tmp_path / "s.npy", samples)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    words = ["score", tmp_path / "s.npy", "--dataset", "mnist", "--data-dir", mnist_folder.parent]
    done = subprocess.run(
        [sys.executable, "-m", "replicate", *map(str, words)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "traps        none" in done.stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds < 10
