"""The stages by hand, one after another, on the embedded digits: what each refuses, and what it
must not see.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from replicate.__main__ import main
from replicate.datasets.base import Splits
from replicate.likelihood.parzen import choose_bandwidth, log_density
from replicate.records.frame import checked_content
from replicate.storage.files import read_json, read_tensors, write_tensors
from replicate.training.sweep import Sweep
from tests.result_kinds import kind_of, undeclared
from tests.stages.pipeline import PARAMS, Pipeline


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """Every stage from fetch to table, run once."""
    pipeline = Pipeline(tmp_path_factory.mktemp("pipeline"))
    pipeline.run()
    return pipeline


def test_the_pipeline_ends_in_a_table(done: Pipeline) -> None:
    table = read_json(done.table)
    cells = {row["model"]: row["cells"] for row in table["rows"]}
    found = cells["adversarial_nets"]["digits"]
    per_seed = read_json(done.evaluation)["per_seed"]
    assert found["measured"]["mean"] == pytest.approx(
        np.mean([seed["log_likelihood"] for seed in per_seed])
    )
    assert found["measured"]["seeds"] == [0, 1]
    assert found["verdict"]["state"] == "no published value"
    assert cells["adversarial_nets"]["mnist"]["verdict"]["state"] == "not attempted"
    assert cells["dbn"]["tfd"]["published"]["log_likelihood"] == 1909


def test_reported_means_are_those_of_the_kept_images(done: Pipeline) -> None:
    values = read_tensors(done.evaluation.with_suffix(".safetensors"))[0]["fold0"]
    for place, seed in enumerate(read_json(done.evaluation)["per_seed"]):
        for number, draw in enumerate(seed["draws"]):
            assert draw["log_likelihood"] == pytest.approx(values[place, number].mean(), rel=1e-12)
            error = values[place, number].std() / np.sqrt(values.shape[2])
            assert draw["standard_error"] == pytest.approx(error, rel=1e-12)
            assert draw["standard_error_folds"] is None
            assert len(draw["folds"]) == 1


def _in_folds(done: Pipeline, folder: Path) -> Path:
    """Digits as a set with three folds: validation and test images are one labelled pool, which
    each fold cuts anew.
    """
    splits = Splits.read(done.data)
    labelled = np.concatenate([splits.images["valid"], splits.images["test"]])
    order = np.random.default_rng(0).permutation(len(labelled))
    folds = []
    for valid, test in ((30, 60), (45, 100), (60, 90)):
        rows = np.roll(order, 100 * len(folds))
        folds.append(
            {
                "train": rows[valid + test :],
                "valid": rows[:valid],
                "test": rows[valid : valid + test],
            }
        )
    path = folder / "folds.safetensors"
    pools = {"train": splits.images["train"], "labelled": labelled}
    Splits(pools, {}, splits.divisor, splits.value_range, folds, whole_validation=True).write(path)
    return path


def test_every_fold_chooses_its_own_bandwidth_and_the_error_is_over_folds(
    done: Pipeline, tmp_path: Path
) -> None:
    data, limit = _in_folds(done, tmp_path), '{"likelihood": {"validation_limit": 20}}'
    files = {"--samples": done.samples, "--data": data, "--out": tmp_path / "b.json"}
    done.call("bandwidth", *[word for pair in files.items() for word in pair], params=limit)
    chosen = read_json(tmp_path / "b.json")
    assert chosen["n_validation"] == chosen["validation_available"] == [30, 45, 60]
    files |= {"--bandwidth": tmp_path / "b.json", "--out": tmp_path / "e.json"}
    done.call("evaluate", *[word for pair in files.items() for word in pair])
    found, images = read_json(tmp_path / "e.json"), read_tensors(tmp_path / "e.safetensors")[0]
    assert found["n_test"] == [60, 100, 90]
    splits, samples = Splits.read(data), torch.from_numpy(read_tensors(done.samples)[0]["samples"])
    for place, seed in enumerate(found["per_seed"]):
        for number, draw in enumerate(seed["draws"]):
            for k, fold in enumerate(draw["folds"]):
                choice = choose_bandwidth(
                    samples[place, number],
                    torch.from_numpy(splits.flat("valid", k)),
                    tuple(chosen["sigmas"]),
                )
                assert fold["sigma"] == chosen["chosen"][place][number][k] == choice.sigma
                assert chosen["curve"][place][number][k] == pytest.approx(
                    choice.curve, rel=1e-5, abs=1e-6
                )
                test = log_density(
                    samples[place, number], torch.from_numpy(splits.flat("test", k)), fold["sigma"]
                )
                np.testing.assert_allclose(
                    images[f"fold{k}"][place, number], test.numpy(), rtol=1e-5, atol=1e-6
                )
                assert fold["log_likelihood"] == pytest.approx(
                    float(test.mean()), rel=1e-5, abs=1e-6
                )
            means = [fold["log_likelihood"] for fold in draw["folds"]]
            assert draw["log_likelihood"] == pytest.approx(np.mean(means))
            assert draw["standard_error_folds"] == pytest.approx(np.std(means, ddof=1) / np.sqrt(3))
            assert draw["standard_error"] == pytest.approx(
                np.mean([f["standard_error"] for f in draw["folds"]])
            )


def test_chains_are_told_from_independent_draws(done: Pipeline, tmp_path: Path) -> None:
    """The same images, said to come from ten chains that repeat each image five times, count about
    a fifth.
    """
    tensors, metadata = read_tensors(done.samples)
    about = json.loads(metadata["about"])
    assert about["chains"] is None
    assert read_json(done.evaluation)["per_seed"][0]["draws"][0]["effective_samples"] == 300
    rounds = (
        tensors["samples"]
        .reshape(2, 2, 30, 10, -1)[:, :, :20]
        .repeat(5, axis=2)
        .reshape(2, 2, 1000, -1)
    )
    chained = {"about": json.dumps(about | {"chains": 10}), "code": metadata["code"]}
    write_tensors(tmp_path / "s.safetensors", {"samples": rounds}, chained)
    files = {
        "--samples": tmp_path / "s.safetensors",
        "--data": done.data,
        "--out": tmp_path / "b.json",
    }
    done.call("bandwidth", *[word for pair in files.items() for word in pair])
    files |= {"--bandwidth": tmp_path / "b.json", "--out": tmp_path / "e.json"}
    done.call("evaluate", *[word for pair in files.items() for word in pair])
    found = read_json(tmp_path / "e.json")
    assert found["chains"] == 10
    for seed in found["per_seed"]:
        for draw in seed["draws"]:
            assert 80 < draw["effective_samples"] < 320
            assert draw["autocorrelation"][0] > 0.5


def test_samples_that_do_not_name_their_chains_are_refused(
    done: Pipeline, tmp_path: Path, capsys: Any
) -> None:
    tensors, metadata = read_tensors(done.samples)
    about = {
        name: value for name, value in json.loads(metadata["about"]).items() if name != "chains"
    }
    write_tensors(tmp_path / "s.safetensors", tensors, {"about": json.dumps(about)})
    words = [
        "bandwidth",
        "--samples",
        tmp_path / "s.safetensors",
        "--data",
        done.data,
        "--out",
        tmp_path / "b.json",
    ]
    assert main([str(word) for word in words]) == 2
    assert "run `sample` again" in capsys.readouterr().err


def test_every_stage_twice_gives_the_same_bytes(done: Pipeline, tmp_path: Path) -> None:
    again = Pipeline(tmp_path)
    again.run()
    compared = 0
    for one in sorted(done.folder.rglob("*")):
        apart = (
            ".state" in one.parts or one.name.endswith(".run.json") or one == done.table
        )  # a table names its inputs
        if one.is_file() and not apart:
            assert one.read_bytes() == (tmp_path / one.relative_to(done.folder)).read_bytes(), one
            compared += 1
    assert compared == 10


def test_every_result_of_the_stages_is_what_its_type_says(done: Pipeline) -> None:
    paths = [path for path in done.folder.rglob("*.json") if ".state" not in path.parts]
    assert len(paths) > 10
    for path in paths:
        content = read_json(path)
        kind = kind_of(path, content)
        assert checked_content(content, kind, path, "run it again") is content
        assert not undeclared(content, kind), path


def _poisoned(done: Pipeline, folder: Path, split: str) -> Path:
    """The prepared data with one split replaced by values that are not numbers."""
    splits = Splits.read(done.data)
    images = {name: splits.flat(name).reshape(splits.images[name].shape) for name in splits.images}
    images[split] = np.full_like(images[split], np.nan)
    path = folder / "poisoned.safetensors"
    Splits(images, splits.labels, 1.0, splits.value_range).write(path)
    return path


def test_the_bandwidth_never_sees_test_images(done: Pipeline, tmp_path: Path) -> None:
    """Contract 7: test rows that are not numbers do not move the choice."""
    poisoned = _poisoned(done, tmp_path, "test")
    done.call(
        "bandwidth", "--samples", done.samples, "--data", poisoned, "--out", tmp_path / "b.json"
    )
    moved, chosen = read_json(tmp_path / "b.json"), read_json(done.bandwidth)
    for name in ("chosen", "curve", "fine", "at_edge"):
        assert moved[name] == chosen[name]


def test_training_never_sees_test_images(done: Pipeline, tmp_path: Path) -> None:
    poisoned = _poisoned(done, tmp_path, "test")
    done.train(tmp_path / "w.safetensors", data=poisoned)
    moved, chosen = read_json(tmp_path / "w.json"), read_json(done.weights.with_suffix(".json"))
    assert moved["curve"] == chosen["curve"]
    assert moved["chosen_epoch"] == chosen["chosen_epoch"]


def test_data_that_are_not_numbers_fail_every_seed_and_say_so(
    done: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    poisoned = _poisoned(done, tmp_path, "train")
    broken = Pipeline(tmp_path, data=poisoned)
    broken.run(first="train")
    assert "seed 0 failed in epoch 1" in capsys.readouterr().out
    progress = read_json(broken.weights.parent / ".state/progress/digits-adversarial_nets-0-1.json")
    assert (progress["state"], progress["epoch"], progress["epochs"]) == ("done", 1, 4)
    cell = read_json(broken.table)["rows"][3]["cells"]["digits"]
    assert cell["measured"]["mean"] is None
    assert [entry["seed"] for entry in cell["measured"]["failed"]] == [0, 1]


def test_a_bandwidth_of_other_samples_is_refused(
    done: Pipeline, tmp_path: Path, capsys: Any
) -> None:
    done.call(
        "sample",
        "--weights",
        done.weights,
        "--data",
        done.data,
        "--out",
        tmp_path / "s.safetensors",
        params='{"likelihood":{"samples":50}}',
    )
    words = [
        "evaluate",
        "--samples",
        tmp_path / "s.safetensors",
        "--bandwidth",
        done.bandwidth,
        "--data",
        done.data,
    ]
    assert main([str(word) for word in [*words, "--out", tmp_path / "e.json"]]) == 2
    assert "other samples; run `bandwidth` again" in capsys.readouterr().err
    assert not (tmp_path / "e.json").exists()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            '{"likelihood": {"sigmas": [-0.1, 0.2]}}',
            r"likelihood.sigmas[0]: input should be greater than or equal to 0.0001",
        ),
        ('{"likelihood": {"sigmas": [0.2, 0.1]}}', "ascending order"),
        ('{"likelihood": {"sigma": 0.2}}', "likelihood.sigma: unknown key"),
        ('{"compute": {"threads": "two"}}', "compute.threads: a whole number is needed, not 'two'"),
        ('{"compute": {"threads": true}}', "compute.threads: a whole number is needed, not true"),
        ('{"compute": ', "the inline parameters are not valid JSON"),
        ('{"seeds": ["0-2", "2"]}', "seed 2 stands in more than one block"),
        ('{"seeds": ["5-3"]}', "runs backwards"),
    ],
)
def test_bad_parameters_are_named_with_their_path(
    done: Pipeline, params: str, message: str, capsys: Any
) -> None:
    words = [
        "bandwidth",
        "--params",
        params,
        "--samples",
        done.samples,
        "--data",
        done.data,
        "--out",
        "never.json",
    ]
    assert main([str(word) for word in words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert not Path("never.json").exists()


def test_a_folder_where_a_file_should_be_is_one_sentence(
    done: Pipeline, tmp_path: Path, capsys: Any
) -> None:
    for words in (
        ["params", str(tmp_path)],
        ["table", "--params", str(tmp_path), "--out", "never.json"],
    ):
        assert main(words) == 2
        assert f"cannot read {tmp_path}: Is a directory" in capsys.readouterr().err
    done_table = [
        "table",
        "--params",
        PARAMS.format(epochs=4),
        "--out",
        "never.json",
        str(tmp_path),
    ]
    assert main(done_table) == 2
    assert "Is a directory" in capsys.readouterr().err


def test_unknown_names_list_the_known_ones(done: Pipeline, capsys: Any) -> None:
    assert main(["fetch", "--dataset", "mnits", "--out", "never.json"]) == 2
    assert (
        "there is no data set 'mnits'; the registered ones are digits, mnist"
        in capsys.readouterr().err
    )
    assert main(["nonsense"]) == 2
    assert "there is no stage 'nonsense'" in capsys.readouterr().err


def _start_training(
    pipeline: Pipeline, out: Path, state: Path, epochs: int
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "replicate", *pipeline.training_words(out, state, epochs=epochs)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def _wait_for(path: Path, field: str, least: int) -> dict[str, Any]:
    for _ in range(600):
        if path.is_file():
            found: dict[str, Any] = json.loads(path.read_text())
            if found[field] >= least:
                return found
        time.sleep(0.05)
    raise AssertionError(f"{path} never reached {field} {least}")


@pytest.mark.slow
def test_ctrl_c_in_the_middle_of_training_resumes_to_the_same_bits(
    done: Pipeline, tmp_path: Path
) -> None:
    whole, parts, state = (
        tmp_path / "whole.safetensors",
        tmp_path / "parts.safetensors",
        tmp_path / "state",
    )
    done.train(whole, epochs=60)
    process = _start_training(done, parts, state, 60)
    _wait_for(state / "progress" / "digits-adversarial_nets-0-1.json", "epoch", 2)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "the same command goes on from here" in output
    assert not parts.exists()
    resumed = _start_training(done, parts, state, 60)
    output, _ = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, output
    assert "goes on from epoch" in output
    assert parts.read_bytes() == whole.read_bytes()
    assert parts.with_suffix(".json").read_bytes() == whole.with_suffix(".json").read_bytes()
    assert len(list(state.glob("checkpoints/*/step-*.safetensors"))) == 1, (
        "the last state, for a run with more epochs"
    )


def test_a_training_resumed_and_stopped_within_one_epoch_has_positive_rates(
    done: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """12 steps an epoch: stopped after 3 of them, gone on, stopped after 3 more."""
    step_of = Sweep._train_step

    def stopping(sweep: Sweep, chosen: Tensor, epoch: int) -> None:
        step_of(sweep, chosen, epoch)
        if sweep.step % 3 == 0:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Sweep, "_train_step", stopping)
    words = done.training_words(tmp_path / "w.safetensors", tmp_path / "state")
    for _ in range(2):
        assert main(words) == 130
    progress = read_json(tmp_path / "state/progress/digits-adversarial_nets-0-1.json")
    assert (progress["state"], progress["epoch"]) == ("stopped", 0)
    for rate in ("seconds_per_epoch", "images_per_second", "seconds_left"):
        assert progress[rate] > 0


def test_a_checkpoint_of_other_instruction_sets_is_named_and_not_used(
    done: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last bits would be neither those of the one nor of the other."""
    own = torch.backends.cpu.get_cpu_capability()
    if own == "DEFAULT":
        pytest.skip("this processor has no vector instructions that torch uses")
    step_of = Sweep._train_step

    def stopping(sweep: Sweep, chosen: Tensor, epoch: int) -> None:
        step_of(sweep, chosen, epoch)
        signal.raise_signal(signal.SIGINT)

    words = done.training_words(tmp_path / "w.safetensors", tmp_path / "state", epochs=2)
    with monkeypatch.context() as patch:
        patch.setattr(Sweep, "_train_step", stopping)
        assert main(words) == 130
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    command = [sys.executable, "-m", "replicate", *words]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "holds a checkpoint of other settings, which is not used" in ended.stderr
    assert f"backend.instructions.torch: {own} -> DEFAULT" in ended.stderr
    assert "goes on from" not in ended.stdout


@pytest.mark.slow
def test_two_trainings_of_one_run_do_not_mix(done: Pipeline, tmp_path: Path) -> None:
    first = _start_training(done, tmp_path / "a.safetensors", tmp_path / "state", 100_000)
    try:
        _wait_for(tmp_path / "state" / "progress" / "digits-adversarial_nets-0-1.json", "epoch", 1)
        second = _start_training(done, tmp_path / "a.safetensors", tmp_path / "state", 100_000)
        output, _ = second.communicate(timeout=60)
        assert second.returncode == 2
        assert (
            f"another process (pid {first.pid} of {socket.gethostname()}) is training this very run"
            in output
        )
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.communicate()
