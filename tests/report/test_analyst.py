"""How much the analyst decides, on the page: beside each kept verdict, from the kept file alone."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from replicate.params import Params
from replicate.report.page import page
from replicate.storage.files import read_json, write_json
from replicate.storage.paths import package_root
from tests.report.fabricated import jobs_of
from tests.report.page_helpers import parsed, source, words

KEPT = package_root() / "results/reference"
FILE = "reference/multiverse.json"


@pytest.fixture
def with_kept(results: Path) -> Path:
    """Results of a run with all runs that the project keeps."""
    shutil.copytree(KEPT, results / "reference")
    return results


@pytest.fixture(scope="module")
def document(params: Params, kept_results: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The page of such results, not to be changed."""
    results = Path(shutil.copytree(kept_results, tmp_path_factory.mktemp("analyst") / "results"))
    shutil.copytree(KEPT, results / "reference")
    return page_of(params, results)


def page_of(params: Params, results: Path) -> Any:
    return parsed(page(jobs_of(params), results / "table1.json", results))


def paragraph(document: Any, claim: str, run: str) -> Any:
    """What the page says of the analyses of a claim by a kept run."""
    found = [
        entry
        for entry in document.xpath("//details[@class='analyst']//p")
        if [words(code) for code in entry.xpath("./code")[:2]] == [claim, run]
    ]
    (entry,) = found
    return entry


@pytest.mark.parametrize(
    ("claim", "run", "place"),
    [
        ("T1/mnist/dbn", "mnist-dbn-and-stacked-cae", "answer"),
        ("E1", "statements/version-4-seeds-0-9", "statement-E1"),
        ("X4", "statements/seeds-10-19", "statement-X4"),
    ],
)
def test_each_claim_has_its_counts_and_what_flips_it(
    document: Any, claim: str, run: str, place: str
) -> None:
    stored = read_json(KEPT.parent / FILE)["claims"]
    (index,) = [
        k for k, entry in enumerate(stored) if (entry["claim"], entry["run"]) == (claim, run)
    ]
    entry = stored[index]
    shown = paragraph(document.get_element_by_id(place), claim, run)
    numbers = {source(data): int(data.get("value")) for data in shown.xpath(".//data")}
    place_in_file = f"results/{FILE}#/claims/{index}"
    assert numbers.pop(f"{place_in_file}/agreeing") == entry["agreeing"]
    assert numbers.pop(f"{place_in_file}/analyses") == entry["analyses"]
    others = {state: count for state, count in entry["states"].items() if state != entry["state"]}
    assert numbers == {f"{place_in_file}/states/{state}": count for state, count in others.items()}
    text = words(shown)
    for state in {flip["state"] for flip in entry["flips"]}:
        options = [flip["option"] for flip in entry["flips"] if flip["state"] == state]
        assert f"{state} ({'; '.join(options)})" in text
    (fold,) = list(shown.iterancestors("details"))
    assert fold.get("open") is None
    assert "Never counted as evidence" in words(fold)


def test_a_rule_that_came_after_a_verdict_is_marked_where_the_verdict_stands(
    document: Any,
) -> None:
    marked: dict[str, set[str]] = {"changed": set(), "made": set()}
    for card in document.xpath("//section[@class='card']"):
        verdict = card.xpath("./div[@class='words']/p[@class='kicker']/following-sibling::p[1]")
        for what, ids in marked.items():
            if any(f"rule {what} when results were known" in words(line) for line in verdict):
                ids.add(card.get("id").removeprefix("statement-"))
    assert marked == {"changed": {"A1", "F2", "H1", "S1", "E1", "T2"}, "made": {"L3"}}


def test_a_kept_run_that_changed_since_is_not_shown_with_old_counts(
    params: Params, with_kept: Path
) -> None:
    path = with_kept / "reference/mnist-dbn-and-stacked-cae/table1.json"
    write_json(path, read_json(path) | {"preset": "another"})
    document = page_of(params, with_kept)
    shown = [words(code) for code in document.xpath("//details[@class='analyst']//p/code")]
    assert "mnist-dbn-and-stacked-cae" not in shown
    assert "mnist-500-epochs" in shown


def test_without_the_file_the_page_says_nothing_of_it(params: Params, with_kept: Path) -> None:
    (with_kept / FILE).unlink()
    assert not page_of(params, with_kept).xpath("//details[@class='analyst']")
