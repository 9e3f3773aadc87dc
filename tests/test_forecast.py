"""The forecast: what is done, running and left, from recorded rates, rates timed now, and after an
interruption.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from replicate.__main__ import main
from replicate.datasets.base import Extent, Splits
from replicate.errors import ReplicateError
from replicate.jobs import forecast as forecast_module
from replicate.jobs.forecast import (
    Forecast,
    dominating,
    forecast,
    overall,
    recognition_gib,
    side_by_side,
)
from replicate.params import Likelihood, Params, load_params
from replicate.storage.files import read_json, write_json, write_tensors
from replicate.storage.paths import package_root
from replicate.storage.processes import this_process
from tests.datasets.data_helpers import write_images
from tests.stages.pipeline import PARAMS, Pipeline


def params(epochs: int, seeds: str = '["0-1"]') -> Params:
    return load_params(PARAMS.format(epochs=epochs).replace('["0-1"]', seeds))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project's folder in which the block 0-1 was trained for 4 epochs."""
    folder = tmp_path_factory.mktemp("forecast")
    pipeline = Pipeline(folder)
    pipeline.call("fetch", "--dataset", "digits", "--out", pipeline.manifest)
    pipeline.call(
        "prepare", "--dataset", "digits", "--manifest", pipeline.manifest, "--out", pipeline.data
    )
    pipeline.train(folder / "results/train/digits/adversarial_nets/0-1.safetensors")
    return folder


def test_a_finished_job_is_done_and_gives_the_rate_of_the_next(trained: Path) -> None:
    done, pending = forecast(params(4, '["0-1", "2-4"]'), trained / "results", trained / "none")
    record = read_json(trained / "results/train/digits/adversarial_nets/0-1.run.json")
    assert (done.state, pending.state) == ("done", "pending")
    assert pending.seconds == pytest.approx(record["wall_seconds"] / 2 * 3)
    assert pending.rate_from == "adversarial_nets on digits from an earlier job"
    weights = 3 * sum(
        read_json(trained / "results/train/digits/adversarial_nets/0-1.json")[
            "parameter_count"
        ].values()
    )
    assert pending.disk_gib == pytest.approx(4 * (3 * 2 * 300 * 64 + 7 * weights) / 2**30)


def test_other_epochs_are_not_done_and_cost_in_proportion(trained: Path) -> None:
    (job,) = forecast(params(40), trained / "results", trained / "none")
    record = read_json(trained / "results/train/digits/adversarial_nets/0-1.run.json")
    assert job.state == "pending"
    assert job.seconds == pytest.approx(record["wall_seconds"] * 10)


def test_a_model_that_never_ran_is_timed_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("replicate.jobs.forecast.CALIBRATION_SECONDS", 0.2)
    (job,) = forecast(params(1000), tmp_path / "results", tmp_path / "state")
    assert job.rate_from == "adversarial_nets on digits timed now"
    assert 1 < job.seconds < 10_000
    assert 0.01 < job.memory_gib < 10
    assert list(tmp_path.iterdir()) == []


def test_a_model_whose_rate_falls_to_nothing_is_timed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a few images a handful of steps is a whole training, at whose end a DBN's rate is 0."""
    monkeypatch.setattr("replicate.jobs.forecast.CALIBRATION_SECONDS", 0.2)
    given = {
        "seeds": ["0"],
        "datasets": {"digits": {}},
        "models": {"dbn": {"digits": {"epochs": 4}}},
    }
    (job,) = forecast(load_params(json.dumps(given)), tmp_path / "results", tmp_path / "state")
    assert job.seconds > 0


@pytest.mark.parametrize(("alive", "state"), [(True, "running"), (False, "pending")])
def test_a_running_job_shows_its_epoch_and_a_killed_one_where_it_goes_on(
    trained: Path, tmp_path: Path, alive: bool, state: str
) -> None:
    pid = os.getpid() if alive else 2**22 + 1  # above the kernel's largest process number
    progress = {
        "pid": pid,
        "state": "running",
        "epoch": 10,
        "epochs": 40,
        "seconds_left": 33.0,
        "text": "",
    }
    write_json(tmp_path / "progress" / "digits-adversarial_nets-0-1.json", progress)
    (job,) = forecast(params(40), trained / "results", tmp_path)
    rate = (
        read_json(trained / "results/train/digits/adversarial_nets/0-1.run.json")["wall_seconds"]
        / 4
    )
    assert (job.state, job.epoch) == (state, 10)
    assert job.host == (socket.gethostname() if alive else None)
    assert job.seconds == pytest.approx(33.0 if alive else rate * 30)


def test_a_number_that_another_process_has_now_is_not_the_job(
    trained: Path, tmp_path: Path
) -> None:
    """After a restart of the machine or of a container numbers are given again."""
    progress = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "state": "running",
        "epoch": 10,
        "epochs": 40,
        "seconds_left": 33.0,
    }
    path = tmp_path / "progress" / "digits-adversarial_nets-0-1.json"
    for began, state in ((this_process().began, "running"), ("1", "pending")):
        write_json(path, progress | {"began": began})
        (job,) = forecast(params(40), trained / "results", tmp_path)
        assert (job.state, job.epoch) == (state, 10)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"state": "running"}', '{"pid": "x"}', "{"])
def test_a_damaged_progress_file_says_nothing(
    trained: Path, tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "progress"
    folder.mkdir()
    for name in ("digits-adversarial_nets-0-1", "other"):
        (folder / f"{name}.json").write_text(content)
    words = ["status", "--params", PARAMS.format(epochs=40), "--state", str(tmp_path)]
    assert main([*words, "--results", str(trained / "results")]) == 0
    assert "  pending  digits adversarial_nets seeds 0-1: 40 epochs" in capsys.readouterr().out


def test_a_job_whose_seeds_all_failed_early_gives_the_rate_of_its_own_epochs(
    trained: Path, tmp_path: Path
) -> None:
    """Two of four epochs: each took twice as long as four in the same time would have."""
    results = tmp_path / "results"
    shutil.copytree(trained / "results", results)
    path = results / "train/digits/adversarial_nets/0-1.json"
    failure = {"epoch": 2, "reason": "nan"}
    write_json(path, read_json(path) | {"failed": {"0": failure, "1": failure}})
    (job,) = forecast(params(40), results, tmp_path / "none")
    seconds = read_json(path.with_suffix(".run.json"))["wall_seconds"]
    assert job.seconds == pytest.approx(20 * seconds)


def test_a_result_of_something_else_is_named(trained: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    shutil.copytree(trained / "results", results)
    path = results / "train/digits/adversarial_nets/0-1.json"
    write_json(path, {})
    with pytest.raises(ReplicateError, match="0-1.json: the content is not what its stage writes"):
        forecast(params(4), results, tmp_path / "none")


@pytest.mark.parametrize("cores", ["0", "-4"])
def test_a_number_of_cores_below_one_is_refused(
    cores: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "--params", PARAMS.format(epochs=4), "--cores", cores]) == 2
    assert f"--cores {cores}: a whole number from 1 is needed" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs a set of cores")
def test_cores_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `snakemake --cores all` counts them; containers have fewer than their machine."""
    monkeypatch.setattr("replicate.jobs.forecast.gpu_cards", lambda: ())
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 8})
    assert side_by_side(load_params("{}"), None) == 3


@pytest.mark.parametrize(("silence", "state"), [(5.0, "running"), (7200.0, "pending")])
def test_a_job_of_another_host_runs_as_long_as_it_says_something(
    trained: Path, tmp_path: Path, silence: float, state: str
) -> None:
    """Its process number means nothing here, whether or not there is one of that number."""
    for pid in (os.getpid(), 2**22 + 1):
        progress = {
            "host": "node7.example.org",
            "pid": pid,
            "updated": time.time() - silence,
            "state": "running",
            "epoch": 10,
            "epochs": 40,
            "seconds_left": 33.0,
            "text": "",
        }
        write_json(tmp_path / "progress" / "digits-adversarial_nets-0-1.json", progress)
        (job,) = forecast(params(40), trained / "results", tmp_path)
        assert (job.state, job.epoch) == (state, 10)
        assert job.host == ("node7.example.org" if state == "running" else None)


def test_jobs_side_by_side_share_the_time_and_add_their_memory() -> None:
    jobs = [
        Forecast("d", "m", str(n), "pending", 0, 1, seconds, 1.5, 2.0, "")
        for n, seconds in enumerate((5, 3, 2))
    ]
    assert overall(jobs, 2) == {
        "seconds": 5.0,
        "side_by_side": 2,
        "memory_gib": 3.0,
        "disk_gib": 6.0,
    }
    assert overall(jobs, 1)["seconds"] == 10.0
    assert overall(jobs, 8)["side_by_side"] == 3


@pytest.mark.parametrize(
    ("seconds", "at_once", "position"),
    [
        # Two lanes: 90 with the long one, 20 + 10 without it.
        ((90, 30, 10), 2, 0),
        # 59 beside 30 is less than twice as long.
        ((59, 30), 2, None),
        ((60, 30), 2, 0),
        # One lane: 100 in all, 55 without the longest.
        ((45, 30, 25), 1, None),
        ((50, 30, 20), 1, 0),
        ((7,), 2, None),
    ],
)
def test_a_job_that_dominates_doubles_the_time(
    seconds: tuple[int, ...], at_once: int, position: int | None
) -> None:
    jobs = [
        Forecast("d", "m", str(n), "pending", 0, 1, each, 1.0, 1.0, "")
        for n, each in enumerate(seconds)
    ]
    longest = dominating(jobs, at_once)
    assert longest is (None if position is None else jobs[position])


def test_status_says_it_in_words_and_as_json(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["status", "--params", PARAMS.format(epochs=4), "--results", str(trained / "results")]
    assert main([*words, "--state", str(trained / "none")]) == 0
    assert "done     digits adversarial_nets seeds 0-1" in capsys.readouterr().out
    assert main([*words, "--state", str(trained / "none"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["jobs"][0]["state"] == "done"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("train", "count", "seeds", "draws"),
    [(12_000, 1000, 1, 1), (1000, 4000, 2, 2)],
)
def test_the_memory_of_recognise_is_that_of_a_measured_peak(
    train: int, count: int, seeds: int, draws: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images of MNIST's shape, most of the memory in those of the data and in the samples: 10 % too
    little at most.
    """
    monkeypatch.setattr("replicate.diagnostics.classifier.UPDATES", 1)
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    parts = {"train": train, "valid": train // 4, "test": train // 4}
    images = {
        name: generator.integers(0, 255, (n, 1, 28, 28), dtype=np.uint8)
        for name, n in parts.items()
    }
    Splits(images, {name: np.arange(n) % 10 for name, n in parts.items()}, 255.0).write(
        tmp_path / "d.safetensors"
    )
    samples = generator.random((seeds, draws, count, 784), dtype=np.float32)
    about = {
        "model": "vae", "dataset": "mnist", "block": "0", "shape": [1, 28, 28], "seeds": list(range(seeds)),
        "failed": {}, "chains": None,
    }  # fmt: skip
    write_tensors(tmp_path / "s.safetensors", {"samples": samples}, {"about": json.dumps(about)})
    words = ["--params", '{"compute": {"device": "cpu"}}', "--data", "d.safetensors"]
    assert main(["classifier", *words, "--out", "c.safetensors"]) == 0
    words += ["--samples", "s.safetensors", "--classifier", "c.safetensors", "--out", "r.json"]
    environment = os.environ | {"PYTHONPATH": str(package_root())}
    subprocess.run(
        [sys.executable, "-m", "replicate", "recognise", *words], env=environment, check=True
    )
    measured = read_json(tmp_path / "r.run.json")["peak_memory_mib"] / 1024
    run = load_params(json.dumps({"likelihood": {"samples": count, "draws": draws}}))
    assert 0.9 * measured < recognition_gib(run, Extent((1, 28, 28), train), seeds) < 1.5 * measured


def test_a_job_needs_the_memory_of_recognise_where_that_is_more(trained: Path) -> None:
    """Many samples of a small model."""
    many = params(40).model_copy(update={"likelihood": Likelihood(samples=2_000_000, draws=5)})
    (job,) = forecast(many, trained / "results", trained / "none")
    (usual,) = forecast(params(40), trained / "results", trained / "none")
    assert job.memory_gib == recognition_gib(many, Extent((1, 8, 8), 1283), 2)
    assert usual.memory_gib < job.memory_gib


def test_threads_and_a_gpu_limit_the_jobs_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replicate.jobs.forecast.gpu_cards", lambda: ())
    assert side_by_side(load_params('{"compute": {"threads": 4}}'), 8) == 2
    assert side_by_side(load_params('{"compute": {"threads": 4}}'), 2) == 1
    for cards in (("0",), ("0", "1", "2")):
        monkeypatch.setattr("replicate.jobs.forecast.gpu_cards", lambda cards=cards: cards)
        assert side_by_side(load_params("{}"), 8) == len(cards)
    assert side_by_side(load_params('{"compute": {"device": "cpu"}}'), 8) == 8


@pytest.mark.parametrize(
    "change", ['"selection": {"every": 1', '"likelihood": {"validation_limit": 99']
)
def test_a_job_made_with_other_settings_is_not_done(trained: Path, change: str) -> None:
    section = change.split(":")[0]
    text = (
        PARAMS.format(epochs=4)
        .replace(section + ": {", change + ", ", 1)
        .replace('"every": 2, ', "")
    )
    (job,) = forecast(load_params(text), trained / "results", trained / "none")
    assert job.state == "pending"


def test_a_data_set_that_users_bring_is_forecast_by_its_own_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice the training images take twice the seconds, and the disk follows the images' size."""
    monkeypatch.setattr("replicate.jobs.forecast.CALIBRATION_SECONDS", 0.05)
    rows: list[int] = []
    timed = forecast_module._timed_rate
    monkeypatch.setattr(
        forecast_module,
        "_timed_rate",
        lambda *given: (rows.append(given[1].train), timed(*given))[1],
    )
    jobs = []
    for count, size in ((140, 8), (280, 8), (140, 16)):
        write_images(tmp_path / str(count), [f"{k}.png" for k in range(count)])
        text = {
            "datasets": {"images": {"folder": str(tmp_path / str(count)), "size": size}},
            "models": {"adversarial_nets": {"images": {"batch_size": 10}}},
            "seeds": ["0"],
        }
        (job,) = forecast(load_params(json.dumps(text)), tmp_path / "results", tmp_path / "none")
        jobs.append(job)
    assert rows == [100, 200, 100]
    assert jobs[2].disk_gib - jobs[0].disk_gib > 4 * 2 * 10_000 * 3 * (256 - 64) / 2**30 * 0.99


def test_a_timed_rate_is_that_of_a_training_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that counts steps: an epoch of digits in minibatches of 64 images has 20 of them."""
    from replicate.models.adversarial_nets import AdversarialNets

    steps = 0
    train_step = AdversarialNets.train_step

    def counting(*given: Any) -> Any:
        nonlocal steps
        steps += 1
        return train_step(*given)

    monkeypatch.setattr(AdversarialNets, "train_step", counting)
    monkeypatch.setattr(forecast_module.time, "monotonic", lambda: float(steps))
    monkeypatch.setattr(forecast_module, "CALIBRATION_SECONDS", 7.0)
    (job,) = forecast(params(40), tmp_path / "results", tmp_path / "state")
    assert job.seconds == 2 * 40 * (1283 // 64)
