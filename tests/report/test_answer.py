"""The answer at the top of the page, held to the kept files by other code: every row of Table 1,
the states of the statements, and the samples.
"""

import math
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from replicate.params import Params
from replicate.report.page import page
from replicate.storage.files import read_json, write_json
from replicate.storage.paths import package_root
from replicate.verdicts.protocol import read_protocol
from tests.report.fabricated import jobs_of
from tests.report.page_helpers import parsed, words
from tools.print_answer import sentences

KEPT = package_root() / "results/reference"
MEANINGS = package_root() / "report/templates/statements.yaml"


@pytest.fixture(scope="module")
def with_kept(params: Params, kept_results: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page beside all runs that the project keeps."""
    results = Path(shutil.copytree(kept_results, tmp_path_factory.mktemp("answer") / "results"))
    shutil.copytree(KEPT, results / "reference")
    return page(jobs_of(params), results / "table1.json", results)


def rows_of(document: Any, title: str) -> dict[str, list[Any]]:
    (table,) = document.xpath(f"//section[@id='answer']//div[@aria-label='Table 1, {title}']/table")
    return {words(row[0]): list(row) for row in table.xpath("./tbody/tr")}


def values_in(cell: Any) -> list[float]:
    return [float(value) for value in cell.xpath(".//data/@value")]


def kept_evaluations(run: Path, model: str) -> dict[int, float]:
    """Seed -> mean log-likelihood over draws and folds, from the evaluations of a kept run."""
    means = {}
    for path in (*run.glob(f"{model}/evaluation.json"), *run.glob(f"{model}/*/evaluation.json")):
        for seed in read_json(path)["per_seed"]:
            if seed["failed"] is None:
                means[seed["seed"]] = seed["log_likelihood"]
    return means


def test_the_terminal_tells_the_sentences_of_the_page(with_kept: str) -> None:
    paragraphs = parsed(with_kept).xpath("//section[@id='answer']//div[@class='sentences']/p")
    assert len(paragraphs) == 4
    assert sentences(with_kept) == [words(paragraph) for paragraph in paragraphs]


def test_a_row_has_the_mean_of_the_kept_run_with_the_most_seeds(with_kept: str) -> None:
    """Mean, spread, seeds and epochs, from the evaluations and trainings of every kept run."""
    rows = rows_of(parsed(with_kept), "MNIST")
    for model, title in (("dbn", "DBN"), ("stacked_cae", "Stacked CAE"), ("deep_gsn", "Deep GSN")):
        runs = [path.parent for path in KEPT.glob("*/table1.json")]
        means = max((kept_evaluations(run, model) for run in runs), key=len)
        seeds = sorted(means)
        expected = [math.fsum(means.values()) / len(means)]
        if len(means) > 1:
            expected.append(float(np.std(list(means.values()), ddof=1)))
        assert values_in(rows[title][2]) == pytest.approx(expected, rel=1e-12)
        trained = words(rows[title][3])
        assert trained.startswith("seed 0" if len(seeds) == 1 else "seeds 0")
    assert values_in(rows["DBN"][1]) == [138.0, 2.0]
    assert values_in(rows["DBN"][3])[-1] == 100  # epochs, as its params.yaml has it
    assert "so too after 50 epochs" in words(rows["DBN"][-1])
    assert "decides nothing with fewer than 6" in words(rows["Deep GSN"][-1])


def test_of_two_kept_runs_with_as_many_seeds_the_longer_is_shown(
    params: Params, results: Path
) -> None:
    training = read_json(results / "train/mnist/adversarial_nets/0-2.json")
    for name, seeds, epochs in (
        ("few", [0], 1000), ("many", [0, 1, 2], 400), ("shorter", [3, 4, 5], 399)
    ):  # fmt: skip
        kept = read_json(results / "table1.json")
        cell = kept["rows"][3]["cells"]["mnist"]
        cell["measured"] |= {"mean": 100.0 + epochs, "seeds": seeds}
        write_json(
            results / f"reference/{name}/adversarial_nets/train.json", training | {"epochs": epochs}
        )
        write_json(results / f"reference/{name}/table1.json", kept)
    rows = rows_of(parsed(page(jobs_of(params), results / "table1.json", results)), "MNIST")
    assert values_in(rows["Adversarial nets"][2])[0] == 500.0
    assert values_in(rows["Adversarial nets"][3]) == [0, 1, 2, 400]


def test_a_run_kept_block_by_block_tells_the_epochs_of_its_shortest(
    params: Params, results: Path
) -> None:
    """Entries of `results/reference` have MODEL/train.json, newer ones MODEL/BLOCK/train.json."""
    training = read_json(results / "train/mnist/adversarial_nets/0-2.json")
    kept = results / "reference/blocks"
    for block, epochs in (("0", 120), ("1", 110)):
        write_json(kept / f"adversarial_nets/{block}/train.json", training | {"epochs": epochs})
    digits = training | {"dataset": "digits", "epochs": 7}
    write_json(kept / "adversarial_nets/2/train.json", digits)
    write_json(kept / "table1.json", read_json(results / "table1.json"))
    rows = rows_of(parsed(page(jobs_of(params), results / "table1.json", results)), "MNIST")
    epochs = rows["Adversarial nets"][3].xpath(".//data")[-1]
    assert epochs.get("value") == "110"
    assert epochs.get("title") == "results/reference/blocks/adversarial_nets/1/train.json#/epochs"


def test_the_sentences_tell_what_the_full_forms_ended_in(
    with_kept: str, kept_results: Path
) -> None:
    """By the rule that holds now; every statement that a kept run judged so stands in one place."""
    rules = {
        entry["statement"]: entry["protocol_sha256"]
        for entry in read_json(kept_results / "statements.json")["statements"]
    }
    states = defaultdict(set)
    for path in KEPT.glob("statements/*/statements.json"):
        for entry in read_json(path)["statements"]:
            is_full = entry["changed"] is None and entry["state"] != "not attempted"
            if is_full and entry["protocol_sha256"] == rules.get(entry["statement"]):
                states[entry["statement"]].add(entry["state"])
    document = parsed(with_kept)
    sentences = document.xpath("//section[@id='answer']//div[@class='sentences']/p")
    linked = {
        words(sentence.find("strong")): {
            link.get("href").removeprefix("#statement-") for link in sentence.iter("a")
        }
        for sentence in sentences
    }
    replicated = {name for name, ended in states.items() if ended == {"replicated"}}
    refuted = {name for name, ended in states.items() if ended == {"not replicated"}}
    assert linked["Replicated"] == replicated
    assert linked["Not replicated."] == refuted
    assert linked["Undecided:"] == set(states) - replicated - refuted
    for name in states:
        document.get_element_by_id(f"statement-{name}")


def test_undecided_statements_say_why_in_words_that_hold(
    params: Params, kept_results: Path, tmp_path: Path
) -> None:
    """Kept runs made up here: none of them replicated anything, so the page may not say so."""
    results = Path(shutil.copytree(kept_results, tmp_path / "results"))
    own = read_json(results / "statements.json")
    ended = {"S1": ("not replicated", "inconclusive"), "S2": ("withheld", "withheld")}
    for run in range(2):
        entries = []
        for entry in own["statements"]:
            state = "not attempted"
            if entry["statement"] in ended:
                state = ended[entry["statement"]][run]
            experiment = entry["experiment"] or "sampling"
            kept = {"state": state, "changed": None, "experiment": experiment, "dataset": None}
            entries.append(entry | kept)
        folder = results / f"reference/statements/run-{run}"
        folder.mkdir(parents=True)
        write_json(folder / "statements.json", own | {"statements": entries})
    document = parsed(page(jobs_of(params), results / "table1.json", results))
    (told,) = document.xpath("//div[@class='sentences']/p[strong='Undecided:']")
    assert "replicated" not in words(told)
    linked = [link.get("href") for link in told.iter("a")]
    assert sorted(linked) == ["#statement-S1", "#statement-S2"]
    (counted,) = document.xpath("//p[@class='own']")
    sections = {entry["section"] for entry in own["statements"]}
    # Some are of a lecture or of later work, and the counts are of all.
    assert any("lecture" in section.lower() for section in sections)
    assert "paper" not in words(counted)


def test_where_runs_differ_the_card_asks_and_where_they_agree_it_tells(with_kept: str) -> None:
    meanings = yaml.safe_load(MEANINGS.read_text(encoding="utf-8"))
    told = {"several states": set(), "one state": set()}
    for card in parsed(with_kept).find_class("card"):
        statement = card.get("id").removeprefix("statement-")
        (sentence,) = card.find_class("means")
        differ = "in different runs." in words(sentence.getparent())
        kinds = {kind for kind, text in meanings[statement].items() if text == words(sentence)}
        told["several states" if differ else "one state"] |= kinds
        assert not differ or kinds == {"asks"}, statement
    assert told["several states"] == {"asks"}
    assert told["one state"] >= {"holds", "fails", "asks"}


def test_the_numbers_of_table_1_are_told_in_a_sentence(with_kept: str) -> None:
    (sentence,) = (
        words(each)
        for each in parsed(with_kept).xpath("//section[@id='answer']//p")
        if words(each).startswith("The numbers of Table 1:")
    )
    assert "withholds its verdict on" in sentence
    assert sentence.endswith("the table says why.")


def test_the_order_of_the_rows_is_told_as_a_kept_run_judged_it(with_kept: str) -> None:
    told = [
        words(each)
        for each in parsed(with_kept).xpath("//section[@id='answer']//p[@class='order']")
    ]
    expected = []
    rules = read_protocol(package_root() / "protocol.yaml")
    for path in sorted(KEPT.glob("*/table1.json")):
        for ordering in read_json(path)["orderings"]:
            verdict = ordering["verdict"]
            if verdict["state"] != "not attempted":
                run = f"results/reference/{path.parent.name}"
                is_todays = verdict["protocol_sha256"] == rules.sha256(ordering["claim"])
                remark = "" if is_todays else "; by an earlier rule"
                expected.append((verdict["state"], verdict["reason"] + remark, run))
    assert len(told) == len(expected) > 0
    for sentence, (state, reason, run) in zip(told, expected, strict=True):
        assert sentence.startswith(
            "The order of these rows (Adversarial nets ahead of DBN, Stacked CAE and Deep GSN): "
        )
        assert sentence.endswith(f"{state} {reason} {run}")


def test_what_was_not_replicated_says_why(with_kept: str) -> None:
    """In the plain sentence of each such statement, not by its name alone."""
    meanings = yaml.safe_load(MEANINGS.read_text(encoding="utf-8"))
    (sentence,) = (
        each
        for each in parsed(with_kept).xpath("//section[@id='answer']//p")
        if words(each).startswith("Not replicated.")
    )
    refuted = [link.get("href").removeprefix("#statement-") for link in sentence.iter("a")]
    assert refuted
    for statement in refuted:
        assert meanings[statement]["fails"] in words(sentence)


def test_samples_of_the_longest_kept_training_are_shown(with_kept: str) -> None:
    document = parsed(with_kept)
    (caption,) = document.xpath("//figure[@class='specimen']/figcaption")
    epochs = {
        path.parent: read_json(path.with_name("train.json"))["epochs"]
        for path in KEPT.glob("*/adversarial_nets/samples.png")
    }
    longest = max(epochs, key=lambda folder: epochs[folder])
    assert values_in(caption) == [epochs[longest]]
    file = f"results/{(longest / 'samples.png').relative_to(KEPT.parent).as_posix()}"
    assert words(caption).endswith(file)


def test_every_statement_has_its_meaning_in_plain_words() -> None:
    meanings = yaml.safe_load(MEANINGS.read_text(encoding="utf-8"))
    assert set(meanings) == set(read_protocol(package_root() / "protocol.yaml").statements)
    for meaning in meanings.values():
        assert set(meaning) - {"place"} == {"asks", "holds", "fails"}
        assert meaning["asks"].endswith("?")
        assert meaning["holds"].endswith(".")
        assert meaning["fails"].endswith(".")


def place_in_the_paper(statement: str, section: str) -> str | None:
    """What the place of a statement begins with, by the section that the protocol names."""
    if section in ("lecture slides", "Wu et al. 2017"):
        return None
    if statement == "P2":
        # The protocol's entry, whose hash the kept verdicts carry, names the section before.
        return "section 4.2, proposition 2"
    if section.startswith("7."):
        return f"section 7, item {section[2:]}"
    return f"section {section}" if section[0].isdigit() else section.lower()


def test_a_card_says_where_the_paper_says_it(with_kept: str) -> None:
    document = parsed(with_kept)
    rules = read_protocol(package_root() / "protocol.yaml").statements
    shown = set()
    for card in document.xpath("//section[@class='card']"):
        statement = card.get("id").removeprefix("statement-")
        kicker = words(card.xpath(".//p[@class='kicker']")[0])
        place = place_in_the_paper(statement, rules[statement].section)
        said = f"paper, {place}" if place else rules[statement].section
        assert kicker.startswith(f"{statement} · {said}")
        shown.add(statement)
    assert shown == {statement for statement, rule in rules.items() if rule.awaits is None}


def test_a_card_shows_the_numbers_of_the_full_form(with_kept: str) -> None:
    """Those of the kept run with the most seeds, and this run's own folded beneath."""
    card = parsed(with_kept).get_element_by_id("statement-A1")
    entries = {}
    for path in sorted(KEPT.glob("statements/*/statements.json")):
        for entry in read_json(path)["statements"]:
            if entry["statement"] == "A1" and entry["changed"] is None:
                entries[path.parent.name] = entry
    most = max(entry["seeds"] for entry in entries.values())
    checks = [entry["checks"] for entry in entries.values() if entry["seeds"] == most]
    table = card.xpath(".//div[@aria-label='Checks of A1, reference run']/table")[0]
    means = [values_in(row[2]) for row in table.xpath("./tbody/tr")]
    assert means in [[[check["value"]] for check in of_run] for of_run in checks]
