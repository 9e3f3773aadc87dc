"""Runs beside kept ones: the same bits, a flipped digit, other versions, other settings; Welch
against scipy.
"""

import copy
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from replicate.__main__ import main
from replicate.comparison.result_differences import first_difference
from replicate.comparison.verify import Comparison, Numbers, Pair, compare_models, decide
from replicate.comparison.verify_statements import compare_statements
from replicate.records.run_folder import read_run
from replicate.storage.files import read_json, read_tensors, write_json, write_tensors
from replicate.storage.paths import package_root
from tests.stages.pipeline import Pipeline

VALUES = (100.0, 104.0, 98.0, 101.0)
RECORD = {
    "versions": {"torch": "2.13.0", "numpy": "2.4.6", "python": "3.11.7"}, "processor": "Xeon", "system": "Linux",
    "device": "cpu", "device_name": "CPU", "threads": 1, "source": {"commit": "abc"}, "products": "blas",
    "instructions": {"torch": "AVX512", "numpy": "X86_V4"},
}  # fmt: skip


def _write(path: Path, stage: str, parameters: dict[str, Any], **values: Any) -> None:
    content = {
        "schema": 1,
        "stage": stage,
        "code": f"{stage}-1",
        "parameters": parameters,
        "inputs": {"data": "d" * 64},
    }
    write_json(path, content | values)
    write_json(path.with_name(f"{path.stem}.run.json"), RECORD)


def _models(
    folder: Path, values: tuple[float, ...] = VALUES, first: int = 0, epochs: int = 5
) -> Path:
    """A run of one model on one data set, in one block of seeds."""
    seeds = list(range(first, first + len(values)))
    block = f"{first}-{seeds[-1]}"
    of = {"dataset": "digits", "model": "vae", "block": block, "seeds": seeds}
    draw = {
        "standard_error": 2.0,
        "standard_error_folds": None,
        "effective_samples": None,
        "autocorrelation": None,
    }
    draw["folds"] = [{"at_edge": False, "fine_log_likelihood": 1.0}]
    per_seed = [
        {
            "seed": seed,
            "failed": None,
            "log_likelihood": value,
            "draws": [draw | {"log_likelihood": value}],
        }
        for seed, value in zip(seeds, values, strict=True)
    ]
    asked = {"config": {"epochs": epochs, "rate": 0.1}, "compute": {"threads": 1}, "block": block}
    _write(
        folder / f"train/digits/vae/{block}.json",
        "train",
        asked,
        **of,
        chosen_epoch=[epochs] * len(seeds),
    )
    _write(
        folder / f"evaluation/digits/vae/{block}.json", "evaluate", {"compute": {}}, **of, per_seed=per_seed,
        n_test=[10], n_samples=100, n_validation=[10], validation_available=[10], dimension=64, sigmas=[0.1],
        chains=None,
    )  # fmt: skip
    return folder


def _statements(
    folder: Path, values: tuple[float | None, ...] = VALUES, changed: str | None = None
) -> Path:
    """A run with one statement of one experiment, decided by one exact check and one over seeds."""
    seeds = list(range(len(values)))
    checks = [
        {"reads": "error", "exact": True, "value": 0.0, "per_seed": None},
        {"reads": "gain (nats)", "exact": False, "value": 100.75, "per_seed": list(values)},
    ]
    statement = {
        "statement": "G1",
        "experiment": "gradients",
        "state": "replicated",
        "changed": changed,
        "checks": checks,
    }
    statement["protocol_sha256"] = "a" * 64
    config = {"seeds": "0-3", "width": 3 if changed else 64}
    found = {"G1": {"error": 0.0, "gain": list(values)}}
    named = {"experiment": "gradients", "seeds": seeds, "series": {}}
    _write(
        folder / "experiments/gradients.json",
        "experiment",
        {"config": config},
        **named,
        checks=found,
    )
    _write(folder / "statements.json", "statements", {"preset": "t"}, statements=[statement])
    return folder


def _change(path: Path, change: Callable[[Any], Any]) -> None:
    content = read_json(path)
    change(content)
    write_json(path, content)


def _set(path: Path, *steps: Any, to: Any) -> None:
    content = root = read_json(path)
    for step in steps[:-1]:
        content = content[step]
    content[steps[-1]] = to
    write_json(path, root)


def _one(ours: Path, theirs: Path) -> Comparison:
    run, kept = read_run(ours), read_run(theirs)
    (found,), _, _ = decide(compare_models(run, kept) + compare_statements(run, kept))
    return found


EVALUATION, TRAINING = "evaluation/digits/vae/0-3.json", "train/digits/vae/0-3.json"


def test_a_real_run_is_the_same_bits_as_itself_and_a_changed_image_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = Pipeline(tmp_path / "run")
    done.run()
    kept = tmp_path / "kept"
    shutil.copytree(done.folder, kept)
    words = ["verify", "--run", str(done.folder), "--reference", str(kept)]
    capsys.readouterr()
    assert main(words) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"digits adversarial_nets [{kept}]: same bits")
    assert said[-1] == "verify: 1 compared with 1 reference run(s): 1 same bits"
    path = done.evaluation.with_suffix(".safetensors")
    path.write_bytes(path.read_bytes()[:-1] + b"\x41")
    assert main(words) == 2
    assert f"{path} is not what it was written as" in capsys.readouterr().err
    images, _ = read_tensors(kept / path.relative_to(done.folder))
    images["fold0"][0, 0, 0] += 1e-9
    write_tensors(path, images)
    assert main(words) == 1
    assert f"{path} differs" in capsys.readouterr().out


def test_one_flipped_digit_fails_and_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, theirs = _models(tmp_path / "a"), _models(tmp_path / "b")
    assert _one(ours, theirs).outcome == "same bits"
    _set(ours / EVALUATION, "per_seed", 2, "log_likelihood", to=98.00000000000001)
    assert main(["verify", "--run", str(ours), "--reference", str(theirs)]) == 1
    out, error = capsys.readouterr()
    assert (
        f"{ours / EVALUATION} differs from {theirs / EVALUATION} at /per_seed/2/log_likelihood"
        in out
    )
    assert "98.00000000000001 here, 98.0 there" in out
    assert out.splitlines()[-1].endswith(": 1 failed")
    assert "1 of 1 comparisons failed" in error
    assert len(error.splitlines()) == 1


def test_the_first_stage_that_differs_is_named(tmp_path: Path) -> None:
    ours, theirs = _models(tmp_path / "a"), _models(tmp_path / "b")
    _set(ours / EVALUATION, "per_seed", 0, "log_likelihood", to=1.0)
    _set(ours / TRAINING, "chosen_epoch", 1, to=4)
    assert f"{ours / TRAINING} differs" in _one(ours, theirs).text


def test_other_code_of_a_later_stage_excuses_no_earlier_one(tmp_path: Path) -> None:
    ours, theirs = _models(tmp_path / "a"), _models(tmp_path / "b")
    _set(ours / EVALUATION, "code", to="evaluate-2")
    assert _one(ours, theirs).outcome == "same bits"
    _set(ours / TRAINING, "chosen_epoch", 1, to=4)
    assert _one(ours, theirs).outcome == "failed"


@pytest.mark.parametrize(
    ("steps", "value", "reason"),
    [
        (("versions", "torch"), "2.14.0", "torch 2.14.0 here, 2.13.0 there"),
        (("versions", "numpy"), "2.5.0", "numpy 2.5.0 here, 2.4.6 there"),
        (("versions", "python"), "3.12.1", "python 3.12 here, 3.11 there"),
        (("instructions", "torch"), "AVX2", "instructions of torch AVX2 here, AVX512 there"),
        (("instructions", "MKL_CBWR"), "AVX2", "instructions of MKL_CBWR AVX2 here, none there"),
        (("instructions",), None, "instruction sets not known here"),
        (("products",), "onednn", "products onednn here, blas there"),
        (("device",), "cuda", "device cuda here, cpu there"),
        (("threads",), 2, "threads 2 here, 1 there"),
    ],
)
def test_another_platform_is_named_and_the_means_are_compared(
    tmp_path: Path, steps: tuple[str, ...], value: Any, reason: str
) -> None:
    ours, theirs = _models(tmp_path / "a", (100.5, 104.0, 98.0, 101.0)), _models(tmp_path / "b")
    _set(ours / TRAINING.replace(".json", ".run.json"), *steps, to=value)
    found = _one(ours, theirs)
    assert found.outcome == "no difference found"
    assert reason in found.text
    assert "standard error over test images 2.0 here, 2.0 there" in found.text


@pytest.mark.parametrize(
    ("steps", "value"), [(("versions", "python"), "3.11.9"), (("processor",), "EPYC")]
)
def test_what_decides_no_bits_is_no_reason(
    tmp_path: Path, steps: tuple[str, ...], value: str
) -> None:
    """The third number of Python's version, and the processor's name where the instruction sets are
    the same.
    """
    ours, theirs = _models(tmp_path / "a", (100.5, 104.0, 98.0, 101.0)), _models(tmp_path / "b")
    for record in ours.rglob("*.run.json"):
        _set(record, *steps, to=value)
    assert _one(ours, theirs).outcome == "failed"


def test_of_records_with_a_processors_name_alone_bits_are_not_asked_for(tmp_path: Path) -> None:
    ours, theirs = _models(tmp_path / "a", (100.5, 104.0, 98.0, 101.0)), _models(tmp_path / "b")
    for record in [*ours.rglob("*.run.json"), *theirs.rglob("*.run.json")]:
        _change(record, lambda content: content.pop("instructions"))
    found = _one(ours, theirs)
    assert found.outcome == "no difference found"
    assert "instruction sets not known on either side" in found.text


def test_without_a_run_record_bits_are_not_asked_for(tmp_path: Path) -> None:
    ours, theirs = _models(tmp_path / "a", (100.5, 104.0, 98.0, 101.0)), _models(tmp_path / "b")
    (ours / TRAINING.replace(".json", ".run.json")).unlink()
    assert f"no run record beside {ours / TRAINING}" in _one(ours, theirs).text


def test_other_seeds_are_compared_by_welch_and_far_means_fail(tmp_path: Path) -> None:
    theirs = _models(tmp_path / "b")
    near, far = (
        _models(tmp_path / "a", (101.0, 99.0, 103.0), 4),
        _models(tmp_path / "c", (131.0, 129.0, 133.0), 4),
    )
    found = _one(near, theirs)
    assert found.outcome == "no difference found"
    assert "blocks of seeds 4-6 here, 0-3 there" in found.text
    found = _one(far, theirs)
    assert found.outcome == "failed"
    assert "without 0" in found.text


def test_one_seed_gives_a_difference_and_no_verdict(tmp_path: Path) -> None:
    found = _one(_models(tmp_path / "a", (150.0,), 7), _models(tmp_path / "b"))
    assert found.outcome == "inconclusive"
    assert "difference 49.25, no interval (1 against 4 seeds" in found.text


def test_a_failed_seed_is_inconclusive(tmp_path: Path) -> None:
    ours, theirs = _models(tmp_path / "a", first=4), _models(tmp_path / "b")
    gone = {"failed": {"epoch": 2, "reason": "x"}, "log_likelihood": None, "draws": []}
    _change(
        ours / EVALUATION.replace("0-3", "4-7"), lambda content: content["per_seed"][0].update(gone)
    )
    found = _one(ours, theirs)
    assert found.outcome == "inconclusive"
    assert "failed seeds 4 here, none there" in found.text


def test_other_settings_and_other_data_are_named_and_not_compared(tmp_path: Path) -> None:
    ours, theirs = _models(tmp_path / "a", (1.0, 2.0, 3.0, 4.0), epochs=9), _models(tmp_path / "b")
    _set(ours / EVALUATION, "n_samples", to=50)
    _set(ours / TRAINING, "inputs", "data", to="e" * 64)
    found = _one(ours, theirs)
    assert found.outcome == "different runs"
    for setting in (
        "config.epochs 9 here, 5 there",
        "n_samples 50 here, 100 there",
        f"data {'e' * 16} here",
    ):
        assert setting in found.text
    assert "rate" not in found.text


def test_chains_of_other_lengths_by_one_name_are_other_settings(tmp_path: Path) -> None:
    """Their numbers differ by more than any machine makes them: it was called a failure."""
    ours, theirs = _models(tmp_path / "ours"), _models(tmp_path / "theirs", (1.0, 2.0, 3.0, 4.0), 4)
    of_theirs = theirs / "evaluation/digits/vae/4-7.json"
    _set(ours / EVALUATION, "sampler", to={"chains": 1, "burn_in": 0, "thinning": 1})
    _set(of_theirs, "sampler", to={"chains": 1, "burn_in": 500, "thinning": 1})
    found = _one(ours, theirs)
    assert found.outcome == "different runs"
    assert "sampler.burn_in 0 here, 500 there" in found.text
    # A version that did not record it tells nothing of it.
    _change(of_theirs, lambda content: content.pop("sampler"))
    assert "sampler" not in _one(ours, theirs).text


def test_rounded_weights_are_compared_with_rounded_ones_alone(tmp_path: Path) -> None:
    """An exported generator that was evaluated again beside the run it comes from: neither a second
    run nor a fault.
    """
    ours, theirs = _models(tmp_path / "a"), _models(tmp_path / "b")
    rounded = {"rounded": {"to": "float16", "largest_difference": 0.001, "images": 100}}
    for folder in (ours, theirs):
        write_json(folder / "again.json", read_json(folder / EVALUATION) | rounded)
        shutil.copy(folder / EVALUATION.replace(".json", ".run.json"), folder / "again.run.json")
    _set(theirs / "again.json", "per_seed", 0, "log_likelihood", to=100.5)
    run, kept = read_run(ours), read_run(theirs)
    (whole, exported), _, _ = decide(compare_models(run, kept))
    assert (whole.subject, whole.outcome) == ("digits vae", "same bits")
    assert (exported.subject, exported.outcome) == ("digits vae with rounded weights", "failed")
    assert f"{ours / 'again.json'} differs from {theirs / 'again.json'}" in exported.text
    (theirs / "again.json").unlink()
    assert _one(ours, theirs).outcome == "same bits"


def test_another_precision_is_another_run_and_float32_is_that_of_older_ones(tmp_path: Path) -> None:
    ours, theirs = _models(tmp_path / "a", (1.0, 2.0, 3.0, 4.0)), _models(tmp_path / "b")
    _set(ours / TRAINING, "parameters", "compute", "precision", to="float32")
    assert _one(ours, theirs).outcome == "failed"
    _set(ours / TRAINING, "parameters", "compute", "precision", to="bfloat16")
    found = _one(ours, theirs)
    assert found.outcome == "different runs"
    assert "precision bfloat16 here, float32 there" in found.text


def test_a_block_of_other_settings_is_not_averaged_in(tmp_path: Path) -> None:
    ours = _models(_models(tmp_path / "a"), (5.0, 6.0), first=4, epochs=9)
    assert "config.epochs 9 here, 5 there" in _one(ours, _models(tmp_path / "b")).text


def test_statements_the_same_changed_and_of_other_versions(tmp_path: Path) -> None:
    ours, theirs = _statements(tmp_path / "a"), _statements(tmp_path / "b")
    assert _one(ours, theirs).outcome == "same bits"
    near = _statements(tmp_path / "c", (100.5, 104.0, 98.0, 101.0))
    found = _one(near, theirs)
    assert found.outcome == "failed"
    assert f"{near / 'experiments/gradients.json'} differs" in found.text
    _set(theirs / "statements.json", "statements", 0, "state", to="inconclusive")
    assert "what the statement says of it is not" in _one(ours, theirs).text
    _set(theirs / "statements.json", "statements", 0, "state", to="replicated")
    drawn = _statements(tmp_path / "e")
    _set(drawn / "experiments/gradients.json", "series", "curve", to=[1.0])
    assert "gradients.json at /series" in _one(drawn, theirs).text
    _set(near / "experiments/gradients.run.json", "versions", "torch", to="2.14.0")
    found = _one(near, theirs)
    assert found.outcome == "no difference found"
    for words in (
        "replicated in both",
        "gain (nats): 100.875 here, 100.75 there",
        "error: 0 here",
        "torch 2.14.0 here",
    ):
        assert words in found.text
    found = _one(_statements(tmp_path / "d", (1.0, 2.0), changed="width"), theirs)
    assert found.outcome == "different runs"
    assert "width 3 here, 64 there" in found.text


def test_a_statement_whose_experiment_was_not_kept_is_compared_by_its_checks(
    tmp_path: Path,
) -> None:
    ours, theirs = (
        _statements(tmp_path / "a", (100.5, 104.0, 98.0, 101.0)),
        _statements(tmp_path / "b"),
    )
    (theirs / "experiments/gradients.json").unlink()
    found = _one(ours, theirs)
    assert found.outcome == "no difference found"
    assert f"no result of gradients was kept in {theirs}" in found.text
    for folder in (ours, theirs):
        _set(folder / "statements.json", "statements", 0, "changed", to="width")
    assert "the values" in _one(ours, theirs).text


def test_opposite_verdicts_fail_and_a_failed_seed_is_inconclusive(tmp_path: Path) -> None:
    ours, theirs = _statements(tmp_path / "a", (1.0, None, 2.0)), _statements(tmp_path / "b")
    _set(ours / "experiments/gradients.json", "code", to="experiment-2")
    assert _one(ours, theirs).outcome == "inconclusive"
    _set(ours / "statements.json", "statements", 0, "state", to="not replicated")
    found = _one(ours, theirs)
    assert found.outcome == "failed"
    assert "opposite verdicts by the same rule: not replicated here, replicated there" in found.text
    _set(ours / "statements.json", "statements", 0, "protocol_sha256", to="b" * 64)
    found = _one(ours, theirs)
    assert found.outcome == "inconclusive"
    assert f"rule {'b' * 16} here, {'a' * 16} there" in found.text


def test_the_data_set_of_an_experiment_that_was_not_kept_is_in_the_parameter_file(
    tmp_path: Path,
) -> None:
    ours, theirs = _statements(tmp_path / "a"), _statements(tmp_path / "b", (1.0, 2.0, 3.0))
    for folder, dataset in ((ours, "mnist"), (theirs, "digits")):
        _set(folder / "statements.json", "statements", 0, "experiment", to="features")
        (folder / "params.yaml").write_text(f"experiments: {{features: {{dataset: {dataset}}}}}")
    found = _one(ours, theirs)
    assert found.outcome == "different runs"
    assert "dataset mnist here, digits there" in found.text


@pytest.mark.parametrize(
    ("run", "reference", "message"),
    [
        (
            "nowhere",
            "models",
            "nowhere is not a folder; give the folder that holds the results of a run",
        ),
        ("empty", "models", "holds no evaluation and no statements; run the pipeline first"),
        ("models", "statements", "have no model on a data set and no statement in common"),
        ("twice", "models", "digits vae 0-3; give the folder of one run"),
        ("broken", "models", "is not valid JSON"),
    ],
)
def test_what_is_missing_is_one_sentence(
    tmp_path: Path, run: str, reference: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _models(tmp_path / "models")
    _statements(tmp_path / "statements")
    _models(_models(tmp_path / "twice") / "again")
    (tmp_path / "empty").mkdir()
    (_models(tmp_path / "broken") / EVALUATION).write_text("{")
    assert (
        main(["verify", "--run", str(tmp_path / run), "--reference", str(tmp_path / reference)])
        == 2
    )
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_by_default_every_kept_run_that_has_something_in_common(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    _models(Path("results"))
    assert main(["verify"]) == 2
    assert "results/reference holds no kept run" in capsys.readouterr().err
    for name, write in (("one", _models), ("deeper/two", _models), ("three", _statements)):
        folder = write(Path("results/reference") / name)
        (folder / "params.yaml").write_text("preset: t\n")
    assert main(["verify"]) == 0
    assert (
        capsys.readouterr().out.splitlines()[-1]
        == "verify: 2 compared with 2 reference run(s): 2 same bits"
    )


def test_the_kept_runs_of_the_project_are_readable_and_agree() -> None:
    kept = package_root() / "results/reference"
    ours, theirs = (read_run(kept / "statements" / name) for name in ("seeds-10-19", "seeds-0-9"))
    comparisons, intervals, level = decide(compare_statements(ours, theirs))
    assert {one.outcome for one in comparisons} == {"no difference found"}
    assert level == pytest.approx(1 - 0.05 / intervals)
    run = read_run(kept / "mnist-1-seed")
    assert {pair.settled for pair in compare_models(run, run)} == {"same bits"}


def test_it_starts_without_torch() -> None:
    code = "import sys; import replicate.stages.verify; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["verify", "--help"])
    assert "Exit status: 0 if nothing failed, 1 if something did" in capsys.readouterr().out


def _judged(*sides: tuple[tuple[float, ...], tuple[float, ...]]) -> tuple[list[Comparison], float]:
    pairs = [Pair("s", "r", None, numbers=(Numbers("x", *side),)) for side in sides]
    comparisons, _, level = decide(pairs)
    return comparisons, level


SIDE = st.lists(st.floats(-100, 100).map(lambda x: round(x, 3)), min_size=1, max_size=6).map(tuple)


@given(SIDE, SIDE, st.integers(0, 5))
def test_the_outcome_is_that_of_scipys_test_at_the_simultaneous_level(
    ours: tuple[float, ...], theirs: tuple[float, ...], others: int
) -> None:
    pairs = [(ours, theirs), *[((1.0, 2.0), (1.0, 2.5))] * others]
    (found, *_), level = _judged(*pairs)
    if min(len(ours), len(theirs)) < 2:
        assert found.outcome == "inconclusive"
        return
    assert level == pytest.approx(1 - 0.05 / len(pairs))
    if 1 in (len(set(ours)), len(set(theirs))):
        return  # scipy warns of a side without spread
    low, high = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(level)
    if min(abs(low), abs(high)) > 1e-3:
        assert (found.outcome == "failed") == (not low < 0 < high)


@given(SIDE, SIDE)
def test_swapping_the_sides_changes_no_outcome(
    ours: tuple[float, ...], theirs: tuple[float, ...]
) -> None:
    (there, back), _ = _judged((ours, theirs), (theirs, ours))
    assert there.outcome == back.outcome


def test_rounding_without_spread_is_no_difference() -> None:
    found, _ = _judged(((0.1 + 0.2, 0.1 + 0.2), (0.3, 0.3)), ((1.0, 1.0), (1.1, 1.1)))
    assert [one.outcome for one in found] == ["no difference found", "failed"]


JSON = st.recursive(
    st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda x: st.lists(x) | st.dictionaries(st.text(), x),
)


@given(JSON, JSON)
def test_values_differ_exactly_where_their_bytes_do(ours: Any, theirs: Any) -> None:
    assert first_difference(ours, copy.deepcopy(ours)) is None
    same = json.dumps(ours, sort_keys=True) == json.dumps(theirs, sort_keys=True)
    assert (first_difference(ours, theirs) is None) == same
    assert (first_difference(theirs, ours) is None) == same
