"""The first screen: one sentence, one picture of every claim in the paper's order, and what to do
next.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from replicate.params import Params
from replicate.report.claim_map import AFTER_TABLE_1, BEFORE_TABLE_1
from replicate.report.page import page
from replicate.storage.files import read_json, write_json
from replicate.storage.paths import package_root
from replicate.verdicts.protocol import read_protocol
from tests.report.fabricated import jobs_of
from tests.report.page_helpers import parsed, words

#: The paper's parts as the picture names them, from its second section to its last, then what is
#: not in the paper.
PARTS = [
    "Related work", "The game and its theory", "Table 1: MNIST", "Table 1: Toronto Face Database",
    "Experiments beside the table", "Advantages and disadvantages", "Extensions", "A lecture on the limits",
    "Later work",
]  # fmt: skip


@pytest.fixture
def shown(params: Params, results: Path) -> str:
    """A page like the demo's: digits alone, with kept runs beside it."""
    table = read_json(results / "table1.json")
    shutil.copytree(package_root() / "results/reference", results / "reference")
    for row in table["rows"]:
        for dataset in {"mnist", "tfd"} & row["cells"].keys():
            row["cells"][dataset]["measured"] = None
            row["cells"][dataset]["verdict"] = {
                **table["rows"][0]["cells"]["mnist"]["verdict"],
                "difference": None,
            }
    write_json(results / "table1.json", table | {"preset": "demo"})
    names = {"datasets": {"digits": {}}, "models": {"adversarial_nets": {"digits": {}}}}
    return page(jobs_of(params.model_copy(update=names)), results / "table1.json", results)


def marks(page: str) -> list[Any]:
    return list(parsed(page).xpath("//ul[@class='claims']/li"))


def test_every_statement_of_the_protocol_has_a_short_name() -> None:
    named = [
        claim
        for parts in (BEFORE_TABLE_1, AFTER_TABLE_1)
        for names in parts.values()
        for claim in names
    ]
    assert len(named) == len(set(named))
    assert set(named) == set(read_protocol(package_root() / "protocol.yaml").statements)


def test_every_claim_is_a_mark_a_word_and_a_shape_in_the_papers_order(
    html: str, results: Path
) -> None:
    document = parsed(html)
    assert [words(part) for part in document.xpath("//section[@class='part']/h3")] == PARTS
    states = {
        entry["statement"]: entry["state"]
        for entry in read_json(results / "statements.json")["statements"]
    }
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


def test_a_statement_that_the_picture_does_not_know_comes_last(
    params: Params, results: Path
) -> None:
    content = read_json(results / "statements.json")
    content["statements"][0]["statement"] = "NEW"
    write_json(results / "statements.json", content)
    assert (
        words(marks(page(jobs_of(params), results / "table1.json", results))[-1].xpath(".//a")[0])
        == "NEW"
    )


def test_reference_runs_stand_beside_each_claim(params: Params, results: Path) -> None:
    """A mark for each kept run of the full form and the same rule."""
    training = read_json(results / "train/mnist/adversarial_nets/0-2.json")
    for name, seeds, epochs in (
        ("few", [0], 1000),
        ("many", [0, 1, 2], 400),
        ("shorter", [3, 4, 5], 399),
    ):
        kept = read_json(results / "table1.json")
        cell = kept["rows"][3]["cells"]["mnist"]
        cell["measured"] |= {"mean": 100.0 + len(seeds), "seeds": seeds}
        write_json(
            results / f"reference/{name}/adversarial_nets/train.json", training | {"epochs": epochs}
        )
        cell["verdict"]["state"] = "replicated"
        write_json(results / f"reference/{name}/table1.json", kept)
    rule = read_json(results / "statements.json")["statements"][0]["protocol_sha256"]
    for name, changed, judged_by in (
        ("full", None, rule),
        ("short", "updates", rule),
        ("older", None, "a" * 64),
    ):
        kept = read_json(results / "statements.json")
        kept["statements"][0] |= {
            "state": "not replicated",
            "changed": changed,
            "protocol_sha256": judged_by,
        }
        write_json(results / f"reference/statements/{name}/statements.json", kept)
    found = {
        mark.xpath(".//a/@href")[0]: mark
        for mark in marks(page(jobs_of(params), results / "table1.json", results))
    }
    row = found["#row-mnist-adversarial_nets"]
    kept_marks = row.xpath("./span[@class='kept-marks']/span[starts-with(@class, 'verdict')]")
    assert [words(one) for one in kept_marks] == ["replicated"]
    assert len(kept_marks[0].xpath("./*[local-name()='svg']")) == 3
    statement = found["#statement-P1"].xpath(
        "./span[@class='kept-marks']/span[starts-with(@class, 'verdict')]"
    )
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
    assert commands["mnist"] == [
        "python -m replicate verify",
        "python tools/recompute.py",
        "CITATION.cff",
        *guides,
    ]
    for file in (
        "presets/mnist.yaml",
        "tools/recompute.py",
        "CITATION.cff",
        "replicate/stages/verify.py",
        *guides,
    ):
        assert (package_root() / file).is_file()


def test_the_first_screen_holds_the_answer(opened: Callable[..., Any]) -> None:
    """In a window of 1440 by 900 pixels nothing of it lies below the lower edge."""
    shown = opened(viewport={"width": 1440, "height": 900})
    boxes = {
        name: shown.locator(name).first.bounding_box()
        for name in (".sentences", ".specimen", ".standing")
    }
    assert {
        name: box["y"] + box["height"]
        for name, box in boxes.items()
        if box["y"] + box["height"] > 900
    } == {}
    assert shown.locator(".kept-marks").count() > 15


def test_without_kept_runs_nothing_speaks_of_them(html: str, results: Path) -> None:
    assert not (results / "reference").exists()
    assert "reference run" not in words(parsed(html).get_element_by_id("summary")).lower().replace(
        "compare with the reference runs", ""
    )
