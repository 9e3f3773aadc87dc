"""README tells the results that are kept, and nothing else."""

import json
import math
import re
import runpy
from collections import defaultdict
from pathlib import Path

import pytest

from replicate.records.sourced import ResultFolder
from replicate.report.answer import Answer, StatementStates, read_meanings
from replicate.report.claim_map import NAMES
from replicate.storage.files import read_json
from replicate.storage.paths import package_root
from replicate.verdicts.protocol import read_protocol

ROOT = package_root()
KEPT = ROOT / "results/reference"
TOOL = runpy.run_path(str(ROOT / "tools/readme_results.py"))


def results() -> str:
    """The part of README that the tool writes."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return readme.partition(TOOL["BEGIN"])[2].partition(TOOL["END"])[0]


def test_readme_tells_the_kept_results() -> None:
    """`python tools/readme_results.py` writes them after every change of a kept run."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert TOOL["with_results"](readme, TOOL["results_texts"](ROOT)) == readme


def test_every_statement_stands_once_in_the_list() -> None:
    items = re.findall(r"^ *- .*$", results(), re.MULTILINE)
    text = " ".join(items).replace("**", "")
    names = re.findall(r"\*([^*]+)\*", text)
    groups = [item for item in items if item.startswith("  - ") and "*" not in item]
    for group in groups:
        # Behind a name stands its code, a link, then the data: (`[M1](folder), digits`).
        listed = re.sub(r" \(\[[^)]*\)[^)]*\)", "", group.partition(": ")[2])
        names += listed.rstrip(".").split(", ")
    assert sorted(name.lower() for name in names) == sorted(name.lower() for name in NAMES.values())


@pytest.mark.parametrize("statement", ["X1", "F3", "T2", "W1"])
def test_a_statement_of_images_names_the_data_of_its_kept_runs(statement: str) -> None:
    datasets = set()
    for path in KEPT.glob("statements/*/statements.json"):
        for entry in read_json(path)["statements"]:
            if entry["statement"] == statement and entry["experiment"]:
                # The first runs, all on digits, did not say so.
                datasets.add(entry.get("dataset", "digits"))
    data = " and ".join(sorted(datasets)).replace("mnist", "MNIST")
    assert re.search(rf"\(\[{statement}\]\([^)]*\), {data}[);]", results())


@pytest.mark.parametrize("model", ["true_distribution", "k_means"])
def test_rows_for_scale_are_those_of_their_evaluations(model: str) -> None:
    means: dict[str, list[float]] = defaultdict(list)
    for path in (
        *KEPT.glob(f"*/{model}/evaluation.json"),
        *KEPT.glob(f"*/{model}/*/evaluation.json"),
    ):
        evaluation = read_json(path)
        if evaluation["dataset"] == "mnist":
            run = path.relative_to(KEPT).parts[0]
            means[run] += [seed["log_likelihood"] for seed in evaluation["per_seed"]]
    words = TOOL["SCALE_ROWS"][model]
    (row,) = (line for line in results().splitlines() if f"*For scale: {words}, MNIST*" in line)
    most = max(map(len, means.values()))
    largest = [values for values in means.values() if len(values) == most]
    shown = float(row.split("|")[3].split()[0])
    assert shown in [round(math.fsum(values) / most, 1) for values in largest]


@pytest.mark.parametrize(("model", "title"), [("dbn", "DBN"), ("stacked_cae", "Stacked CAE")])
def test_ways_to_run_a_chain_span_what_their_files_hold(model: str, title: str) -> None:
    values: dict[str, list[float]] = defaultdict(list)
    for path in KEPT.glob(f"mnist-dbn-and-stacked-cae/{model}/*/samplers.json"):
        others = read_json(path)["samplers"]
        others.pop("published")  # the way of the table itself
        for sampler, entry in others.items():
            values[sampler] += [draw["log_likelihood"] for draw in entry["per_seed"][0]]
    means = [math.fsum(draws) / len(draws) for draws in values.values()]
    ends = f"{min(means):.0f} to {max(means):.0f} nats ({title})".replace("-", TOOL["MINUS"])
    assert ends in results()


def test_the_line_in_short_counts_the_list() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    line = readme.partition(TOOL["SHORT_BEGIN"])[2].partition(TOOL["SHORT_END"])[0]
    of_paper, others = line.partition(" Of ")[2].split("; of ")
    counts = []
    # Names of a lecture's statements begin with an L, of later work with a W.
    for part, is_others in ((of_paper, False), (others, True)):
        everything, *by_state = map(int, re.findall(r"\d+", part))
        counts.append(by_state)
        assert everything == sum(by_state)
        assert everything == sum(name.startswith(("L", "W")) == is_others for name in NAMES)
    replicated, failed, _ = map(sum, zip(*counts, strict=True))
    # A link to a run has the statement's code, which begins with a capital.
    codes = re.findall(r"\(\[[A-Z]", results().partition("**Not replicated")[0])
    assert replicated == len(codes)
    assert failed == results().count("contradict it")


def test_the_line_in_short_says_what_became_of_table_1() -> None:
    """By the kept tables with the most seeds of each row."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    line = readme.partition(TOOL["SHORT_BEGIN"])[2].partition(TOOL["SHORT_END"])[0]
    decided, _, undecided = line.partition("there is no verdict yet on ")
    cells: dict[str, tuple[int, str]] = {}
    for path in (ROOT / "results/reference").glob("*/table1.json"):
        for row in json.loads(path.read_text(encoding="utf-8"))["rows"]:
            cell = row["cells"].get("mnist")
            if cell and cell["published"] and cell["measured"]:
                known = (len(cell["measured"]["seeds"]), cell["verdict"]["state"])
                cells[row["title"]] = max(known, cells.get(row["title"], (0, "")))
    assert len(cells) == 4
    for title, (_, state) in cells.items():
        is_open = state in ("withheld", "inconclusive")
        assert (title in undecided) == is_open
        assert (f"{title} is {state}, with " in decided) != is_open


@pytest.mark.parametrize("state", ["replicated", "not replicated", "inconclusive", "withheld"])
def test_a_statement_has_a_place_whatever_its_runs_ended_in(state: str) -> None:
    ended = StatementStates("S1", {state: ["digits"]})
    answer = Answer([], [ended], None)
    protocol = read_protocol(ROOT / "protocol.yaml")
    cards = TOOL["read_cards"](ResultFolder(ROOT / "results"), protocol)
    by_name = {str(card.statement["statement"]): card for card in cards}
    meanings = read_meanings(ROOT / "report/templates/statements.yaml")
    lines = list(TOOL["Statements"](answer, by_name, meanings).lines())
    assert sum("`S1`" in line or "[S1]" in line for line in lines) == 1


def test_a_missing_mark_is_named() -> None:
    with pytest.raises(ValueError, match="lacks the mark"):
        TOOL["with_results"]("# A page without marks", ("short", "text"))


def test_the_pictures_of_readme_are_there() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    pictures = [
        part.split(")")[0] for part in readme.split("](") if part.split(")")[0].endswith(".png")
    ]
    assert len(pictures) >= 2
    assert [picture for picture in pictures if not Path(ROOT, picture).is_file()] == []
