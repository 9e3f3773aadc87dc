"""Files of a finished run, damaged at random and by hand: every stage that reads them goes on or
says so in one line.

`pytest -m slow -rP tests/faults/test_damaged_files.py` tries thousands and prints how many.
"""

import contextlib
import io
import json
import shutil
import struct
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from replicate.__main__ import main
from replicate.datasets import mnist
from replicate.errors import ReplicateError
from tests.datasets.data_helpers import tiny_mnist, write_faces, write_images
from tests.report.fabricated import MODEL, Job, write_run
from tests.report.once import ONCE
from tests.stages.pipeline import PARAMS, Pipeline

#: Values that a result may hold in place of another.
STRANGE: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    10**30,
    1.5,
    1e308,
    "",
    "x",
    "0",
    "\ud800",
    [],
    {},
    [[]],
    [None],
    {"a": 1},
    float("nan"),
    float("inf"),
    [1] * 50,
)


#: Archives of images by compression, and MATLAB files with and without.
ARCHIVES = {
    "stored.zip": zipfile.ZIP_STORED,
    "deflated.zip": zipfile.ZIP_DEFLATED,
    "bzip2.zip": zipfile.ZIP_BZIP2,
    "lzma.zip": zipfile.ZIP_LZMA,
}
FACES = {"tfd/TFD_48x48.mat": True, "plain/tfd/TFD_48x48.mat": False}
#: One trial of a model that is trained in no time.
TRIALS = {
    "dataset": "digits",
    "budget": 1,
    "seeds": "100",
    "selection": {"every": 1, "samples": 100},
    "models": {"k_means": {"common": {"epochs": 1, "centroids": 20}, "trials": [{}]}},
}


def bring(folder: Path) -> None:
    """Data as users bring them: images in archives of every kind, and faces in MATLAB's."""
    write_images(folder / "pictures", [f"{name}/{k}.png" for name in "ab" for k in range(4)])
    for name, method in ARCHIVES.items():
        with zipfile.ZipFile(folder / name, "w", method) as archive:
            for file in sorted((folder / "pictures").rglob("*.png")):
                archive.write(file, file.relative_to(folder / "pictures").as_posix())
    for name, compress in FACES.items():
        write_faces(folder / name, compress=compress)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All files of a small run that later stages read."""
    folder = tmp_path_factory.mktemp("finished")
    run = Pipeline(folder)
    run.run()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("replicate.diagnostics.classifier.UPDATES", 60)
        run.call("classifier", "--data", run.data, "--out", folder / "classifier.safetensors")
    run.call(
        "recognise",
        "--data",
        run.data,
        "--samples",
        run.samples,
        "--classifier",
        folder / "classifier.safetensors",
        "--out",
        folder / "recognition.json",
    )
    settings = '{"experiments": {"theory": {"seeds": "0-1"}}}'
    run.call("experiment", "--name", "theory", "--out", folder / "theory.json", params=settings)
    shard = [
        "--samples",
        run.samples,
        "--bandwidth",
        run.bandwidth,
        "--data",
        run.data,
        "--shard",
        "1/1",
    ]
    run.call("evaluate", *shard, "--out", folder / "part.safetensors")
    (folder / "trials.yaml").write_text(yaml.safe_dump(TRIALS))
    run.call("tune", *tuning(folder))
    bring(folder)
    return folder


def tuning(folder: Path) -> list[object]:
    """The words of `tune`, whose one trial is known."""
    words = ["--trials", folder / "trials.yaml", "--data", folder / "digits.safetensors"]
    return [*words, "--out", folder / "tuning.json", "--state", folder / "state"]


def preparing(out: Path, dataset: str, *words: object, **options: object) -> list[object]:
    """The words that list and prepare what users brought, in one process."""
    params = [
        "--params",
        json.dumps({"datasets": {dataset: options}}),
        "--dataset",
        dataset,
        *words,
    ]
    manifest = out / "m.json"
    fetch = ["fetch", *params, "--out", manifest]
    return [
        *fetch,
        "then",
        "prepare",
        *params,
        "--manifest",
        manifest,
        "--out",
        out / "d.safetensors",
    ]


def commands(folder: Path) -> dict[str, list[list[str]]]:
    """File -> the stages that read it, with outputs that nobody reads."""
    run, out = Pipeline(folder), folder / "out"
    params = ["--params", PARAMS.format(epochs=4)]
    data, samples, width = (
        ["--data", run.data],
        ["--samples", run.samples],
        ["--bandwidth", run.bandwidth],
    )
    judge = ["--classifier", folder / "classifier.safetensors"]
    trained = ["--weights", run.weights, "--training", run.weights.with_suffix(".json")]
    little = ["--params", '{"likelihood": {"samples": 20, "draws": 1}}']
    sample = ["sample", *little, "--weights", run.weights, *data, "--out", out / "s.safetensors"]
    bandwidth = ["bandwidth", *params, *samples, *data, "--out", out / "b.json"]
    evaluate = ["evaluate", *params, *samples, *width, *data, "--out", out / "e.json"]
    merge = [*evaluate, "--merge", folder / "part.safetensors"]
    recognise = ["recognise", *data, *samples, *judge, "--out", out / "r.json"]
    few = (
        '{"likelihood": {"samples": 20}, "measures": {"images": 20, "resamples": 5, '
        '"classifier_updates": 5, "many_samples": 0, "annealing": null}}'
    )
    weights = ["--weights", run.weights]
    settings = ["--params", few]
    measures = ["measures", *settings, *weights, *data, *samples, *judge, "--out", out / "n.json"]
    panels = ["panels", *trained, *width, *data, "--out", out / "panels"]
    export = ["export", "--weights", run.weights, "--seed", "0", "--out", out / "x.safetensors"]
    prepare = [
        "prepare",
        "--dataset",
        "digits",
        "--manifest",
        run.manifest,
        "--out",
        out / "d.safetensors",
    ]
    table = ["table", *params, "--out", out / "t.json", run.evaluation]
    statements = ["statements", *params, "--out", out / "c.json", folder / "theory.json"]
    metrics = ["metrics", "--table", run.table, "--out", out / "m.json"]
    training = run.weights.with_suffix(".json")
    curves = ["curves", "--out", out / "curves", training, run.bandwidth]
    draw = ["draw", "--result", folder / "theory.json", "--out", out / "figures"]
    verify = ["verify", "--run", folder, "--reference", folder.with_name("kept")]
    readers = {
        run.manifest: [prepare],
        run.data: [bandwidth, evaluate, recognise, sample, ["tune", *tuning(folder)]],
        run.weights: [sample, panels, export, measures],
        training: [panels, verify, curves],
        run.weights.with_suffix(".run.json"): [verify],
        run.samples: [bandwidth, evaluate, recognise, measures],
        run.bandwidth: [evaluate, panels, verify, curves],
        run.table: [metrics],
        folder / "tuning.json": [["tune", *tuning(folder)]],
        folder / "trials.yaml": [["tune", *tuning(folder)]],
        run.evaluation: [table, verify],
        folder / "classifier.safetensors": [recognise, measures],
        folder / "classifier.json": [recognise, measures],
        folder / "theory.json": [statements, draw],
        folder / "part.safetensors": [merge],
    }
    for name in ARCHIVES:
        readers[folder / name] = [preparing(out, "images", folder=str(folder / name), size=8)]
    for name in FACES:
        readers[folder / name] = [
            preparing(out, "tfd", "--data-dir", (folder / name).parent.parent)
        ]
    return {
        str(path.relative_to(folder)): [[str(word) for word in words] for words in of_file]
        for path, of_file in readers.items()
    }


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a JSON value: what holds it, and its key or number there."""
    steps = (
        list(value.items())
        if isinstance(value, dict)
        else list(enumerate(value))
        if isinstance(value, list)
        else []
    )
    for step, below in steps:
        yield value, step
        yield from places(below)


def changed_json(text: str, rng: np.random.Generator) -> bytes:
    """JSON of which one place is another value, is gone or has another name."""
    value = json.loads(text)
    found = list(places(value))
    if not found:
        return b"[]"
    holder, step = found[rng.integers(len(found))]
    kind = rng.integers(5)
    if kind == 0:
        del holder[step]
    elif kind == 1 and isinstance(holder, dict):
        holder[f"{step}x"] = holder.pop(step)
    else:
        holder[step] = STRANGE[rng.integers(len(STRANGE))]
    return json.dumps(value).encode()


def changed_header(content: bytes, rng: np.random.Generator) -> bytes:
    """A tensor file whose header, or the JSON in its metadata, is changed at one place."""
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    metadata = header.get("__metadata__", {})
    if "about" in metadata and rng.random() < 0.6:
        metadata["about"] = changed_json(metadata["about"], rng).decode()
        text = json.dumps(header).encode()
    elif rng.random() < 0.5:  # tensors of other shapes with as many numbers
        name = [name for name in header if name != "__metadata__"]
        chosen = header[name[rng.integers(len(name))]] if name else {}
        chosen["shape"] = [1, int(np.prod(chosen.get("shape", [1])))]
        text = json.dumps(header).encode()
    else:
        text = changed_json(json.dumps(header), rng)
    return struct.pack("<Q", len(text)) + text + content[8 + size :]


def changed_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    """A file of which a few bytes are others, a part is gone, stands twice or is zero."""
    start, stop = sorted(int(place) for place in rng.integers(0, len(content) + 1, 2))
    stop = min(stop, start + 200)
    kind = rng.integers(4)
    if kind == 0:
        return content[:start] + content[stop:]
    if kind == 1:
        return content[:stop] + content[start:]
    if kind == 2:
        return content[:start] + bytes(stop - start) + content[stop:]
    return (
        content[:start] + rng.bytes(min(4, stop - start)) + content[start + min(4, stop - start) :]
    )


def damaged(content: bytes, name: str, others: list[bytes], rng: np.random.Generator) -> bytes:
    """The content of a file after an accident, or an attack."""
    kind = rng.integers(9)
    if kind == 0:
        place = int(rng.integers(len(content)))
        return (
            content[:place]
            + bytes([content[place] ^ (1 << int(rng.integers(8)))])
            + content[place + 1 :]
        )
    if kind == 1:
        return content[: int(rng.integers(len(content)))]
    if kind == 2:
        return others[rng.integers(len(others))]
    if kind == 3:
        return (
            b"",
            b"\0" * 100,
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b"9" * 5000,
            b"\xff\xfe",
            b"null",
        )[rng.integers(7)]
    if name.endswith(".safetensors"):
        return changed_header(content, rng)
    return (
        changed_json(content.decode(), rng)
        if name.endswith(".json")
        else changed_bytes(content, rng)
    )


def tried(words: list[str]) -> tuple[int, str]:
    """Exit status and messages of a command in this process; whatever is raised goes on."""
    out, messages = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(messages),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter(
            "ignore", RuntimeWarning
        )  # NumPy's about what damaged numbers come to
        status = main(words)
    return status, messages.getvalue()


def fuzz(finished: Path, folder: Path, seed: int, inputs: int) -> tuple[Counter[str], list[str]]:
    """Damages one file after the other; counts what came of it, and names what ended otherwise than
    in a line.
    """
    shutil.copytree(finished, folder / "run")
    shutil.copytree(finished, folder / "kept")
    return fuzz_readers(folder / "run", commands(folder / "run"), seed, inputs)


def fuzz_readers(
    folder: Path, readers: Mapping[str, list[list[str]]], seed: int, inputs: int
) -> tuple[Counter[str], list[str]]:
    """The same of any files below `folder`, with the commands that read them."""
    rng = np.random.default_rng(seed)
    whole = {name: (folder / name).read_bytes() for name in readers}
    counts: Counter[str] = Counter()
    faults = []
    for number in range(inputs):
        name = sorted(readers)[rng.integers(len(readers))]
        words = readers[name][rng.integers(len(readers[name]))]
        path = folder / name
        path.write_bytes(damaged(whole[name], name, list(whole.values()), rng))
        try:
            status, message = tried(words)
        except Exception as error:  # what a user would see as a traceback
            status, message = -1, repr(error)
        if status == -1 or (status == 2 and len(message.splitlines()) != 1):
            faults.append(f"input {number}: {words[0]} of a damaged {name}: {message[:300]}")
        counts[{0: "ran", 1: "differs", 2: "one sentence"}.get(status, "fault")] += 1
        path.write_bytes(whole[name])
    return counts, faults


def test_damaged_files_end_in_one_line(finished: Path, tmp_path: Path) -> None:
    counts, faults = fuzz(finished, tmp_path, 1, 40)
    assert not faults, "\n".join(faults)
    assert counts["one sentence"] > 15


#: Seeds of the inputs; `.ci/run` leaves all but the first to `make faults`.
SEEDS = [2, *(pytest.param(seed, marks=pytest.mark.faults) for seed in (3, 4, 5))]


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_thousands_of_damaged_files(finished: Path, tmp_path: Path, seed: int) -> None:
    counts, faults = fuzz(finished, tmp_path, seed, 1000)
    print(f"seed {seed}: {dict(counts)}")
    assert not faults, "\n".join(faults)


def shown(folder: Path) -> dict[str, list[list[str]]]:
    """The files of a run that the page shows -> the page of that run, and of another one beside
    it.
    """
    write_run(folder / "results", [Job("digits", 48.0)], "smoke")
    other = folder / "other"
    shutil.copytree(folder / "results", other / "results")
    params = {
        "preset": "smoke",
        "datasets": {"digits": {}},
        "models": {MODEL: {"digits": {}}},
        "experiments": {"theory": {"seeds": "0-5"}},
    }
    words = [
        "report",
        "--params",
        json.dumps(params),
        "--table",
        str(folder / "results/table1.json"),
        "--results",
    ]
    page = [*words, str(folder / "results"), "--out", str(folder / "page.html")]
    files = sorted(path for path in (folder / "results").rglob("*") if path.is_file())
    readers = {path.relative_to(folder).as_posix(): [page] for path in files}
    readers["results/table1.json"] = readers["results/statements.json"] = [
        page,
        [*page, "--compare", str(other)],
    ]
    return readers | {
        f"other/results/{name}": [[*page, "--compare", str(other)]]
        for name in ("table1.json", "statements.json")
    }


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.faults)])
def test_hundreds_of_damaged_files_that_the_page_shows(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, stand_in in ONCE.items():
        monkeypatch.setattr(name, stand_in)
    counts, faults = fuzz_readers(tmp_path, shown(tmp_path), seed, 250)
    print(f"seed {seed}: {dict(counts)}")
    assert not faults, "\n".join(faults)
    assert counts["one sentence"] > 50


@pytest.mark.slow
def test_thousands_of_damaged_gzip_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose digests do not match, in the only place where nobody would look at these: the reader
    itself.
    """
    tiny_mnist(monkeypatch, tmp_path)
    files = {source.name: tmp_path / source.name for source in mnist.DATASET.sources}
    whole, rng = {name: path.read_bytes() for name, path in files.items()}, np.random.default_rng(1)
    counts: Counter[str] = Counter()
    for _ in range(2000):
        name = sorted(files)[rng.integers(len(files))]
        files[name].write_bytes(damaged(whole[name], name, list(whole.values()), rng))
        try:
            mnist.DATASET.prepare(files, mnist.MnistConfig())
            counts["ran"] += 1
        except ReplicateError:  # whose words are always one line
            counts["one sentence"] += 1
        files[name].write_bytes(whole[name])
    print(dict(counts))
    assert counts["one sentence"] > 1000


Damage = Callable[[Path], None]


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        pytest.param(_folder, marks=pytest.mark.slow),
        pytest.param(lambda path: path.write_bytes(b""), marks=pytest.mark.slow),
    ],
)
def test_missing_empty_and_a_folder(finished: Path, tmp_path: Path, damage: Damage) -> None:
    shutil.copytree(finished, tmp_path / "kept")
    shutil.copytree(finished, tmp_path / "run")
    for name, of_file in commands(tmp_path / "run").items():
        path = tmp_path / "run" / name
        damage(path)
        for words in of_file:
            added = words[0] == "tune" and not path.exists() and name == "tuning.json"
            if (
                words[0] != "verify" and not added
            ):  # what is not there is not compared, or comes to be
                status, message = tried(words)
                assert status == 2, (name, words[0])
                assert len(message.splitlines()) == 1
        if path.is_dir():
            path.rmdir()
        shutil.copy(finished / name, path)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: not enough memory"
        ),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    ],
)
def test_memory_that_runs_out_names_the_setting_to_lower(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def exhausted(*_: object) -> None:
        raise error

    monkeypatch.setattr("replicate.stages.bandwidth.run", exhausted)
    status, message = tried(["bandwidth", "--samples", "s", "--data", "d", "--out", "o"])
    assert status == 2
    assert "lower likelihood.samples" in message
    assert len(message.splitlines()) == 1


def test_a_defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def defective(*_: object) -> None:
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr("replicate.stages.bandwidth.run", defective)
    with pytest.raises(RuntimeError, match="multiplied"):
        tried(["bandwidth", "--samples", "s", "--data", "d", "--out", "o"])
