"""Table 1 from evaluations made up to a known answer, in every state a cell can take."""

import csv
import json
import math
from io import StringIO
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
from scipy import stats

from replicate import datasets, models
from replicate.__main__ import main
from replicate.errors import ReplicateError
from replicate.params import Likelihood
from replicate.records.frame import checked_content
from replicate.records.schema import SamplersOfRow, Table1
from replicate.verdicts.pooled_seeds import pool_seeds
from replicate.verdicts.protocol import Equivalence, Protocol, read_protocol
from replicate.verdicts.published import read_context, read_published
from replicate.verdicts.table1 import build_table, table_csv
from tests.result_kinds import undeclared

ROOT = Path(__file__).parent.parent
PUBLISHED = read_published(ROOT / "results/published/table1.csv")
CONTEXT = read_context(ROOT / "results/published/context.csv")
PROTOCOL = read_protocol(ROOT / "protocol.yaml")
#: The same where what the orders of rows await is there.
TUNED_ALIKE = PROTOCOL.model_copy(
    update={
        "claims": {
            claim: entry.model_copy(update={"awaits": None})
            if claim in PROTOCOL.directional
            else entry
            for claim, entry in PROTOCOL.claims.items()
        }
    }
)


def evaluation(
    values: list[float | None],
    first_seed: int = 0,
    dataset: str = "mnist",
    model: str = "adversarial_nets",
) -> tuple[str, dict[str, Any]]:
    """An evaluation with two draws a seed, one nat apart; None is a failed seed. TFD has five
    folds, two nats apart.
    """
    folds = 5 if dataset == "tfd" else 1

    def draw(value: float) -> dict[str, Any]:
        each = [
            {"log_likelihood": value + 2 * (fold - folds // 2), "standard_error": 2.0, "sigma": 0.2, "at_edge": False,
             "fine_log_likelihood": value + 1}
            for fold in range(folds)
        ]  # fmt: skip
        error = (
            float(np.std([fold["log_likelihood"] for fold in each], ddof=1) / np.sqrt(5))
            if folds > 1
            else None
        )
        return {"log_likelihood": value, "standard_error": 2.0, "standard_error_folds": error, "folds": each,
                "effective_samples": 10000.0, "autocorrelation": None}  # fmt: skip

    per_seed = []
    for place, value in enumerate(values):
        draws = [draw(v) for v in ([] if value is None else [value - 0.5, value + 0.5])]
        failed = (
            {"epoch": 3, "reason": "the loss is not a finite number"} if value is None else None
        )
        per_seed.append(
            {"seed": first_seed + place, "failed": failed, "log_likelihood": value, "draws": draws}
        )
    content = {
        "per_seed": per_seed, "n_test": [10000] * folds, "n_samples": 10000, "dimension": 784, "chains": None,
        "n_validation": [836] * 5 if folds > 1 else [1000], "validation_available": [836] * 5 if folds > 1 else [10000],
        "sigmas": list(PROTOCOL.estimates["mnist"].sigmas),
    }  # fmt: skip
    if sampler := PROTOCOL.samplers.deciding(model):
        content |= {"chains": sampler.chains, "sampler": sampler.model_dump()}
    return f"results/evaluation/{dataset}/{model}/{first_seed}.json", content


Blocks = dict[tuple[str, str], list[tuple[str, dict[str, Any]]]]


def training(
    seeds: list[int], rise: float = 0.0, epochs: int = 1000, failed: dict[str, Any] | None = None
) -> tuple[str, dict[str, Any]]:
    """A training whose curve rises evenly, by `rise` nats over its last fifth."""
    looks = list(range(10, epochs + 1, 10))
    values = [[rise * epoch / (0.2 * epochs)] * len(seeds) for epoch in looks]
    return "train.json", {
        "curve": {"epoch": looks, "log_likelihood": values}, "seeds": seeds, "failed": failed or {},
        "epochs": epochs,
    }  # fmt: skip


def compared(
    levels: dict[str, float],
    seeds: int = 6,
    draws: int = 2,
    start: float = 0.0,
    floor: float = -1e4,
) -> tuple[str, Any]:
    """Samplers of a block: seeds two nats apart around their levels, and what is left of the
    start.
    """

    def draw(level: float, seed: int) -> dict[str, Any]:
        value = level + 2.0 * (seed - (seeds - 1) / 2)
        start_left = start + 0.001 * seed
        return {
            "log_likelihood": value, "effective_samples": 100.0, "memorisation": 0.0, "remembered_start": start_left
        }  # fmt: skip

    samplers = {
        name: {"settings": {}, "per_seed": [[draw(level, seed)] * draws for seed in range(seeds)]}
        for name, level in levels.items()
    }
    return "samplers.json", {
        "seeds": list(range(seeds)),
        "samplers": samplers,
        "independent_pixels": floor,
    }


def steady(level: float) -> tuple[str, Any]:
    """Samplers that agree."""
    return compared({"published": level, "mixed": level, "longer": level})


def build(
    evaluations: Blocks,
    trainings: Blocks | None = None,
    samplers: Blocks | None = None,
    protocol: Protocol = TUNED_ALIKE,
) -> dict[str, Any]:
    """The table; where nothing else is given, every training had ended."""
    if trainings is None:
        trainings = {
            key: [training([seed["seed"] for _, content in blocks for seed in content["per_seed"]])]
            for key, blocks in evaluations.items()
        }
    runs = list(evaluations)
    for (model, _), blocks in (samplers or {}).items():
        for _, content in blocks:
            for name, compared_runs in content["samplers"].items():
                # Where a test says nothing of a sampler, it ran as the protocol has it.
                fixed = PROTOCOL.samplers.rows[model][name].model_dump()
                compared_runs["settings"] = fixed | compared_runs["settings"]
    table = build_table(
        "test",
        runs,
        evaluations,
        PUBLISHED,
        CONTEXT,
        protocol,
        training=trainings,
        samplers=samplers or {},
    )
    json.dumps(table, allow_nan=False)
    return table


def cell(*evaluations: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = build({("adversarial_nets", "mnist"): list(evaluations)})["rows"][3][
        "cells"
    ]["mnist"]
    return found


def column(levels: dict[str, float], dataset: str = "mnist", seeds: int = 6) -> dict[str, Any]:
    """The table where every model has `seeds` seeds around its level, two nats apart."""
    spread = [2.0 * (k - (seeds - 1) / 2) for k in range(seeds)]
    evaluations = {
        (model, dataset): [evaluation([level + s for s in spread], dataset=dataset, model=model)]
        for model, level in levels.items()
    }
    samplers = {
        (model, dataset): [steady(level)]
        for model, level in levels.items()
        if model in PROTOCOL.samplers.rows
    }
    return build(evaluations, samplers=samplers)


def test_rows_and_columns_are_the_papers() -> None:
    table = build({})
    assert [row["title"] for row in table["rows"]] == [
        "DBN",
        "Stacked CAE",
        "Deep GSN",
        "Adversarial nets",
    ]
    numbers = [
        [row["cells"][d]["published"]["log_likelihood"] for d in ("mnist", "tfd")]
        for row in table["rows"]
    ]
    assert numbers == [[138, 1909], [121, 2110], [214, 1890], [225, 2057]]
    errors = [
        [row["cells"][d]["published"]["standard_error"] for d in ("mnist", "tfd")]
        for row in table["rows"]
    ]
    assert errors == [[2, 66], [1.6, 50], [1.1, 29], [2, 26]]
    assert all(
        cell["verdict"]["state"] == "not attempted"
        for row in table["rows"]
        for cell in row["cells"].values()
    )


def test_the_default_parameters_are_the_protocols_estimate() -> None:
    likelihood = Likelihood()
    found = (likelihood.samples, likelihood.validation_limit, likelihood.sigmas)
    mnist, tfd = PROTOCOL.estimates["mnist"], PROTOCOL.estimates["tfd"]
    assert found == (mnist.samples, mnist.validation, mnist.sigmas)
    assert (tfd.samples, tfd.sigmas, tfd.validation, tfd.folds) == (
        mnist.samples,
        mnist.sigmas,
        None,
        5,
    )


def test_margins_follow_their_rule() -> None:
    """number_margin is 3 published standard errors; claim_margin the gap to the nearest other row
    of the column.
    """
    for (model, dataset), row in PUBLISHED.items():
        others = [
            r["log_likelihood"] for (m, d), r in PUBLISHED.items() if d == dataset and m != model
        ]
        entry = PROTOCOL.equivalence(row["claim"])
        assert entry.dataset == dataset
        assert entry.number_margin == pytest.approx(3 * row["standard_error"])
        assert entry.claim_margin == pytest.approx(
            min(abs(row["log_likelihood"] - other) for other in others)
        )
        assert (entry.original_df == 4) == (row["uncertainty_over"] == "folds")


def test_blocks_are_put_together_and_every_spread_is_named() -> None:
    found = pool_seeds([evaluation([10.0, 14.0]), evaluation([12.0], first_seed=2)])
    assert found is not None
    assert found["seeds"] == [0, 1, 2]
    assert found["mean"] == pytest.approx(12.0)
    assert found["sd_over_seeds"] == pytest.approx(2.0)
    assert found["standard_error_test"] == pytest.approx(2.0)
    assert found["variances"]["draw"]["sd"] == pytest.approx(np.std([-0.5, 0.5], ddof=1))
    assert found["variances"]["seed"]["variance"] == pytest.approx(4.0 - 0.5 / 2)
    assert found["variances"]["test_images"]["sd"] == pytest.approx(2.0)
    assert found["effective_samples"] == 10000
    assert found["fine_mean"] == pytest.approx(13.0)


def test_few_seeds_withhold_the_verdict() -> None:
    verdict = cell(evaluation([225.0, 226, 224, 225, 225]))["verdict"]
    assert verdict["state"] == "withheld"
    assert (
        "5 seeds; the protocol asks for 10 and decides nothing with fewer than 6"
        in verdict["reason"]
    )
    assert verdict["ci90"] is not None


def test_enough_seeds_decide() -> None:
    assert cell(evaluation([225.0, 226, 224, 225, 225, 223]))["verdict"]["state"] == "replicated"
    assert (
        cell(evaluation([150.0, 151, 149, 150, 152, 148]))["verdict"]["state"] == "not replicated"
    )
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
    assert found["measured"]["failed"] == [
        {"seed": 2, "epoch": 3, "reason": "the loss is not a finite number"}
    ]
    assert found["measured"]["seeds"] == [0, 1, 2, 3, 4, 5, 6]
    assert found["verdict"]["state"] == "inconclusive"
    assert "1 of 7 seeds failed" in found["verdict"]["reason"]


def test_all_seeds_failed_is_shown_and_not_averaged() -> None:
    found = cell(evaluation([None, None]))
    assert found["measured"]["mean"] is None
    assert "2 of 2 seeds failed" in found["verdict"]["reason"]


def test_csv_says_the_same() -> None:
    key = ("adversarial_nets", "mnist")
    table = build({key: [evaluation([10.0, 14.0])]})
    rows = {
        (row["model"], row["dataset"]): row for row in csv.DictReader(StringIO(table_csv(table)))
    }
    assert float(rows[key]["mean"]) == 12.0
    assert rows[key]["state"] == "withheld"
    assert rows["dbn", "tfd"]["mean"] == ""
    assert len(rows) == 8


def test_an_entry_keeps_its_hash_when_another_changes(tmp_path: Path) -> None:
    text = (ROOT / "protocol.yaml").read_text()
    changed = tmp_path / "protocol.yaml"

    def moved(old: str, new: str) -> list[str]:
        assert old in text
        changed.write_text(text.replace(old, new, 1))
        after = read_protocol(changed)
        return [claim for claim in PROTOCOL.claims if PROTOCOL.sha256(claim) != after.sha256(claim)]

    assert moved(
        "number_margin: 6.0, claim_margin: 17.0", "number_margin: 7.0, claim_margin: 17.0"
    ) == ["T1/mnist/dbn"]
    assert moved("behind: [stacked_cae]", "behind: []") == ["T1r/tfd"]
    assert moved("validation: 1000", "validation: 500") == [
        c for c in PROTOCOL.claims if "/mnist" in c
    ]
    assert moved("folds: 5", "folds: 4") == [c for c in PROTOCOL.claims if "/tfd" in c]
    of_deep_gsn = moved("deep_gsn: {epochs: 1000", "deep_gsn: {epochs: 900")
    assert "T1/mnist/deep_gsn" in of_deep_gsn
    assert set(of_deep_gsn) <= {"T1/mnist/deep_gsn", *PROTOCOL.directional}
    assert "T1/tfd/adversarial_nets" in moved(
        "adversarial_nets: {epochs: 72", "adversarial_nets: {epochs: 71"
    )


def test_rules_that_were_read_are_checked_and_written_by_their_kind_again() -> None:
    assert Protocol.model_validate(dict(PROTOCOL)) == PROTOCOL
    assert Protocol.model_validate_json(PROTOCOL.model_dump_json()) == PROTOCOL


def test_a_bad_protocol_is_named(tmp_path: Path) -> None:
    path = tmp_path / "protocol.yaml"
    path.write_text("version: 2\nclaims:\n  T1/x: {kind: equivalence, number_margin: -1}\n")
    with pytest.raises(
        ReplicateError,
        match=r"claims\.T1/x\.equivalence\.number_margin: input should be greater than 0",
    ):
        read_protocol(path)
    text = (ROOT / "protocol.yaml").read_text()
    path.write_text(text.replace("dataset: tfd, model", "dataset: faces, model"))
    with pytest.raises(ReplicateError, match=r"claims\.T1r/tfd: `estimates` has no entry 'faces'"):
        read_protocol(path)
    path.write_text(text.replace("ahead_of: [dbn, deep_gsn]", "ahead_of: [vae]"))
    with pytest.raises(ReplicateError, match=r"T1r/tfd: no published value of vae on tfd"):
        build_table("test", [], {}, PUBLISHED, CONTEXT, read_protocol(path))
    path.write_text(text.replace("  T1/mnist/dbn:", "  T1/mnist/dnb:"))
    with pytest.raises(ReplicateError, match=r"no equivalence entry T1/mnist/dbn"):
        build_table(
            "t",
            [],
            {("dbn", "mnist"): [evaluation([1.0] * 6)]},
            PUBLISHED,
            CONTEXT,
            read_protocol(path),
        )


@pytest.mark.parametrize("text", ["", "nonsense\n", "nonsense\n1\n", "claim,model\na,b\n"])
def test_a_damaged_table_of_published_values_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "table1.csv"
    path.write_text(text)
    with pytest.raises(
        ReplicateError, match=r"table1\.csv (holds no published values|is not a readable table)"
    ):
        read_published(path)


def test_a_seed_counts_once() -> None:
    """The same block twice, or a block left over from other parameters, would feign more
    evidence.
    """
    with pytest.raises(ReplicateError, match="seed 0 stands in more than one of"):
        pool_seeds([evaluation([10.0, 14.0]), evaluation([10.0, 14.0, 12.0])])


def test_blocks_of_different_estimates_are_not_put_together() -> None:
    other = evaluation([12.0], first_seed=2)
    other[1]["n_samples"] = 200
    with pytest.raises(ReplicateError, match="has another n_samples"):
        pool_seeds([evaluation([10.0, 14.0]), other])


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("n_samples", 200, "200 samples instead of 10000"),
        ("n_validation", [50], "50 validation images instead of 1000"),
        ("n_test", [2000] * 5, "5 folds instead of 1"),
        ("sigmas", [0.2], "other bandwidths than the protocol's"),
    ],
)
def test_another_estimate_than_the_protocols_withholds_the_verdict(
    name: str, value: object, reason: str
) -> None:
    block = evaluation([225.0, 226, 224, 225, 225, 223])
    block[1][name] = value
    verdict = cell(block)["verdict"]
    assert verdict["state"] == "withheld"
    assert reason in verdict["reason"]


def test_a_tfd_run_must_use_all_validation_images_of_five_folds() -> None:
    block = evaluation([2147.0, 2150, 2160, 2155, 2162, 2151], dataset="tfd")
    key = ("adversarial_nets", "tfd")
    found = build({key: [block]})["rows"][3]["cells"]["tfd"]
    assert found["verdict"]["state"] == "exceeds"
    assert found["measured"]["standard_error_folds"] == pytest.approx(
        np.std([-4, -2, 0, 2, 4], ddof=1) / np.sqrt(5)
    )
    block[1]["n_validation"] = [836] * 4 + [800]
    verdict = build({key: [block]})["rows"][3]["cells"]["tfd"]["verdict"]
    assert verdict["state"] == "withheld"
    assert "800 validation images instead of 836" in verdict["reason"]


def test_published_errors_on_tfd_are_too_wide_for_the_claim_margin() -> None:
    """Docs/protocol.md, section 3: t(.95, 4 df) * 26 = 55 nats, more than 53; so no number of seeds
    would decide.
    """
    block = evaluation([2057.0, 2056, 2058, 2057, 2057.5, 2056.5], dataset="tfd")
    verdict = build({("adversarial_nets", "tfd"): [block]})["rows"][3]["cells"]["tfd"]["verdict"]
    assert verdict["state"] == "inconclusive"
    assert verdict["ci90"][1] > 53
    assert "no number of seeds up to 1,000 would" in verdict["reason"]


def test_information_beside_the_verdict() -> None:
    verdict = cell(evaluation([219.0, 221, 220, 222, 218, 220]))["verdict"]
    values = np.array([219.0, 221, 220, 222, 218, 220])
    assert verdict["naive_z"] == pytest.approx(-5 / np.sqrt(values.var(ddof=1) / 6 + 4))
    low, high = verdict["prediction_interval"]
    assert low < 220 < high
    assert verdict["compatible"] == (low <= 225 <= high)
    assert verdict["compatible"] is True
    assert cell(evaluation([150.0, 151, 149, 150, 152, 148]))["verdict"]["compatible"] is False


def test_simultaneous_intervals_count_the_attempted_claims_of_the_column() -> None:
    table = column({"dbn": 138.0, "deep_gsn": 214.0, "adversarial_nets": 225.0})
    for row in table["rows"]:
        verdict = row["cells"]["mnist"]["verdict"]
        if row["model"] == "stacked_cae":
            assert verdict["ci95_simultaneous"] is None
            continue
        assert verdict["simultaneous_claims"] == 3
        assert verdict["ci95_simultaneous"][0] < verdict["ci95"][0] < verdict["ci90"][0]
        assert row["cells"]["mnist"]["measured"]["simultaneous_models"] == 3
    alone = cell(evaluation([225.0, 226, 224, 225, 225, 223]))
    assert alone["verdict"]["ci95_simultaneous"] == pytest.approx(alone["verdict"]["ci95"])


def test_the_order_of_the_rows() -> None:
    papers = {"dbn": 138.0, "stacked_cae": 121.0, "deep_gsn": 214.0, "adversarial_nets": 225.0}
    table = column(papers)
    mnist, tfd = table["orderings"]
    assert mnist["verdict"]["state"] == "replicated"
    assert mnist["verdict"]["protocol_sha256"] == TUNED_ALIKE.sha256("T1r/mnist")
    gsn = mnist["comparisons"][2]
    assert gsn["rival"] == "deep_gsn"
    assert gsn["difference"] == pytest.approx(11.0)
    assert gsn["seeds_ahead"] == 6
    assert gsn["share_interval"][0] == pytest.approx(0.6097, abs=1e-4)  # 6 of 6, Wilson
    assert gsn["probability_of_improvement"] == 1.0
    assert tfd["verdict"]["state"] == "not attempted"
    assert "DBN" in tfd["verdict"]["reason"]


def test_the_order_is_withheld_until_the_rows_were_tuned_alike() -> None:
    """Whatever the values: the difference is shown, and nothing is concluded from it."""
    for level in (180.0, 225.0):
        blocks = {
            (model, "mnist"): [evaluation([value + k for k in range(6)])]
            for model, value in (
                ("dbn", 138.0),
                ("stacked_cae", 121.0),
                ("deep_gsn", 214.0),
                ("adversarial_nets", level),
            )
        }
        mnist = build(blocks, protocol=PROTOCOL)["orderings"][0]
        assert mnist["verdict"]["state"] == "withheld"
        assert "no equal tuning budget" in mnist["verdict"]["reason"]
        assert mnist["comparisons"][2]["difference"] == pytest.approx(level - 214)


def test_negative_control_of_the_order_a_worse_model_is_not_ahead() -> None:
    mnist = column(
        {"dbn": 138.0, "stacked_cae": 121.0, "deep_gsn": 214.0, "adversarial_nets": 180.0}
    )["orderings"][0]
    assert mnist["verdict"]["state"] == "not replicated"
    assert mnist["verdict"]["reason"] == "the order is the other way round for Deep GSN"


def test_the_order_on_tfd_has_one_model_in_front() -> None:
    levels = {"dbn": 1909.0, "stacked_cae": 2110.0, "deep_gsn": 1890.0, "adversarial_nets": 2057.0}
    tfd = column(levels, "tfd")["orderings"][1]
    assert tfd["verdict"]["state"] == "replicated"
    assert [(one["rival"], one["expected"]) for one in tfd["comparisons"]] == [
        ("dbn", "ahead"), ("deep_gsn", "ahead"), ("stacked_cae", "behind"),
    ]  # fmt: skip
    assert tfd["comparisons"][2]["difference"] == pytest.approx(-53)
    levels["adversarial_nets"] = 2200.0  # ahead of all: not second
    assert column(levels, "tfd")["orderings"][1]["verdict"]["state"] == "not replicated"


def test_an_order_too_close_to_call_says_how_many_seeds_would_decide() -> None:
    mnist = column(
        {"dbn": 138.0, "stacked_cae": 121.0, "deep_gsn": 214.0, "adversarial_nets": 215.0}
    )["orderings"][0]
    assert mnist["verdict"]["state"] == "inconclusive"
    assert mnist["verdict"]["seeds_needed"] > 6
    assert "undecided for Deep GSN" in mnist["verdict"]["reason"]
    gsn = mnist["comparisons"][
        2
    ]  # ours 210, 212, ..., 220; published 214, which is not above itself
    assert (gsn["seeds_ahead"], gsn["share_ahead"]) == (3, 0.5)
    assert gsn["share_interval"] == pytest.approx([0.1876, 0.8124], abs=1e-4)


def test_one_comparison_the_other_way_round_would_decide_an_order_by_itself() -> None:
    """However many seeds another comparison needs, whose two means are nearly equal."""
    offsets = [-5.0, -3.0, -1.0, 1.0, 3.0, 5.0]
    levels = {"dbn": 209.99, "stacked_cae": 121.0, "deep_gsn": 212.5, "adversarial_nets": 210.0}
    evaluations = {
        (model, "mnist"): [evaluation([level + offset for offset in offsets], model=model)]
        for model, level in levels.items()
    }
    samplers = {
        (model, "mnist"): [steady(level)]
        for model, level in levels.items()
        if model in PROTOCOL.samplers.rows
    }
    mnist = build(evaluations, samplers=samplers)["orderings"][0]
    assert [each["seeds_needed"] for each in mnist["comparisons"][:2]] == [None, None]
    assert mnist["verdict"]["state"] == "inconclusive"
    # Equal spreads and numbers of seeds: Student's test of two samples (Bonferroni of three).
    variance = float(np.var(offsets, ddof=1))
    fewest = next(
        count
        for count in range(7, 1001)
        if stats.t.ppf(1 - 0.025 / 3, 2 * count - 2) * math.sqrt(2 * variance / count) < 2.5
    )
    assert mnist["verdict"]["seeds_needed"] == fewest
    assert mnist["verdict"]["reason"] == (
        f"undecided for DBN, Deep GSN; {fewest} seeds would decide"
    )


def test_an_order_needs_the_protocols_seeds_of_every_model() -> None:
    papers = {"dbn": 138.0, "stacked_cae": 121.0, "deep_gsn": 214.0, "adversarial_nets": 225.0}
    mnist = column(papers, seeds=5)["orderings"][0]
    assert mnist["verdict"]["state"] == "withheld"
    assert mnist["comparisons"][0]["difference"] is not None
    blocks = {
        (model, "mnist"): [evaluation([level + k for k in range(6)], model=model)]
        for model, level in papers.items()
    }
    blocks["dbn", "mnist"] = [evaluation([138.0, 139, None, 140, 141, 142, 143], model="dbn")]
    verdict = build(blocks)["orderings"][0]["verdict"]
    assert verdict["state"] == "inconclusive"
    assert verdict["reason"].startswith("DBN: 1 of 7 seeds failed")


def test_reference_rows_stand_last_and_count_in_no_family(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(models.REGISTRY, "true_distribution", ("True distribution", "none"))
    blocks = {
        ("true_distribution", "mnist"): [evaluation([243.0, 244.0])],
        ("adversarial_nets", "mnist"): [evaluation([225.0, 226.0])],
    }
    rows = build(blocks)["rows"]
    assert [(row["model"], row["kind"]) for row in rows[-2:]] == [
        ("adversarial_nets", "model"), ("true_distribution", "reference"),
    ]  # fmt: skip
    assert rows[-2]["cells"]["mnist"]["measured"]["simultaneous_models"] == 1
    verdict = rows[-1]["cells"]["mnist"]["verdict"]
    assert verdict["state"] == "no published value"
    assert verdict["reason"].startswith("a reference row, for which nothing is trained; elsewhere")


def test_a_model_that_cannot_live_in_a_space_is_not_applicable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(models.REGISTRY, "bounded", ("Bounded", "none"))
    monkeypatch.setitem(datasets.REGISTRY, "contrast", ("Contrast", "none"))
    monkeypatch.setattr(datasets, "UNBOUNDED", frozenset({"contrast"}))
    runs = [("bounded", "digits"), ("adversarial_nets", "contrast")]
    rows = build_table("test", runs, {}, PUBLISHED, CONTEXT, PROTOCOL)["rows"]
    cells = {row["model"]: row["cells"] for row in rows}
    assert cells["bounded"]["contrast"]["verdict"]["state"] == "not applicable"
    assert cells["adversarial_nets"]["contrast"]["verdict"]["state"] == "not attempted"


def test_a_data_set_that_is_not_there_says_what_it_needs() -> None:
    def reason(runs: list[tuple[str, str]], absent: dict[str, str]) -> str:
        table = build_table("test", runs, {}, PUBLISHED, CONTEXT, PROTOCOL, absent)
        return str(table["rows"][3]["cells"]["tfd"]["verdict"]["reason"])

    assert reason([], {}) == "needs TFD_48x48.mat, which its owners give on request"
    assert reason([], {"tfd": "needs the file (ask X)"}) == "needs the file (ask X)"
    assert reason([("vae", "tfd")], {}) == "the preset test does not train it on this data set"


def test_the_context_names_status_and_differences() -> None:
    rows = build({})["context"]
    assert len(rows) > 40
    assert {row["status"] for row in rows} == {"verified", "unverified"}
    assert all(row["differences"] and row["source"] for row in rows)
    numbers = [(row["dataset"].lower(), row["log_likelihood"], row["source"]) for row in rows]
    assert not [n for n in numbers if "Goodfellow" in n[2]], (
        "Table 1's own rows stand in table1.csv"
    )


@pytest.mark.parametrize(
    ("model", "dataset", "words"),
    [
        ("gmmn", "mnist", "elsewhere: 147 ± 2 (Li, Swersky and Zemel, 2015, unverified)"),
        ("gmmn_autoencoder", "mnist", "elsewhere: 282 ± 2 (Li, Swersky and Zemel, 2015)"),
        (
            "conditional_adversarial_nets",
            "mnist",
            "elsewhere: 132 ± 1.8 (Mirza and Osindero (arXiv 1411.1784), 2014)",
        ),
        ("gmmn_autoencoder", "tfd", "elsewhere: 2204 ± 20 (Li, Swersky and Zemel, 2015)"),
        ("gmmn", "digits", None),
        ("vae", "mnist", None),
    ],
)
def test_a_row_that_others_have_published_names_their_number(
    model: str, dataset: str, words: str | None
) -> None:
    """On the data set that it was published for alone, and without a verdict on it."""
    blocks = {(model, dataset): [evaluation([147.0, 148.0], model=model, dataset=dataset)]}
    rows = {row["model"]: row["cells"] for row in build(blocks)["rows"]}
    verdict = rows[model][dataset]["verdict"]
    assert verdict["state"] == "no published value"
    if words is None:
        assert "elsewhere" not in verdict["reason"]
    else:
        assert verdict["reason"].endswith(words)


@pytest.mark.parametrize("status", ["", "M", "checked"])
def test_a_status_that_is_no_status_is_refused(tmp_path: Path, status: str) -> None:
    path = tmp_path / "context.csv"
    lines = (ROOT / "results/published/context.csv").read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1].replace(",verified,", f",{status},")]))
    with pytest.raises(ReplicateError, match="the status is verified or unverified"):
        read_context(path)


def test_every_number_of_table_1_has_a_rule() -> None:
    assert {row["claim"] for row in PUBLISHED.values()} == {
        claim for claim, entry in PROTOCOL.claims.items() if isinstance(entry, Equivalence)
    }


def test_a_row_sampled_otherwise_than_the_protocol_says_is_shown_and_decides_nothing() -> None:
    key, block = ("dbn", "mnist"), evaluation([138.0, 139, 137, 138, 140, 136], model="dbn")

    def verdict() -> dict[str, Any]:
        found: dict[str, Any] = build({key: [block]})["rows"][0]["cells"]["mnist"]["verdict"]
        return found

    assert verdict()["state"] == "replicated"
    block[1]["sampler"] = block[1]["sampler"] | {"chains": 1000}
    assert verdict()["state"] == "withheld"
    assert "chains 1000 instead of 1 (the sampler `published`)" in verdict()["reason"]
    del block[1]["sampler"]
    assert "its sampler is not known" in verdict()["reason"]


RISES = {
    0.0: "replicated",
    1.9: "replicated",
    2.1: "withheld",
    30.0: "withheld",
    -30.0: "replicated",
}


@pytest.mark.parametrize(("rise", "state"), RISES.items())
def test_a_training_that_still_rose_decides_nothing(rise: float, state: str) -> None:
    """By more than the published standard error of 2 nats."""
    key, block = ("adversarial_nets", "mnist"), evaluation([225.0, 226, 224, 225, 225, 223])
    table = build({key: [block]}, {key: [training([0, 1, 2, 3, 4, 5], rise)]})
    verdict = table["rows"][3]["cells"]["mnist"]["verdict"]
    assert verdict["state"] == state
    if state == "withheld":
        assert (
            f"still rising: {rise:+.1f} nats over the last 20% of 1000 epochs" in verdict["reason"]
        )


@pytest.mark.parametrize(("rise", "state"), [(1.9, "replicated"), (2.1, "withheld")])
def test_an_order_with_a_row_that_still_rose_is_withheld(rise: float, state: str) -> None:
    levels = {"dbn": 138.0, "stacked_cae": 121.0, "deep_gsn": 214.0, "adversarial_nets": 225.0}
    blocks = {
        (model, "mnist"): [evaluation([level + k for k in range(6)], model=model)]
        for model, level in levels.items()
    }
    trainings = {
        key: [training(list(range(6)), rise if key[0] == "adversarial_nets" else 0.0)]
        for key in blocks
    }
    samplers = {key: [steady(levels[key[0]])] for key in blocks if key[0] in PROTOCOL.samplers.rows}
    verdict = build(blocks, trainings, samplers)["orderings"][0]["verdict"]
    assert verdict["state"] == state
    assert ("still rising" in (verdict["reason"] or "")) == (state == "withheld")


@pytest.mark.parametrize(
    ("level", "state"), [(150.0, "withheld"), (220.0, "withheld"), (260.0, "exceeds")]
)
def test_of_a_training_that_still_rose_only_exceeds_may_stand(level: float, state: str) -> None:
    key, block = ("adversarial_nets", "mnist"), evaluation([level + k for k in range(6)])
    table = build({key: [block]}, {key: [training([0, 1, 2, 3, 4, 5], rise=10.0)]})
    assert table["rows"][3]["cells"]["mnist"]["verdict"]["state"] == state


def test_an_end_that_a_source_fixed_is_the_end_and_a_shorter_run_is_not_that_recipe() -> None:
    key, block = (
        ("deep_gsn", "mnist"),
        evaluation([214.0, 215, 213, 214, 214, 213], model="deep_gsn"),
    )

    def verdict(epochs: int) -> dict[str, Any]:
        table = build({key: [block]}, {key: [training([0, 1, 2, 3, 4, 5], 10.0, epochs)]})
        found: dict[str, Any] = table["rows"][2]["cells"]["mnist"]["verdict"]
        return found

    assert verdict(1000)["state"] == "replicated"
    assert verdict(150)["state"] == "withheld"
    assert "150 epochs of the recipe's 1000" in verdict(150)["reason"]
    # Nor may one train on beyond it until the number fits.
    assert verdict(2000)["state"] == "withheld"
    assert "still rising: +10.0 nats" in verdict(2000)["reason"]


@pytest.mark.parametrize(
    ("epochs", "looks", "state"),
    [(1000, True, "exceeds"), (1001, True, "exceeds"), (999, True, "withheld")]
    + [(1000, False, "exceeds"), (1001, False, "withheld")],
)
def test_beyond_a_fixed_end_only_exceeds_may_stand_and_only_with_looks(
    epochs: int, looks: bool, state: str
) -> None:
    """Section 8: a longer run is asked like any other; without looks more training may lower it."""
    key = ("deep_gsn", "mnist")
    block = evaluation([260.0 + seed for seed in range(6)], model="deep_gsn")
    file, content = training(list(range(6)), 30.0, epochs)
    if not looks:
        content["curve"] = {"epoch": [epochs], "log_likelihood": [[None] * 6]}
    table = build({key: [block]}, {key: [(file, content)]})
    assert table["rows"][2]["cells"]["mnist"]["verdict"]["state"] == state


@pytest.mark.parametrize(
    ("dataset", "model", "level", "end"),
    [
        ("mnist", "deep_gsn", 260.0, 1000),
        ("tfd", "adversarial_nets", 2500.0, 72),
    ],
)
def test_a_run_shorter_than_its_recipe_does_not_exceed_either(
    dataset: str, model: str, level: float, end: int
) -> None:
    """Section 8: it is not the recipe, and is withheld; on TFD more training may lower it."""
    place = list(PAPERS).index(model)

    def state(trained: Blocks) -> str:
        values = [level + seed for seed in range(6)]
        key = (model, dataset)
        table = build({key: [evaluation(values, dataset=dataset, model=model)]}, trained)
        row = table["rows"][place]
        assert row["model"] == model
        found: str = row["cells"][dataset]["verdict"]["state"]
        return found

    def trained_for(epochs: int) -> Blocks:
        return {(model, dataset): [training(list(range(6)), 0.0, epochs)]}

    assert state(trained_for(end)) == "exceeds"
    assert state(trained_for(end - 1)) == "withheld"
    # Of a training that nobody knows it cannot be said that it was the whole recipe.
    assert state({}) == "withheld"


@pytest.mark.parametrize(("epochs", "state"), [(71, "withheld"), (72, "not inferior")])
def test_a_fixed_end_counts_the_epochs_of_the_training_where_no_image_chooses_one(
    epochs: int, state: str
) -> None:
    """On TFD the last epoch is taken, and the curve has no values."""
    key = ("adversarial_nets", "tfd")
    values = [2056.0 + 2 * seed for seed in range(6)]
    file, content = training(list(range(6)), epochs=epochs)
    content["curve"] = {"epoch": [epochs], "log_likelihood": [[None] * 6]}
    table = build({key: [evaluation(values, dataset="tfd")]}, {key: [(file, content)]})
    verdict = table["rows"][3]["cells"]["tfd"]["verdict"]
    assert verdict["state"] == state
    assert (f"{epochs} epochs of the recipe's 72" in verdict["reason"]) == (epochs < 72)


@pytest.mark.parametrize("known", [(0, 1), (0,), (1,)])
def test_a_row_is_judged_by_the_trainings_of_all_of_its_seeds(known: tuple[int, ...]) -> None:
    """Of two blocks of seeds, one of which still rose, one alone says nothing of the row."""
    key = ("adversarial_nets", "mnist")
    evaluated = [evaluation([225.0, 226, 224]), evaluation([225.0, 226, 224], first_seed=3)]
    trained = [training([0, 1, 2], rise=0.0), training([3, 4, 5], rise=3.0)]
    trained = [trained[block] for block in known]
    table = build({key: evaluated}, {key: trained})
    verdict = table["rows"][3]["cells"]["mnist"]["verdict"]
    if known == (0, 1):
        # Together they rose by 1.5 nats, and may by 2.
        assert verdict["state"] == "replicated"
    else:
        assert verdict["state"] == "withheld"
        assert "the training that it is of is not known" in verdict["reason"]


def test_without_its_training_a_row_decides_nothing() -> None:
    key, block = ("adversarial_nets", "mnist"), evaluation([225.0, 226, 224, 225, 225, 223])
    verdict = build({key: [block]}, {})["rows"][3]["cells"]["mnist"]["verdict"]
    assert verdict["state"] == "withheld"
    assert "the training that it is of is not known" in verdict["reason"]


PAPERS = {"dbn": 138.0, "stacked_cae": 121.0, "deep_gsn": 214.0, "adversarial_nets": 225.0}


def order_of(dbn: tuple[str, Any] | None) -> dict[str, Any]:
    """The verdict on the order of MNIST's rows, by the paper's numbers, with these samplers of the
    DBN.
    """
    evaluations, samplers = {}, {}
    for model, level in PAPERS.items():
        evaluations[model, "mnist"] = [evaluation([level + k for k in range(6)], model=model)]
        if model in PROTOCOL.samplers.rows:
            samplers[model, "mnist"] = [steady(level)]
    if dbn is None:
        del samplers["dbn", "mnist"]
    else:
        samplers["dbn", "mnist"] = [dbn]
    found: dict[str, Any] = build(evaluations, samplers=samplers)["orderings"][0]["verdict"]
    return found


#: A sampler that stands still remembers its start; white noise is no better than independent
#: pixels. `None`: unknown.
SILENT = {
    "its samplers were not compared": None,
    "the sampler published has 6 draws": compared(
        dict.fromkeys(("published", "mixed", "longer"), 138.0), draws=1
    ),
    "have not forgotten where they started (correlation up to 0.94": compared(
        dict.fromkeys(("published", "mixed", "longer"), 138.0), start=0.94
    ),
    "ten times the burn-in moves its value by -18.0 nats": compared(
        {"published": 138.0, "mixed": 138.0, "longer": 120.0}
    ),
    "no better than pixels drawn independently": compared(
        dict.fromkeys(("published", "mixed", "longer"), 138.0), floor=139.0
    ),
    "1 seeds by the sampler 'mixed'": compared(
        dict.fromkeys(("published", "mixed", "longer"), 138.0), seeds=1, draws=8
    ),
    "5 seeds by the sampler 'mixed'": compared(
        dict.fromkeys(("published", "mixed", "longer"), 138.0), seeds=5
    ),
    "the order differs between samplers for DBN": compared(
        {"published": 138.0, "mixed": 240.0, "longer": 240.0}
    ),
}


@pytest.mark.parametrize(("reason", "samplers"), SILENT.items())
def test_no_sentence_ranks_a_row_whose_sampler_decides(
    reason: str, samplers: tuple[str, Any] | None
) -> None:
    assert order_of(steady(138.0))["state"] == "replicated"
    verdict = order_of(samplers)
    assert verdict["state"] == "withheld"
    assert reason in verdict["reason"]
    assert verdict["reason"].startswith(("DBN: ", "the sampler decides: "))


@pytest.mark.parametrize("name", ["published", "mixed", "longer"])
def test_samplers_that_ran_otherwise_than_the_protocol_has_them_rank_nothing(name: str) -> None:
    file, content = steady(138.0)
    content["samplers"][name]["settings"] = {"burn_in": 7}
    verdict = order_of((file, content))
    fixed = PROTOCOL.samplers.rows["dbn"][name].burn_in  # type: ignore[index]
    assert verdict["state"] == "withheld"
    assert verdict["reason"] == f"DBN: the sampler {name} had burn in 7 instead of {fixed}"


def test_blocks_that_ran_a_sampler_in_two_ways_are_refused() -> None:
    _, first = steady(138.0)
    _, second = steady(138.0)
    second["samplers"]["mixed"]["settings"] = {"thinning": 3}
    key = ("dbn", "mnist")
    evaluated = [evaluation([138.0, 139, 137], model="dbn")]
    with pytest.raises(ReplicateError, match="'thinning': 3.*run `samplers` of all of them alike"):
        build({key: evaluated}, samplers={key: [("a.json", first), ("b.json", second)]})


def _assert_declared(content: Any, kind: Any) -> None:
    """Content has the fields of its type and no other."""
    checked_content(content, kind, Path("table1.json"), "build it again")
    assert not undeclared(content, kind)


def test_a_table_has_the_fields_of_its_type_and_no_other() -> None:
    """Measured and failed cells, a training of unknown end, samplers that are compared or not, and
    every state of an order that these lead to.
    """
    levels = {"adversarial_nets": 225.0, "dbn": 138.0, "stacked_cae": 121.0, "deep_gsn": 214.0}
    failed = {("adversarial_nets", "mnist"): [evaluation([None, None])]}
    alone = {("adversarial_nets", "mnist"): [evaluation([225.0, 226.0])]}
    near = {name: 225.0 + 0.1 * place for place, name in enumerate(levels)}
    tables = [build({}), build(failed), build(alone, trainings={}), column(levels), column(near)]
    states = set()
    for table in tables:
        for row in table["rows"]:
            for cell_of_row in row["cells"].values():
                states.add(cell_of_row["verdict"]["state"])
                samplers = (cell_of_row["measured"] or {}).get("samplers")
                if samplers is not None:
                    for summary in samplers["samplers"].values():
                        summary["settings"] = PROTOCOL.samplers.rows["dbn"]["published"].model_dump(
                            mode="json"
                        )
                    _assert_declared(samplers, SamplersOfRow)
        hints = get_type_hints(Table1)
        assert table.keys() < hints.keys()
        for name in table.keys() - {"rows"}:
            _assert_declared(table[name], hints[name])
        _assert_declared(table["rows"], hints["rows"])
    assert {"replicated", "withheld", "not attempted"} <= states


def test_published_numbers_are_those_of_their_files() -> None:
    context_file = ROOT / "results/published/context.csv"
    with context_file.open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    context = read_context(context_file)
    assert len(lines) == len(context)
    for line, value in zip(lines, context, strict=True):
        words = {name: text for name, text in value.items() if isinstance(text, str)}
        assert words == {name: line[name] for name in words}
        assert words.keys() == line.keys() - {"log_likelihood", "standard_error"}
        assert value["log_likelihood"] == float(line["log_likelihood"])
        error = value["standard_error"]
        assert (None if error is None else f"{error:g}") == (
            f"{float(line['standard_error']):g}" if line["standard_error"] else None
        )
    table_file = ROOT / "results/published/table1.csv"
    with table_file.open(encoding="utf-8", newline="") as stream:
        of_table = list(csv.DictReader(stream))
    published = read_published(table_file)
    assert [(line["model"], line["dataset"]) for line in of_table] == list(published)
    for line, row in zip(of_table, published.values(), strict=True):
        for name, entry in row.items():
            assert type(entry)(line[name]) == entry


@pytest.mark.parametrize(
    ("absent", "sentence"),
    [
        ("[1]", "--absent [1]: a mapping of data sets to reasons is needed"),
        ('{"tfd": 1}', "a mapping of data sets to reasons is needed"),
        ('{"tfd":', "the inline reasons of --absent are not valid JSON"),
    ],
)
def test_reasons_that_are_no_reasons_are_blamed_and_no_file(
    absent: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["table", "--params", "{}", "--absent", absent, "--out", "table1.json", "nowhere.json"]
    assert main(words) == 2
    assert sentence in capsys.readouterr().err
