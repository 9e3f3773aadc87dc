"""Several stages in one process: the same files as one by one, and nothing after a fault."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from replicate.__main__ import main
from replicate.records.run_record import record_path
from replicate.storage.files import read_json
from replicate.storage.paths import package_root
from tests.stages.pipeline import PARAMS, Pipeline

LIMIT = PARAMS.format(epochs=4)


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """Every stage in a call of its own."""
    pipeline = Pipeline(tmp_path_factory.mktemp("single"))
    pipeline.run()
    return pipeline


def _words(single: Pipeline, joint: Pipeline) -> list[str]:
    """`sample then bandwidth then evaluate` of the trained weights, into another folder."""
    given = ["--params", LIMIT, "--data", single.data]
    words: list[object] = ["sample", *given, "--weights", single.weights, "--out", joint.samples]
    words += ["then", "bandwidth", *given, "--samples", joint.samples, "--out", joint.bandwidth]
    words += [
        "then",
        "evaluate",
        *given,
        "--samples",
        joint.samples,
        "--bandwidth",
        joint.bandwidth,
    ]
    return [str(word) for word in [*words, "--out", joint.evaluation]]


def _process(words: list[str], **how: Any) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, as a user calls it."""
    environment = os.environ | {"PYTHONPATH": str(package_root())}
    return subprocess.run(
        [sys.executable, "-m", "replicate", *words], env=environment, text=True, **how
    )


def test_stages_in_one_process_write_the_same_bytes_as_one_by_one(
    single: Pipeline, tmp_path: Path
) -> None:
    joint = Pipeline(tmp_path)
    done = _process(_words(single, joint), capture_output=True)
    assert done.returncode == 0, done.stderr
    said = [line.split()[0] for line in done.stdout.splitlines() if not line.startswith("  ")]
    assert list(dict.fromkeys(said)) == ["sample", "bandwidth", "evaluate"]
    for name in ("samples", "bandwidth", "evaluation"):
        ours, theirs = getattr(joint, name), getattr(single, name)
        assert ours.read_bytes() == theirs.read_bytes(), name
        assert read_json(record_path(ours))["stage"] == read_json(record_path(theirs))["stage"]


@pytest.mark.slow
def test_panels_after_another_stage_are_those_drawn_alone(single: Pipeline, tmp_path: Path) -> None:
    """`recognise` computes with two threads, `panels` always with one."""
    classifier = tmp_path / "classifier.safetensors"
    assert main(["classifier", "--data", str(single.data), "--out", str(classifier)]) == 0
    drawn = ["--data", single.data, "--weights", single.weights, "--bandwidth", single.bandwidth]
    panels: list[object] = [
        "panels",
        *drawn,
        "--training",
        single.weights.with_suffix(".json"),
        "--out",
    ]
    seen = ["--data", single.data, "--samples", single.samples, "--classifier", classifier]
    recognise: list[object] = [
        "recognise",
        "--params",
        '{"compute": {"threads": 2}}',
        *seen,
        "--out",
    ]
    commands = [[*recognise, tmp_path / "alone.json"], [*panels, tmp_path / "alone"]]
    commands += [[*recognise, tmp_path / "joint.json", "then", *panels, tmp_path / "joint"]]
    for command in commands:
        done = _process([str(word) for word in command], capture_output=True)
        assert done.returncode == 0, done.stderr
    names = {
        path.name for path in (tmp_path / "alone").iterdir() if not path.name.endswith(".run.json")
    }
    assert {
        "samples.png",
        "interpolation.png",
        "learning.svg",
        "bandwidth.svg",
        "panels.json",
    } == names
    for name in names:
        assert (tmp_path / "joint" / name).read_bytes() == (
            tmp_path / "alone" / name
        ).read_bytes(), name
    assert (tmp_path / "joint.json").read_bytes() == (tmp_path / "alone.json").read_bytes()


def test_a_fault_ends_the_line_and_leaves_what_was_done(
    single: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    joint = Pipeline(tmp_path)
    words = _words(single, joint)
    words[words.index("bandwidth") + 2] = '{"likelihood": {"sigmas": [-1.0]}}'
    assert main(words) == 2
    assert capsys.readouterr().err.startswith("replicate bandwidth: ")
    assert joint.samples.exists()
    assert not joint.bandwidth.exists()
    assert not joint.evaluation.exists()


def test_a_wrong_word_anywhere_starts_nothing(
    single: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    joint = Pipeline(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        main([*_words(single, joint), "--nonsense"])
    assert (
        "python -m replicate evaluate: error: unrecognized arguments: --nonsense"
        in capsys.readouterr().err
    )
    assert main([*_words(single, joint), "then", "nonsense"]) == 2
    assert "there is no stage 'nonsense'" in capsys.readouterr().err
    for words in (["then"], ["list", "then"], ["list", "then", "then", "list"]):
        assert main(words) == 2
        assert "a stage is missing beside `then`" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a full disk")
def test_what_could_not_be_said_is_not_called_done() -> None:
    with Path("/dev/full").open("w") as full:
        done = _process(["list"], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode != 0
    assert "No space left on device" in done.stderr


def test_a_closed_output_is_no_fault() -> None:
    words = [sys.executable, "-m", "replicate", "list"]
    environment = os.environ | {"PYTHONPATH": str(package_root())}
    assert (
        subprocess.run(
            ["sh", "-c", '"$@" >&-', "sh", *words], env=environment, check=False
        ).returncode
        == 0
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process count its peak anew")
@pytest.mark.parametrize(("kept", "above"), [("del held", False), ("", True)])
def test_the_memory_of_a_stage_is_its_own(tmp_path: Path, kept: str, above: bool) -> None:
    """256 MiB that were held before a stage, and either given back by then or not."""
    code = (
        "import sys; from pathlib import Path; from replicate.records.run_record import "
        "StageMeter\n"
        "from replicate.params import Compute; from replicate.training.backend import configure\n"
        "from replicate.records.hardware import peak_memory\n"
        "configure(Compute(device='cpu'))  # from here on freed memory is kept\n"
        "before = peak_memory() / 2**20\n"
        f"held = bytearray(b'1') * (1 << 28); {kept}\n"
        "StageMeter('table').write(Path(sys.argv[1]), before=before)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(package_root())}
    subprocess.run([sys.executable, "-c", code, tmp_path / "x.json"], env=environment, check=True)
    record = read_json(tmp_path / "x.run.json")
    assert (record["peak_memory_mib"] > record["before"] + 200) == above
