"""The first screen: one sentence, one picture of every claim in the paper's order, and what to do next."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from replicate.codedigest import package_root
from replicate.files import read_json, write_json
from replicate.overview import AFTER_TABLE_1, BEFORE_TABLE_1
from replicate.params import Params
from replicate.protocol import read_protocol
from replicate.report import page
from tests.report.page_helpers import parsed, words

#: The paper's parts as the picture names them, from its second section to its last, then what is not in the paper.
PARTS = [
    "Related work", "The game and its theory", "Table 1: MNIST", "Table 1: Toronto Face Database",
    "Experiments beside the table", "Advantages and disadvantages", "Extensions", "A lecture on the limits",
]  # fmt: skip


@pytest.fixture
def shown(params: Params, results: Path) -> str:
    """A page like the demo's: digits alone, with kept runs beside it."""
    table = read_json(results / "table1.json")
    write_json(results / "reference/one-seed/table1.json", table)
    for folder in ("seeds-0-9", "seeds-10-19"):
        shutil.copytree(
            package_root() / "results/reference/statements" / folder, results / "reference/statements" / folder
        )
    for row in table["rows"]:
        for dataset in {"mnist", "tfd"} & row["cells"].keys():
            row["cells"][dataset]["measured"] = None
            row["cells"][dataset]["verdict"] = {**table["rows"][0]["cells"]["mnist"]["verdict"], "difference": None}
    write_json(results / "table1.json", table | {"preset": "demo"})
    names = {"datasets": {"digits": {}}, "models": {"adversarial_nets": {"digits": {}}}}
    return page(params.model_copy(update=names), results / "table1.json", results)


def marks(page: str) -> list[Any]:
    return list(parsed(page).xpath("//ul[@class='claims']/li"))


def test_every_statement_of_the_protocol_has_a_short_name() -> None:
    named = [claim for parts in (BEFORE_TABLE_1, AFTER_TABLE_1) for names in parts.values() for claim in names]
    assert len(named) == len(set(named))
    assert set(named) == set(read_protocol(package_root() / "protocol.yaml").statements)


def test_every_claim_is_a_mark_a_word_and_a_shape_in_the_papers_order(html: str, results: Path) -> None:
    document = parsed(html)
    assert [words(part) for part in document.xpath("//section[@class='part']/h3")] == PARTS
    states = {claim["claim"]: claim["state"] for claim in read_json(results / "claims.json")["claims"]}
    table = read_json(results / "table1.json")
    for row in table["rows"]:
        for dataset, cell in row["cells"].items():
            if cell["claim"]:
                states[f"row-{dataset}-{row['model']}"] = cell["verdict"]["state"]
    states |= {f"order-{one['dataset']}": one["verdict"]["state"] for one in table["orderings"]}
    found = {}
    for mark in marks(html):
        anchor = mark.xpath(".//a/@href")[0].removeprefix("#")
        document.get_element_by_id(anchor)
        verdict = mark.xpath("./span[starts-with(@class, 'verdict')]")[0]
        assert len(verdict.xpath("./*[local-name()='svg']")) == 1
        found[anchor.removeprefix("statement-")] = words(verdict)
    assert found == states


def test_a_statement_that_the_picture_does_not_know_comes_last(params: Params, results: Path) -> None:
    content = read_json(results / "claims.json")
    content["claims"][0]["claim"] = "NEW"
    write_json(results / "claims.json", content)
    assert words(marks(page(params, results / "table1.json", results))[-1].xpath(".//a")[0]) == "NEW"


def test_reference_runs_stand_beside_each_claim(params: Params, results: Path) -> None:
    """A mark for each kept run of the full form and the same rule; a row has the number of that with the most seeds."""
    training = read_json(results / "train/mnist/adversarial_nets/0-2.json")
    for name, seeds, epochs in (("few", [0], 1000), ("many", [0, 1, 2], 400), ("shorter", [3, 4, 5], 399)):
        kept = read_json(results / "table1.json")
        cell = kept["rows"][3]["cells"]["mnist"]
        cell["measured"] |= {"mean": 100.0 + len(seeds), "seeds": seeds}
        write_json(results / f"reference/{name}/adversarial_nets/train.json", training | {"epochs": epochs})
        cell["verdict"]["state"] = "replicated"
        write_json(results / f"reference/{name}/table1.json", kept)
    rule = read_json(results / "claims.json")["claims"][0]["protocol_sha256"]
    for name, changed, judged_by in (("full", None, rule), ("short", "updates", rule), ("older", None, "a" * 64)):
        kept = read_json(results / "claims.json")
        kept["claims"][0] |= {"state": "not replicated", "changed": changed, "protocol_sha256": judged_by}
        write_json(results / f"reference/statements/{name}/claims.json", kept)
    found = {mark.xpath(".//a/@href")[0]: mark for mark in marks(page(params, results / "table1.json", results))}
    row = found["#row-mnist-adversarial_nets"]
    assert words(row.xpath("./span[@class='unit']")[0]).endswith("; reference 103.0, seeds 0, 1, 2, 400 epochs")
    kept_marks = row.xpath("./span[@class='kept-marks']/span[starts-with(@class, 'verdict')]")
    assert [words(one) for one in kept_marks] == ["replicated"]
    assert len(kept_marks[0].xpath("./*[local-name()='svg']")) == 3
    statement = found["#statement-P1"].xpath("./span[@class='kept-marks']/span[starts-with(@class, 'verdict')]")
    assert [(words(one), one.get("title")) for one in statement] == [
        ("not replicated", "results/reference/statements/full")
    ]


def test_what_to_do_next_depends_on_the_run(html: str, full_html: str) -> None:
    """Each command names a stage, a preset or a file that there is."""
    commands = {name: [words(code) for code in parsed(text).xpath("//div[@class='next']//code")]
                for name, text in (("mnist", html), ("demo", full_html))}  # fmt: skip
    guides = ["docs/adding-a-model.md", "docs/adding-a-dataset.md"]
    assert commands["demo"] == [
        "python -m replicate preset mnist", "python -m replicate status", "snakemake --cores all", *guides
    ]  # fmt: skip
    assert commands["mnist"] == ["python -m replicate verify", "python tools/recompute.py", "CITATION.cff", *guides]
    for file in ("presets/mnist.yaml", "tools/recompute.py", "CITATION.cff", "replicate/stages/verify.py", *guides):
        assert (package_root() / file).is_file()


@pytest.mark.parametrize(
    ("decided", "opening"), [(True, "Of the published log-likelihoods"), (False, "Of what the paper states")]
)
def test_the_sentence_begins_with_what_was_decided(params: Params, results: Path, decided: bool, opening: str) -> None:
    content = read_json(results / "table1.json")
    for row in content["rows"]:
        for cell in row["cells"].values():
            if cell["claim"]:
                cell["verdict"]["state"] = "replicated" if decided else "not attempted"
    write_json(results / "table1.json", content)
    [lead] = parsed(page(params, results / "table1.json", results)).xpath("//p[@class='lead']")
    assert words(lead).startswith(opening)
    assert words(lead).count(". ") == 0  # one sentence
    assert words(lead).endswith(".")


def test_the_first_screen_holds_sentence_notice_and_picture(opened: Callable[..., Any]) -> None:
    """In a window of 1440 by 900 pixels nothing of them lies below the lower edge."""
    shown = opened(viewport={"width": 1440, "height": 900})
    boxes = {name: shown.locator(name).first.bounding_box() for name in (".lead", ".notice", ".next", ".picture")}
    assert {name: box["y"] + box["height"] for name, box in boxes.items() if box["y"] + box["height"] > 900} == {}
    assert shown.locator(".kept-marks").count() > 15


def test_without_kept_runs_nothing_speaks_of_them(html: str, results: Path) -> None:
    assert not (results / "reference").exists()
    assert "reference run" not in words(parsed(html).get_element_by_id("summary")).lower().replace(
        "compare with the reference runs", ""
    )
