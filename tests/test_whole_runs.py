"""Verdicts of rows of which a shorter run is not the beginning of a longer one, from made-up runs of
other lengths (docs/protocol.md, section 8).
"""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from replicate.models import REGISTRY, load_model
from replicate.reference_runs.blocks import Folders
from replicate.reference_runs.plan import read_plan
from replicate.stages.reference import (
    _runs_of_other_lengths,
    _write_table,
    _write_tables_with,
)
from replicate.storage.files import read_json
from replicate.verdicts.table1 import build_table
from replicate.verdicts.whole_runs import OtherRun
from tests.test_recompute import script
from tests.test_table import CONTEXT, PROTOCOL, PUBLISHED, evaluation, training

ROOT = Path(__file__).parent.parent
KEPT = ROOT / "results/reference"
#: The published value of the DBN, and the margin that decides.
PUBLISHED_VALUE, MARGIN = 138.0, 17.0


def run_of(
    values: list[float], epochs: int, rise: float = 0.0, model: str = "dbn", **config: Any
) -> OtherRun:
    """One block of a run of so many epochs."""
    _, content = training(list(range(len(values))), rise, epochs)
    content["parameters"] = {
        "dataset": "mnist", "model": model, "block": f"0-{len(values)}",
        "config": {"epochs": epochs, "learning_rate": 0.02} | config,
    }  # fmt: skip
    file = f"results/reference/{epochs}/{model}/0/train.json"
    return OtherRun([evaluation(values, model=model)], [(file, content)])  # type: ignore[list-item]


def table_cell(own: OtherRun, *others: OtherRun, model: str = "dbn") -> dict[str, Any]:
    key = (model, "mnist")
    table = build_table(
        "test", [key], {key: own.evaluations}, PUBLISHED, CONTEXT, PROTOCOL,
        training={key: own.trainings}, others={key: others},
    )  # fmt: skip
    cells = {row["model"]: row["cells"] for row in table["rows"]}
    found: dict[str, Any] = dict(cells[model]["mnist"])
    return found


def verdict(own: OtherRun, *others: OtherRun, model: str = "dbn") -> dict[str, Any]:
    found: dict[str, Any] = table_cell(own, *others, model=model)["verdict"]
    return found


def around(level: float, spread: float = 1.0, seeds: int = 6) -> list[float]:
    """Values whose mean is `level`, and their standard deviation `spread`."""
    steps = np.arange(seeds) - (seeds - 1) / 2
    return list(level + spread * steps / np.std(steps, ddof=1))


def test_a_jump_at_the_end_is_no_rise_where_half_and_twice_the_epochs_agree() -> None:
    own = run_of(around(138), 100, rise=167.0)
    assert verdict(own)["state"] == "withheld"
    judged = verdict(own, run_of(around(137), 50), run_of(around(139), 200))
    assert judged["state"] == judged["claim_state"] == "replicated"
    told = "so too after 50 epochs (137.0 nats) and 200 epochs (139.0 nats)"
    assert judged["reason"].endswith(told)


@pytest.mark.parametrize("own", [100.0, 119.5, 138.0, 170.0])
@pytest.mark.parametrize("half", [100.0, 138.0, 170.0])
@pytest.mark.parametrize("twice", [90.0, 105.0, 112.0, 138.0, 170.0])
def test_the_second_opinion_knows_the_rule_by_whole_runs(
    own: float, half: float, twice: float
) -> None:
    """`tools/recompute.py`, with formulas of its own, over lengths that agree and that do not."""
    runs = [run_of(around(own), 100, rise=167.0), run_of(around(half, 3.0), 50)]
    runs.append(run_of(around(twice, 2.0), 200))
    cell = table_cell(runs[0], *runs[1:])
    values = np.array([seed["log_likelihood"] for seed in cell["measured"]["per_seed"]])
    kept = SimpleNamespace(values=values, obstacle=lambda *rules: None)
    protocol = PROTOCOL.model_dump(mode="json")
    rule = protocol["claims"]["T1/mnist/dbn"]
    published = {"model": "dbn", "log_likelihood": "138", "standard_error": "2"}
    module = script()
    expected = module.equivalence(kept, published, rule, protocol, 1, cell["measured"])
    assert expected["state"] == cell["verdict"]["state"]


@pytest.mark.parametrize("half", [138.0, 60.0])
@pytest.mark.parametrize("twice", [138.0, 60.0])
def test_lengths_with_other_verdicts_leave_it_open(half: float, twice: float) -> None:
    own = run_of(around(138), 100)
    judged = verdict(own, run_of(around(half), 50), run_of(around(twice), 200))
    if half == twice == 138.0:
        assert judged["state"] == "replicated"
        return
    assert judged["state"] == "withheld"
    assert "the verdict depends on the epochs: replicated with these" in judged["reason"]
    assert ("not replicated with 50 epochs (60.0 nats" in judged["reason"]) == (half == 60.0)
    assert ("not replicated with 200 epochs (60.0 nats" in judged["reason"]) == (twice == 60.0)
    assert judged["claim_state"] == "replicated", "what the tests say is shown all the same"


def test_exceeds_does_not_stand_where_more_epochs_lower_the_value() -> None:
    own = run_of(around(200), 100, rise=30.0)
    assert verdict(own)["state"] == "exceeds"
    judged = verdict(own, run_of(around(200), 50), run_of(around(60), 200))
    assert judged["state"] == "withheld"


@pytest.mark.parametrize("twice", [40.0, 60.0, 75.0, 88.0, 100.0])
def test_too_low_stands_only_if_one_more_doubling_would_leave_it_too_low(twice: float) -> None:
    """Against Welch's interval by scipy."""
    own, longer = around(60, 5.0, 10), around(twice, 8.0)
    gain = stats.ttest_ind(longer, own, equal_var=False).confidence_interval(0.90).high
    stands = twice + max(gain, 0) < PUBLISHED_VALUE - MARGIN
    judged = verdict(run_of(own, 100, 167.0), run_of(around(50), 50), run_of(longer, 200))
    assert judged["claim_state"] == "not replicated"
    assert judged["state"] == ("not replicated" if stands else "withheld")
    assert (f"up to {gain:.1f} nats more" in judged["reason"]) == (not stands)


def test_the_doublings_of_the_test_above_lie_on_both_sides() -> None:
    own = run_of(around(60, 5.0, 10), 100)
    states = {
        verdict(own, run_of(around(50), 50), run_of(around(twice, 8.0), 200))["state"]
        for twice in (75.0, 100.0)
    }
    assert states == {"not replicated", "withheld"}


HALF, TWICE = run_of(around(138), 50), run_of(around(138), 200)


@pytest.mark.parametrize(
    "others",
    [
        [],
        [HALF],
        [TWICE],
        [HALF, run_of(around(138, seeds=5), 200)],
        [HALF, run_of([*around(138, seeds=5), None], 200)],  # type: ignore[list-item]
        [HALF, run_of(around(138), 150)],
        [HALF, run_of(around(138), 200, learning_rate=0.01)],
    ],
    ids=["none", "half", "twice", "five seeds", "a failed seed", "150 epochs", "another recipe"],
)
def test_without_both_runs_the_curve_decides(others: list[OtherRun]) -> None:
    assert "still rising: +167.0" in verdict(run_of(around(138), 100, 167.0), *others)["reason"]
    assert verdict(run_of(around(138), 100), *others)["state"] == "replicated"


def block_of(seeds: range, level: float, epochs: int, **config: Any) -> OtherRun:
    """A block of some seeds of a run."""
    run = run_of(around(level, seeds=len(seeds)), epochs, 167.0, **config)
    ((file, content),) = run.trainings
    content["seeds"] = list(seeds)
    values = around(level, seeds=len(seeds))
    measured: Any = evaluation([*values], first_seed=seeds[0], model="dbn")
    return OtherRun([measured], [(file, content)])


def joined(*blocks: OtherRun) -> OtherRun:
    return OtherRun(
        [each for block in blocks for each in block.evaluations],
        [each for block in blocks for each in block.trainings],
    )


FIRST, SECOND = range(3), range(3, 6)


@pytest.mark.parametrize(
    "others",
    [{"epochs": 200}, {"epochs": 100, "learning_rate": 0.5}],
    ids=["another length", "another recipe"],
)
def test_blocks_of_several_recipes_are_no_run_that_others_are_half_or_twice_of(
    others: dict[str, Any],
) -> None:
    own = joined(block_of(FIRST, 138, 100), block_of(SECOND, 138, **others))
    assert "still rising" in verdict(own, HALF, TWICE)["reason"]
    alike = joined(block_of(FIRST, 138, 100), block_of(SECOND, 138, 100))
    assert verdict(alike, HALF, TWICE)["state"] == "replicated"
    # Nor is a run that others are compared with.
    plain = run_of(around(138), 100, 167.0)
    mixed = joined(block_of(FIRST, 138, 200), block_of(SECOND, 138, 400))
    assert "still rising" in verdict(plain, HALF, mixed)["reason"]


def test_seeds_whose_training_is_not_known_may_be_of_any_length() -> None:
    own = run_of(around(138), 100, 167.0)
    known, unknown = block_of(FIRST, 138, 200), block_of(SECOND, 138, 200)
    assert verdict(own, HALF, joined(known, unknown))["state"] == "replicated"
    partly = OtherRun([*known.evaluations, *unknown.evaluations], known.trainings)
    assert "still rising" in verdict(own, HALF, partly)["reason"]


def test_of_two_runs_of_one_length_that_with_more_seeds_counts() -> None:
    own = run_of(around(138), 100, 167.0)
    others = [run_of(around(60), 200), run_of(around(138, seeds=7), 200), run_of(around(60), 200)]
    assert verdict(own, HALF, *others)["state"] == "replicated"
    failed = run_of([*around(60, seeds=8), None], 200)  # type: ignore[list-item]
    assert verdict(own, HALF, failed, *others)["state"] == "replicated"


def test_rows_of_other_models_are_judged_by_their_curves() -> None:
    own = run_of(around(225), 100, 30.0, "adversarial_nets")
    others = [run_of(around(225), epochs, model="adversarial_nets") for epochs in (50, 200)]
    assert "still rising" in verdict(own, *others, model="adversarial_nets")["reason"]


def test_the_rows_are_those_of_which_a_shorter_run_is_not_the_beginning_of_a_longer_one() -> None:
    beginnings = {model for model in REGISTRY if load_model(model).extends}
    assert set(PROTOCOL.rising.whole_runs) == REGISTRY.keys() - beginnings


def test_a_verdict_that_no_whole_run_can_decide_keeps_its_hash() -> None:
    """Golden: what `Protocol.sha256` said by version 5 of protocol.yaml, at commit 2c4c95c."""
    digests = {claim: PROTOCOL.sha256(claim) for claim in PROTOCOL.claims}
    assert digests["T1/mnist/adversarial_nets"].startswith("e4853cfebc1ef9a0")
    assert digests["T1r/mnist"].startswith("8febbcfaa8ab")
    assert not digests["T1/mnist/dbn"].startswith("a18c79f3376e"), "its rule is another one"


def test_a_kept_run_finds_those_of_other_lengths() -> None:
    (half,) = [
        run
        for run in _runs_of_other_lengths(KEPT / "mnist-dbn-and-stacked-cae")
        if all("/mnist-dbn-50-epochs/" in name for name in run)
    ]
    blocks = sorted((KEPT / "mnist-dbn-50-epochs/dbn").iterdir())
    named = {
        f"results/reference/mnist-dbn-50-epochs/dbn/{block.name}/{file}"
        for block in blocks
        for file in ("evaluation.json", "train.json")
    }
    assert set(half) == named
    assert _runs_of_other_lengths(KEPT / "mnist-500-epochs") == []


def test_a_block_without_its_evaluation_is_no_block_of_another_length(tmp_path: Path) -> None:
    """As in its own table; it ended the table of the other run, and so every reference run."""
    shutil.copytree(KEPT / "mnist-dbn-50-epochs", tmp_path / "half")
    shutil.copytree(KEPT / "mnist-dbn-and-stacked-cae", tmp_path / "own")
    blocks = len(list((tmp_path / "half/dbn").iterdir()))
    (files,) = _runs_of_other_lengths(tmp_path / "own")
    assert len(files) == 2 * blocks
    (tmp_path / "half/dbn/0/evaluation.json").unlink()
    assert [len(files) for files in _runs_of_other_lengths(tmp_path / "own")] == [
        2 * (blocks - 1) for _ in range(blocks > 1)
    ]
    _write_table(Folders(tmp_path / "work", tmp_path), "own")


def test_the_table_of_a_run_follows_those_of_other_lengths(tmp_path: Path) -> None:
    """A block of half the epochs ends: its own table is written, and the one that it decides."""
    plan = read_plan(KEPT / "plan.yaml")
    half, own = "mnist-dbn-50-epochs", "mnist-dbn-and-stacked-cae"
    shutil.copytree(KEPT / own, tmp_path / own)
    folders = Folders(tmp_path / "work", tmp_path)
    _write_table(folders, own)
    shutil.copytree(KEPT / half, tmp_path / half)
    _write_tables_with(plan, folders, half)
    made_of = read_json(tmp_path / own / "table1.json")["inputs"]
    assert f"results/reference/{half}/dbn/0/train.json" in made_of
