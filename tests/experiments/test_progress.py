"""What an experiment says while it runs: every one of them, in lines, on a terminal, and in
`status`.
"""

import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from replicate.__main__ import main
from replicate.experiments import ON_MEASURES, ON_TRIALS, REGISTRY
from replicate.progress import reporting as progress
from replicate.storage.files import read_json, write_json, write_tensors
from replicate.storage.paths import package_root
from tests.experiments.small_digits import small_digits
from tests.training.test_progress import said_on_a_terminal

ON_DIGITS = {"updates": 4, "batch_size": 8, "code_dimension": 2, "hidden": [4]}
#: Experiment -> settings with which it takes no time.
SMALL: dict[str, dict[str, Any]] = {
    "theory": {"updates": 10, "descent_steps": 5, "hidden": [4]},
    "figure1": {
        "hidden": [4],
        "batch_size": 4,
        "early_rounds": 3,
        "optimum_updates": 3,
        "moves": 1,
        "rounds": 12,
    },
    "synchrony": {"updates": 100, "further_updates": 100, "batch_size": 4, "hidden": [4]},
    "gradients": {
        "hidden": [4],
        "batch_size": 4,
        "convergence_updates": 24,
        "rounds": 24,
        "early_rounds": 3,
        "head_start": 2,
    },
    "degenerate": {
        "updates": 4,
        "hidden": [4],
        "binary_units": 2,
        "corruptions": [0.1, 0.2],
        "burn_in": 1,
        "kept": 1,
    },
    "estimator": {"samples": 200, "validation": 5, "test": 5},
    "noise_contrastive": {"dimension": 2, "updates": 60, "batch_size": 4},
    "symbols": {"updates": 20, "told_updates": 20, "batch_size": 4, "hidden": [4], "length": 2},
    "sampling": {},
    "interpolation": ON_DIGITS | {"lines": 2, "draws": 20},
    "collapse": ON_DIGITS | {"samples": 20},
    "conditional": ON_DIGITS | {"samples_per_class": 8},
    "inference": ON_DIGITS | {"inference_updates": 3},
    "inpainting": ON_DIGITS | {"completions": 2},
    "data_size": {
        "shares": [0.5, 1.0],
        "others": ["stacked_cae"],
        "epochs_share": 0.02,
        "looks": 1,
        "samples": 10,
    },
    "acceleration": ON_DIGITS | {"samples": 10, "first_look": 2, "looks": 2},
    "features": ON_DIGITS | {"inference_updates": 3, "label_counts": [30], "penalties": [1.0]},
}
#: The families that `sampling` asks for, and one of the run's data set.
MODELS = ("adversarial_nets", "rbm", "denoising_autoencoder", "vae")
CHAINS = {"rbm": 3}
#: Experiments that take the longest even so.
LONGER = {"data_size", "synchrony"}
#: Of `status`: a run of one model, timed now.
RUN = '{"seeds": ["0"], "datasets": {"digits": {}}, "models": {"vae": {"digits": {}}}}'


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits of three classes, and beside them samples of models."""
    folder = tmp_path_factory.mktemp("data")
    small_digits(3).write(folder / "digits.safetensors")
    for model in MODELS:
        about = {
            "model": model,
            "dataset": "digits",
            "seeds": [0, 1],
            "failed": {},
            "chains": CHAINS.get(model),
        }
        about |= {"block": "0-1", "shape": [1, 8, 8], "parameters": {"config": {"thinning": 2}}}
        images = np.random.default_rng(0).random((2, 1, 30, 64)).astype(np.float32)
        write_tensors(
            folder / f"{model}.safetensors",
            {"samples": images},
            {"about": json.dumps(about), "code": "x"},
        )
    return folder / "digits.safetensors"


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every step is told; a classifier that is never good has a judge's trust."""
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    monkeypatch.setattr(progress, "FILE_EVERY", 0.0)
    monkeypatch.setattr("replicate.diagnostics.classifier.UPDATES", 3)
    monkeypatch.setattr("replicate.experiments.games.sample_judge.RELIABLE", 0.0)
    monkeypatch.setattr(
        progress, "write_json", lambda path, content: None
    )  # flushed to disk, which takes long here
    return


def words(name: str, data: Path, folder: Path, **settings: object) -> list[str]:
    given = {"seeds": "0-1"} if name != "sampling" else {}
    params = json.dumps(
        {"compute": {"device": "cpu"}, "experiments": {name: given | SMALL[name] | settings}}
    )
    found = [
        "experiment",
        "--params",
        params,
        "--name",
        name,
        "--data",
        str(data),
        "--state",
        str(folder / "state"),
    ]
    samples = (
        [str(data.with_name(f"{model}.safetensors")) for model in MODELS]
        if name == "sampling"
        else []
    )
    return [
        *found,
        "--out",
        str(folder / "out.json"),
        *(["--samples", *samples] if samples else []),
    ]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in LONGER else name
        for name in REGISTRY
        if name not in ON_TRIALS | ON_MEASURES
    ],
)
def test_every_experiment_says_what_it_does_up_to_its_end(
    name: str, data: Path, tmp_path: Path, at_once: None, capsys: pytest.CaptureFixture[str]
) -> None:
    with np.errstate(all="ignore"):
        assert main(words(name, data, tmp_path)) == 0
    lines = capsys.readouterr().err.splitlines()
    assert read_json(tmp_path / "out.json")["not_applicable"] is None
    assert len(lines) >= 4
    shares = []
    for line in lines:
        found = re.fullmatch(rf"experiment {name}: (?:.+, )?(\d+) % done(?:, .+ left)?", line)
        assert found is not None, line
        shares.append(int(found[1]))
        for number, count in re.findall(r"(\d+)(?:/| of )(\d+)", line):
            assert 0 < int(number) <= int(count)
    assert shares == sorted(shares)
    assert shares[-1] == 100


def test_the_levels_of_a_line(
    data: Path, tmp_path: Path, at_once: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words("collapse", data, tmp_path)) == 0
    lines = [
        re.sub(r", [\d.,e+]+ updates/s", ", SPEED", line)
        for line in capsys.readouterr().err.splitlines()
    ]
    lines = [re.sub(r"\d+ % done, .* left", "REST", line) for line in lines]
    expected = [f"its classifier, update {update}/3, SPEED, REST" for update in (1, 2, 3)]
    for place, ratio in enumerate((1, 5, 20, 100)):
        of_ratio = f"ratio {ratio} ({place + 1} of 4)"
        expected += [
            f"{of_ratio}, REST",
            *(f"{of_ratio}, update {update}/4, SPEED, REST" for update in range(1, 5)),
        ]
    expected[-1] = expected[-1].replace("REST", "100 % done")
    assert [line.removeprefix("experiment collapse: ") for line in lines] == [
        *expected,
        "100 % done",
    ]


def test_a_short_experiment_and_one_that_nobody_asked_say_nothing(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words("figure1", data, tmp_path)) == 0
    assert capsys.readouterr().err == ""
    assert not (tmp_path / "state").exists()


def test_what_is_told_changes_no_result(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for seconds in (0.0, math.inf):
        monkeypatch.setattr(progress, "FILE_EVERY", seconds)
        assert main(words("figure1", data, tmp_path)) == 0
        found.append((tmp_path / "out.json").read_bytes())
    assert found[0] == found[1]


@pytest.mark.slow
def test_an_experiment_on_a_terminal_into_a_pipe_and_in_status(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In processes of their own, for some seconds, with shorter times between two lines."""
    monkeypatch.setattr("replicate.jobs.forecast.CALIBRATION_SECONDS", 0.01)
    given = words("theory", data, tmp_path, updates=10, descent_steps=30_000)
    code = "import sys; from replicate.progress import reporting as progress\n"
    code += "progress.LINE_EVERY = progress.FILE_EVERY = 0.05\n"
    code += "from replicate.__main__ import main; sys.exit(main(sys.argv[1:]))"
    drawn = said_on_a_terminal(*given, start=("-c", code))
    line = r"experiment theory: descent of seed \d \(\d of 2\), step [\d,]+/30,000, "
    line += r"[\d,]+ steps/s, \d+ % done, \d+ (s|min) left"
    told, end = drawn.rsplit("\r\x1b[K", 1)
    assert told.startswith("\r\x1b[K")
    assert "\n" not in told
    assert any(re.fullmatch(line, one) for one in told.split("\r\x1b[K")), told
    assert end.startswith("experiment theory: 10 checks measured")
    whole = (tmp_path / "out.json").read_bytes()

    environment = os.environ | {"PYTHONPATH": str(package_root())}
    process = subprocess.Popen(
        [sys.executable, "-c", code, *given], env=environment, stderr=subprocess.PIPE, text=True
    )
    path = tmp_path / "state/progress/experiment-theory.json"
    while not path.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGSTOP)  # it must still run when it is asked about
    assert (
        main(
            [
                "status",
                "--params",
                RUN,
                "--results",
                str(tmp_path),
                "--state",
                str(tmp_path / "state"),
            ]
        )
        == 0
    )
    process.send_signal(signal.SIGCONT)
    assert "\n  running  experiment theory: " in capsys.readouterr().out
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "\r" not in said
    assert any(re.fullmatch(line, one) for one in said.splitlines()), said
    assert list((tmp_path / "state/progress").iterdir()) == []
    assert (tmp_path / "out.json").read_bytes() == whole


def test_status_passes_over_what_no_longer_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for pid, name in ((os.getpid(), "alive"), (2**22 + 1, "dead")):
        said = {"pid": pid, "state": "running", "line": f"experiment {name}: 3 % done"}
        write_json(tmp_path / "progress" / f"experiment-{name}.json", said)
    monkeypatch.setattr("replicate.jobs.forecast.CALIBRATION_SECONDS", 0.01)
    given = ["status", "--params", RUN, "--results", str(tmp_path), "--state", str(tmp_path)]
    assert main(given) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if "experiment" in line] == [
        f"  running  experiment alive: 3 % done, on {socket.gethostname()}"
    ]
    assert main([*given, "--json"]) == 0
    assert [one["line"] for one in json.loads(capsys.readouterr().out)["others_running"]] == [
        "experiment alive: 3 % done"
    ]
