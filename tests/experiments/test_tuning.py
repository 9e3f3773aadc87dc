"""Trials of an equal budget: near and far ones by hand, models that are easy and hard to train, and
what is refused.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from replicate.__main__ import main
from replicate.errors import ReplicateError
from replicate.experiments.tuning import DISTANCE, EXPERIMENT, TrialConfig, behind_the_best, near
from replicate.figures.experiments.tuning import draw
from replicate.figures.theme import checked_svg
from replicate.storage.files import read_json
from replicate.storage.paths import package_root
from tests.experiments.controls import negative_control, protocol, verdicts_of

KEPT = package_root() / "results/tuning/digits.json"
#: By most settings near the best, and by one alone.
EASY, HARD = (
    [20.0, 19.9, 19.5, 19.8, 12.0, 19.6, 19.7, 19.9],
    [20.0, 12.0, None, -3.0, 15.0, 18.0, None, 11.0],
)


def verdict(statement: str, ours: list[float | None], theirs: list[float | None]) -> str:
    trials = {"adversarial_nets": ours, "dbn": theirs, "vae": theirs, "adversarial_nets_conv": ours}
    checks = EXPERIMENT.measure(TrialConfig(), trials).checks["L3"]
    return verdicts_of({statement: checks})[statement]


def test_near_trials_by_hand() -> None:
    assert behind_the_best([1.0, None, 3.5]) == [2.5, None, 0.0]
    assert near([1.0, None, 3.5], 2.5) == [True, False, True]
    assert near([None, None], 1.0) == [False, False]
    assert pytest.approx(0.898, abs=1e-3) == DISTANCE


@pytest.mark.parametrize("statement", ["L3", "L3-mnist"])
def test_where_only_adversarial_nets_are_hard_to_train_it_is_so(statement: str) -> None:
    assert verdict(statement, HARD, EASY) == "replicated"


@negative_control("L3", "L3-mnist")
def test_where_the_others_are_hard_to_train_it_is_the_other_way_round() -> None:
    for statement in ("L3", "L3-mnist"):
        assert verdict(statement, EASY, HARD) == "not replicated"


def test_the_check_is_the_difference_of_shares() -> None:
    trials = {"adversarial_nets": HARD, "rbm": EASY, "vae": HARD}
    found = EXPERIMENT.measure(TrialConfig(), trials)
    values = found.checks["L3"]["trials_near_the_best_beyond_adversarial_nets"]
    assert np.mean(values) == pytest.approx((7 / 8 + 1 / 8) / 2 - 1 / 8)  # type: ignore[arg-type]
    drawing = draw({"seeds": list(range(8)), "series": found.series})["trials"]
    checked_svg(drawing.svg)
    assert "8 trials of every model" in drawing.caption
    assert "4 trials that failed" in drawing.caption


def test_unequal_budgets_are_refused() -> None:
    for trials in (
        {"adversarial_nets": HARD, "vae": EASY[:7]},
        {"adversarial_nets": HARD, "adversarial_nets_conv": EASY},
        {"vae": EASY},
    ):
        with pytest.raises(
            ReplicateError, match="the trials must be as many of adversarial nets as of"
        ):
            EXPERIMENT.measure(TrialConfig(), trials)


def test_the_kept_trials_are_judged_by_the_stage_in_words_of_trials(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params = json.dumps({"compute": {"device": "cpu"}, "experiments": {"tuning": {}}})
    words = [
        "experiment",
        "--params",
        params,
        "--name",
        "tuning",
        "--out",
        str(tmp_path / "tuning.json"),
    ]
    assert main(words) == 2
    assert "needs the trials of tuning; give them with --trials" in capsys.readouterr().err
    assert main([*words, "--trials", str(KEPT)]) == 0
    protocol_file, out = package_root() / "protocol.yaml", tmp_path / "statements.json"
    judging = [
        "statements",
        "--params",
        params,
        "--protocol",
        str(protocol_file),
        "--out",
        str(out),
    ]
    assert main([*judging, str(tmp_path / "tuning.json")]) == 0
    statements = {entry["statement"]: entry for entry in read_json(out)["statements"]}
    assert statements["L3"]["dataset"] == "digits"
    assert statements["L3"]["reason"].endswith("trials would decide")
    assert statements["L3-mnist"]["state"] == "not attempted"
    assert statements["L3-mnist"]["reason"].startswith("withheld until an equal tuning budget")
    assert main([*words, "--trials", str(tmp_path / "statements.json")]) == 2


def test_what_awaits_something_says_so_and_its_rule_stands() -> None:
    awaited = {statement for statement, rule in protocol().statements.items() if rule.awaits}
    assert awaited == {"L3-mnist", "L5"}
    assert (
        protocol().statements["L5"].awaits
        == "measures missing, other than the Parzen estimate, on all rows of Table 1"
    )


@negative_control("L5")
def test_measures_that_agree_are_found_out() -> None:
    """The rule is fixed before the measures are there: a mean tau of .3 is little agreement, of .8
    much.
    """
    for centre, expected in ((0.3, "replicated"), (0.8, "not replicated")):
        values = [centre + 0.01 * k for k in range(-5, 5)]
        found = verdicts_of({"L5": {"rank_agreement_with_other_measures": values}})
        assert found == {"L5": expected}
