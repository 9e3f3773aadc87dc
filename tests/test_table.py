"""Table 1 from evaluations made up to a known answer, in every state a cell can take."""

import csv
import json
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from replicate.errors import ReplicateError
from replicate.params import Likelihood
from replicate.protocol import read_protocol
from replicate.table import build_table, measured, read_published, table_csv

ROOT = Path(__file__).parent.parent
PUBLISHED = read_published(ROOT / "results/published/table1.csv")
PROTOCOL = read_protocol(ROOT / "protocol.yaml")


def evaluation(values: list[float | None], first_seed: int = 0) -> tuple[str, dict[str, Any]]:
    """An evaluation with two draws a seed, one nat apart; None is a failed seed."""
    per_seed = []
    for place, value in enumerate(values):
        draws = [
            {"log_likelihood": v, "standard_error": 2.0, "sigma": 0.2, "at_edge": False, "fine_log_likelihood": v + 1}
            for v in ([] if value is None else [value - 0.5, value + 0.5])
        ]
        failed = {"epoch": 3, "reason": "the loss is not a finite number"} if value is None else None
        per_seed.append({"seed": first_seed + place, "failed": failed, "log_likelihood": value, "draws": draws})
    content = {"per_seed": per_seed, "n_test": 10000, "n_samples": 10000, "n_validation": 1000, "dimension": 784}
    content["sigmas"] = list(PROTOCOL.estimate.sigmas)
    return f"results/evaluation/mnist/adversarial_nets/{first_seed}.json", content


def cell(*evaluations: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    key = ("adversarial_nets", "mnist")
    table = build_table("test", [key], {key: list(evaluations)}, PUBLISHED, PROTOCOL)
    json.dumps(table, allow_nan=False)
    found: dict[str, Any] = table["rows"][3]["cells"]["mnist"]
    return found


def test_rows_and_columns_are_the_papers() -> None:
    table = build_table("test", [], {}, PUBLISHED, PROTOCOL)
    assert [row["title"] for row in table["rows"]] == ["DBN", "Stacked CAE", "Deep GSN", "Adversarial nets"]
    numbers = [[row["cells"][d]["published"]["log_likelihood"] for d in ("mnist", "tfd")] for row in table["rows"]]
    assert numbers == [[138, 1909], [121, 2110], [214, 1890], [225, 2057]]
    errors = [[row["cells"][d]["published"]["standard_error"] for d in ("mnist", "tfd")] for row in table["rows"]]
    assert errors == [[2, 66], [1.6, 50], [1.1, 29], [2, 26]]
    assert all(cell["verdict"]["state"] == "not attempted" for row in table["rows"] for cell in row["cells"].values())


def test_the_default_parameters_are_the_protocols_estimate() -> None:
    likelihood = Likelihood()
    found = (likelihood.samples, likelihood.validation_limit, likelihood.sigmas)
    assert found == (PROTOCOL.estimate.samples, PROTOCOL.estimate.validation, PROTOCOL.estimate.sigmas)


def test_margins_follow_their_rule() -> None:
    """number_margin is 3 published standard errors; claim_margin the gap to the nearest other row of the column."""
    for (model, dataset), row in PUBLISHED.items():
        others = [r["log_likelihood"] for (m, d), r in PUBLISHED.items() if d == dataset and m != model]
        entry = PROTOCOL.claims[row["claim"]]
        assert entry.number_margin == pytest.approx(3 * row["standard_error"])
        assert entry.claim_margin == pytest.approx(min(abs(row["log_likelihood"] - other) for other in others))
        assert (entry.original_df == 4) == (row["uncertainty_over"] == "folds")


def test_blocks_are_put_together_and_every_spread_is_named() -> None:
    found = measured([evaluation([10.0, 14.0]), evaluation([12.0], first_seed=2)])
    assert found is not None
    assert found["seeds"] == [0, 1, 2]
    assert found["mean"] == pytest.approx(12.0)
    assert found["sd_over_seeds"] == pytest.approx(2.0)
    assert found["standard_error_test"] == pytest.approx(2.0)
    assert found["sd_over_draws"] == pytest.approx(np.std([-0.5, 0.5], ddof=1))
    assert found["fine_mean"] == pytest.approx(13.0)


def test_few_seeds_withhold_the_verdict() -> None:
    verdict = cell(evaluation([225.0, 226, 224, 225, 225]))["verdict"]
    assert verdict["state"] == "withheld"
    assert "5 seeds; the protocol asks for 10 and decides nothing with fewer than 6" in verdict["reason"]
    assert verdict["ci90"] is not None


def test_enough_seeds_decide() -> None:
    assert cell(evaluation([225.0, 226, 224, 225, 225, 223]))["verdict"]["state"] == "replicated"
    assert cell(evaluation([150.0, 151, 149, 150, 152, 148]))["verdict"]["state"] == "not replicated"
    assert cell(evaluation([260.0, 261, 259, 262, 258, 260]))["verdict"]["state"] == "exceeds"
    verdict = cell(evaluation([225.0, 226, 224, 225, 225, 223]))["verdict"]
    assert verdict["protocol_sha256"] == PROTOCOL.sha256("T1/mnist/adversarial_nets")


def test_an_undecided_claim_says_how_many_seeds_would_decide() -> None:
    verdict = cell(evaluation([200.0, 245, 230, 215, 240, 226]))["verdict"]
    assert verdict["state"] == "inconclusive"
    assert verdict["seeds_needed"] > 6
    assert f"{verdict['seeds_needed']} seeds would decide" in verdict["reason"]


def test_a_failed_seed_stays_in_sight_and_stops_the_verdict() -> None:
    found = cell(evaluation([225.0, 226, None, 225, 225, 223, 224]))
    assert found["measured"]["failed"] == [{"seed": 2, "epoch": 3, "reason": "the loss is not a finite number"}]
    assert found["measured"]["seeds"] == [0, 1, 2, 3, 4, 5, 6]
    assert found["verdict"]["state"] == "inconclusive"
    assert "1 of 7 seeds failed" in found["verdict"]["reason"]


def test_all_seeds_failed_is_shown_and_not_averaged() -> None:
    found = cell(evaluation([None, None]))
    assert found["measured"]["mean"] is None
    assert "2 of 2 seeds failed" in found["verdict"]["reason"]


def test_csv_says_the_same() -> None:
    key = ("adversarial_nets", "mnist")
    table = build_table("test", [key], {key: [evaluation([10.0, 14.0])]}, PUBLISHED, PROTOCOL)
    rows = {(row["model"], row["dataset"]): row for row in csv.DictReader(StringIO(table_csv(table)))}
    assert float(rows[key]["mean"]) == 12.0
    assert rows[key]["state"] == "withheld"
    assert rows["dbn", "tfd"]["mean"] == ""
    assert len(rows) == 8


def test_an_entry_keeps_its_hash_when_another_changes(tmp_path: Path) -> None:
    text = (ROOT / "protocol.yaml").read_text()
    changed = tmp_path / "protocol.yaml"
    changed.write_text(text.replace("number_margin: 6.0, claim_margin: 17.0", "number_margin: 7.0, claim_margin: 17.0"))
    after = read_protocol(changed)
    assert [claim for claim in PROTOCOL.claims if PROTOCOL.sha256(claim) != after.sha256(claim)] == ["T1/mnist/dbn"]
    changed.write_text(text.replace("samples: 10000", "samples: 1000"))
    after = read_protocol(changed)
    assert all(PROTOCOL.sha256(claim) != after.sha256(claim) for claim in PROTOCOL.claims)


def test_a_bad_protocol_is_named(tmp_path: Path) -> None:
    path = tmp_path / "protocol.yaml"
    path.write_text("version: 1\nclaims:\n  T1/x: {kind: equivalence, number_margin: -1}\n")
    with pytest.raises(ReplicateError, match=r"claims\.T1/x\.number_margin: input should be greater than 0"):
        read_protocol(path)


@pytest.mark.parametrize("text", ["", "nonsense\n", "nonsense\n1\n", "claim,model\na,b\n"])
def test_a_damaged_table_of_published_values_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "table1.csv"
    path.write_text(text)
    with pytest.raises(ReplicateError, match=r"table1\.csv (holds no published values|is not a readable table)"):
        read_published(path)


def test_a_seed_counts_once() -> None:
    """The same block twice, or a block left over from other parameters, would feign more evidence."""
    with pytest.raises(ReplicateError, match="seed 0 stands in more than one of"):
        measured([evaluation([10.0, 14.0]), evaluation([10.0, 14.0, 12.0])])


def test_blocks_of_different_estimates_are_not_put_together() -> None:
    other = evaluation([12.0], first_seed=2)
    other[1]["n_samples"] = 200
    with pytest.raises(ReplicateError, match="has another n_samples"):
        measured([evaluation([10.0, 14.0]), other])


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("n_samples", 200, "200 samples instead of 10000"),
        ("n_validation", 50, "50 validation images instead of 1000"),
        ("sigmas", [0.2], "other bandwidths than the protocol's"),
    ],
)
def test_another_estimate_than_the_protocols_withholds_the_verdict(name: str, value: object, reason: str) -> None:
    block = evaluation([225.0, 226, 224, 225, 225, 223])
    block[1][name] = value
    verdict = cell(block)["verdict"]
    assert verdict["state"] == "withheld"
    assert reason in verdict["reason"]
